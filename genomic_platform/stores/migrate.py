"""Moving a workspace's history from one store to a lakeFS server: every commit of `main` made again, in its order.

The old store is read and never changed. A kill leaves whole commits, and the next start goes on after the last of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from genomic_platform.errors import StoreError
from genomic_platform.stores.lakefs import LakeFSStore
from genomic_platform.stores.lakefs_setup import ACTIONS
from genomic_platform.stores.protocol import MAIN, MIGRATED_FROM, MIGRATED_TIME, Commit, VersionedStore

_BRANCH = "migrate"


@dataclass(frozen=True)
class Migrated:
    """What a migration found and did: commits made now and before, and objects at the end."""

    made: int
    already: int
    objects: int


def migrate(source: VersionedStore, target: LakeFSStore, say: Callable[[str], object] = lambda _: None) -> Migrated:
    """Make every commit of `source`'s main again on `target`'s, with message, metadata, and its id and time there.

    Raises
    ------
    StoreError
        Unfinished runs in `source`, commits of its own in `target`, or content that differs at the end of a commit.
    """
    if unfinished := [name for name in source.branches() if name != MAIN]:
        raise StoreError(f"{len(unfinished)} branches of runs and decisions are open (for example {unfinished[0]}); "
                         "expected none while a store moves; repair: let the runs end, then genomic-platform sweep")
    history = list(reversed(source.log(MAIN)))
    done = target.migrated
    _require_no_others(target, {commit.id for commit in history})
    waiting = [commit for commit in history if commit.id not in done and source.list(commit.id)]
    for number, commit in enumerate(waiting, 1):
        say(f"{number} of {len(waiting)}: {commit.message.strip()}")
        _make_again(source, target, commit)
    return Migrated(len(waiting), len(done), len(_contents(target, MAIN)))


def _require_no_others(target: LakeFSStore, known: set[str]) -> None:
    own = [c for c in target.log(MAIN) if c.metadata and "checks_installed" not in c.metadata
           and c.metadata.get(MIGRATED_FROM) not in known]
    if own:
        raise StoreError(f"repository {target.repository}: expected one without history of its own, found commit "
                         f"{own[0].id[:12]} ({own[0].message.strip()}); repair: migrate into another repository")


def _make_again(source: VersionedStore, target: LakeFSStore, commit: Commit) -> None:
    if _BRANCH in target.branches():
        target.delete_branch(_BRANCH)  # of a migration that was killed
    target.branch(_BRANCH)
    wanted, present = _contents(source, commit.id), _contents(target, _BRANCH)
    for path, sha256 in wanted.items():
        if present.get(path) != sha256:
            target.write(_BRANCH, path, source.open(commit.id, path))
    for path in present.keys() - wanted.keys():
        target.remove(_BRANCH, path)
    told = {**commit.metadata, MIGRATED_FROM: commit.id, MIGRATED_TIME: commit.time.isoformat()}
    target.commit(_BRANCH, commit.message, told)
    made = target.merge(_BRANCH, MAIN, commit.message, told)
    if _contents(target, made) != wanted:
        raise StoreError(f"commit {commit.id}: its contents on {target.endpoint} differ from those in the old store; "
                         "repair: migrate into a new repository")
    target.delete_branch(_BRANCH)


def _contents(store: VersionedStore, ref: str) -> dict[str, str]:
    """sha256 by path, without the server's own checks."""
    return {item.path: item.sha256 for item in store.list(ref) if not item.path.startswith(f"{ACTIONS}/")}
