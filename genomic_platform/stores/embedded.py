"""The versioned store of a laptop: a bare Git repository of Git LFS pointers with the contents beside it.

Here belong the verbs of `protocol.VersionedStore` and the order of writes that makes a kill at any moment harmless:
contents, then staged entries, then Git objects, then one branch ref. Bytes are `objects`'s, trees `trees`'s.
Everything that changes a ref or the staging of a branch happens under one OS lock; reading takes none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pygit2
from pygit2.enums import Option

from genomic_platform.errors import MergeConflict, ObjectNotFound, StoreError
from genomic_platform.stores import names, refs, trees
from genomic_platform.stores.collection import reachable
from genomic_platform.stores.lock import exclusive
from genomic_platform.stores.objects import Contents, pointer, read_pointer, sweep
from genomic_platform.stores.protocol import MAIN, Change, Collected, Commit, ObjectInfo
from genomic_platform.stores.staging import Staged, Staging

_LOCK = "genomic_platform.lock"


class EmbeddedStore:
    """A `VersionedStore` in the folder `root`, made there when the folder is missing or empty.

    Safe for several processes and threads at once on one machine; not for a network file system without flock.

    Parameters
    ----------
    root : the store's own folder.
    lock_timeout_s : seconds a writer waits for another before StoreUnavailable.
    """

    def __init__(self, root: Path, lock_timeout_s: float = 60.0) -> None:
        self.root = Path(root).absolute()
        self._lock_timeout_s = lock_timeout_s
        self._contents = Contents(self.root / "lfs")
        self._staging = Staging(self.root / "staging", self._contents)
        self._pointers: dict[pygit2.Oid, tuple[str, int]] = {}  # by blob id, which never changes its meaning
        pygit2.option(Option.ENABLE_FSYNC_GITDIR, True)
        if not self._is_ready():
            self._initialise()

    # Branches, tags, refs ---------------------------------------------------------------------------------------

    def branch(self, name: str, source: str = MAIN) -> str:
        """Make branch `name` at `source` unless it exists; returns the branch's commit id."""
        names.check_branch_name(name)
        with self._writing() as repository:
            if (head := refs.branch_id(repository, name)) is not None:
                return str(head)
            if refs.tag_id(repository, name) is not None:
                raise StoreError(f"branch {name}: a tag has this name; choose another")
            start = refs.commit_at(repository, source)
            self._staging.drop(name)  # of a branch of this name whose removal was killed half-way
            repository.references.create(f"refs/heads/{name}", start.id)
            return str(start.id)

    def branches(self) -> list[str]:
        """All branch names, sorted."""
        with self._reading() as repository:
            return sorted(repository.branches.local)

    def delete_branch(self, name: str) -> None:
        """Remove a branch and what is staged on it. Raises StoreError for `main`, ObjectNotFound for none."""
        if name == MAIN:
            raise StoreError(f"branch {MAIN} holds what is published and cannot be removed")
        with self._writing() as repository:
            refs.branch_head(repository, name)
            self._staging.drop(name)
            repository.references.delete(f"refs/heads/{name}")

    def tag(self, name: str, ref: str) -> None:
        """Name a commit for good; the same tag on the same commit is no change, on another it is refused."""
        names.check_tag_name(name)
        with self._writing() as repository:
            target = refs.commit_at(repository, ref).id
            if refs.branch_id(repository, name) is not None:
                raise StoreError(f"tag {name}: a branch has this name; choose another")
            present = refs.tag_id(repository, name)
            if present not in (None, target):
                raise StoreError(f"tag {name}: expected a new tag, found it on commit {present}; tags never move, "
                                 "choose another name")
            if present is None:
                repository.references.create(f"refs/tags/{name}", target)

    def resolve(self, ref: str) -> str:
        """The commit id of a branch, tag or full commit id. Raises ObjectNotFound."""
        with self._reading() as repository:
            return str(refs.commit_at(repository, ref).id)

    # Objects ----------------------------------------------------------------------------------------------------

    def write(self, branch: str, path: str, source: Path | bytes) -> ObjectInfo:
        """Stage content at `path`; equal content is stored once, and a file is copied, never moved."""
        names.check_path(path)
        with self._reading() as repository:
            refs.branch_head(repository, branch)  # refused here, before a large file is copied for nothing
            present = self._found(repository, branch, path)
        unchanged = present is not None and isinstance(source, Path) and self._contents.holds(*present, source)
        while True:
            try:
                return self._stage(branch, path, *(present if present and unchanged else self._contents.put(source)))
            except ObjectNotFound:  # collected as garbage between the two, since nothing held it yet
                unchanged = False
                with self._reading() as repository:
                    refs.branch_head(repository, branch)

    @property
    def bytes_added(self) -> int:
        """Bytes of contents that this object's writes added to the store."""
        return self._contents.bytes_added

    def link(self, branch: str, path: str, source_ref: str, source_path: str) -> ObjectInfo:
        """Stage at `path` what `source_path` holds at `source_ref`. Raises ObjectNotFound."""
        names.check_path(path)
        return self._stage(branch, path, *self._content(source_ref, source_path))

    def remove(self, branch: str, path: str) -> None:
        """Stage the removal of `path`; removing what is not there is no change."""
        names.check_path(path)
        with self._writing() as repository:
            refs.branch_head(repository, branch)
            self._staging.put(branch, Staged(path, None))

    def open(self, ref: str, path: str) -> Path:
        """The read-only file held at `path`, read in place. Raises ObjectNotFound, CorruptObject."""
        return self._contents.verified(*self._content(ref, path), path)

    def list(self, ref: str, prefix: str = "") -> list[ObjectInfo]:
        """Objects whose path starts with `prefix`, sorted by path; on a branch, what is staged is included."""
        with self._reading() as repository:
            staged, tree = self._view(repository, ref)
            found = {path: ObjectInfo(path, *self._pointer(repository, blob, path))
                     for path, blob in trees.walk(tree, prefix)}
        for path, entry in staged.items():
            if entry.sha256 is None:
                found.pop(path, None)
            elif path.startswith(prefix):
                found[path] = ObjectInfo(path, entry.sha256, entry.size)
        return [found[path] for path in sorted(found)]

    # Commits ----------------------------------------------------------------------------------------------------

    def commit(self, branch: str, message: str, metadata: Mapping[str, str] | None = None) -> str:
        """Seal what is staged on `branch`; returns the new commit's id, the present one when nothing changed."""
        with self._writing() as repository:
            head = refs.branch_head(repository, branch)
            pending = self._pending(repository, branch)
            if not pending:
                return str(head.id)
            changes = {path: repository.create_blob(pointer(entry.sha256, entry.size)) if entry.sha256 else None
                       for path, entry in pending.items()}
            try:
                tree = trees.rewrite(repository, head.tree, changes)
            except trees.PathCollision as collision:
                raise StoreError(f"branch {branch}: {collision} would be a file and a folder at once; remove one of "
                                 "the two before the commit") from collision
            sealed = refs.seal(repository, branch, tree, [head.id], message, metadata or {})
            self._staging.forget(branch, list(pending))
            return sealed

    def merge(self, source: str, target: str = MAIN, message: str = "",
              metadata: Mapping[str, str] | None = None) -> str:
        """Merge `source` into branch `target` path by path; returns `target`'s commit id, the present one when
        `source` is in it already.

        Raises
        ------
        StoreError : one of the two branches has uncommitted writes.
        MergeConflict : paths changed differently on both sides; nothing is changed.
        """
        with self._writing() as repository:
            ours, theirs = refs.branch_head(repository, target), refs.commit_at(repository, source)
            self._refuse_uncommitted(repository, source)
            base = repository.merge_base(ours.id, theirs.id)
            if base == theirs.id:
                return str(ours.id)
            self._refuse_uncommitted(repository, target)
            base_tree = repository[base].peel(pygit2.Tree) if base is not None else refs.empty_tree(repository)
            changes, conflicts = trees.three_way(base_tree, ours.tree, theirs.tree)
            tree = _rewritten(repository, ours.tree, changes, conflicts, f"merging {source} into {target}")
            return refs.seal(repository, target, tree, [ours.id, theirs.id],
                             message or f"Merge {source} into {target}", metadata or {})

    def revert(self, commit: str, branch: str = MAIN) -> str:
        """A commit on `branch` that puts the paths `commit` changed back to its first parent's version.

        Raises
        ------
        StoreError : the first commit of the store, or uncommitted writes on `branch`.
        MergeConflict : a path has changed again since; nothing is changed.
        """
        with self._writing() as repository:
            head, undone = refs.branch_head(repository, branch), refs.commit_at(repository, commit)
            if not undone.parents:
                raise StoreError(f"commit {undone.id}: it is the store's first and undoes to nothing")
            self._refuse_uncommitted(repository, branch)
            changes, conflicts = trees.three_way(undone.tree, head.tree, undone.parents[0].tree)
            tree = _rewritten(repository, head.tree, changes, conflicts, f"reverting {undone.id} on {branch}")
            if tree == head.tree.id:
                return str(head.id)
            subject = names.unpack_message(undone.message)[0].partition("\n")[0]
            return refs.seal(repository, branch, tree, [head.id], f"Revert {subject!r}", {"reverts": str(undone.id)})

    def diff(self, left: str, right: str) -> list[Change]:
        """Paths that differ between what readers of `left` and of `right` see, as seen going from left to right."""
        with self._reading() as repository:
            left_staged, left_tree = self._view(repository, left)
            right_staged, right_tree = self._view(repository, right)
            found = trees.differences(left_tree, right_tree)
            for path in left_staged.keys() | right_staged.keys():
                found[path] = (_overlaid(left_staged, left_tree, path), _overlaid(right_staged, right_tree, path))
        kinds = {path: "added" if before is None else "removed" if after is None else "changed"
                 for path, (before, after) in found.items() if before != after}
        return [Change(path, kinds[path]) for path in sorted(kinds)]

    def log(self, ref: str = MAIN, limit: int | None = None) -> Sequence[Commit]:
        """Commits from `ref` back along first parents, newest first."""
        found: list[Commit] = []
        with self._reading() as repository:
            commit: pygit2.Commit | None = refs.commit_at(repository, ref)
            while commit is not None and (limit is None or len(found) < limit):
                found.append(refs.describe(commit))
                commit = commit.parents[0] if commit.parent_ids else None
        return found

    def collect(self, older_than_s: float = 3600.0, dry_run: bool = False) -> Collected:
        """Remove contents that no branch, tag or staged write can reach, if they were stored that many seconds ago.

        Writers wait meanwhile. A reader of a branch that was removed may lose the file it reads.
        """
        with self._writing() as repository:
            return self._contents.collect(reachable(repository, self._staging), older_than_s, dry_run)

    # Within -----------------------------------------------------------------------------------------------------

    def _is_ready(self) -> bool:
        try:
            with self._reading() as repository:
                return refs.branch_id(repository, MAIN) is not None
        except StoreError:
            return False  # nothing there, or a first start killed half-way

    def _initialise(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        # The folder is listed first: another process that is making the store now makes its lock before all else.
        if any(self.root.iterdir()) and not (self.root / _LOCK).exists():
            raise StoreError(f"{self.root}: expected a store, or an empty folder to make one in, found other files; "
                             "give the store a folder of its own")
        with exclusive(self.root / _LOCK, self._lock_timeout_s):
            self._contents.prepare()
            self._staging.prepare()
            refs.clean_after_kills(self.root, keep=_LOCK)
            pygit2.init_repository(str(self.root), bare=True, initial_head=MAIN)
            with self._reading() as repository:
                if refs.branch_id(repository, MAIN) is None:
                    refs.seal(repository, MAIN, refs.empty_tree(repository).id, [], "Empty store", {})

    @contextmanager
    def _reading(self) -> Iterator[pygit2.Repository]:
        # Opened anew (0.1 ms) for each verb: a handle is not to be shared between threads or across a fork.
        try:
            yield pygit2.Repository(str(self.root))
        except (pygit2.GitError, OSError) as error:
            raise StoreError(f"{self.root}: expected to use the store's files, the system refused: {error}") from error

    @contextmanager
    def _writing(self) -> Iterator[pygit2.Repository]:
        with exclusive(self.root / _LOCK, self._lock_timeout_s), self._reading() as repository:
            refs.clean_after_kills(self.root, keep=_LOCK)
            sweep(self._contents.temporary.iterdir())
            yield repository

    def _view(self, repository: pygit2.Repository, ref: str) -> tuple[dict[str, Staged], pygit2.Tree]:
        staged = self._staging.entries(ref) if refs.branch_id(repository, ref) is not None else {}
        return staged, refs.commit_at(repository, ref).tree

    def _content(self, ref: str, path: str) -> tuple[str, int]:
        """(sha256, size) of what `path` holds at `ref`."""
        names.check_path(path)
        with self._reading() as repository:
            content = self._found(repository, ref, path)
        if content is None:
            raise ObjectNotFound(f"{path}: expected a file at {ref}, found none; `list` shows what is there")
        return content

    def _found(self, repository: pygit2.Repository, ref: str, path: str) -> tuple[str, int] | None:
        # Staged first, here and in `_view`: a commit in between then shows its writes twice, never not at all.
        entry = self._staging.get(ref, path) if refs.branch_id(repository, ref) is not None else None
        if entry is not None:
            return (entry.sha256, entry.size) if entry.sha256 is not None else None
        blob = trees.lookup(refs.commit_at(repository, ref).tree, path)
        return self._pointer(repository, blob, path) if blob is not None else None

    def _stage(self, branch: str, path: str, sha256: str, size: int) -> ObjectInfo:
        with self._writing() as repository:
            refs.branch_head(repository, branch)
            if self._contents.size(sha256) is None:
                raise ObjectNotFound(f"{path}: expected content {sha256} in the store, found none; write the file")
            self._staging.put(branch, Staged(path, sha256, size))
        return ObjectInfo(path, sha256, size)

    def _pending(self, repository: pygit2.Repository, branch: str) -> dict[str, Staged]:
        """Staged entries that differ from the branch's head; the others, left by a kill after a commit, are dropped
        now, before a later commit makes them look like changes."""
        staged, tree = self._view(repository, branch)
        pending = {path: entry for path, entry in staged.items() if _blob_id(entry) != trees.lookup(tree, path)}
        self._staging.forget(branch, [path for path in staged if path not in pending])
        return pending

    def _refuse_uncommitted(self, repository: pygit2.Repository, ref: str) -> None:
        pending = sorted(self._pending(repository, ref)) if refs.branch_id(repository, ref) is not None else []
        if pending:
            raise StoreError(f"branch {ref}: {len(pending)} uncommitted writes (for example {pending[0]}); commit or "
                             "remove them first")

    def _pointer(self, repository: pygit2.Repository, blob: pygit2.Oid, path: str) -> tuple[str, int]:
        if blob not in self._pointers:
            self._pointers[blob] = read_pointer(repository[blob].peel(pygit2.Blob).data, path)
        return self._pointers[blob]


def _blob_id(entry: Staged) -> pygit2.Oid | None:
    return pygit2.hash(pointer(entry.sha256, entry.size)) if entry.sha256 is not None else None


def _overlaid(staged: Mapping[str, Staged], tree: pygit2.Tree, path: str) -> pygit2.Oid | None:
    return _blob_id(staged[path]) if path in staged else trees.lookup(tree, path)


def _rewritten(repository: pygit2.Repository, tree: pygit2.Tree, changes: trees.Changes, conflicts: Sequence[str],
               doing: str) -> pygit2.Oid:
    if not conflicts:
        try:
            return trees.rewrite(repository, tree, changes)
        except trees.PathCollision as collision:
            conflicts = collision.paths
    raise MergeConflict(f"{doing}: changed differently on both sides: {', '.join(conflicts)}; nothing was changed; "
                        "make the change again on a new branch of the target", conflicts)
