"""Families as the unit of sampling: allele frequencies when whole families change sides.

Lines of a family are not independent draws, so everything that needs a null distribution here moves families. Calls
stay packed: each unit's alleles are counted, and permutations are products of those counts.
What is concluded from it belongs in `population.py`.
Axes: N lines of a table, K of them compared, M markers, m markers of a block, U units (a family's lines of one side),
R permutations, C chromosomes, 2 sides.
References: Hudson, Slatkin and Maddison 1992, Genetics 132:583; Bhatia et al. 2013, Genome Res. 23:1514, eq. 10.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from genomic_platform.genotypes.chromosomes import chromosomes
from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.parallel import in_order
from genomic_platform.genotypes.population.clusters import relationship_clusters
from genomic_platform.genotypes.table import GenotypeTable

NEW, REFERENCE = 1, 0
_BLOCK = 1024  # markers: with 2,000 units the counts of a block take 24 MB


@dataclass(frozen=True, eq=False)
class Units:
    """Families split by side: `unit_K` says which unit a compared line is of, `new_U` on which side a unit is."""

    unit_K: np.ndarray
    new_U: np.ndarray
    n_new_families: int
    n_reference_families: int


@dataclass(frozen=True, eq=False)
class Compared:
    """The lines of a table that are compared: `rows_K` in the table, `new_K` which are new, their units.

    matrix_KK : relationship of the lines compared.
    """

    rows_K: np.ndarray
    new_K: np.ndarray
    matrix_KK: np.ndarray
    units: Units


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


class Mirrored(NamedTuple):
    """When a marker counts as near its mirror image.

    jump : least |p_new − p_ref|; far_squared : least square of it in units of p̄ (1 − p̄), p̄ the mean of the two;
    distance : largest |p_new + p_ref − 1|.
    """

    jump: float
    far_squared: float
    distance: float


class Permuted(NamedTuple):
    """What permutations of families gave.

    numerator_CR, denominator_CR : sums of Hudson's F_ST by chromosome; mirrored_R : markers near their mirror image.
    """

    numerator_CR: np.ndarray
    denominator_CR: np.ndarray
    mirrored_R: np.ndarray

    def fst(self) -> np.ndarray:
        """F_ST over all chromosomes, (R,)."""
        return self.numerator_CR.sum(axis=0) / np.maximum(self.denominator_CR.sum(axis=0), 1e-12)


def compared(table: GenotypeTable, *, new_lines: Collection[str], reference_lines: Collection[str],
             families: Mapping[str, str | None], relationship_NN: np.ndarray | None = None) -> Compared | None:
    """The genotyped lines of both sides and their units; None where a side has none.

    Parameters
    ----------
    new_lines, reference_lines : line ids; those in both count as reference, those without genotypes are left out.
    families : family of a line; None or absent = unknown, and its relationship cluster stands in.
    relationship_NN : (N, N) in the order of `table.lines`; None = VanRaden 1 of the lines compared.
    """
    reference, wanted = set(reference_lines), set(reference_lines) | set(new_lines)
    rows_K = np.array([i for i, line in enumerate(table.lines) if line in wanted], dtype=np.int64)
    lines = [table.lines[i] for i in rows_K]
    new_K = np.array([line not in reference for line in lines], dtype=bool)
    if not new_K.any() or new_K.all():
        return None
    if relationship_NN is None:
        matrix_KK = vanraden(table.select(lines=lines)).matrix_NN
    else:
        matrix_KK = relationship_NN[np.ix_(rows_K, rows_K)]
    return Compared(rows_K, new_K, matrix_KK, units_of(family_of_lines(lines, families, new_K, matrix_KK), new_K))


def family_of_lines(lines: Sequence[str], families: Mapping[str, str | None], new_K: np.ndarray,
                    matrix_KK: np.ndarray) -> np.ndarray:
    """A family number for each line, int64 (K,): its family, or where that is unknown its relationship cluster.

    Clusters are made within each side, on the relationship centred there: seen from the other side's allele
    frequencies, the families of a new base, or of a swapped panel, would all look like one.
    """
    names = sorted({family for line in lines if (family := families.get(line)) is not None})
    number = {name: i for i, name in enumerate(names)}
    family_K = np.array([number.get(families.get(line) or "", -1) for line in lines], dtype=np.int64)
    following = len(names)
    for side_K in (new_K, ~new_K):
        unknown = np.flatnonzero(side_K & (family_K < 0))
        if len(unknown):
            family_K[unknown] = following + relationship_clusters(matrix_KK[np.ix_(unknown, unknown)])
            following = int(family_K.max()) + 1
    return family_K


def units_of(family_K: np.ndarray, new_K: np.ndarray) -> Units:
    """Split each family into its new and its reference lines."""
    keys, unit_K = np.unique(np.stack([family_K, new_K.astype(np.int64)]), axis=1, return_inverse=True)
    new_U = keys[1].astype(bool)
    return Units(unit_K.ravel(), new_U, int(new_U.sum()), int((~new_U).sum()))


def side_statistics(table: GenotypeTable, sample: Compared) -> SideStatistics:
    """Frequencies, effective alleles and between-family variance of both sides, in one pass over the markers."""
    from genomic_platform.drift.marker_kernels import between_units

    units = sample.units
    measured_32M = np.full((3, 2, table.n_variants), np.nan)  # frequency, called lines, between
    observed_2 = np.zeros(2)

    def measure(block: tuple[int, np.ndarray]) -> np.ndarray:
        start, alt_mU, called_mU, het_mU = _counted(block, table, sample)
        part_32m = measured_32M[:, :, start : start + len(alt_mU)]
        between_units(alt_mU, called_mU, units.new_U, *part_32m)
        return np.array([het_mU[:, units.new_U == side].sum(dtype=np.float64) for side in (False, True)])

    for het_2 in in_order(measure, table.packed_blocks(_BLOCK)):
        observed_2 += het_2
    frequency, called, between = measured_32M
    expected_2 = np.nansum(called * 2 * frequency * (1 - frequency), axis=1)
    ratio_2 = np.divide(observed_2, expected_2, out=np.ones(2), where=expected_2 > 0)
    inbreeding = np.clip(1 - ratio_2, 0, 1)
    return SideStatistics(frequency, 2 * called / (1 + inbreeding[:, None]), between, inbreeding)


def hudson(p_1: np.ndarray, p_2: np.ndarray, alleles_1: np.ndarray,
           alleles_2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numerator and denominator of Hudson's F_ST per marker; F_ST is the ratio of their sums (Bhatia 2013, eq. 10)."""
    within_1, within_2 = p_1 * (1 - p_1), p_2 * (1 - p_2)
    numerator = (p_1 - p_2) ** 2 - within_1 / np.maximum(alleles_1 - 1, 1) - within_2 / np.maximum(alleles_2 - 1, 1)
    return numerator, p_1 * (1 - p_2) + p_2 * (1 - p_1)


