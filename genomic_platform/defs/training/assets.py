"""Training: what is known at the season, one asset a candidate recipe, and their comparison."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl

from genomic_platform.defs.season_asset import Season, season_asset
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.candidate import FittedCandidate, fit_candidate, training_set_of
from genomic_platform.models.comparison import compare_by_folds
from genomic_platform.models.forward import forward_predictions as predict_forward
from genomic_platform.models.forward import forward_scores
from genomic_platform.models.gate import GateRule
from genomic_platform.models.gate import recipe_differences as differences
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.models.recipes import load_recipe
from genomic_platform.phenotypes.line_means import season_means, training_means
from genomic_platform.results import plots
from genomic_platform.schemas.predictions import MODEL_COMPARISON, RECIPE_DIFFERENCES
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


def known_at(season: Season, training_set: pl.DataFrame, genotype_panel: GenotypeTable, genotype_qc: pl.DataFrame,
             relationship_matrix: pl.DataFrame, environment_features: pl.DataFrame,
             pedigree: pl.DataFrame | None = None) -> TrainingSet:
    """What a model may learn from at the season."""
    return training_set_of(season.label, training_set, genotype_panel, genotype_qc, relationship_matrix,
                           environment_features, pedigree)


def _describe_candidate(season: Season, candidate: FittedCandidate) -> dict[str, Any]:
    rows = [{"trait": trait, **facts} for trait, facts in candidate.model.summary().items()]
    return {"by_trait": plots.markdown_table(pl.DataFrame(rows)),
            "values": plots.distribution(candidate.values, "genotypic_value", season.units),
            "model_folder": f"{season.program.name}/{season.label}/{candidate.model.recipe}/model"}


def _fit(season: Season, recipe: str, known: TrainingSet) -> FittedCandidate:
    candidate = fit_candidate(recipe, known, season.program.file.seed, season.units, season.device, season.checkpoint)
    season.log_candidate(recipe, candidate.model)
    return candidate


@season_asset(group="training", code_version="3", kinds={"mlflow", "numpy"}, settings=("candidates", "units"),
              describe=_describe_candidate)
def genomic_blup(season: Season, training_set: pl.DataFrame, genotype_panel: GenotypeTable, genotype_qc: pl.DataFrame,
                 relationship_matrix: pl.DataFrame, environment_features: pl.DataFrame,
                 pedigree: pl.DataFrame) -> FittedCandidate:
    """Genomic BLUP (VanRaden relationship, REML) fitted on everything known, with values of all known lines."""
    return _fit(season, "genomic_blup", known_at(season, training_set, genotype_panel, genotype_qc,
                                                 relationship_matrix, environment_features, pedigree))


@season_asset(group="training", code_version="3", kinds={"mlflow", "numpy"}, settings=("candidates", "units"),
              describe=_describe_candidate)
def kernel(season: Season, training_set: pl.DataFrame, genotype_panel: GenotypeTable, genotype_qc: pl.DataFrame,
           relationship_matrix: pl.DataFrame, environment_features: pl.DataFrame) -> FittedCandidate:
    """Gaussian kernel regression fitted on everything known, with values of all known lines."""
    return _fit(season, "kernel", known_at(season, training_set, genotype_panel, genotype_qc,
                                           relationship_matrix, environment_features))


@season_asset(group="training", code_version="1", history=("genomic_blup", "kernel"))
def forward_predictions(season: Season, line_means: pl.DataFrame, line_records: pl.DataFrame) -> pl.DataFrame:
    """Every line harvested this season beside what each recipe, fitted through the season before, had predicted."""
    before = season.previous
    published = {r: season.first_published(r, before) for r in season.program.file.candidates} if before else {}
    return predict_forward({r: c.values for r, c in published.items()}, line_means, season=season.label,
                           trained_through=before or "",
                           families=dict(line_records.select("line_id", "family").iter_rows()))


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


@season_asset(group="training", code_version="2", settings=("candidates", "line_means"),
              history=("model_comparison", "genomic_blup", "kernel"), shown_with=("recipe_differences",),
              describe=_describe_comparison)
def model_comparison(season: Season, genomic_blup: FittedCandidate, kernel: FittedCandidate, training_set: pl.DataFrame,
                     genotype_panel: GenotypeTable, genotype_qc: pl.DataFrame, relationship_matrix: pl.DataFrame,
                     environment_features: pl.DataFrame, pedigree: pl.DataFrame,
                     line_means: pl.DataFrame) -> pl.DataFrame:
    """Recipes side by side: on folds inside a trait's first training set, then on every season they had not seen."""
    recipes = season.program.file.candidates
    before = season.read("model_comparison", season.previous) if season.previous else MODEL_COMPARISON.empty()
    known = known_at(season, training_set, genotype_panel, genotype_qc, relationship_matrix, environment_features,
                     pedigree)
    first = season.first_met(training_set)
    folds = compare_by_folds(
        replace(known, means=training_set.filter(pl.col("trait").is_in(first))), {r: load_recipe(r) for r in recipes},
        replicates=FOLD_REPLICATES) if first else MODEL_COMPARISON.empty()
    published = {r: season.first_published(r, season.previous) for r in recipes} if season.previous else {}
    forward = forward_scores({r: c.values for r, c in published.items()}, season_means(line_means),
                             season=season.label, trained_through=season.previous or "")
    return pl.concat([before, folds, forward])
