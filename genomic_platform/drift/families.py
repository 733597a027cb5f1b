"""Families as the unit of sampling: allele frequencies when whole families change sides.

Lines of a family are not independent draws, so everything that needs a null distribution here moves families.
What is concluded from it belongs in `population.py`.
Axes: N lines, M markers, m markers of a block, U units (a family's lines of one side), R permutations, 2 sides.
References: Hudson, Slatkin and Maddison 1992, Genetics 132:583; Bhatia et al. 2013, Genome Res. 23:1514, eq. 10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genomic_platform.genotypes.population.clusters import relationship_clusters
from genomic_platform.genotypes.table import GenotypeTable

NEW, REFERENCE = 1, 0


@dataclass(frozen=True, eq=False)
class Units:
    """Families split by side: `member_UN` (0/1) says which lines a unit has, `new_U` on which side it is."""

    member_UN: np.ndarray
    new_U: np.ndarray
    n_new_families: int
    n_reference_families: int


@dataclass(frozen=True, eq=False)
class SideStatistics:
    """Per marker and side (index NEW or REFERENCE), each (2, M): what the two samples look like.

    frequency : ALT frequency; NaN where the side has no call. alleles : effective number of alleles,
    2 n / (1 + F). between : sampling variance of the frequency, from the differences between families.
    inbreeding : F of each side, (2,).
    """

    frequency: np.ndarray
    alleles: np.ndarray
    between: np.ndarray
    inbreeding: np.ndarray


def family_of_lines(lines: Sequence[str], families: Mapping[str, str | None], new_N: np.ndarray,
                    matrix_NN: np.ndarray) -> np.ndarray:
    """A family number for each line, int64 (N,): its family, or where that is unknown its relationship cluster.

    Clusters are made within each side, on the relationship centred there: seen from the other side's allele
    frequencies, the families of a new base, or of a swapped panel, would all look like one.
    """
    names = sorted({family for line in lines if (family := families.get(line)) is not None})
    number = {name: i for i, name in enumerate(names)}
    family_N = np.array([number.get(families.get(line) or "", -1) for line in lines], dtype=np.int64)
    following = len(names)
    for side_N in (new_N, ~new_N):
        unknown = np.flatnonzero(side_N & (family_N < 0))
        if len(unknown):
            family_N[unknown] = following + relationship_clusters(matrix_NN[np.ix_(unknown, unknown)])
            following = int(family_N.max()) + 1
    return family_N


def units_of(family_N: np.ndarray, new_N: np.ndarray) -> Units:
    """Split each family into its new and its reference lines."""
    keys, unit_N = np.unique(np.stack([family_N, new_N.astype(np.int64)]), axis=1, return_inverse=True)
    member_UN = (unit_N.ravel() == np.arange(keys.shape[1])[:, None]).astype(np.float32)
    new_U = keys[1].astype(bool)
    return Units(member_UN, new_U, int(new_U.sum()), int((~new_U).sum()))


def side_statistics(table: GenotypeTable, units: Units) -> SideStatistics:
    """Frequencies, effective alleles and between-family variance of both sides, in one pass over the markers."""
    m = table.n_variants
    frequency, called, between = (np.full((2, m), np.nan) for _ in range(3))
    observed, expected = np.zeros(2), np.zeros(2)
    for start, block_mN in table.blocks():
        alt_Um, called_Um = _unit_counts(block_mN, units)
        het_mN = (block_mN == 1).astype(np.float32)
        here = slice(start, start + len(block_mN))
        for side in (REFERENCE, NEW):
            chosen_U = units.new_U == bool(side)
            p_m, n_m, var_m = _between_families(alt_Um[chosen_U], called_Um[chosen_U])
            frequency[side, here], called[side, here], between[side, here] = p_m, n_m, var_m
            observed[side] += float((het_mN @ units.member_UN[chosen_U].sum(axis=0)).sum())
            expected[side] += float(np.nansum(n_m * 2 * p_m * (1 - p_m)))
    ratio = np.divide(observed, expected, out=np.ones(2), where=expected > 0)
    inbreeding = np.clip(1 - ratio, 0, 1)
    return SideStatistics(frequency, 2 * called / (1 + inbreeding[:, None]), between, inbreeding)


def hudson(p_1: np.ndarray, p_2: np.ndarray, alleles_1: np.ndarray,
           alleles_2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numerator and denominator of Hudson's F_ST per marker; F_ST is the ratio of their sums (Bhatia 2013, eq. 10)."""
    within_1, within_2 = p_1 * (1 - p_1), p_2 * (1 - p_2)
    numerator = (p_1 - p_2) ** 2 - within_1 / np.maximum(alleles_1 - 1, 1) - within_2 / np.maximum(alleles_2 - 1, 1)
    return numerator, p_1 * (1 - p_2) + p_2 * (1 - p_1)


def permuted_sides(units: Units, permutations: int, seed: int) -> np.ndarray:
    """Which units are new when whole units change sides, float32 (R, U) of 0 and 1, as many new ones as there are."""
    rng = np.random.default_rng(seed)
    order_RU = rng.random((permutations, len(units.new_U))).argsort(axis=1)
    return (order_RU < units.n_new_families).astype(np.float32)


def permuted_frequencies(block_mN: np.ndarray, units: Units,
                         new_RU: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Frequencies of the new and the reference side and their called lines, each float32 (R, m)."""
    alt_Um, called_Um = _unit_counts(block_mN, units)
    alt_new_Rm, called_new_Rm = new_RU @ alt_Um, new_RU @ called_Um
    alt_old_Rm, called_old_Rm = alt_Um.sum(axis=0) - alt_new_Rm, called_Um.sum(axis=0) - called_new_Rm
    return (alt_new_Rm / (2 * np.maximum(called_new_Rm, 1)), alt_old_Rm / (2 * np.maximum(called_old_Rm, 1)),
            called_new_Rm, called_old_Rm)


def _unit_counts(block_mN: np.ndarray, units: Units) -> tuple[np.ndarray, np.ndarray]:
    """ALT alleles and called lines of each unit, float32 (U, m): whole numbers, exact."""
    alt_mN = np.maximum(block_mN, 0).astype(np.float32)
    called_mN = (block_mN >= 0).astype(np.float32)
    return units.member_UN @ alt_mN.T, units.member_UN @ called_mN.T


def _between_families(alt_Um: np.ndarray, called_Um: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frequency, called lines and sampling variance of the frequency for one side, each float64 (m,).

    With weights w of the families, variance = Σ w (p_u − p)² · Σ w² / (1 − Σ w²).
    """
    n_m = called_Um.sum(axis=0, dtype=np.float64)
    weight_Um = called_Um / np.maximum(n_m, 1)
    p_Um = alt_Um / (2 * np.maximum(called_Um, 1))
    p_m = np.where(n_m > 0, (weight_Um * p_Um).sum(axis=0), np.nan)
    concentration_m = (weight_Um**2).sum(axis=0)
    spread_m = np.maximum((weight_Um * p_Um**2).sum(axis=0) - p_m**2, 0)
    return p_m, n_m, spread_m * concentration_m / np.maximum(1 - concentration_m, 1e-9)