def observed_terms(sides: SideStatistics, used_M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hudson's numerator and denominator as observed, (M,); 0 where a marker is not used or a side has no call."""
    numerator_M, denominator_M = hudson(*sides.frequency, *sides.alleles)
    used_M = used_M & np.isfinite(denominator_M)
    return np.where(used_M, numerator_M, 0.0), np.where(used_M, denominator_M, 0.0)


def permuted_sides(units: Units, permutations: int, seed: int) -> np.ndarray:
    """Which units are new when whole units change sides, float32 (R, U) of 0 and 1, as many new ones as there are."""
    rng = np.random.default_rng(seed)
    order_RU = rng.random((permutations, len(units.new_U))).argsort(axis=1)
    return (order_RU < units.n_new_families).astype(np.float32)


def permuted(table: GenotypeTable, sample: Compared, new_RU: np.ndarray, *, inbreeding: float, used_M: np.ndarray,
             mirrored: Mirrored) -> Permuted:
    """F_ST by chromosome and markers near their mirror image, when the units of `new_RU` are the new side.

    Parameters
    ----------
    inbreeding : F by which called lines count as 2 / (1 + F) alleles on either side.
    used_M : markers that F_ST is taken over, Boolean.
    """
    from threadpoolctl import threadpool_limits

    from genomic_platform.drift.marker_kernels import permuted_sums

    runs = chromosomes(table.variants)
    run_M = np.repeat(np.arange(len(runs)), [run.stop - run.start for run in runs])
    new_UR, rule_3 = np.ascontiguousarray(new_RU.T), np.array(mirrored, dtype=np.float64)
    shapes = ((len(runs), len(new_RU)), (len(runs), len(new_RU)), len(new_RU))

    def sums(block: tuple[int, np.ndarray]) -> Permuted:
        start, alt_mU, called_mU, _ = _counted(block, table, sample)
        here, found = slice(start, start + len(alt_mU)), Permuted(*(np.zeros(shape) for shape in shapes))
        permuted_sums(alt_mU @ new_UR, called_mU @ new_UR, alt_mU.sum(axis=1, dtype=np.float64),
                      called_mU.sum(axis=1, dtype=np.float64), used_M[here], run_M[here], 2 / (1 + inbreeding), rule_3,
                      *found)
        return found

    total = Permuted(*(np.zeros(shape) for shape in shapes))
    with threadpool_limits(1, "blas"):  # a thread for each block, rather than all of them on one thin product
        for part in in_order(sums, table.packed_blocks(_BLOCK)):
            for whole, own in zip(total, part, strict=True):
                whole += own
    return total


def p_value(observed: float, permuted_R: np.ndarray) -> float:
    """Share of permutations at least as far out, the observed one among them."""
    return (1 + int((permuted_R >= observed - 1e-9).sum())) / (1 + len(permuted_R))


def _counted(block: tuple[int, np.ndarray], table: GenotypeTable,
             sample: Compared) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """First marker, and ALT alleles, called and heterozygous lines of each unit, float32 (m, U): exact."""
    from genomic_platform.drift.marker_kernels import count_units

    start, packed_mB = block
    n_units = len(sample.units.new_U)
    place_N = np.full(4 * packed_mB.shape[1], 4 * n_units, dtype=np.int64)
    place_N[sample.rows_K] = 4 * sample.units.unit_K
    alt_mU, called_mU, het_mU = (np.empty((len(packed_mB), n_units), dtype=np.float32) for _ in range(3))
    count_units(packed_mB, place_N, alt_mU, called_mU, het_mU)
    return start, alt_mU, called_mU, het_mU
