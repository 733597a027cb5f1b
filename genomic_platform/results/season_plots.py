"""Figures of what a season brought beside what came before: features, values of two seasons, promises and harvests.

Numbers in, Markdown out, in the look of `plots.py`; nothing is judged here.
"""

from __future__ import annotations

import dagster as dg
import polars as pl

from genomic_platform.results.plots import COLOURS, MAX_PANELS, MUTED, _figure, _label, _markdown

MAX_FEATURES = 25


def effects_by_feature(table: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """Hedges' g of each environment feature, the largest first, shifted ones in colour (contract INPUT_DRIFT)."""
    size = pl.col("effect").abs()
    shown = table.drop_nulls("effect").sort(size, descending=True).head(MAX_FEATURES).reverse()
    figure, (ax,) = _figure(1, width=5.2, height=max(1.6, .19 * shown.height + .9))
    figure.subplots_adjust(left=.36)
    colours = [COLOURS[1] if decision == "shifted" else COLOURS[2] for decision in shown["decision"]]
    ax.barh(shown["feature"].to_list(), shown["effect"].to_list(), color=colours)
    ax.axvline(0, color=MUTED, linewidth=.8)
    ax.tick_params(axis="y", labelsize=7)
    _label(ax, "environments of this season against earlier ones", "difference (standard deviations, g)", "")
    return _markdown(figure, "shift of each environment feature")


def before_and_now(both: pl.DataFrame, unit: dict[str, str]) -> dg.MarkdownMetadataValue:
    """One panel a trait: value a season before against the value now (columns trait, before, now)."""
    traits = both["trait"].unique().sort().to_list()[:MAX_PANELS]
    figure, axes = _figure(len(traits))
    for ax, trait in zip(axes, traits, strict=False):
        own = both.filter(pl.col("trait") == trait)
        ax.scatter(own["before"], own["now"], s=6, color=COLOURS[2], alpha=.5)
        ax.axline((0, 0), slope=1, color=MUTED, linewidth=.8)
        _label(ax, trait, f"published before ({unit.get(trait) or '–'})", "now")
    return _markdown(figure, "values a season before and now")


def promises(table: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """One panel a trait: what each season was promised (grey) and what it realised (contract ACCURACY_PROMISE)."""
    seasons = table.filter(pl.col("level") == "season").drop_nulls("realised")
    traits = seasons["trait"].unique().sort().to_list()[:MAX_PANELS]
    figure, axes = _figure(len(traits))
    for ax, trait in zip(axes, traits, strict=False):
        own = seasons.filter(pl.col("trait") == trait).sort("season")
        at = range(own.height)
        for x, (lower, upper) in zip(at, own.select("lower", "upper").iter_rows(), strict=True):
            if lower is not None:
                ax.plot([x, x], [lower, upper], color=MUTED, linewidth=6, alpha=.45, solid_capstyle="butt")
        colours = [COLOURS[1] if verdict == "below" else COLOURS[0] for verdict in own["verdict"]]
        ax.scatter(list(at), own["realised"].to_list(), s=22, c=colours, zorder=3)
        ax.set_xticks(list(at), own["season"].to_list())
        _label(ax, trait, "season harvested", "r, promised and realised")
    return _markdown(figure, "predictive ability promised and realised")
