"""Figures of the monitored population: where it moved, and how near its lines are to those learned from."""

from __future__ import annotations

import dagster as dg
import polars as pl

from genomic_platform.genotypes.population.clusters import KIN
from genomic_platform.results.plots import COLOURS, MUTED, _figure, _label, _markdown

_ALPHA = 0.05


def population_shift(table: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """F_ST by chromosome and shift by component (contract POPULATION_SHIFT), those with p ≤ 0.05 in another colour."""
    figure, axes = _figure(2)
    for ax, part, title, unit in zip(axes, ("chromosome", "component"), ("by chromosome", "by component"),
                                     ("F_ST, new against reference", "difference of means, sd"), strict=True):
        own = table.filter(part=part).drop_nulls("shift")
        moved = (own["p_value"].fill_null(1) <= _ALPHA).to_list()
        ax.bar(range(own.height), own["shift"], color=[COLOURS[1] if m else COLOURS[2] for m in moved])
        ax.set_xticks(range(own.height), own["name"].to_list(), rotation=90 if own.height > 8 else 0)
        ax.axhline(0, color=MUTED, linewidth=.8)
        _label(ax, f"{title}: {sum(moved)} of {own.height} with p ≤ {_ALPHA}", part, unit)
    return _markdown(figure, "shift of the population by chromosome and component")


def closest_relatives(trust: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """Relationship with the closest line in training, lines with and without a record (contract LINE_TRUST)."""
    figure, (ax,) = _figure(1)
    for phenotyped, colour, label in ((True, COLOURS[2], "with a record"), (False, COLOURS[1], "without")):
        own = trust.filter(phenotyped=phenotyped)["closest_relationship"].drop_nulls()
        if len(own):
            ax.hist(own, bins=30, range=(-.2, 1), color=colour, alpha=.6, label=f"{label} ({len(own):,})")
    ax.axvline(KIN, color=MUTED, linewidth=.8, linestyle="--")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize=7, frameon=False)
    _label(ax, f"kin from {KIN} on", "relationship with the closest line in training", "lines")
    return _markdown(figure, "relationship with the closest line in training")
