"""Quality control of genotypes as one page: self-contained, printable, no script, at home on a phone and in the dark.

What is kept and why is decided in `genotypes/quality/qc.py`, the figures are `qc_figures`'; tables and words are here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import polars as pl

from genomic_platform.errors import counted
from genomic_platform.genotypes.quality.qc import qc_rows
from genomic_platform.genotypes.quality.qc_summary import QcSummary, qc_summary
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.results import qc_figures as figures
from genomic_platform.results.svg import FIGURE_STYLE

MOST_ROWS = 25
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:66rem;margin:2rem auto;
padding:0 1.25rem}h1{font-size:1.6rem;margin:0;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2.4rem 0 .7rem;border-bottom:1px solid var(--line);padding-bottom:.2rem}
.sub{color:var(--soft);margin:.2rem 0 1.2rem}.tiles{display:grid;gap:.7rem;
grid-template-columns:repeat(auto-fit,minmax(9.2rem,1fr))}
.tiles div{background:var(--panel);border:1px solid var(--line);border-radius:.5rem;padding:.6rem .8rem}
.tiles b{display:block;font-size:1.35rem;line-height:1.25;font-weight:600;
font-variant-numeric:tabular-nums}.tiles span{color:var(--soft);font-size:.85rem}
.figures{display:grid;gap:2rem 2.2rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr))}
table{border-collapse:collapse;width:100%;margin:.2rem 0 .6rem}th,td{text-align:left;padding:.22rem .9rem .22rem 0;
vertical-align:top;border-bottom:1px solid var(--faint)}th{font-weight:600;color:var(--soft);font-size:.87rem}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}td.wide{width:38%;min-width:5rem}
.share{display:block;background:var(--faint);border-radius:2px;height:.75rem;margin-top:.35rem}
td.id{white-space:nowrap}.share i{display:block;height:100%;background:var(--a);border-radius:2px}
.share i.b{background:var(--b)}
.scroll{overflow-x:auto}.more{color:var(--soft);font-size:.87rem;margin-top:0}ul{padding-left:1.2rem}li{margin:.2rem 0}
@media print{body{margin:0;max-width:none;font-size:11px}h2{break-after:avoid}}
"""


def qc_page(title: str, table: GenotypeTable, qc: pl.DataFrame, *, batches: pl.DataFrame | None = None,
            thresholds: Mapping[str, Any] | None = None) -> str:
    """The whole page as HTML.

    Parameters
    ----------
    title : what the genotypes are, for a person.
    qc : contract GENOTYPE_QC, made from `table`.
    batches : a report on batches, shown as it is; columns batch, measure, value become one column a batch.
    thresholds : those of `genotype_qc`, listed and drawn where a figure has their axis.

    Raises
    ------
    ValueError : `qc` is of another table.
    """
    variants, lines, summary = qc_rows(table, qc, "variant"), qc_rows(table, qc, "line"), qc_summary(table, qc)
    bounds, panel = dict(thresholds or {}), summary["panel_inbreeding"]
    body = [
        f"<h1>{escape(title)}</h1><p class=sub>Quality control of {lines.height:,} lines at {variants.height:,} "
        f"variants</p>", _tiles(summary),
        "<h2>Worth a look</h2>", _list(findings(summary)),
        "<h2>Removed, and why</h2>", figures.removals(summary["variants_removed"], variants.height, "variants"),
        figures.removals(summary["lines_removed"], lines.height, "lines"), _thresholds(bounds),
        "<h2>Variants</h2><div class=figures>",
        figures.allele_frequencies(variants, bounds.get("min_allele_frequency", 0)),
        figures.hardy_weinberg(variants.filter("kept"), panel),
        figures.call_rates(variants, "variants", bounds.get("min_variant_call_rate", 0)),
        figures.missing_by_chromosome(table.variants["chromosome"], variants),
        "</div><h2>Lines</h2><div class=figures>", figures.heterozygosity_against_call_rate(lines),
        figures.inbreeding(lines, panel), figures.call_rates(lines, "lines", bounds.get("min_line_call_rate", 0)),
        _identical(lines), "</div>", _noted(lines), _duplicates(table, variants),
        "" if batches is None else "<h2>Batches</h2>" + _table(_by_batch(batches), most=200)]
    return ("<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width,"
            "initial-scale=1'><meta name=color-scheme content='light dark'>"
            f"<title>{escape(title)}: quality of genotypes</title><style>{FIGURE_STYLE}{_STYLE}</style>"
            f"<body>{''.join(body)}</body></html>\n")


