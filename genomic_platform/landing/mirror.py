"""Landing files brought from an object store: `[landing] mirror` in program.toml, any address that pyarrow.fs knows.

Only new and changed objects are copied, each whole or not at all, and nothing local is ever removed. What the files say
is read from the local copies alone, as `landing.files` has them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from genomic_platform.errors import (
    GenomicPlatformError,
    InputError,
    NotAvailable,
    PredecessorRunning,
    Problem,
    ProgramError,
    StoreUnavailable,
)
from genomic_platform.landing.files import KINDS, SUFFIXES
from genomic_platform.program import Program
from genomic_platform.workspace import Workspace, replace_text

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

#: In `landing/`: which object each local file is a copy of.
KEPT = ".mirror.json"
_CHUNK = 8 << 20
_LONGEST_NAME = 200


@dataclass(frozen=True)
class Object:
    """One object of the mirror as it is listed: `name` is `<kind>/<file>`, `changed` its time in nanoseconds."""

    name: str
    path: str
    size: int
    changed: int

    @property
    def stamp(self) -> str:
        """Changes when the object is written again: its size and time, since a listing tells no more."""
        return f"{self.size} {self.changed}"


@dataclass(frozen=True)
class Copied:
    """A local file's origin: the object's stamp, and the digest of what was copied."""

    stamp: str
    sha256: str


@dataclass(frozen=True)
class Brought:
    """What a look at the mirror did: files copied, and local copies whose object is gone (they stay)."""

    files: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()

    def said(self) -> str:
        """In words; empty when the mirror is as it was."""
        parts = [f"brought {', '.join(self.files)} from the mirror"] if self.files else []
        if self.gone:
            parts.append(f"no longer in the mirror, the local copy stays until you remove it: {', '.join(self.gone)}")
        return "; ".join(parts)


def bring(program: Program, workspace: Workspace, seconds: float = float("inf")) -> Brought:
    """Copy what is new or changed in the programme's mirror into its landing folders.

    Parameters
    ----------
    seconds : after so long the rest is left for the next call, which goes on within the file.

    Raises
    ------
    ProgramError
        The address cannot be used, or is another programme's.
    InputError
        Names that landing cannot have: nothing is copied. Or a person's own file has the name: it stays.
    NotAvailable
        There is nothing at the address.
    StoreUnavailable
        The mirror does not answer, an object changes while it is copied, `seconds` were not enough, or the landing
        folder cannot be written.
    PredecessorRunning
        The programme's seasons are being run, perhaps from these files.
    """
    address = program.file.landing.mirror
    if not address:
        return Brought()
    _require_own(program, workspace, address)
    ends = time.monotonic() + seconds
    with _turn(workspace, program.name):
        with _answering(address):
            files, base = _opened(program, address)
            objects = _listed(files, base, address)
        with _writing(program.folder / "landing"):
            return Copying(program.folder / "landing", files, address, ends).take(objects)


class Copying:
    """One look: which objects are new or changed, and copying them."""

    def __init__(self, landing: Path, files: FileSystem, address: str, ends: float) -> None:
        self.landing, self.files, self.address, self.ends = landing, files, address, ends
        self.kept: dict[str, Copied] = {}
        with suppress(OSError, ValueError, TypeError, AttributeError):  # without it, equal content is recognised
            listed = json.loads((landing / KEPT).read_text(encoding="utf-8"))
            self.kept = {name: Copied(**copied) for name, copied in listed.items()}

    def take(self, objects: Sequence[Object]) -> Brought:
        due = [o for o in objects if not self._have(o)]
        clashes: list[Problem] = []
        for done, item in enumerate(due):
            part = _part(self.landing / item.name, item)
            if (done and time.monotonic() > self.ends) or not self._copy(item, part):
                raise StoreUnavailable(f"{done} of {len(due)} new or changed files have come from the mirror "
                                       f"{self.address}; the rest follows at the next look")
            clashes += self._place(item, part)
        if clashes:
            raise InputError(clashes)
        there = {o.name for o in objects}
        gone = [name for name in sorted(self.kept) if name not in there and (self.landing / name).is_file()]
        return Brought(tuple(o.name for o in due), tuple(gone))

    def _have(self, item: Object) -> bool:
        copied = self.kept.get(item.name)
        return copied is not None and copied.stamp == item.stamp and (self.landing / item.name).is_file()

    def _copy(self, item: Object, part: Path) -> bool:
        """Copy the object's bytes behind those that an earlier look got; False when time is up.

        Raises StoreUnavailable when the object was written meanwhile.
        """
        with part.open("ab") as target, _answering(self.address), self.files.open_input_file(item.path) as source:
            source.seek(min(target.tell(), item.size))
            while chunk := source.read(_CHUNK):
                target.write(chunk)
                if time.monotonic() > self.ends and target.tell() < item.size:
                    return False
            target.flush()
            os.fsync(target.fileno())
            now = self.files.get_file_info(item.path)
        if (now.size, now.mtime_ns) != (item.size, item.changed) or part.stat().st_size != item.size:
            part.unlink()
            raise StoreUnavailable(f"{item.name} in the mirror {self.address} changed while it was copied; it is "
                                   "copied anew at the next look")
        return True

    def _place(self, item: Object, part: Path) -> list[Problem]:
        """Put the whole copy in place, unless a file is there that the mirror did not bring."""
        local, sha256 = self.landing / item.name, _sha256(part)
        before = _sha256(local) if local.is_file() else None
        copied = self.kept.get(item.name)
        if before == sha256:
            part.unlink()
        elif not local.exists() or (copied is not None and before == copied.sha256):
            part.replace(local)
            _settle(local.parent)
        else:  # the copy is kept, so that the next look need not make it again
            return [Problem(f"landing/{item.name}", f"no other file than the copy of {item.name} in the mirror "
                            f"{self.address}", "one that was put or edited here",
                            "rename it, remove it, or put it into the mirror")]
        self.kept[item.name] = Copied(item.stamp, sha256)
        replace_text(self.landing / KEPT, json.dumps({n: asdict(c) for n, c in sorted(self.kept.items())}, indent=1))
        return []


def _opened(program: Program, address: str) -> tuple[FileSystem, str]:
    """The file system at the address, and the path in it. Raises ProgramError."""
    from pyarrow.fs import FileSystem, LocalFileSystem

    try:
        files, base = FileSystem.from_uri(address)
    except ValueError as error:
        raise ProgramError(f"{program.path}: landing.mirror: {error}, found {address!r}; expected an address such as "
                           "s3://bucket/prefix or file:///folder") from error
    if not base.strip("/"):
        raise ProgramError(f"{program.path}: landing.mirror: {address!r} names no bucket or folder; expected "
                           "s3://bucket/prefix or file:///folder")
    if isinstance(files, LocalFileSystem) and Path(base).resolve() == (program.folder / "landing").resolve():
        raise ProgramError(f"{program.path}: landing.mirror is the programme's own landing folder; expected another "
                           "place, which is copied there")
    return files, base.rstrip("/")


def _listed(files: FileSystem, base: str, address: str) -> list[Object]:
    """The objects that landing would take. Raises InputError for names it cannot have, all of them."""
    from pyarrow.fs import FileSelector, FileType

    problems, found = [], []
    for kind in KINDS:
        for info in files.get_file_info(FileSelector(f"{base}/{kind}", allow_not_found=True, recursive=True)):
            name = info.path.removeprefix(f"{base}/{kind}/")
            if info.type != FileType.File or not name.lower().endswith(SUFFIXES[kind]):
                continue
            if fault := fault_of(name):
                problems.append(Problem(f"{address.partition('?')[0].rstrip('/')}/{kind}/{name!r}"[:300], *fault))
            elif not name.startswith("."):
                found.append(Object(f"{kind}/{name}", info.path, info.size, info.mtime_ns))
    if problems:
        raise InputError(problems)
    if not found and files.get_file_info(base).type == FileType.NotFound:
        raise NotAvailable(f"nothing is at {address}; expected folders {', '.join(KINDS)} under it; repair: correct "
                           "mirror under [landing] in program.toml, or upload the files")
    return found


def fault_of(name: str) -> tuple[str, str, str] | None:
    """What is wrong with an object's name below its kind: expected, found, repair."""
    repair = "rename the object"
    parts = name.split("/")
    if ".." in parts or "." in parts or "" in parts or "\\" in name:
        return "a plain file name", "a path that would leave the landing folder", repair
    if len(parts) > 1:
        return "files directly in the kind's folder", "a folder in it", "move the object up, or out of the mirror"
    if not name.isprintable() or len(os.fsencode(name)) > _LONGEST_NAME:
        return f"a printable name of at most {_LONGEST_NAME} bytes", "another", repair
    return None


