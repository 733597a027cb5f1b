"""Compiled loops of the population tests: units counted on packed calls, sides compared marker by marker.

Imported inside functions only, since importing the compiler takes longer than most of the work. What the numbers mean
and when they count as a shift stands in `markers.py`, `families.py` and `population.py`.
Axes: m markers of a block, B = ceil(N / 4) bytes, U units of lines, R permutations, C chromosomes, 2 sides, 3 classes.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from genomic_platform.genotypes.population.ld_kernels import moments, pair_covariance, split, valid_lines

_TWO_BITS = np.uint8(3)


@njit(cache=True, nogil=True)
def count_units(packed_mB: np.ndarray, place_N: np.ndarray, alt_mU: np.ndarray, called_mU: np.ndarray,
                het_mU: np.ndarray) -> None:
    """ALT alleles, called lines and heterozygous lines of each unit, into float32 (m, U).

    `place_N` int64 (4 B,) : four times the unit of each call; that of calls which belong to no unit is 4 U.
    """
    n_units = alt_mU.shape[1]
    count_K = np.zeros(4 * (n_units + 1), dtype=np.int32)
    for v in range(packed_mB.shape[0]):
        count_K[:] = 0
        for b in range(packed_mB.shape[1]):
            byte = packed_mB[v, b]
            count_K[place_N[4 * b] + (byte & _TWO_BITS)] += 1
            count_K[place_N[4 * b + 1] + ((byte >> np.uint8(2)) & _TWO_BITS)] += 1
            count_K[place_N[4 * b + 2] + ((byte >> np.uint8(4)) & _TWO_BITS)] += 1
            count_K[place_N[4 * b + 3] + (byte >> np.uint8(6))] += 1
        for u in range(n_units):
            two, one, none = count_K[4 * u], count_K[4 * u + 2], count_K[4 * u + 3]
            alt_mU[v, u] = 2 * two + one
            called_mU[v, u] = two + one + none
            het_mU[v, u] = one


@njit(cache=True, nogil=True)
def between_units(alt_mU: np.ndarray, called_mU: np.ndarray, new_U: np.ndarray, frequency_2m: np.ndarray,
                  called_2m: np.ndarray, between_2m: np.ndarray) -> None:
    """Frequency, called lines and sampling variance of the frequency of each side, into float64 (2, m).

    With weights w of the units, variance = Σ w (p_u − p)² · Σ w² / (1 − Σ w²); frequency NaN where nothing is called.
    """
    n_units = alt_mU.shape[1]
    for v in range(alt_mU.shape[0]):
        for side in range(2):
            called, alt = 0.0, 0.0
            for u in range(n_units):
                if new_U[u] == side:
                    called += called_mU[v, u]
                    alt += alt_mU[v, u]
            called_2m[side, v] = called
            if called == 0:
                frequency_2m[side, v], between_2m[side, v] = np.nan, 0.0
                continue
            p = alt / (2 * called)
            spread, concentration = 0.0, 0.0
            for u in range(n_units):
                if new_U[u] == side and called_mU[v, u] > 0:
                    weight = called_mU[v, u] / called
                    deviation = alt_mU[v, u] / (2 * called_mU[v, u]) - p
                    spread += weight * deviation * deviation
                    concentration += weight * weight
            frequency_2m[side, v] = p
            between_2m[side, v] = spread * concentration / max(1 - concentration, 1e-9)


@njit(cache=True, nogil=True)
def permuted_sums(alt_mR: np.ndarray, called_mR: np.ndarray, alt_m: np.ndarray, called_m: np.ndarray,
                  used_m: np.ndarray, run_m: np.ndarray, factor: float, rule_3: np.ndarray,
                  numerator_CR: np.ndarray, denominator_CR: np.ndarray, mirrored_R: np.ndarray) -> None:
    """Add the block's terms of Hudson's F_ST, and its markers near their mirror image, of every permutation.

    alt_mR, called_mR : float32, ALT alleles and called lines of the new side; alt_m, called_m : of both sides.
    used_m : markers that F_ST is taken over; run_m : the chromosome of each. factor : alleles a called line counts as.
    rule_3 : least jump, its least square in units of p̄ (1 − p̄), largest distance from the mirror image.
    A permutation that leaves one side without a call of the marker passes it over.
    """
    jump_least, far_squared, mirror = rule_3[0], rule_3[1], rule_3[2]
    for v in range(alt_mR.shape[0]):
        numerator_R, denominator_R, used = numerator_CR[run_m[v]], denominator_CR[run_m[v]], used_m[v]
        for r in range(alt_mR.shape[1]):
            called_1 = np.float64(called_mR[v, r])
            called_0 = called_m[v] - called_1
            if called_1 > 0 and called_0 > 0:
                p_1, p_0 = alt_mR[v, r] / (2 * called_1), (alt_m[v] - alt_mR[v, r]) / (2 * called_0)
                jump, total = abs(p_1 - p_0), p_1 + p_0
                if used:
                    within_1 = p_1 * (1 - p_1) / max(factor * called_1 - 1, 1.0)
                    within_0 = p_0 * (1 - p_0) / max(factor * called_0 - 1, 1.0)
                    numerator_R[r] += jump * jump - within_1 - within_0
                    denominator_R[r] += total - 2 * p_1 * p_0
                far = jump >= jump_least and jump * jump >= far_squared * (total / 2) * (1 - total / 2)
                if far and abs(total - 1) <= mirror:
                    mirrored_R[r] += 1


@njit(cache=True, nogil=True)
def compare_sides(counts_23m: np.ndarray, smallest_share: float, chi_squared_m: np.ndarray, fst_m: np.ndarray,
                  psi_m: np.ndarray) -> None:
    """Allelic χ², Hudson's F_ST and PSI of the genotype classes of each marker; NaN where they are not defined.

    counts_23m : REF/REF, REF/ALT and ALT/ALT lines of the reference (0) and the new side (1).
    """
    for v in range(counts_23m.shape[2]):
        chi_squared_m[v], fst_m[v], psi_m[v] = np.nan, np.nan, np.nan
        n_0 = counts_23m[0, 0, v] + counts_23m[0, 1, v] + counts_23m[0, 2, v]
        n_1 = counts_23m[1, 0, v] + counts_23m[1, 1, v] + counts_23m[1, 2, v]
        if n_0 == 0 or n_1 == 0:
            continue
        a_0, a_1 = 2.0 * n_0, 2.0 * n_1
        p_0 = (counts_23m[0, 1, v] + 2 * counts_23m[0, 2, v]) / a_0
        p_1 = (counts_23m[1, 1, v] + 2 * counts_23m[1, 2, v]) / a_1
        middle, apart = (a_0 * p_0 + a_1 * p_1) / (a_0 + a_1), (p_1 - p_0) ** 2
        if 0 < middle < 1:
            chi_squared_m[v] = apart / (middle * (1 - middle) * (1 / a_0 + 1 / a_1))
            chance = p_0 * (1 - p_0) / (a_0 - 1) + p_1 * (1 - p_1) / (a_1 - 1)
            fst_m[v] = (apart - chance) / (p_0 * (1 - p_1) + p_1 * (1 - p_0))
        psi = 0.0
        for k in range(3):
            share_0 = max(counts_23m[0, k, v] / n_0, smallest_share)
            share_1 = max(counts_23m[1, k, v] / n_1, smallest_share)
            psi += (share_1 - share_0) * np.log(share_1 / share_0)
        psi_m[v] = psi


@njit(cache=True, nogil=True)
def phase_sums(old_mB: np.ndarray, n_old: int, new_mB: np.ndarray, n_new: int, reach: int, sums_3m: np.ndarray) -> None:
    """Add, for each marker, Σ r₀ r₁, Σ r₀² and Σ r₁² over its `reach` neighbours to either side.

    r₀ and r₁ are its correlations with a neighbour among the reference and among the new lines.
    """
    words_0, words_1 = (old_mB.shape[1] + 15) // 16, (new_mB.shape[1] + 15) // 16
    valid_0, valid_1 = valid_lines(n_old, words_0), valid_lines(n_new, words_1)
    scratch_0, scratch_1 = np.zeros(2 * words_0, dtype=np.uint64), np.zeros(2 * words_1, dtype=np.uint64)
    n_slots = reach + 1
    planes_0, planes_1 = np.empty((n_slots, 3, words_0), np.uint64), np.empty((n_slots, 3, words_1), np.uint64)
    moments_0, moments_1 = np.empty((n_slots, 3), dtype=np.int64), np.empty((n_slots, 3), dtype=np.int64)
    for v in range(len(old_mB)):
        a = v % n_slots
        split(old_mB[v], scratch_0, valid_0, planes_0[a])
        split(new_mB[v], scratch_1, valid_1, planes_1[a])
        moments_0[a, 0], moments_0[a, 1], moments_0[a, 2] = moments(planes_0[a])
        moments_1[a, 0], moments_1[a, 1], moments_1[a, 2] = moments(planes_1[a])
        for w in range(max(v - reach, 0), v):
            b = w % n_slots
            covariance_0, variances_0, _ = pair_covariance(planes_0[a], planes_0[b], moments_0[a], moments_0[b], n_old)
            covariance_1, variances_1, _ = pair_covariance(planes_1[a], planes_1[b], moments_1[a], moments_1[b], n_new)
            r_0 = covariance_0 / np.sqrt(variances_0) if variances_0 > 0 else 0.0
            r_1 = covariance_1 / np.sqrt(variances_1) if variances_1 > 0 else 0.0
            for marker in (v, w):
                sums_3m[0, marker] += r_0 * r_1
                sums_3m[1, marker] += r_0 * r_0
                sums_3m[2, marker] += r_1 * r_1
