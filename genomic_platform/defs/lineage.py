"""Which columns a table's columns come from, for Dagster's column lineage.

Declared beside the graph, since the functions that compute know nothing of columns of other rooms. A column that is not
named here is made in its table, such as a decision's reasons. A test holds every name against the contracts.
`candidate.x` is the column x of every candidate's values, which come from what its recipe learns from.
"""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from genomic_platform.known import learnt_from
from genomic_platform.schemas.phenotypes import DAILY_WEATHER

#: Any recipe of a programme's candidates.
CANDIDATE = "candidate"
_FIT = ("training_set.mean", "training_set.error_variance", "relationship_matrix.relationship", "pedigree.parent_1",
        "pedigree.parent_2", "line_records.family", "line_means.centred")
_VALUES = {"line_id": ("training_set.line_id", "relationship_matrix.line_id"), "trait": ("training_set.trait",),
           "breeding_value": _FIT, "breeding_value_reliability": _FIT, "genotypic_value": _FIT,
           "genotypic_value_reliability": _FIT, "phenotyped": ("training_set.line_id",)}
_OF_CHAMPION = {name: (f"{CANDIDATE}.{name}",) for name in _VALUES}

#: Asset → column → columns it comes from, `asset.column`.
COLUMNS: dict[str, dict[str, tuple[str, ...]]] = {
    "environment_records": dict.fromkeys(("variable", "value"), tuple(
        f"daily_weather.{c.name}" for c in DAILY_WEATHER.columns if c.nullable)),
    "environment_features": {"environment": ("environment_records.environment",), "season": (
        "environment_records.season",), "feature": ("environment_records.variable",),
        "value": ("environment_records.value",), "standardised": ("environment_records.value",)},
    "line_means": {**{name: (f"trial_records.{name}",) for name in (
        "line_id", "season", "location", "environment", "trait")}, "mean": ("trial_records.value",),
        "centred": ("trial_records.value",), "standard_error": ("trial_records.value",),
        "n_records": ("trial_records.value",)},
    "training_set": {"line_id": ("line_means.line_id",), "trait": ("line_means.trait",),
                     "mean": ("line_means.mean", "line_means.centred", "line_means.standard_error"),
                     "error_variance": ("line_means.standard_error",), "error_loadings": ("line_means.standard_error",),
                     "n_environments": ("line_means.environment",), "n_records": ("line_means.n_records",),
                     "first_season": ("line_means.season",), "last_season": ("line_means.season",),
                     "genotyped": ("genotype_qc.kept",)},
    "relationship_matrix": {"line_id": ("genotype_qc.id",), "relationship": ("genotype_qc.kept",)},
    "population_structure": {"line_id": ("relationship_matrix.line_id",), "score": (
        "relationship_matrix.relationship",), "variance_share": ("relationship_matrix.relationship",)},
    "pedigree": {name: (f"line_records.{name}",) for name in ("line_id", "parent_1", "parent_2", "inbreeding")},
    CANDIDATE: _VALUES,
    "forward_predictions": {**{name: (f"line_means.{name}",) for name in (
        "trait", "season", "line_id", "environment")}, "family": ("line_records.family",),
        "observed": ("line_means.centred",)},
    "recipe_differences": {"trait": ("forward_predictions.trait",), "challenger": ("forward_predictions.recipe",),
                           **dict.fromkeys(("difference", "standard_error", "lower", "power_05", "power_08", "passes"),
                                           ("forward_predictions.predicted", "forward_predictions.observed",
                                            "forward_predictions.family")),
                           "n_lines": ("forward_predictions.line_id",), "n_seasons": ("forward_predictions.season",)},
    "model_comparison": {"trait": ("line_means.trait", "training_set.trait"), "season": ("line_means.season",),
                         **dict.fromkeys(("r_mean", "r_sd"), ("line_means.centred", "training_set.mean",
                                                              "relationship_matrix.relationship")),
                         "n_lines": ("line_means.line_id", "training_set.line_id")},
    "registered_model": {"trait": ("model_comparison.trait",), "recipe": (
        "recipe_differences.challenger", "recipe_differences.passes", "model_comparison.r_mean"),
        "challenger": ("model_comparison.recipe", "model_comparison.r_mean"),
        "decision": ("recipe_differences.passes", "candidate.genotypic_value"),
        "n_train": ("training_set.line_id",),
        "reasons": ("recipe_differences.difference", "recipe_differences.lower", "model_comparison.r_mean")},
    "breeding_values": _OF_CHAMPION | {"trait": (*_OF_CHAMPION["trait"], "registered_model.recipe")},
    "selection_index": {"line_id": ("breeding_values.line_id",), "rank": ("breeding_values.genotypic_value",),
                        "index": ("breeding_values.genotypic_value", "breeding_values.breeding_value"),
                        "index_reliability": ("breeding_values.genotypic_value_reliability",
                                              "breeding_values.breeding_value_reliability"),
                        "role": ("line_records.role",), "family": ("line_records.family",),
                        "phenotyped": ("breeding_values.phenotyped",)},
    "realised_accuracy": {"season": ("line_means.season",), "trait": ("line_means.trait",),
                          **dict.fromkeys(("r_all", "r_known", "r_new", "slope", "bias", "top20_hit",
                                           "baseline_own_mean"), ("line_means.centred",)),
                          **dict.fromkeys(("r_within_family", "baseline_family_mean"),
                                          ("line_means.centred", "line_records.family")),
                          **dict.fromkeys(("n_scored", "n_known", "n_new"), ("line_means.line_id",))},
    "retraining_effect": {"trait": ("line_means.trait",), "n_lines": ("line_means.line_id",),
                          **dict.fromkeys(("r_before", "r_after", "difference"), ("line_means.centred",)),
                          **dict.fromkeys(("lower", "upper", "helped"),
                                          ("line_means.centred", "line_records.family"))},
    "drift_report": {"n_new_lines": ("line_records.line_id", "line_records.known_from"),
                     "n_families": ("line_records.family", "relationship_matrix.relationship"),
                     "max_relationship_low": ("relationship_matrix.relationship", "training_set.line_id"),
                     "suspects": ("genotype_qc.id",)},
    "population_shift": {"shift": ("population_structure.score", "genotype_qc.kept"), "n_markers": (
        "drift_report.suspects", "genotype_qc.kept"), "p_value": ("line_records.family",
                                                                  "relationship_matrix.relationship")},
    "line_trust": {"line_id": ("breeding_values.line_id",), "phenotyped": ("training_set.line_id",),
                   "reliability": ("breeding_values.genotypic_value_reliability",),
                   **dict.fromkeys(("closest_relative", "closest_relationship", "mean_relationship", "trust", "why"),
                                   ("relationship_matrix.relationship", "training_set.line_id"))},
    "input_drift": {"feature": ("environment_features.feature",), **dict.fromkeys(
        ("n_new", "n_reference"), ("environment_features.environment", "environment_features.season")),
        **dict.fromkeys(("mean_new", "mean_reference", "effect", "p_value", "n_outside"),
                        ("environment_features.value",))},
    "prediction_drift": {"trait": ("breeding_values.trait",), "n_lines": ("breeding_values.line_id",),
                         **dict.fromkeys(("mean", "sd", "shrinkage", "r_previous", "sd_ratio"),
                                         ("breeding_values.genotypic_value",)),
                         "reliability": ("breeding_values.genotypic_value_reliability",),
                         "extrapolated": ("relationship_matrix.relationship", "training_set.line_id",
                                          "breeding_values.phenotyped")},
    "accuracy_promise": {"trait": ("line_means.trait",), "label": ("line_means.environment", "line_records.family"),
                         "n_lines": ("line_means.line_id",), "n_seasons": ("line_means.season",),
                         **dict.fromkeys(("realised", "promised", "lower", "upper", "slope", "bias", "top20_hit",
                                          "gain_selected"), ("line_means.centred",))},
}


def column_lineage(asset: str, candidates: Iterable[str]) -> dict[str, dg.TableColumnLineage]:
    """Metadata of a step of this asset; nothing for one whose columns come from no other table.

    Parameters
    ----------
    candidates : recipes of the programme.
    """
    own = origins_of_candidate(asset) if asset in candidates else COLUMNS.get(asset)
    if own is None:
        return {}
    return {"dagster/column_lineage": dg.TableColumnLineage({
        column: [dg.TableColumnDep(source, name) for origin in origins
                 for source, name in _sources(origin, candidates)] for column, origins in own.items()})}


def origins_of_candidate(recipe: str) -> dict[str, tuple[str, ...]]:
    """Column of a recipe's values → columns it comes from."""
    learnt = learnt_from([recipe])
    return {column: tuple(origin for origin in origins if origin.split(".")[0] in learnt)
            for column, origins in COLUMNS[CANDIDATE].items()}


def _sources(origin: str, candidates: Iterable[str]) -> list[tuple[str, str]]:
    asset, column = origin.split(".")
    return [(recipe, column) for recipe in candidates] if asset == CANDIDATE else [(asset, column)]
