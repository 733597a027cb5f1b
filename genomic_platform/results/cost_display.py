"""How costs look in a terminal. Nothing is computed here."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from genomic_platform.costs.prices import Prices
from genomic_platform.errors import counted
from genomic_platform.results.display import _show, _table

_COLUMNS = ("kind", "steps", "computed", "reused", "failed", "wall", "CPU", "GPU", "written", "share", "repeated",
            "forced", "cost")


def costs_report(out: Console, found: dict[str, Any]) -> None:
    """The newest month that is there, kind by kind, and the months as a list."""
    if not found["months"]:
        out.print(f"no step of {found['program']} has ended yet: nothing was spent")
        _budget(out, found)
        return
    month = found["months"][-1]
    out.print(f"{found['program']}, {month['month']} (UTC), up to {month['until']}", style="bold")
    table = _table(out, _COLUMNS, right=_COLUMNS[1:])
    for kind in month["kinds"]:
        table.add_row(kind["kind"], *(str(kind[name]) for name in ("steps", "computed", "reused", "failed")),
                      *(_time(kind[name]) for name in ("wall_s", "cpu_s", "gpu_s")), _size(kind["bytes_written"]),
                      *(_share(kind[name]) for name in ("share", "repeated_share", "forced_share")),
                      "–" if kind["cost"] is None else Prices().say(kind["cost"]))
    _show(out, table)
    _totals(out, found, month)
    _budget(out, found)
    if found["unread_lines"]:
        out.print(f"{counted(found['unread_lines'], 'line')} of the ledger could not be read: cut short by a full disk "
                  "or a machine that died", style="yellow")
    others = [m["month"] for m in found["months"][:-1]]
    if others:
        out.print(f"earlier months: {', '.join(others)} (--month)")


def _totals(out: Console, found: dict[str, Any], month: dict[str, Any]) -> None:
    out.print(f"total: {counted(month['steps'], 'step')}, {month['failed']} failed; wall {_time(month['wall_s'])}, CPU "
              f"{_time(month['cpu_s'])}, GPU {_time(month['gpu_s'])}; peak memory of a step "
              f"{_size(month['peak_memory_bytes'])}")
    if month["band"]:
        out.print(f"evaluation: {_share(month['evaluation_share'])} of {month['share_of']}; repeated for want of a "
                  f"cache: {_share(month['repeated_share'])}, {month['band']}",
                  style="" if month["band"] == "healthy" else "yellow")
    if month["gpu_s"]:
        idle = _share(month["gpu_idle_share"])
        out.print(f"graphics cards: idle {idle} of the time they were leased" if month["gpu_idle_share"] is not None
                  else "graphics cards: the driver does not tell how busy they were")
    out.print(f"store: {_size(month['stored_bytes'])} in releases, {month['stored_gb_months']:.3g} GB-months")
    said = [f"cost: {Prices(**found['prices']).say(month['cost'])}"] if month["cost"] is not None else []
    out.print("; ".join([*said, *([f"unpriced: {', '.join(found['unpriced'])}"] if found["unpriced"] else [])]))


def _budget(out: Console, found: dict[str, Any]) -> None:
    budget = found["budget"]
    if budget["message"]:
        out.print(f"budget: {budget['message']}", style="" if budget["state"] == "ok" else "yellow")


def _time(seconds: float) -> str:
    if not seconds:
        return "–"
    return f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 3600:.2f} h"


def _size(count: int | None) -> str:
    if not count:
        return "–"
    return f"{count / 1e9:,.2f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
