"""Compiled loops over lines' words of 64 markers: filling them from packed calls, counting excluded genotypes.

What the planes are is said in `line_bits.py`, what is excluded in `mendel.py`. Imported inside functions only, since
importing the compiler takes longer than most of the work. Axes: m variants, W words, B bytes, N lines, K queries.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from genomic_platform.genotypes.packing_kernels import popcount

_ONE = np.uint64(1)


@njit(cache=True, nogil=True)
def split_codes(packed_mB: np.ndarray, ref_WB4: np.ndarray, het_WB4: np.ndarray, alt_WB4: np.ndarray) -> None:
    """Fill the planes from codes 11 = REF, 10 = heterozygous, 00 = ALT, 01 = missing (as past the last variant)."""
    n_variants, n_bytes = packed_mB.shape
    for w in range(len(ref_WB4)):
        in_word = min(64, n_variants - 64 * w)
        low_B4, high_B4 = ref_WB4[w], het_WB4[w]  # the two bits of each code first, then what they mean
        low_B4[:] = 0
        high_B4[:] = 0
        for v in range(in_word):
            shift = np.uint64(v)
            for b in range(n_bytes):
                byte = np.uint64(packed_mB[64 * w + v, b])
                low_B4[b, 0] |= (byte & _ONE) << shift
                low_B4[b, 1] |= (byte >> np.uint64(2) & _ONE) << shift
                low_B4[b, 2] |= (byte >> np.uint64(4) & _ONE) << shift
                low_B4[b, 3] |= (byte >> np.uint64(6) & _ONE) << shift
                high_B4[b, 0] |= (byte >> np.uint64(1) & _ONE) << shift
                high_B4[b, 1] |= (byte >> np.uint64(3) & _ONE) << shift
                high_B4[b, 2] |= (byte >> np.uint64(5) & _ONE) << shift
                high_B4[b, 3] |= (byte >> np.uint64(7) & _ONE) << shift
        valid = ~np.uint64(0) if in_word == 64 else (_ONE << np.uint64(in_word)) - _ONE
        for b in range(n_bytes):
            for k in range(4):
                low, high = low_B4[b, k], high_B4[b, k]
                ref_WB4[w, b, k] = low & high
                het_WB4[w, b, k] = high & ~low
                alt_WB4[w, b, k] = ~(low | high) & valid


@njit(cache=True, nogil=True)
def count_excluded(not_ref_WK: np.ndarray, not_het_WK: np.ndarray, not_alt_WK: np.ndarray, ref_WN: np.ndarray,
                   het_WN: np.ndarray, alt_WN: np.ndarray, first: int, stop: int, tested_KN: np.ndarray,
                   errors_KN: np.ndarray) -> None:
    """Add, for queries `first` to `stop` and every line, markers with an excluded genotype and markers that could."""
    n_lines = ref_WN.shape[1]
    for k in range(first, stop):
        for w in range(len(ref_WN)):
            not_ref, not_het, not_alt = not_ref_WK[w, k], not_het_WK[w, k], not_alt_WK[w, k]
            some = not_ref | not_het | not_alt
            if some == 0:
                continue
            for j in range(n_lines):
                ref, het, alt = ref_WN[w, j], het_WN[w, j], alt_WN[w, j]
                errors_KN[k, j] += np.int32(popcount(not_ref & ref | not_het & het | not_alt & alt))
                tested_KN[k, j] += np.int32(popcount(some & (ref | het | alt)))
