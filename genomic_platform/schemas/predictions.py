"""Contracts of what models give: values, comparisons, decisions, rankings and how well they held."""

import polars as pl

from genomic_platform.schemas.contract import Column, TableContract
from genomic_platform.schemas.phenotypes import LINE_ID, SEASON, TRAIT

RECIPE = Column("recipe", pl.String, "model, features and settings, by name")

#: The whole enum of science.md, in the order a trait meets them.
DECISIONS = ("initial", "refresh", "replace", "keep", "pending", "rejected", "rollback")

VALUES = TableContract(
    "breeding_values",
    (
        LINE_ID, TRAIT,
        Column("environment", pl.String, "target environment; empty = mean over environments", nullable=True),
        Column("breeding_value", pl.Float64, "additive value, deviation from the average line, trait's unit"),
        Column("breeding_value_reliability", pl.Float64, "1 − PEV / (σ²g K_ii)", unit="0–1"),
        Column("genotypic_value", pl.Float64, "value for advancing the line (additive plus line residual), "
                                              "deviation from the average line, trait's unit"),
        Column("genotypic_value_reliability", pl.Float64, "of the genotypic value", unit="0–1"),
        Column("phenotyped", pl.Boolean, "the line has a record of the trait in the training set"),
    ),
    sort_key=("trait", "line_id", "environment"),
)

MARKER_EFFECTS = TableContract(
    "marker_effects",
    (
        Column("variant_id", pl.String, "marker"),
        Column("chromosome", pl.String, "chromosome"),
        Column("position", pl.Int64, "position", unit="bp"),
        TRAIT,
        Column("alt_frequency", pl.Float64, "ALT allele frequency the model centred on", unit="0–1"),
        Column("effect", pl.Float64, "effect of one more ALT allele, trait's unit"),
    ),
    sort_key=("trait", "chromosome", "position", "variant_id"),
    unique=False,
)

_SCORES = (
    Column("r_all", pl.Float64, "predictive ability, all lines scored", nullable=True),
    Column("r_known", pl.Float64, "predictive ability, lines with an earlier record", nullable=True),
    Column("r_new", pl.Float64, "predictive ability, lines without an earlier record", nullable=True),
    Column("r_within_family", pl.Float64, "predictive ability within families of at least ten lines, weighted by size",
           nullable=True),
    Column("slope", pl.Float64, "slope of observed on predicted", nullable=True),
    Column("bias", pl.Float64, "mean of predicted minus observed, trait's unit", nullable=True),
    Column("top20_hit", pl.Float64, "share of the observed best fifth among the predicted best fifth, in the "
                                    "trait's direction", unit="0–1", nullable=True),
    Column("n_scored", pl.Int64, "lines scored"),
    Column("n_known", pl.Int64, "of them, lines with an earlier record"),
    Column("n_new", pl.Int64, "of them, lines without an earlier record"),
)

MODEL_COMPARISON = TableContract(
    "model_comparison",
    (
        TRAIT, RECIPE,
        Column("scheme", pl.String, "cv1 (folds inside the training set) | forward (trained ≤ s − 1, scored on s)"),
        SEASON,
        Column("trained_through", pl.String, "last season the model saw"),
        Column("r_mean", pl.Float64, "mean predictive ability", nullable=True),
        Column("r_sd", pl.Float64, "standard deviation over replicates; empty for a forward season", nullable=True),
        Column("n_lines", pl.Int64, "lines scored"),
    ),
    sort_key=("trait", "recipe", "scheme", "season"),
)

FORWARD_PREDICTIONS = TableContract(
    "forward_predictions",
    (
        TRAIT, RECIPE, SEASON,
        Column("trained_through", pl.String, "last season the model saw"),
        LINE_ID,
        Column("family", pl.String, "family or cross", nullable=True),
        Column("environment", pl.String, "environment the line was harvested in"),
        Column("predicted", pl.Float64, "value given before the season: genotypic of lines with an earlier record, "
                                        "else breeding value, trait's unit"),
        Column("observed", pl.Float64, "the line's environment-centred mean there, trait's unit"),
    ),
    sort_key=("trait", "recipe", "season", "environment", "line_id"),
)

RECIPE_DIFFERENCES = TableContract(
    "recipe_differences",
    (
        TRAIT,
        Column("champion", pl.String, "the champion's recipe when the season came"),
        Column("challenger", pl.String, "the recipe compared with it"),
        Column("level", pl.String, "mean (over seasons) | season | environment | family"),
        Column("label", pl.String, "which season, environment or family; empty for the mean"),
        Column("difference", pl.Float64, "predictive ability of challenger minus champion", nullable=True),
        Column("standard_error", pl.Float64, "of the difference, families (in groups: lines) resampled",
               nullable=True),
        Column("lower", pl.Float64, "lower bound at the programme's confidence, for all challengers at once",
               nullable=True),
        Column("n_lines", pl.Int64, "lines scored; over seasons, their sum"),
        Column("n_seasons", pl.Int64, "seasons scored"),
        Column("power_05", pl.Float64, "chance that a true gain of .05 passes with this error", unit="0–1",
               nullable=True),
        Column("power_08", pl.Float64, "chance that a true gain of .08 passes with this error", unit="0–1",
               nullable=True),
        Column("passes", pl.Boolean, "mean: margin reached and bound above zero; group: no loss shown; "
                                     "empty for a season", nullable=True),
    ),
    sort_key=("trait", "challenger", "level", "label"),
)

