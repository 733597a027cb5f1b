"""The ledger: one line for each step that ended, failed or not, in `<workspace>/costs/<programme>/<YYYY-MM>.jsonl`.

It lies outside the versioned store, so that it keeps what failed runs cost and is no part of any result. A line is one
write to the end of the file (O_APPEND), which processes and containers that share the workspace's disk may do at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from genomic_platform.schemas.contract import Column
from genomic_platform.schemas.monitoring import COST_LEDGER

FOLDER = "costs"
#: Follows from the lines before it, so it is not written.
_DERIVED = "repeated"
#: No count of bytes or seconds is larger, and none such fits a column.
_LARGEST = 2**63
_WRITTEN = tuple(name for name in COST_LEDGER.schema if name != _DERIVED)


@dataclass(frozen=True)
class Entry:
    """What one step took; the fields are the columns of COST_LEDGER but for `repeated`."""

    time: datetime
    run_id: str
    program: str
    season: str
    asset: str
    kind: str
    fingerprint: str
    reused: bool
    forced: bool
    failed: bool
    wall_s: float
    cpu_s: float
    gpu_s: float
    gpu_busy_s: float | None
    device: str
    peak_memory_bytes: int | None
    bytes_written: int


@dataclass(frozen=True)
class Books:
    """A programme's ledger (contract COST_LEDGER) and how many lines of its files could not be read."""

    table: pl.DataFrame
    unread: int = 0


def month_of(time: datetime) -> str:
    """The month (UTC) that a moment's cost belongs to, `YYYY-MM`."""
    return time.astimezone(UTC).strftime("%Y-%m")


class Ledger:
    """The cost ledger of a workspace."""

    def __init__(self, root: Path) -> None:
        self.folder = Path(root) / FOLDER

    def append(self, entry: Entry) -> None:
        """Add a line to the file of the month (UTC) in which the work ended.

        Raises
        ------
        OSError : the disk is full or the folder cannot be written.
        """
        path = self.folder / entry.program / f"{month_of(entry.time)}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(asdict(entry) | {"time": entry.time.astimezone(UTC).isoformat()}, ensure_ascii=False) + "\n"
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"  # a full disk, or a machine that died
            data = ("\n" * torn + line).encode()
            if (written := os.write(descriptor, data)) < len(data):
                raise OSError(f"{path}: {written} of {len(data)} bytes could be written")
        finally:
            os.close(descriptor)

    def programs(self) -> list[str]:
        """Programmes that have lines, sorted."""
        return sorted({path.parent.name for path in self.folder.glob("*/*.jsonl")})

    def months(self, program: str) -> list[str]:
        """Months (UTC) in which the programme has lines, oldest first."""
        return sorted(p.stem for p in (self.folder / program).glob("*.jsonl"))

    def read(self, program: str, months: Sequence[str] | None = None) -> Books:
        """The programme's lines, oldest first, without those that a kill or a full disk cut short.

        Parameters
        ----------
        months : only of these. What came before is not known then, so `repeated` is true only of what was computed
            twice within them.
        """
        found: list[dict[str, Any]] = []
        unread = 0
        for month in self.months(program) if months is None else months:
            for line in _lines(self.folder / program / f"{month}.jsonl"):
                row = _row(line)
                unread += row is None
                found += [row] if row is not None else []
        written = {name: dtype for name, dtype in COST_LEDGER.schema.items() if name != _DERIVED}
        table = pl.DataFrame(found, schema=written, orient="row").unique(["time", "run_id", "asset"], keep="first")
        return Books(COST_LEDGER.conform(_with_repeated(table)), unread)


def _lines(path: Path) -> Iterator[str]:
    if path.is_file():
        yield from filter(None, path.read_bytes().decode("utf-8", "replace").split("\n"))


def _row(line: str) -> dict[str, Any] | None:
    """The line's values as the contract's columns, or None when it is no whole line or holds what none can hold."""
    try:
        held: Mapping[str, Any] = json.loads(line)
        row = {name: held[name] for name in _WRITTEN}
        row |= {"time": datetime.fromisoformat(row["time"]).astimezone(UTC)}
    except (ValueError, KeyError, TypeError, OverflowError):
        return None
    columns = [column for column in COST_LEDGER.columns if column.name in row]
    return row if all(_holds(column, row[column.name]) for column in columns) else None


def _holds(column: Column, value: object) -> bool:
    """Whether a value is of the column's type; numbers are times, bytes and counts: finite and never below 0."""
    if value is None:
        return column.nullable
    if isinstance(value, bool) or column.dtype == pl.Boolean:
        return isinstance(value, bool) and column.dtype == pl.Boolean
    if column.dtype == pl.Float64 or column.dtype == pl.Int64:
        return isinstance(value, int if column.dtype == pl.Int64 else int | float) and 0 <= value < _LARGEST
    return isinstance(value, str if column.dtype == pl.String else datetime)


def _with_repeated(table: pl.DataFrame) -> pl.DataFrame:
    """Mark what was computed, unforced, although a step of the asset with equal inputs had come to its end before."""
    computed = ~pl.col("reused") & ~pl.col("failed") & (pl.col("fingerprint") != "")
    before = computed.cast(pl.Int64).cum_sum().over("asset", "fingerprint") - computed.cast(pl.Int64)
    return table.sort("time").with_columns(
        (~pl.col("reused") & ~pl.col("forced") & (pl.col("fingerprint") != "") & (before > 0)).alias(_DERIVED))
