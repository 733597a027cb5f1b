"""Names of branches and paths, and commit messages with metadata, through the embedded store."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from genomic_platform.errors import ObjectNotFound, StoreError
from genomic_platform.stores.embedded import EmbeddedStore
from genomic_platform.stores.protocol import MAIN


@pytest.fixture
def store(tmp_path: Path) -> EmbeddedStore:
    return EmbeddedStore(tmp_path / "store")


@pytest.mark.parametrize("name", ["", "-x", "a/b", "a b", "a.b", "é", "HEAD", "0" * 40])
def test_branch_names(store: EmbeddedStore, name: str) -> None:
    with pytest.raises(StoreError, match="choose another name"):
        store.branch(name)
    with pytest.raises(ObjectNotFound):
        store.resolve(name)


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", "../a", "a/./b", ".git/config", "a\\b", "a\nb", "x" * 256,
                                  "\ud800"])
def test_paths_that_are_refused(store: EmbeddedStore, path: str) -> None:
    with pytest.raises(StoreError, match="choose another path"):
        store.write(MAIN, path, b"1")


@pytest.mark.parametrize("path", ["p/2013/größe β.parquet", "%2e%2e", "a/b.json/c", "-x", "deep/" * 60 + "x",
                                  "*?[]'\""])
def test_paths_that_are_kept(store: EmbeddedStore, path: str) -> None:
    store.write(MAIN, path, b"1")
    store.commit(MAIN, "step")
    assert [info.path for info in store.list(MAIN)] == [path]
    assert store.open(MAIN, path).read_bytes() == b"1"


@pytest.mark.parametrize("message", ["", "One line", "Two\n\nparagraphs\n", "größe ✓",
                                     "x\n\nGenomic-Platform-Metadata: {\"a\": \"b\"}"])
@pytest.mark.parametrize("metadata", [{}, {"run_id": "7", "größe": "a\n\nb: {\"β\"}", "": "\x00\ud800"}],
                         ids=["none", "odd"])
def test_message_and_metadata_come_back_exactly(store: EmbeddedStore, message: str, metadata: dict[str, str]) -> None:
    store.write(MAIN, "a", b"1")
    sealed = store.commit(MAIN, message, metadata)
    commit = store.log()[0]
    assert (commit.id, commit.message, commit.metadata) == (sealed, message, metadata)
    assert abs(commit.time.timestamp() - time.time()) < 60
