"""What the recipes on a kernel over markers share: its shape by restricted likelihood, centring, average effects.

A kernel follows from the genomic relationship and one number, its shape (a bandwidth, a number of layers). Every trait
has its own shape, or kernels of several shapes averaged. Kernels themselves belong to `kernel` and `arc_cosine`.
Axes: P lines of the panel, Q lines to predict, N training lines, S of them that choose, T traits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, TypeAlias

import numpy as np

from genomic_platform.models.line_covariance import Lines, MarkerWeights
from genomic_platform.models.line_model import FittedLineModel
from genomic_platform.models.line_recipe import LineRecipe
from genomic_platform.models.trait_fit import SolvedTrait, TraitData, TraitFit, fit_traits, spread
from genomic_platform.models.tridiagonal import tridiagonal_contrasts, tridiagonal_likelihood

#: Shapes and the weights of their kernels in the average, which sum to one; empty: nothing could be fitted.
Mixture: TypeAlias = tuple[tuple[float, float], ...]


class KernelCovariance(ABC):
    """A kernel, centred on the panel: K − row mean − column mean + grand mean.

    Centring changes no prediction, since the model has a mean; it makes K_ii the variance of a line's deviation from
    the average line, as VanRaden's is, so that reliabilities compare.
    """

    @abstractmethod
    def kernel(self, lines: Lines, own_P: np.ndarray, scale: float, shape: float) -> Lines:
        """K of lines, not centred, given their relationship with the panel's and these lines' with themselves."""

    @abstractmethod
    def gradient(self, relationship_NN: np.ndarray, scale: float, fit: TraitFit,
                 shape: float) -> tuple[np.ndarray, np.ndarray]:
        """f = σ²f Kα of the training lines, and w so that Σ_N x_nm w_n is the mean of ∂f/∂x_m over them."""

    @abstractmethod
    def mixture(self, fit: TraitFit) -> Mixture:
        """The shapes of a trait's kernel."""

    @abstractmethod
    def shaped(self, fit: TraitFit, mixture: Mixture) -> TraitFit:
        """The fit with its shapes noted."""

    def averaged(self, lines: Lines, own_P: np.ndarray, scale: float, mixture: Mixture) -> Lines:
        """Σ weight × `kernel` of the shape."""
        (shape, weight), *others = mixture
        found = self.kernel(lines, own_P, scale, shape)
        if not others:
            return found
        cross_QP, own_Q = weight * found.cross_QP, weight * found.own_Q
        for shape, weight in others:
            found = self.kernel(lines, own_P, scale, shape)
            cross_QP += weight * found.cross_QP
            own_Q += weight * found.own_Q
        return Lines(cross_QP, own_Q)

    def panel(self, relationship_PP: np.ndarray, scale: float, fit: TraitFit) -> np.ndarray:
        return self.cross(Lines.panel(relationship_PP), relationship_PP, scale, fit).cross_QP

    def cross(self, lines: Lines, relationship_PP: np.ndarray, scale: float, fit: TraitFit) -> Lines:
        mixture = self.mixture(fit)
        if not mixture:
            return Lines(np.zeros_like(lines.cross_QP), np.zeros_like(lines.own_Q))
        own_P = np.diagonal(relationship_PP)
        found = self.averaged(lines, own_P, scale, mixture)
        same = lines.cross_QP is relationship_PP
        panel = found if same else self.averaged(Lines.panel(relationship_PP), own_P, scale, mixture)
        mean_Q, mean_P = found.cross_QP.mean(axis=1), panel.cross_QP.mean(axis=0)
        grand = float(mean_P.mean())
        kernel_QP = found.cross_QP
        kernel_QP -= mean_Q[:, None]
        kernel_QP -= mean_P[None, :] - grand
        return Lines(kernel_QP, found.own_Q - 2 * mean_Q + grand)

    def marker_weights(self, relationship_PP: np.ndarray, scale: float, fit: TraitFit) -> MarkerWeights:
        """Fisher's average effects of the kernel's prediction f, as weights over the panel's lines.

        f(x) = σ²f Σ_j α_j K(x, x_j) over training lines j, with α = V⁻¹(y − 1μ̂). Effects are its mean gradient over
        the training lines, b_m = Σ_n x_nm w_n: one product with the markers. The index Σ_m (x_m − 2p_m) b_m is then
        scaled so that f regresses on it with slope one over the training lines.
        """
        weights_P = np.zeros(len(relationship_PP))
        mixture = self.mixture(fit)
        if not fit.fitted or not mixture:
            return MarkerWeights(weights_P, 0.0)
        rows_N = fit.data.rows_N
        relationship_NN = relationship_PP[np.ix_(rows_N, rows_N)]
        f_N, gradient_N = np.sum([weight * np.stack(self.gradient(relationship_NN, scale, fit, shape))
                                  for shape, weight in mixture], axis=0)
        index_N = scale * (relationship_NN @ gradient_N)
        covariance, variance, variance_f = np.cov(f_N, index_N)[0, 1], np.var(index_N, ddof=1), np.var(f_N, ddof=1)
        if variance <= 0 or variance_f <= 0:
            return MarkerWeights(weights_P, 0.0)
        weights_P[rows_N] = gradient_N * covariance / variance
        return MarkerWeights(weights_P, float(np.clip(covariance**2 / (variance * variance_f), 0.0, 1.0)))


