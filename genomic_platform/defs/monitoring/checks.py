"""Checks that warn a person; a season is published all the same."""

from typing import Any

import polars as pl

from genomic_platform.defs.checking import season_check


@season_check("realised_accuracy", blocking=False)
def beats_baselines(table: pl.DataFrame) -> tuple[bool, dict[str, Any]]:
    """Last season's champion did better than the family mean and the line's own mean, trait by trait."""
    losing = table.filter(pl.col("loses_to").list.len() > 0)
    return losing.is_empty(), {"traits_scored": table.height,
                               **{r["trait"]: f"loses to {', '.join(r['loses_to'])}" for r in losing.to_dicts()}}


@season_check("drift_report", blocking=False)
def no_platform_fault(table: pl.DataFrame) -> tuple[bool, dict[str, Any]]:
    """New lines are coded like the panel: no platform fault among the markers."""
    row = table.row(0, named=True)
    return row["decision"] != "platform", {"decision": row["decision"], "suspect_markers": row["suspect_markers"],
                                           "message": row["message"]}
