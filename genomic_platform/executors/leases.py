"""Which step process has which graphics card: leases shared by all runs of a machine, which a dead process cannot keep.

A lease is a small JSON file that the step's process holds open and locked (flock); the kernel lets go of it when the
process ends, however it ends. A step without a card has one as well: it says which process is the step's, and that
it lives. No Dagster here. Reference: flock(2).
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from uuid import uuid4

from genomic_platform.errors import ProgramError
from genomic_platform.executors.devices import Device

COUNT_TAG, MEMORY_TAG, SHARED_TAG = (f"genomic_platform/{name}" for name in ("gpus", "gpu_memory_gib", "gpu_shared"))
#: The recipe a step fits: it asks for a card only where it is a candidate of the programme.
CANDIDATE_TAG = "genomic_platform/candidate"
_BOOK_SECONDS = 30.0


@dataclass(frozen=True)
class DeviceRequest:
    """What a step asks for.

    Attributes
    ----------
    count : cards. min_free_mib : free memory on each, MiB. shared : others that share may use the same cards, as long
        as everybody's `min_free_mib` fits.
    """

    count: int = 0
    min_free_mib: int = 0
    shared: bool = False

    def __post_init__(self) -> None:
        if self.count < 0 or self.min_free_mib < 0:
            raise ProgramError(f"{self} asks for less than nothing; expected numbers from 0")
        if self.shared and not self.min_free_mib:
            raise ProgramError(f"a shared card needs {MEMORY_TAG}: without it nobody knows how many steps fit")

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> DeviceRequest:
        """Of an asset's or op's tags. Raises ProgramError naming a tag that is no number."""
        return cls(int(_number(tags, COUNT_TAG)), round(_number(tags, MEMORY_TAG) * 1024),
                   tags.get(SHARED_TAG, "false").lower() == "true")

    def tags(self) -> dict[str, str]:
        found = {COUNT_TAG: str(self.count), MEMORY_TAG: f"{self.min_free_mib / 1024:g}"}
        return found | ({SHARED_TAG: "true"} if self.shared else {})

    def __str__(self) -> str:
        least = f" with {self.min_free_mib / 1024:g} GiB free" if self.min_free_mib else ""
        return f"{self.count} {'shared ' if self.shared else ''}GPU{'s' if self.count != 1 else ''}{least}"


def _number(tags: Mapping[str, str], tag: str) -> float:
    text = tags.get(tag, "0")
    try:
        return float(text)
    except ValueError as error:
        raise ProgramError(f"tag {tag} is {text!r}; expected a number") from error


@dataclass(frozen=True)
class Lease:
    """A step process and its cards.

    Attributes
    ----------
    turn : names whose turn the step works under. pid : 0 until the process has started. namespace : in which the pid
        counts; runs in containers of their own share leases, not pids.
    """

    run_id: str
    step_key: str
    turn: str = ""
    devices: tuple[str, ...] = ()
    memory_mib: int = 0
    shared: bool = False
    pid: int = 0
    namespace: str = ""


def _namespace() -> str:
    """The name of this process's pid namespace; empty where the system has none."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _signal(send: Callable[[int, int], None], pid: int, number: int) -> None:
    try:
        if pid:  # 0, not yet started, would be this very process group
            send(pid, number)
    except ProcessLookupError:
        return


@dataclass(frozen=True)
class Impossible:
    """Not on this machine, however long one waits."""

    reason: str


@dataclass(frozen=True)
class Busy:
    """Not now."""

    reason: str


def choose(request: DeviceRequest, devices: Sequence[Device],
           leases: Iterable[Lease]) -> tuple[str, ...] | Impossible | Busy:
    """The cards for a request, those with most room first.

    A lease that shares is counted with the memory it asked for, or what is in use by now, whichever is more.
    """
    able = [d for d in devices if d.total_mib >= request.min_free_mib]
    if len(able) < request.count:
        seen = ", ".join(f"{d.uuid} with {d.total_mib / 1024:.1f} GiB" for d in devices) or "none"
        return Impossible(f"the step asks for {request}; this machine has {seen}")
    living = list(leases)
    rooms = {d.uuid: _room(d, request, [a for a in living if d.uuid in a.devices]) for d in able}
    fit = sorted((d for d in able if isinstance(rooms[d.uuid], int)), key=lambda d: (-int(rooms[d.uuid]), d.index))
    if len(fit) < request.count:
        reasons = "; ".join(f"{uuid}: {room}" for uuid, room in rooms.items() if isinstance(room, str))
        return Busy(f"the step asks for {request}; {reasons}")
    return tuple(d.uuid for d in fit[: request.count])


