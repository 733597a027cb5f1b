"""What the branch of a reaction norm learns and is judged by: cells of lines in environments, in and out of folds.

A member leaves out a fold of lines and a fold of environments, and is judged where they cross: on new lines in new
environments (CV00). Judged in environments it has seen, a branch would be credited with their accidents, which say
nothing of a target environment; judged on lines it has seen, with what the line residual holds already. Every pair of
folds has its members, so that every cell is judged once, and a reaction norm of its own, at the components of all.
Axes: N cells, L line folds, E environments, K = pairs of folds, T traits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import polars as pl

from genomic_platform.genotypes.quality.duplicates import identical_lines
from genomic_platform.models.folds import LINES_PER_FOLD, random_folds
from genomic_platform.models.mixed.reaction_norm import OF_ENVIRONMENTS, ReactionNorm, error_variances
from genomic_platform.models.mixed.reaction_norm_recipe import FittedReactionNorm
from genomic_platform.models.mixed.variance import project
from genomic_platform.models.networks.inner_folds import InnerTargets
from genomic_platform.models.threads import threads_for

#: With fewer environments, members would learn how lines respond from two.
LEAST_ENVIRONMENTS = 4


@dataclass(frozen=True)
class CellTargets(InnerTargets):
    """Targets of cells, deviations from their environment's mean; `fold_N` is the pair of folds that judges a cell.

    Attributes
    ----------
    environment_N : environment of each cell, in the order of the model's kernel. trains_NK : who learns from it.
    """

    environment_N: np.ndarray
    learning_NK: np.ndarray

    #: Early stopping has seen the cells that judge, and environments are few: the one-standard-error rule (Breiman et
    #: al. 1984, Classification and Regression Trees, 3.4.3), environments as the independent ones.
    errors_to_open: ClassVar[float] = 1.0

    @property
    def trains_NK(self) -> np.ndarray:
        return self.learning_NK

    @property
    def cluster_N(self) -> np.ndarray:
        return self.environment_N


def learnable(additive: FittedReactionNorm, trait: str, n_folds: int) -> bool:
    """A trait with lines and environments enough to be judged in inner folds, and covariates of the environments."""
    model, records = additive.model(trait), additive.records.filter(pl.col("trait") == trait)
    return (model is not None and additive.covariates() is not None
            and records["line_id"].n_unique() >= LINES_PER_FOLD * n_folds
            and records["environment"].n_unique() >= LEAST_ENVIRONMENTS)


def cell_targets(additive: FittedReactionNorm, n_folds: int, seed: int) -> CellTargets | None:
    """Divide lines (clones share a fold) and environments into folds; each pair has a reaction norm of its own.

    None when no trait can be learnt. Cost: one Cholesky factor for each trait and pair.
    """
    models = [additive.model(trait) if learnable(additive, trait, n_folds) else None for trait in additive.traits]
    known = [(t, model) for t, model in enumerate(models) if model is not None]
    if not known:
        return None
    n_environments = len(known[0][1].environments)
    key_N = np.unique(np.concatenate([_keys(model, n_environments) for _, model in known]))
    line_N, environment_N = np.divmod(key_N, n_environments)
    line_fold_N, environment_fold_N = _folds(additive, known[0][1], line_N, environment_N, n_folds, seed)
    n_outer = int(environment_fold_N.max()) + 1
    pairs = [(i, j) for i in range(n_folds) for j in range(n_outer)]
    learning_NK = np.column_stack([(line_fold_N != i) & (environment_fold_N != j) for i, j in pairs])
    others_NK = np.column_stack([line_fold_N != i for i, _ in pairs])
    residual_NKT = np.zeros((len(key_N), len(pairs), len(models)))
    weight_NT, sd_T = np.zeros((len(key_N), len(models))), np.zeros(len(models))
    for t, model in known:
        at = np.searchsorted(key_N, _keys(model, n_environments))
        records = additive.records.filter(pl.col("trait") == additive.traits[t])
        cells = _Cells.of(model, records, additive.settings["weights"])
        weight_NT[at, t] = cells.weight_N
        sd_T[t] = np.std(cells.deviations(cells.y_N, np.ones(len(at), dtype=bool)))
        for k in range(len(pairs)):
            left_N = cells.y_N - cells.values(learning_NK[at, k])
            residual_NKT[at, k, t] = cells.deviations(left_N, others_NK[at, k]) / sd_T[t]
    return CellTargets(line_N, line_fold_N * n_outer + environment_fold_N, sd_T, residual_NKT, weight_NT,
                       environment_N, learning_NK)


def _keys(model: ReactionNorm, n_environments: int) -> np.ndarray:
    return model.fit.points["line"] * n_environments + model.fit.points["environment"]


def _folds(additive: FittedReactionNorm, model: ReactionNorm, line_N: np.ndarray, environment_N: np.ndarray,
           n_folds: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Fold of each cell's line, and of its environment."""
    lines = [additive.panel.lines[row] for row in np.unique(line_N)]
    clones = identical_lines(additive.panel.select(lines=lines))
    of_line = random_folds(lines, 0, n_folds=n_folds, seed=seed, clones=clones)
    names = [model.environments[e] for e in np.unique(environment_N)]
    of_environment = random_folds(names, 0, n_folds=min(n_folds, len(names)), seed=seed)
    return (np.array([of_line[additive.panel.lines[row]] for row in line_N]),
            np.array([of_environment[model.environments[e]] for e in environment_N]))


