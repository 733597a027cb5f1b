"""From a training set to solved traits: which lines train, with which errors, by which components.

Traits on the same lines share one tridiagonal reduction; with known errors and above 1,000 lines REML begins on a part
of them. The lines' covariance belongs to the recipes, the algebra to `blup`, `reml` and `tridiagonal`.
Axes: E lines of the covariance (the panel's, then those that only the pedigree joins), N training lines, T traits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from genomic_platform.models.blup import KnownErrors, MixedSolution, VarianceComponents, solve
from genomic_platform.models.reml import MANY_LINES, reml_known_errors
from genomic_platform.models.tridiagonal import Estimate, tridiagonal_contrasts, tridiagonal_reml

#: Above this many lines REML with known errors starts from the solution with equal errors on this many of them, since
#: reducing the covariance of all costs more than the iterations it saves.
START_LINES = 800
MIN_LINES = 5


@dataclass(frozen=True)
class TraitData:
    """What a trait offers for training.

    Attributes
    ----------
    rows_N : positions of the training lines among E, ascending. y_N : line means, trait's unit.
    errors : R of the means; None = equal weights, error variance unknown.
    status : fitted | constant | too few lines.
    """

    trait: str
    rows_N: np.ndarray
    y_N: np.ndarray
    errors: KnownErrors | None
    status: str


@dataclass(frozen=True)
class TraitFit:
    """A trait's estimates: everything but the covariance that is needed to solve it again.

    Attributes
    ----------
    components : all 0 where the trait was constant or had too few lines.
    intercept : μ̂ on the scale of the line means. dual_N : V⁻¹(y − 1μ̂).
    bandwidth : squared marker distance at which a Gaussian kernel falls to 1/e; 0 for other covariances. Where kernels
        are averaged, the geometric mean of their bandwidths.
    bandwidths : bandwidth and weight of each kernel averaged; empty = one alone, or other covariances.
    layers : of an arc-cosine kernel; 0 for other covariances.
    """

    data: TraitData
    components: VarianceComponents
    intercept: float
    dual_N: np.ndarray
    log_likelihood: float = 0.0
    bandwidth: float = 0.0
    layers: int = 0
    bandwidths: tuple[tuple[float, float], ...] = ()

    @property
    def trait(self) -> str:
        return self.data.trait

    @property
    def fitted(self) -> bool:
        return self.components.genetic > 0

    def solve(self, covariance_EE: np.ndarray) -> MixedSolution:
        """The mixed model again at the estimates (one Cholesky factor), K given for all lines."""
        return solve(self.data.y_N, covariance_EE[np.ix_(self.data.rows_N, self.data.rows_N)], self.components,
                     self.data.errors)

    def panel_weights(self, n_lines: int) -> np.ndarray:
        """`dual_N` spread over all lines, 0 for lines that did not train; shape (E,)."""
        weights_E = np.zeros(n_lines)
        weights_E[self.data.rows_N] = self.dual_N
        return weights_E


def trait_data(means: pl.DataFrame, lines: Sequence[str]) -> list[TraitData]:
    """Training data of every trait of `means` (contract TRAINING_SET), traits sorted, in the order of `lines` (E).

    Error variances are used when at least half the trait's lines have one; the others then take the median and share
    nothing.
    """
    panel = pl.DataFrame({"line_id": lines}, schema={"line_id": pl.String}).with_row_index("row")
    found = means.select("line_id", "trait", "mean", "error_variance", "error_loadings") \
        .join(panel, on="line_id").sort("trait", "row")
    return [_one_trait(trait, found.filter(pl.col("trait") == trait)) for trait in means["trait"].unique().sort()]


def _one_trait(trait: str, found: pl.DataFrame) -> TraitData:
    y_N = found["mean"].to_numpy().astype(float)
    status = "fitted"
    if len(y_N) < MIN_LINES:
        status = "too few lines"
    elif np.ptp(y_N) <= 1e-12 * np.abs(y_N).max():
        status = "constant"
    errors = found["error_variance"]
    known = errors.drop_nulls()
    known_errors = None
    if 2 * len(known) >= len(errors) and len(known) and float(known.mean()) > 0:  # pyright: ignore[reportArgumentType]
        filled_N = errors.fill_null(known.median()).to_numpy().astype(float)
        loadings_NB = loadings_array(found["error_loadings"])
        # An error of zero would make V singular where σ²r is 0 and two lines are the same.
        own_N = np.maximum(filled_N - (loadings_NB**2).sum(axis=1), 1e-6 * filled_N.mean())
        known_errors = KnownErrors(own_N, loadings_NB)
    return TraitData(trait, found["row"].to_numpy().astype(np.int64), y_N, known_errors, status)


def loadings_array(lists: pl.Series) -> np.ndarray:
    """Loadings (N, B) from lists of equal length, an empty cell as zeros."""
    width = int(lists.list.len().max() or 0)  # pyright: ignore[reportArgumentType]
    rows = [row if row is not None else [0.0] * width for row in lists]
    return np.array(rows, dtype=float).reshape(len(rows), width)


@dataclass(frozen=True)
class SolvedTrait:
    """A trait's estimates, the covariance of all lines, and the solution where REML had to make it."""

    fit: TraitFit
    covariance_EE: np.ndarray
    made: MixedSolution | None = None

    def solution(self) -> MixedSolution | None:
        """V⁻¹ and what follows from it, by a Cholesky factor unless it is made already; None: not fitted."""
        if self.made is not None or self.fit.data.status != "fitted":
            return self.made
        return self.fit.solve(self.covariance_EE)


