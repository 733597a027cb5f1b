"""Compiled loops over bits of packed calls: r² of pairs, pruning windows, r² between chromosomes, counts in groups.

A call is x = +1 (homozygous REF), 0 (heterozygous) or −1 (homozygous ALT), kept as three planes of one bit a line:
called, homozygous, homozygous REF. Every sum that a correlation needs is then a count of bits, exact in integers.
Imported inside functions only. Axes: m variants, B bytes, P = 3 planes, K 64-bit words a plane, W slots of a window.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from genomic_platform.genotypes.packing_kernels import popcount

_LOW = np.uint64(0x5555555555555555)
_ONE = np.uint64(1)
CALLED, HOMOZYGOUS, REF = 0, 1, 2


@njit(cache=True, nogil=True)
def split(packed_B: np.ndarray, words_2K: np.ndarray, valid_K: np.ndarray, planes_PK: np.ndarray) -> None:
    """The planes of one variant. Line order within a plane is mixed, the same way for every variant.

    `words_2K` is scratch whose bytes past `packed_B` are zero; `valid_K` has a bit for each real line.
    """
    words_2K.view(np.uint8)[: len(packed_B)] = packed_B
    n_words = len(valid_K)
    for k in range(n_words):
        a, b = words_2K[k], words_2K[n_words + k]
        low = (a & _LOW) | ((b & _LOW) << _ONE)
        high = ((a >> _ONE) & _LOW) | (b & ~_LOW)
        planes_PK[CALLED, k] = (high | ~low) & valid_K[k]
        planes_PK[HOMOZYGOUS, k] = ~(low ^ high) & valid_K[k]
        planes_PK[REF, k] = low & high


@njit(cache=True, nogil=True)
def valid_lines(n_lines: int, n_words: int) -> np.ndarray:
    """The REF plane, uint64 (K,), of a variant at which all of `n_lines` lines are homozygous REF."""
    all_ref_2K = np.zeros(2 * n_words, dtype=np.uint64)
    bytes_ = all_ref_2K.view(np.uint8)
    bytes_[: n_lines // 4] = 255
    if n_lines % 4:
        bytes_[n_lines // 4] = (1 << 2 * (n_lines % 4)) - 1
    planes_PK = np.empty((3, n_words), dtype=np.uint64)
    split(all_ref_2K.view(np.uint8), np.zeros_like(all_ref_2K), np.zeros(n_words, dtype=np.uint64), planes_PK)
    return planes_PK[REF]


@njit(cache=True, nogil=True)
def moments(planes_PK: np.ndarray) -> tuple[int, int, int]:
    """Called lines n, Σx and Σx² of one variant."""
    n, squares, ref = 0, 0, 0
    for k in range(planes_PK.shape[1]):
        n += popcount(planes_PK[CALLED, k])
        squares += popcount(planes_PK[HOMOZYGOUS, k])
        ref += popcount(planes_PK[REF, k])
    return n, 2 * ref - squares, squares


@njit(cache=True, nogil=True)
def pair_covariance(a_PK: np.ndarray, b_PK: np.ndarray, a_3: np.ndarray, b_3: np.ndarray,
                    n_lines: int) -> tuple[float, float, int]:
    """n² cov, n⁴ var·var (both integers held as floats) and n of the lines called in both variants.

    `a_3` and `b_3` are the variants' own moments, all that is needed where both are called in every line.
    """
    both, opposite = 0, 0
    for k in range(a_PK.shape[1]):
        homozygous = a_PK[HOMOZYGOUS, k] & b_PK[HOMOZYGOUS, k]
        both += popcount(homozygous)
        opposite += popcount(homozygous & (a_PK[REF, k] ^ b_PK[REF, k]))
    n, sum_a, square_a, sum_b, square_b = n_lines, a_3[1], a_3[2], b_3[1], b_3[2]
    if a_3[0] < n_lines or b_3[0] < n_lines:
        n, square_a, ref_a, square_b, ref_b = 0, 0, 0, 0, 0
        for k in range(a_PK.shape[1]):
            called_a, called_b = a_PK[CALLED, k], b_PK[CALLED, k]
            n += popcount(called_a & called_b)
            square_a += popcount(a_PK[HOMOZYGOUS, k] & called_b)
            ref_a += popcount(a_PK[REF, k] & called_b)
            square_b += popcount(b_PK[HOMOZYGOUS, k] & called_a)
            ref_b += popcount(b_PK[REF, k] & called_a)
        sum_a, sum_b = 2 * ref_a - square_a, 2 * ref_b - square_b
    covariance = float(n * (both - 2 * opposite) - sum_a * sum_b)
    variances = float(n * square_a - sum_a * sum_a) * float(n * square_b - sum_b * sum_b)
    return covariance, variances, n


@njit(cache=True, nogil=True)
def pair_r2(a_PK: np.ndarray, b_PK: np.ndarray, a_3: np.ndarray, b_3: np.ndarray,
            n_lines: int) -> tuple[float, float, int]:
    """n² cov², n⁴ var·var (both integers held as floats) and n of the lines called in both variants."""
    covariance, variances, n = pair_covariance(a_PK, b_PK, a_3, b_3, n_lines)
    return covariance * covariance, variances, n


@njit(cache=True, nogil=True)
def prune_windows(packed_mB: np.ndarray, n_lines: int, start_w: np.ndarray, stop_w: np.ndarray, max_r2: float,
                  planes_WPK: np.ndarray, removed_m: np.ndarray) -> None:
    """Marks in `removed_m` what pruning the windows [start, stop) of one chromosome removes, in order of windows.

    A window is swept until a sweep removes nothing. In a sweep each variant meets the later ones it has not met yet,
    until one is correlated with it; then the variant with the rarer minor allele goes (of equals, the later one), and
    the sweep takes its next variant. Variants without variance go at once.
    """
    n_slots, _, n_words = planes_WPK.shape
    n_variants = len(removed_m)
    valid_K, words_2K = valid_lines(n_lines, n_words), np.zeros(2 * n_words, dtype=np.uint64)
    moments_m3 = np.empty((n_variants, 3), dtype=np.int64)
    unmet_m = np.arange(1, n_variants + 1)
    loaded = 0
    for w in range(len(start_w)):
        start, stop = start_w[w], stop_w[w]
        for v in range(max(loaded, start), stop):
            split(packed_mB[v], words_2K, valid_K, planes_WPK[v % n_slots])
            n, total, squares = moments(planes_WPK[v % n_slots])
            moments_m3[v, 0], moments_m3[v, 1], moments_m3[v, 2] = n, total, squares
            removed_m[v] = n * squares == total * total
        loaded = stop
        again = True
        while again:
            again = False
            for first in range(start, stop):
                if removed_m[first]:
                    continue
                for second in range(unmet_m[first], stop):
                    if removed_m[second]:
                        continue
                    covariance, variances, _ = pair_r2(planes_WPK[first % n_slots], planes_WPK[second % n_slots],
                                                       moments_m3[first], moments_m3[second], n_lines)
                    if covariance > max_r2 * variances:
                        again = True
                        # |Σx| / n = |1 − 2 × minor allele frequency|, compared exactly as fractions
                        if (abs(moments_m3[first, 1]) * moments_m3[second, 0]
                                > abs(moments_m3[second, 1]) * moments_m3[first, 0]):
                            removed_m[first] = True
                        else:
                            removed_m[second] = True
                            unmet_m[first] = second + 1
                        break
                else:
                    unmet_m[first] = stop


@njit(cache=True, nogil=True)
def r2_band(packed_mB: np.ndarray, n_lines: int, first_m: np.ndarray, start: int, planes_WPK: np.ndarray,
            moments_W3: np.ndarray, r2_bW: np.ndarray) -> None:
    """r² of b variants from `start` on with those before them: r2_bW[i, d − 1] is start + i with the d-th before it.

    `first_m` is the first variant within the window of each; beyond it, and where a variant has no variance among the
    lines called in both, r² is NaN. `planes_WPK` and `moments_W3` carry the last W variants from call to call, which
    must be in order.
    """
    n_slots, _, n_words = planes_WPK.shape
    valid_K, words_2K = valid_lines(n_lines, n_words), np.zeros(2 * n_words, dtype=np.uint64)
    r2_bW[:] = np.nan
    for i in range(r2_bW.shape[0]):
        v = start + i
        slot = v % n_slots
        split(packed_mB[v], words_2K, valid_K, planes_WPK[slot])
        moments_W3[slot, 0], moments_W3[slot, 1], moments_W3[slot, 2] = moments(planes_WPK[slot])
        for earlier in range(first_m[v], v):
            covariance, variances, _ = pair_r2(planes_WPK[slot], planes_WPK[earlier % n_slots], moments_W3[slot],
                                               moments_W3[earlier % n_slots], n_lines)
            if variances > 0:
                r2_bW[i, v - earlier - 1] = covariance / variances


@njit(cache=True, nogil=True)
def split_all(packed_mB: np.ndarray, n_lines: int, planes_mPK: np.ndarray, moments_m3: np.ndarray) -> None:
    """Planes and moments of all variants."""
    n_words = planes_mPK.shape[2]
    valid_K, words_2K = valid_lines(n_lines, n_words), np.zeros(2 * n_words, dtype=np.uint64)
    for v in range(len(packed_mB)):
        split(packed_mB[v], words_2K, valid_K, planes_mPK[v])
        moments_m3[v, 0], moments_m3[v, 1], moments_m3[v, 2] = moments(planes_mPK[v])


@njit(cache=True, nogil=True)
def r2_between(planes_mPK: np.ndarray, moments_m3: np.ndarray, chromosome_m: np.ndarray, start: int, stop: int,
               n_lines: int) -> tuple[int, float, float, float, float]:
    """Sums over pairs of `start` … `stop` with later variants on other chromosomes, each weighted by n².

    Pairs, Σ weight, Σ weight · r², Σ weight · the r² of chance, Σ weight / n; r² is that of Burrows' unbiased Δ, larger
    by (n / (n − 1))² (Weir 1979), and chance that of Waples (2006).
    """
    pairs, weights, observed, by_chance, inverse = 0, 0.0, 0.0, 0.0, 0.0
    for i in range(start, stop):
        for j in range(i + 1, len(planes_mPK)):
            if chromosome_m[i] == chromosome_m[j]:
                continue
            covariance, variances, n = pair_r2(planes_mPK[i], planes_mPK[j], moments_m3[i], moments_m3[j], n_lines)
            if variances > 0:
                pairs += 1
                weights += n * n
                observed += covariance / variances * (n / (n - 1)) ** 2 * n * n
                by_chance += n + 3.19 if n >= 30 else 0.0018 * n * n + 0.907 * n + 4.44
                inverse += n
    return pairs, weights, observed, by_chance, inverse


@njit(cache=True, nogil=True)
def count_groups(packed_mB: np.ndarray, mask_GB: np.ndarray, counts_G3m: np.ndarray) -> None:
    """Homozygous REF, heterozygous and homozygous ALT calls within groups of lines, into int64 (G, 3, m).

    `mask_GB` has the lower bit of a call set where the line belongs to the group.
    """
    n_groups, n_bytes = mask_GB.shape
    n_words = (n_bytes + 7) // 8
    mask_GW, word_W = np.zeros((n_groups, n_words), dtype=np.uint64), np.zeros(n_words, dtype=np.uint64)
    size_G = np.zeros(n_groups, dtype=np.int64)
    for g in range(n_groups):
        mask_GW[g].view(np.uint8)[:n_bytes] = mask_GB[g]
        for k in range(n_words):
            size_G[g] += popcount(mask_GW[g, k])
    for v in range(len(packed_mB)):
        word_W.view(np.uint8)[:n_bytes] = packed_mB[v]
        for g in range(n_groups):
            low, high, both = 0, 0, 0
            for k in range(n_words):
                low_bits, high_bits = word_W[k] & mask_GW[g, k], (word_W[k] >> _ONE) & mask_GW[g, k]
                low += popcount(low_bits)
                high += popcount(high_bits)
                both += popcount(low_bits & high_bits)
            counts_G3m[g, 0, v] = both
            counts_G3m[g, 1, v] = high - both
            counts_G3m[g, 2, v] = size_G[g] - low - high + both
