"""Hybrids without a sample: genotypes built from two inbred parents, and genotyped hybrids checked against them.

All on packed calls. Which crosses there are is the breeder's; relationship of hybrids is that of any other line.
Axes: N lines of the panel, H hybrids, m variants of a block, B = ceil(H / 4) bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from genomic_platform.genotypes import packing
from genomic_platform.genotypes.parallel import in_order
from genomic_platform.genotypes.quality.line_bits import LineBits, count_bits, line_bits
from genomic_platform.genotypes.quality.mendel import rates
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.schemas.pedigree import HYBRID_CHECK

_LOW = np.uint8(0x55)  # the low bit of each of a byte's four codes


def hybrid_genotypes(table: GenotypeTable, crosses: pl.DataFrame) -> GenotypeTable:
    """The table of hybrids at the panel's variants: each call is the mean of two homozygous parents' dosages.

    A call is missing where a parent's is missing or heterozygous: which allele that parent gave is not known, and a
    mean that is not whole is no genotype. Memory is the result and one block (see `hybrid_blocks` for less).

    Parameters
    ----------
    table : holds both parents of every hybrid.
    crosses : columns line_id (unique), parent_1, parent_2.

    Raises
    ------
    ValueError : a parent has no genotypes here, no hybrid or a hybrid twice.
    """
    packed_mB = [block_mB for _, block_mB in hybrid_blocks(table, crosses)]
    empty = np.zeros((0, packing.n_bytes(crosses.height)), dtype=np.uint8)
    return GenotypeTable.from_packed(table.variants, crosses["line_id"].to_list(), np.concatenate([empty, *packed_mB]))


def hybrid_blocks(table: GenotypeTable, crosses: pl.DataFrame, size: int = 4096) -> Iterator[tuple[int, np.ndarray]]:
    """Pairs (first variant, packed hybrid calls uint8 (m, B)), in table order; as `hybrid_genotypes` without its table.

    Raises ValueError when a parent has no genotypes here or a cross has an unknown parent.
    """
    if unknown := crosses.filter(pl.any_horizontal(pl.col("parent_1", "parent_2").is_null()))["line_id"].to_list():
        raise ValueError(f"{len(unknown)} hybrids lack a parent: {', '.join(map(str, unknown[:5]))}")
    rows = [table.line_rows(crosses[column].to_list()) for column in ("parent_1", "parent_2")]
    for start, packed_mB in table.packed_blocks(size):
        yield start, _crossed(*(packing.take_lines(packed_mB, rows_H) for rows_H in rows))


def check_hybrids(table: GenotypeTable, crosses: pl.DataFrame, *, min_concordance: float = 0.95,
                  min_markers: int = 50, threads: int | None = None) -> pl.DataFrame:
    """Genotyped hybrids against the dosage their parents give (contract HYBRID_CHECK), one row a cross.

    Parameters
    ----------
    crosses : columns line_id, parent_1, parent_2; lines without genotypes are `not_tested`.
    min_concordance : 0–1; below it a hybrid is `discordant`. Three calls enter each comparison, each of which may err:
        at 1 % genotyping error a true hybrid reaches about .97.
    min_markers : markers that must be comparable for a verdict.
    """
    row_of = {line: row for row, line in enumerate(table.lines)}
    hybrid_H, one_H, other_H = (np.array([row_of.get(name, -1) for name in crosses[column]], dtype=np.int64)
                                for column in ("line_id", "parent_1", "parent_2"))

    def compare(bits: LineBits) -> tuple[np.ndarray, np.ndarray]:
        hybrid, one, other = (bits.take(rows_H) for rows_H in (hybrid_H, one_H, other_H))
        ref, alt = one.ref_WN & other.ref_WN, one.alt_WN & other.alt_WN
        het = one.ref_WN & other.alt_WN | one.alt_WN & other.ref_WN
        same = ref & hybrid.ref_WN | het & hybrid.het_WN | alt & hybrid.alt_WN
        return count_bits((ref | het | alt) & hybrid.called_WN), count_bits(same)

    counts_2H = np.zeros((2, crosses.height), dtype=np.int64)
    for pair in in_order(compare, line_bits(table), threads):
        counts_2H += np.array(pair)
    concordance_H = rates(counts_2H[1], counts_2H[0])
    verdicts = [_verdict(*row, min_concordance, min_markers)
                for row in zip(hybrid_H, one_H, other_H, counts_2H[0], concordance_H, strict=True)]
    return HYBRID_CHECK.conform(crosses.select("line_id", "parent_1", "parent_2").with_columns(
        pl.Series("n_markers", counts_2H[0]), pl.Series("matching", counts_2H[1]),
        pl.Series("concordance", concordance_H).fill_nan(None),
        pl.Series("verdict", [verdict for verdict, _ in verdicts], dtype=pl.String),
        pl.Series("reason", [reason for _, reason in verdicts], dtype=pl.String)))


def _verdict(hybrid: int, one: int, other: int, n_markers: int, concordance: float, min_concordance: float,
             min_markers: int) -> tuple[str, str]:
    if min(hybrid, one, other) < 0:
        return "not_tested", "not genotyped" if hybrid < 0 else "a parent is unknown or not genotyped"
    if n_markers < min_markers:
        return "not_tested", f"{n_markers} comparable markers, fewer than {min_markers}"
    if concordance < min_concordance:
        return "discordant", f"{concordance:.1%} of its calls are the mean of its parents', below {min_concordance:.0%}"
    return "checked", f"by dosage: {concordance:.1%} of its calls are the mean of its parents'"


def _crossed(one_mB: np.ndarray, other_mB: np.ndarray) -> np.ndarray:
    """Packed calls of the progeny of two packed parents, in pairs.

    Homozygotes have two equal bits (00 = ALT, 11 = REF): of two of them the high bits' OR and the low bits' AND make
    00, 11, or 10 = heterozygous where they differ. Anything else gives 01 = missing; padding 00 stays 00.
    """
    unusable_mB = (one_mB ^ (one_mB >> 1) | other_mB ^ (other_mB >> 1)) & _LOW
    usable_mB = ~(unusable_mB * np.uint8(3))
    return ((one_mB | other_mB) & ~_LOW | one_mB & other_mB & _LOW) & usable_mB | unusable_mB
