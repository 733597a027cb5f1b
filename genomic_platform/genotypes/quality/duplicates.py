"""The same thing twice: variants with the same calls, probes of one position that agree, lines that are one line.

Nothing is removed here. Rows are compared by hashes of packed calls, lines by bit counts: first over a thinned set of
variants, then, for the few pairs left, over all. Relationship between lines that differ belongs in
`kinship/`.
Axes: N lines, M variants, m of a block, B bytes of a row, P pairs, K lines in a pair, W words of 64 variants.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from genomic_platform.genotypes.parallel import in_order
from genomic_platform.genotypes.table import GenotypeTable

THINNED = 2000  # variants over which all pairs of lines are compared first
SAMPLING_ERRORS = 5  # of an IBS over the thinned variants by which a pair may fall short and still be looked at
BEYOND_CHANCE = 0.95  # Cohen's κ from which two probes of one position are called the same
_LINES_AT_ONCE = 64
_COUNTS = ("hom_ref", "heterozygous", "hom_alt")
_REPEAT_SCHEMA = {"row": pl.Int64, "same_as_row": pl.Int64, "same_calls": pl.Boolean, "swapped": pl.Boolean,
                  "agreement": pl.Float64}
_PAIR_SCHEMA = {"line_1": pl.String, "line_2": pl.String, "ibs": pl.Float64}


def varying(table: GenotypeTable) -> np.ndarray:
    """Variants at which both alleles are seen, Boolean (M,)."""
    frequency_M = table.allele_frequencies()
    return (frequency_M > 0) & (frequency_M < 1)


def duplicate_variants(table: GenotypeTable) -> pl.DataFrame:
    """Variants that repeat an earlier one of their chromosome: one row each, in table order.

    Two kinds: all calls equal, missing ones too; or two probes at one position that agree beyond chance (κ ≥ .95).
    Either coding counts: REF and ALT may be swapped. Monomorphic variants are left out.

    Returns
    -------
    Columns row, same_as_row (indices into the table), variant_id, same_as, same_calls (False = same position), swapped,
    agreement (share of lines called in both).
    """
    hash_M2, rows_M = _hashes(table), np.flatnonzero(varying(table))
    rows = pl.DataFrame({
        "row": rows_M, "chromosome": table.variants["chromosome"][rows_M], "direct": hash_M2[rows_M, 0],
        "low": hash_M2[rows_M].min(axis=1), "high": hash_M2[rows_M].max(axis=1)})
    # two 64-bit hashes must both agree: among a million variants a false pair has a chance of 1e-27
    group = ("chromosome", "low", "high")
    same = rows.with_columns(pl.first("row", "direct").over(group).name.prefix("same_as_")).filter(
        pl.col("row") != pl.col("same_as_row")).select(
        "row", "same_as_row", same_calls=True, swapped=pl.col("direct") != pl.col("same_as_direct"), agreement=1.0)
    probes = _same_position(table, np.setdiff1d(rows_M, same["row"].to_numpy()))
    repeated = pl.concat([same, probes]).sort("row")
    ids = table.variants["variant_id"]
    return repeated.with_columns(variant_id=ids.gather(repeated["row"]), same_as=ids.gather(repeated["same_as_row"]))


def _hashes(table: GenotypeTable) -> np.ndarray:
    """Hashes of each variant's calls, as they are and with REF and ALT swapped, uint64 (M, 2)."""
    def hashes(block: tuple[int, np.ndarray]) -> np.ndarray:
        from genomic_platform.genotypes.quality.qc_kernels import row_hashes

        hash_m2 = np.empty((len(block[1]), 2), dtype=np.uint64)
        row_hashes(block[1], table.n_lines, hash_m2)
        return hash_m2

    return np.concatenate([np.empty((0, 2), np.uint64), *in_order(hashes, table.packed_blocks())])


def _same_position(table: GenotypeTable, rows_M: np.ndarray) -> pl.DataFrame:
    """Of the variants at `rows_M`, those that agree with the first at their position (0 = unplaced is no position)."""
    from genomic_platform.genotypes.quality.qc_kernels import row_agreement

    here = table.variants[rows_M].with_columns(pl.Series("row", rows_M)).filter(
        pl.col("position") > 0, pl.len().over("chromosome", "position") > 1).with_row_index("place")
    pairs = here.select("row", "place", pl.first("row", "place").over("chromosome", "position").name.prefix("first_"))
    packed_MB = table.select(here["row"].to_numpy()).packed_MB
    share_M3 = here.select(pl.col(name) / pl.sum_horizontal(_COUNTS) for name in _COUNTS).to_numpy()
    found = []
    for row, place, first_row, first in pairs.filter(pl.col("row") != pl.col("first_row")).iter_rows():
        shared, same, swapped = row_agreement(packed_MB[first], packed_MB[place], table.n_lines)
        for agree, swap in ((same, False), (swapped, True)):
            chance = share_M3[first] @ share_M3[place][:: -1 if swap else 1]
            if shared and agree / shared >= BEYOND_CHANCE * (1 - chance) + chance:
                found.append((row, first_row, False, swap, agree / shared))
                break
    return pl.DataFrame(found, schema=_REPEAT_SCHEMA, orient="row")


