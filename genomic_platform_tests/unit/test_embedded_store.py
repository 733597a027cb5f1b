"""The embedded store: every verb, every kind of conflict, corruption, and Git's own view of it.

Names and messages are in test_store_names.py, several processes and kill -9 in test_embedded_store_processes.py.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from pathlib import Path

import pytest

from genomic_platform.errors import (
    CorruptObject,
    MergeConflict,
    ObjectNotFound,
    StoreError,
    StoreUnavailable,
)
from genomic_platform.stores.collection import Collected
from genomic_platform.stores.embedded import EmbeddedStore
from genomic_platform.stores.lock import exclusive
from genomic_platform.stores.protocol import MAIN, Change, ObjectInfo, VersionedStore


@pytest.fixture
def store(tmp_path: Path) -> EmbeddedStore:
    return EmbeddedStore(tmp_path / "store", lock_timeout_s=10)


def published(store: EmbeddedStore, contents: dict[str, bytes | None], branch: str = "work") -> str:
    """Write (None: remove) on a branch of main, commit, merge and remove the branch; the merge's id."""
    store.branch(branch)
    stage(store, branch, contents)
    store.commit(branch, "step")
    merged = store.merge(branch)
    store.delete_branch(branch)
    return merged


def stage(store: EmbeddedStore, branch: str, contents: dict[str, bytes | None]) -> None:
    for path, content in contents.items():
        if content is None:
            store.remove(branch, path)
        else:
            store.write(branch, path, content)


def read(store: EmbeddedStore, ref: str) -> dict[str, bytes]:
    return {info.path: store.open(ref, info.path).read_bytes() for info in store.list(ref)}


def git(store: EmbeddedStore, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(store.root), *arguments], check=True, capture_output=True, text=True).stdout


def test_a_new_store_has_one_commit_of_an_empty_main(store: EmbeddedStore) -> None:
    protocol: VersionedStore = store  # the type checker compares every verb
    assert protocol.branches() == [MAIN]
    assert store.list(MAIN) == []
    assert len(store.log()) == 1
    assert EmbeddedStore(store.root).resolve(MAIN) == store.resolve(MAIN)


def test_a_folder_with_other_files_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match="found other files"):
        EmbeddedStore(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_start_killed_half_way_is_finished_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "genomic_platform.lock").touch()
    (tmp_path / "HEAD").write_text("ref: refs/heads/main\n")
    (tmp_path / "config.lock").touch()
    assert EmbeddedStore(tmp_path).branches() == [MAIN]


def test_what_is_staged_is_seen_on_its_branch_alone(store: EmbeddedStore, tmp_path: Path) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(b"rice")
    base = store.branch("run-1")
    info = store.write("run-1", "p/2013/a", source)
    assert (info.sha256, info.size) == (hashlib.sha256(b"rice").hexdigest(), 4)
    assert source.read_bytes() == b"rice"
    assert read(store, "run-1") == {"p/2013/a": b"rice"}
    assert store.list(MAIN) == store.list(base) == []
    with pytest.raises(ObjectNotFound, match="p/2013/a"):
        store.open(MAIN, "p/2013/a")
    assert store.diff(MAIN, "run-1") == [Change("p/2013/a", "added")]


def test_commit_merge_and_read_at_every_ref(store: EmbeddedStore) -> None:
    store.branch("run-1")
    stage(store, "run-1", {"p/2012/a": b"1", "p/2013/a": b"2"})
    sealed = store.commit("run-1", "release")
    assert store.list(MAIN) == []
    merged = store.merge("run-1")
    assert store.resolve(MAIN) == merged != sealed
    assert store.log(limit=1)[0].parents == (store.log()[1].id, sealed)
    store.tag("p--2013", merged)
    for ref in (MAIN, "run-1", "p--2013", merged, sealed):
        assert read(store, ref) == {"p/2012/a": b"1", "p/2013/a": b"2"}
    assert [info.path for info in store.list(MAIN, "p/2013/")] == ["p/2013/a"]
    assert [info.path for info in store.list(MAIN, "p/20")] == ["p/2012/a", "p/2013/a"]


