"""Compiled Gibbs sampler of y = 1μ + Σ z_j b_j + U f + e: one chain, a number of iterations at a time.

Imported inside functions only, since importing the compiler takes long. What goes in and what comes out is `gibbs`'s,
what the hyperparameters mean `priors`'s, draws of variances are `variance_kernels`'s.
A column is read once an iteration: the residual's update for the marker before and the product with this one share
the pass, and the update is left out where an effect stays 0. Var(e_i) is σ²e, or σ²r + R_ii with R_ii known.
Axes: N training lines, M markers, K components, B loadings, Q traced quantities, I iterations, S kept draws.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from genomic_platform.models.bayes.priors import Prior
from genomic_platform.models.bayes.variance_kernels import (
    COMMON_AT,
    ERROR_AT,
    draw_effect_variances,
    draw_error_variance,
    draw_shares,
)

#: Sums may be taken in any order (a vector of lanes); nothing else is given up.
_ANY_ORDER = {"reassoc", "contract", "nsz"}
TRACED: tuple[str, ...] = ("error_variance", "genetic_variance", "log_likelihood", "markers_in_model",
                           "mean_square_effect", "intercept")


class Columns(NamedTuple):
    """What a chain reads: int8 markers z (M, N), contiguous, with mean and Σ(z − mean)² of each over the lines.

    `centre_M` is where the intercept is wanted; `own_N` the known error variances, empty where unknown, then
    `loadings_NB` too.
    """

    z_MN: np.ndarray
    mean_M: np.ndarray
    square_M: np.ndarray
    centre_M: np.ndarray
    y_N: np.ndarray
    own_N: np.ndarray
    loadings_NB: np.ndarray


class State(NamedTuple):
    """Where a chain stands; every array is changed in place.

    `effect_M`, `component_M` and `own_M` of the markers, `share_K` of the components, `shared_B` the effects f of the
    loadings, `scalars` the error variance, the effects' common variance and the scale (BayesB) or λ² (LASSO).
    """

    effect_M: np.ndarray
    component_M: np.ndarray
    own_M: np.ndarray
    share_K: np.ndarray
    shared_B: np.ndarray
    scalars: np.ndarray


class Kept(NamedTuple):
    """What is kept of a chain: `expected_M` sums the effects' conditional means; draws are every `thin`-th iteration.

    `line_SN` holds the expected line residuals of a draw; no columns where the errors are unknown.
    """

    expected_M: np.ndarray
    trace_QI: np.ndarray
    draws_SM: np.ndarray
    line_SN: np.ndarray


@njit(cache=True, nogil=True, fastmath=_ANY_ORDER)
def _product(z_N: np.ndarray, residual_N: np.ndarray) -> np.float32:
    total = np.float32(0)
    for i in range(z_N.shape[0]):
        total += np.float32(z_N[i]) * residual_N[i]
    return total


@njit(cache=True, nogil=True, fastmath=_ANY_ORDER)
def _update_and_product(z_N: np.ndarray, before_N: np.ndarray, change: np.float32,
                        residual_N: np.ndarray) -> np.float32:
    """Σ z × residual, after `change` × the column before has left the residual."""
    total = np.float32(0)
    for i in range(z_N.shape[0]):
        left = residual_N[i] - change * np.float32(before_N[i])
        residual_N[i] = left
        total += np.float32(z_N[i]) * left
    return total


@njit(cache=True, nogil=True, fastmath=_ANY_ORDER)
def _weighted_products(z_N: np.ndarray, before_N: np.ndarray, change: np.float32, residual_N: np.ndarray,
                       weight_N: np.ndarray) -> tuple[np.float32, np.float32, np.float32]:
    """Σ w z × residual, Σ w z and Σ w z², after the update."""
    total, linear, square = np.float32(0), np.float32(0), np.float32(0)
    for i in range(z_N.shape[0]):
        left = residual_N[i] - change * np.float32(before_N[i])
        residual_N[i] = left
        z = np.float32(z_N[i])
        weighted = z * weight_N[i]
        total += weighted * left
        linear += weighted
        square += weighted * z
    return total, linear, square


@njit(cache=True, nogil=True, fastmath=_ANY_ORDER)
def _subtract(z_N: np.ndarray, change: np.floating, residual_N: np.ndarray) -> None:
    for i in range(z_N.shape[0]):
        residual_N[i] -= change * z_N[i]


@njit(cache=True, nogil=True)
def _draw_effect(right: float, precision: float, variance: float, ratio_K: np.ndarray, share_K: np.ndarray,
                 odds_K: np.ndarray, rng: np.random.Generator) -> tuple[int, float, float]:
    """Component and effect of a marker together, the effect integrated out of the component's odds, and E(effect).

    A component of variance v has the odds π exp(½ r² / c) / √(v c), c = precision + 1/v, r = `right`; an effect of it
    is N(r / c, 1 / c) (Moser et al. 2015, text S1; Habier et al. 2011 for one slab). The last component, of the
    largest variance, has the largest exponent: all are taken from it, so that none overflows.
    """
    last, half_square = len(ratio_K) - 1, 0.5 * right * right
    v = variance * ratio_K[last]
    largest = v / (1 + v * precision)
    total, weighted = 0.0, 0.0
    for k in range(last + 1):
        v = variance * ratio_K[k]
        spread = 1 + v * precision
        inverse = v / spread
        odds_K[k] = share_K[k] * np.exp(half_square * (inverse - largest)) / np.sqrt(spread)
        total += odds_K[k]
        weighted += odds_K[k] * inverse
    chosen = last
    if last > 0:
        left = total * rng.random() - odds_K[0]
        chosen = 0
        while left >= 0 and chosen < last:
            chosen += 1
            left -= odds_K[chosen]
    expected = right * weighted / total
    if ratio_K[chosen] == 0:
        return chosen, 0.0, expected
    v = variance * ratio_K[chosen]
    inverse = v / (1 + v * precision)
    return chosen, right * inverse + np.sqrt(inverse) * rng.standard_normal(), expected


@njit(cache=True, nogil=True)
def _sweep(columns: Columns, prior: Prior, state: State, residual_N: np.ndarray, weight_N: np.ndarray,
           expected_M: np.ndarray, rng: np.random.Generator) -> None:
    """All effects once, each given all others; the mean is integrated out of each by centring its column."""
    n_lines, weighted, odds_K = len(residual_N), len(columns.own_N) > 0, np.empty(len(state.share_K))
    one = np.float64(weight_N[0])
    sum_weights, total = 0.0, 0.0
    for i in range(n_lines):
        sum_weights += weight_N[i]
        total += weight_N[i] * residual_N[i]
    before, change, step = 0, np.float32(0), 0.0
    for j in range(len(state.effect_M)):
        z_N = columns.z_MN[j]
        if weighted:
            product, linear, square = _weighted_products(z_N, columns.z_MN[before], change, residual_N, weight_N)
            mean = linear / sum_weights
            precision = max(float(square - linear * mean), 0.0)
        else:
            if change != 0:
                product = one * _update_and_product(z_N, columns.z_MN[before], change, residual_N)
            else:
                product = one * _product(z_N, residual_N)
            mean, precision = columns.mean_M[j], one * columns.square_M[j]
        right = product - mean * total + precision * state.effect_M[j]
        state.component_M[j], drawn, expected = _draw_effect(
            right, precision, state.scalars[COMMON_AT] * state.own_M[j], prior.ratio_K, state.share_K, odds_K, rng)
        expected_M[j] += expected
        # The residual takes the change in single precision, so the effect does too.
        before, change = j, np.float32(drawn - state.effect_M[j])
        step = np.float64(change)
        state.effect_M[j] = state.effect_M[j] + step if drawn != 0 else 0.0
        total -= step * mean * sum_weights
    _subtract(columns.z_MN[before], change, residual_N)


@njit(cache=True, nogil=True)
def _draw_mean(residual_N: np.ndarray, weight_N: np.ndarray, rng: np.random.Generator) -> float:
    """What is drawn for the mean leaves the residual."""
    precision, product = 0.0, 0.0
    for i in range(len(residual_N)):
        precision += weight_N[i]
        product += weight_N[i] * residual_N[i]
    mean = product / precision + rng.standard_normal() / np.sqrt(precision)
    for i in range(len(residual_N)):
        residual_N[i] -= mean
    return mean


@njit(cache=True, nogil=True)
def _draw_shared(loadings_NB: np.ndarray, shared_B: np.ndarray, residual_N: np.ndarray, weight_N: np.ndarray,
                 rng: np.random.Generator) -> None:
    """Effects f ~ N(0, 1) of the errors that lines share."""
    for b in range(len(shared_B)):
        precision, product = 1.0, 0.0
        for i in range(len(residual_N)):
            weighted = weight_N[i] * loadings_NB[i, b]
            precision += weighted * loadings_NB[i, b]
            product += weighted * (residual_N[i] + loadings_NB[i, b] * shared_B[b])
        drawn = product / precision + rng.standard_normal() / np.sqrt(precision)
        for i in range(len(residual_N)):
            residual_N[i] -= (drawn - shared_B[b]) * loadings_NB[i, b]
        shared_B[b] = drawn


@njit(cache=True, nogil=True)
def _residual(columns: Columns, state: State) -> np.ndarray:
    """y − U f − Σ z b in double precision: rounding of the updates never gathers over many iterations."""
    residual_N = columns.y_N.copy()
    for b in range(len(state.shared_B)):
        residual_N -= state.shared_B[b] * columns.loadings_NB[:, b]
    for j in range(len(state.effect_M)):
        if state.effect_M[j] != 0:
            _subtract(columns.z_MN[j], state.effect_M[j], residual_N)
    return residual_N.astype(np.float32)


@njit(cache=True, nogil=True)
def _set_weights(own_N: np.ndarray, variance: float, weight_N: np.ndarray) -> None:
    for i in range(len(weight_N)):
        weight_N[i] = 1 / (variance + own_N[i]) if len(own_N) else 1 / variance


@njit(cache=True, nogil=True)
def _trace(columns: Columns, state: State, residual_N: np.ndarray, weight_N: np.ndarray, mean: float,
           trace_Q: np.ndarray) -> None:
    """`TRACED` of one iteration; the genetic variance is that of Σ z b among the training lines."""
    n_lines, total, square, likelihood = len(residual_N), 0.0, 0.0, 0.0
    for i in range(n_lines):
        value = columns.y_N[i] - residual_N[i]
        for b in range(len(state.shared_B)):
            value -= columns.loadings_NB[i, b] * state.shared_B[b]
        total += value - mean
        square += (value - mean) ** 2
        likelihood -= 0.5 * (np.log(2 * np.pi / weight_N[i]) + weight_N[i] * residual_N[i] ** 2)
    trace_Q[0], trace_Q[1], trace_Q[2] = state.scalars[ERROR_AT], (square - total**2 / n_lines) / n_lines, likelihood
    squares, n_in, intercept = 0.0, 0, mean
    for j in range(len(state.effect_M)):
        squares += state.effect_M[j] ** 2
        n_in += state.effect_M[j] != 0
        intercept += columns.centre_M[j] * state.effect_M[j]
    trace_Q[3], trace_Q[4], trace_Q[5] = n_in, squares / len(state.effect_M), intercept


@njit(cache=True, nogil=True)
def advance(columns: Columns, prior: Prior, state: State, kept: Kept, rng: np.random.Generator, thin: int) -> None:
    """As many iterations as `kept.trace_QI` has columns, from a residual computed anew."""
    residual_N, mean, weight_N = _residual(columns, state), 0.0, np.empty(len(columns.y_N), np.float32)
    _set_weights(columns.own_N, state.scalars[ERROR_AT], weight_N)
    for iteration in range(kept.trace_QI.shape[1]):
        _sweep(columns, prior, state, residual_N, weight_N, kept.expected_M, rng)
        mean += _draw_mean(residual_N, weight_N, rng)
        _draw_shared(columns.loadings_NB, state.shared_B, residual_N, weight_N, rng)
        draw_effect_variances(prior, state.effect_M, state.component_M, state.own_M, state.scalars, rng)
        draw_shares(prior.counts_K, state.component_M, state.share_K, rng)
        draw_error_variance(prior, state.effect_M, state.own_M, columns.own_N, residual_N, state.scalars, rng)
        _set_weights(columns.own_N, state.scalars[ERROR_AT], weight_N)
        _trace(columns, state, residual_N, weight_N, mean, kept.trace_QI[:, iteration])
        if (iteration + 1) % thin == 0 and iteration // thin < len(kept.draws_SM):
            draw = iteration // thin
            kept.draws_SM[draw] = state.effect_M
            for i in range(kept.line_SN.shape[1]):
                kept.line_SN[draw, i] = state.scalars[ERROR_AT] * weight_N[i] * residual_N[i]
