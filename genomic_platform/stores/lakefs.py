"""The versioned store on a lakeFS server, for installations of more than one machine.

Here belong the verbs of `protocol.VersionedStore` in lakeFS's terms, and the local cache of contents. Every verb may
be repeated: a request whose answer was lost finds its work done. Asking is `lakefs_api`'s, refusals `lakefs_errors`'s.
A content's sha256 travels in its object's user metadata; the server itself knows only MD5.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, cast

from genomic_platform.errors import CorruptObject, MergeConflict, ObjectNotFound, StoreError
from genomic_platform.stores import names
from genomic_platform.stores.lakefs_api import PAGE, WAITS_S, LakeFSRepository
from genomic_platform.stores.lakefs_errors import Answer, answer
from genomic_platform.stores.objects import Contents
from genomic_platform.stores.protocol import MAIN, MIGRATED_FROM, MIGRATED_TIME, Change, Collected, Commit, ObjectInfo

_SHA256 = "sha256"
_COMMIT_ID = 64  # hexadecimal digits
_SERVER_OWN = ".lakefs."  # begins the keys that the server adds to a commit's metadata
_BLOCK = 1 << 25  # bytes a request reads


class LakeFSStore(LakeFSRepository):
    """A `VersionedStore` in one repository of a lakeFS server.

    Parameters
    ----------
    endpoint : address of the server, `http://host:8000`.
    access_key_id, secret_access_key : of the lakeFS user.
    repository : its name; it must exist (see `lakefs_setup`).
    cache : folder of contents read or written on this machine, by sha256.
    waits_s : pauses between tries of what may succeed later: no answer, too many requests, the server failed.
    """

    def __init__(self, endpoint: str, access_key_id: str, secret_access_key: str, repository: str, cache: Path,
                 waits_s: Sequence[float] = WAITS_S) -> None:
        super().__init__(endpoint, access_key_id, secret_access_key, repository, waits_s)
        self._contents = Contents(Path(cache))
        self._contents.prepare()
        self.bytes_added = 0

    # Branches, tags, refs ---------------------------------------------------------------------------------------

    def branch(self, name: str, source: str = MAIN) -> str:
        """Make branch `name` at `source` unless it exists; returns the branch's commit id."""
        from lakefs_sdk.models.branch_creation import BranchCreation

        names.check_branch_name(name)
        start, about = self.resolve(source), f"making branch {name}"
        try:
            self.ask(about, self.api.branches_api.create_branch, self.repository,
                     BranchCreation(name=name, source=start))
        except MergeConflict as conflict:
            if self._tag(name) is not None:
                raise StoreError(f"branch {name}: a tag has this name; choose another") from conflict
        return self._head(name)

    def branches(self) -> list[str]:
        """All branch names, sorted."""
        return sorted(ref.id for ref in self.pages("listing branches", self.api.branches_api.list_branches))

    def delete_branch(self, name: str) -> None:
        """Remove a branch and what is staged on it. Raises StoreError for `main`, ObjectNotFound for none."""
        if name == MAIN:
            raise StoreError(f"branch {MAIN} holds what is published and cannot be removed")
        self._head(name)
        try:
            self.ask(f"removing branch {name}", self.api.branches_api.delete_branch, self.repository, name)
        except ObjectNotFound:
            return  # removed by a request whose answer was lost

    def tag(self, name: str, ref: str) -> None:
        """Name a commit for good; the same tag on the same commit is no change, on another it is refused."""
        from lakefs_sdk.models.tag_creation import TagCreation

        names.check_tag_name(name)
        target = self.resolve(ref)
        if name in self.branches():
            raise StoreError(f"tag {name}: a branch has this name; choose another")
        try:
            self.ask(f"making tag {name}", self.api.tags_api.create_tag, self.repository,
                     TagCreation(id=name, ref=target))
        except MergeConflict as conflict:
            if (present := self._tag(name)) != target:
                raise StoreError(f"tag {name}: expected a new tag, found it on commit {present}; tags never move, "
                                 "choose another name") from conflict

    def resolve(self, ref: str) -> str:
        """The commit id of a branch, tag or full commit id, before a migration's too. Raises ObjectNotFound."""
        if not (names.is_branch_name(ref) or names.is_tag_name(ref) or names.is_commit_id(ref)):
            raise ObjectNotFound(f"{ref!r}: expected a branch, tag or full commit id")
        try:
            found = str(self.ask(f"looking up {ref}", self.api.commits_api.get_commit, self.repository, ref).id)
        except ObjectNotFound:
            if (moved := self.migrated.get(ref)) is None:
                raise
            return moved
        if found.startswith(ref) and found != ref:
            raise ObjectNotFound(f"{ref}: expected a branch, tag or full commit id, found the beginning of one")
        return found

    # Objects ----------------------------------------------------------------------------------------------------

    def write(self, branch: str, path: str, source: Path | bytes) -> ObjectInfo:
        """Stage content at `path`; content that it holds already is not sent again, and a file is copied."""
        names.check_path(path)
        info = ObjectInfo(path, *self._contents.put(source))
        if self._stat(branch, path) != info:
            content = self._contents.verified(info.sha256, info.size, path)
            self.ask(f"writing {path} on {branch}", self._upload, branch, path, content, info.sha256)
            self.bytes_added += info.size
        return info

    def link(self, branch: str, path: str, source_ref: str, source_path: str) -> ObjectInfo:
        """Stage at `path` what `source_path` holds at `source_ref`, copied by the server. Raises ObjectNotFound."""
        from lakefs_sdk.models.object_copy_creation import ObjectCopyCreation

        names.check_path(path)
        origin = self._held(source_ref, source_path)
        info = ObjectInfo(path, origin.sha256, origin.size)
        if self._stat(branch, path) != info:
            asked = ObjectCopyCreation(src_path=source_path, src_ref=self._ref(source_ref))
            self.ask(f"copying {source_path} of {source_ref} to {path} on {branch}", self.api.objects_api.copy_object,
                     self.repository, branch, path, asked)
        return info

    def remove(self, branch: str, path: str) -> None:
        """Stage the removal of `path`; removing what is not there is no change."""
        names.check_path(path)
        self.ask(f"removing {path} on {branch}", self.api.objects_api.delete_object, self.repository, branch, path)

    def open(self, ref: str, path: str) -> Path:
        """A read-only file with the content, from the cache when it is there. Raises ObjectNotFound, CorruptObject."""
        held = self._held(ref, path)
        if self._contents.size(held.sha256) is None:
            found = self._fetch(ref, path)
            if found != (held.sha256, held.size):
                raise CorruptObject(f"{path}: expected object {held.sha256} of {held.size} bytes, lakeFS at "
                                    f"{self.endpoint} gave {found[0]} of {found[1]}; restore its block storage")
        return self._contents.verified(held.sha256, held.size, path)

    def list(self, ref: str, prefix: str = "") -> list[ObjectInfo]:
        """Objects whose path starts with `prefix`, sorted by path; on a branch, what is staged is included."""
        found = self.pages(f"listing {prefix} at {ref}", self.api.objects_api.list_objects, self._ref(ref),
                           prefix=prefix, user_metadata=True)
        return sorted((self._info(ref, stats) for stats in found), key=lambda info: info.path)

    # Commits ----------------------------------------------------------------------------------------------------

    def commit(self, branch: str, message: str, metadata: Mapping[str, str] | None = None) -> str:
        """Seal what is staged on `branch`; returns the new commit's id, the present one when nothing changed."""
        from lakefs_sdk.models.commit_creation import CommitCreation

        names.pack_message(message, metadata or {})  # one rule for both stores
        self._head(branch)
        asked = CommitCreation(message=message, metadata=dict(metadata or {}))
        try:
            return str(self.ask(f"committing on {branch}", self.api.commits_api.commit, self.repository, branch,
                                asked).id)
        except StoreError as error:
            if not _answer(error).nothing_to_do:
                raise
        return self._head(branch)

    def merge(self, source: str, target: str = MAIN, message: str = "",
              metadata: Mapping[str, str] | None = None) -> str:
        """Merge `source` into branch `target` path by path; returns `target`'s commit id, the present one when
        `source` is in it already.

        Raises
        ------
        StoreError : one of the two branches has uncommitted writes, or a check of the server refused the merge.
        MergeConflict : paths changed differently on both sides; nothing is changed.
        """
        from lakefs_sdk.models.merge import Merge

        self._head(target)
        theirs, doing = self.resolve(source), f"merging {source} into {target}"
        self._refuse_uncommitted(source)
        asked = Merge(message=message or f"Merge {source} into {target}", metadata=dict(metadata or {}))
        try:
            self.ask(doing, self.api.refs_api.merge_into_branch, self.repository, theirs, target, asked)
        except MergeConflict as conflict:
            found = self.pages(doing, self.api.refs_api.diff_refs, target, theirs, type="three_dot")
            paths = [change.path for change in found if change.type == "conflict"]
            _refuse_conflict(doing, paths, conflict)
        except StoreError as error:
            if "dirty branch" in _answer(error).words:
                self._refuse_uncommitted(target)
            if not _answer(error).nothing_to_do:
                raise
        return self._head(target)

    def revert(self, commit: str, branch: str = MAIN) -> str:
        """A commit on `branch` that puts the paths `commit` changed back to its first parent's version.

        Raises
        ------
        StoreError : the first commit of the repository, or uncommitted writes on `branch`.
        MergeConflict : a path has changed again since; nothing is changed.
        """
        from lakefs_sdk.models.commit_overrides import CommitOverrides
        from lakefs_sdk.models.revert_creation import RevertCreation

        self._head(branch)
        undone = self.log(commit, 1)[0]
        if not undone.parents:
            raise StoreError(f"commit {undone.id}: it is the store's first and undoes to nothing")
        self._refuse_uncommitted(branch)
        said = CommitOverrides(message=f"Revert {undone.message.partition(chr(10))[0]!r}",
                               metadata={"reverts": undone.id})
        asked = RevertCreation(ref=undone.id, parent_number=int(len(undone.parents) > 1), commit_overrides=said)
        doing = f"reverting {undone.id} on {branch}"
        try:
            self.ask(doing, self.api.branches_api.revert_branch, self.repository, branch, asked)
        except MergeConflict as conflict:
            before = undone.parents[0]
            in_all = ({c.path for c in self.diff(*pair)} for pair in ((before, undone.id), (undone.id, branch),
                                                                      (before, branch)))
            _refuse_conflict(doing, sorted(set.intersection(*in_all)), conflict)
        except StoreError as error:
            if not _answer(error).nothing_to_do:
                raise
        return self._head(branch)

    def diff(self, left: str, right: str) -> list[Change]:
        """Paths that differ between what readers of `left` and of `right` see, as seen going from left to right."""
        before, after = ({info.path: info.sha256 for info in self.list(ref)} for ref in (left, right))
        kinds = {path: "added" if path not in before else "removed" if path not in after else "changed"
                 for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
        return [Change(path, kinds[path]) for path in sorted(kinds)]

    def log(self, ref: str = MAIN, limit: int | None = None) -> Sequence[Commit]:
        """Commits from `ref` back along first parents, newest first."""
        page = min(limit or PAGE, PAGE)
        found = self.pages(f"reading the log of {ref}", self.api.refs_api.log_commits, self._ref(ref),
                           first_parent=True, amount=page)
        return [_describe(commit) for commit, _ in zip(found, range(limit or 10**9), strict=False)]

    def collect(self, older_than_s: float = 3600.0, dry_run: bool = False) -> Collected:
        """Remove contents from this machine's cache that were put there that many seconds ago; the server keeps its
        own, and gives them again."""
        return self._contents.collect(frozenset(), older_than_s, dry_run)

    @property
    def migrated(self) -> Mapping[str, str]:
        """Commit id in the store that this one was migrated from → the commit's id here."""
        return {c.metadata[MIGRATED_FROM]: c.id for c in self.log() if MIGRATED_FROM in c.metadata}

    # Within -----------------------------------------------------------------------------------------------------

    def _head(self, branch: str) -> str:
        """The commit id of a branch. Raises ObjectNotFound."""
        try:
            names.check_branch_name(branch)
            return str(self.ask(f"branch {branch}", self.api.branches_api.get_branch, self.repository,
                                branch).commit_id)
        except ObjectNotFound as error:
            raise ObjectNotFound(f"branch {branch}: expected one of this name, found none") from error

    def _tag(self, name: str) -> str | None:
        try:
            return str(self.ask(f"tag {name}", self.api.tags_api.get_tag, self.repository, name).commit_id)
        except ObjectNotFound:
            return None

    def _ref(self, ref: str) -> str:
        """What the server calls a ref; a branch's name, a tag's, or a full commit id of its own as they are."""
        own = names.is_branch_name(ref) or names.is_tag_name(ref) or len(ref) == _COMMIT_ID
        return ref if own else self.resolve(ref)

    def _is_branch(self, ref: str) -> bool:
        try:
            return names.is_branch_name(ref) and bool(self._head(ref))
        except ObjectNotFound:
            return False

    def _stat(self, ref: str, path: str) -> ObjectInfo | None:
        try:
            return self._info(ref, self.ask(f"looking up {path} at {ref}", self.api.objects_api.stat_object,
                                            self.repository, ref, path, user_metadata=True))
        except ObjectNotFound:
            return None

    def _held(self, ref: str, path: str) -> ObjectInfo:
        names.check_path(path)
        found = self._stat(self._ref(ref), path)
        if found is None:
            raise ObjectNotFound(f"{path}: expected a file at {ref}, found none; `list` shows what is there")
        return found

    def _info(self, ref: str, stats: Any) -> ObjectInfo:
        """What is known of an object; one that somebody else put there without a sha256 is read for it."""
        sha256 = (stats.metadata or {}).get(_SHA256) or self._fetch(ref, stats.path)[0]
        return ObjectInfo(stats.path, sha256, stats.size_bytes)

    def _fetch(self, ref: str, path: str) -> tuple[str, int]:
        """Put what the server holds into the cache; its (sha256, size)."""
        return self.ask(f"reading {path} at {ref}", self._download, self._ref(ref), path)

    def _download(self, ref: str, path: str) -> tuple[str, int]:
        from lakefs import StoredObject

        reader = StoredObject(self.repository, ref, path, self.client).reader("rb", pre_sign=False)
        return self._contents.put(iter(lambda: cast(bytes, reader.read(_BLOCK)), b""))

    def _upload(self, branch: str, path: str, content: Path, sha256: str) -> None:
        from lakefs.object import WriteableObject

        target = WriteableObject(self.repository, branch, path, self.client)
        with content.open("rb") as file, target.writer("wb", pre_sign=False, metadata={_SHA256: sha256}) as writer:
            shutil.copyfileobj(file, writer, _BLOCK)

    def _refuse_uncommitted(self, branch: str) -> None:
        if not self._is_branch(branch):
            return
        pending = sorted(change.path for change in self.pages(
            f"looking for uncommitted writes on {branch}", self.api.branches_api.diff_branch, branch))
        if pending:
            raise StoreError(f"branch {branch}: {len(pending)} uncommitted writes (for example {pending[0]}); commit "
                             "or remove them first")


def _answer(error: StoreError) -> Answer:
    return answer(error.__cause__) or Answer(None, "")


def _refuse_conflict(doing: str, paths: Sequence[str], cause: MergeConflict) -> NoReturn:
    raise MergeConflict(f"{doing}: changed differently on both sides: {', '.join(paths)}; nothing was changed; make "
                        "the change again on a new branch of the target", paths) from cause


def _describe(commit: Any) -> Commit:
    metadata = {k: v for k, v in (commit.metadata or {}).items() if not k.startswith(_SERVER_OWN)}
    time_ = datetime.fromisoformat(metadata[MIGRATED_TIME]) if MIGRATED_TIME in metadata else \
        datetime.fromtimestamp(commit.creation_date, UTC)
    return Commit(commit.id, tuple(commit.parents or ()), commit.message, metadata, time_)
