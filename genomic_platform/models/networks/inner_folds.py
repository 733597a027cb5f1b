"""What a branch has to learn and is judged by: what GBLUP leaves unexplained, in and out of folds of training lines.

Only training lines are ever divided here. Each inner fold has its own GBLUP, so that a member of the ensemble never
meets a value its own fold's lines have shaped; the variance components are those of all training lines.
Axes: P panel lines, K inner folds, T traits; rows of lines without a record of a trait weigh nothing there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from genomic_platform.genotypes.quality.duplicates import identical_lines
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.blup import solve
from genomic_platform.models.folds import LINES_PER_FOLD, random_folds
from genomic_platform.models.trait_fit import TraitFit, record_weights


@dataclass(frozen=True)
class InnerTargets:
    """Targets of the lines that train, in standard deviations of each trait.

    Attributes
    ----------
    rows_N : positions in the panel of the lines that have a record of some trait that is learnt, ascending.
    fold_N : inner fold of each, 0 … K − 1. sd_T : standard deviation of the line means; 0 = trait not learnt.
    residual_NKT : y − μ̂ − ĝ by the GBLUP that was trained without fold k.
    weight_NT : 1 / (σ²r + error variance), mean 1 over the trait's lines; 0 where a line has no record.
    """

    rows_N: np.ndarray
    fold_N: np.ndarray
    sd_T: np.ndarray
    residual_NKT: np.ndarray
    weight_NT: np.ndarray

    #: Standard errors of its gain that a branch must reach to be taken.
    errors_to_open: ClassVar[float] = 0.0

    @property
    def held_out_NK(self) -> np.ndarray:
        """What judges the members of each fold."""
        return self.fold_N[:, None] == np.arange(self.residual_NKT.shape[1])

    @property
    def trains_NK(self) -> np.ndarray:
        """What the members of each fold learn from."""
        return ~self.held_out_NK

    @property
    def cluster_N(self) -> np.ndarray:
        """Rows with the same number are not independent of each other when gains are judged."""
        return np.arange(len(self.fold_N))


class Gate(NamedTuple):
    """How much of the branch is taken, from predictions of lines its members had not seen.

    Attributes
    ----------
    weight : least-squares weight of the branch, 0–1; 0 = closed, the result is GBLUP.
    gain : share of GBLUP's squared error in held-out lines that the branch removes.
    gain_error : standard error of `gain`.
    """

    weight: float
    gain: float
    gain_error: float


CLOSED = Gate(0.0, 0.0, 0.0)


def learnable(fit: TraitFit, n_folds: int) -> bool:
    """A trait with genetic variance and lines enough to be judged in inner folds."""
    return fit.fitted and len(fit.data.rows_N) >= LINES_PER_FOLD * n_folds


def inner_targets(panel: GenotypeTable, relationship_PP: np.ndarray, fits: tuple[TraitFit, ...], n_folds: int,
                  seed: int) -> InnerTargets | None:
    """Divide the training lines into folds (clones share one) and take each fold's GBLUP from their means.

    None when no trait can be learnt. Cost: one Cholesky factor for each trait and fold.
    """
    learnt = [t for t, fit in enumerate(fits) if learnable(fit, n_folds)]
    if not learnt:
        return None
    rows_N = np.unique(np.concatenate([fits[t].data.rows_N for t in learnt]))
    lines = [panel.lines[row] for row in rows_N]
    folds = random_folds(lines, 0, n_folds=n_folds, seed=seed, clones=identical_lines(panel.select(lines=lines)))
    fold_N = np.array([folds[line] for line in lines])
    residual_NKT = np.zeros((len(rows_N), n_folds, len(fits)))
    weight_NT, sd_T = np.zeros((len(rows_N), len(fits))), np.zeros(len(fits))
    for t in learnt:
        fit = fits[t]
        at = np.searchsorted(rows_N, fit.data.rows_N)
        sd_T[t] = fit.data.y_N.std()
        residual_NKT[at, :, t] = _residuals(fit, relationship_PP, fold_N[at], n_folds) / sd_T[t]
        weight_NT[at, t] = record_weights(fit)
    return InnerTargets(rows_N, fold_N, sd_T, residual_NKT, weight_NT)


def _residuals(fit: TraitFit, relationship_PP: np.ndarray, fold_N: np.ndarray, n_folds: int) -> np.ndarray:
    """y − μ̂ − ĝ of the trait's lines, (N, K), by the GBLUP of the lines outside each fold."""
    data, residual_NK = fit.data, np.empty((len(fold_N), n_folds))
    k_NN = relationship_PP[np.ix_(data.rows_N, data.rows_N)]
    for fold in range(n_folds):
        at = np.flatnonzero(fold_N != fold)
        solution = solve(data.y_N[at], k_NN[np.ix_(at, at)], fit.components,
                         None if data.errors is None else data.errors.of(at))
        value_N = solution.mean + fit.components.genetic * (k_NN[:, at] @ solution.dual_N)
        residual_NK[:, fold] = data.y_N - value_N
    return residual_NK


def gate(targets: InnerTargets, trait: int, held_out_NT: np.ndarray) -> Gate:
    """Judge a branch by its predictions of held-out lines, (N, T), each by the members that had not seen the line.

    Closed unless the branch, at its least-squares weight, leaves a smaller squared error than GBLUP alone, by more than
    the standard errors that the targets ask for.
    """
    weight_N = targets.weight_NT[:, trait]
    own_N = targets.residual_NKT[np.arange(len(weight_N)), targets.fold_N, trait]
    f_N = held_out_NT[:, trait]
    spread = float((weight_N * f_N**2).sum())
    if spread <= 0:
        return CLOSED
    weight = float(np.clip((weight_N * own_N * f_N).sum() / spread, 0.0, 1.0))
    at = weight_N > 0
    reduction_N = (weight_N * (own_N**2 - (own_N - weight * f_N) ** 2))[at]
    error = float((weight_N * own_N**2)[at].mean())
    gain = float(reduction_N.mean()) / error
    gain_error = _mean_error(reduction_N, targets.cluster_N[at]) / error
    if weight <= 0 or gain <= max(0.0, targets.errors_to_open * gain_error):
        return CLOSED
    return Gate(weight, gain, gain_error)


def _mean_error(value_N: np.ndarray, cluster_N: np.ndarray) -> float:
    """Standard error of a mean whose values are independent between clusters only; infinite for one cluster."""
    _, at_N = np.unique(cluster_N, return_inverse=True)
    sum_C = np.bincount(at_N, value_N - value_N.mean())
    if len(sum_C) < 2:
        return float("inf")
    return float(np.sqrt(len(sum_C) / (len(sum_C) - 1) * (sum_C @ sum_C)) / len(value_N))
