"""A recipe fitted at a season, with the values it gives, so that the next season can score it without refitting."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from genomic_platform.errors import InputError, Problem
from genomic_platform.genotypes.kinship.relationship_table import relationship_array
from genomic_platform.genotypes.quality.qc import apply_qc
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.metering import Meter
from genomic_platform.models.protocol import FittedModel, TrainingSet
from genomic_platform.models.provenance import Provenance
from genomic_platform.models.recipes import load_fitted, load_recipe
from genomic_platform.schemas.predictions import VALUES

PROVENANCE, COST = "provenance.json", "cost.json"
_UNKNOWN = Problem("model", "a record of what it was trained on", "none: it was saved by an earlier version",
                   "run the seasons again: genomic-platform run DIR --force", field=PROVENANCE)


def training_set_of(season: str, training_set: pl.DataFrame, genotype_panel: GenotypeTable, genotype_qc: pl.DataFrame,
                    relationship_matrix: pl.DataFrame, environment_features: pl.DataFrame,
                    pedigree: pl.DataFrame | None = None) -> TrainingSet:
    """What a model may learn from at the season, from the season's tables as they are stored."""
    return TrainingSet(season, training_set, apply_qc(genotype_panel, genotype_qc),
                       relationship_array(relationship_matrix), environment_features, pedigree)


def fit_candidate(recipe: str, known: TrainingSet, seed: int, units: Mapping[str, str], device: str = "cpu",
                  checkpoint: Path | None = None) -> FittedCandidate:
    """Fit a recipe, and have the values it gives of all known lines; `units` of the traits are kept with it."""
    meter = Meter()
    model = load_recipe(recipe).fit(known, seed=seed, device=device, checkpoint=checkpoint)
    values = model.predict(known.genotypes, known.environment_features)
    return FittedCandidate(model, values, Provenance.of(recipe, known, units), meter.cost())


@dataclass(frozen=True)
class FittedCandidate:
    """A fitted model and its values of all lines known at the season (contract VALUES).

    Attributes
    ----------
    provenance : what it takes for granted; None = it was saved before this was kept, and may not score.
    cost : of the fit and its values, as `Meter.cost` gives it.
    """

    model: FittedModel
    values: pl.DataFrame
    provenance: Provenance | None
    cost: Mapping[str, float]

    def score(self, genotypes: GenotypeTable, units: Mapping[str, str]) -> pl.DataFrame:
        """Values for every line of `genotypes` and every trait (contract VALUES).

        Parameters
        ----------
        units : of the traits, as the programme has them now.

        Raises
        ------
        InputError : markers, alleles, units, coding or schema are not those of the training; all of them named.
        """
        problems = [_UNKNOWN] if self.provenance is None else self.provenance.mismatches(units)
        try:
            values = self.model.predict(genotypes)
        except InputError as error:
            raise InputError([*problems, *error.problems]) from error
        if problems:
            raise InputError(problems)
        return values

    def save(self, folder: Path) -> None:
        (folder / "model").mkdir()
        self.model.save(folder / "model")
        VALUES.write(self.values, folder / "values.parquet")
        (folder / COST).write_text(json.dumps(self.cost) + "\n")
        if self.provenance is not None:
            self.provenance.save(folder / PROVENANCE)

    @classmethod
    def load(cls, folder: Path) -> FittedCandidate:
        provenance, cost = folder / PROVENANCE, folder / COST
        return cls(load_fitted(folder / "model"), VALUES.read(folder / "values.parquet"),
                   Provenance.load(provenance) if provenance.is_file() else None,
                   json.loads(cost.read_text()) if cost.is_file() else {})
