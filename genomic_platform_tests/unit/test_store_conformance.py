"""What every versioned store keeps, run against each: every verb, every kind of conflict.

On a lakeFS server the tests run where there is one (see support/lakefs_server.py).
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from genomic_platform.errors import MergeConflict, ObjectNotFound, StoreError
from genomic_platform.stores.embedded import EmbeddedStore
from genomic_platform.stores.protocol import MAIN, Change, ObjectInfo, VersionedStore
from genomic_platform_tests.support.versioning import published, read, stage


@pytest.fixture(params=["embedded", pytest.param("lakefs", marks=pytest.mark.lakefs)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> VersionedStore:
    if request.param == "embedded":
        return EmbeddedStore(tmp_path / "store", lock_timeout_s=10)
    return request.getfixturevalue("lakefs_server").store(tmp_path / "cache")


def test_what_is_staged_is_seen_on_its_branch_alone(store: VersionedStore, tmp_path: Path) -> None:
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


def test_commit_merge_and_read_at_every_ref(store: VersionedStore) -> None:
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


def test_nothing_changed_is_no_commit(store: VersionedStore) -> None:
    published(store, {"a": b"1"})
    head = store.branch("work")
    assert store.commit("work", "nothing staged") == head
    stage(store, "work", {"a": b"1", "never-there": None})
    assert store.commit("work", "the same bytes") == head
    assert store.merge("work") == store.resolve(MAIN) == head


def test_remove_hides_then_seals(store: VersionedStore) -> None:
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


@pytest.mark.parametrize(("base", "ours", "theirs"), [
    ({"x": b"0"}, {"x": b"1"}, {"x": b"2"}),
    ({"x": b"0"}, {"x": None}, {"x": b"2"}),
    ({"x": b"0"}, {"x": b"1"}, {"x": None}),
    ({}, {"x": b"1"}, {"x": b"2"}),
    ({"x": b"1\n2\n3\n4\n"}, {"x": b"9\n2\n3\n4\n"}, {"x": b"1\n2\n3\n9\n"}),
], ids=["changed twice", "removed here, changed there", "changed here, removed there", "added twice",
        "lines that Git's text merge would mix"])
def test_a_path_changed_differently_on_both_sides_conflicts(store: VersionedStore, base: dict, ours: dict,
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


def test_the_same_change_on_both_sides_merges(store: VersionedStore) -> None:
    published(store, {"x": b"0", "gone": b"g", "mine": b"m"})
    store.branch("theirs")
    published(store, {"x": b"1", "gone": None, "mine": b"n"}, "ours")
    stage(store, "theirs", {"x": b"1", "gone": None, "new/y": b"y"})
    store.commit("theirs", "theirs")
    merged = store.merge("theirs", message="both", metadata={"run": "2"})
    assert read(store, MAIN) == {"x": b"1", "mine": b"n", "new/y": b"y"}
    assert store.log()[0].metadata == {"run": "2"}
    assert store.merge("theirs") == merged


def test_uncommitted_writes_are_not_left_behind_by_a_merge(store: VersionedStore) -> None:
    store.branch("work")
    store.write("work", "a", b"1")
    with pytest.raises(StoreError, match="1 uncommitted writes"):
        store.merge("work")
    store.commit("work", "now")
    store.write(MAIN, "b", b"2")
    with pytest.raises(StoreError, match="branch main: 1 uncommitted"):
        store.merge("work")


def test_revert_of_a_merge_goes_back_to_its_first_parent(store: VersionedStore) -> None:
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


def test_tags_never_move_and_names_are_of_one_kind(store: VersionedStore) -> None:
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


def test_branches_are_made_once_and_removed_with_their_writes(store: VersionedStore) -> None:
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


def test_missing_refs_and_branches_are_named(store: VersionedStore, tmp_path: Path) -> None:
    published(store, {"a": b"1"})
    for verb in (lambda: store.write("nowhere", "a", b"1"), lambda: store.remove("nowhere", "a"),
                 lambda: store.link("nowhere", "a", MAIN, "a"), lambda: store.open("nowhere", "a"),
                 lambda: store.commit("nowhere", "m"), lambda: store.list("nowhere"), lambda: store.merge("nowhere"),
                 lambda: store.diff(MAIN, "nowhere"), lambda: store.delete_branch("nowhere"),
                 lambda: store.log("nowhere")):
        with pytest.raises(ObjectNotFound, match="nowhere"):
            verb()
    with pytest.raises(StoreError, match="absent"):
        store.write(MAIN, "a", tmp_path / "absent")




def test_content_is_linked_without_reading_it(store: VersionedStore) -> None:
    first = store.write(MAIN, "a", b"same")
    assert store.link(MAIN, "c", MAIN, "a") == ObjectInfo("c", first.sha256, 4)
    assert store.open(MAIN, "c").read_bytes() == b"same"
    assert store.list(MAIN, "c") == [ObjectInfo("c", first.sha256, 4)]
    with pytest.raises(ObjectNotFound, match="nowhere: expected a file"):
        store.link(MAIN, "d", MAIN, "nowhere")


@pytest.mark.parametrize("content", [b"", b"\x00" * 40_000_000], ids=["empty", "40 MB"])
def test_content_of_any_size_comes_back_read_only(store: VersionedStore, content: bytes) -> None:
    info = store.write(MAIN, "a", content)
    sealed = store.commit(MAIN, "sizes")
    assert store.list(sealed) == [ObjectInfo("a", hashlib.sha256(content).hexdigest(), len(content))] == [info]
    assert store.open(sealed, "a").read_bytes() == content
    assert store.open(sealed, "a").stat().st_mode & 0o777 == 0o444


def test_commits_say_who_made_them_and_from_what(store: VersionedStore) -> None:
    told = {"run_id": "7f", "größe": "naïve – 2013", "empty": ""}
    store.branch("work")
    store.write("work", "a", b"1")
    sealed = store.commit("work", "Season 2013\n\nwith a second paragraph", told)
    (commit,) = store.log(sealed, 1)
    assert (commit.id, commit.message, commit.metadata) == (sealed, "Season 2013\n\nwith a second paragraph", told)
    assert commit.parents == (store.resolve(MAIN),)
    assert commit.time.tzinfo is not None
    store.write("work", "a", b"2")
    wrong: Any = {"n": 1}
    with pytest.raises(StoreError, match="'n': expected text"):
        store.commit("work", "m", wrong)


def test_eight_branches_merged_at_once_are_all_there(store: VersionedStore) -> None:
    def season(k: int) -> str:
        return published(store, {f"season-{k}/a": str(k).encode()}, f"work-{k}")

    with ThreadPoolExecutor(8) as pool:
        merged = list(pool.map(season, range(8)))
    assert read(store, MAIN) == {f"season-{k}/a": str(k).encode() for k in range(8)}
    assert {commit.id for commit in store.log()} >= set(merged)


@pytest.mark.parametrize("name", ["", "-a", "a/b", "a b", "HEAD", "ä", "f" * 40, "f" * 64])
def test_names_that_no_store_takes(store: VersionedStore, name: str) -> None:
    with pytest.raises(StoreError, match="branch"):
        store.branch(name)
    with pytest.raises(StoreError, match="tag"):
        store.tag(name, MAIN)
    with pytest.raises(StoreError):
        store.resolve(name)


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", "../a", "a/./b", "a\\b", "a\nb"])
def test_paths_that_no_store_takes(store: VersionedStore, path: str) -> None:
    for verb in (lambda: store.write(MAIN, path, b"1"), lambda: store.open(MAIN, path),
                 lambda: store.remove(MAIN, path), lambda: store.link(MAIN, path, MAIN, "a")):
        with pytest.raises(StoreError, match="path"):
            verb()
