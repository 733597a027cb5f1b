"""A recipe fitted at a season, with the values it gives, so that the next season can score it without refitting."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from genomic_platform.errors import InputError, Notice, Problem
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.circumstances import circumstances
from genomic_platform.models.line_model import RUN
from genomic_platform.models.metering import Meter
from genomic_platform.models.protocol import FittedModel, TrainingSet
from genomic_platform.models.provenance import Provenance
from genomic_platform.models.recipes import load_fitted, load_recipe
from genomic_platform.models.search.budget import Budget
from genomic_platform.models.soundness import faults_named, sound_values
from genomic_platform.schemas.predictions import VALUES

PROVENANCE, COST = "provenance.json", "cost.json"
_UNKNOWN = Problem("model", "a record of what it was trained on", "none: it was saved by an earlier version",
                   "run the seasons again: genomic-platform run DIR --force", field=PROVENANCE)


def fit_candidate(recipe: str, known: TrainingSet, seed: int, units: Mapping[str, str], device: str = "cpu",
                  checkpoint: Path | None = None, budget: Budget | None = None) -> FittedCandidate:
    """Fit a recipe, and have the values it gives of all known lines.

    Parameters
    ----------
    units : of the traits, kept with the model. budget : of a search of settings (recipes `search:NAME`).

    Raises
    ------
    ProgramError : the recipe cannot be loaded, fails, or does not follow the protocol.
    """
    meter = Meter()
    own = load_recipe(recipe, budget)
    with faults_named(own):
        model = own.fit(known, seed=seed, device=device, checkpoint=checkpoint)
        values = sound_values(own, known, model, known.environment_features)
    return FittedCandidate(model, values, Provenance.of(recipe, known, units), meter.cost())


def without_values(recipe: str, model: FittedModel) -> list[Notice]:
    """A warning for each trait in which a fitted recipe sees nothing but the mean, and why."""
    status = {trait: said.get("status", "fitted") for trait, said in model.summary().items()}
    return [Notice("no_values", f"{trait}: {recipe} gives every line the mean, breeding value 0 with reliability 0: "
                   f"{why}") for trait, why in status.items() if why != "fitted"]


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
        if not (run := folder / "model" / RUN).is_file():  # a model of a programme's own need not keep it
            run.write_text(json.dumps(circumstances(), sort_keys=True, indent=1) + "\n")
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
