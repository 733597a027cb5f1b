"""Refs and commits of the embedded store's Git repository: finding, sealing and reading them.

Here belongs what concerns one ref or one commit. Which verb needs which, and under what lock, is for `embedded`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pygit2

from genomic_platform.errors import ObjectNotFound
from genomic_platform.stores import names
from genomic_platform.stores.objects import sweep
from genomic_platform.stores.protocol import Commit

_AUTHOR = ("genomic_platform", "genomic_platform@localhost")


def branch_id(repository: pygit2.Repository, name: str) -> pygit2.Oid | None:
    """The commit id of branch `name`, or None."""
    return _target(repository, f"refs/heads/{name}") if names.is_branch_name(name) else None


def tag_id(repository: pygit2.Repository, name: str) -> pygit2.Oid | None:
    """The commit id of tag `name`, or None."""
    return _target(repository, f"refs/tags/{name}") if names.is_tag_name(name) else None


def _target(repository: pygit2.Repository, ref: str) -> pygit2.Oid | None:
    found = repository.references.get(ref)
    return found.peel(pygit2.Commit).id if found is not None else None


def branch_head(repository: pygit2.Repository, name: str) -> pygit2.Commit:
    """The head of branch `name`. Raises StoreError for an impossible name, ObjectNotFound for no such branch."""
    names.check_branch_name(name)
    head = branch_id(repository, name)
    if head is None:
        raise ObjectNotFound(f"branch {name}: expected a branch of the store, found none; make it with `branch` first")
    return repository[head].peel(pygit2.Commit)


def commit_at(repository: pygit2.Repository, ref: str) -> pygit2.Commit:
    """The commit of a branch, tag or full commit id. Raises ObjectNotFound."""
    found = branch_id(repository, ref) or tag_id(repository, ref) or (ref if names.is_commit_id(ref) else None)
    commit = repository.get(found) if found is not None else None
    if not isinstance(commit, pygit2.Commit):
        raise ObjectNotFound(f"{ref!r}: expected a branch, a tag or a commit id of 40 hexadecimal digits, found no "
                             "such ref in the store")
    return commit


def empty_tree(repository: pygit2.Repository) -> pygit2.Tree:
    return repository[repository.TreeBuilder().write()].peel(pygit2.Tree)


def seal(repository: pygit2.Repository, branch: str, tree: pygit2.Oid, parents: Sequence[pygit2.Oid],
         message: str, metadata: Mapping[str, str]) -> str:
    """Write a commit and point `branch` at it, in this order; returns the commit id."""
    author = pygit2.Signature(*_AUTHOR, int(time.time()), 0)
    packed = names.pack_message(message, metadata)
    commit = repository.create_commit(None, author, author, packed, tree, [*parents])
    repository.references.create(f"refs/heads/{branch}", commit, force=True)
    return str(commit)


def describe(commit: pygit2.Commit) -> Commit:
    """A Git commit in the store's words."""
    message, metadata = names.unpack_message(commit.message)
    return Commit(str(commit.id), tuple(map(str, commit.parent_ids)), message, metadata,
                  datetime.fromtimestamp(commit.commit_time, UTC))


def clean_after_kills(root: Path, keep: str) -> None:
    """Remove ref locks and old temporary objects whose maker was killed.

    Call it under the store's own lock (the file `keep`), where no other writer can hold a ref lock.
    """
    for folder in (root, root / "refs" / "heads", root / "refs" / "tags"):
        for stale in folder.glob("*.lock"):
            if stale.name != keep:
                stale.unlink(missing_ok=True)
    sweep((root / "objects").glob("tmp_obj*"))