def _room(device: Device, request: DeviceRequest, here: Sequence[Lease]) -> int | str:
    """MiB that the request would find on the card, or why it gets none."""
    alone = [a for a in here if not (a.shared and request.shared)]
    if alone:
        return "held by " + ", ".join(f"step {a.step_key} of run {a.run_id[:8]}" for a in alone)
    room = min(device.free_mib, device.total_mib - sum(a.memory_mib for a in here))
    if room < request.min_free_mib:
        return f"{room / 1024:.1f} of {device.total_mib / 1024:.1f} GiB are free"
    return room


class HeldLease:
    """A lease whose lock this process still holds, to be inherited by the step's process."""

    def __init__(self, book: LeaseBook, lease: Lease, descriptor: int) -> None:
        self.lease, self.descriptor, self._book = lease, descriptor, book

    def handed_to(self, pid: int) -> Lease:
        """Note the process that inherited the lock, and let go of our own hold on it."""
        self.lease = replace(self.lease, pid=pid)
        with self._book.alone():
            _write(self.descriptor, self.lease)
        os.close(self.descriptor)
        return self.lease

    def dropped(self) -> None:
        os.close(self.descriptor)


class LeaseBook:
    """The leases in one folder, which all runs of a machine share. On a local disk: locks of network disks may lie."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def alone(self) -> Iterator[None]:
        from genomic_platform.stores.lock import exclusive

        self.folder.mkdir(parents=True, exist_ok=True)
        with exclusive(self.folder / "book.lock", _BOOK_SECONDS):
            yield

    def take(self, request: DeviceRequest, devices: Sequence[Device], *, run_id: str, step_key: str,
             turn: str = "") -> HeldLease | Impossible | Busy:
        """A lease on the cards asked for, all of them or none; nobody waits here."""
        with self.alone():
            chosen = choose(request, devices, self._living()) if request.count else ()
            if not isinstance(chosen, tuple):
                return chosen
            lease = Lease(run_id, step_key, turn, chosen, request.min_free_mib if chosen else 0, request.shared,
                          namespace=_namespace())
            path = self.folder / f"{run_id}-{uuid4().hex}.json"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write(descriptor, lease)
        return HeldLease(self, lease, descriptor)

    def living(self) -> list[Lease]:
        """Leases whose process lives; the others' files are removed."""
        with self.alone():
            return list(self._living())

    def of_step(self, run_id: str, step_key: str) -> Lease | None:
        """The lease of a step's process, if it lives."""
        return next((a for a in self.living() if (a.run_id, a.step_key) == (run_id, step_key)), None)

    def end(self, leases: Sequence[Lease], grace_s: float) -> None:
        """Ask processes to end, which lets them keep a checkpoint; after `grace_s` kill them and all they started.

        With no grace they are killed unasked. Those of another container are left to it.
        """
        own = [a for a in leases if a.namespace == _namespace()]
        for lease in own if grace_s else ():
            _signal(os.kill, lease.pid, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while (left := [a for a in self.living() if a in own]) and time.monotonic() < deadline:
            time.sleep(0.1)
        for lease in left:
            _signal(os.killpg, lease.pid, signal.SIGKILL)

    def _living(self) -> Iterator[Lease]:
        for path in sorted(self.folder.glob("*.json")):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found = json.loads(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
                yield Lease(**found | {"devices": tuple(found["devices"])})
            else:
                path.unlink()
            finally:
                os.close(descriptor)


def _write(descriptor: int, lease: Lease) -> None:
    text = json.dumps(asdict(lease)).encode()
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text, 0)