def test_nothing_changed_is_no_commit(store: EmbeddedStore) -> None:
    published(store, {"a": b"1"})
    head = store.branch("work")
    assert store.commit("work", "nothing staged") == head
    stage(store, "work", {"a": b"1", "never-there": None})
    assert store.commit("work", "the same bytes") == head
    assert store.merge("work") == store.resolve(MAIN) == head


def test_equal_content_is_stored_once_and_read_only(store: EmbeddedStore) -> None:
    first = store.write(MAIN, "a", b"same")
    before = store.open(MAIN, "a").stat()
    store.write(MAIN, "b", b"same")
    assert store.open(MAIN, "a") == store.open(MAIN, "b")
    assert store.open(MAIN, "b").stat().st_mtime_ns == before.st_mtime_ns
    assert store.open(MAIN, "a").stat().st_mode & 0o777 == 0o444
    assert store.link(MAIN, "c", MAIN, "a") == ObjectInfo("c", first.sha256, 4)
    assert store.open(MAIN, "c").read_bytes() == b"same"
    with pytest.raises(ObjectNotFound, match="nowhere: expected a file"):
        store.link(MAIN, "d", MAIN, "nowhere")
    assert not list((store.root / "lfs" / "tmp").iterdir())


def test_remove_hides_then_seals(store: EmbeddedStore) -> None:
    before = published(store, {"a/x": b"1", "a/y": b"2", "b": b"3"})
    store.branch("work")
    stage(store, "work", {"a/x": None, "a/y": None})
    assert read(store, "work") == {"b": b"3"}
    with pytest.raises(ObjectNotFound):
        store.open("work", "a/x")
    store.commit("work", "remove")
    store.merge("work")
    assert read(store, MAIN) == {"b": b"3"}
    assert read(store, before) == {"a/x": b"1", "a/y": b"2", "b": b"3"}
    assert store.diff(before, MAIN) == [Change("a/x", "removed"), Change("a/y", "removed")]


def test_a_file_gives_way_to_a_folder_only_when_removed(store: EmbeddedStore) -> None:
    published(store, {"a": b"1", "kept": b"k"})
    store.branch("work")
    stage(store, "work", {"a/b": b"2"})
    with pytest.raises(StoreError, match="a would be a file and a folder"):
        store.commit("work", "refused")
    stage(store, "work", {"a": None})
    store.commit("work", "replaced")
    store.merge("work")
    assert read(store, MAIN) == {"a/b": b"2", "kept": b"k"}
    stage(store, "work", {"a/b": None, "a": b"3"})
    store.commit("work", "and back")
    store.merge("work")
    assert read(store, MAIN) == {"a": b"3", "kept": b"k"}


@pytest.mark.parametrize(("base", "ours", "theirs"), [
    ({"x": b"0"}, {"x": b"1"}, {"x": b"2"}),
    ({"x": b"0"}, {"x": None}, {"x": b"2"}),
    ({"x": b"0"}, {"x": b"1"}, {"x": None}),
    ({}, {"x": b"1"}, {"x": b"2"}),
    ({}, {"x": b"1"}, {"x/y": b"2"}),
    ({}, {"x/y": b"1"}, {"x": b"2"}),
    ({"x": b"1\n2\n3\n4\n"}, {"x": b"9\n2\n3\n4\n"}, {"x": b"1\n2\n3\n9\n"}),
], ids=["changed twice", "removed here, changed there", "changed here, removed there", "added twice", "file, folder",
        "folder, file", "lines that Git's text merge would mix"])
def test_a_path_changed_differently_on_both_sides_conflicts(store: EmbeddedStore, base: dict, ours: dict,
                                                            theirs: dict) -> None:
    published(store, {**base, "kept": b"k"})
    store.branch("theirs")
    head = published(store, ours, "ours")
    stage(store, "theirs", {**theirs, "other": b"clean"})
    store.commit("theirs", "theirs")
    before = read(store, MAIN)
    with pytest.raises(MergeConflict, match="x") as caught:
        store.merge("theirs")
    assert caught.value.paths
    assert all(path.startswith("x") for path in caught.value.paths)
    assert (store.resolve(MAIN), read(store, MAIN)) == (head, before)


