"""What is the lakeFS store's own, on a real server: refusals, silence, its cache, its checks on merges.

What every store keeps is in test_store_conformance.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from genomic_platform.errors import CorruptObject, MergeConflict, ObjectNotFound, StoreError, StoreUnavailable
from genomic_platform.stores.embedded import EmbeddedStore
from genomic_platform.stores.lakefs import LakeFSStore
from genomic_platform.stores.lakefs_setup import prepare_repository
from genomic_platform.stores.migrate import Migrated, migrate
from genomic_platform.stores.protocol import MAIN, Collected
from genomic_platform_tests.support.lakefs_server import Server
from genomic_platform_tests.support.served import free_port
from genomic_platform_tests.support.versioning import published, read

pytestmark = pytest.mark.lakefs
ACTIONS = sorted((Path(__file__).parents[2] / "deploy" / "lakefs_actions").glob("*.yaml"))
RELEASE = {"program": "rice", "season": "2013", "run_id": "7f", "fingerprint": "ab", "code_version": "1",
           "audit_head": "cd", "checks": "passed"}


@pytest.fixture
def store(lakefs_server: Server, tmp_path: Path) -> LakeFSStore:
    return lakefs_server.store(tmp_path / "cache")


def requests(store: LakeFSStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The requests that the store makes from now on, as they are made: method and address."""
    pool = store.api.objects_api.api_client.rest_client.pool_manager
    made: list[str] = []
    real: Callable = pool.request

    def noted(method: str, url: str, **options: object) -> object:
        made.append(f"{method} {url}")
        return real(method=method, url=url, **options)

    monkeypatch.setattr(pool, "request", noted)
    return made


def test_wrong_key_missing_repository_and_wrong_address_are_told_apart(lakefs_server: Server, tmp_path: Path) -> None:
    right = lakefs_server.store(tmp_path / "cache")
    wrong_key = LakeFSStore(lakefs_server.endpoint, "AKIAWRONG", "wrong", right.repository, tmp_path, ())
    with pytest.raises(StoreError, match=r"wrong or expired.*LAKEFS_ACCESS_KEY_ID") as caught:
        wrong_key.list(MAIN)
    assert caught.value.__cause__ is not None
    none_there = LakeFSStore(lakefs_server.endpoint, lakefs_server.key, lakefs_server.secret, "absent", tmp_path, ())
    with pytest.raises(ObjectNotFound, match=r"repository absent: none on lakeFS at http.*store setup"):
        none_there.list(MAIN)
    nobody = LakeFSStore(f"http://127.0.0.1:{free_port()}", "k", "s", "rice", tmp_path, (0.01,))
    with pytest.raises(StoreUnavailable, match=r"no answer from lakeFS at http.*LAKEFS_ENDPOINT"):
        nobody.list(MAIN)
    elsewhere = LakeFSStore(f"{lakefs_server.endpoint}/elsewhere", "k", "s", "rice", tmp_path, ())
    with pytest.raises(StoreError, match="expected a lakeFS server, found something else"):
        elsewhere.list(MAIN)
    not_a_name = LakeFSStore(lakefs_server.endpoint, lakefs_server.key, lakefs_server.secret, "Rice Trials", tmp_path)
    with pytest.raises(StoreError, match="repository Rice Trials"):
        prepare_repository(not_a_name, "local://rice")


