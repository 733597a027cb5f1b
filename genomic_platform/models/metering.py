"""What a piece of work takes of this process: wall and processor seconds, and memory at its peak.

Graphics cards are metered by `executors.devices`. Reference: proc(5), `VmHWM` and `clear_refs`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

_PROCESS = Path("/proc/self")


class Meter:
    """Counts from when it is made."""

    def __init__(self) -> None:
        self._resets = False
        with suppress(OSError):  # not Linux, or a container that forbids it: then the peak is not told
            (_PROCESS / "clear_refs").write_text("5")
            self._resets = True
        self._wall_s, self._cpu_s = time.perf_counter(), time.process_time()

    def cost(self) -> Mapping[str, float]:
        """`wall_seconds`, `cpu_seconds` of all threads and, on Linux, `peak_memory_mib` of the whole process."""
        found = {"wall_seconds": time.perf_counter() - self._wall_s, "cpu_seconds": time.process_time() - self._cpu_s}
        if self._resets and (peak := re.search(r"VmHWM:\s+(\d+) kB", (_PROCESS / "status").read_text())):
            found["peak_memory_mib"] = round(int(peak[1]) / 1024, 1)
        return found
