"""Monitoring of inputs: the environments of a season against those of all earlier seasons."""

from __future__ import annotations

from typing import Any

import polars as pl

from genomic_platform.defs.season_asset import Season, season_asset
from genomic_platform.drift import inputs
from genomic_platform.results import plots, season_plots


def _describe_inputs(season: Season, table: pl.DataFrame) -> dict[str, Any]:
    if table.is_empty():
        return {"features": 0, "said": "the programme's environments have no features"}
    counts = dict(table["decision"].value_counts().iter_rows())
    shown = table.sort(pl.col("decision") != "shifted", pl.col("p_adjusted"), -pl.col("n_outside"), nulls_last=True)
    found: dict[str, Any] = {"features": table.height, **counts, "environments": table["n_new"].max(),
                             "outside_earlier_range": table.filter(pl.col("n_outside") > 0).height}
    if set(counts) <= {"no_test", "too_few"}:
        found["said"] = table["message"].mode().sort()[0]
    found["input_drift"] = plots.top_of(shown, ["feature", "decision", "mean_new", "mean_reference", "effect",
                                                "p_adjusted", "n_outside", "message"], 25)
    if table["effect"].count():
        found["effects"] = season_plots.effects_by_feature(table)
    return found


@season_asset(group="monitoring", code_version="1", describe=_describe_inputs)
def input_drift(season: Season, environment_features: pl.DataFrame) -> pl.DataFrame:
    """Whether the season's environments are like those of all earlier seasons, feature by feature."""
    return inputs.input_drift(environment_features, season=season.label, seed=season.program.file.seed)
