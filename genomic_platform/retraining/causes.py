"""What a published season gives cause for: drift of the inputs or the population, accuracy below what was promised.

A platform fault is none: models trained on swapped alleles would be worse. It alerts, and a person repairs the coding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import polars as pl

from genomic_platform.catalogue import ASSETS
from genomic_platform.stores.assets import RELEASE, AssetStore


@dataclass(frozen=True)
class Cause:
    """Why models should be trained again.

    Attributes
    ----------
    kind : drift | accuracy. subject : what drifted (population, inputs), or the trait.
    words : what was seen. how_sure : p-value or interval, in words.
    """

    kind: Literal["drift", "accuracy"]
    subject: str
    words: str
    how_sure: str

    @property
    def name(self) -> str:
        """Its identity within a season."""
        return f"{self.kind}: {self.subject}"


def causes_of(assets: AssetStore, season: str) -> list[Cause]:
    """The season's causes as published at this ref, drift first; none where older code published it."""
    tables = {name: _table(assets, season, name) for name in ("drift_report", "input_drift", "accuracy_promise")}
    return [*_population(tables["drift_report"]), *_inputs(tables["input_drift"]),
            *_accuracy(tables["accuracy_promise"])]


def _table(assets: AssetStore, season: str, asset: str) -> pl.DataFrame | None:
    release = assets.record(RELEASE, season)
    return assets.read(asset, season, ASSETS[asset]) if release and asset in release.inputs else None


def _population(table: pl.DataFrame | None) -> Iterator[Cause]:
    for row in () if table is None else table.filter(decision="new_family").to_dicts():
        yield Cause("drift", "population", row["message"], f"p = {row['p_value']:.3f}, F_ST {row['fst']:.3f}")


def _inputs(table: pl.DataFrame | None) -> Iterator[Cause]:
    shifted = pl.DataFrame() if table is None else table.filter(decision="shifted")
    if shifted.height:
        names = shifted.sort("p_adjusted")["feature"].to_list()
        yield Cause("drift", "inputs", f"{len(names)} environment features shifted: {', '.join(names[:5])}"
                    + (" and others" if len(names) > 5 else ""),
                    f"corrected p from {shifted['p_adjusted'].min():.3f}")


def _accuracy(table: pl.DataFrame | None) -> Iterator[Cause]:
    for row in () if table is None else table.filter(level="season", verdict="below").to_dicts():
        yield Cause("accuracy", row["trait"], row["message"],
                    f"r = {row['realised']:.3f}, promised {row['lower']:.3f} to {row['upper']:.3f}")
