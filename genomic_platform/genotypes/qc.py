"""Quality control of genotypes: which variants and lines are used, and why the others are not.

The decision is a table that a person can read; nothing is imputed here and nothing is removed silently.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from genomic_platform.genotypes import packing
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.schemas.genotypes import GENOTYPE_QC


def genotype_qc(table: GenotypeTable, *, min_variant_call_rate: float = 0.5, min_line_call_rate: float = 0.5,
                min_allele_frequency: float = 0.0) -> pl.DataFrame:
    """What is kept and why not (contract GENOTYPE_QC): one row per variant and per line.

    Lines with too few calls go first; call rates and frequencies of variants are those among the lines kept.

    Parameters
    ----------
    min_variant_call_rate, min_line_call_rate : 0–1; below it a variant or line is removed.
    min_allele_frequency : 0–0.5; variants whose rarer allele is below it are removed. Monomorphic ones always are.
    """
    called_N, het_N = _line_counts(table)
    line_rate_N = called_N / max(table.n_variants, 1)
    line_low_N = line_rate_N < min_line_call_rate
    lines = _rows("line", table.lines, line_rate_N, None, _ratio(het_N, called_N),
                  _reasons([(line_low_N, _too_low("call rate", line_rate_N, min_line_call_rate))], table.n_lines))
    if line_low_N.all():
        counted = table
    else:
        counted = table.select(lines=[line for line, low in zip(table.lines, line_low_N, strict=True) if not low])
    alt_M, called_M, het_M = packing.variant_counts(counted.packed_MB, counted.n_lines)
    rate_M, frequency_M = called_M / counted.n_lines, _ratio(alt_M, 2 * called_M)
    minor_M = np.minimum(frequency_M, 1 - frequency_M)
    with np.errstate(invalid="ignore"):
        reasons = _reasons([
            (called_M == 0, ["no call"] * len(alt_M)),
            (minor_M == 0, ["monomorphic"] * len(alt_M)),
            (rate_M < min_variant_call_rate, _too_low("call rate", rate_M, min_variant_call_rate)),
            (minor_M < min_allele_frequency, _too_low("rare: minor allele frequency", minor_M, min_allele_frequency)),
        ], len(alt_M))
    variants = _rows("variant", counted.variants["variant_id"].to_list(), rate_M, frequency_M, _ratio(het_M, called_M),
                     reasons)
    return GENOTYPE_QC.conform(pl.concat([variants, lines]))


def apply_qc(table: GenotypeTable, qc: pl.DataFrame) -> GenotypeTable:
    """The lines and variants of `table` that `qc` kept, in table order.

    Raises ValueError when `qc` is of another table, or keeps no line or no variant.
    """
    kept = {kind: set(qc.filter(kind=kind, kept=True)["id"]) for kind in ("line", "variant")}
    if qc.height != table.n_lines + table.n_variants:
        raise ValueError(f"the QC table has {qc.height} rows; expected one for each of {table.n_lines} lines and "
                         f"{table.n_variants} variants")
    if not kept["line"] or not kept["variant"]:
        raise ValueError("quality control kept no line or no variant; lower the call rate or frequency it asks for")
    mask_M = table.variants["variant_id"].is_in(list(kept["variant"])).to_numpy()
    lines = [line for line in table.lines if line in kept["line"]]
    if mask_M.all() and len(lines) == table.n_lines:
        return table
    return table.select(mask_M, None if len(lines) == table.n_lines else lines)


def _line_counts(table: GenotypeTable) -> tuple[np.ndarray, np.ndarray]:
    """Calls and heterozygotes of each line, int64 (N,)."""
    called_N, het_N = np.zeros(table.n_lines, dtype=np.int64), np.zeros(table.n_lines, dtype=np.int64)
    for _, block_mN in table.blocks():
        called_N += (block_mN >= 0).sum(axis=0)
        het_N += (block_mN == 1).sum(axis=0)
    return called_N, het_N


def _ratio(count: np.ndarray, of: np.ndarray) -> np.ndarray:
    return np.divide(count, of, out=np.full(len(count), np.nan), where=of > 0)


def _too_low(what: str, value: np.ndarray, bound: float) -> list[str]:
    return [f"{what} {v:.3f} below {bound:g}" for v in value]


def _reasons(faults: list[tuple[np.ndarray, list[str]]], n: int) -> list[str | None]:
    """The first fault that applies to each of `n` items, in words; None where none does."""
    reasons: list[str | None] = [None] * n
    for applies, words in reversed(faults):
        for i in np.flatnonzero(applies):
            reasons[i] = words[i]
    return reasons


def _rows(kind: str, ids: tuple[str, ...] | list[str], call_rate: np.ndarray, frequency: np.ndarray | None,
          heterozygosity: np.ndarray, reasons: list[str | None]) -> pl.DataFrame:
    return pl.DataFrame({
        "kind": [kind] * len(ids),
        "id": list(ids),
        "kept": [reason is None for reason in reasons],
        "reason": pl.Series(reasons, dtype=pl.String),
        "call_rate": call_rate,
        "alt_frequency": np.full(len(ids), np.nan) if frequency is None else frequency,
        "heterozygosity": heterozygosity,
    }, schema=GENOTYPE_QC.schema).with_columns(pl.col("alt_frequency", "heterozygosity").fill_nan(None))
