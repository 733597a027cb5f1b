"""Figures of the page on quality of genotypes: each takes QC rows (contract GENOTYPE_QC) and shows one thing.

The page and its tables are in `qc_page`, the drawing in `svg`. Nothing is decided here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape

import numpy as np
import polars as pl

from genomic_platform.errors import counted
from genomic_platform.genotypes.chromosomes import UNPLACED
from genomic_platform.genotypes.regions import chromosome_key
from genomic_platform.results import svg

MOST_POINTS, MOST_CHROMOSOMES = 4000, 30
QQ_TOP = 30.0  # −log₁₀ p at which the axis ends: the plain test of an inbred panel goes to 300 and hides all else
KEPT, REMOVED, ODD = "a", "muted", "b"


def allele_frequencies(variants: pl.DataFrame, bound: float) -> str:
    minor = variants.with_columns(minor=pl.min_horizontal("alt_frequency", 1 - pl.col("alt_frequency")))
    median = minor.filter("kept")["minor"].median()
    caption = f"Half of the variants kept have a rarer allele below {median:.3f}." if median is not None else ""
    return svg.histogram("Allele-frequency spectrum", _by_kept(minor, "minor"), 0, 0.5,
                         ("minor allele frequency", "variants"), caption, bounds=[bound])


def call_rates(rows: pl.DataFrame, what: str, bound: float) -> str:
    low = min(0.9, np.floor(10 * (rows["call_rate"].quantile(0.005) or 0)) / 10)
    lowest = rows["call_rate"].min()
    below = rows.filter(pl.col("call_rate") < low).height
    caption = (f"Lowest {lowest:.3f}, median {rows['call_rate'].median():.3f}."
               + (f" {below:,} below {low:g} stand in the first bar." if below else ""))
    return svg.histogram(f"Call rate of {what}", _by_kept(rows, "call_rate"), low, 1, ("call rate", what), caption,
                         bounds=[bound])


def heterozygosity_against_call_rate(lines: pl.DataFrame) -> str:
    """Where contaminated and failed samples stand out from a panel."""
    shown = lines.drop_nulls("heterozygosity")
    x = svg.x_scale(min(0.9, float(shown["call_rate"].min() or 0)), 1)  # type: ignore[arg-type]
    y = svg.y_scale(0, 1.08 * max(float(shown["heterozygosity"].max() or 0), 0.02))  # type: ignore[arg-type]
    odd = shown.filter(pl.col("note").is_not_null())
    usual = shown.filter(pl.col("note").is_null())
    usual = usual.gather_every(max(1, -(-usual.height // MOST_POINTS)))
    groups = ((KEPT, "line", usual.filter("kept")), (REMOVED, "removed", usual.filter(~pl.col("kept"))))
    present = {name: word for name, word, own in (*groups, (ODD, "stands out", odd)) if own.height}
    marks = "".join(svg.dots(name, x(own["call_rate"].to_numpy()), y(own["heterozygosity"].to_numpy()))
                    for name, _, own in groups)
    marks += svg.named_dots(ODD, x(odd["call_rate"].to_numpy()), y(odd["heterozygosity"].to_numpy()),
                            [f"{line}: {note}" for line, note in odd.select("id", "note").iter_rows()])
    caption = (f"{counted(odd.height, 'line')} off the rest: point at one for its name, or see the table below."
               if odd.height else "No line stands out from the panel.")
    return svg.figure("Heterozygosity of lines", marks, x, y, ("call rate", "share of heterozygous calls"), caption,
                      present)


def inbreeding(lines: pl.DataFrame, panel: float | None) -> str:
    f_N = lines["inbreeding"].drop_nulls().to_numpy()
    low = min(-0.2, np.floor(10 * np.quantile(f_N, 0.005)) / 10) if len(f_N) else 0
    caption = "Method of moments, against the panel's allele frequencies: 0 outbred, 1 fully inbred."
    caption += f" Panel (dashed) {panel:.3f}." if panel is not None else ""
    return svg.histogram("Inbreeding of lines", _by_kept(lines, "inbreeding"), max(low, -1), 1, ("F", "lines"), caption,
                         bounds=[] if panel is None else [panel])


def hardy_weinberg(variants: pl.DataFrame, panel: float | None) -> str:
    """Observed against expected p-values of the variants that vary, both tests, with the 95 % band of a uniform."""
    varying = variants.filter(pl.col("alt_frequency").is_between(0, 1, closed="none"))
    series = {"c": ("plain test", varying["hwe_p_value"]), "a": ("given inbreeding", varying["hwe_p_value_inbred"])}
    n = int(varying["hwe_p_value_inbred"].count())
    if not n:
        return ""
    rank_K = np.unique(np.geomspace(1, n, 500).astype(np.int64))
    expected_K = -np.log10((rank_K - 0.5) / n)
    seen = {name: np.minimum(-np.log10(np.maximum(np.sort(p.drop_nulls().to_numpy())[rank_K - 1], 1e-300)), 2 * QQ_TOP)
            for name, (_, p) in series.items()}
    top = min(QQ_TOP, 1.1 * max(expected_K[0] + 1, *(values.max() for values in seen.values())))
    x, y = svg.x_scale(0, expected_K[0]), svg.y_scale(0, top)
    spread_K = 1.96 * np.sqrt(rank_K * (n - rank_K + 1) / ((n + 1) ** 2 * (n + 2)))  # order statistics of a uniform
    mean_K = rank_K / (n + 1)
    band = svg.area(x(expected_K), y(-np.log10(np.minimum(mean_K + spread_K, 1))),
                    y(-np.log10(np.maximum(mean_K - spread_K, mean_K / 40))))  # the smallest's 2.5 % quantile: 1/40 n
    marks = band + svg.line("rule", x(expected_K), y(expected_K))
    marks += "".join(svg.dots(name, x(expected_K), y(values), 4, 0.8) for name, values in seen.items())
    beyond = (varying["hwe_p_value"] < 10 ** -QQ_TOP).sum()
    failing = (varying["hwe_p_value_inbred"] < 1e-6).sum()
    caption = (f"{failing:,} of {n:,} variants have p below 1e-6 given the panel's inbreeding"
               + (f" (F {panel:.3f})" if panel is not None else "") + ". Points above the band have too many or too "
               "few heterozygotes: a bad probe, two loci read as one, or groups of lines.")
    caption += f" Of the plain test, {beyond:,} lie beyond the top edge." if beyond else ""
    return svg.figure("Hardy–Weinberg proportions", marks, x, y, ("expected −log₁₀ p", "observed −log₁₀ p"), caption,
                      {name: word for name, (word, _) in series.items()})


def missing_by_chromosome(chromosomes: pl.Series, variants: pl.DataFrame) -> str:
    """Share of calls missing on each chromosome, with its variants, as bars to the right."""
    unplaced = chromosome_key().is_in(list(UNPLACED))
    named = variants.with_columns(chromosomes.alias("chromosome")).with_columns(
        pl.when(unplaced).then(pl.lit("unplaced")).otherwise("chromosome").alias("chromosome"))
    rows = named.group_by("chromosome").agg(pl.len().alias("variants"), missing=1 - pl.col("call_rate").mean())
    rows = sorted(rows.iter_rows(), key=lambda row: (row[0] == "unplaced", _natural(row[0])))
    most = max((missing for *_, missing in rows), default=0) or 1
    left_out = len(rows) - MOST_CHROMOSOMES
    if left_out > 0:
        rows = sorted(sorted(rows, key=lambda row: -row[1])[:MOST_CHROMOSOMES], key=lambda row: _natural(row[0]))
    lines = "".join(f"<tr><td>{escape(name)}<td class=n>{n:,}<td class=n>{missing:.2%}<td class=wide>"
                    f"<span class=share><i style='width:{100 * missing / most:.1f}%'></i></span>"
                    for name, n, missing in rows)
    caption = f"The {MOST_CHROMOSOMES} of {len(rows) + left_out:,} with most variants." if left_out > 0 else ""
    return ("<figure><h3>Missing calls by chromosome</h3><div class=scroll><table><tr><th>chromosome<th class=n>"
            f"variants<th class=n>missing<th>{lines}</table></div><figcaption>{caption}</figcaption></figure>")


def removals(removed: Mapping[str, int], total: int, what: str) -> str:
    """Bars of how many were removed for each reason."""
    if not removed:
        return f"<p>None of the {total:,} {what} was removed.</p>"
    most = max(removed.values())
    lines = "".join(f"<tr><td>{escape(reason)}<td class=n>{count:,}<td class=n>{count / total:.1%}<td class=wide>"
                    f"<span class=share><i class=b style='width:{100 * count / most:.1f}%'></i></span>"
                    for reason, count in removed.items())
    return (f"<div class=scroll><table><tr><th>{escape(what)} removed for<th class=n>count<th class=n>share<th>"
            f"{lines}</table></div>")


def _by_kept(rows: pl.DataFrame, column: str) -> list[tuple[str, str, np.ndarray]]:
    return [(name, word, rows.filter(pl.col("kept") == kept)[column].drop_nulls().to_numpy())
            for name, word, kept in ((KEPT, "kept", True), (REMOVED, "removed", False))]


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part]
