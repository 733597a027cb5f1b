"""How the covariance of lines follows from their genomic relationship: what a recipe must say, and no more.

`genomic_blup` and `kernel` implement it; `line_model` and `line_recipe` do the rest for both.
Axes: P lines of the training panel, E these and those that only the pedigree joins to them, Q lines to predict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from genomic_platform.models.trait_fit import TraitFit


@dataclass(frozen=True)
class Lines:
    """Q lines by their covariance with the panel's lines (or all E), shape (Q, P), and with themselves, shape (Q,)."""

    cross_QP: np.ndarray
    own_Q: np.ndarray

    @classmethod
    def panel(cls, matrix_PP: np.ndarray) -> Lines:
        return cls(matrix_PP, np.diagonal(matrix_PP))


@dataclass(frozen=True)
class MarkerWeights:
    """The breeding value as a weighted sum over the panel: scale × relationship @ weights.

    Attributes
    ----------
    weights_P : marker effects are Σ_P (dosage − 2p) × weight. Over E until `PedigreeLines.on_panel`.
    share : squared correlation of the breeding value with the line's predicted value g, 0–1.
    own_effects : marker effects differ between groups of lines, so that the breeding value is all of g, and the
        weights give the part of the effects that is common.
    """

    weights_P: np.ndarray
    share: float
    own_effects: bool = False

    def breeding_values(self, relationship_QP: np.ndarray, covariance_QP: np.ndarray, scale: float,
                        fit: TraitFit) -> np.ndarray:
        """Breeding values (Q,) of lines by their relationship and their covariance with the panel's lines."""
        if self.own_effects:
            return fit.components.genetic * (covariance_QP[:, fit.data.rows_N] @ fit.dual_N)
        return scale * (relationship_QP @ self.weights_P)


class LineCovariance(Protocol):
    """K of a trait as a function of the relationship and of the shape of the trait's kernel."""

    def panel(self, relationship_EE: np.ndarray, scale: float, fit: TraitFit, /) -> np.ndarray:
        """K of the same lines, shape (E, E), zero on average over them."""
        ...

    def cross(self, lines: Lines, relationship_EE: np.ndarray, scale: float, fit: TraitFit, /) -> Lines:
        """K of other lines, given their relationship."""
        ...

    def marker_weights(self, relationship_EE: np.ndarray, scale: float, fit: TraitFit, /) -> MarkerWeights:
        """The breeding value of a fitted trait."""
        ...