def test_the_same_change_on_both_sides_merges(store: EmbeddedStore) -> None:
    published(store, {"x": b"0", "gone": b"g", "mine": b"m"})
    store.branch("theirs")
    published(store, {"x": b"1", "gone": None, "mine": b"n"}, "ours")
    stage(store, "theirs", {"x": b"1", "gone": None, "new/y": b"y"})
    store.commit("theirs", "theirs")
    merged = store.merge("theirs", message="both", metadata={"run": "2"})
    assert read(store, MAIN) == {"x": b"1", "mine": b"n", "new/y": b"y"}
    assert store.log()[0].metadata == {"run": "2"}
    assert store.merge("theirs") == merged


def test_uncommitted_writes_are_not_left_behind_by_a_merge(store: EmbeddedStore) -> None:
    store.branch("work")
    store.write("work", "a", b"1")
    with pytest.raises(StoreError, match="1 uncommitted writes"):
        store.merge("work")
    store.commit("work", "now")
    store.write(MAIN, "b", b"2")
    with pytest.raises(StoreError, match="branch main: 1 uncommitted"):
        store.merge("work")


def test_entries_left_by_a_kill_after_the_commit_do_no_harm(store: EmbeddedStore) -> None:
    published(store, {"a": b"0"})
    store.branch("work")
    store.write("work", "a", b"1")
    staged = store.root / "staging" / "work"
    (entry,) = staged.iterdir()
    left = entry.read_bytes()
    store.commit("work", "killed before it forgot its entries")
    entry.write_bytes(left)
    store.merge("work")
    store.revert(store.log("work")[0].id, "work")
    assert read(store, "work") == {"a": b"0"}


def test_revert_of_a_merge_goes_back_to_its_first_parent(store: EmbeddedStore) -> None:
    published(store, {"a": b"0", "gone": b"g"})
    bad = published(store, {"a": b"1", "gone": None, "new": b"n"})
    published(store, {"other": b"o"})
    back = store.revert(bad)
    assert read(store, MAIN) == {"a": b"0", "gone": b"g", "other": b"o"}
    assert store.log()[0].metadata == {"reverts": bad}
    assert store.revert(bad) == back
    published(store, {"a": b"2"})
    with pytest.raises(MergeConflict) as caught:
        store.revert(bad)
    assert caught.value.paths == ("a",)
    with pytest.raises(StoreError, match="first"):
        store.revert(store.log()[-1].id)


def test_tags_never_move_and_names_are_of_one_kind(store: EmbeddedStore) -> None:
    first = store.resolve(MAIN)
    store.tag("v1.0", MAIN)
    store.tag("v1.0", first)
    published(store, {"a": b"1"})
    with pytest.raises(StoreError, match="never move"):
        store.tag("v1.0", MAIN)
    assert store.resolve("v1.0") == first
    store.branch("work", "v1.0")
    assert store.resolve("work") == first
    store.tag("both", first)
    with pytest.raises(StoreError, match="a tag has this name"):
        store.branch("both")
    with pytest.raises(StoreError, match="a branch has this name"):
        store.tag("work", first)


def test_branches_are_made_once_and_removed_with_their_writes(store: EmbeddedStore) -> None:
    base = store.branch("work")
    published(store, {"a": b"1"}, "other")
    assert store.branch("work") == base
    store.write("work", "b", b"2")
    assert store.branches() == [MAIN, "work"]
    store.delete_branch("work")
    assert store.branches() == [MAIN]
    store.branch("work")
    assert read(store, "work") == {"a": b"1"}
    with pytest.raises(StoreError, match="cannot be removed"):
        store.delete_branch(MAIN)


def test_missing_refs_and_branches_are_named(store: EmbeddedStore) -> None:
    for verb in (lambda: store.write("nowhere", "a", b"1"), lambda: store.commit("nowhere", "m"),
                 lambda: store.list("nowhere"), lambda: store.merge("nowhere"), lambda: store.diff(MAIN, "nowhere"),
                 lambda: store.delete_branch("nowhere"), lambda: store.log("nowhere")):
        with pytest.raises(ObjectNotFound, match="nowhere"):
            verb()
    with pytest.raises(StoreError, match="absent"):
        store.write(MAIN, "a", store.root / "absent")


