"""Monthly totals of a programme from its ledger: by kind of work, what evaluation took of it, how idle cards were.

Shares are of money where processor or card time has a price, else of the wall time of the steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import polars as pl

from genomic_platform.costs.ledger import Books, Ledger
from genomic_platform.costs.prices import Prices
from genomic_platform.costs.storage import Kept, gb_months, kept, month_bounds
from genomic_platform.workspace import Workspace

Band = Literal["healthy", "watch", "warning", "critical"]
#: Evaluation that was repeated for want of a cache, as a share of the month's total: where each band begins or ends.
WATCH_FROM, WARNING_FROM, CRITICAL_ABOVE = 0.05, 0.15, 0.30
_EVALUATION = pl.col("kind") == "evaluation"


def band_of(repeated_share: float) -> Band:
    """`healthy` below 5 %, `watch` from 5 %, `warning` from 15 % to 30 %, `critical` above."""
    if repeated_share > CRITICAL_ABOVE:
        return "critical"
    if repeated_share >= WARNING_FROM:
        return "warning"
    return "watch" if repeated_share >= WATCH_FROM else "healthy"


@dataclass(frozen=True)
class KindTotal:
    """What one kind of work took in a month: steps, s, bytes; shares 0–1 of the month's total.

    `repeated_share`, `forced_share`, `failed_share`: of it what had been computed before, was asked for anew, or
    ended with an error. `cost`: in the prices' currency; None where no computing is priced.
    """

    kind: str
    steps: int
    computed: int
    reused: int
    failed: int
    wall_s: float
    cpu_s: float
    gpu_s: float
    bytes_written: int
    share: float
    repeated_share: float
    forced_share: float
    failed_share: float
    cost: float | None


@dataclass(frozen=True)
class MonthTotal:
    """A programme's month (UTC).

    Attributes
    ----------
    until : up to when it is told, its end or the moment asked. share_of : what shares are of, `cost` or `wall time`.
    repeated_share, band : evaluation repeated for want of a cache, as a share of the total; None without any work.
    gpu_idle_share : of the time that cards were leased, 0–1; None where none was or the driver does not tell.
    stored_bytes : what releases hold at `until`. cost : computing and storage; None where nothing is priced.
    """

    program: str
    month: str
    until: datetime
    share_of: Literal["cost", "wall time"]
    kinds: tuple[KindTotal, ...]
    steps: int
    failed: int
    wall_s: float
    cpu_s: float
    gpu_s: float
    gpu_busy_s: float | None
    gpu_idle_share: float | None
    peak_memory_bytes: int | None
    bytes_written: int
    stored_bytes: int
    stored_gb_months: float
    evaluation_share: float | None
    repeated_share: float | None
    band: Band | None
    cost: float | None


def month_totals(workspace: Workspace, program: str, now: datetime, month: str | None = None) -> tuple[
        list[MonthTotal], int]:
    """The programme's months with lines, oldest first, or the one asked; and how many lines could not be read."""
    ledger, prices = Ledger(workspace.root), Prices.of(workspace.settings)
    books, held = ledger.read(program), kept(workspace, program)
    wanted = ledger.months(program) if month is None else [month]
    return [month_total(books, held, prices, program, label, now) for label in wanted], books.unread


def month_total(books: Books, held: Kept, prices: Prices, program: str, month: str, now: datetime) -> MonthTotal:
    """One month's total.

    Parameters
    ----------
    books : the programme's whole ledger: what is repeated follows from earlier months too.
    held : what its releases hold, as `costs.storage.kept` gives it.
    """
    weight = "cost" if prices.prices_computing else "wall_s"
    rows = books.table.filter(pl.col("time").dt.strftime("%Y-%m") == month)
    rows = rows.with_columns(prices.computing(rows).alias("cost"))
    total = float(rows[weight].sum())
    kinds = tuple(_kind(str(kind), own, weight, total, prices) for (kind,), own in
                  sorted(rows.group_by("kind"), key=lambda pair: str(pair[0])))
    until = min(now, month_bounds(month)[1])
    gb = gb_months(held, month, until)
    repeated = _share(rows.filter(_EVALUATION & pl.col("repeated")), weight, total)
    busy = _sum_known(rows, "gpu_busy_s")
    return MonthTotal(
        program=program, month=month, until=until, share_of="cost" if prices.prices_computing else "wall time",
        kinds=kinds, steps=rows.height, failed=int(rows["failed"].sum()), wall_s=float(rows["wall_s"].sum()),
        cpu_s=float(rows["cpu_s"].sum()), gpu_s=float(rows["gpu_s"].sum()), gpu_busy_s=busy,
        gpu_idle_share=idle_share(rows), peak_memory_bytes=_most(rows["peak_memory_bytes"]),
        bytes_written=int(rows["bytes_written"].sum()), stored_bytes=sum(size for since, size in held if since < until),
        stored_gb_months=gb, evaluation_share=_share(rows.filter(_EVALUATION), weight, total) if total else None,
        repeated_share=repeated if total else None, band=band_of(repeated) if total else None,
        cost=float(rows["cost"].sum()) + prices.storage(gb) if prices.priced else None)


def _kind(kind: str, rows: pl.DataFrame, weight: str, total: float, prices: Prices) -> KindTotal:
    return KindTotal(
        kind=kind, steps=rows.height, computed=rows.filter(~pl.col("reused") & ~pl.col("failed")).height,
        reused=rows.filter(pl.col("reused") & ~pl.col("failed")).height, failed=int(rows["failed"].sum()),
        wall_s=float(rows["wall_s"].sum()), cpu_s=float(rows["cpu_s"].sum()), gpu_s=float(rows["gpu_s"].sum()),
        bytes_written=int(rows["bytes_written"].sum()), share=_share(rows, weight, total),
        **{f"{mark}_share": _share(rows.filter(mark), weight, total) for mark in ("repeated", "forced", "failed")},
        cost=float(rows["cost"].sum()) if prices.prices_computing else None)


def idle_share(rows: pl.DataFrame) -> float | None:
    """1 − busy / leased over the steps that held a card and whose driver told how busy it was (contract COST_LEDGER).

    Utilisation is sampled, so a short step may seem busier than its lease: never below 0.
    """
    known = rows.filter(pl.col("gpu_s") > 0, pl.col("gpu_busy_s").is_not_null())
    leased = float(known["gpu_s"].sum())
    return max(0.0, 1 - float(known["gpu_busy_s"].sum()) / leased) if leased else None


def _share(rows: pl.DataFrame, weight: str, total: float) -> float:
    return float(rows[weight].sum()) / total if total else 0.0


def _sum_known(rows: pl.DataFrame, column: str) -> float | None:
    """Sum over the rows that tell; None where one that held a card does not."""
    return None if rows.filter(pl.col("gpu_s") > 0)[column].null_count() else float(rows[column].sum())


def _most(values: pl.Series) -> int | None:
    known: Sequence[int] = values.drop_nulls().to_list()
    return max(known, default=None)
