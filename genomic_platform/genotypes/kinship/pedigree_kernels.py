"""Compiled sweeps over a pedigree whose parents come before their progeny; −1 is an unknown parent.

What the numbers mean is said in `pedigree.py`. Imported inside functions only, since importing the compiler takes
longer than most of the work. Axes: N lines, K columns.
References: Meuwissen & Luo 1992, Genet. Sel. Evol. 24:305; Colleau 2002, Genet. Sel. Evol. 34:409.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def inbreeding(parents_N2: np.ndarray, cross_N: np.ndarray, selfed_N: np.ndarray, inbreeding_N: np.ndarray,
               mendelian_N: np.ndarray) -> None:
    """Fill F and d of every line; lines with the same `cross_N` have the same parents, whose mean is looked at once."""
    n = len(parents_N2)
    share_N = np.zeros(n)
    variance_C = np.full(n, np.nan)  # of the mean of two parents: (A_pp + A_qq + 2 A_pq) / 4
    for i in range(n):
        p, q = parents_N2[i]
        kinship, variance = 0.0, 0.0
        if p >= 0 and q >= 0:
            if np.isnan(variance_C[cross_N[i]]):
                variance_C[cross_N[i]] = _variance_of_mean(p, q, parents_N2, mendelian_N, share_N)
            variance = variance_C[cross_N[i]]
            kinship = 2 * variance - (2 + inbreeding_N[p] + inbreeding_N[q]) / 2
        elif p >= 0 or q >= 0:
            variance = (1 + inbreeding_N[max(p, q)]) / 4
        inbreeding_N[i] = 1 - (1 - selfed_N[i]) * (1 - kinship / 2)
        mendelian_N[i] = 1 + inbreeding_N[i] - variance


@njit(cache=True, nogil=True)
def _variance_of_mean(p: int, q: int, parents_N2: np.ndarray, mendelian_N: np.ndarray, share_N: np.ndarray) -> float:
    """Σ share² d over both parents and their ancestors; `share_N` is all 0 before and after."""
    share_N[p] += 0.5
    share_N[q] += 0.5
    variance = 0.0
    for j in range(max(p, q), -1, -1):
        share = share_N[j]
        if share != 0:
            variance += share * share * mendelian_N[j]
            share_N[j] = 0
            for parent in parents_N2[j]:
                if parent >= 0:
                    share_N[parent] += share / 2
    return variance


@njit(cache=True, nogil=True)
def times_relationship(parents_N2: np.ndarray, mendelian_N: np.ndarray, x_NK: np.ndarray) -> None:
    """Replace x by A x = T D T' x: shares handed from progeny to parents, weighted by d, handed back down."""
    for i in range(len(x_NK) - 1, -1, -1):
        for parent in parents_N2[i]:
            if parent >= 0:
                for k in range(x_NK.shape[1]):
                    x_NK[parent, k] += 0.5 * x_NK[i, k]
    for i in range(len(x_NK)):
        for k in range(x_NK.shape[1]):
            x_NK[i, k] *= mendelian_N[i]
        for parent in parents_N2[i]:
            if parent >= 0:
                for k in range(x_NK.shape[1]):
                    x_NK[i, k] += 0.5 * x_NK[parent, k]