def test_what_is_written_or_read_here_once_is_not_sent_again(store: LakeFSStore, lakefs_server: Server, tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = published(store, {"p/a": b"genotypes"})
    made = requests(store, monkeypatch)
    assert store.open(sealed, "p/a").read_bytes() == b"genotypes"
    assert store.write(MAIN, "p/a", b"genotypes").size == 9
    assert not [r for r in made if r.startswith("POST") or "/objects?path" in r]
    other = LakeFSStore(lakefs_server.endpoint, lakefs_server.key, lakefs_server.secret, store.repository,
                        tmp_path / "other")
    made = requests(other, monkeypatch)
    for _ in range(2):
        assert other.open(sealed, "p/a").read_bytes() == b"genotypes"
    assert len([r for r in made if "/objects?path" in r]) == 1
    assert other.collect(0.0, dry_run=True) == other.collect(0.0) == Collected(1, 9)
    assert other.open(sealed, "p/a").read_bytes() == b"genotypes"


def test_changed_bytes_are_named_on_the_server_and_in_the_cache(killable_server: Server, tmp_path: Path) -> None:
    store = killable_server.store(tmp_path / "cache")
    published(store, {"p/a": b"genotypes"})
    cached = store.open(MAIN, "p/a")
    cached.chmod(0o644)
    cached.write_bytes(b"phenotype")
    with pytest.raises(CorruptObject, match="p/a: expected object"):
        store.open(MAIN, "p/a")
    cached.unlink()
    (block,) = [file for file in (tmp_path / "lakefs" / "blocks").rglob("*") if file.is_file()
                and file.read_bytes() == b"genotypes"]
    block.write_bytes(b"phenotype")
    with pytest.raises(CorruptObject, match=r"p/a: expected object .* gave .*restore its block storage"):
        store.open(MAIN, "p/a")


def test_an_object_of_another_client_is_read_for_its_checksum(store: LakeFSStore) -> None:
    store.api.objects_api.upload_object(store.repository, MAIN, "by/hand", content=b"rice")
    (info,) = store.list(MAIN)
    assert store.open(MAIN, "by/hand").read_bytes() == b"rice"
    assert store.write(MAIN, "copy", b"rice").sha256 == info.sha256


def test_a_server_killed_under_writers_loses_nothing(killable_server: Server, tmp_path: Path) -> None:
    """kill -9 and a start, five times, while three writers publish; each goes on by itself."""
    store = killable_server.store(tmp_path / "cache", waits_s=(0.1, 0.2, 0.4, 0.8, 1.6, 3.2))
    done: list[str] = []

    def writer(k: int) -> None:
        done.extend(published(store, {f"writer-{k}/{i}": f"{k} {i}".encode()}, f"work-{k}-{i}") for i in range(12))

    threads = [threading.Thread(target=writer, args=(k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    kills = 0
    while kills < 5 and any(thread.is_alive() for thread in threads):
        killable_server.kill()
        killable_server.start()
        kills += 1
    for thread in threads:
        thread.join(120)
    assert kills == 5
    assert read(store, MAIN) == {f"writer-{k}/{i}": f"{k} {i}".encode() for k in range(3) for i in range(12)}
    assert store.branches() == [MAIN]
    assert {commit.id for commit in store.log()} >= set(done)


def test_a_server_that_stays_away_is_a_transient_error_and_loses_nothing(killable_server: Server,
                                                                         tmp_path: Path) -> None:
    store = killable_server.store(tmp_path / "cache", waits_s=(0.01, 0.02))
    store.branch("work")
    store.write("work", "a", b"1")
    killable_server.kill()
    for verb in (lambda: store.write("work", "b", b"2"), lambda: store.commit("work", "m"), lambda: store.list("work"),
                 lambda: store.merge("work"), lambda: store.open("work", "a")):
        with pytest.raises(StoreUnavailable, match="no answer") as caught:
            verb()
        assert caught.value.transient
    killable_server.start()
    store.commit("work", "m")
    store.merge("work")
    assert read(store, MAIN) == {"a": b"1"}


def test_main_is_protected_and_takes_only_what_says_what_it_is(killable_server: Server, tmp_path: Path) -> None:
    store = killable_server.store(tmp_path / "cache")
    made = prepare_repository(store, "local://x", ACTIONS)
    assert made == ["protected branch main", "installed checks on merges"]
    assert prepare_repository(store, "local://x", ACTIONS) == []
    store.branch("work")
    store.write("work", "a", b"1")
    store.commit("work", "m")
    head = store.resolve(MAIN)
    for told, complaint in (({}, "needs the metadata program"), ({**RELEASE, "run_id": ""}, "needs the metadata"),
                            ({**RELEASE, "checks": "failed"}, "did not pass: checks is failed")):
        with pytest.raises(StoreError, match=complaint):
            store.merge("work", metadata=told)
    assert store.resolve(MAIN) == head
    merged = store.merge("work", metadata=RELEASE)
    with pytest.raises(StoreError, match="protects the branch"):
        store.write(MAIN, "b", b"2")
    assert store.revert(merged) == store.resolve(MAIN)
    decision = {"program": "rice", "decision": "rollback", "trait": "yield", "who": "ana", "audit_head": "ef"}
    store.branch("decide")
    store.write("decide", "c", b"3")
    store.commit("decide", "rollback")
    store.merge("decide", metadata=decision)
    assert set(read(store, MAIN)) == {"c", "_lakefs_actions/release_checks.yaml"}


def test_conflicts_are_named_though_the_server_says_nothing(store: LakeFSStore) -> None:
    store.branch("late")
    published(store, {"x": b"1", "y": b"1"})
    store.write("late", "x", b"2")
    store.commit("late", "late")
    with pytest.raises(MergeConflict, match="changed differently on both sides: x;") as caught:
        store.merge("late")
    assert caught.value.__cause__ is not None


def test_a_history_moves_commit_by_commit_and_goes_on_after_a_kill(store: LakeFSStore, tmp_path: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    old = EmbeddedStore(tmp_path / "old")
    for k in range(3):
        old.branch("work")
        old.write("work", "p/a", f"{k}".encode())
        old.write("work", f"p/{k}", b"kept")
        if k == 2:
            old.remove("work", "p/0")
        old.commit("work", "step")
        old.merge("work", MAIN, f"publish season {k}", {**RELEASE, "season": f"{k}"})
        old.delete_branch("work")
    real, calls = store.merge, []

    def killed_at_the_second(*arguments: str) -> str:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(store, "merge", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        migrate(old, store)
    assert migrate(old, store) == Migrated(made=2, already=1, objects=3)
    assert migrate(old, store) == Migrated(made=0, already=3, objects=3)
    for then in old.log()[:-1]:
        assert read(store, then.id) == read(old, then.id)
    assert [(c.message, c.time, c.metadata["season"]) for c in store.log()[:3]] == \
        [(c.message, c.time, c.metadata["season"]) for c in old.log()[:3]]
    assert store.branches() == [MAIN]


def test_a_history_does_not_move_onto_another_nor_under_a_run(store: LakeFSStore, tmp_path: Path) -> None:
    old = EmbeddedStore(tmp_path / "old")
    old.branch("run-7f")
    with pytest.raises(StoreError, match=r"1 branches .*run-7f.*sweep"):
        migrate(old, store)
    old.delete_branch("run-7f")
    store.branch("work")
    store.write("work", "b", b"2")
    store.commit("work", "own")
    store.merge("work", MAIN, "own", RELEASE)
    with pytest.raises(StoreError, match=r"without history of its own.*another repository"):
        migrate(old, store)
