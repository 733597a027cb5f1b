"""Quality control of genotypes: which variants and lines are used, and why the others are not.

The decision is a table that a person can read; nothing is imputed here and nothing is removed silently. What the calls
of a line say of it is in `line_quality`, what is there twice in `duplicates`, the page in `results/qc_page.py`.
Axes: N lines, M variants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from genomic_platform.errors import InputError, Problem
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.hardy_weinberg import exact_p_values, expected_heterozygotes, panel_inbreeding
from genomic_platform.genotypes.parallel import in_order
from genomic_platform.genotypes.quality.duplicates import close_pairs, duplicate_variants, groups_of
from genomic_platform.genotypes.quality.line_quality import autosomal, line_notes, line_quality, ratio
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.schemas.genotypes import GENOTYPE_QC


class Fault(NamedTuple):
    """Which variants or lines a fault applies to, and the words for one of them."""

    applies: np.ndarray
    words: Callable[[int], str]


def genotype_qc(table: GenotypeTable, *, min_variant_call_rate: float = 0.5, min_line_call_rate: float = 0.5,
                min_allele_frequency: float = 0.0, min_hwe_p: float = 0.0, max_variant_heterozygosity: float = 1.0,
                max_line_heterozygosity: float = 1.0, drop_duplicate_variants: bool = False,
                identical_line_ibs: float = 0.99,
                declared_inbreeding: Mapping[str, float] | None = None) -> pl.DataFrame:
    """What is kept and why not (contract GENOTYPE_QC): one row per variant and per line.

    Lines go first; what is said of variants is among the lines kept. Lines that are surprising or the same as another
    are noted, never removed.

    Parameters
    ----------
    min_variant_call_rate, min_line_call_rate : 0–1; below it a variant or line is removed.
    min_allele_frequency : 0–0.5; variants whose rarer allele is below it are removed. Monomorphic ones always are.
    min_hwe_p : 0–1; variants whose Hardy–Weinberg p-value given the panel's inbreeding is below it are removed.
    max_variant_heterozygosity, max_line_heterozygosity : 0–1; with a greater share of heterozygous calls either goes.
    drop_duplicate_variants : remove variants that repeat an earlier one that is kept (`duplicates.duplicate_variants`).
    identical_line_ibs : 0–1; lines with a greater identity by state are noted as the same.
    declared_inbreeding : inbreeding, 0–1, that a line should show; lines without are held to the panel.
    """
    lines = line_quality(table)
    line_reasons = _reasons(table.n_lines, [
        _below("call rate", lines["call_rate"], min_line_call_rate),
        _above("heterozygosity", lines["heterozygosity"], max_line_heterozygosity)])
    kept_N = np.array([reason is None for reason in line_reasons])
    lines = lines.with_columns(note=pl.Series(line_notes(lines, declared_inbreeding), dtype=pl.String),
                               same_as=_same_line(table, kept_N, identical_line_ibs))

    variants = _variant_quality(table, kept_N if kept_N.any() else np.ones_like(kept_N))
    minor = variants.select(pl.min_horizontal("alt_frequency", 1 - pl.col("alt_frequency"))).to_series()
    reasons = _reasons(table.n_variants, [
        Fault((variants["call_rate"] == 0).to_numpy(), lambda _: "no call"),
        Fault((minor == 0).to_numpy(), lambda _: "monomorphic"),
        _below("call rate", variants["call_rate"], min_variant_call_rate),
        _below("rare: minor allele frequency", minor, min_allele_frequency),
        _above("heterozygosity", variants["heterozygosity"], max_variant_heterozygosity),
        _below("Hardy–Weinberg p given inbreeding", variants["hwe_p_value_inbred"], min_hwe_p, ".1e")])
    lines_kept = [line for line, kept in zip(table.lines, kept_N, strict=True) if kept]
    repeats = duplicate_variants(table if len(lines_kept) in (0, table.n_lines) else table.select(None, lines_kept))
    variants = _with_repeats(variants, repeats)
    if drop_duplicate_variants:
        for row, first in repeats.select("row", "same_as_row").iter_rows():
            if reasons[row] is None and reasons[first] is None:
                reasons[row] = variants["note"][row]
    return GENOTYPE_QC.conform(pl.concat([_rows("variant", variants, reasons), _rows("line", lines, line_reasons)]))


def apply_qc(table: GenotypeTable, qc: pl.DataFrame) -> GenotypeTable:
    """The lines and variants of `table` that `qc` kept, in table order.

    Raises ValueError when `qc` is of another table, InputError when it keeps no line or no variant.
    """
    variants, lines = qc_rows(table, qc, "variant"), qc_rows(table, qc, "line")
    mask_M, mask_N = variants["kept"].to_numpy(), lines["kept"].to_numpy()
    if not mask_M.any() or not mask_N.any():
        raise InputError([Problem(
            "genotypes", "some of each", f"{int(mask_N.sum())} of {len(mask_N)} lines and {int(mask_M.sum())} of "
            f"{len(mask_M)} variants kept by quality control", "lower its thresholds, [genotype_qc] in program.toml")])
    if mask_M.all() and mask_N.all():
        return table
    return table.select(mask_M, None if mask_N.all() else lines["id"].filter(lines["kept"]).to_list())


def qc_rows(table: GenotypeTable, qc: pl.DataFrame, kind: str) -> pl.DataFrame:
    """The QC rows of `kind` (variant | line) in the order of the table, also where variants share an id.

    Raises ValueError when `qc` is of another table.
    """
    if qc.height != table.n_lines + table.n_variants:
        raise ValueError(f"the QC table has {qc.height} rows; expected one for each of {table.n_lines} lines and "
                         f"{table.n_variants} variants")
    ids = table.variants["variant_id"] if kind == "variant" else pl.Series(table.lines, dtype=pl.String)
    # the contract sorts by id and leaves equal ids in table order: the same stable sort of the table's gives the places
    order = ids.to_frame("id").select(pl.arg_sort_by("id", maintain_order=True)).to_series()
    rows = qc.filter(kind=kind)
    if not rows["id"].equals(ids.gather(order)):
        raise ValueError(f"the QC table names other {kind}s than the genotypes; make it from these genotypes")
    return rows.with_columns(order.alias("_place")).sort("_place").drop("_place")


def _variant_quality(table: GenotypeTable, kept_N: np.ndarray) -> pl.DataFrame:
    """Each variant among the lines kept: columns of GENOTYPE_QC, in table order."""
    counts_3M, autosomal_M = _counts(table, kept_N), autosomal(table.variants)
    called_M, het_M = counts_3M.sum(axis=0), counts_3M[1]
    plain_M = exact_p_values(*counts_3M)
    inbred_M = exact_p_values(*counts_3M, inbreeding=panel_inbreeding(*counts_3M[:, autosomal_M]))
    plain_M[~autosomal_M] = inbred_M[~autosomal_M] = np.nan  # proportions of other chromosomes depend on the sexes
    return pl.DataFrame({
        "id": table.variants["variant_id"], "call_rate": called_M / kept_N.sum(),
        "alt_frequency": ratio(het_M + 2 * counts_3M[2], 2 * called_M), "heterozygosity": ratio(het_M, called_M),
        "inbreeding": 1 - ratio(het_M, expected_heterozygotes(*counts_3M)),
        "hwe_p_value": plain_M, "hwe_p_value_inbred": inbred_M}).fill_nan(None)


def _counts(table: GenotypeTable, kept_N: np.ndarray) -> np.ndarray:
    """Homozygous reference, heterozygous and homozygous ALT calls among the lines kept, int64 (3, M)."""
    if kept_N.all():
        return table.variants.select("hom_ref", "heterozygous", "hom_alt").to_numpy().T
    rows_N = np.flatnonzero(kept_N)
    counts = in_order(lambda block: packing.genotype_counts(packing.take_lines(block[1], rows_N), len(rows_N)),
                      table.packed_blocks())
    return np.concatenate([np.zeros((3, 0), np.int64), *counts], axis=1)


def _same_line(table: GenotypeTable, kept_N: np.ndarray, threshold: float) -> pl.Series:
    """For each line the first of the kept lines that it is the same as; null for that first and for all others."""
    kept = [line for line, keep in zip(table.lines, kept_N, strict=True) if keep]
    pairs = close_pairs(table, threshold).filter(pl.col("line_1").is_in(kept), pl.col("line_2").is_in(kept))
    first_of = {line: first for first, *others in groups_of(kept, pairs) for line in others}
    return pl.Series([first_of.get(line) for line in table.lines], dtype=pl.String)


def _with_repeats(variants: pl.DataFrame, repeats: pl.DataFrame) -> pl.DataFrame:
    """`variants` with what each repeats, as `same_as` and in words as `note`."""
    kind = pl.when("same_calls").then(pl.lit("same calls as ")).otherwise(pl.lit("same position and calls as "))
    swapped = pl.when("swapped").then(pl.lit(", REF and ALT swapped")).otherwise(pl.lit(""))
    words = repeats.select("row", "same_as", note=pl.concat_str(kind, "same_as", swapped))
    return variants.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64)).join(
        words, "row", how="left", maintain_order="left").drop("row")


def _below(what: str, value: pl.Series, bound: float, digits: str = ".3f") -> Fault:
    return Fault((value < bound).fill_null(False).to_numpy(), lambda i: f"{what} {value[i]:{digits}} below {bound:g}")


def _above(what: str, value: pl.Series, bound: float) -> Fault:
    applies = value.is_not_nan() & (value > bound)
    return Fault(applies.fill_null(False).to_numpy(), lambda i: f"{what} {value[i]:.3f} above {bound:g}")


def _reasons(n: int, faults: Sequence[Fault]) -> list[str | None]:
    """The first fault that applies to each of `n` items, in words; None where none does."""
    reasons: list[str | None] = [None] * n
    for fault in reversed(faults):
        for i in np.flatnonzero(fault.applies).tolist():
            reasons[i] = fault.words(i)
    return reasons


def _rows(kind: str, quality: pl.DataFrame, reasons: list[str | None]) -> pl.DataFrame:
    """`quality` in the contract's columns, with null where it says nothing."""
    said = quality.with_columns(kind=pl.lit(kind), reason=pl.Series(reasons, dtype=pl.String)).with_columns(
        kept=pl.col("reason").is_null())
    return said.select(pl.col(name).fill_nan(None) if dtype == pl.Float64 and name in said.columns else
                       pl.col(name) if name in said.columns else pl.lit(None, dtype=dtype).alias(name)
                       for name, dtype in GENOTYPE_QC.schema.items())
