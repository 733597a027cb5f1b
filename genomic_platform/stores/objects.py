"""Contents of the embedded store: read-only files named by their sha256, in Git LFS's layout.

Here belong bytes: storing, checking and finding them, and the small pointer text that stands for them in a Git tree.
What a path holds at which commit is not known here. Reference: git-lfs, docs/spec.md.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from genomic_platform.errors import CorruptObject, StoreError
from genomic_platform.stores.protocol import Collected

_CHUNK = 1 << 20
_STALE_S = 86_400
_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize (\d+)\n")
# Files whose checksum this process has seen to be right: (modification time in ns, size) at that moment.
_verified: dict[Path, tuple[int, int]] = {}


def pointer(sha256: str, size: int) -> bytes:
    """The Git LFS pointer for content of `size` bytes."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def read_pointer(data: bytes, path: str) -> tuple[str, int]:
    """The (sha256, size) of a pointer. Raises CorruptObject naming `path` when `data` is none."""
    match = _POINTER.fullmatch(data)
    if match is None:
        raise CorruptObject(f"{path}: expected a Git LFS pointer in the store's tree, found {data[:40]!r}; "
                            "only the store may commit to its repository")
    return match[1].decode(), int(match[2])


def fsync_folder(folder: Path) -> None:
    """Make renames and new names in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(files: Iterable[Path]) -> None:
    """Remove those of the temporary `files` that are older than a day: whoever made them was killed."""
    before = time.time() - _STALE_S
    for file in files:
        with suppress(FileNotFoundError):
            if file.stat().st_mtime < before:
                file.unlink()


class Contents:
    """The content files below `lfs`; every method is safe with other processes doing the same."""

    def __init__(self, lfs: Path) -> None:
        self.objects = lfs / "objects"
        self.temporary = lfs / "tmp"
        self.bytes_added = 0

    def prepare(self) -> None:
        self.objects.mkdir(parents=True, exist_ok=True)
        self.temporary.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        return self.objects / sha256[:2] / sha256[2:4] / sha256

    def size(self, sha256: str) -> int | None:
        """Size in bytes, or None when the content is not held."""
        try:
            return self.path(sha256).stat().st_size
        except FileNotFoundError:
            return None

    def put(self, source: Path | bytes | Iterable[bytes]) -> tuple[str, int]:
        """Store content, of a file or in pieces; its (sha256, size). What is held already, and whole, is left alone.

        Raises
        ------
        StoreError : `source` cannot be read, or the disk cannot be written.
        """
        try:
            with self._temporary_file() as (temporary, file):
                sha256, size = _copy(source, file)
                final = self.path(sha256)
                if not self._whole(final, sha256, size):
                    file.flush()
                    os.fsync(file.fileno())
                    self._publish(temporary, final)
                    self.bytes_added += size
        except OSError as error:
            raise StoreError(f"{error.filename or self.temporary}: cannot store content: {error.strerror}") from error
        return sha256, size

    def holds(self, sha256: str, size: int, source: Path) -> bool:
        """Whether the content is held, whole, and has the very bytes of the file: stops at the first that differ."""
        try:
            if source.stat().st_size != size or not self._whole(self.path(sha256), sha256, size):
                return False
            with source.open("rb") as origin, self.path(sha256).open("rb") as held:
                return all(chunk == held.read(_CHUNK) for chunk in iter(lambda: origin.read(_CHUNK), b""))
        except OSError:  # for `put` to say
            return False

    def verified(self, sha256: str, size: int, path: str) -> Path:
        """The file with this content, its checksum verified on first use in this process.

        Raises
        ------
        CorruptObject : the bytes are missing or changed; names `path`, the object and what was expected.
        """
        final = self.path(sha256)
        found = self.size(sha256)
        if found is not None and self._whole(final, sha256, size):
            return final
        what = f"no file {final}" if found is None else f"{found} other bytes in {final}"
        raise CorruptObject(f"{path}: expected object {sha256} of {size} bytes, found {what}; restore it from a copy "
                            "of the store, or write the same content again")

    def collect(self, kept: Set[str], older_than_s: float, dry_run: bool) -> Collected:
        """Remove contents, but for those `kept` by sha256, that were stored `older_than_s` seconds ago or more."""
        before = time.time() - older_than_s
        others = [(file, file.stat()) for file in self.objects.glob("*/*/*") if file.name not in kept]
        chosen = [(file, stat.st_size) for file, stat in others if stat.st_mtime <= before]
        if not dry_run:
            for file, _ in chosen:
                file.unlink()
        return Collected(len(chosen), sum(size for _, size in chosen))

    def write_atomically(self, target: Path, data: bytes) -> None:
        """Replace a small file so that a reader, or a start after a kill, sees the old or the new one whole."""
        with self._temporary_file() as (temporary, file):
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(target)
        fsync_folder(target.parent)

    @contextmanager
    def _temporary_file(self) -> Iterator[tuple[Path, BinaryIO]]:
        path = self.temporary / f"{os.getpid()}-{uuid4().hex}"
        with path.open("wb") as file:
            try:
                yield path, file
            finally:
                path.unlink(missing_ok=True)

    def _publish(self, temporary: Path, final: Path) -> None:
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary.chmod(0o444)
        state = temporary.stat()
        temporary.replace(final)
        # The two folders may be new: their names must last too.
        for folder in (final.parent, final.parent.parent, self.objects):
            fsync_folder(folder)
        _verified[final] = (state.st_mtime_ns, state.st_size)

    def _whole(self, final: Path, sha256: str, size: int) -> bool:
        try:
            state = final.stat()
            if state.st_size != size:
                return False
            if _verified.get(final) == (state.st_mtime_ns, state.st_size):
                return True
            with final.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    return False
        except FileNotFoundError:  # never there, or collected as garbage meanwhile
            return False
        _verified[final] = (state.st_mtime_ns, state.st_size)
        return True


def _copy(source: Path | bytes | Iterable[bytes], file: BinaryIO) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    for chunk in _chunks(source):
        digest.update(chunk)
        size += file.write(chunk)
    return digest.hexdigest(), size


def _chunks(source: Path | bytes | Iterable[bytes]) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
    elif isinstance(source, Path):
        with source.open("rb") as origin:
            yield from iter(lambda: origin.read(_CHUNK), b"")
    else:
        yield from source
