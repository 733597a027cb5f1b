"""What `genomic-platform costs --json` prints, and the same as small tables; its shape is `costs.schema.json`'s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import polars as pl

from genomic_platform.costs.budget import BudgetState, budget_state
from genomic_platform.costs.prices import Prices
from genomic_platform.costs.totals import month_totals
from genomic_platform.errors import GenomicPlatformError
from genomic_platform.settings import Settings
from genomic_platform.workspace import Workspace

SCHEMA_VERSION = 1


def costs(program: str, workspace: Workspace, month: str | None = None, now: datetime | None = None) -> dict[str, Any]:
    """A programme's months with lines in the ledger, oldest first, or the one asked; prices; the budget now."""
    now = now or datetime.now(UTC)
    totals, unread = month_totals(workspace, program, now, month)
    prices = Prices.of(workspace.settings)
    return {"schema_version": SCHEMA_VERSION, "program": program,
            "prices": asdict(prices), "unpriced": prices.unpriced,
            "months": [asdict(t) | {"until": t.until.isoformat(timespec="seconds")} for t in totals],
            "budget": asdict(_budget(program, workspace, now)), "unread_lines": unread}


def _budget(program: str, workspace: Workspace, now: datetime) -> BudgetState:
    """The state of the budget; where it cannot be told, why."""
    try:
        return budget_state(workspace.program(program), workspace, now)
    except GenomicPlatformError as error:
        return BudgetState(message=str(error))


def month_table(found: Mapping[str, Any]) -> pl.DataFrame:
    """A row a month, hours and shares as a person reads them."""
    return pl.DataFrame([{
        "programme": m["program"], "month": m["month"], "steps": m["steps"], "failed": m["failed"],
        "wall h": m["wall_s"] / 3600, "CPU h": m["cpu_s"] / 3600, "GPU h": m["gpu_s"] / 3600,
        "GPU idle": m["gpu_idle_share"], "evaluation": m["evaluation_share"], "repeated": m["repeated_share"],
        "band": m["band"], "GB-months": m["stored_gb_months"], "cost": m["cost"]} for m in found["months"]],
        infer_schema_length=None)


def kind_table(found: Mapping[str, Any]) -> pl.DataFrame:
    """Month, kind of work and its hours of processor time (columns month, kind, cpu_h)."""
    return pl.DataFrame([(m["month"], kind["kind"], kind["cpu_s"] / 3600) for m in found["months"]
                         for kind in m["kinds"]],
                        schema={"month": pl.String, "kind": pl.String, "cpu_h": pl.Float64}, orient="row")


def say_prices(settings: Settings) -> str:
    """The prices in words, those that are unpriced named."""
    prices = Prices.of(settings)
    said = [f"{name} {value:g} {prices.currency}".strip() for name, value in (
        ("CPU hour", prices.cpu_hour), ("GPU hour", prices.gpu_hour), ("GB-month", prices.gb_month)) if value]
    return "; ".join([*said, *([f"unpriced: {', '.join(prices.unpriced)}"] if prices.unpriced else [])])
