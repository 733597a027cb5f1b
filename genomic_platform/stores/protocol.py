"""The versioned store: a few verbs that every implementation keeps, whatever lies beneath.

Paths are relative with `/`. A *ref* is a branch, a tag or a commit id. A write on a branch is *staged*: readers
of that branch see it at once, readers of other refs never, and `commit` seals everything staged on the branch.
Staging belongs to the branch, not to the writer, so a run's branch is committed in one place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

MAIN = "main"
#: Metadata of a commit that came from another store: its id and time (ISO 8601) there.
MIGRATED_FROM, MIGRATED_TIME = "migrated_from", "migrated_time"
#: Metadata of a release: the page of its Dagster run; lakeFS's web pages make a button of this key.
RUN_BUTTON = "::lakefs::Dagster run::url[url:ui]"


@dataclass(frozen=True)
class ObjectInfo:
    """One stored file: its path, sha256 (lower-case hex) and size in bytes."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Commit:
    """One commit: id, parents (ids), message, metadata (strings), time (UTC)."""

    id: str
    parents: tuple[str, ...]
    message: str
    metadata: Mapping[str, str]
    time: datetime


@dataclass(frozen=True)
class Change:
    """One path that differs between two refs: `added`, `removed`, `changed` or `conflict`."""

    path: str
    kind: str


@dataclass(frozen=True)
class Collected:
    """Contents removed, or (dry run) that would be: how many files and bytes."""

    files: int
    bytes: int


class VersionedStore(Protocol):
    """The verbs. All raise the StoreError branch of `errors`: ObjectNotFound, MergeConflict, CorruptObject, …"""

    def branch(self, name: str, source: str = MAIN) -> str:
        """Make branch `name` at `source` unless it exists; returns the commit id its reads are pinned to."""
        ...

    def branches(self) -> list[str]: ...

    def delete_branch(self, name: str) -> None:
        """Remove a branch and what is staged on it. `main` cannot be removed."""
        ...

    def write(self, branch: str, path: str, source: Path | bytes) -> ObjectInfo:
        """Stage a file's content (a path is copied, never moved). Equal content is stored once."""
        ...

    def link(self, branch: str, path: str, source_ref: str, source_path: str) -> ObjectInfo:
        """Stage at `path` what `source_path` holds at `source_ref`, without reading it. Raises ObjectNotFound."""
        ...

    @property
    def bytes_added(self) -> int:
        """Bytes that writes through this object have added to the store; content it held already adds none."""
        ...

    def remove(self, branch: str, path: str) -> None:
        """Stage the removal of a path."""
        ...

    def open(self, ref: str, path: str) -> Path:
        """A local read-only file with the content; its checksum is verified on first read in this process."""
        ...

    def list(self, ref: str, prefix: str = "") -> list[ObjectInfo]:
        """Objects whose path starts with `prefix`, sorted by path; on a branch, staged ones included."""
        ...

    def commit(self, branch: str, message: str, metadata: Mapping[str, str] | None = None) -> str:
        """Seal what is staged; returns the commit id, the branch's present one when nothing changed."""
        ...

    def merge(self, source: str, target: str = MAIN, message: str = "",
              metadata: Mapping[str, str] | None = None) -> str:
        """Merge `source` into `target` path by path against their common ancestor; returns `target`'s commit id.

        Raises MergeConflict, changing nothing, when a path was changed differently on both sides.
        """
        ...

    def diff(self, left: str, right: str) -> list[Change]: ...

    def log(self, ref: str = MAIN, limit: int | None = None) -> Sequence[Commit]:
        """Commits from `ref` back along first parents, newest first."""
        ...

    def revert(self, commit: str, branch: str = MAIN) -> str:
        """A new commit on `branch` that undoes `commit` (against its first parent)."""
        ...

    def tag(self, name: str, ref: str) -> None:
        """Name a commit for good; moving a tag is refused."""
        ...

    def resolve(self, ref: str) -> str:
        """The commit id of a branch, tag or commit id. Raises ObjectNotFound."""
        ...

    def collect(self, older_than_s: float = 3600.0, dry_run: bool = False) -> Collected:
        """Remove from this machine's disk contents that it need not hold, stored that many seconds ago or more."""
        ...
