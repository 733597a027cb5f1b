"""What the calls of one line say of it: call rate, heterozygosity, inbreeding, and which lines are a surprise.

Counts come from packed bytes, a block of variants at a time. Which lines are removed is `qc`'s decision, which lines
are the same is in `duplicates`. Axes: N lines, M variants, m of a block, B bytes of a row.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from genomic_platform.genotypes.hardy_weinberg import expected_heterozygotes
from genomic_platform.genotypes.parallel import in_order
from genomic_platform.genotypes.regions import chromosome_key
from genomic_platform.genotypes.table import GenotypeTable

#: Chromosomes on which heterozygosity is not that of a diploid autosome, in upper case without `CHR`.
NOT_AUTOSOMAL = ("X", "Y", "Z", "W", "M", "MT", "C", "PT", "CP", "MITO", "CHLORO")
SURPRISING_Z = 6.0  # robust standard deviations: 1 in 10⁹ of a normal distribution, since panels have longer tails
DECLARED_DIFFERENCE = 0.2  # of inbreeding: one generation of selfing from an F1 halves heterozygosity
ONE_X, TWO_X = 0.8, 0.2  # inbreeding on X above which a line has one X, below which two (PLINK's --check-sex)


def chromosome_name(variants: pl.DataFrame) -> pl.Series:
    """Chromosome names in upper case, without `CHR` and leading zeros."""
    return variants.select(chromosome_key().str.to_uppercase()).to_series()


def autosomal(variants: pl.DataFrame) -> np.ndarray:
    """Variants whose heterozygosity speaks of inbreeding, Boolean (M,): those on no sex or organelle chromosome."""
    return ~chromosome_name(variants).is_in(NOT_AUTOSOMAL).to_numpy()


def line_quality(table: GenotypeTable) -> pl.DataFrame:
    """One row a line, in table order: id, called, call_rate, heterozygosity, inbreeding, heterozygosity_z.

    heterozygosity is the share of called genotypes, over all variants. inbreeding is the method-of-moments F =
    1 − observed / expected heterozygotes over the autosomal variants called in the line, expected at the table's
    frequencies without bias (PLINK `--het small-sample`); below 0 for a line with more than expected.
    heterozygosity_z is in robust standard deviations from the panel's median. NaN where nothing is called.
    """
    autosomal_M = autosomal(table.variants)
    called_N, het_N, expected_N = line_counts(table)
    rate_N, heterozygosity_N = called_N / max(table.n_variants, 1), ratio(het_N, called_N)
    if not autosomal_M.all():
        _, het_N, expected_N = line_counts(table, autosomal_M)
    return pl.DataFrame({
        "id": table.lines, "called": called_N, "call_rate": rate_N, "heterozygosity": heterozygosity_N,
        "inbreeding": 1 - ratio(het_N, expected_N), "heterozygosity_z": robust_z(heterozygosity_N, called_N)})


def line_counts(table: GenotypeTable, used_M: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Calls, heterozygotes and expected heterozygotes of each line over the variants used, (N,) each.

    Expected is the sum over called variants of 2pq · 2n / (2n − 1), n the lines called at the variant.
    """
    counts_3M = table.variants.select("hom_ref", "heterozygous", "hom_alt").to_numpy().T
    expected_M = ratio(expected_heterozygotes(*counts_3M), counts_3M.sum(axis=0), empty=0.0)
    used_M = np.ones(table.n_variants, dtype=bool) if used_M is None else used_M

    def count(block: tuple[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        from genomic_platform.genotypes.quality import qc_kernels as kernels

        start, packed_mB = block
        part_m = used_M[start : start + len(packed_mB)]
        rows_mB = packed_mB if part_m.all() else packed_mB[part_m]
        places = 4 * packed_mB.shape[1]
        het_S, missing_S, weight_S = np.zeros(places, np.int64), np.zeros(places, np.int64), np.zeros(places)
        kernels.heterozygous_counts(rows_mB, 0, het_S)
        kernels.heterozygous_counts(rows_mB, 255, missing_S)
        kernels.missing_weights(rows_mB, expected_M[start : start + len(packed_mB)][part_m], weight_S)
        return het_S, missing_S, weight_S

    n = table.n_lines
    called_N, het_N = np.full(n, used_M.sum()), np.zeros(n, np.int64)
    expected_N = np.full(n, expected_M[used_M].sum())
    for het_S, missing_S, weight_S in in_order(count, table.packed_blocks()):
        het_N += het_S[:n]
        called_N -= missing_S[:n]
        expected_N -= weight_S[:n]
    return called_N, het_N, np.where(called_N > 0, expected_N, 0.0)


def robust_z(heterozygosity_N: np.ndarray, called_N: np.ndarray) -> np.ndarray:
    """Distance from the median in units of 1.4826 · MAD, or of the sampling error where that is larger.

    The sampling error of a share among a line's calls keeps the unit above 0 in a panel of fully inbred lines.
    """
    if not np.isfinite(heterozygosity_N).any():
        return np.full(len(heterozygosity_N), np.nan)
    median = np.nanmedian(heterozygosity_N)
    spread = 1.4826 * np.nanmedian(np.abs(heterozygosity_N - median))
    calls_N = np.maximum(called_N, 1)
    share_N = median + 1 / calls_N
    return (heterozygosity_N - median) / np.maximum(spread, np.sqrt(share_N * np.maximum(1 - share_N, 0.01) / calls_N))


def line_notes(quality: pl.DataFrame, declared_inbreeding: Mapping[str, float] | None = None) -> list[str | None]:
    """What is surprising about each line, in words, None where nothing is: reported, never a reason to remove.

    A line with a declared inbreeding (0–1) is held to that, any other to the panel.
    """
    declared = declared_inbreeding or {}
    return [_note(row, declared.get(row["id"])) for row in quality.iter_rows(named=True)]


def _note(line: Mapping[str, float], declared: float | None) -> str | None:
    inbreeding, z = line["inbreeding"], line["heterozygosity_z"]
    if declared is not None and abs(inbreeding - declared) > DECLARED_DIFFERENCE:
        word, why = ("less", "outcrossed, mixed or mislabelled?") if inbreeding < declared else ("more", "mislabelled?")
        return f"{word} inbred than declared: {inbreeding:.2f} against {declared:.2f}: {why}"
    if declared is None and abs(z) > SURPRISING_Z:
        word, why = ("more", "contaminated, a hybrid or polyploid?") if z > 0 else ("less", "inbred, or calls lost?")
        return f"{word} heterozygous than the panel, {z:+.1f} robust sd: {why}"
    return None


def sex_report(table: GenotypeTable) -> pl.DataFrame | None:
    """Lines by chromosomes X and Y: line_id, inbreeding_x, call_rate_y, copies_of_x (1, 2, null = unclear), note.

    None where no chromosome is named X: the question does not apply. A note marks a line whose X is between one and
    two copies, or whose Y is called in most variants though it has two X, or in few though it has one.
    """
    name = chromosome_name(table.variants)
    x_M, y_M = (name == "X").to_numpy(), (name == "Y").to_numpy()
    if not x_M.any():
        return None
    _, het_N, expected_N = line_counts(table, x_M)
    y_rate_N = line_counts(table, y_M)[0] / y_M.sum() if y_M.any() else np.full(table.n_lines, np.nan)
    copies = pl.when(pl.col("inbreeding_x") > ONE_X).then(1).when(pl.col("inbreeding_x") < TWO_X).then(2)
    lines = pl.DataFrame({"line_id": table.lines, "inbreeding_x": 1 - ratio(het_N, expected_N),
                          "call_rate_y": y_rate_N})
    return lines.fill_nan(None).with_columns(copies.cast(pl.Int64).alias("copies_of_x")).with_columns(
        pl.when(pl.col("copies_of_x").is_null()).then(pl.lit("X is between one and two copies"))
        .when((pl.col("copies_of_x") == 2) & (pl.col("call_rate_y") > 0.5)).then(pl.lit("two X and calls on Y"))
        .when((pl.col("copies_of_x") == 1) & (pl.col("call_rate_y") < 0.5)).then(pl.lit("one X and no calls on Y"))
        .alias("note"))


def ratio(count: np.ndarray, of: np.ndarray, empty: float = np.nan) -> np.ndarray:
    """`count` / `of`, and `empty` where `of` is not above 0."""
    return np.divide(count, of, out=np.full(len(count), empty), where=of > 0)