@dataclass(frozen=True, eq=False)
class _Cells:
    """One trait's cells: what of them their reaction norm explains when only some are learnt from.

    Attributes
    ----------
    explained_NN : covariance of what is explained: all of a line but the cell's own part. v_NN : of the means.
    weight_N : 1 / (σ² cell + error variance), mean 1.
    """

    y_N: np.ndarray
    environment_N: np.ndarray
    explained_NN: np.ndarray
    v_NN: np.ndarray
    weight_N: np.ndarray

    @classmethod
    def of(cls, model: ReactionNorm, records: pl.DataFrame, weights: str) -> _Cells:
        points, variance = model.fit.points, model.fit.variance
        own_N = cell_errors(model, records, weights)
        n = len(own_N)
        explained_NN, v_NN = np.zeros((n, n)), np.diag(own_N)
        for term in (term for term in model.fit.terms if variance[term.name] > 0):
            part_NN = variance[term.name] * term.covariance(points, points)
            v_NN += part_NN
            if term.name not in (*OF_ENVIRONMENTS, "cell"):
                explained_NN += part_NN
        weight_N = 1 / (own_N + variance.get("cell", 0.0))
        return cls(records["mean"].to_numpy(), points["environment"], explained_NN, v_NN, weight_N / weight_N.mean())

    def values(self, learnt_N: np.ndarray) -> np.ndarray:
        """Genotypic values (N,) of all cells by the reaction norm of those that are learnt from."""
        at = np.flatnonzero(learnt_N)
        if not at.size:
            return np.zeros(len(self.y_N))
        with threads_for(len(at)):
            solved = project(self.y_N[at], np.ones((len(at), 1)), [self.v_NN[np.ix_(at, at)]], np.ones(1), None)
        return self.explained_NN[:, at] @ solved.projected_N

    def deviations(self, value_N: np.ndarray, over_N: np.ndarray) -> np.ndarray:
        """Less the weighted mean of the environment's cells in `over_N`; 0 where it has none."""
        weight_N = self.weight_N * over_N
        total_E = np.bincount(self.environment_N, weight_N)
        sum_E = np.bincount(self.environment_N, weight_N * value_N)
        mean_E = np.divide(sum_E, total_E, out=np.zeros(len(sum_E)), where=total_E > 0)
        return np.where(total_E[self.environment_N] > 0, value_N - mean_E[self.environment_N], 0.0)


def cell_errors(model: ReactionNorm, records: pl.DataFrame, weights: str) -> np.ndarray:
    """Error variance of each of one trait's means, (N,)."""
    known_N = error_variances(records, weights)
    if known_N is not None:
        return known_N
    per_record_N = records["n_records"].to_numpy() if weights == "records" else np.ones(records.height)
    # Means that the model explains to the last digit would leave nothing to divide by.
    return np.maximum(model.fit.error_variance, 1e-9 * float(np.var(records["mean"].to_numpy()))) / per_record_N
