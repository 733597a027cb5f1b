"""A Gaussian kernel over markers: values that may also follow from interactions between markers.

K = Σ_h w_h K_h, K_h = exp(−d² / θ_h), θ_h = h × median d² over all pairs of the panel's lines. w_h ∝ L_h / v_h: L_h is
the restricted likelihood with K_h alone, so the posterior of h under equal priors, and v_h the lines' mean variance
under K_h, so that kernels are averaged at equal genetic variance (a wide one has little). Neighbours often differ in
log L_h by less than one: a single h would be chosen by noise (kernel averaging: de los Campos et al. 2010).
The genotypic value is the kernel's prediction, the breeding value its average effects (Fisher) summed over markers.
References: Gianola & van Kaam 2008, Genetics 178:2289-2303; Crossa et al. 2010, Genetics 186:713-724; de los Campos et
al. 2010, Genet. Res. 92:295-308.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from genomic_platform.errors import ProgramError
from genomic_platform.models.kernel_recipe import KernelCovariance, KernelRecipe, Mixture
from genomic_platform.models.line_covariance import LineCovariance, Lines
from genomic_platform.models.line_model import FittedLineModel
from genomic_platform.models.trait_fit import TraitFit, spread

#: Multiples of the median squared distance that are averaged or chosen from: log-spaced around the median.
BANDWIDTHS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
#: Lines on which `auto` has the restricted likelihood of each bandwidth: one reduction for each of `BANDWIDTHS`.
BANDWIDTH_LINES = 600
#: A bandwidth less probable than this is left out: it would cost a kernel and change nothing.
LEAST_POSTERIOR = 0.01
#: Mean variance at or below which all lines that choose have the same genotype: nothing tells bandwidths apart.
SAME_LINES = 1e-12
#: Lines whose pairs give the median distance: two million pairs settle it.
MEDIAN_LINES = 2_000


def gaussian(relationship: Lines, panel_own_P: np.ndarray, scale: float, bandwidth: float) -> np.ndarray:
    """exp(−d² / bandwidth), shape (Q, P), with d² = scale (K_qq + K_pp − 2 K_qp): missing calls stand at 2p."""
    d2_QP = relationship.own_Q[:, None] + panel_own_P[None, :]
    d2_QP -= 2 * relationship.cross_QP
    np.maximum(d2_QP, 0.0, out=d2_QP)
    d2_QP *= -scale / bandwidth
    return np.exp(d2_QP, out=d2_QP)


def median_squared_distance(relationship_PP: np.ndarray, scale: float) -> float:
    """Median over all pairs of different lines of Σ (x_i − x_j)²; above 2,000 lines, of that many spread evenly."""
    at = spread(len(relationship_PP), MEDIAN_LINES)
    own_S, upper = np.diagonal(relationship_PP)[at], np.triu_indices(len(at), k=1)
    return scale * float(np.median(own_S[upper[0]] + own_S[upper[1]] - 2 * relationship_PP[at[upper[0]], at[upper[1]]]))


class GaussianCovariance(KernelCovariance):
    """The Gaussian kernel, averaged over bandwidths; its shape is the bandwidth θ."""

    def kernel(self, lines: Lines, own_P: np.ndarray, scale: float, shape: float) -> Lines:
        return Lines(gaussian(lines, own_P, scale, shape), np.ones(len(lines.own_Q)))

    def gradient(self, relationship_NN: np.ndarray, scale: float, fit: TraitFit,
                 shape: float) -> tuple[np.ndarray, np.ndarray]:
        """At line i, ∂f/∂x_m = −(2σ²f / θ) Σ_j α_j K_ij (x_im − x_jm). The mean over the n training lines i is

        b_m = −(2σ²f / nθ) [Σ_i x_im (Kα)_i − Σ_j x_jm α_j (K1)_j] = −(2σ²f / nθ) Σ_i x_im w_i, w = Kα − α∘K1.
        Σ w = 1'Kα − α'K1 = 0, so that centring the markers changes nothing.
        """
        kernel_NN = gaussian(Lines.panel(relationship_NN), np.diagonal(relationship_NN), scale, shape)
        product_N = kernel_NN @ fit.dual_N
        gradient_N = -2 * fit.components.genetic / (len(product_N) * shape) * (
            product_N - fit.dual_N * kernel_NN.sum(axis=1))
        return fit.components.genetic * product_N, gradient_N

    def mixture(self, fit: TraitFit) -> Mixture:
        if fit.bandwidths:
            return fit.bandwidths
        return ((fit.bandwidth, 1.0),) if fit.bandwidth > 0 else ()

    def shaped(self, fit: TraitFit, mixture: Mixture) -> TraitFit:
        if len(mixture) == 1:
            return replace(fit, bandwidth=mixture[0][0])
        mean = float(np.exp(sum(weight * np.log(theta) for theta, weight in mixture)))
        return replace(fit, bandwidth=mean, bandwidths=mixture)


class FittedKernel(FittedLineModel):
    """A trained Gaussian kernel; see `FittedLineModel`."""

    class_path = "genomic_platform.models.kernel:FittedKernel"
    covariance: ClassVar[LineCovariance] = GaussianCovariance()


@dataclass(frozen=True)
class Kernel(KernelRecipe):
    """The recipe `kernel`.

    Attributes
    ----------
    bandwidth : `median` (θ = median d²), `reml` (the multiple of `BANDWIDTHS` with the largest restricted likelihood
        of homoscedastic line means, per trait), `auto` (kernels of all of them averaged by that likelihood, on at most
        600 lines spread over the panel).
    """

    bandwidth: str = "auto"

    name: ClassVar[str] = "kernel"
    code_version: ClassVar[str] = "2"
    kernel: ClassVar[KernelCovariance] = GaussianCovariance()
    fitted_class: ClassVar[type[FittedLineModel]] = FittedKernel

    def __post_init__(self) -> None:
        if self.bandwidth not in ("auto", "median", "reml"):
            raise ProgramError(f"kernel: bandwidth is '{self.bandwidth}'; expected auto, median or reml")

    @property
    def choosing_lines(self) -> int | None:
        return BANDWIDTH_LINES if self.bandwidth == "auto" else None

    def choose(self, shapes: tuple[float, ...], likelihood_H: np.ndarray, variance_H: np.ndarray) -> Mixture:
        if self.bandwidth != "auto" or variance_H.min() <= SAME_LINES:
            return super().choose(shapes, likelihood_H, variance_H)
        posterior_H = np.exp(likelihood_H - likelihood_H.max())
        weight_H = np.where(posterior_H < LEAST_POSTERIOR * posterior_H.sum(), 0.0, posterior_H / variance_H)
        return tuple((shape, float(weight)) for shape, weight in zip(shapes, weight_H / weight_H.sum(), strict=True)
                     if weight > 0)

    def shapes(self, relationship_EE: np.ndarray, scale: float) -> tuple[float, ...]:
        median = median_squared_distance(relationship_EE, scale)
        if median <= 0:
            return ()
        return (median,) if self.bandwidth == "median" else tuple(h * median for h in BANDWIDTHS)
