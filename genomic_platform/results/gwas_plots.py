"""Figures of an association scan: Manhattan and quantile-quantile plots of a GWAS table, as Markdown for asset pages.

The scan itself is `models/gwas.py`'s, the look `plots.py`'s.
"""

from __future__ import annotations

import re
from typing import Any

import dagster as dg
import numpy as np
import polars as pl

from genomic_platform.errors import counted
from genomic_platform.models.gwas import genomic_inflation
from genomic_platform.results.plots import COLOURS, INK, MUTED, _figure, _label, _markdown

LEVEL = 0.05
_DRAWN = 20_000  # of the markers with p > .01; the others are drawn all
_NAMED = 5
_EVEN, _ODD, _FOUND = "#2f6f4f", "#9cbfa9", COLOURS[1]


def manhattan(gwas: pl.DataFrame, trait: str = "") -> dg.MarkdownMetadataValue:
    """−log10 p along the genome: markers found at a false discovery rate of 5 % in colour, the highest peaks named.

    The dashed line is Bonferroni's 5 %. Of markers with p > .01 at most 20,000 are drawn, evenly spaced.
    """
    tested = gwas.drop_nulls("p_value")
    along, middles = _genome(tested)
    figure, (ax,) = _figure(1, width=8.4, height=3.1)
    ax.grid(False, axis="x")
    dull = along.filter(pl.col("p_value") > 0.01)
    shown = pl.concat([dull.gather_every(max(1, dull.height // _DRAWN)), along.filter(pl.col("p_value") <= 0.01)])
    for parity, colour in ((0, _EVEN), (1, _ODD)):
        own = shown.filter(pl.col("chromosome_rank") % 2 == parity)
        ax.scatter(own["place"], own["log_p"], s=4, color=colour, linewidths=0)
    found = along.filter(pl.col("q_value") <= LEVEL)
    ax.scatter(found["place"], found["log_p"], s=13, color=_FOUND, linewidths=.4, edgecolors="white", zorder=3)
    top = float(along["log_p"].max() or 0)  # type: ignore[arg-type]
    if tested.height:
        bonferroni = -np.log10(LEVEL / tested.height)
        top = max(top, bonferroni)
        ax.axhline(bonferroni, color=MUTED, linewidth=.8, linestyle=(0, (5, 4)))
        ax.text(1.0, bonferroni, "Bonferroni 5 %", transform=ax.get_yaxis_transform(), ha="right", va="bottom",
                fontsize=7, color=MUTED, zorder=4,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": .85, "pad": 1})
    for peak in _peaks(found, float(along["place"].max() or 1) / 25):  # type: ignore[arg-type]
        late = peak["place"] > .85 * float(along["place"].max())  # type: ignore[arg-type]
        ax.annotate(peak["variant_id"], (peak["place"], peak["log_p"]), xytext=(-6 if late else 6, 2),
                    textcoords="offset points", fontsize=7, color=INK, ha="right" if late else "left")
    ax.set_ylim(0, 1.1 * top + .2)
    ax.margins(x=.01)
    ax.set_xticks(middles["place"].to_list(), middles["label"].to_list())
    ax.tick_params(axis="x", length=0, labelsize=8 if middles.height <= 25 else 6)
    title = f"{trait}: " if trait else ""
    _label(ax, f"{title}{counted(tested.height, 'marker')}, {found.height:,} found at a false discovery rate of 5 %",
           "chromosome", "−log₁₀ p")
    return _markdown(figure, f"Manhattan plot {trait}".strip())


def quantiles(gwas: pl.DataFrame, trait: str = "") -> dg.MarkdownMetadataValue:
    """Observed against expected −log10 p, the pointwise 95 % band of independent tests, and λ of genomic control."""
    from scipy.special import betaincinv

    p_M = np.sort(gwas["p_value"].drop_nulls().to_numpy())
    m = len(p_M)
    # Even steps on the axis: all of the smallest p-values, and few of the many large ones.
    rank_S = np.unique(np.geomspace(1, max(m, 1), 2000).round().astype(np.int64))[: m or 0]
    expected_S = -np.log10((rank_S - 0.5) / max(m, 1))
    observed_S = -np.log10(np.maximum(p_M[rank_S - 1], 1e-300))
    low_S, high_S = (-np.log10(betaincinv(rank_S, m - rank_S + 1, q)) for q in (.975, .025))
    figure, (ax,) = _figure(1, width=2.9, height=3.3)
    ax.fill_between(expected_S, low_S, high_S, color=COLOURS[2], alpha=.15, linewidth=0, label="95 %, no effects")
    ax.plot([0, max(expected_S, default=1)], [0, max(expected_S, default=1)], color=MUTED, linewidth=.8)
    ax.scatter(expected_S, observed_S, s=7, color=COLOURS[0], linewidths=0, zorder=3)
    ax.set_xlim(0, None)
    ax.set_ylim(0, None)
    ax.legend(fontsize=7, frameon=False, loc="upper left")
    _label(ax, f"{trait + ': ' if trait else ''}λ = {genomic_inflation(p_M):.2f}", "−log₁₀ p expected",
           "−log₁₀ p observed")
    return _markdown(figure, f"quantiles of p {trait}".strip())


def _genome(tested: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Markers with their place along the genome (columns place, chromosome_rank, log_p), and where names stand.

    Chromosomes come in the order of their numbers, with gaps between them of a hundredth of the genome.
    """
    names = sorted(tested["chromosome"].unique().to_list(), key=_natural)
    ranks = pl.DataFrame({"chromosome": names, "chromosome_rank": range(len(names))},
                         schema={"chromosome": pl.String, "chromosome_rank": pl.Int64})
    spans = tested.group_by("chromosome").agg(first=pl.col("position").min(), last=pl.col("position").max())
    spans = ranks.join(spans, on="chromosome", how="left").sort("chromosome_rank").with_columns(
        length=(pl.col("last") - pl.col("first")).cast(pl.Float64))
    gap = max(float(spans["length"].sum()), 1.0) / 100
    spans = spans.with_columns(start=(pl.col("length") + gap).cum_sum() - pl.col("length") - gap)
    prefix = _shared_prefix(names)
    along = tested.join(spans, on="chromosome", how="left").with_columns(
        place=pl.col("start") + pl.col("position") - pl.col("first"),
        log_p=-pl.col("p_value").clip(1e-300).log10())
    return along, spans.select(place=pl.col("start") + pl.col("length") / 2,
                               label=pl.col("chromosome").str.slice(len(prefix)))


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts chr2 before chr10, and 2A before 10A."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _shared_prefix(names: list[str]) -> str:
    """Letters that all names begin with, such as `chr`, when something is left of each without them."""
    letters = re.match(r"[A-Za-z_]*", names[0]) if len(names) > 1 else None
    prefix = letters.group() if letters else ""
    return prefix if all(name.startswith(prefix) and len(name) > len(prefix) for name in names) else ""


def _peaks(found: pl.DataFrame, apart: float) -> list[dict[str, Any]]:
    """The best markers at least `apart` from each other along the genome, at most five."""
    peaks: list[dict[str, Any]] = []
    for row in found.sort("p_value").iter_rows(named=True):
        if all(abs(row["place"] - peak["place"]) > apart for peak in peaks):
            peaks.append(row)
        if len(peaks) == _NAMED:
            break
    return peaks
