"""The embedded store with several processes at once, and with a process killed at any moment.

The file is also the program of those processes (see `__main__` at its end), so that they start fast and clean.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from genomic_platform.stores.embedded import EmbeddedStore
from genomic_platform.stores.protocol import MAIN

ROUNDS, WRITERS, COMMITS = 100, 8, 25


@pytest.fixture
def store(tmp_path: Path) -> EmbeddedStore:
    return EmbeddedStore(tmp_path / "store")


def published(store: EmbeddedStore, contents: dict[str, bytes], branch: str = "work") -> str:
    """Write on a branch of main, commit, merge and remove the branch; the merge's id."""
    store.branch(branch)
    for path, content in contents.items():
        store.write(branch, path, content)
    store.commit(branch, "step")
    merged = store.merge(branch)
    store.delete_branch(branch)
    return merged


def read(store: EmbeddedStore, ref: str) -> dict[str, bytes]:
    return {info.path: store.open(ref, info.path).read_bytes() for info in store.list(ref)}


def git(store: EmbeddedStore, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(store.root), *arguments], check=True, capture_output=True, text=True).stdout


def test_processes_at_once_lose_nothing(store: EmbeddedStore) -> None:
    writers = [subprocess.Popen([sys.executable, __file__, "write", str(store.root), str(k)]) for k in range(WRITERS)]
    assert [writer.wait(300) for writer in writers] == [0] * WRITERS
    expected = {f"writer-{k}/{i}": f"{k} {i}".encode() for k in range(WRITERS) for i in range(COMMITS)}
    expected |= {f"shared/{k}": f"{COMMITS - 1}".encode() for k in range(WRITERS)}
    assert read(store, MAIN) == expected
    git(store, "fsck", "--strict")


def test_collecting_beside_writers_takes_nothing_they_need(store: EmbeddedStore) -> None:
    writers = [subprocess.Popen([sys.executable, __file__, "write", str(store.root), str(k)]) for k in range(2)]
    collected = 0
    while any(writer.poll() is None for writer in writers):
        collected += store.collect(older_than_s=0.0).files
    assert [writer.returncode for writer in writers] == [0, 0]
    expected = {f"writer-{k}/{i}": f"{k} {i}".encode() for k in range(2) for i in range(COMMITS)}
    assert read(store, MAIN) == expected | {f"shared/{k}": f"{COMMITS - 1}".encode() for k in range(2)}
    assert store.open("together", "together/1/0").read_bytes() == b"staged"
    store.delete_branch("together")
    store.write(MAIN, "gone", b"nobody needs this")
    store.remove(MAIN, "gone")
    assert store.collect(older_than_s=3600.0).files == 0
    assert store.collect(older_than_s=0.0, dry_run=True) == store.collect(older_than_s=0.0)
    assert store.collect(older_than_s=0.0).files == 0


@pytest.mark.slow
def test_kill_at_any_moment_loses_no_published_commit(store: EmbeddedStore) -> None:
    run = subprocess.run([sys.executable, __file__, "kill", str(store.root)], capture_output=True, text=True,
                         timeout=120)
    assert run.returncode == 0, run.stderr
    ids = json.loads(run.stdout)
    assert len(ids) > 3  # how many depends on the machine; none would test nothing
    ancestors = set(git(store, "rev-list", "main").split())
    assert set(ids) <= ancestors
    present = read(store, MAIN)  # verifies every step's object in this process
    for commit in ids:
        stamp = store.open(commit, "latest").read_bytes()
        assert present[f"steps/{stamp.decode()}"] == stamp
    published(store, {"after": b"1"}, "after")
    assert read(store, MAIN) == {**present, "after": b"1"}
    git(store, "fsck")


def write_commits(root: Path, writer: int) -> None:
    """Commit and merge on branches of one's own, again and again; all writers stage on one branch that they share."""
    store = EmbeddedStore(root)
    for i in range(COMMITS):
        published(store, {f"writer-{writer}/{i}": f"{writer} {i}".encode(), f"shared/{writer}": f"{i}".encode()},
                  f"own-{writer}-{i}")
        store.branch("together")
        store.write("together", f"together/{writer}/{i}", b"staged")
    assert len(store.list("together", f"together/{writer}/")) == COMMITS


def publish_for_ever(root: Path, results: int) -> None:
    """Publish until killed; each commit id is told once its merge has returned."""
    store = EmbeddedStore(root)
    while True:
        stamp = str(time.time_ns())
        merged = published(store, {f"steps/{stamp}": stamp.encode(), "latest": stamp.encode()})
        os.write(results, f"{merged}\n".encode())


def kill_rounds(root: Path, rounds: int = ROUNDS) -> list[str]:
    """Kill a publishing child so many times at a random moment; the ids it told."""
    told, moments, longest_s = b"", random.Random(20130), 0.1
    for i in range(rounds):
        if i % 20 == 0:  # a busy machine publishes slowly: keep kills spread over two publications
            start = time.perf_counter()
            published(EmbeddedStore(root), {f"measured/{i}": f"{i}".encode()}, f"measured-{i}")
            longest_s = min(2 * (time.perf_counter() - start), 0.5)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                publish_for_ever(root, writer)
            finally:
                os._exit(1)
        os.close(writer)
        time.sleep(moments.uniform(0.0, longest_s))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            raise SystemExit("the publishing child failed by itself")
        with contextlib.closing(os.fdopen(reader, "rb")) as results:
            told += results.read()
    return told.decode().split()


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write_commits(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        print(json.dumps(kill_rounds(Path(sys.argv[2]), *map(int, sys.argv[3:]))))
