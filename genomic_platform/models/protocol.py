"""What a prediction model is: fit on a training set, give values with reliabilities, save, load, explain.

A programme's own model follows the same protocol and is named `package.module:Class` in program.toml.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import polars as pl

from genomic_platform.errors import InputError, Problem
from genomic_platform.genotypes.table import GenotypeTable


@dataclass(frozen=True)
class TrainingSet:
    """Everything a model may learn from: known up to and including `season`, nothing later.

    Attributes
    ----------
    season : label of the last season seen.
    means : contract TRAINING_SET, one row per line and trait.
    genotypes : all lines known at the season (phenotyped or not), variants that passed QC.
    relationship_NN : VanRaden 1 relationship in the order of `genotypes.lines`; None = the model computes it.
    environment_features : contract ENVIRONMENT_FEATURES of all seasons seen, or None.
    pedigree : contract PEDIGREE of the lines known at the season, or None.
    line_means : contract LINE_MEANS of all seasons seen, for single-stage recipes, which learn from its records of the
        lines and traits in `means` alone; None = two-stage recipes only.
    families : line → family of the panel's lines, None where it is unknown; None = no families are known.
    """

    season: str
    means: pl.DataFrame
    genotypes: GenotypeTable
    relationship_NN: np.ndarray | None = None
    environment_features: pl.DataFrame | None = None
    pedigree: pl.DataFrame | None = None
    line_means: pl.DataFrame | None = None
    families: Mapping[str, str | None] | None = None

    def __post_init__(self) -> None:
        """Refuse what no model can learn from: every such value is named in one InputError."""
        problems = [Problem("training set", "at least one", "no record", "give records of the lines")] \
            if self.means.is_empty() else []
        problems += [*_unusable(self.means, "training set", "mean", "error_variance"),
                    *_unusable(self.line_means, "line means", "mean", "standard_error"), *self._relationship_problems()]
        if problems:
            raise InputError(problems)

    def _relationship_problems(self) -> Iterator[Problem]:
        k_NN, n = self.relationship_NN, self.genotypes.n_lines
        if k_NN is None:
            return
        if k_NN.shape != (n, n):
            yield Problem("training set", f"shape {(n, n)}, the lines of the genotypes", f"of shape {k_NN.shape}",
                          "compute it from these genotypes", field="relationship")
        elif not np.isfinite(k_NN.sum()):  # a sum needs no second matrix
            yield Problem("training set", "numbers", f"NaN or infinite in {int((~np.isfinite(k_NN)).sum())} cells",
                          "compute it again from the genotypes", field="relationship")

    @property
    def traits(self) -> tuple[str, ...]:
        return tuple(self.means["trait"].unique().sort())


def _unusable(table: pl.DataFrame | None, name: str, mean: str, error: str) -> Iterator[Problem]:
    """Means that are no number, errors that are neither a number from 0 nor unknown (null)."""
    if table is None:
        return
    for column, wrong, expected in (
            (mean, pl.col(mean).is_finite().not_().fill_null(True), "a number"),
            (error, pl.col(error).is_between(0, np.inf, closed="left").not_(), "a number from 0, or none")):
        for row in table.filter(wrong).iter_rows(named=True) if column in table.columns else ():
            where = f" in {row['environment']}" if "environment" in row else ""
            yield Problem(name, expected, str(row[column]), "correct or remove the line's records",
                          field=f"{column} of {row['trait']}, line {row['line_id']}{where},")


@runtime_checkable
class FittedModel(Protocol):
    """A trained model: everything needed to predict, without the training tables."""

    @property
    def recipe(self) -> str:
        """Name of the recipe that was trained."""
        ...

    @property
    def traits(self) -> tuple[str, ...]:
        """Traits it gives values of, in the order of `values_from_dosages`."""
        ...

    @property
    def n_markers(self) -> int:
        """Markers it was trained on."""
        ...

    def values_from_dosages(self, dosage_NM: np.ndarray) -> np.ndarray:
        """Breeding values, float64 (N, T), of int8 dosages in the training panel's marker order (missing −1): what
        the model does away from the platform, as MLflow's generic Python model."""
        ...

    def predict(self, genotypes: GenotypeTable, environments: pl.DataFrame | None = None) -> pl.DataFrame:
        """Values for every line of `genotypes` and every trait (contract VALUES).

        Markers are matched by the training panel's ids and alleles. Raises InputError naming every mismatch.
        """
        ...

    def explain(self, genotypes: GenotypeTable | None = None, top: int = 10) -> pl.DataFrame:
        """Per-marker effects (contract MARKER_EFFECTS); with `genotypes`, each line's `top` largest contributions
        (columns line_id, trait, variant_id, dosage, contribution)."""
        ...

    def summary(self) -> dict[str, dict[str, float | int | str]]:
        """Per trait: `status` (`fitted`, or why not), `n_train` genotyped lines, `genetic_sd` (trait's unit; the index
        weighs by it), and whatever else a reader wants logged, such as components."""
        ...

    def save(self, folder: Path) -> None:
        """Write the model to an empty folder: equal parameters, equal bytes. model.json holds `class`, a
        `module:Class` whose `load` reads it."""
        ...

    @classmethod
    def load(cls, folder: Path) -> FittedModel: ...


class Model(Protocol):
    """A recipe: a model with its settings, before training."""

    name: ClassVar[str]
    code_version: ClassVar[str]

    def fit(self, training_set: TrainingSet, *, seed: int = 0, device: str = "cpu",
            checkpoint: Path | None = None) -> FittedModel: ...
