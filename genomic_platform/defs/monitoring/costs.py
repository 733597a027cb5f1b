"""The books: what every programme's steps cost by month, as an asset of the workspace, made anew every day."""

import hashlib
from typing import Any

import dagster as dg
import polars as pl

from genomic_platform.costs import report
from genomic_platform.costs.ledger import Ledger
from genomic_platform.defs.season_asset import OWNERS, column_schema
from genomic_platform.results import plots
from genomic_platform.schemas.monitoring import COST_LEDGER
from genomic_platform.workspace import Workspace


@dg.asset(group_name="costs", kinds={"polars"}, owners=OWNERS, code_version="1", required_resource_keys={"workspace"},
          metadata=column_schema(COST_LEDGER, {}))
def cost_ledger(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """What every step of every programme cost: monthly totals, evaluation's share and what of it was repeated, idle
    time of graphics cards, and how each month stands beside its budget.

    The lines themselves lie in the workspace, in `costs/`; they are written when steps end, and never rewritten.
    """
    workspace: Workspace = context.resources.workspace.open()
    ledger = Ledger(workspace.root)
    found = [report.costs(name, workspace) for name in ledger.programs()]
    return dg.MaterializeResult(metadata=_shown(found, workspace, ledger), data_version=dg.DataVersion(_digest(ledger)))


def _shown(found: list[dict[str, Any]], workspace: Workspace, ledger: Ledger) -> dict[str, Any]:
    months = pl.concat([pl.DataFrame(), *map(report.month_table, found)], how="diagonal_relaxed")  # not all have cards
    shown: dict[str, Any] = {
        "dagster/row_count": sum(month["steps"] for programme in found for month in programme["months"]),
        "unread_lines": sum(programme["unread_lines"] for programme in found),
        "kept_in": str(ledger.folder), "prices": report.say_prices(workspace.settings)}
    for programme in found:
        name, month = programme["program"], programme["months"][-1]
        shown[f"{name}: band"] = month["band"] or "no work yet"
        shown |= {f"{name}: {what}": value for what, value in (
            ("evaluation_share", month["evaluation_share"]), ("repeated_share", month["repeated_share"]),
            ("gpu_idle_share", month["gpu_idle_share"]), ("budget", programme["budget"]["message"] or None))
            if value is not None}
        shown[f"{name}: by_kind"] = plots.cost_over_months(report.kind_table(programme))
    return shown | ({"months": plots.markdown_table(months)} if months.height else {})


def _digest(ledger: Ledger) -> str:
    """Of all the lines: what the data version stands for."""
    digest = hashlib.sha256()
    for path in sorted(ledger.folder.glob("*/*.jsonl")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
