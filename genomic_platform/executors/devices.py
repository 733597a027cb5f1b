"""Graphics cards of this machine, as the driver's own program lists them, and what a step used of its cards.

`nvidia-smi` is asked, not CUDA: a listing must not take memory on a card. Steps and leases are in `leases.py`.
Reference: `nvidia-smi --help-query-gpu`.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self

_QUERY = "index,uuid,name,memory.total,memory.used,utilization.gpu"
_SECONDS = 20.0


class ListingFailed(Exception):
    """The driver did not answer: what is there is not known."""


@dataclass(frozen=True)
class Device:
    """One card: the driver's number and lasting id, memory in MiB, utilisation in per cent (None = not told)."""

    index: int
    uuid: str
    name: str
    total_mib: int
    used_mib: int
    utilisation: int | None = None

    @property
    def free_mib(self) -> int:
        return self.total_mib - self.used_mib

    def __str__(self) -> str:
        return f"{self.uuid} ({self.name}, {self.free_mib / 1024:.1f} of {self.total_mib / 1024:.1f} GiB free)"


def list_devices(program: str, only: Sequence[str] = ()) -> list[Device]:
    """The cards, in the driver's order; none when the machine has no driver.

    Parameters
    ----------
    program : `nvidia-smi`, or another that answers its queries.
    only : indices or ids of the cards that may be used; empty = all.

    Raises
    ------
    ListingFailed : the program ended with an error, hung, or answered what is not understood.
    """
    command = [program, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True).stdout
        devices = [_device(line) for line in told.splitlines() if line.strip()]
    except FileNotFoundError:
        return []
    except subprocess.CalledProcessError as error:
        raise ListingFailed(f"{program} ended with code {error.returncode}: "
                            f"{(error.stdout + error.stderr).strip()[:300]}") from error
    except (subprocess.TimeoutExpired, OSError, ValueError) as error:
        raise ListingFailed(f"{program}: {error}") from error
    return [d for d in devices if not only or d.uuid in only or str(d.index) in only]


def _device(line: str) -> Device:
    index, uuid, name, total, used, utilisation = (field.strip() for field in line.split(","))
    return Device(int(index), uuid, name, int(total), int(used), int(utilisation) if utilisation.isdigit() else None)


class DeviceMeter:
    """Samples a step's cards while it runs, from a thread of its own.

    Parameters
    ----------
    program : as of `list_devices`. ids : the step's cards; none = nothing is sampled.
    """

    def __init__(self, program: str, ids: Collection[str], every_s: float = 1.0) -> None:
        self._program, self._ids, self._every_s = program, set(ids), every_s
        self._names: dict[str, str] = {}
        self._peak_mib: dict[str, int] = {}
        self._utilisation: list[int] = []
        self._began = self._wall_s = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._began = time.perf_counter()
        if self._ids:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._ids:
            self._thread.join()
        self._wall_s = time.perf_counter() - self._began

    def _sample(self) -> None:
        while True:
            try:
                seen = [d for d in list_devices(self._program) if d.uuid in self._ids]
            except ListingFailed:
                seen = []
            for device in seen:
                self._names[device.uuid] = device.name
                self._peak_mib[device.uuid] = max(device.used_mib, self._peak_mib.get(device.uuid, 0))
            self._utilisation += [d.utilisation for d in seen if d.utilisation is not None]
            if self._ended.wait(self._every_s):
                return

    def busy_s(self) -> float | None:
        """Seconds that the cards were at work while they were metered, summed over cards: mean utilisation × time.

        None = there were cards, and the driver told no utilisation of them.
        """
        if not self._ids:
            return 0.0
        if not self._utilisation:
            return None
        return sum(self._utilisation) / len(self._utilisation) / 100 * self._wall_s * len(self._ids)

    def facts(self) -> dict[str, str | int | float]:
        """For a person: the cards, the most memory in use on one of them (everybody's), their mean utilisation,
        and the most that torch allocated in this process."""
        if not self._ids:
            return {}
        found: dict[str, str | int | float] = {
            "device": ", ".join(f"{uuid} ({self._names.get(uuid, 'not seen')})" for uuid in sorted(self._ids))}
        if self._peak_mib:
            found["device_peak_memory_mib"] = max(self._peak_mib.values())
        if self._utilisation:
            found["device_mean_utilisation_percent"] = round(sum(self._utilisation) / len(self._utilisation), 1)
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            found["device_peak_allocated_mib"] = round(torch.cuda.max_memory_allocated() / 2**20)
        return found
