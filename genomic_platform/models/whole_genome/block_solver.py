"""V x = b for many b at once by block conjugate gradients; the products with K are the caller's.

V = σ²g K + Δ + UU', Δ diagonal, is scaled by Δ^−½ on both sides, which leaves σ²g Δ^−½KΔ^−½ + I and few large
eigenvalues; right-hand sides share one Krylov space, so more of them need fewer passes. The residuals' block is kept
orthonormal, so that columns that converge early, or more columns than lines, break nothing.
Axes: N lines, L right-hand sides, K = min(N, L) directions, B loadings.
References: O'Leary 1980, Linear Algebra Appl. 29:293-322; Dubrulle 2001, Electron. Trans. Numer. Anal. 12:216-233
(algorithm BCGrQ).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class LineSystem(NamedTuple):
    """σ²g, √Δ and U of V, in which K x comes from outside."""

    genetic: float
    root_N: np.ndarray
    loadings_NB: np.ndarray

    def scaled(self, x_NL: np.ndarray, image_NL: np.ndarray) -> np.ndarray:
        """Δ^−½ V x, given `image_NL` = K x."""
        shared_NL = self.loadings_NB @ (self.loadings_NB.T @ x_NL)
        return self.root_N[:, None] * x_NL + (self.genetic * image_NL + shared_NL) / self.root_N[:, None]

    def rest_inverse(self, x_NL: np.ndarray) -> np.ndarray:
        """(Δ + UU')⁻¹ x by the identity of Sherman, Morrison and Woodbury."""
        weighted_NB = self.loadings_NB / self.root_N[:, None] ** 2
        inner_BB = np.eye(weighted_NB.shape[1]) + weighted_NB.T @ self.loadings_NB
        return x_NL / self.root_N[:, None] ** 2 - weighted_NB @ np.linalg.solve(inner_BB, weighted_NB.T @ x_NL)

    def rest_inverse_diagonal(self) -> np.ndarray:
        """Diagonal of (Δ + UU')⁻¹."""
        weighted_NB = self.loadings_NB / self.root_N[:, None] ** 2
        inner_BB = np.eye(weighted_NB.shape[1]) + weighted_NB.T @ self.loadings_NB
        return 1 / self.root_N**2 - np.einsum("nb,nb->n", weighted_NB, np.linalg.solve(inner_BB, weighted_NB.T).T)


class BlockSolver:
    """The solution so far, and where it goes next.

    Parameters
    ----------
    right_NL : b, no column zero. x_NL, image_NL : where to begin, and K times it; None = zeros.

    Attributes
    ----------
    x_NL, image_NL : x and K x. relative_L : |b − V x| / |b| of each column in the scaled system.
    """

    def __init__(self, system: LineSystem, right_NL: np.ndarray, x_NL: np.ndarray | None = None,
                 image_NL: np.ndarray | None = None) -> None:
        self.system = system
        self.x_NL = np.zeros_like(right_NL) if x_NL is None else x_NL
        self.image_NL = np.zeros_like(right_NL) if image_NL is None else image_NL
        scaled_NL = right_NL / system.root_N[:, None]
        self._norm_L = np.linalg.norm(scaled_NL, axis=0)
        self._residual_NK, self._size_KL = orthonormal(scaled_NL - system.scaled(self.x_NL, self.image_NL))
        self._direction_NK = self._residual_NK

    @property
    def relative_L(self) -> np.ndarray:
        return np.linalg.norm(self._size_KL, axis=0) / self._norm_L

    def directions(self) -> np.ndarray:
        """What K is to be multiplied by next, (N, K)."""
        return self._direction_NK / self.system.root_N[:, None]

    def advance(self, image_NK: np.ndarray) -> None:
        """One step, given K times `directions`."""
        own_NK = self.directions()
        forward_NK = self.system.scaled(own_NK, image_NK)
        inner_KK = self._direction_NK.T @ forward_NK
        inverse_KK = np.linalg.inv((inner_KK + inner_KK.T) / 2)
        step_KL = inverse_KK @ self._size_KL
        self.x_NL += own_NK @ step_KL
        self.image_NL += image_NK @ step_KL
        self._residual_NK, shrink_KK = orthonormal(self._residual_NK - forward_NK @ inverse_KK)
        self._direction_NK = self._residual_NK + self._direction_NK @ shrink_KK.T
        self._size_KL = shrink_KK @ self._size_KL

    def state(self) -> dict[str, np.ndarray]:
        """All that the next step depends on, beside the system."""
        return {name: getattr(self, name) for name in _STATE}

    @classmethod
    def resumed(cls, system: LineSystem, state: dict[str, np.ndarray]) -> BlockSolver:
        """The solver whose `state` this is."""
        solver = cls.__new__(cls)
        solver.system = system
        for name in _STATE:
            setattr(solver, name, state[name])
        return solver


def orthonormal(block_NL: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Q (N, K) with orthonormal columns and R (K, L) of which the block is the product.

    By the Cholesky factor of B'B, twice (Yamamoto et al. 2015, Electron. Trans. Numer. Anal. 44:306-326), a quarter of
    the time of reflections, which serve where columns depend on each other.
    """
    if block_NL.shape[1] < block_NL.shape[0]:
        try:
            size_L = np.maximum(np.linalg.norm(block_NL, axis=0), np.finfo(float).tiny)
            first_LL = np.linalg.cholesky(_gram(block_NL / size_L)).T
            rough_NL = block_NL @ (np.linalg.inv(first_LL) / size_L[:, None])
            second_LL = np.linalg.cholesky(_gram(rough_NL)).T
            if np.abs(second_LL - np.eye(len(second_LL))).max() < _NEARLY:
                return rough_NL @ np.linalg.inv(second_LL), second_LL @ first_LL * size_L
        except np.linalg.LinAlgError:
            pass
    return np.linalg.qr(block_NL)


def _gram(block_NL: np.ndarray) -> np.ndarray:
    return block_NL.T @ block_NL


#: How far from orthonormal one factor may leave the block for the second to mend it.
_NEARLY = 1e-3
_STATE = ("x_NL", "image_NL", "_norm_L", "_residual_NK", "_size_KL", "_direction_NK")
