"""What a piece of work takes of this process: wall and processor seconds, and memory at its peak.

Graphics cards are metered by `executors.devices`. Reference: proc(5), `VmHWM` and `clear_refs`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet

_PROCESS = Path("/proc/self")
#: The kernel keeps one peak a process, so a meter that starts within another's work tells it the peak it wipes out.
_open: WeakSet[Meter] = WeakSet()


class Meter:
    """Counts from when it is made. Meters may nest: one of the whole step, one of the fit in it."""

    def __init__(self) -> None:
        self._resets, self._peak_mib = False, 0.0
        for other in list(_open):
            other._peak_mib = max(other._peak_mib, _peak_mib())
        with suppress(OSError):  # not Linux, or a container that forbids it: then the peak is not told
            (_PROCESS / "clear_refs").write_text("5")
            self._resets = True
            _open.add(self)
        self._wall_s, self._cpu_s = time.perf_counter(), time.process_time()

    def cost(self) -> Mapping[str, float]:
        """`wall_seconds`, `cpu_seconds` of all threads and, on Linux, `peak_memory_mib` of the whole process."""
        found = {"wall_seconds": time.perf_counter() - self._wall_s, "cpu_seconds": time.process_time() - self._cpu_s}
        if self._resets and (peak := max(self._peak_mib, _peak_mib())):
            found["peak_memory_mib"] = round(peak, 1)
        return found


def _peak_mib() -> float:
    """Most memory that the process held since the peak was last wiped out; 0 where it is not told."""
    peak = re.search(r"VmHWM:\s+(\d+) kB", (_PROCESS / "status").read_text())
    return int(peak[1]) / 1024 if peak else 0.0
