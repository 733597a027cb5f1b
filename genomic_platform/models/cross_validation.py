"""Predictions of lines that were left out: what `comparison` and `evaluate` have in common.

Scoring of seasons belongs to `scores`, who is left out to `folds`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np
import polars as pl

from genomic_platform.models.folds import fold_members
from genomic_platform.models.protocol import Model, TrainingSet
from genomic_platform.models.scores import correlation
from genomic_platform.models.soundness import faults_named, sound_values


@runtime_checkable
class QuickValues(Protocol):
    """A recipe that can give the panel's values without reliabilities, effects and files, at less cost."""

    def fit_values(self, training_set: TrainingSet) -> pl.DataFrame: ...


def panel_values(recipe: Model, training_set: TrainingSet, environments: pl.DataFrame | None = None) -> pl.DataFrame:
    """Values of all lines of the panel after training: line_id, trait, environment (null = mean over environments),
    breeding_value, genotypic_value, intercept.

    `intercept` + value is a prediction on the scale of the training means. `environments` : covariates of those that
    recipes which read them predict too.
    """
    if isinstance(recipe, QuickValues):
        return recipe.fit_values(training_set).with_columns(environment=pl.lit(None, dtype=pl.String))
    with faults_named(recipe):
        values = sound_values(recipe, training_set, recipe.fit(training_set), environments)
    intercept = (training_set.means.filter("genotyped").group_by("trait").agg(pl.col("mean").mean().alias("intercept")))
    return (values.join(intercept, on="trait")
            .select("line_id", "trait", "environment", "breeding_value", "genotypic_value", "intercept"))


def cross_validate(training_set: TrainingSet, recipes: Mapping[str, Model],
                   replicates: Sequence[Mapping[str, int | str]]) -> pl.DataFrame:
    """Each fold's lines predicted from the others, for each recipe and replicate.

    Parameters
    ----------
    replicates : folds (line → fold) of each replicate; lines without a fold always train.

    Returns
    -------
    recipe, replicate, fold, line_id, trait, predicted (intercept + genotypic value), observed (the line's mean).
    """
    means = training_set.means
    parts = []
    for replicate, folds in enumerate(replicates):
        for fold, members in enumerate(fold_members(folds)):
            held_out = pl.col("line_id").is_in(members)
            observed = means.filter(held_out).select("line_id", "trait", observed="mean")
            part = replace(training_set, means=means.filter(~held_out))
            if part.means.is_empty() or observed.is_empty():
                continue
            parts += [panel_values(recipe, part).join(observed, on=["line_id", "trait"]).select(
                pl.lit(name).alias("recipe"), pl.lit(replicate).alias("replicate"), pl.lit(fold).alias("fold"),
                "line_id", "trait", (pl.col("intercept") + pl.col("genotypic_value")).alias("predicted"), "observed")
                for name, recipe in recipes.items()]
    return pl.concat(parts)


def fold_abilities(predictions: pl.DataFrame) -> pl.DataFrame:
    """r within each fold: recipe, trait, replicate, fold, r (null where it cannot be had), in the order given.

    `predictions` as from `cross_validate`.
    """
    keys = ["recipe", "trait", "replicate", "fold"]
    rows = [(*key, correlation(part["predicted"].to_numpy(), part["observed"].to_numpy()))
            for key, part in predictions.group_by(keys, maintain_order=True)]
    return pl.DataFrame(rows, schema={**{k: predictions.schema[k] for k in keys}, "r": pl.Float64}, orient="row")


def within_fold_ability(abilities: pl.DataFrame) -> tuple[float | None, float | None]:
    """Mean over replicates of the mean within-fold r, and its standard deviation over replicates (None for one).

    `abilities` as from `fold_abilities`, one recipe and trait. Folds whose r cannot be had are left out.
    """
    known = abilities.drop_nulls("r").group_by("replicate", maintain_order=True)
    return mean_and_sd(float(np.mean(part["r"].to_numpy())) for _, part in known)


def pooled_ability(predictions: pl.DataFrame) -> float | None:
    """r over all lines of all folds at once, as the published wheat folds are scored."""
    return correlation(predictions["predicted"].to_numpy(), predictions["observed"].to_numpy())


def mean_and_sd(values: Iterable[float]) -> tuple[float | None, float | None]:
    """Mean (None for no value) and standard deviation (None for fewer than two)."""
    found = list(values)
    return (float(np.mean(found)) if found else None,
            float(np.std(found, ddof=1)) if len(found) > 1 else None)
