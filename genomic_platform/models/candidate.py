"""A recipe fitted at a season, with the values it gives, so that the next season can score it without refitting."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from genomic_platform.genotypes.qc import apply_qc
from genomic_platform.genotypes.relationship_table import relationship_array
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.protocol import FittedModel, TrainingSet
from genomic_platform.models.recipes import load_fitted, load_recipe
from genomic_platform.schemas.predictions import VALUES


def training_set_of(season: str, training_set: pl.DataFrame, genotype_panel: GenotypeTable, genotype_qc: pl.DataFrame,
                    relationship_matrix: pl.DataFrame, environment_features: pl.DataFrame) -> TrainingSet:
    """What a model may learn from at the season, from the season's tables as they are stored."""
    return TrainingSet(season, training_set, apply_qc(genotype_panel, genotype_qc),
                       relationship_array(relationship_matrix), environment_features)


def fit_candidate(recipe: str, known: TrainingSet, seed: int) -> FittedCandidate:
    """Fit a recipe, and have the values it gives of all known lines."""
    model = load_recipe(recipe).fit(known, seed=seed)
    return FittedCandidate(model, model.predict(known.genotypes, known.environment_features))


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
