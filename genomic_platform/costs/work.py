"""Metering one step from its begin to its end, and writing what it took to the ledger, whether it failed or not."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from genomic_platform.costs.ledger import Entry, Ledger
from genomic_platform.executors.devices import DeviceMeter
from genomic_platform.models.metering import Meter
from genomic_platform.stores.assets import RELEASE
from genomic_platform.workspace import Workspace

#: Group of the asset graph → kind of work; assets that are of another kind than their group.
_KINDS = {"genotypes": "data", "phenotypes": "data", "candidates": "training", "training": "evaluation",
          "registry": "prediction", "monitoring": "monitoring"}
_OF_ANOTHER_KIND = {"training_set": "data", "registered_model": "evaluation", RELEASE: "release"}
_MIB = 2**20


def kind_of(asset: str, group: str) -> str:
    """What a step's cost is for: `data`, `training`, `evaluation`, `prediction`, `monitoring` or `release`."""
    return _OF_ANOTHER_KIND.get(asset) or _KINDS[group]


@dataclass(frozen=True)
class Task:
    """Whose work it is. `forced`: a person asked for all anew. `cards`: graphics cards that the step's process holds.

    `own_process`: the process was started for this step alone, so its cards are leased since it began.
    """

    run_id: str
    program: str
    season: str
    asset: str
    kind: str
    forced: bool = False
    cards: tuple[str, ...] = ()
    own_process: bool = False


class Work:
    """Context manager around a step; `facts` gives what it took, on leaving a line is written.

    Attributes
    ----------
    fingerprint, reused : set by the step once it knows them. device_meter : of what it computed on a card.
    unwritten : why no line was written, in words; empty when it was. Work is never lost for want of its books.
    """

    #: Until when this process's leased time stands in a line: several works may share a step process.
    _counted_until: float | None = None

    def __init__(self, workspace: Workspace, task: Task) -> None:
        self.fingerprint, self.reused, self.unwritten = "", False, ""
        self.device_meter: DeviceMeter | None = None
        self._workspace, self._task = workspace, task
        self._ended: Entry | None = None

    def __enter__(self) -> Self:
        self._meter, self._bytes = Meter(), self._workspace.store.bytes_added
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        entry = replace(self._end(), failed=kind is not None)
        try:
            Ledger(self._workspace.root).append(entry)
        except OSError as failure:
            self.unwritten = f"what {entry.asset} cost is not in the ledger: {failure}"

    def facts(self) -> dict[str, Any]:
        """Ends the metering; what the step took, for a person."""
        entry = self._end()
        shown: dict[str, Any] = {"wall_s": round(entry.wall_s, 3), "cpu_s": round(entry.cpu_s, 3),
                                 "bytes_written": entry.bytes_written}
        if entry.peak_memory_bytes is not None:
            shown["peak_memory_mib"] = round(entry.peak_memory_bytes / _MIB, 1)
        if entry.device:
            shown["gpu_s"] = round(entry.gpu_s, 3)
        if entry.device and entry.gpu_busy_s is not None:
            shown["gpu_busy_s"] = round(entry.gpu_busy_s, 3)
        return shown

    def _end(self) -> Entry:
        if self._ended is None:
            task, cost = self._task, self._meter.cost()
            peak = cost.get("peak_memory_mib")
            self._ended = Entry(
                time=datetime.now(UTC), run_id=task.run_id, program=task.program, season=task.season,
                asset=task.asset, kind=task.kind, fingerprint=self.fingerprint, reused=self.reused,
                forced=task.forced and not self.reused, failed=False, wall_s=cost["wall_seconds"],
                cpu_s=cost["cpu_seconds"], gpu_s=self._leased_s(cost["wall_seconds"]),
                gpu_busy_s=self.device_meter.busy_s() if self.device_meter else 0.0,
                device=", ".join(sorted(task.cards)),
                peak_memory_bytes=None if peak is None else round(peak * _MIB),
                bytes_written=self._workspace.store.bytes_added - self._bytes)
        return self._ended

    def _leased_s(self, wall_s: float) -> float:
        """Seconds that the cards were this work's, since its process began or the work before it in it ended."""
        cards = len(self._task.cards)
        if not cards or not self._task.own_process:
            return wall_s * cards
        import psutil

        since, now = Work._counted_until or psutil.Process().create_time(), time.time()
        Work._counted_until = now
        return max(0.0, now - since) * cards
