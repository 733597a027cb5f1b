"""Variance components of line means by restricted maximum likelihood.

Two cases: equal unknown error variances, from one eigendecomposition that all traits on the same lines share
(`contrast_eigen`, `spectral_reml`), and error variances known from stage one (`reml_known_errors`).
Where eigenvectors are not wanted, `tridiagonal` does the former at less cost; solving the model at given components
belongs to `blup`. Axes: N lines, Q = N − 1 contrasts, T traits.
References: Kang et al. 2008, Genetics 178:1709-1723; Johnson & Thompson 1995, J. Dairy Sci. 78:449-456.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from genomic_platform.models.blup import KnownErrors, MixedSolution, VarianceComponents, solve

LOG_RATIO_GRID = np.linspace(-10.0, 10.0, 21)
#: Above this log δ there is no genetic variance.
LARGEST_LOG_RATIO = LOG_RATIO_GRID[-1] - 1e-3
#: Above this many lines the iterations stop by what they gain, since each costs n³.
MANY_LINES = 1_000
TOLERANCE = 1e-4
#: Log likelihood that a step must promise above `MANY_LINES`: the estimates are then within a fifth of their standard
#: errors of the maximum.
MIN_GAIN = 0.02
MAX_ITERATIONS = 50
MAX_HALVINGS = 8
#: Average information times θ² below which the records say nothing of a component but by their gradient.
NO_INFORMATION = 1e-14


@dataclass(frozen=True)
class ContrastEigen:
    """Eigendecomposition of SKS, S = I − 11'/N, without the direction of the mean.

    Attributes
    ----------
    vectors_NQ : orthonormal, each summing to zero. values_Q : eigenvalues ≥ 0, ascending.
    """

    vectors_NQ: np.ndarray
    values_Q: np.ndarray


def contrast_eigen(covariance_NN: np.ndarray) -> ContrastEigen:
    """Decompose the line covariance K over contrasts among lines (Kang et al. 2008, eq. 6), 9 n³ operations."""
    mean_N = covariance_NN.mean(axis=0)
    centred_NN = covariance_NN - mean_N[:, None] - mean_N[None, :] + mean_N.mean()
    # The mean's direction gets an eigenvalue above all others, so that it comes last and never mixes with a null space.
    centred_NN += (np.trace(centred_NN) + 1.0) / len(mean_N)
    values_N, vectors_NN = np.linalg.eigh(centred_NN)
    return ContrastEigen(vectors_NN[:, :-1], np.maximum(values_N[:-1], 0.0))


def spectral_reml(y_NT: np.ndarray, eigen: ContrastEigen) -> list[VarianceComponents]:
    """REML of σ²g and σ²e for T traits on the same lines: y = 1μ + g + e, Var(e) = σ²e I.

    δ = σ²e / σ²g is found on a grid of 21 values of log δ in [−10, 10], then by bounded Brent around the best
    (Kang et al. 2008, eq. 7). At δ's upper end σ²g is 0.

    Parameters
    ----------
    y_NT : line means, shape (N, T) or (N,) for one trait; no missing values, each trait varies.
    """
    return [_spectral_components(
        best_log_ratio(partial(spectral_deviance, squares_Q=squares_Q, values_Q=eigen.values_Q))[0], squares_Q,
        eigen.values_Q) for squares_Q in _squares(y_NT, eigen)]


def spectral_deviance(log_ratio: float, squares_Q: np.ndarray, values_Q: np.ndarray) -> float:
    """−2 × restricted log likelihood at log δ, σ²g profiled out, without the constant."""
    spread_Q = values_Q + np.exp(log_ratio)
    return float(len(values_Q) * np.log(np.sum(squares_Q / spread_Q)) + np.sum(np.log(spread_Q)))


def _squares(y_NT: np.ndarray, eigen: ContrastEigen) -> np.ndarray:
    """Squared contrasts of each trait along the eigenvectors, shape (T, Q)."""
    return ((eigen.vectors_NQ.T @ y_NT.reshape(len(y_NT), -1)) ** 2).T


def best_log_ratio(deviance: Callable[[float], float]) -> tuple[float, float]:
    """log δ in [−10, 10] with the smallest deviance, and that deviance: a grid, then bounded Brent around its best."""
    from scipy.optimize import minimize_scalar

    grid = [deviance(x) for x in LOG_RATIO_GRID]
    best = int(np.argmin(grid))
    low, high = LOG_RATIO_GRID[max(best - 1, 0)], LOG_RATIO_GRID[min(best + 1, len(grid) - 1)]
    found = minimize_scalar(deviance, bounds=(low, high), method="bounded")
    if found.fun <= grid[best]:
        return float(found.x), float(found.fun)
    return float(LOG_RATIO_GRID[best]), grid[best]


def _spectral_components(log_ratio: float, squares_Q: np.ndarray, values_Q: np.ndarray) -> VarianceComponents:
    if log_ratio > LARGEST_LOG_RATIO:
        return VarianceComponents(0.0, 0.0, float(squares_Q.mean()))
    genetic = float(np.mean(squares_Q / (values_Q + np.exp(log_ratio))))
    return VarianceComponents(genetic, 0.0, genetic * float(np.exp(log_ratio)))


def reml_known_errors(y_N: np.ndarray, covariance_NN: np.ndarray, errors: KnownErrors,
                      start: VarianceComponents) -> MixedSolution:
    """REML of σ²g and σ²r where V = σ²g K + σ²r I + R with R known; returns the solution at the estimates.

    Average information (Johnson & Thompson 1995, eq. 9–11) with step halving; a component that would turn
    negative stays at 0 for as long as its gradient points outward.

    Parameters
    ----------
    y_N : line means. covariance_NN : K of the same lines. errors : R.
    start : where to begin, as `spectral_reml` gives it (σ²e there holds σ²r + mean R), or this function on a part of
        the lines.

    Notes
    -----
    Stops when the next step would change no component by more than 1e-4 of itself (convergence is nearly quadratic:
    what is left is about the square of that), above 1,000 lines when it promises less than .02 of log likelihood.
    One step from an estimate on a part of the lines is as good as the maximum (Lehmann & Casella 1998, theorem 6.4.3).
    """
    mean_error = float(errors.diagonal_N.mean())
    total = start.genetic + max(start.line_residual, start.error - mean_error, 0.0) + mean_error
    theta = np.array([start.genetic, start.line_residual])
    if not start.errors_known:
        theta = np.maximum([start.genetic, start.error - mean_error], 0.02 * total)
    solution = _solution(y_N, covariance_NN, errors, theta)
    for _ in range(MAX_ITERATIONS):
        step, gain = _average_information_step(solution, covariance_NN, theta)
        if np.all(np.abs(step) <= TOLERANCE * np.maximum(theta, 1e-3 * total)):
            break
        if len(y_N) > MANY_LINES and gain < MIN_GAIN:
            break
        for halving in range(MAX_HALVINGS):
            candidate = np.maximum(theta + step * 0.5**halving, 0.0)
            tried = _solution(y_N, covariance_NN, errors, candidate)
            if tried.log_likelihood >= solution.log_likelihood:
                break
        else:
            break
        theta, solution = candidate, tried
    return solution


def _solution(y_N: np.ndarray, covariance_NN: np.ndarray, errors: KnownErrors, theta: np.ndarray) -> MixedSolution:
    components = VarianceComponents(float(theta[0]), float(theta[1]), float(errors.diagonal_N.mean()), True)
    return solve(y_N, covariance_NN, components, errors)


def _average_information_step(solution: MixedSolution, covariance_NN: np.ndarray,
                              theta: np.ndarray) -> tuple[np.ndarray, float]:
    """`bounded_step` by average information."""
    dual_N = solution.dual_N
    product_N = covariance_NN @ dual_N
    weighted_NF, covariance_FF = solution.weighted_NF, solution.covariance_FF
    diagonal_N = solution.inverse_diagonal_N
    # The stored upper triangle is zero: twice the sum over the lower one counts the diagonal twice.
    lower = float(np.vdot(solution.inverse_NN.ravel(order="K"), covariance_NN.ravel(order="K")))
    trace_genetic = (2 * lower - float(diagonal_N @ np.diagonal(covariance_NN))
                     - float(np.vdot(covariance_FF, weighted_NF.T @ (covariance_NN @ weighted_NF))))
    trace_residual = float(diagonal_N.sum()) - float(np.vdot(covariance_FF, weighted_NF.T @ weighted_NF))
    gradient = -0.5 * np.array([trace_genetic - dual_N @ product_N, trace_residual - dual_N @ dual_N])
    projected_genetic_N, projected_residual_N = solution.project(product_N), solution.project(dual_N)
    cross = product_N @ projected_residual_N
    average = 0.5 * np.array([[product_N @ projected_genetic_N, cross], [cross, dual_N @ projected_residual_N]])
    return bounded_step(average, gradient, theta)


def bounded_step(average: np.ndarray, gradient: np.ndarray, theta: np.ndarray) -> tuple[np.ndarray, float]:
    """Information⁻¹ × gradient over free components and the log likelihood it promises; a step to below 0 goes to 0.

    Parameters
    ----------
    average : information of the two components, any estimate of it. theta : where they are, ≥ 0.
    """
    free = (theta > 0) | (gradient > 0)
    step = _free_step(average, gradient, free)
    outward = free & ((theta + step < 0) | unsupported(theta, gradient, average))
    if outward.any():
        # A component that goes to its bound leaves the other to take its best step given that move.
        kept = free & ~outward
        step = np.where(outward, -theta, 0.0)
        step += _free_step(average, gradient - average @ step, kept)
    step = np.maximum(step, -theta)
    return step, float(gradient @ step - 0.5 * step @ average @ step)


def unsupported(theta_K: np.ndarray, gradient_K: np.ndarray, information_KK: np.ndarray) -> np.ndarray:
    """Components that no record supports, K_k Py = 0: the likelihood falls all the way up from θ_k = 0."""
    return (gradient_K < 0) & (np.diagonal(information_KK) * theta_K**2 < NO_INFORMATION)


def _free_step(average: np.ndarray, gradient: np.ndarray, free: np.ndarray) -> np.ndarray:
    step = np.zeros(2)
    at = np.flatnonzero(free)
    if at.size:
        step[at] = np.linalg.lstsq(average[np.ix_(at, at)], gradient[at], rcond=None)[0]
    return step