def close_pairs(table: GenotypeTable, threshold: float = 0.99, thinned: int = THINNED) -> pl.DataFrame:
    """Pairs of lines with IBS > `threshold`: columns line_1, line_2 (in table order), ibs; closest first.

    IBS = 1 − Σ |x_i − x_j| / 2 over the variants that vary and are called in both. All pairs are compared at up to
    `thinned` evenly spaced variants; those within five sampling errors of the threshold are confirmed at all.

    Parameters
    ----------
    threshold : 0–1. thinned : variants of the first pass; where the table has no more, the first pass is exact.
    """
    rows_M = np.flatnonzero(varying(table))
    spread = rows_M[np.linspace(0, len(rows_M) - 1, min(thinned, len(rows_M))).astype(np.int64)]
    slack = 0.0 if len(spread) == len(rows_M) else SAMPLING_ERRORS * np.sqrt(threshold * (1 - threshold) / len(spread))
    pairs_P2 = _candidates(table, spread, threshold - slack)
    ibs_P = _identity(table, varying(table), pairs_P2)
    kept_P = ibs_P > threshold
    lines = np.array(table.lines, dtype=object)
    names = (lines[pairs_P2[kept_P, side]].tolist() for side in (0, 1))
    pairs = dict(zip(_PAIR_SCHEMA, (*names, ibs_P[kept_P]), strict=True))
    return pl.DataFrame(pairs, schema=_PAIR_SCHEMA).sort("ibs", descending=True, maintain_order=True)


def identical_lines(table: GenotypeTable, threshold: float = 0.99) -> list[set[str]]:
    """Groups of two or more lines linked by IBS > `threshold` (clones, duplicates), in table order of their first."""
    return [set(group) for group in groups_of(table.lines, close_pairs(table, threshold))]


def groups_of(lines: Sequence[str], pairs: pl.DataFrame) -> list[list[str]]:
    """Lines linked by pairs, directly or through others: groups in the order of their first, members too."""
    group_of = {line: {line} for line in lines}
    for one, two in pairs.select("line_1", "line_2").iter_rows():
        smaller, larger = sorted((group_of[one], group_of[two]), key=len)
        if smaller is not larger:
            larger |= smaller
            group_of.update(dict.fromkeys(smaller, larger))
    groups: dict[int, list[str]] = {}
    for line in lines:
        groups.setdefault(id(group_of[line]), []).append(line)
    return [group for group in groups.values() if len(group) > 1]


def _candidates(table: GenotypeTable, rows_M: np.ndarray, threshold: float) -> np.ndarray:
    """Pairs of lines, int32 (P, 2), with IBS above `threshold` at the variants `rows_M`, in table order."""
    from genomic_platform.genotypes.quality.qc_kernels import close_lines

    n = table.n_lines
    bits_N3W = _bits(table.select(rows_M).packed_MB, np.arange(n))
    parts = in_order(lambda start: close_lines(bits_N3W, start, min(start + _LINES_AT_ONCE, n), len(rows_M), threshold),
                     range(0, n, _LINES_AT_ONCE))
    return np.concatenate([np.empty((0, 2), np.int32), *parts])


def _identity(table: GenotypeTable, used_M: np.ndarray, pairs_P2: np.ndarray) -> np.ndarray:
    """IBS of pairs of lines over the variants used, float64 (P,); 0 where no call is shared."""
    lines_K, place_P2 = np.unique(pairs_P2, return_inverse=True)
    place_P2 = place_P2.reshape(pairs_P2.shape)
    difference_P, shared_P = np.zeros(len(pairs_P2), np.int64), np.zeros(len(pairs_P2), np.int64)

    def differences(block: tuple[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        from genomic_platform.genotypes.quality.qc_kernels import pair_differences

        start, packed_mB = block
        bits_K3W = _bits(packed_mB[used_M[start : start + len(packed_mB)]], lines_K)
        part_P, called_P = np.zeros_like(difference_P), np.zeros_like(shared_P)
        pair_differences(bits_K3W, place_P2, part_P, called_P)
        return part_P, called_P

    for part_P, called_P in in_order(differences, table.packed_blocks() if len(pairs_P2) else ()):
        difference_P += part_P
        shared_P += called_P
    return np.where(shared_P > 0, 1 - difference_P / (2 * np.maximum(shared_P, 1)), 0.0)


def _bits(packed_mB: np.ndarray, rows_K: np.ndarray) -> np.ndarray:
    from genomic_platform.genotypes.quality.qc_kernels import line_bits

    bits_K3W = np.zeros((len(rows_K), 3, -(-len(packed_mB) // 64)), dtype=np.uint64)
    line_bits(packed_mB, rows_K, bits_K3W)
    return bits_K3W
