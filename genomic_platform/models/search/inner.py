"""Folds inside the training lines, and how well a recipe predicts them: nothing else is ever looked at.

Kin stay together, so that settings are not chosen for how well they remember a line's nearest relatives: families
where they are known, else clusters of the relationship. Axes: P panel lines.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.population.clusters import relationship_clusters
from genomic_platform.genotypes.quality.duplicates import identical_lines
from genomic_platform.models.folds import LINES_PER_FOLD, fold_members, grouped_folds
from genomic_platform.models.protocol import Model, TrainingSet
from genomic_platform.models.scores import correlation


@dataclass(frozen=True)
class InnerFold:
    """A part of the training set, and the means (line_id, trait, mean) of the training lines it lacks."""

    training_set: TrainingSet
    held_out: pl.DataFrame


def inner_folds(training_set: TrainingSet, n_folds: int, seed: int) -> list[InnerFold]:
    """Divide the genotyped training lines; those without genotypes train in every fold. Empty for too few lines."""
    panel, means = training_set.genotypes, training_set.means
    lines = sorted(set(means["line_id"]) & set(panel.lines))
    if len(lines) < LINES_PER_FOLD * n_folds:
        return []
    relationship_PP = training_set.relationship_NN
    whole = replace(training_set, relationship_NN=vanraden(panel).matrix_NN if relationship_PP is None
                    else relationship_PP)
    folds = grouped_folds(kin_groups(whole, lines, n_folds), n_folds, seed)
    for clones in identical_lines(panel.select(lines=lines)):
        folds |= dict.fromkeys(clones, folds[min(clones)])
    parts = []
    for members in fold_members(folds):
        held_out = pl.col("line_id").is_in(members)
        parts.append(InnerFold(replace(whole, means=means.filter(~held_out)),
                               means.filter(held_out).select("line_id", "trait", "mean")))
    return parts


def kin_groups(training_set: TrainingSet, lines: Sequence[str], n_folds: int) -> list[list[str]]:
    """Lines in families, or clusters of the relationship where no families are known; each line is in one group.

    Every line by itself where that leaves fewer groups than folds or more than half of the lines in one.
    """
    if training_set.families is not None:
        number = {line: training_set.families.get(line) or f"\t{line}" for line in lines}
    else:
        assert training_set.relationship_NN is not None
        place = {line: row for row, line in enumerate(training_set.genotypes.lines)}
        at = [place[line] for line in lines]
        clusters = relationship_clusters(training_set.relationship_NN[np.ix_(at, at)]).tolist()
        number = dict(zip(lines, clusters, strict=True))
    groups: dict[str | int, list[str]] = defaultdict(list)
    for line in lines:
        groups[number[line]].append(line)
    if len(groups) < n_folds or 2 * max(map(len, groups.values())) > len(lines):
        return [[line] for line in lines]
    return list(groups.values())


def inner_ability(recipe: Model, fold: InnerFold, *, seed: int, device: str, checkpoint: Path | None) -> float:
    """Predictive ability in the fold's lines: Pearson r of genotypic value and mean, mean over the traits that train.

    0 for a trait whose predictions or means do not vary, or of fewer than three lines.
    """
    fitted = recipe.fit(fold.training_set, seed=seed, device=device, checkpoint=checkpoint)
    values = fitted.predict(fold.training_set.genotypes).filter(pl.col("environment").is_null())
    pairs = fold.held_out.join(values.select("line_id", "trait", "genotypic_value"), on=["line_id", "trait"],
                               maintain_order="left")
    found = [correlation(part["genotypic_value"].to_numpy(), part["mean"].to_numpy()) or 0.0
             for _, part in pairs.group_by("trait", maintain_order=True)]
    return float(np.mean(found)) if found else 0.0
