"""Monitoring of accuracy: did last season's values hold, and as well as the seasons before them promised."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import polars as pl

from genomic_platform.defs.season_asset import Season, season_asset
from genomic_platform.models import promise, scores
from genomic_platform.models.forward import predicted_and_observed
from genomic_platform.phenotypes.line_means import season_means
from genomic_platform.phenotypes.plausible import average_line
from genomic_platform.results import plots, season_plots
from genomic_platform.schemas.monitoring import ACCURACY_PROMISE
from genomic_platform.schemas.predictions import REALISED_ACCURACY


def _describe_accuracy(season: Season, table: pl.DataFrame) -> dict[str, Any]:
    if table.is_empty() or season.previous is None:
        return {"scored": "nothing was published before this season"}
    history = pl.concat([*(season.read("realised_accuracy", s) for s in season.earlier), table])
    shown = table.select("trait", "recipe", "n_train", "r_all", "r_known", "r_new", "r_within_family",
                         "baseline_own_mean", "baseline_family_mean", "top20_hit", "slope")
    values = season.first_published("breeding_values", season.previous)
    pairs = predicted_and_observed(values, season_means(season.read("line_means")))
    return {"mean_r_all": table["r_all"].mean(), "accuracy": plots.markdown_table(shown),
            "predicted_against_observed": plots.predicted_against_observed(pairs, season.units),
            "accuracy_over_seasons": plots.accuracy_over_seasons(history)}


@season_asset(group="monitoring", code_version="1", settings=("traits",),
              history=("breeding_values", "training_set", "registered_model", "line_means"),
              describe=_describe_accuracy)
def realised_accuracy(season: Season, line_means: pl.DataFrame, line_records: pl.DataFrame) -> pl.DataFrame:
    """How well the values first published after the preceding season predicted this harvest, beside the baselines."""
    if season.previous is None:
        return REALISED_ACCURACY.empty()
    return scores.realised_accuracy(
        season=season.label, values=season.first_published("breeding_values", season.previous),
        observed=season_means(line_means), training_means=season.first_published("training_set", season.previous),
        decisions=season.first_published("registered_model", season.previous), line_records=line_records,
        directions={name: trait.direction for name, trait in season.program.traits.items()},
        averages=average_line(season.history("line_means", line_means)))


def _describe_promise(season: Season, table: pl.DataFrame) -> dict[str, Any]:
    whole = table.filter(pl.col("level") == "season")
    if whole.is_empty():
        return {"scored": "nothing was published before this season"}
    below = table.filter(pl.col("verdict") == "below").select(pl.concat_str("trait", "level", "label", separator=" "))
    history = season.history("accuracy_promise", table)
    return {"below": ", ".join(below.to_series()) or "none",
            "verdicts": plots.markdown_table(whole.select(
                "trait", "verdict", "realised", "promised", "lower", "upper", "n_seasons", "n_lines", "slope", "bias",
                "top20_hit", "gain_selected", "message")),
            "groups": plots.top_of(
                table.filter(pl.col("level") != "season").sort(pl.col("verdict") != "below", maintain_order=True),
                ["trait", "level", "label", "verdict", "n_lines", "realised", "promised", "lower", "upper"], 30),
            "promised_and_realised": season_plots.promises(history)}


@season_asset(group="monitoring", code_version="1", settings=("traits",), history=("breeding_values", "line_means"),
              describe=_describe_promise)
def accuracy_promise(season: Season, line_means: pl.DataFrame, line_records: pl.DataFrame) -> pl.DataFrame:
    """Predictive ability of this harvest against what earlier forward seasons promised for exactly these lines."""
    families = dict(line_records.select("line_id", "family").iter_rows())
    harvests = [promise.harvest_pairs(
        season.first_published("breeding_values", before),
        line_means if label == season.label else season.read("line_means", label), season=label, families=families)
        for before, label in pairwise([*season.earlier, season.label])]
    if not harvests:
        return ACCURACY_PROMISE.empty()
    return promise.accuracy_promise(
        pl.concat(harvests), season=season.label,
        directions={name: trait.direction for name, trait in season.program.traits.items()},
        averages=average_line(season.history("line_means", line_means)))
