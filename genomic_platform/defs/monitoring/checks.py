"""Checks that warn a person, with a plot where they fail; a season is published all the same."""

from typing import Any

import polars as pl

from genomic_platform.defs.checking import season_check
from genomic_platform.defs.monitoring.population import listed
from genomic_platform.results import drift_plots

#: Share of the candidates without a record that may lack close relatives before a person is warned.
MOST_WITHOUT_KIN = 0.1


@season_check("realised_accuracy", blocking=False)
def beats_baselines(table: pl.DataFrame) -> tuple[bool, dict[str, Any]]:
    """Last season's champion did better than the family mean and the line's own mean, trait by trait."""
    losing = table.filter(pl.col("loses_to").list.len() > 0)
    return losing.is_empty(), {"traits_scored": table.height,
                               **{r["trait"]: f"loses to {', '.join(r['loses_to'])}" for r in losing.to_dicts()}}


@season_check("drift_report", blocking=False, severe=True)
def no_platform_fault(table: pl.DataFrame) -> tuple[bool, dict[str, Any]]:
    """New lines are coded like the panel: no platform fault among the markers."""
    row = table.row(0, named=True)
    return row["decision"] != "platform", {"decision": row["decision"], "suspect_markers": row["suspect_markers"],
                                           "suspects": listed(row["suspects"] or []) or "none",
                                           "message": row["message"]}


@season_check("drift_report", blocking=False)
def same_base(table: pl.DataFrame) -> tuple[bool, dict[str, Any]]:
    """New lines come from the base of those learned from: no more shift than new families of it give."""
    row = table.row(0, named=True)
    numbers = {k: row[k] for k in ("fst", "p_value") if row[k] is not None}
    return row["decision"] != "new_family", {"decision": row["decision"], "new_lines": row["n_new_lines"], **numbers,
                                             "without_kin": row["max_relationship_low"], "message": row["message"]}


@season_check("line_trust", blocking=False, inputs=("line_records",))
def close_relatives(table: pl.DataFrame, line_records: pl.DataFrame) -> tuple[bool, dict[str, Any]]:
    """At most a tenth of the candidates without a record lack close relatives in training."""
    candidates = table.filter(~pl.col("phenotyped")).join(line_records.filter(role="candidate"), "line_id", how="semi")
    less = candidates.filter(trust="less")
    share = less.height / max(candidates.height, 1)
    plot = {} if share <= MOST_WITHOUT_KIN else {"relatives": drift_plots.closest_relatives(table)}
    return not plot, plot | {"candidates_without_record": candidates.height, "trusted_less": less.height,
                             "share": share, "most": MOST_WITHOUT_KIN,
                             "lines": listed(sorted(less["line_id"])) or "none"}
