"""Training: what is known at the season, and the comparison of the recipes fitted on it (`candidates`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import polars as pl

from genomic_platform.defs.candidate_runs import log_scores
from genomic_platform.defs.season import Season
from genomic_platform.defs.season_asset import season_asset
from genomic_platform.defs.training.candidates import CANDIDATE_ASSETS
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.known import EVERYTHING, learnt_before, learnt_from
from genomic_platform.models.candidate import fit_candidate
from genomic_platform.models.comparison import fold_predictions, score_folds
from genomic_platform.models.forward import forward_predictions as predict_forward
from genomic_platform.models.forward import forward_scores
from genomic_platform.models.gate import GateRule
from genomic_platform.models.gate import recipe_differences as differences
from genomic_platform.models.recipes import load_recipe
from genomic_platform.phenotypes.line_means import season_means, training_means
from genomic_platform.program import ProgramFile
from genomic_platform.results import plots
from genomic_platform.schemas.predictions import FORWARD_PREDICTIONS, MODEL_COMPARISON, RECIPE_DIFFERENCES
from genomic_platform.stores.decisions import standing

FOLD_REPLICATES = 5


def _describe_training(season: Season, table: pl.DataFrame) -> dict[str, Any]:
    by_trait = table.group_by("trait").agg(
        pl.len().alias("lines"), pl.col("genotyped").sum().alias("genotyped"),
        pl.col("n_environments").mean().alias("mean environments"),
        pl.col("error_variance").mean().alias("mean error variance")).sort("trait")
    return {"seasons_read": [*season.earlier, season.label], "lines": table["line_id"].n_unique(),
            "by_trait": plots.markdown_table(by_trait)}


@season_asset(group="training", code_version="2", settings=("line_means",), history=("line_means",),
              describe=_describe_training)
def training_set(season: Season, line_means: pl.DataFrame, genotype_panel: GenotypeTable,
                 genotype_qc: pl.DataFrame) -> pl.DataFrame:
    """Every line's mean over all environments known up to and including the season, nothing later."""
    kept = genotype_qc.filter(pl.col("kind") == "line", pl.col("kept"))["id"].to_list()
    section = season.program.file.line_means
    means, notices = training_means(season.history("line_means", line_means), means=section.means,
                                    weights=section.weights, genotyped=set(kept))
    season.note(notices)
    return means


def _forward_history(program: ProgramFile) -> tuple[str, ...]:
    joined = set(program.candidates) & set(program.retraining.challengers)
    caught_up = ("forward_predictions", "line_means", *learnt_from(joined)) if joined else ()
    return tuple(dict.fromkeys((*program.candidates, *caught_up)))


@season_asset(group="training", code_version="1", history=_forward_history)
def forward_predictions(season: Season, line_means: pl.DataFrame, line_records: pl.DataFrame) -> pl.DataFrame:
    """Every line harvested this season beside what each recipe, fitted through the season before, had predicted.

    A challenger that joins is caught up: fitted on what was known before each earlier season, and held to that season
    as the others were.
    """
    values = {recipe: candidate.values for recipe, candidate in season.candidates_before().items()}
    families = dict(line_records.select("line_id", "family").iter_rows())
    pairs = predict_forward(values, line_means, season=season.label, trained_through=season.previous or "",
                            families=families)
    return FORWARD_PREDICTIONS.conform(pl.concat([pairs, *_caught_up(season, set(values), line_means, families)]))


