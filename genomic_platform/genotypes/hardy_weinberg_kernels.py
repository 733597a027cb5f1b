"""Compiled loop of the exact test of Hardy–Weinberg proportions, one variant at a time.

What the test means, and its arguments' checks, are in `hardy_weinberg`; this module is imported inside functions,
since numba takes longer to import than most tests take to run.
References: Wigginton, Cutler & Abecasis 2005, AJHG 76:887; Rohlfs & Weir 2008, Genetics 180:1609, equation 2.
Axes: M variants.
"""

from __future__ import annotations

import numpy as np
from numba import njit

TIED = 1 + 1e-10  # probabilities closer than this are equal: the recursion's rounding stays below 1e-12
NEGLIGIBLE = 1e-17  # of a sum: smaller terms of a falling series no longer change it
UNDERFLOW = 1e-300  # times the most probable outcome: below it an outcome's probability is taken as 0


@njit(cache=True, nogil=True)
def _mode(n: int, rare: int, theta: float) -> int:
    """The most probable number of heterozygotes: where the ratio of neighbouring terms crosses 1 (a quadratic)."""
    t = theta / 4
    b, c = 2 * n * t + 3, t * rare * (2 * n - rare) - 2
    root = 2 * c / (b + np.sqrt(max(b * b - 4 * (t - 1) * c, 0.0))) if c > 0 else 0.0
    het = min(int(root), rare)
    het -= (het ^ rare) & 1
    het = max(het, rare & 1)
    while het + 2 <= rare and t * (rare - het) * (2 * n - rare - het) > (het + 2.0) * (het + 1.0):
        het += 2
    while het >= 2 and t * (rare - het + 2) * (2 * n - rare - het + 2) < het * (het - 1.0):
        het -= 2
    return het


@njit(cache=True, nogil=True)
def _next(term: float, het: int, step: int, n: int, rare: int, t: float) -> float:
    """The term at `het + step` from the term at `het`; 0 past either end.

    The ratio stands in brackets, so that its division does not wait for the term before.
    """
    if step > 0:
        return term * (t * (rare - het) * (2 * n - rare - het) / ((het + 2.0) * (het + 1.0)))
    if het < 2:
        return 0.0
    return term * (het * (het - 1.0) / (t * (rare - het + 2.0) * (2 * n - rare - het + 2.0)))


@njit(cache=True, nogil=True)
def _p_value(n: int, rare: int, observed: int, theta: float) -> float:
    """Sum of the probabilities not above that of `observed` heterozygotes, by walking both ways from the mode."""
    t = theta / 4
    if t == 0:
        return 1.0 if observed < 2 else 0.0
    mode = _mode(n, rare, theta)
    towards = 2 if observed >= mode else -2
    term, het, centre, tail = 1.0, mode, 0.0, 0.0
    while het != observed:
        centre += term
        term = _next(term, het, towards, n, rare, t)
        het += towards
        if term < UNDERFLOW:
            return 0.0
    bound = term * TIED
    if bound >= 1.0:  # as probable as the mode, whose term is 1: two neighbours can tie
        return 1.0
    while term > NEGLIGIBLE * tail:
        tail += term
        term = _next(term, het, towards, n, rare, t)
        het += towards
    term, het = _next(1.0, mode, -towards, n, rare, t), mode - towards
    while term > bound:
        centre += term
        term = _next(term, het, -towards, n, rare, t)
        het -= towards
    while term > NEGLIGIBLE * tail:
        tail += term
        term = _next(term, het, -towards, n, rare, t)
        het -= towards
    return tail / (centre + tail)


@njit(cache=True, nogil=True)
def exact_p_values(hom_ref_M: np.ndarray, het_M: np.ndarray, hom_alt_M: np.ndarray, theta_M: np.ndarray,
                   p_value_M: np.ndarray) -> None:
    """Fill `p_value_M`: NaN where nothing is called, 1 where one allele alone is seen."""
    for i in range(len(het_M)):
        n = hom_ref_M[i] + het_M[i] + hom_alt_M[i]
        rare = 2 * min(hom_ref_M[i], hom_alt_M[i]) + het_M[i]
        if n == 0 or np.isnan(theta_M[i]):
            p_value_M[i] = np.nan
        elif rare == 0:
            p_value_M[i] = 1.0
        else:
            p_value_M[i] = _p_value(n, rare, het_M[i], theta_M[i])