def test_corruption_is_named_and_healed_by_writing_again(store: EmbeddedStore) -> None:
    published(store, {"p/2013/a": b"good bytes"})
    file = store.open(MAIN, "p/2013/a")
    file.chmod(0o644)
    file.write_bytes(b"evil bytes")
    with pytest.raises(CorruptObject, match=f"p/2013/a: expected object {file.name} of 10 bytes"):
        store.open(MAIN, "p/2013/a")
    published(store, {"p/2013/b": b"good bytes"})
    assert store.open(MAIN, "p/2013/a").read_bytes() == b"good bytes"
    file.unlink()
    with pytest.raises(CorruptObject, match="found no file"):
        store.open(MAIN, "p/2013/a")


def test_a_busy_store_names_who_holds_it(store: EmbeddedStore) -> None:
    impatient = EmbeddedStore(store.root, lock_timeout_s=0.02)
    with exclusive(store.root / "genomic_platform.lock", 1), \
            pytest.raises(StoreUnavailable, match=f"held by process {os.getpid()}"):
        impatient.commit(MAIN, "m")
    assert impatient.commit(MAIN, "m") == store.resolve(MAIN)


def test_stale_ref_locks_and_old_temporary_files_are_removed(store: EmbeddedStore) -> None:
    for name in ("refs/heads/main.lock", "packed-refs.lock", "HEAD.lock"):
        (store.root / name).touch()
    old, young = (store.root / "lfs" / "tmp" / name for name in ("old", "young"))
    for file, age_s in ((old, 90_000), (young, 80_000)):
        file.touch()
        os.utime(file, (time.time() - age_s, time.time() - age_s))
    published(store, {"a": b"1"})
    assert [path.name for path in store.root.rglob("*.lock")] == ["genomic_platform.lock"]
    assert (old.exists(), young.exists()) == (False, True)


def test_git_reads_the_repository_and_may_pack_it(store: EmbeddedStore) -> None:
    sha256 = store.write(MAIN, "p/a.txt", b"rice").sha256
    sealed = store.commit(MAIN, "Release of 2013", {"run": "größe"})
    git(store, "fsck", "--strict")
    assert git(store, "log", "--format=%H %s", "-1") == f"{sealed} Release of 2013\n"
    assert git(store, "show", "main:p/a.txt") == \
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize 4\n"
    git(store, "gc", "--quiet")
    published(store, {"b": b"2"})
    assert read(EmbeddedStore(store.root), MAIN) == {"p/a.txt": b"rice", "b": b"2"}


def test_garbage_is_what_nothing_reaches(store: EmbeddedStore) -> None:
    """Kept: what main, another branch, a tag, an old commit or a staged write holds."""
    published(store, {"a": b"old", "b": b"stays"})
    published(store, {"a": b"new"})
    store.branch("other")
    store.write("other", "c", b"on a branch")
    store.commit("other", "c")
    store.write("other", "d", b"staged")
    store.branch("tagged")
    store.write("tagged", "e", b"tagged")
    store.tag("kept", store.commit("tagged", "e"))
    store.delete_branch("tagged")
    store.branch("dropped")
    info = store.write("dropped", "f", b"garbage")
    store.commit("dropped", "f")
    store.delete_branch("dropped")
    before = {ref: {i.path: i.sha256 for i in store.list(ref)} for ref in (MAIN, "other", "kept")}
    assert store.collect() == Collected(0, 0)  # younger than an hour
    assert store.collect(0.0, dry_run=True) == Collected(1, 7)
    assert store.collect(0.0) == Collected(1, 7)
    for ref, held in before.items():
        assert {i.path: i.sha256 for i in store.list(ref)} == held
        assert all(store.open(ref, path) for path in held)
    assert store.open(store.log()[1].id, "a").read_bytes() == b"old"
    assert store.write(MAIN, "f", b"garbage").sha256 == info.sha256
    assert store.open(MAIN, "f").read_bytes() == b"garbage"


def test_content_collected_before_it_is_staged_is_stored_again(store: EmbeddedStore,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    put, collected = store._contents.put, []

    def then_collected(source: Path | bytes) -> tuple[str, int]:
        found = put(source)
        if not collected:
            collected.append(store.collect(0.0))
        return found

    monkeypatch.setattr(store._contents, "put", then_collected)
    store.write(MAIN, "a", b"content")
    assert collected == [Collected(1, 7)]
    assert store.open(MAIN, "a").read_bytes() == b"content"
