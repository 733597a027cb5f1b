"""Compiled draws of variances and shares, given effects and residuals; imported inside functions only.

χ⁻² draws are S / χ²(ν). References are in `priors`. Axes: N training lines, M markers, K components.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from genomic_platform.models.bayes.priors import LASSO, OWN, Prior

#: Places in a chain's scalars: error variance, common variance of effects, S of BayesB or λ² of the LASSO.
ERROR_AT, COMMON_AT, SCALE_AT = 0, 1, 2
#: The LASSO's effects are taken as at least this share of their scale, where an inverse Gaussian's mean overflows.
_SMALLEST = 1e-9


@njit(cache=True, nogil=True)
def draw_effect_variances(prior: Prior, effect_M: np.ndarray, component_M: np.ndarray, own_M: np.ndarray,
                          scalars: np.ndarray, rng: np.random.Generator) -> None:
    """What the effects' variances are made of, by the prior's family."""
    if prior.family == OWN:
        _own_variances(prior, effect_M, component_M, own_M, scalars, rng)
    elif prior.family == LASSO:
        _exponential_variances(prior, effect_M, own_M, scalars, rng)
    else:
        _common_variance(prior, effect_M, component_M, scalars, rng)


@njit(cache=True, nogil=True)
def _own_variances(prior: Prior, effect_M: np.ndarray, component_M: np.ndarray, own_M: np.ndarray,
                   scalars: np.ndarray, rng: np.random.Generator) -> None:
    """BayesB: σ²_j | b_j = (S + b²_j) / χ²(ν + 1), from its prior where b_j = 0; S | σ² ~ Gamma."""
    scale, precision = scalars[SCALE_AT], 0.0
    for j in range(len(effect_M)):
        if component_M[j] == 0:
            own_M[j] = scale / rng.chisquare(prior.df)
        else:
            own_M[j] = (scale + effect_M[j] ** 2) / rng.chisquare(prior.df + 1)
        precision += 1 / own_M[j]
    shape = prior.shape + 0.5 * prior.df * len(effect_M)
    scalars[SCALE_AT] = rng.gamma(shape, 1 / (prior.rate + 0.5 * precision))


@njit(cache=True, nogil=True)
def _common_variance(prior: Prior, effect_M: np.ndarray, component_M: np.ndarray, scalars: np.ndarray,
                     rng: np.random.Generator) -> None:
    """BayesCπ and BayesR: σ² | b = (S + Σ b²_j / γ_j) / χ²(ν + number of effects)."""
    squares, n_in = prior.scale, prior.df
    for j in range(len(effect_M)):
        ratio = prior.ratio_K[component_M[j]]
        if ratio > 0:
            squares += effect_M[j] ** 2 / ratio
            n_in += 1
    scalars[COMMON_AT] = squares / rng.chisquare(n_in)


@njit(cache=True, nogil=True)
def _exponential_variances(prior: Prior, effect_M: np.ndarray, own_M: np.ndarray, scalars: np.ndarray,
                           rng: np.random.Generator) -> None:
    """LASSO: 1/τ²_j ~ inverse Gaussian(√(λ² σ²e / b²_j), λ²), λ² ~ Gamma (Park & Casella 2008, section 2 and eq. 7)."""
    lambda2, sum_own = scalars[SCALE_AT], 0.0
    smallest = _SMALLEST * np.sqrt(scalars[COMMON_AT] / lambda2)
    for j in range(len(effect_M)):
        mean = np.sqrt(lambda2 * scalars[COMMON_AT]) / max(abs(effect_M[j]), smallest)
        own_M[j] = 1 / _inverse_gaussian(mean, lambda2, rng)
        sum_own += own_M[j]
    scalars[SCALE_AT] = rng.gamma(prior.shape + len(effect_M), 1 / (prior.rate + 0.5 * sum_own))


@njit(cache=True, nogil=True)
def _inverse_gaussian(mean: float, shape: float, rng: np.random.Generator) -> float:
    """Michael, Schucany & Haas 1976, The American Statistician 30:88; the smaller root without cancellation."""
    chi = rng.standard_normal() ** 2
    ratio = mean * chi / (2 * shape)
    smaller = mean / (1 + ratio + np.sqrt(ratio * (2 + ratio)))
    return smaller if rng.random() * (mean + smaller) <= mean else mean * mean / smaller


@njit(cache=True, nogil=True)
def draw_shares(counts_K: np.ndarray, component_M: np.ndarray, share_K: np.ndarray, rng: np.random.Generator) -> None:
    """π ~ Dirichlet(prior counts + markers in each component)."""
    if len(counts_K) == 1:
        return
    share_K[:] = counts_K
    for component in component_M:
        share_K[component] += 1
    total = 0.0
    for k in range(len(share_K)):
        share_K[k] = max(rng.standard_gamma(share_K[k]), 1e-300)
        total += share_K[k]
    share_K /= total


@njit(cache=True, nogil=True)
def draw_error_variance(prior: Prior, effect_M: np.ndarray, own_M: np.ndarray, own_N: np.ndarray,
                        residual_N: np.ndarray, scalars: np.ndarray, rng: np.random.Generator) -> None:
    """σ²e | e, with the LASSO's effects, whose variance it scales; or σ²r where the errors `own_N` are known.

    Then the line residual r is drawn from its share of the residual, N(e σ²r / v, σ²r R / v) with v = σ²r + R, and let
    go again: only the draw of σ²r needs it, so that the effects never wait for r to move.
    """
    squares, df, variance = prior.error_scale, prior.error_df + len(residual_N), scalars[ERROR_AT]
    for i in range(len(residual_N)):
        left = np.float64(residual_N[i])
        if len(own_N):
            share = variance / (variance + own_N[i])
            left = share * left + np.sqrt(share * own_N[i]) * rng.standard_normal()
        squares += left * left
    if prior.family == LASSO and len(own_N) == 0:
        for j in range(len(effect_M)):
            squares += effect_M[j] ** 2 / own_M[j]
        df += len(effect_M)
    scalars[ERROR_AT] = squares / rng.chisquare(df)
    if prior.family == LASSO and len(own_N) == 0:
        scalars[COMMON_AT] = scalars[ERROR_AT]