REGISTERED_MODEL = TableContract(
    "registered_model",
    (
        TRAIT, SEASON,
        Column("decision", pl.String, " | ".join(DECISIONS)),
        Column("recipe", pl.String, "the champion's recipe after the decision"),
        Column("challenger", pl.String, "the best other recipe; empty when there is none", nullable=True),
        Column("proposed", pl.String, "recipe fitted through this season that waits for `approve`; empty when none",
               nullable=True),
        Column("trained_through", pl.String, "last season the champion saw"),
        Column("model_version", pl.String, "content digest of the champion's parameters"),
        Column("n_train", pl.Int64, "lines the champion was trained on"),
        Column("reasons", pl.List(pl.String), "why, in words, most important first"),
    ),
    sort_key=("trait",),
    schema_version=2,
)

#: Decisions taken between seasons: `approve`, `reject`, `rollback`. Appended to, never changed; the champion of a trait
#: is the latest season's decision (REGISTERED_MODEL) unless a row here was written after it.
HAND_DECISIONS = TableContract(
    "hand_decisions",
    (
        Column("number", pl.Int64, "1, 2, … in the order taken"),
        Column("time", pl.Datetime("us", "UTC"), "when"),
        Column("who", pl.String, "the person or the process that decided"),
        TRAIT,
        Column("season", pl.String, "latest published season when it was taken"),
        Column("action", pl.String, "approve | reject | rollback"),
        Column("decision", pl.String, "what it makes of the trait's state: " + " | ".join(DECISIONS)),
        Column("recipe", pl.String, "the champion's recipe from now on"),
        Column("trained_through", pl.String, "last season the champion saw"),
        Column("model_version", pl.String, "content digest of the champion's parameters"),
        Column("n_train", pl.Int64, "lines the champion was trained on"),
        Column("pinned", pl.Boolean, "no season may change the champion until `approve`"),
        Column("reason", pl.String, "why, as the person gave it"),
    ),
    sort_key=("number",),
)

SELECTION_INDEX = TableContract(
    "selection_index",
    (
        Column("rank", pl.Int64, "1 = best"),
        LINE_ID,
        Column("index", pl.Float64, "weighted sum of the traits' values in their directions",
               unit="genetic standard deviations"),
        Column("index_reliability", pl.Float64, "of the index, traits taken as independent", unit="0–1"),
        Column("role", pl.String, "candidate | check | parent | tester"),
        Column("family", pl.String, "family or cross", nullable=True),
        Column("phenotyped", pl.Boolean, "the line has a record of at least one trait"),
    ),
    sort_key=("rank",),
)

REALISED_ACCURACY = TableContract(
    "realised_accuracy",
    (
        SEASON, TRAIT,
        Column("trained_through", pl.String, "last season the scored values' model saw"),
        RECIPE,
        Column("n_train", pl.Int64, "lines the scored model was trained on"),
        *_SCORES,
        Column("baseline_family_mean", pl.Float64, "predictive ability of the family's earlier mean", nullable=True),
        Column("baseline_own_mean", pl.Float64, "predictive ability of the line's own earlier mean, known lines",
               nullable=True),
        Column("loses_to", pl.List(pl.String), "baselines that did better on the same lines"),
    ),
    sort_key=("season", "trait"),
)

DRIFT_REPORT = TableContract(
    "drift_report",
    (
        SEASON,
        Column("decision", pl.String, "no_test | too_few | same_base | new_family | platform"),
        Column("n_new_lines", pl.Int64, "genotyped lines new to training this season"),
        Column("n_reference_lines", pl.Int64, "genotyped lines in training before"),
        Column("n_families", pl.Int64, "families or relationship clusters among the new lines"),
        Column("mean_shift", pl.Float64, "mean absolute difference in ALT frequency", nullable=True),
        Column("fst", pl.Float64, "F_ST between new and reference lines (Hudson)", nullable=True),
        Column("p_value", pl.Float64, "permuting families or relationship clusters", nullable=True),
        Column("effective_alleles", pl.Float64, "effective number of alleles among the new lines", nullable=True),
        Column("max_relationship_low", pl.Int64, "new lines with no close relative in training"),
        Column("suspect_markers", pl.Int64, "markers whose coding looks swapped"),
        Column("suspects", pl.List(pl.String), "their variant ids, in table order; empty in version 1 of the table",
               nullable=True),
        Column("message", pl.String, "the decision in words"),
    ),
    sort_key=("season",),
    schema_version=2,
    reads_from=1,
)
