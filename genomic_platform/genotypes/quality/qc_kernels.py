"""Compiled loops of quality control over packed calls: counts by line, hashes of rows, lines against lines.

Imported inside functions only. What the figures mean is in `line_quality` and `duplicates`; the codes are `packing`'s:
00 = 2 ALT, 01 = missing, 10 = 1, 11 = 0. Axes: m variants of a block, N lines, B bytes of a row, P pairs, W words.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from genomic_platform.genotypes.packing_kernels import popcount

_LOW = np.uint64(0x5555555555555555)
_ONE, _TWO = np.uint64(1), np.uint64(2)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_FLUSH = 255  # rows that a uint8 counter holds


@njit(cache=True, nogil=True)
def _word(row_B: np.ndarray, w: int) -> np.uint64:
    """Word `w` of a row, the last one filled with zeros."""
    word = np.uint64(0)
    for b in range(min(8, len(row_B) - 8 * w)):
        word |= np.uint64(row_B[8 * w + b]) << np.uint64(8 * b)
    return word


@njit(cache=True, nogil=True)
def heterozygous_counts(packed_mB: np.ndarray, flip: int, count_S: np.ndarray) -> None:
    """Add each line's heterozygous calls (`flip` 0) or, since 01 is 10 flipped, missing ones (`flip` 255); S = 4 B.

    Counts are kept in bytes for 255 rows at a time, so that one instruction adds to many lines.
    """
    n_rows, n_bytes = packed_mB.shape
    first_B, second_B = np.zeros(n_bytes, dtype=np.uint8), np.zeros(n_bytes, dtype=np.uint8)
    third_B, fourth_B = np.zeros(n_bytes, dtype=np.uint8), np.zeros(n_bytes, dtype=np.uint8)
    for start in range(0, n_rows, _FLUSH):
        first_B[:], second_B[:], third_B[:], fourth_B[:] = 0, 0, 0, 0
        for v in range(start, min(start + _FLUSH, n_rows)):
            for b in range(n_bytes):
                codes = packed_mB[v, b] ^ np.uint8(flip)
                het = np.uint8((codes >> np.uint8(1)) & ~codes & np.uint8(0x55))
                first_B[b] += np.uint8(het & np.uint8(1))
                second_B[b] += np.uint8((het >> np.uint8(2)) & np.uint8(1))
                third_B[b] += np.uint8((het >> np.uint8(4)) & np.uint8(1))
                fourth_B[b] += np.uint8(het >> np.uint8(6))
        for b in range(n_bytes):
            count_S[4 * b] += first_B[b]
            count_S[4 * b + 1] += second_B[b]
            count_S[4 * b + 2] += third_B[b]
            count_S[4 * b + 3] += fourth_B[b]


@njit(cache=True, nogil=True)
def missing_weights(packed_mB: np.ndarray, weight_m: np.ndarray, weight_S: np.ndarray) -> None:
    """Add to each line the weights of the variants that it misses."""
    n_rows, n_bytes = packed_mB.shape
    for v in range(n_rows):
        whole_W = packed_mB[v, : n_bytes // 8 * 8].view(np.uint64)
        for w in range((n_bytes + 7) // 8):
            word = whole_W[w] if w < len(whole_W) else _word(packed_mB[v], w)
            missing = word & ~(word >> _ONE) & _LOW
            while missing:
                weight_S[32 * w + popcount((missing & (~missing + _ONE)) - _ONE) // _TWO] += weight_m[v]
                missing &= missing - _ONE


@njit(cache=True, nogil=True)
def row_hashes(packed_mB: np.ndarray, n_lines: int, hash_m2: np.ndarray) -> None:
    """A 64-bit hash of each row's calls, and one of the same calls with REF and ALT swapped."""
    n_words = (n_lines + 31) // 32
    last = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(2 * (32 * n_words - n_lines))
    for v in range(packed_mB.shape[0]):
        direct, swapped = np.uint64(n_lines), np.uint64(n_lines)
        for w in range(n_words):
            word = _word(packed_mB[v], w)
            homozygous = ~(word ^ (word >> _ONE)) & _LOW
            inverse = word ^ (homozygous | (homozygous << _ONE))
            if w == n_words - 1:
                word, inverse = word & last, inverse & last
            direct = (direct ^ word) * _MULTIPLIER
            direct ^= direct >> np.uint64(29)
            swapped = (swapped ^ inverse) * _MULTIPLIER
            swapped ^= swapped >> np.uint64(29)
        hash_m2[v, 0], hash_m2[v, 1] = direct, swapped


