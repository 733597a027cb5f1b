"""A trait's training lines in inner folds, and GBLUP there as the yardstick of recipes without equations of their own.

What a recipe removes of the squared error in lines it had not seen, over what GBLUP's prediction error variances
promise to remove there, is what GBLUP's reliabilities are multiplied by. Only training lines are ever divided here.
Axes: P panel lines, N training lines of a trait, K inner folds.
Reference: Henderson 1975, Biometrics 31:423-447 (prediction error variance).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.quality.duplicates import identical_lines
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.blup import line_values, solve
from genomic_platform.models.folds import LINES_PER_FOLD, grouped_folds
from genomic_platform.models.genomic_blup import FittedGenomicBlup, GenomicBlup
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.models.trait_fit import TraitFit, record_weights

Summary = dict[str, float | int | str]


@dataclass(frozen=True, eq=False)
class InnerTrait:
    """A trait's training lines, each in the one inner fold that does not learn from it.

    Attributes
    ----------
    fit : GBLUP of all training lines; every fold is solved with its components.
    fold_N : 0 … K − 1. weight_N : of the records, mean 1.
    mean_N : μ̂ of the GBLUP without the line's fold. dual_NK : V⁻¹(y − 1μ̂) without fold k, 0 in the fold.
    promised_N : variance of the line's value that this GBLUP claims to know, reliability × (σ²g K_ii + σ²r).
    variance : V_g, σ²g × mean K_ii.
    """

    fit: TraitFit
    fold_N: np.ndarray
    weight_N: np.ndarray
    mean_N: np.ndarray
    dual_NK: np.ndarray
    promised_N: np.ndarray
    variance: float

    @property
    def n_folds(self) -> int:
        return self.dual_NK.shape[1]


class Calibration(NamedTuple):
    """What held-out lines say of a recipe.

    Attributes
    ----------
    reliability : factor on GBLUP's reliabilities. variance : factor on GBLUP's genetic variance, at least 1.
    removed : share of the squared error around the mean that the predictions remove, weighted; below 0 = they add.
    """

    reliability: float
    variance: float
    removed: float


UNKNOWN = Calibration(0.0, 1.0, 0.0)


def yardstick(training_set: TrainingSet) -> tuple[FittedGenomicBlup, np.ndarray]:
    """GBLUP of the genotyped training lines, and the panel's relationship (P, P).

    Lines that only a pedigree joins to the panel do not train it: inner folds say nothing of them.
    """
    relationship_PP = training_set.relationship_NN
    if relationship_PP is None:
        relationship_PP = vanraden(training_set.genotypes).matrix_NN
    additive = GenomicBlup().fit(replace(training_set, relationship_NN=relationship_PP, pedigree=None))
    assert isinstance(additive, FittedGenomicBlup)
    return additive, relationship_PP


def calibrated(inner: InnerTrait, predicted_N: np.ndarray) -> Calibration:
    """Hold predictions of lines not seen (trait's unit, mean included) against what GBLUP promised.

    With equal errors, whose variance GBLUP estimates, a recipe that removes more than GBLUP promised has found genetic
    variance that GBLUP books as error: variance moves from there, and reliabilities stay GBLUP's. With errors known
    from stage one the line's genetic variance is identified, and reliabilities rise.
    """
    y_N, weight_N = inner.fit.data.y_N, inner.weight_N / inner.weight_N.sum()
    total = float(weight_N @ (y_N - inner.mean_N) ** 2)
    removed = total - float(weight_N @ (y_N - predicted_N) ** 2)
    promised = float(weight_N @ inner.promised_N)
    share = removed / total if total > 0 else 0.0
    if removed <= 0 or promised <= 0:
        return Calibration(0.0, 1.0, share)
    ratio = removed / promised
    if ratio <= 1 or inner.fit.components.errors_known:
        return Calibration(ratio, 1.0, share)
    return Calibration(1.0, min(ratio, 1.0 + inner.fit.components.error / inner.variance), share)


def recalibrated(said: Mapping[str, float | int | str], found: Calibration, share: float) -> Summary:
    """GBLUP's summary of a trait with the recipe's variances; `share` as in `MarkerWeights`."""
    now: Summary = dict(said)
    before = float(now["genetic_sd"]) ** 2
    genetic, error = found.variance * before, float(now["error_variance"]) - (found.variance - 1.0) * before
    total = genetic + float(now["line_residual_variance"]) + error
    return now | {
        "genetic_variance": found.variance * float(now["genetic_variance"]), "error_variance": error,
        "genetic_sd": float(np.sqrt(genetic)), "heritability_line_mean": genetic / total if total > 0 else 0.0,
        "mean_reliability": min(float(now["mean_reliability"]) * found.reliability * share, 1.0),
        "reliability_factor": found.reliability, "inner_fold_error_removed": found.removed}


def inner_traits(panel: GenotypeTable, relationship_PP: np.ndarray, fits: tuple[TraitFit, ...],
                 families: Mapping[str, str | None] | None, n_folds: int, seed: int) -> dict[int, InnerTrait]:
    """Inner folds of every trait that has lines enough, by its place among `fits`; GBLUP's without a pedigree.

    Families stay whole where a trait's lines are of at least `n_folds`; else identical lines do. Cost: one Cholesky
    factor for each trait and fold.
    """
    enough = [t for t, fit in enumerate(fits)
              if fit.data.status == "fitted" and len(fit.data.rows_N) >= LINES_PER_FOLD * n_folds]
    if not enough:
        return {}
    lines = [panel.lines[row] for row in np.unique(np.concatenate([fits[t].data.rows_N for t in enough]))]
    copy_of = {line: min(group) for group in identical_lines(panel.select(lines=lines)) for line in group}
    divided = {t: _division([panel.lines[row] for row in fits[t].data.rows_N], copy_of, families or {}, n_folds, seed)
               for t in enough}
    return {t: _inner_trait(fits[t], relationship_PP, fold_N, n_folds) for t, fold_N in divided.items()
            if fold_N is not None}


def _division(lines: list[str], copy_of: Mapping[str, str], families: Mapping[str, str | None], n_folds: int,
              seed: int) -> np.ndarray | None:
    """Fold of every line; None where fewer than `n_folds` of them differ."""
    copies = [copy_of.get(line, line) for line in lines]
    named = [families.get(line) for line in copies]
    by_family = len({name for name in named if name}) >= n_folds
    if not by_family and len(set(copies)) < n_folds:
        return None
    groups: dict[tuple[str, str], list[str]] = {}
    for line, name, copy in zip(lines, named, copies, strict=True):
        groups.setdefault(("family", name) if by_family and name else ("line", copy), []).append(line)
    folds = grouped_folds([groups[key] for key in sorted(groups)], n_folds, seed)
    return np.array([folds[line] for line in lines])


def _inner_trait(fit: TraitFit, relationship_PP: np.ndarray, fold_N: np.ndarray, n_folds: int) -> InnerTrait:
    data, c = fit.data, fit.components
    k_NN = relationship_PP[np.ix_(data.rows_N, data.rows_N)]
    own_N = np.diagonal(k_NN)
    mean_N, promised_N = np.empty(len(own_N)), np.empty(len(own_N))
    dual_NK = np.zeros((len(own_N), n_folds))
    for fold in range(n_folds):
        held, at = np.flatnonzero(fold_N == fold), np.flatnonzero(fold_N != fold)
        solution = solve(data.y_N[at], k_NN[np.ix_(at, at)], c, None if data.errors is None else data.errors.of(at))
        values = line_values(solution, k_NN[np.ix_(held, at)], own_N[held], np.full(len(held), -1))
        mean_N[held], dual_NK[at, fold] = solution.mean, solution.dual_N
        promised_N[held] = values.total_reliability_Q * (c.genetic * own_N[held] + c.line_residual)
    return InnerTrait(fit, fold_N, record_weights(fit), mean_N, dual_NK, promised_N,
                      c.genetic * float(own_N.mean()))
