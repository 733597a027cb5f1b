"""Compiled loops of matrix products over packed calls: decoding straight to the numbers that are multiplied.

Imported inside functions only, since importing the compiler takes longer than most of the work. `cross_product.py` says
what is multiplied. Axes: m variants of a block, N lines, B = ceil(N / 4) bytes.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def decode_pairs(packed_mB: np.ndarray, pair_mP: np.ndarray, word_mW: np.ndarray) -> None:
    """Write the two lines of each half byte as one word: `pair_mP` has each variant's 16 words, W = 2 B."""
    n_variants, n_bytes = packed_mB.shape
    for v in range(n_variants):
        for b in range(n_bytes):
            byte = packed_mB[v, b]
            word_mW[v, 2 * b] = pair_mP[v, byte & 15]
            word_mW[v, 2 * b + 1] = pair_mP[v, byte >> 4]


@njit(cache=True, nogil=True)
def add_line_sums(block_mN: np.ndarray, weight_m: np.ndarray, sum_N: np.ndarray) -> None:
    """Add Σ_m weight_m block_mn of every line to `sum_N`, float64."""
    for v in range(block_mN.shape[0]):
        weight = weight_m[v]
        for n in range(block_mN.shape[1]):
            sum_N[n] += weight * block_mN[v, n]
