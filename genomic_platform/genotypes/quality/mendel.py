"""Mendelian errors: genotypes that a line's parents exclude, per line and per marker, by bit operations.

Only the rules and their counts belong here; what follows for a line is `parentage.py`'s.
Axes: N lines, T lines with their parents (trios and duos), W words of 64 markers, M markers.
Reference: for a cross, the errors of PLINK's --mendel (Purcell et al. 2007, AJHG 81:559).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from genomic_platform.genotypes.parallel import in_order
from genomic_platform.genotypes.quality.line_bits import LineBits, count_bits, count_markers, line_bits
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.schemas.pedigree import MARKER_ERRORS


@dataclass(frozen=True, eq=False)
class Trios:
    """Lines and their parents as rows of a table.

    Attributes
    ----------
    line_T : int64 (T,).
    parents_T2 : int64 (T, 2); −1 = unknown or not genotyped.
    selfed_T : bool (T,): the line was, or may have been, selfed or doubled after the cross.
    """

    line_T: np.ndarray
    parents_T2: np.ndarray
    selfed_T: np.ndarray

    def __len__(self) -> int:
        return len(self.line_T)


def trios_of(table: GenotypeTable, pedigree: pl.DataFrame) -> Trios:
    """Genotyped lines with a genotyped parent, in table order.

    A line whose inbreeding is not declared counts as selfed: what is excluded then is excluded for a plain cross too.

    Parameters
    ----------
    pedigree : contract PEDIGREE.
    """
    row_of = {line: row for row, line in enumerate(table.lines)}
    found = [(row_of[line], row_of.get(one, -1), row_of.get(other, -1), inbreeding is None or inbreeding > 0)
             for line, one, other, inbreeding in pedigree.select("line_id", "parent_1", "parent_2", "inbreeding")
             .iter_rows() if line in row_of]
    kept = sorted(row for row in found if max(row[1:3]) >= 0)
    columns = np.array(kept, dtype=np.int64).reshape(-1, 4)
    return Trios(columns[:, 0], columns[:, 1:3], columns[:, 3].astype(bool))


def excluded(one: LineBits, other: LineBits, selfed_T: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Markers at which parents exclude a REF homozygote, a heterozygote, an ALT homozygote; uint64 (W, T) each.

    A cross: no homozygote of an allele that a parent lacks (it is homozygous for the other), no heterozygote of two
    parents homozygous for the same allele. A line selfed after the cross: nothing but what both parents are
    homozygous for, since it may have lost either parent's allele at any other marker.
    """
    both_ref, both_alt = one.ref_WN & other.ref_WN, one.alt_WN & other.alt_WN
    return (np.where(selfed_T, both_alt, one.alt_WN | other.alt_WN), both_ref | both_alt,
            np.where(selfed_T, both_ref, one.ref_WN | other.ref_WN))


def count_errors(table: GenotypeTable, trios: Trios, threads: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Called markers at which something is excluded, and of these those with an excluded genotype, int64 (T,) each."""
    tested_T, errors_T = np.zeros(len(trios), dtype=np.int64), np.zeros(len(trios), dtype=np.int64)
    for tested_WT, errors_WT, _ in _judged(table, trios, threads):
        tested_T += count_bits(tested_WT)
        errors_T += count_bits(errors_WT)
    return tested_T, errors_T


def marker_errors(table: GenotypeTable, pedigree: pl.DataFrame, threads: int | None = None) -> pl.DataFrame:
    """Mendelian errors of each marker (contract MARKER_ERRORS), in table order.

    Parameters
    ----------
    pedigree : contract PEDIGREE; leave out the lines that `parentage.check_parentage` does not find consistent, or
        every marker shows their errors.
    """
    counts = [(count_markers(tested_WT, size), count_markers(errors_WT, size))
              for tested_WT, errors_WT, size in _judged(table, trios_of(table, pedigree), threads)]
    empty = np.zeros((2, 0), dtype=np.int64)
    tested_M, errors_M = np.concatenate([empty, *(np.array(pair) for pair in counts)], axis=1)
    return MARKER_ERRORS.conform(table.variants.select("variant_id", "chromosome", "position").with_columns(
        pl.Series("n_trios", tested_M), pl.Series("errors", errors_M),
        pl.Series("error_rate", rates(errors_M, tested_M)).fill_nan(None)))


def rates(errors: np.ndarray, tested: np.ndarray) -> np.ndarray:
    """errors / tested, NaN where nothing was tested."""
    return np.divide(errors, tested, out=np.full(np.shape(errors), np.nan), where=tested > 0)


def _judged(table: GenotypeTable, trios: Trios, threads: int | None) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Of each block: testable and erroneous markers, uint64 (W, T) each, and its number of variants."""
    def judge(bits: LineBits) -> tuple[np.ndarray, np.ndarray, int]:
        line = bits.take(trios.line_T)
        not_ref, not_het, not_alt = excluded(bits.take(trios.parents_T2[:, 0]), bits.take(trios.parents_T2[:, 1]),
                                             trios.selfed_T)
        tested_WT = (not_ref | not_het | not_alt) & line.called_WN
        return tested_WT, not_ref & line.ref_WN | not_het & line.het_WN | not_alt & line.alt_WN, bits.size

    return in_order(judge, line_bits(table), threads)
