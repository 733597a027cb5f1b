"""LD-kNN imputation of missing calls, compiled: the markers most correlated with a variant, the nearest lines there.

Called by `imputation.py`, which says what goes in; only the loops belong here. Calls are bits, so that a correlation
and a distance are counts of ones; with a = [x ≥ 1], b = [x = 2], c = [called]: x = a + b, |x − y| = |a − a'| + |b − b'|
Reference: Money et al. 2015, G3 5:2383-2390 (LinkImpute).
Axes: R variants at hand, W = ceil(N / 64) words, T variants imputed, L markers that tell, N lines, C missing calls.
"""

from __future__ import annotations

import numpy as np
from numba import njit

ONE = np.uint64(1)
STRONGEST = np.uint64(0xFF)  # the eight most correlated markers
FAR, FARTHEST = np.float32(np.inf), np.float32(2)  # no distance; the largest there is


@njit(cache=True, nogil=True)
def ones(word: np.uint64) -> np.int64:
    """Ones among 64 bits, in the form the compiler turns into its own instruction."""
    word = word - ((word >> ONE) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@njit(cache=True, nogil=True)
def squared_correlation(planes_3RW: np.ndarray, i: int, j: int) -> float:
    """r² of two variants over the lines called in both, from whole numbers: the same on every machine."""
    n, x, y, xx, yy, xy = 0, 0, 0, 0, 0, 0
    for w in range(planes_3RW.shape[2]):
        a_i, b_i, c_i = planes_3RW[0, i, w], planes_3RW[1, i, w], planes_3RW[2, i, w]
        a_j, b_j, c_j = planes_3RW[0, j, w], planes_3RW[1, j, w], planes_3RW[2, j, w]
        n += ones(c_i & c_j)
        x_one, x_two, y_one, y_two = ones(a_i & c_j), ones(b_i & c_j), ones(a_j & c_i), ones(b_j & c_i)
        x += x_one + x_two
        y += y_one + y_two
        xx += x_one + 3 * x_two
        yy += y_one + 3 * y_two
        xy += ones(a_i & a_j) + ones(a_i & b_j) + ones(b_i & a_j) + ones(b_i & b_j)
    spread = float(n * xx - x * x) * float(n * yy - y * y)
    return float(n * xy - x * y) ** 2 / spread if spread > 0 else 0.0


@njit(cache=True, nogil=True)
def telling_markers(planes_3RW: np.ndarray, i: int, first: int, last: int, chosen_L: np.ndarray) -> int:
    """Fill `chosen_L` with the variants of [first, last) most correlated with `i`; how many there are.

    The most correlated comes first; of equals the nearer.
    """
    found, r2_L = 0, np.zeros(len(chosen_L))
    for step in range(1, max(i - first, last - 1 - i) + 1):
        for j in (i - step, i + step):
            if j < first or j >= last:
                continue
            r2 = squared_correlation(planes_3RW, i, j)
            if r2 <= r2_L[-1]:
                continue
            at = min(found, len(chosen_L) - 1)
            while at > 0 and r2_L[at - 1] < r2:
                r2_L[at], chosen_L[at] = r2_L[at - 1], chosen_L[at - 1]
                at -= 1
            r2_L[at], chosen_L[at] = r2, j
            found = min(found + 1, len(chosen_L))
    return found


@njit(cache=True, nogil=True)
def words_of_lines(planes_3RW: np.ndarray, chosen_L: np.ndarray, words_3N: np.ndarray) -> None:
    """Turn the chosen markers' bits: one word a line and plane, marker k of them in bit k."""
    words_3N[:] = 0
    for k in range(len(chosen_L)):
        bit = np.uint64(k)
        for plane in range(3):
            for w in range(planes_3RW.shape[2]):
                word, start = planes_3RW[plane, chosen_L[k], w], 64 * w
                for t in range(min(64, words_3N.shape[1] - start)):
                    words_3N[plane, start + t] |= ((word >> np.uint64(t)) & ONE) << bit


@njit(cache=True, nogil=True)
def distances(words_3N: np.ndarray, i: int, away_N: np.ndarray, distance_N: np.ndarray) -> None:
    """Mean |x_i − x_n| over the chosen markers called in both lines, the strongest twice, plus `away_N`.

    Infinite where no marker is shared; `away_N` is infinite for lines that have no vote and 0 for the others.
    """
    a, b, c = words_3N[0, i], words_3N[1, i], words_3N[2, i]
    for n in range(words_3N.shape[1]):
        shared = words_3N[2, n] & c
        apart_one, apart_two = (words_3N[0, n] ^ a) & shared, (words_3N[1, n] ^ b) & shared
        apart = ones(apart_one) + ones(apart_two) + ones(apart_one & STRONGEST) + ones(apart_two & STRONGEST)
        count = ones(shared) + ones(shared & STRONGEST)
        distance_N[n] = (np.float32(apart) / np.float32(count) if count > 0 else FAR) + away_N[n]


@njit(cache=True, nogil=True)
def nearest_lines(distance_N: np.ndarray, nearest_K: np.ndarray, near_N: np.ndarray) -> int:
    """Fill `near_N` with the K nearest lines and all as near as the last of them; how many there are."""
    nearest_K[:] = FARTHEST
    seen = 0
    for n in range(len(distance_N)):
        distance = distance_N[n]
        if distance > nearest_K[-1]:
            continue
        near_N[seen] = n
        seen += 1
        if distance < nearest_K[-1]:
            at = len(nearest_K) - 1
            while at > 0 and nearest_K[at - 1] > distance:
                nearest_K[at] = nearest_K[at - 1]
                at -= 1
            nearest_K[at] = distance
    kept = 0
    for s in range(seen):
        if distance_N[near_N[s]] <= nearest_K[-1]:
            near_N[kept] = near_N[s]
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def impute_block(planes_3RW: np.ndarray, call_TN: np.ndarray, row_T: np.ndarray, first_T: np.ndarray,
                 last_T: np.ndarray, markers: int, neighbours: int, softening: float,
                 dosage_C: np.ndarray) -> None:
    """Impute `call_TN` in place; `dosage_C` gets the expected dosages of its missing calls, variant by variant.

    Parameters
    ----------
    planes_3RW : uint64, bits a, b, c of the variants at hand.
    call_TN : int8, −1 missing; each row has a call. row_T : their rows among the variants at hand.
    first_T, last_T : where the markers that tell are looked for, as rows [first, last).
    markers, neighbours : at most 64 markers; lines that vote.
    softening : what is added to a distance before a vote weighs 1 / distance.
    """
    n_lines = call_TN.shape[1]
    chosen_L, nearest_K = np.empty(markers, np.int64), np.empty(neighbours, np.float32)
    words_3N = np.empty((3, n_lines), np.uint64)
    distance_N, away_N = np.empty(n_lines, np.float32), np.empty(n_lines, np.float32)
    near_N, known_N = np.empty(n_lines, np.int64), np.empty(n_lines, np.int8)
    c = 0
    for t in range(len(row_T)):
        known_N[:] = call_TN[t]
        usual_3 = np.zeros(3)
        for n in range(n_lines):
            away_N[n] = FAR if known_N[n] < 0 else np.float32(0)
            if known_N[n] >= 0:
                usual_3[known_N[n]] += 1
        if usual_3.sum() == n_lines:
            continue
        found = telling_markers(planes_3RW, row_T[t], first_T[t], last_T[t], chosen_L)
        words_of_lines(planes_3RW, chosen_L[:found], words_3N)
        for n in range(n_lines):
            if known_N[n] >= 0:
                continue
            distances(words_3N, n, away_N, distance_N)
            vote_3 = np.zeros(3)
            for s in range(nearest_lines(distance_N, nearest_K, near_N)):
                vote_3[known_N[near_N[s]]] += 1 / (float(distance_N[near_N[s]]) + softening)
            if vote_3.sum() == 0:
                vote_3[:] = usual_3
            call_TN[t, n] = winner(vote_3, usual_3)
            dosage_C[c] = (vote_3[1] + 2 * vote_3[2]) / vote_3.sum()
            c += 1


@njit(cache=True, nogil=True)
def winner(vote_3: np.ndarray, usual_3: np.ndarray) -> int:
    """The genotype with most votes; of equals the one that more lines have."""
    best = 0
    for genotype in (1, 2):
        if vote_3[genotype] > vote_3[best] or (vote_3[genotype] == vote_3[best]
                                               and usual_3[genotype] > usual_3[best]):
            best = genotype
    return best