@dataclass(frozen=True)
class KernelRecipe(LineRecipe):
    """A recipe on a kernel. Traits that cannot be fitted are given the middle one of the shapes."""

    kernel: ClassVar[KernelCovariance]
    fitted_class: ClassVar[type[FittedLineModel]]

    @abstractmethod
    def shapes(self, relationship_EE: np.ndarray, scale: float) -> tuple[float, ...]:
        """What REML chooses from, ascending; nothing where all lines have the same genotype."""

    @property
    @abstractmethod
    def choosing_lines(self) -> int | None:
        """Lines, spread over the panel, on which the shape is chosen; None = all."""

    def fit_components(self, relationship_EE: np.ndarray, scale: float,
                       data: Iterable[TraitData]) -> Iterator[SolvedTrait]:
        """Shape, then components of every trait; traits with the same shapes share the reduction."""
        data = list(data)
        shapes = self.shapes(relationship_EE, scale)
        if not shapes:
            yield from fit_traits(relationship_EE * 0.0, [_without_lines(d) for d in data])
            return
        lines = Lines.panel(relationship_EE)
        chosen = self._chosen(lines, scale, shapes, data)
        for mixture in sorted(set(chosen.values())):
            kernel_PP = self.kernel.averaged(lines, lines.own_Q, scale, mixture).cross_QP
            kernel_PP -= kernel_PP.mean(axis=0)
            kernel_PP -= kernel_PP.mean(axis=1)[:, None]
            for solved in fit_traits(kernel_PP, [d for d in data if chosen[d.trait] == mixture]):
                yield replace(solved, fit=self.kernel.shaped(solved.fit, mixture))

    def choose(self, shapes: tuple[float, ...], likelihood_H: np.ndarray, variance_H: np.ndarray) -> Mixture:
        """The shape with the largest restricted likelihood.

        Parameters
        ----------
        variance_H : mean variance of the lines that choose under each kernel, centred on them.
        """
        return ((shapes[int(likelihood_H.argmax())], 1.0),)

    def _chosen(self, lines: Lines, scale: float, shapes: tuple[float, ...],
                data: list[TraitData]) -> dict[str, Mixture]:
        """The shapes of every trait, by the restricted likelihood of homoscedastic line means."""
        chosen: dict[str, Mixture] = {d.trait: ((shapes[len(shapes) // 2], 1.0),) for d in data}
        groups: dict[bytes, list[TraitData]] = {}
        for d in data:
            if d.status == "fitted" and len(shapes) > 1:
                groups.setdefault(d.rows_N.tobytes(), []).append(d)
        for group in groups.values():
            n = len(group[0].rows_N)
            at = spread(n, self.choosing_lines or n)
            rows_S = group[0].rows_N[at]
            part = Lines(lines.cross_QP[np.ix_(rows_S, rows_S)], lines.own_Q[rows_S])
            y_ST = np.column_stack([d.y_N[at] for d in group])
            found = [self._tried(part, scale, shape, y_ST) for shape in shapes]
            likelihood_HT, variance_H = np.array([of[0] for of in found]), np.array([of[1] for of in found])
            for d, likelihood_H in zip(group, likelihood_HT.T, strict=True):
                chosen[d.trait] = self.choose(shapes, likelihood_H, variance_H)
        return chosen

    def _tried(self, part: Lines, scale: float, shape: float, y_ST: np.ndarray) -> tuple[np.ndarray, float]:
        """Restricted likelihood of each trait with a kernel of the shape, and the lines' mean variance under it."""
        kernel_SS = self.kernel.kernel(part, part.own_Q, scale, shape).cross_QP
        variance = float(np.diagonal(kernel_SS).mean() - kernel_SS.mean())
        return tridiagonal_likelihood(y_ST, tridiagonal_contrasts(kernel_SS)), variance


def _without_lines(data: TraitData) -> TraitData:
    """A trait that cannot be fitted because all lines have the same genotype."""
    return TraitData(data.trait, data.rows_N, data.y_N, data.errors, "constant")
