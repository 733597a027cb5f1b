"""What one more season will give, from few seasons that differ: a predictive distribution.

Observation o of season s is y_so = μ + a_s + b_so + e_so: a_s ~ N(0, α²) is the season's, b_so ~ N(0, β²) that of one
of several groups in it (environments, families), e_so has a variance that is known. μ is flat, α and β are half-Cauchy,
and all three are integrated over, so that few seasons give wide intervals. What is predicted belongs to the callers.
Axes: O observations, S seasons, G grid of (α, β).
References: Gelman 2006, Bayesian Anal. 1:515-534 (half-Cauchy); Higgins, Thompson & Spiegelhalter 2009, J. R. Stat.
Soc. A 172:137-159 (the predictive distribution of a further study).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

MIN_SEASONS = 3
_GRID_ALONE, _GRID_BOTH = 60, 24
_HALVINGS = 40


@dataclass(frozen=True, eq=False)
class NextSeason:
    """A mixture of normal distributions: for each (α, β) its weight, mean, and variance without the new error."""

    weight_G: np.ndarray
    mean_G: np.ndarray
    variance_G: np.ndarray

    @classmethod
    def after(cls, value_O: np.ndarray, error_O: np.ndarray, season_O: Sequence[Hashable], *,
              spread: float) -> NextSeason:
        """Learn from seasons past.

        Parameters
        ----------
        value_O, error_O : observations and their sampling variances. season_O : the season of each.
        spread : scale of the half-Cauchy, the median that α and β have before anything is seen, in the values' unit.

        Raises
        ------
        ValueError : fewer than two seasons, since nothing is known then of how much they differ.
        """
        names = sorted(set(season_O), key=str)
        if len(names) < 2:
            raise ValueError(f"{len(names)} season; expected at least two to learn how seasons differ from")
        member_SO = np.array([[s == name for s in season_O] for name in names], dtype=float)
        alpha_G, beta_G = _grid(spread, several=len(names) < len(value_O))
        w_GO = 1 / (beta_G[:, None] ** 2 + error_O)
        ones_GS, once_GS = w_GO @ member_SO.T, (w_GO * value_O) @ member_SO.T
        shared_GS = 1 + alpha_G[:, None] ** 2 * ones_GS
        # Woodbury: seasons are independent, and within one all observations share α².
        information_G = (ones_GS / shared_GS).sum(axis=1)
        mean_G = (once_GS / shared_GS).sum(axis=1) / information_G
        away_GO = value_O - mean_G[:, None]
        square_G = (w_GO * away_GO**2).sum(axis=1) - (
            alpha_G[:, None] ** 2 * ((w_GO * away_GO) @ member_SO.T) ** 2 / shared_GS).sum(axis=1)
        log_G = -0.5 * (square_G + np.log(information_G) + np.log(shared_GS).sum(axis=1) - np.log(w_GO).sum(axis=1))
        weight_G = np.exp(log_G - log_G.max())
        return cls(weight_G / weight_G.sum(), mean_G, 1 / information_G + alpha_G**2 + beta_G**2)

    @property
    def mean(self) -> float:
        """Mean of the distribution."""
        return float(self.weight_G @ self.mean_G)

    def below(self, value: float, error: float) -> float:
        """Chance that one more observation, with sampling variance `error`, falls below `value`."""
        from scipy.special import ndtr

        return float(self.weight_G @ ndtr((value - self.mean_G) / np.sqrt(self.variance_G + error)))

    def chance(self, value: float, error: float) -> float:
        """Two-sided p-value of an observation."""
        below = self.below(value, error)
        return min(1.0, 2 * min(below, 1 - below))

    def interval(self, error: float, confidence: float) -> tuple[float, float]:
        """Both ends of the central interval for one more observation with sampling variance `error`."""
        tail = (1 - confidence) / 2
        return self._quantile(tail, error), self._quantile(1 - tail, error)

    def _quantile(self, share: float, error: float) -> float:
        far = 40 * float(np.sqrt((self.variance_G + error).max()))
        low, high = float(self.mean_G.min()) - far, float(self.mean_G.max()) + far
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.below(middle, error) < share else (low, middle)
        return (low + high) / 2


def _grid(spread: float, *, several: bool) -> tuple[np.ndarray, np.ndarray]:
    """α and β at midpoints of equal shares of the half-Cauchy, (G,) each; β = 0 where no season has several groups."""
    n = _GRID_BOTH if several else _GRID_ALONE
    points = spread * np.tan(np.pi / 2 * (np.arange(n) + 0.5) / n)
    if not several:
        return points, np.zeros(n)
    alpha, beta = np.meshgrid(points, points, indexing="ij")
    return alpha.ravel(), beta.ravel()
