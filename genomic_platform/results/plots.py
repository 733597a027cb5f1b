"""Small figures and tables for asset pages: numbers in, Markdown out. No figure computes what it does not show."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg
import numpy as np
import polars as pl

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#1f2933", "#7b8794", "#e4e7eb"
COLOURS = ("#2f6f4f", "#c2703d", "#3c6997", "#8c5a9e", "#b8a13a", "#5f7d8c")
MAX_PANELS = 6


def _figure(panels: int, width: float = 3.3, height: float = 2.7) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    panels = max(1, min(panels, MAX_PANELS))
    columns = min(panels, 2) if panels > 1 else 1
    rows = -(-panels // columns)
    size = (width * columns + (1.2 if panels == 1 else 0), height * rows)
    # Fixed margins: a constrained layout draws everything twice, and ten figures a season would outweigh training.
    figure = Figure(figsize=size, dpi=90)
    figure.subplots_adjust(left=.65 / size[0], right=1 - .12 / size[0], bottom=.48 / size[1], top=1 - .3 / size[1],
                           wspace=.32, hspace=.5)
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(panels)]
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["left", "bottom"]].set_color(MUTED)
        ax.tick_params(colors=INK, labelsize=8)
        ax.grid(True, color=GRID, linewidth=.6)
        ax.set_axisbelow(True)
    return figure, axes


def _label(ax: Axes, title: str, x: str, y: str) -> None:
    ax.set_title(title, fontsize=9, color=INK, loc="left")
    ax.set_xlabel(x, fontsize=8, color=INK)
    ax.set_ylabel(y, fontsize=8, color=INK)


def _markdown(figure: Figure, alt: str) -> dg.MarkdownMetadataValue:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return dg.MetadataValue.md(f"![{alt}](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})")


def markdown_table(table: pl.DataFrame, digits: int = 3) -> dg.MarkdownMetadataValue:
    """A table as Markdown; numbers rounded to `digits` decimals, empty cells as –."""
    def cell(value: object) -> str:
        if value is None:
            return "–"
        return f"{value:.{digits}f}" if isinstance(value, float) else str(value)

    header = f"| {' | '.join(table.columns)} |\n|{' --- |' * table.width}\n"
    return dg.MetadataValue.md(header + "\n".join(f"| {' | '.join(map(cell, row))} |" for row in table.iter_rows()))


def allele_frequency_spectrum(alt_frequency_M: np.ndarray) -> dg.MarkdownMetadataValue:
    """Histogram of minor allele frequencies."""
    frequency_M = alt_frequency_M[np.isfinite(alt_frequency_M)]
    figure, (ax,) = _figure(1)
    ax.hist(np.minimum(frequency_M, 1 - frequency_M), bins=25, range=(0, .5), color=COLOURS[0])
    _label(ax, f"{frequency_M.size:,} variants", "minor allele frequency", "variants")
    return _markdown(figure, "allele-frequency spectrum")


def line_quality(qc: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """Heterozygosity of each line against its call rate, removed lines in another colour (contract GENOTYPE_QC)."""
    lines = qc.filter(kind="line")
    figure, (ax,) = _figure(1)
    for kept, colour in ((True, COLOURS[2]), (False, COLOURS[1])):
        shown = lines.filter(pl.col("kept") == kept)
        ax.plot(shown["call_rate"], shown["heterozygosity"], ".", color=colour, alpha=.6, markersize=5)
    removed = lines.filter(~pl.col("kept")).height
    _label(ax, f"{lines.height:,} lines, {removed:,} removed", "call rate", "heterozygosity")
    return _markdown(figure, "heterozygosity of lines against their call rate")


def hardy_weinberg(qc: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """Observed against expected p-values of the exact test given the panel's inbreeding."""
    p_M = np.sort(qc.filter(kind="variant")["hwe_p_value_inbred"].drop_nulls().drop_nans().to_numpy())
    figure, (ax,) = _figure(1)
    expected_M = -np.log10((np.arange(len(p_M)) + 0.5) / max(len(p_M), 1))
    ax.plot(expected_M, -np.log10(np.maximum(p_M, 1e-50)), ".", color=COLOURS[0], markersize=4)
    ax.axline((0, 0), slope=1, color=MUTED, linewidth=.8)
    _label(ax, f"{len(p_M):,} variants, given inbreeding", "expected −log₁₀ p", "observed −log₁₀ p")
    return _markdown(figure, "Hardy–Weinberg p-values")


def relationship(matrix_NN: np.ndarray) -> dg.MarkdownMetadataValue:
    """Histogram of relationships between different lines."""
    upper = matrix_NN[np.triu_indices_from(matrix_NN, k=1)]
    figure, (ax,) = _figure(1)
    ax.hist(upper, bins=60, color=COLOURS[2])
    ax.set_yscale("log")
    _label(ax, f"{matrix_NN.shape[0]} lines", "genomic relationship between two lines", "pairs (log scale)")
    return _markdown(figure, "relationships between lines")