def _caught_up(season: Season, scored: set[str], line_means: pl.DataFrame,
               families: Mapping[str, str | None]) -> Iterator[pl.DataFrame]:
    """Predictions of challengers that joined, for each season that they have none of."""
    joined = [c for c in season.candidates if c in season.program.file.retraining.challengers]
    if not joined:
        return
    has = set(season.history("forward_predictions", FORWARD_PREDICTIONS.empty()).select("recipe", "season").iter_rows())
    has |= {(recipe, season.label) for recipe in scored}
    for recipe in joined:
        for before, after in pairwise([*season.earlier, season.label]):
            if (recipe, after) not in has:
                fitted = fit_candidate(recipe, season.known_at(before, recipe), season.program.file.seed, season.units,
                                       season.device, season.checkpoint / f"{recipe}-{before}",
                                       season.program.file.search_budget)
                harvested = line_means if after == season.label else season.read("line_means", after)
                yield predict_forward({recipe: fitted.values}, harvested, season=after, trained_through=before,
                                      families=families)


def _describe_differences(season: Season, table: pl.DataFrame) -> dict[str, Any]:
    won = table.filter(pl.col("level") == "mean", pl.col("passes"))
    return {"challengers_that_pass": ", ".join(f"{r['challenger']} ({r['trait']})" for r in won.to_dicts()) or "none",
            "differences": plots.markdown_table(table.filter(pl.col("level").is_in(["mean", "season"])).select(
                "trait", "challenger", "champion", "level", "label", "difference", "standard_error", "lower",
                "power_05", "power_08", "n_lines", "passes")),
            "groups_with_a_loss": table.filter(pl.col("passes").not_(), pl.col("level").is_in(
                ["environment", "family"])).height}


@season_asset(group="training", code_version="1", settings=("gate",), history=("forward_predictions",
              "registered_model"), hand_decisions=True, describe=_describe_differences)
def recipe_differences(season: Season, forward_predictions: pl.DataFrame) -> pl.DataFrame:
    """Challengers against the champion's recipe on all seasons they had not seen: differences, bounds, power."""
    if season.previous is None:
        return RECIPE_DIFFERENCES.empty()
    held = standing(season.assets, season.previous)
    gate = season.program.file.gate
    return differences(season.history("forward_predictions", forward_predictions),
                       dict(held.select("trait", "recipe").iter_rows()),
                       GateRule(gate.margin, gate.confidence, gate.group_margin), seed=season.program.file.seed)


def _describe_comparison(season: Season, table: pl.DataFrame) -> dict[str, Any]:
    kept = table.filter(pl.col("season") != season.label).height
    shown = table.sort("trait", "scheme", "season", "recipe").select(
        "trait", "scheme", "season", "recipe", "r_mean", "r_sd", "n_lines")
    return {"comparison": plots.markdown_table(shown), "scored_before": kept, "scored_now": table.height - kept,
            **_describe_differences(season, season.read("recipe_differences"))}


@season_asset(group="training", code_version="3", settings=("candidates", "line_means", "search"),
              reads=lambda program: (*program.candidates, *learnt_from(program.candidates)),
              history=lambda program: ("model_comparison", *program.candidates, *learnt_before(program.candidates)),
              after=(*CANDIDATE_ASSETS, *EVERYTHING, "recipe_differences"), describe=_describe_comparison)
def model_comparison(season: Season, line_means: pl.DataFrame) -> pl.DataFrame:
    """Recipes side by side: on folds inside a trait's first training set, then on every season they had not seen."""
    before = season.read("model_comparison", season.previous) if season.previous else MODEL_COMPARISON.empty()
    known = season.known(*season.candidates)
    first = season.first_met(known.means)
    recipes = {r: load_recipe(r, season.program.file.search_budget) for r in season.candidates}
    held_out = fold_predictions(replace(known, means=known.means.filter(pl.col("trait").is_in(first))), recipes,
                                replicates=FOLD_REPLICATES) if first else None
    folds = MODEL_COMPARISON.empty() if held_out is None else score_folds(held_out, season.label)
    published, observed = season.candidates_before(), season_means(line_means)
    forward = forward_scores({r: c.values for r, c in published.items()}, observed, season=season.label,
                             trained_through=season.previous or "")
    log_scores(season, pl.concat([folds, forward]), held_out, published, observed)
    return pl.concat([before, folds, forward])