def _require_own(program: Program, workspace: Workspace, address: str) -> None:
    """Two programmes that share a mirror would each take the other's files. Raises ProgramError."""
    for name in workspace.program_folders():
        with suppress(GenomicPlatformError):  # what is wrong with another programme is said there
            other = workspace.program(name)
            if name != program.name and _place(other.file.landing.mirror) == _place(address):
                break
    else:
        return
    raise ProgramError(f"{program.path}: landing.mirror {address} is the mirror of programme {name} too; expected a "
                       "prefix of its own")


def _place(address: str) -> tuple[str, str, str]:
    parts = urlsplit(address)
    return parts.scheme, parts.netloc, parts.path.rstrip("/")


@contextmanager
def _turn(workspace: Workspace, program: str) -> Iterator[None]:
    """Hold the programme, so that no run reads files that are being replaced. Raises PredecessorRunning."""
    with ExitStack() as stack:
        try:
            stack.enter_context(workspace.turn(program))
        except StoreUnavailable as error:
            raise PredecessorRunning(f"the seasons of {program} are being run; its mirror is looked at afterwards"
                                     ) from error
        yield


@contextmanager
def _answering(address: str) -> Iterator[None]:
    """What the mirror's file system raises, as the platform's error."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"the mirror {address} cannot be copied: {error}; it is tried again at the next look; "
                               "repair: check that it answers, and the keys (AWS_… in the environment)") from error


@contextmanager
def _writing(landing: Path) -> Iterator[None]:
    """What this machine's file system refuses, as the platform's error."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"files of the mirror cannot be put into {landing}: {error}; it is tried again at the "
                               "next look; repair: make room, or let this process write there") from error


def _part(local: Path, item: Object) -> Path:
    """The temporary copy of this version of the object; those of other versions are removed."""
    local.parent.mkdir(parents=True, exist_ok=True)
    own = local.with_name(f".{local.name}.{hashlib.sha256(item.stamp.encode()).hexdigest()[:12]}.part")
    versions = re.compile(rf"\.{re.escape(local.name)}\.[0-9a-f]{{12}}\.part")  # not those of a.vcf.gz beside a.vcf
    for path in local.parent.iterdir():
        if path != own and versions.fullmatch(path.name):
            path.unlink()
    return own


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _settle(folder: Path) -> None:
    """Make a rename in the folder last through a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

