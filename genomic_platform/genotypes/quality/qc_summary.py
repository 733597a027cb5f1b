"""Quality control in one dictionary: what was kept, why the rest was not, and what a person should look at.

Read from the QC table alone, but for the sexes; for the shell and the metadata of an asset. Decisions are `qc`'s.
"""

from __future__ import annotations

from typing import TypedDict

import polars as pl

from genomic_platform.genotypes.quality.line_quality import autosomal, sex_report
from genomic_platform.genotypes.quality.qc import qc_rows
from genomic_platform.genotypes.table import GenotypeTable

FAILS_HWE = 1e-6  # customary bound for a first look


class QcSummary(TypedDict):
    """Counts and means, ready for JSON; shares 0–1; of what is kept from `mean_call_rate` on, None where undefined."""

    lines: int
    lines_kept: int
    lines_removed: dict[str, int]  # kind of reason → count
    lines_noted: int
    identical_line_groups: int
    lines_in_groups: int
    variants: int
    variants_kept: int
    variants_removed: dict[str, int]
    duplicate_variants: int
    mean_call_rate: float | None
    mean_heterozygosity: float | None
    mean_minor_allele_frequency: float | None
    panel_inbreeding: float | None
    mean_line_inbreeding: float | None
    hwe_below_1e_6: int
    hwe_inbred_below_1e_6: int
    sexes: str


def qc_summary(table: GenotypeTable, qc: pl.DataFrame) -> QcSummary:
    """What quality control found and decided. Raises ValueError when `qc` is of another table."""
    variants, lines = qc_rows(table, qc, "variant"), qc_rows(table, qc, "line")
    used, used_lines = variants.filter("kept"), lines.filter("kept")
    minor = used.select(pl.min_horizontal("alt_frequency", 1 - pl.col("alt_frequency"))).to_series()
    return {
        "lines": lines.height, "lines_kept": used_lines.height, "lines_removed": removals(lines),
        "lines_noted": lines["note"].count(), "identical_line_groups": lines["same_as"].drop_nulls().n_unique(),
        "lines_in_groups": lines["same_as"].count() + lines["same_as"].drop_nulls().n_unique(),
        "variants": variants.height, "variants_kept": used.height, "variants_removed": removals(variants),
        "duplicate_variants": variants["same_as"].count(),
        "mean_call_rate": _mean(used["call_rate"]), "mean_heterozygosity": _mean(used_lines["heterozygosity"]),
        "mean_minor_allele_frequency": _mean(minor),
        "panel_inbreeding": _panel_inbreeding(variants.filter(autosomal(table.variants)), used_lines.height),
        "mean_line_inbreeding": _mean(used_lines["inbreeding"]),
        "hwe_below_1e_6": _below(used["hwe_p_value"]),
        "hwe_inbred_below_1e_6": _below(used["hwe_p_value_inbred"]),
        "sexes": _sexes(table)}


def removals(rows: pl.DataFrame) -> dict[str, int]:
    """Kinds of reasons and how many rows were removed for each, most frequent first."""
    counted = rows.drop_nulls("reason").group_by(reason_kind().alias("reason")).len().sort(
        ["len", "reason"], descending=[True, False])
    return dict(counted.iter_rows())


def reason_kind() -> pl.Expr:
    """`reason` without the figures and names of one item: `call rate 0.400 below 0.5` → `call rate below 0.5`."""
    return (pl.col("reason").str.replace(r" [\d.]+(e[-+]?\d+)? (above|below) ", " $2 ")
            .str.replace(r"^(same .*calls) as .*", "$1 as an earlier variant"))


def _panel_inbreeding(variants: pl.DataFrame, n_lines: int) -> float | None:
    """F = 1 − Σ observed / Σ expected heterozygotes, as `hardy_weinberg.panel_inbreeding` has it from the counts."""
    n, p = (pl.col("call_rate") * n_lines).round(), pl.col("alt_frequency")
    expected = (2 * p * (1 - p) * n * 2 * n / (2 * n - 1)).filter(n > 0).sum()
    observed, possible = variants.select(o=(pl.col("heterozygosity") * n).sum(), e=expected).row(0)
    return 1 - observed / possible if possible else None


def _sexes(table: GenotypeTable) -> str:
    report = sex_report(table)
    if report is None:
        return "not applicable: no chromosome is named X"
    one, two, odd = ((report["copies_of_x"] == 1).sum(), (report["copies_of_x"] == 2).sum(), report["note"].count())
    return f"one X: {one} lines; two X: {two}; surprising: {odd}"


def _below(p_values: pl.Series) -> int:
    return p_values.filter(p_values < FAILS_HWE).len()


def _mean(values: pl.Series) -> float | None:
    mean = values.mean()
    return float(mean) if isinstance(mean, float) else None
