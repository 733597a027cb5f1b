"""The arc-cosine kernel: what an infinitely wide network of several layers of rectified units would predict.

K⁰ = G, the genomic relationship, and from layer to layer, with cos θ = Kˡ_ij / √(Kˡ_ii Kˡ_jj),

    Kˡ⁺¹_ij = √(Kˡ_ii Kˡ_jj) J(θ) / π,   J(θ) = sin θ + (π − θ) cos θ     (Cho & Saul 2009, eq. 6 with n = 1, eq. 14)

so that K_ii stays G_ii. The number of layers is the one with the largest restricted likelihood (Cuevas et al. 2019
chose it by the marginal likelihood too). The genotypic value is the kernel's prediction, the breeding value its average
effects (Fisher) summed over markers.
References: Cho & Saul 2009, NeurIPS 22:342-350; Cuevas et al. 2019, G3 9:2913-2924.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from genomic_platform.errors import ProgramError
from genomic_platform.models.kernel_recipe import KernelCovariance, KernelRecipe, Mixture
from genomic_platform.models.line_covariance import LineCovariance, Lines
from genomic_platform.models.line_model import FittedLineModel
from genomic_platform.models.trait_fit import TraitFit

#: Numbers of layers that REML chooses from.
LAYERS = (1, 2, 3, 4, 6, 8)
#: Lines on which they are chosen: one reduction for each of `LAYERS`.
LAYER_LINES = 600


def cosines(relationship: Lines, panel_own_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """√(G_qq G_pp) and cos θ of lines, each (Q, P); a line at the mean of every marker is at right angles to all."""
    norm_QP = np.sqrt(np.maximum(relationship.own_Q, 0.0)[:, None] * np.maximum(panel_own_P, 0.0)[None, :])
    cosine_QP = np.divide(relationship.cross_QP, norm_QP, out=np.zeros_like(norm_QP), where=norm_QP > 0)
    return norm_QP, np.clip(cosine_QP, -1.0, 1.0, out=cosine_QP)


def next_layer(cosine_QP: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """J(θ) / π, the cosine after a layer, and its derivative in the cosine, (π − θ) / π."""
    slope_QP = 1.0 - np.arccos(cosine_QP) / np.pi
    after_QP = np.sqrt(1.0 - cosine_QP**2) / np.pi + slope_QP * cosine_QP
    return np.minimum(after_QP, 1.0, out=after_QP), slope_QP


class ArcCosineCovariance(KernelCovariance):
    """The arc-cosine kernel of order one; its shape is the number of layers."""

    def kernel(self, lines: Lines, own_P: np.ndarray, scale: float, shape: float) -> Lines:
        norm_QP, cosine_QP = cosines(lines, own_P)
        for _ in range(int(shape)):
            cosine_QP, _ = next_layer(cosine_QP)
        return Lines(norm_QP * cosine_QP, lines.own_Q.copy())

    def gradient(self, relationship_NN: np.ndarray, scale: float, fit: TraitFit,
                 shape: float) -> tuple[np.ndarray, np.ndarray]:
        """With K_ij = √(G_ii G_jj) g(c_ij), c = cos θ⁰ and g' the product of the layers' slopes,

        scale · ∂K_ij/∂x_im = g'_ij x_jm + (g − c g')_ij √(G_jj / G_ii) x_im; the mean over i of Σ_j α_j of it is
        Σ_k x_km w_k with n w_k = α_k Σ_i g'_ik + Σ_j α_j (g − c g')_kj √(G_jj / G_kk).
        """
        own_N = np.diagonal(relationship_NN)
        norm_NN, cosine_NN = cosines(Lines.panel(relationship_NN), own_N)
        g_NN, slope_NN = cosine_NN, np.ones_like(cosine_NN)
        for _ in range(int(shape)):
            g_NN, own_slope_NN = next_layer(g_NN)
            slope_NN *= own_slope_NN
        root_N = np.sqrt(np.maximum(own_N, 0.0))
        along_N = np.divide((g_NN - cosine_NN * slope_NN) @ (root_N * fit.dual_N), root_N, out=np.zeros_like(root_N),
                            where=root_N > 0)
        weight_N = fit.dual_N * slope_NN.sum(axis=0) + along_N
        genetic = fit.components.genetic
        return genetic * ((norm_NN * g_NN) @ fit.dual_N), genetic / (scale * len(own_N)) * weight_N

    def mixture(self, fit: TraitFit) -> Mixture:
        return ((fit.layers, 1.0),) if fit.layers else ()

    def shaped(self, fit: TraitFit, mixture: Mixture) -> TraitFit:
        return replace(fit, layers=int(mixture[0][0]))


class FittedArcCosine(FittedLineModel):
    """A trained arc-cosine kernel; see `FittedLineModel`."""

    class_path = "genomic_platform.models.arc_cosine:FittedArcCosine"
    covariance: ClassVar[LineCovariance] = ArcCosineCovariance()


@dataclass(frozen=True)
class ArcCosine(KernelRecipe):
    """The recipe `arc_cosine`.

    Attributes
    ----------
    layers : number of layers; None = that of `LAYERS` with the largest restricted likelihood of homoscedastic line
        means, per trait, on at most 600 lines spread over the panel.
    """

    layers: int | None = None

    name: ClassVar[str] = "arc_cosine"
    code_version: ClassVar[str] = "1"
    kernel: ClassVar[KernelCovariance] = ArcCosineCovariance()
    fitted_class: ClassVar[type[FittedLineModel]] = FittedArcCosine

    def __post_init__(self) -> None:
        if self.layers is not None and self.layers < 1:
            raise ProgramError(f"arc_cosine: layers is {self.layers}; expected at least 1, or None to choose by REML")

    @property
    def choosing_lines(self) -> int | None:
        return LAYER_LINES

    def shapes(self, relationship_EE: np.ndarray, scale: float) -> tuple[float, ...]:
        if not np.diagonal(relationship_EE).any():
            return ()
        return LAYERS if self.layers is None else (self.layers,)