def structure(scores: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """First against second component, the largest families in colour."""
    wide = scores.filter(pl.col("component") <= 2).pivot("component", index=["line_id", "family"], values="score")
    shares = dict(scores.select("component", "variance_share").unique().iter_rows())
    largest = wide["family"].drop_nulls().value_counts(sort=True)["family"].to_list()[: len(COLOURS) - 1]
    figure, (ax,) = _figure(1)
    second = "2" if "2" in wide.columns else "1"
    rest = wide.filter(~pl.col("family").is_in(largest) | pl.col("family").is_null())
    ax.scatter(rest["1"], rest[second], s=9, color=MUTED, alpha=.6, label="other" if largest else None)
    for family, colour in zip(largest, COLOURS, strict=False):
        own = wide.filter(pl.col("family") == family)
        ax.scatter(own["1"], own[second], s=10, color=colour, label=family)
    if largest:
        ax.legend(fontsize=7, frameon=False)
    _label(ax, "population structure", f"component 1 ({shares.get(1, 0):.0%} of variance)",
           f"component {second} ({shares.get(int(second), 0):.0%})")
    return _markdown(figure, "population structure")


def predicted_against_observed(pairs: pl.DataFrame, unit: dict[str, str]) -> dg.MarkdownMetadataValue:
    """One panel a trait: published prediction against the line's mean (columns trait, predicted, observed, known)."""
    traits = pairs["trait"].unique().sort().to_list()[:MAX_PANELS]
    figure, axes = _figure(len(traits))
    for ax, trait in zip(axes, traits, strict=False):
        for known, colour, label in ((True, COLOURS[0], "known"), (False, COLOURS[1], "new")):
            own = pairs.filter(pl.col("trait") == trait, pl.col("known") == known)
            if own.height:
                ax.scatter(own["predicted"], own["observed"], s=8, color=colour, alpha=.7, label=label)
        if pairs.filter(pl.col("trait") == trait)["known"].n_unique() > 1:
            ax.legend(fontsize=7, frameon=False)
        _label(ax, trait, f"predicted ({unit.get(trait) or '–'})", "observed")
    return _markdown(figure, "predicted against observed")


def accuracy_over_seasons(scores: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """Forward predictive ability by season, one line a trait (columns season, trait, r_all)."""
    figure, (ax,) = _figure(1)
    for trait, colour in zip(scores["trait"].unique().sort(), COLOURS * 4, strict=False):
        own = scores.filter(pl.col("trait") == trait).sort("season").drop_nulls("r_all")
        ax.plot(own["season"].to_list(), own["r_all"].to_list(), marker="o", markersize=4, color=colour, label=trait)
    ax.set_ylim(min(0, scores["r_all"].min() or 0), 1)  # type: ignore[type-var]
    ax.legend(fontsize=7, frameon=False, loc="lower right")
    _label(ax, "forward predictive ability", "season scored", "r, all lines")
    return _markdown(figure, "accuracy over seasons")


def cost_over_months(hours: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """Processor time by month, one stack a month, one colour a kind of work (columns month, kind, cpu_h)."""
    figure, (ax,) = _figure(1)
    months = hours["month"].unique().sort().to_list()[-12:]
    base_M = np.zeros(len(months))
    for kind, colour in zip(hours["kind"].unique().sort(), COLOURS, strict=False):
        own = dict(hours.filter(pl.col("kind") == kind).select("month", "cpu_h").iter_rows())
        height_M = np.array([own.get(month, 0.0) for month in months])
        ax.bar(months, height_M, bottom=base_M, color=colour, label=kind, width=.6)
        base_M += height_M
    ax.legend(fontsize=7, frameon=False)
    _label(ax, "processor time", "month (UTC)", "hours")
    return _markdown(figure, "processor time by month and kind of work")


def distribution(values: pl.DataFrame, column: str, unit: dict[str, str]) -> dg.MarkdownMetadataValue:
    """One histogram a trait of `column`."""
    traits = values["trait"].unique().sort().to_list()[:MAX_PANELS]
    figure, axes = _figure(len(traits))
    for ax, trait in zip(axes, traits, strict=False):
        ax.hist(values.filter(pl.col("trait") == trait)[column].drop_nulls(), bins=30, color=COLOURS[0])
        _label(ax, trait, unit.get(trait) or column, "lines")
    return _markdown(figure, column)


def frequency_shift(markers: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """ALT frequency among new lines against the reference, one point a marker (at most 5,000 drawn, evenly spaced).

    Markers whose coding looks swapped (column `suspect`) are all drawn, in another colour.
    """
    figure, (ax,) = _figure(1)
    suspects = markers.filter("suspect")
    for shown, colour, size in ((markers.gather_every(max(1, markers.height // 5000)), COLOURS[2], 3),
                                (suspects, COLOURS[1], 8)):
        ax.scatter(shown["frequency_reference"], shown["frequency_new"], s=size, color=colour, alpha=.5)
    ax.plot([0, 1], [0, 1], color=MUTED, linewidth=.8)
    _label(ax, f"{markers.height:,} markers" + (f", {suspects.height:,} look swapped" if suspects.height else ""),
           "ALT frequency, reference lines", "ALT frequency, new lines")
    return _markdown(figure, "allele frequencies, new against reference")


def top_of(table: pl.DataFrame, columns: Sequence[str], n: int = 10) -> dg.MarkdownMetadataValue:
    """The first `n` rows of some columns as Markdown."""
    return markdown_table(table.select(columns).head(n))
