"""Weighted least squares of a table of lines (rows) by levels (blocks or environments), lines absorbed.

The one solver behind both steps of stage one. L lines, B levels: a line has few cells and there are few levels, so
the lines' equations are diagonal and only a B × B system is solved (Searle 1971, ch. 7). Units and tables are not
known here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TwoWayFit:
    """Solution of y = line + level + e with Σ_B w_B · level_B = 0, w the levels' total weights.

    Attributes
    ----------
    line_L, level_B : estimates.
    inverse_L : 1 / a line's total weight.
    share_LB : share of a line's weight that lies in each level.
    covariance_BB : covariance of `level_B`, in units of 1 / weight.
    """

    line_L: np.ndarray
    level_B: np.ndarray
    inverse_L: np.ndarray
    share_LB: np.ndarray
    covariance_BB: np.ndarray

    def line_variance(self) -> np.ndarray:
        """Variance (L,) of `line_L`, in units of 1 / weight."""
        return self.inverse_L + self._through_levels()

    def contrast_variance(self) -> np.ndarray:
        """Variance (L,) of a line minus the average of all lines, in units of 1 / weight.

        The diagonal of T Var(line) T' with T = I − 11'/L and Var(line) = D⁻¹ + P V P'; the same whatever constraint
        the levels are under.
        """
        n = self.inverse_L.size
        mean_B = self.share_LB.mean(axis=0)
        towards_mean_L = self.inverse_L / n + self.share_LB @ (self.covariance_BB @ mean_B)
        mean_variance = self.inverse_L.sum() / n**2 + mean_B @ self.covariance_BB @ mean_B
        return np.maximum(self.inverse_L + self._through_levels() - 2 * towards_mean_L + mean_variance, 0.0)

    def contrast_loadings(self) -> np.ndarray:
        """Loadings U (L, B) of lines minus their average on the levels' errors: covariance = D⁻¹ + U U' between lines.

        A common term is left out, which no contrast between lines sees.
        """
        values_B, vectors_BB = np.linalg.eigh(self.covariance_BB)
        return (self.share_LB - self.share_LB.mean(axis=0)) @ (vectors_BB * np.sqrt(np.maximum(values_B, 0.0)))

    def cell_variance(self) -> np.ndarray:
        """Variance (L, B) of the fitted value line + level, in units of 1 / weight."""
        crossed_LB = self.share_LB @ self.covariance_BB
        return self.line_variance()[:, None] + np.diag(self.covariance_BB)[None, :] - 2 * crossed_LB

    def _through_levels(self) -> np.ndarray:
        return np.einsum("lb,lb->l", self.share_LB @ self.covariance_BB, self.share_LB)


def fit_two_way(weight_LB: np.ndarray, sum_LB: np.ndarray) -> TwoWayFit:
    """Fit lines and levels by weighted least squares.

    Parameters
    ----------
    weight_LB : total weight of the records in each cell, 0 where there is none; every line and every level has some,
        and lines and levels are connected (see `connected_parts`).
    sum_LB : weighted sum of the records in each cell.
    """
    total_L, total_B = weight_LB.sum(axis=1), weight_LB.sum(axis=0)
    share_LB = weight_LB / total_L[:, None]
    # Information on levels after the lines are absorbed: rank B − 1, its null vector 1. Adding c·ww' makes it
    # regular, sets w'level = 0 and adds exactly 11'/c to the inverse (w scaled to sum 1).
    information_BB = np.diag(total_B) - weight_LB.T @ share_LB
    w_B = total_B / total_B.sum()
    scale = total_B.mean() * total_B.size
    inverse_BB = np.linalg.inv(information_BB + scale * np.outer(w_B, w_B))
    mean_L = sum_LB.sum(axis=1) / total_L
    level_B = inverse_BB @ (sum_LB.sum(axis=0) - weight_LB.T @ mean_L)
    return TwoWayFit(mean_L - share_LB @ level_B, level_B, 1 / total_L, share_LB, inverse_BB - 1 / scale)


def connected_parts(line_N: np.ndarray, level_N: np.ndarray, n_lines: int, n_levels: int) -> np.ndarray:
    """The connected part (n_levels,) each level belongs to, levels being connected by common lines."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = n_lines + n_levels
    graph = coo_array((np.ones(line_N.size), (line_N, n_lines + level_N)), shape=(n, n))
    labels = connected_components(graph, directed=False)[1]
    return np.unique(labels[n_lines:], return_inverse=True)[1]
