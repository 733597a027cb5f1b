"""What is the embedded store's own: its files, locks, corruption, garbage, and Git's view of it.

What every store keeps is in test_store_conformance.py, names and messages in test_store_names.py, several processes
and kill -9 in test_embedded_store_processes.py.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from genomic_platform.errors import (
    CorruptObject,
    MergeConflict,
    StoreError,
    StoreUnavailable,
)
from genomic_platform.stores import refs
from genomic_platform.stores.embedded import EmbeddedStore
from genomic_platform.stores.lock import exclusive
from genomic_platform.stores.protocol import MAIN, Collected, VersionedStore
from genomic_platform_tests.support.versioning import published, read, stage


@pytest.fixture
def store(tmp_path: Path) -> EmbeddedStore:
    return EmbeddedStore(tmp_path / "store", lock_timeout_s=10)


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


def test_starts_at_once_make_one_store(tmp_path: Path) -> None:
    threads, rounds = 4, 100
    together = threading.Barrier(threads)

    def start(root: Path) -> EmbeddedStore:
        together.wait(60)
        return EmbeddedStore(root)

    with ThreadPoolExecutor(threads) as pool:
        for k in range(rounds):
            stores = list(pool.map(start, [tmp_path / f"store-{k}"] * threads))
            assert {len(store.log(MAIN)) for store in stores} == {1}


def test_equal_content_is_stored_once_and_read_only(store: EmbeddedStore) -> None:
    store.write(MAIN, "a", b"same")
    before = store.open(MAIN, "a").stat()
    store.write(MAIN, "b", b"same")
    assert store.open(MAIN, "a") == store.open(MAIN, "b")
    assert store.open(MAIN, "b").stat().st_mtime_ns == before.st_mtime_ns
    assert store.open(MAIN, "a").stat().st_mode & 0o777 == 0o444
    assert not list((store.root / "lfs" / "tmp").iterdir())


@pytest.mark.parametrize(("ours", "theirs"), [("x", "x/y"), ("x/y", "x")])
def test_a_file_on_one_side_and_a_folder_on_the_other_conflict(store: EmbeddedStore, ours: str, theirs: str) -> None:
    store.branch("theirs")
    published(store, {ours: b"1"})
    store.write("theirs", theirs, b"2")
    store.commit("theirs", "theirs")
    with pytest.raises(MergeConflict, match="x"):
        store.merge("theirs")


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


FULL = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from genomic_platform.errors import StoreError
from genomic_platform.stores.embedded import EmbeddedStore

store = EmbeddedStore(Path(sys.argv[1]))
store.branch("work")
store.write("work", "small", b"fits")
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    store.write("work", "large", b"x" * 3_000_000)
    store.commit("work", "m")
except StoreError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [1_000_000, 20], ids=["in a content", "in every file"])
def test_a_full_disk_is_said_and_loses_nothing(store: EmbeddedStore, limit: int) -> None:
    """The system refuses every file larger than the limit, as a full disk would."""
    head = published(store, {"a": b"1"})
    told = subprocess.run([sys.executable, "-c", FULL, str(store.root), str(limit)], check=True, capture_output=True,
                          text=True).stdout
    assert "cannot store content: File too large" in told
    assert (store.resolve(MAIN), read(store, MAIN)) == (head, {"a": b"1"})
    store.write("work", "large", b"x" * 3_000_000)
    store.commit("work", "room again")
    store.merge("work")
    assert read(store, MAIN) == {"a": b"1", "small": b"fits", "large": b"x" * 3_000_000}
    assert not list((store.root / "lfs" / "tmp").iterdir())


def test_no_room_for_the_commit_itself_leaves_what_was_staged(store: EmbeddedStore,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    head = published(store, {"a": b"1"})
    store.branch("work")
    store.write("work", "b", b"2")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(refs, "seal", full)
        with pytest.raises(StoreError, match="No space left on device"):
            store.commit("work", "m")
    assert store.resolve(MAIN) == store.resolve("work") == head
    store.commit("work", "m")
    store.merge("work")
    assert read(store, MAIN) == {"a": b"1", "b": b"2"}


def test_a_store_that_is_gone_is_named_and_answers_when_it_is_back(store: EmbeddedStore) -> None:
    published(store, {"a": b"1"})
    store.branch("work")
    away = store.root.with_name("away")
    store.root.rename(away)
    for verb in (lambda: store.write("work", "b", b"2"), lambda: store.commit("work", "m"), lambda: store.list(MAIN),
                 lambda: store.merge("work"), lambda: store.open(MAIN, "a")):
        with pytest.raises(StoreError, match=str(store.root)):
            verb()
    assert not store.root.exists()
    away.rename(store.root)
    store.write("work", "b", b"2")
    store.commit("work", "m")
    store.merge("work")
    assert read(store, MAIN) == {"a": b"1", "b": b"2"}


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
