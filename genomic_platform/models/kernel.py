"""A Gaussian kernel over markers: values that may also follow from interactions between markers.

K = exp(−d² / θ), θ = h × median d² over all pairs of the panel's lines; h = 1 or by restricted likelihood.
The genotypic value is the kernel's prediction, the breeding value its average effects (Fisher) summed over markers.
References: Gianola & van Kaam 2008, Genetics 178:2289-2303; Crossa et al. 2010, Genetics 186:713-724.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from genomic_platform.errors import ProgramError
from genomic_platform.models.line_covariance import LineCovariance, Lines, MarkerWeights
from genomic_platform.models.line_model import FittedLineModel
from genomic_platform.models.line_recipe import LineRecipe
from genomic_platform.models.trait_fit import SolvedTrait, TraitData, TraitFit, fit_traits, spread
from genomic_platform.models.tridiagonal import tridiagonal_contrasts, tridiagonal_likelihood

#: Multiples of the median squared distance that `reml` chooses from: log-spaced around the median.
BANDWIDTHS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
#: Lines on which `auto` chooses the bandwidth by restricted likelihood: one reduction for each of `BANDWIDTHS`.
BANDWIDTH_LINES = 600
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


class GaussianCovariance:
    """The Gaussian kernel, centred on the panel: K − row mean − column mean + grand mean.

    Centring changes no prediction, since the model has a mean; it makes K_ii the variance of a line's deviation from
    the average line, as VanRaden's is, so that reliabilities compare.
    """

    def panel(self, relationship_PP: np.ndarray, scale: float, fit: TraitFit) -> np.ndarray:
        return self.cross(Lines.panel(relationship_PP), relationship_PP, scale, fit).cross_QP

    def cross(self, lines: Lines, relationship_PP: np.ndarray, scale: float, fit: TraitFit) -> Lines:
        if fit.bandwidth <= 0:
            return Lines(np.zeros_like(lines.cross_QP), np.zeros_like(lines.own_Q))
        own_P = np.diagonal(relationship_PP)
        kernel_QP = gaussian(lines, own_P, scale, fit.bandwidth)
        same = lines.cross_QP is relationship_PP
        mean_P = (kernel_QP if same else
                  gaussian(Lines.panel(relationship_PP), own_P, scale, fit.bandwidth)).mean(axis=0)
        mean_Q = kernel_QP.mean(axis=1)
        grand = float(mean_P.mean())
        kernel_QP -= mean_Q[:, None]
        kernel_QP -= mean_P[None, :] - grand
        return Lines(kernel_QP, 1.0 - 2 * mean_Q + grand)

    def marker_weights(self, relationship_PP: np.ndarray, scale: float, fit: TraitFit) -> MarkerWeights:
        """Fisher's average effects of the kernel's prediction f, as weights over the panel's lines.

        f(x) = σ²f Σ_j α_j exp(−|x − x_j|² / θ) over training lines j, with α = V⁻¹(y − 1μ̂). Its gradient at line i is
        ∂f/∂x_m = −(2σ²f / θ) Σ_j α_j K_ij (x_im − x_jm). The mean over the n training lines i is
        b_m = −(2σ²f / nθ) [Σ_i x_im (Kα)_i − Σ_j x_jm α_j (K1)_j] = −(2σ²f / nθ) Σ_i x_im w_i, w = Kα − α∘K1:
        one product with the markers. Σ w = 1'Kα − α'K1 = 0, so that centring the markers changes nothing. The index
        Σ_m (x_m − 2p_m) b_m is then scaled so that f regresses on it with slope one over the training lines.
        """
        weights_P = np.zeros(len(relationship_PP))
        if not fit.fitted or fit.bandwidth <= 0:
            return MarkerWeights(weights_P, 0.0)
        rows_N = fit.data.rows_N
        relationship_NN = relationship_PP[np.ix_(rows_N, rows_N)]
        kernel_NN = gaussian(Lines.panel(relationship_NN), np.diagonal(relationship_NN), scale, fit.bandwidth)
        product_N = kernel_NN @ fit.dual_N
        gradient_N = -2 * fit.components.genetic / (len(rows_N) * fit.bandwidth) * (
            product_N - fit.dual_N * kernel_NN.sum(axis=1))
        f_N, index_N = fit.components.genetic * product_N, scale * (relationship_NN @ gradient_N)
        covariance, variance, variance_f = np.cov(f_N, index_N)[0, 1], np.var(index_N, ddof=1), np.var(f_N, ddof=1)
        if variance <= 0 or variance_f <= 0:
            return MarkerWeights(weights_P, 0.0)
        weights_P[rows_N] = gradient_N * covariance / variance
        return MarkerWeights(weights_P, float(np.clip(covariance**2 / (variance * variance_f), 0.0, 1.0)))


class FittedKernel(FittedLineModel):
    """A trained Gaussian kernel; see `FittedLineModel`."""

    class_path = "genomic_platform.models.kernel:FittedKernel"
    covariance: ClassVar[LineCovariance] = GaussianCovariance()


@dataclass(frozen=True)
class Kernel(LineRecipe):
    """The recipe `kernel`.

    Attributes
    ----------
    bandwidth : `median` (θ = median d²), `reml` (the multiple of `BANDWIDTHS` with the largest restricted likelihood
        of homoscedastic line means, per trait), `auto` (reml, on at most 600 lines spread over the panel).
    """

    bandwidth: str = "auto"

    name: ClassVar[str] = "kernel"
    code_version: ClassVar[str] = "1"
    fitted_class: ClassVar[type[FittedLineModel]] = FittedKernel

    def __post_init__(self) -> None:
        if self.bandwidth not in ("auto", "median", "reml"):
            raise ProgramError(f"kernel: bandwidth is '{self.bandwidth}'; expected auto, median or reml")

    def fit_components(self, relationship_EE: np.ndarray, scale: float,
                       data: Iterable[TraitData]) -> Iterator[SolvedTrait]:
        """Bandwidth, then components of every trait; traits with the same bandwidth share the reduction."""
        data = list(data)
        median = median_squared_distance(relationship_EE, scale)
        if median <= 0:
            yield from fit_traits(relationship_EE * 0.0, [_without_lines(d) for d in data])
            return
        lines = Lines.panel(relationship_EE)
        own_P = np.diagonal(relationship_EE)
        chosen = self._multiples(lines, own_P, scale, median, data)
        for multiple in sorted(set(chosen.values())):
            kernel_PP = gaussian(lines, own_P, scale, multiple * median)
            kernel_PP -= kernel_PP.mean(axis=0)
            kernel_PP -= kernel_PP.mean(axis=1)[:, None]
            of_this = [d for d in data if chosen[d.trait] == multiple]
            yield from fit_traits(kernel_PP, of_this, multiple * median)

    def _multiples(self, lines: Lines, own_P: np.ndarray, scale: float, median: float,
                   data: list[TraitData]) -> dict[str, float]:
        """h of every trait."""
        chosen = {d.trait: 1.0 for d in data}
        groups: dict[bytes, list[TraitData]] = {}
        for d in data:
            if d.status == "fitted" and self.bandwidth != "median":
                groups.setdefault(d.rows_N.tobytes(), []).append(d)
        for group in groups.values():
            at = spread(len(group[0].rows_N), BANDWIDTH_LINES if self.bandwidth == "auto" else len(own_P))
            rows_S = group[0].rows_N[at]
            part = Lines(lines.cross_QP[np.ix_(rows_S, rows_S)], own_P[rows_S])
            y_ST = np.column_stack([d.y_N[at] for d in group])
            likelihood_HT = np.array([tridiagonal_likelihood(
                y_ST, tridiagonal_contrasts(gaussian(part, part.own_Q, scale, h * median))) for h in BANDWIDTHS])
            chosen |= {d.trait: BANDWIDTHS[best] for d, best in zip(group, likelihood_HT.argmax(axis=0), strict=True)}
        return chosen


def _without_lines(data: TraitData) -> TraitData:
    """A trait that cannot be fitted because all lines have the same genotype."""
    return TraitData(data.trait, data.rows_N, data.y_N, data.errors, "constant")