def findings(summary: QcSummary) -> list[str]:
    """What a person should look at first, in sentences."""
    said = []
    if count := summary["lines_noted"]:
        said.append(f"{counted(count, 'line')} more or less heterozygous than expected: mixed seed, hybrids, swapped "
                    "samples?")
    if groups := summary["identical_line_groups"]:
        said.append(f"{counted(summary['lines_in_groups'], 'line')} identical or nearly so to another, in "
                    f"{counted(groups, 'group')}. All are kept; cross-validation keeps each group together.")
    if repeats := summary["duplicate_variants"]:
        said.append(f"{counted(repeats, 'variant')} ({repeats / summary['variants']:.1%}) with the calls of an earlier "
                    "one of the same chromosome: time and no information.")
    if failing := summary["hwe_inbred_below_1e_6"]:
        said.append(f"{counted(failing, 'variant')} kept ({failing / max(summary['variants_kept'], 1):.1%}) out of "
                    "Hardy–Weinberg proportions though the panel's inbreeding is allowed for (p below 1e-6).")
    if not summary["sexes"].startswith("not applicable"):
        said.append(f"Sex chromosomes: {summary['sexes']}.")
    return said or ["Nothing stands out."]


def _tiles(summary: QcSummary) -> str:
    def shown(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    tiles = {f"variants kept of {summary['variants']:,}": f"{summary['variants_kept']:,}",
             f"lines kept of {summary['lines']:,}": f"{summary['lines_kept']:,}",
             "mean call rate": shown(summary["mean_call_rate"]),
             "mean heterozygosity": shown(summary["mean_heterozygosity"]),
             "panel inbreeding F": shown(summary["panel_inbreeding"]),
             "mean minor allele frequency": shown(summary["mean_minor_allele_frequency"])}
    return ("<div class=tiles>" + "".join(f"<div><b>{value}</b><span>{name}</span></div>"
                                          for name, value in tiles.items()) + "</div>")


def _thresholds(bounds: Mapping[str, Any]) -> str:
    if not bounds:
        return ""
    words = ", ".join(f"{name.replace('_', ' ')} {str(value).lower() if isinstance(value, bool) else f'{value:g}'}"
                      for name, value in bounds.items() if isinstance(value, bool | int | float))
    return f"<p class=more>Thresholds: {escape(words)}.</p>"


def _noted(lines: pl.DataFrame) -> str:
    rows = lines.filter(pl.col("note").is_not_null() | ~pl.col("kept")).sort(
        "kept", pl.col("heterozygosity_z").abs(), descending=[False, True], nulls_last=True)
    return "<h2>Lines that stand out or were removed</h2>" + _table(rows.select(
        line="id", call_rate="call_rate", heterozygosity="heterozygosity", F="inbreeding",
        what=pl.coalesce("reason", "note")))


def _identical(lines: pl.DataFrame) -> str:
    groups = lines.drop_nulls("same_as").group_by("same_as", maintain_order=True).agg("id").select(
        line="same_as", same=pl.col("id").list.join(", ")).rename({"same": "same as"})
    return f"<figure><h3>Identical or nearly identical lines</h3>{_table(groups)}</figure>"


def _duplicates(table: GenotypeTable, variants: pl.DataFrame) -> str:
    place = pl.when(pl.col("position") > 0).then(pl.col("position").cast(pl.String))
    repeats = variants.with_columns(table.variants["chromosome"], table.variants["position"]).drop_nulls("same_as")
    return "<h2>Variants that repeat another</h2>" + _table(repeats.select(
        variant="id", chromosome="chromosome", position=place, what="note",
        decision=pl.when("kept").then(pl.lit("kept")).otherwise(pl.lit("removed"))))


def _by_batch(batches: pl.DataFrame) -> pl.DataFrame:
    """One row a measure and one column a batch, where the report is long."""
    if set(batches.columns) != {"batch", "measure", "value"}:
        return batches
    return batches.with_columns(pl.col("measure").str.replace_all("_", " ")).pivot(
        "batch", index="measure", values="value", maintain_order=True)


def _table(rows: pl.DataFrame, most: int = MOST_ROWS) -> str:
    """The first `most` rows; the first column names what a row is."""
    if rows.is_empty():
        return "<p>None.</p>"
    kinds = ["id", *(("n" if dtype.is_numeric() else "t") for dtype in rows.dtypes[1:])]
    head = "".join(f"<th class={kind}>{_words(name)}" for name, kind in zip(rows.columns, kinds, strict=True))
    cells = ("<tr>" + "".join(f"<td class={kind}>{_cell(value)}" for value, kind in zip(row, kinds, strict=True))
             for row in rows.head(most).iter_rows())
    more = f"<p class=more>The first {most} of {rows.height:,}; all are in the QC table.</p>"
    return (f"<div class=scroll><table><tr>{head}{''.join(cells)}</table></div>"
            + (more if rows.height > most else ""))


def _list(items: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}' for item in items)}</ul>"


def _words(name: str) -> str:
    return escape(name.replace("_", " "))


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) > 1 else f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else escape(str(value))
