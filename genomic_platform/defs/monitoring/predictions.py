"""Monitoring of predictions: the champion's values beside those that were first published a season before."""

from __future__ import annotations

from typing import Any

import polars as pl

from genomic_platform.champions import champions, true_spreads
from genomic_platform.defs.season_asset import Season, season_asset
from genomic_platform.drift import predictions
from genomic_platform.genotypes.kinship.relationship_table import relationship_array
from genomic_platform.results import plots, season_plots


def _before(season: Season) -> pl.DataFrame | None:
    return season.first_published("breeding_values", season.previous) if season.previous else None


def _describe_predictions(season: Season, table: pl.DataFrame) -> dict[str, Any]:
    changed = table.filter(pl.col("decision") == "changed")["trait"].to_list()
    found: dict[str, Any] = {"traits": table.height, "changed": ", ".join(changed) or "none",
                             "prediction_drift": plots.markdown_table(table.drop("season"))}
    before = _before(season)
    if before is not None and table["r_previous"].count():
        own = [values.filter(pl.col("environment").is_null()).select("line_id", "trait", "genotypic_value")
               for values in (before, season.read("breeding_values"))]
        both = own[0].rename({"genotypic_value": "before"}).join(
            own[1].rename({"genotypic_value": "now"}), on=["line_id", "trait"])
        found["before_and_now"] = season_plots.before_and_now(both, season.units)
    return found


@season_asset(group="monitoring", code_version="2", history=("breeding_values",), describe=_describe_predictions)
def prediction_drift(season: Season, breeding_values: pl.DataFrame, registered_model: pl.DataFrame,
                     training_set: pl.DataFrame, relationship_matrix: pl.DataFrame) -> pl.DataFrame:
    """Whether the values of lines still are what they were a season before, but for what was learnt since."""
    fitted = champions(registered_model, season.champion)
    lines = relationship_matrix["line_id"].to_list()
    return predictions.prediction_drift(
        breeding_values, _before(season), season=season.label,
        genetic_sd=true_spreads(fitted, "genotypic_value"),
        foreign=predictions.without_kin(lines, relationship_array(relationship_matrix), training_set))
