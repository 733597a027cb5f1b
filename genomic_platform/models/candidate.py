"""A recipe fitted at a season, with the values it gives, so that the next season can score it without refitting."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from genomic_platform.models.protocol import FittedModel
from genomic_platform.models.recipes import load_fitted
from genomic_platform.schemas.predictions import VALUES


@dataclass(frozen=True)
class FittedCandidate:
    """A fitted model and its values of all lines known at the season (contract VALUES)."""

    model: FittedModel
    values: pl.DataFrame

    def save(self, folder: Path) -> None:
        (folder / "model").mkdir()
        self.model.save(folder / "model")
        VALUES.write(self.values, folder / "values.parquet")

    @classmethod
    def load(cls, folder: Path) -> FittedCandidate:
        return cls(load_fitted(folder / "model"), VALUES.read(folder / "values.parquet"))
