"""A recipe of one's own: ridge regression on all markers, with the heritability as a setting.

y = 1μ + g + e,  g = Z b,  Var(g) = G σ²g,  G = Z Z' / 2Σp(1−p),  λ = σ²e / σ²g = (1 − h²) / h².
ĝ of any line = c' (G + λ I)⁻¹ (y − 1μ̂), c its relationship to the training lines; reliability c' (G + λ I)⁻¹ c / G_ii.
Reference: Hoerl & Kennard (1970), Technometrics 12:55. Axes: N training lines, P panel lines, M markers, T traits.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models import markers
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.schemas.predictions import VALUES


@dataclass(frozen=True)
class RidgeOfMarkers:
    """The recipe; the platform makes it without arguments. `heritability` : of a line mean."""

    heritability: float = 0.5

    name = "ridge_of_markers"
    code_version = "1"  # raise it when fitted values change: seasons fitted by the old code are then stale

    def fit(self, training_set: TrainingSet, *, seed: int = 0, device: str = "cpu",
            checkpoint: Path | None = None) -> FittedRidge:
        """Train on every trait of `training_set.means` that has records of genotyped lines."""
        panel = training_set.genotypes
        frequencies_M = markers.panel_frequencies(panel)
        row_of = {line: row for row, line in enumerate(panel.lines)}
        effects_M, inverse, rows, said = {}, {}, {}, {}
        for trait in training_set.traits:
            own = training_set.means.filter(trait=trait, genotyped=True)
            rows[trait] = np.array([row_of[line] for line in own["line_id"]])
            Z_NM = self._centred(panel, rows[trait], frequencies_M)
            scale, y_N = 2 * np.sum(frequencies_M * (1 - frequencies_M)), own["mean"].to_numpy()
            ratio = (1 - self.heritability) / self.heritability
            inverse[trait] = np.linalg.inv(Z_NM @ Z_NM.T / scale + ratio * np.eye(len(y_N)))
            effects_M[trait] = Z_NM.T @ inverse[trait] @ (y_N - y_N.mean()) / scale
            said[trait] = {"status": "fitted", "n_train": len(y_N),
                           "genetic_sd": float(y_N.std() * np.sqrt(self.heritability))}
        return FittedRidge(panel, frequencies_M, effects_M, inverse, rows, said)

    @staticmethod
    def _centred(panel: GenotypeTable, rows_N: np.ndarray, frequencies_M: np.ndarray) -> np.ndarray:
        return markers.centred(panel.dosages()[rows_N], frequencies_M)


@dataclass(frozen=True)
class FittedRidge:
    """The trained model: the panel trained on, and per trait effects, inverse, training rows and summary."""

    panel: GenotypeTable
    frequencies_M: np.ndarray
    effects_M: dict[str, np.ndarray]
    inverse_NN: dict[str, np.ndarray]
    rows_N: dict[str, np.ndarray]
    said: dict[str, dict[str, float | int | str]]

    recipe = "ridge_of_markers"

    @property
    def traits(self) -> tuple[str, ...]:
        return tuple(self.effects_M)

    @property
    def n_markers(self) -> int:
        return self.panel.n_variants

    @property
    def effects_MT(self) -> np.ndarray:
        return np.stack(list(self.effects_M.values()), axis=1)

    def values_from_dosages(self, dosage_NM: np.ndarray) -> np.ndarray:
        """Breeding values (N, T) of dosages in the panel's marker order, missing −1: for MLflow and fast scoring."""
        return markers.breeding_values(dosage_NM, self.frequencies_M, self.effects_MT)

    def predict(self, genotypes: GenotypeTable, environments: pl.DataFrame | None = None) -> pl.DataFrame:
        """Values for every line of `genotypes` and every trait (contract VALUES)."""
        aligned = markers.match_markers(genotypes, self.panel)  # InputError for markers or alleles that do not fit
        Z_QM = markers.centred(aligned.dosages(), self.frequencies_M)
        scale = 2 * np.sum(self.frequencies_M * (1 - self.frequencies_M))
        own_Q = np.maximum((Z_QM**2).sum(axis=1) / scale, 1e-12)
        parts = []
        for trait, effects_M in self.effects_M.items():
            trained = [self.panel.lines[row] for row in self.rows_N[trait]]
            cross_QN = Z_QM @ RidgeOfMarkers._centred(self.panel, self.rows_N[trait], self.frequencies_M).T / scale
            reliability_Q = np.clip(((cross_QN @ self.inverse_NN[trait]) * cross_QN).sum(axis=1) / own_Q, 0, 1)
            parts.append(pl.DataFrame({
                "line_id": aligned.lines, "trait": trait, "environment": pl.Series([None] * len(own_Q), dtype=pl.Utf8),
                "breeding_value": Z_QM @ effects_M, "breeding_value_reliability": reliability_Q,
                "genotypic_value": Z_QM @ effects_M, "genotypic_value_reliability": reliability_Q,
                "phenotyped": pl.Series(aligned.lines).is_in(trained)}))
        return VALUES.conform(pl.concat(parts))

    def explain(self, genotypes: GenotypeTable | None = None, top: int = 10) -> pl.DataFrame:
        """Effects of the markers, or each line's largest contributions."""
        if genotypes is None:
            return markers.effects_table(self.panel, self.frequencies_M, self.traits, self.effects_MT)
        aligned = markers.match_markers(genotypes, self.panel)
        return markers.top_contributions(aligned, self.frequencies_M, self.traits, self.effects_MT, top)

    def summary(self) -> dict[str, dict[str, float | int | str]]:
        """Per trait: `status`, `n_train` and `genetic_sd`, which the platform needs, and what else you want to read."""
        return self.said

    def save(self, folder: Path) -> None:
        """Equal parameters give equal bytes: `np.save` and sorted JSON do, pickles do not."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "panel").mkdir()
        self.panel.save(folder / "panel")
        markers.save_array(self.frequencies_M, folder / "frequencies_M.npy")
        for trait in self.said:
            for kind in ("effects_M", "inverse_NN", "rows_N"):
                markers.save_array(getattr(self, kind)[trait], folder / f"{kind}.{trait}.npy")
        described = {"class": "ridge_of_markers:FittedRidge", "summary": self.said}  # `class` finds `load` again
        (folder / "model.json").write_text(json.dumps(described, sort_keys=True, indent=1))

    @classmethod
    def load(cls, folder: Path) -> FittedRidge:
        said = json.loads((folder / "model.json").read_text())["summary"]
        arrays = {kind: {trait: np.load(folder / f"{kind}.{trait}.npy") for trait in said}
                  for kind in ("effects_M", "inverse_NN", "rows_N")}
        return cls(GenotypeTable.open(folder / "panel"), np.load(folder / "frequencies_M.npy"), said=said, **arrays)