@njit(cache=True, nogil=True)
def row_agreement(first_B: np.ndarray, second_B: np.ndarray, n_lines: int) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Lines called in both rows; of these equal, and equal after REF and ALT are swapped in one."""
    shared, same, swapped = np.uint64(0), np.uint64(0), np.uint64(0)
    for w in range((n_lines + 31) // 32):
        one, two = _word(first_B, w), _word(second_B, w)
        called = ~((one & ~(one >> _ONE)) | (two & ~(two >> _ONE))) & _LOW
        if 32 * w + 32 > n_lines:
            called &= np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(2 * (32 * w + 32 - n_lines))
        homozygous = ~(one ^ (one >> _ONE)) & _LOW
        differ, differ_swapped = one ^ two, one ^ (homozygous | (homozygous << _ONE)) ^ two
        shared += popcount(called)
        same += popcount(called & ~(differ | (differ >> _ONE)))
        swapped += popcount(called & ~(differ_swapped | (differ_swapped >> _ONE)))
    return shared, same, swapped


@njit(cache=True, nogil=True)
def line_bits(packed_mB: np.ndarray, rows_N: np.ndarray, bits_N3W: np.ndarray) -> None:
    """Calls turned by line: bits [dosage ≥ 1], [dosage = 2] and [called] of 64 variants a word, 0 where missing."""
    for v in range(packed_mB.shape[0]):
        w, bit = v >> 6, _ONE << np.uint64(v & 63)
        for i in range(len(rows_N)):
            row = rows_N[i]
            code = (packed_mB[v, row >> 2] >> np.uint8(2 * (row & 3))) & np.uint8(3)
            if code != 1:
                bits_N3W[i, 2, w] |= bit
                if code != 3:
                    bits_N3W[i, 0, w] |= bit
                if code == 0:
                    bits_N3W[i, 1, w] |= bit


@njit(cache=True, nogil=True)
def close_lines(bits_N3W: np.ndarray, start: int, stop: int, n_variants: int, threshold: float) -> np.ndarray:
    """Pairs (i, j), start ≤ i < stop, i < j, with IBS > `threshold`: int32 (P, 2).

    A pair is given up at the word where its differences exceed what `n_variants` shared calls would allow.
    """
    n_lines, _, n_words = bits_N3W.shape
    most = 2 * (1 - threshold) * n_variants
    pairs_P2 = np.empty((1024, 2), dtype=np.int32)
    found = 0
    for i in range(start, stop):
        for j in range(i + 1, n_lines):
            difference, shared = 0, 0
            for w in range(n_words):
                called = bits_N3W[i, 2, w] & bits_N3W[j, 2, w]
                shared += popcount(called)
                difference += popcount((bits_N3W[i, 0, w] ^ bits_N3W[j, 0, w]) & called)
                difference += popcount((bits_N3W[i, 1, w] ^ bits_N3W[j, 1, w]) & called)
                if difference >= most and difference > 0:
                    break
            else:
                if shared > 0 and 1 - difference / (2 * shared) > threshold:
                    if found == len(pairs_P2):
                        larger_P2 = np.empty((2 * found, 2), dtype=np.int32)
                        larger_P2[:found] = pairs_P2
                        pairs_P2 = larger_P2
                    pairs_P2[found, 0], pairs_P2[found, 1] = i, j
                    found += 1
    return pairs_P2[:found]


@njit(cache=True, nogil=True)
def pair_differences(bits_N3W: np.ndarray, pairs_P2: np.ndarray, difference_P: np.ndarray,
                     shared_P: np.ndarray) -> None:
    """Add each pair's Σ |x_i − x_j| and the calls that both have, over the variants of `bits_N3W`."""
    for p in range(len(pairs_P2)):
        one_3W, two_3W = bits_N3W[pairs_P2[p, 0]], bits_N3W[pairs_P2[p, 1]]
        for w in range(bits_N3W.shape[2]):
            called = one_3W[2, w] & two_3W[2, w]
            shared_P[p] += popcount(called)
            difference_P[p] += popcount((one_3W[0, w] ^ two_3W[0, w]) & called)
            difference_P[p] += popcount((one_3W[1, w] ^ two_3W[1, w]) & called)
