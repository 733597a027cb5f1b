"""Garbage collection of the embedded store: contents that nothing can reach any more.

Reachable is what any commit of any branch or tag holds, back to the first, and what is staged on any branch. Called
under the store's lock; a kill in the middle leaves some of the garbage. Git's own few loose objects stay.
"""

from __future__ import annotations

from collections.abc import Iterator

import pygit2

from genomic_platform.stores import trees
from genomic_platform.stores.objects import read_pointer
from genomic_platform.stores.staging import Staging


def reachable(repository: pygit2.Repository, staging: Staging) -> set[str]:
    """sha256 of every content that a commit of a branch or tag holds, or that is staged."""
    blobs: dict[pygit2.Oid, str] = {}
    trees_seen: set[pygit2.Oid] = set()
    for commit in _commits(repository):
        if commit.tree.id not in trees_seen:
            trees_seen.add(commit.tree.id)
            blobs |= {blob: path for path, blob in trees.walk(commit.tree) if blob not in blobs}
    found = {read_pointer(repository[blob].peel(pygit2.Blob).data, path)[0] for blob, path in blobs.items()}
    staged = (entry.sha256 for branch in staging.branches() for entry in staging.entries(branch).values())
    return found | {sha256 for sha256 in staged if sha256 is not None}


def _commits(repository: pygit2.Repository) -> Iterator[pygit2.Commit]:
    walker = repository.walk(None)
    for name in repository.references:
        walker.push(repository.references[name].peel(pygit2.Commit).id)
    yield from walker
