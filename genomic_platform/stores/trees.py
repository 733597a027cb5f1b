"""Git trees as flat sets of paths: reading, comparing and rewriting them, and the three-way comparison of a merge.

Here belong pure questions about trees: what differs, what conflicts, what the next tree is. A path is one unit: content
is never merged inside a file, since half of one table and half of another is no table. No branches and no locks here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pygit2
from pygit2.enums import FileMode

# The blob id at each changed path, None where the path is gone.
Changes = Mapping[str, pygit2.Oid | None]


class PathCollision(Exception):
    """One path would be a file and a folder at once; `paths` names the files that cannot be placed."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = tuple(sorted(paths))
        super().__init__(", ".join(self.paths))


@dataclass
class _Folder:
    """Changes sorted into folders: `files` of this folder, `folders` below it."""

    files: dict[str, pygit2.Oid | None] = field(default_factory=dict)
    folders: dict[str, _Folder] = field(default_factory=dict)


def lookup(tree: pygit2.Tree, path: str) -> pygit2.Oid | None:
    """The blob id at `path`, or None."""
    try:
        found = tree[path]
    except KeyError:
        return None
    return found.id if isinstance(found, pygit2.Blob) else None


def walk(tree: pygit2.Tree, prefix: str = "", folder: str = "") -> Iterator[tuple[str, pygit2.Oid]]:
    """Every (path, blob id) whose path starts with `prefix`; folders that cannot hold one are not read."""
    for entry in tree:
        path = folder + (entry.name or "")
        if isinstance(entry, pygit2.Tree):
            below = path + "/"
            if below.startswith(prefix) or prefix.startswith(below):
                yield from walk(entry, prefix, below)
        elif path.startswith(prefix):
            yield path, entry.id


def differences(left: pygit2.Tree, right: pygit2.Tree) -> dict[str, tuple[pygit2.Oid | None, pygit2.Oid | None]]:
    """Paths whose blobs differ, each with its (left, right) blob id; folders with equal ids are not read."""
    found: dict[str, tuple[pygit2.Oid | None, pygit2.Oid | None]] = {}
    _compare(left, right, "", found)
    return found


def _compare(left: pygit2.Tree | None, right: pygit2.Tree | None, folder: str,
             found: dict[str, tuple[pygit2.Oid | None, pygit2.Oid | None]]) -> None:
    sides = [{entry.name or "": entry for entry in side} if side is not None else {} for side in (left, right)]
    for name in sorted(sides[0].keys() | sides[1].keys()):
        a, b = sides[0].get(name), sides[1].get(name)
        if a is not None and b is not None and a.id == b.id:
            continue
        below = [entry if isinstance(entry, pygit2.Tree) else None for entry in (a, b)]
        if any(below):
            _compare(below[0], below[1], f"{folder}{name}/", found)
        blobs = [entry.id if isinstance(entry, pygit2.Blob) else None for entry in (a, b)]
        if any(blobs):
            found[folder + name] = (blobs[0], blobs[1])


def three_way(base: pygit2.Tree, ours: pygit2.Tree, theirs: pygit2.Tree) -> tuple[Changes, list[str]]:
    """What `theirs` changed since `base` and `ours` lacks, and the paths both changed differently (sorted).

    The same change on both sides, a removal included, is clean; a removal against a change is a conflict.
    """
    our_changes = {path: after for path, (_, after) in differences(base, ours).items()}
    their_changes = {path: after for path, (_, after) in differences(base, theirs).items()}
    conflicts = sorted(path for path, after in their_changes.items()
                       if path in our_changes and our_changes[path] != after)
    return {path: after for path, after in their_changes.items() if path not in our_changes}, conflicts


def rewrite(repository: pygit2.Repository, tree: pygit2.Tree, changes: Changes) -> pygit2.Oid:
    """Write the tree that `changes` make of `tree`; only touched folders are written. Returns the new tree's id.

    Raises
    ------
    PathCollision : a path would be a file and a folder at once.
    """
    removals = {path: blob for path, blob in changes.items() if blob is None}
    if removals:  # first, so that a file may give way to a folder of its name and the reverse
        tree = repository[_apply(repository, tree, _sort(removals), "") or _empty(repository)].peel(pygit2.Tree)
    additions = {path: blob for path, blob in changes.items() if blob is not None}
    return _apply(repository, tree, _sort(additions), "") or _empty(repository)


def _empty(repository: pygit2.Repository) -> pygit2.Oid:
    return repository.TreeBuilder().write()


def _sort(changes: Changes) -> _Folder:
    top = _Folder()
    for path, blob in changes.items():
        *folders, name = path.split("/")
        place = top
        for folder in folders:
            place = place.folders.setdefault(folder, _Folder())
        place.files[name] = blob
    return top


def _apply(repository: pygit2.Repository, tree: pygit2.Tree | None, changes: _Folder, folder: str) -> pygit2.Oid | None:
    old = {entry.name or "": entry for entry in tree} if tree is not None else {}
    collisions = [name for name, blob in changes.files.items()
                  if blob is not None and (name in changes.folders or isinstance(old.get(name), pygit2.Tree))]
    builder = repository.TreeBuilder(tree) if tree is not None else repository.TreeBuilder()
    for name, blob in changes.files.items():
        if blob is not None:
            builder.insert(name, blob, FileMode.BLOB)
        elif isinstance(old.get(name), pygit2.Blob):
            builder.remove(name)
    for name, below in changes.folders.items():
        _apply_below(repository, builder, old.get(name), name, below, folder, collisions)
    if collisions:
        raise PathCollision([folder + name for name in collisions])
    return builder.write() if len(builder) else None


def _apply_below(repository: pygit2.Repository, builder: pygit2.TreeBuilder, old: pygit2.Object | None, name: str,
                 below: _Folder, folder: str, collisions: list[str]) -> None:
    if isinstance(old, pygit2.Blob):
        if _adds(below):
            collisions.append(name)
        return
    subtree = old if isinstance(old, pygit2.Tree) else None
    written = _apply(repository, subtree, below, f"{folder}{name}/")
    if written is not None:
        builder.insert(name, written, FileMode.TREE)
    elif subtree is not None:
        builder.remove(name)


def _adds(changes: _Folder) -> bool:
    return any(blob is not None for blob in changes.files.values()) or any(map(_adds, changes.folders.values()))