def fit_traits(covariance_EE: np.ndarray, data: Iterable[TraitData]) -> Iterator[SolvedTrait]:
    """REML and solution of every trait under one covariance of all lines, one trait at a time.

    A solution holds V⁻¹, N² numbers: take what is needed of it and let it go before asking for the next.
    """
    groups: dict[bytes, list[TraitData]] = {}
    for d in data:
        if d.status == "fitted":
            groups.setdefault(d.rows_N.tobytes(), []).append(d)
        else:
            yield SolvedTrait(_unfitted(d), covariance_EE)
    for group in groups.values():
        rows_N = group[0].rows_N
        k_NN = covariance_EE if len(rows_N) == len(covariance_EE) else covariance_EE[np.ix_(rows_N, rows_N)]
        for d, start in zip(group, _equal_errors(k_NN, group), strict=True):
            solution = None if d.errors is None else _known_errors(k_NN, d, d.errors, start.components)
            found = start if solution is None else solution
            fit = TraitFit(d, found.components, found.mean, found.dual_N, found.log_likelihood)
            yield SolvedTrait(fit, covariance_EE, solution)


def spread(n: int, most: int) -> np.ndarray:
    """At most `most` positions of 0 … n − 1, evenly apart: a panel lists families together, so all are drawn from."""
    return np.arange(n) if n <= most else np.linspace(0, n - 1, most).astype(np.int64)


def _equal_errors(k_NN: np.ndarray, group: list[TraitData]) -> list[Estimate]:
    """REML with equal errors of each trait of a group with the same lines: the estimate, or where known errors begin.

    Where all errors are known, on at most `START_LINES` of the lines.
    """
    n = len(k_NN)
    known = all(d.errors is not None for d in group)
    at = spread(n, START_LINES if known else n)
    y_NT = np.column_stack([d.y_N[at] for d in group])
    return tridiagonal_reml(y_NT, tridiagonal_contrasts(k_NN[np.ix_(at, at)] if len(at) < n else k_NN))


def _known_errors(k_NN: np.ndarray, data: TraitData, errors: KnownErrors, start: VarianceComponents) -> MixedSolution:
    at = spread(len(k_NN), MANY_LINES)
    if len(at) < len(k_NN):
        # Steps on a part cost a fraction of those on all lines, which then need one or two.
        start = reml_known_errors(data.y_N[at], k_NN[np.ix_(at, at)], errors.of(at), start).components
    return reml_known_errors(data.y_N, k_NN, errors, start)


def _unfitted(data: TraitData) -> TraitFit:
    mean = float(data.y_N.mean()) if len(data.y_N) else 0.0
    return TraitFit(data, VarianceComponents(0.0, 0.0, 0.0), mean, np.zeros(len(data.y_N)))


def record_weights(fit: TraitFit) -> np.ndarray:
    """1 / (σ²r + error variance) of each record, mean 1; equal where errors are."""
    errors = fit.data.errors
    if errors is None:
        return np.ones(len(fit.data.rows_N))
    weight_N = 1.0 / (fit.components.line_residual + errors.diagonal_N)
    return weight_N / weight_N.mean()


def genotypic_values(fit: TraitFit, covariance_EE: np.ndarray) -> np.ndarray:
    """BLUP of g + r for all lines, without reliabilities; shape (E,)."""
    value_E = fit.components.genetic * (covariance_EE[:, fit.data.rows_N] @ fit.dual_N)
    return value_E + fit.components.line_residual * fit.panel_weights(len(covariance_EE))
