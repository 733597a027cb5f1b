"""What trained models share whose values have no prediction error variance of their own (`boosted_trees`, `stacked`).

Breeding values are sums of average effects, genotypic values the recipe's own, reliabilities those of a GBLUP of the
same lines × what inner folds showed (`yardstick`).
Axes: P lines of the training panel, Q lines to predict, M markers, T traits.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models import markers
from genomic_platform.models.circumstances import circumstances
from genomic_platform.models.genomic_blup import FittedGenomicBlup
from genomic_platform.models.line_model import ARRAYS, PARAMETERS, RUN
from genomic_platform.models.protocol import FittedModel
from genomic_platform.models.yardstick import Summary
from genomic_platform.schemas.predictions import VALUES

ADDITIVE = "additive"
_ARRAYS = ("effects_MT", "share_T", "reliability_T")


@dataclass(frozen=True, eq=False)
class ScaledModel(ABC):
    """A trained model beside the GBLUP whose reliabilities it scales.

    Attributes
    ----------
    additive : that GBLUP; it also holds the panel.
    effects_MT : average effect of one more ALT allele, trait's unit.
    share_T : squared correlation of the breeding with the genotypic value over the training lines.
    reliability_T : factor on GBLUP's reliabilities.
    """

    code_version: str
    settings: dict[str, Any]
    additive: FittedGenomicBlup
    effects_MT: np.ndarray
    share_T: np.ndarray
    reliability_T: np.ndarray
    summaries: dict[str, Summary]

    class_path: ClassVar[str]
    recipe_name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()

    @property
    def recipe(self) -> str:
        return self.recipe_name

    @property
    def traits(self) -> tuple[str, ...]:
        return self.additive.traits

    @property
    def panel(self) -> GenotypeTable:
        return self.additive.panel

    @property
    def n_markers(self) -> int:
        return self.additive.n_markers

    @abstractmethod
    def genotypic_values(self, aligned: GenotypeTable) -> np.ndarray:
        """Deviations from the average line, trait's unit, (Q, T), of lines at the panel's markers."""

    def predict(self, genotypes: GenotypeTable, environments: pl.DataFrame | None = None) -> pl.DataFrame:
        """Values for every line of `genotypes` and every trait (contract VALUES).

        Reliability = GBLUP's of the line × `reliability_T`; of the breeding value also × `share_T`. The factor is what
        lines without a record showed, and is taken to hold for lines with one. Raises InputError naming every mismatch
        of markers.
        """
        aligned = markers.match_markers(genotypes, self.panel)
        breeding_QT = markers.line_sums(aligned, self.additive.frequencies_M, self.effects_MT)
        genotypic_QT = self.genotypic_values(aligned)
        own = pl.concat([pl.DataFrame({
            "line_id": aligned.lines, "trait": [trait] * aligned.n_lines, "breeding": breeding_QT[:, t],
            "genotypic": genotypic_QT[:, t], "factor": self.reliability_T[t], "share": self.share_T[t]})
            for t, trait in enumerate(self.traits)])
        both = self.additive.predict(aligned).join(own, on=["line_id", "trait"], how="left", maintain_order="left")
        scaled = [(pl.col(f"{value}_reliability") * pl.col("factor") * share).clip(0.0, 1.0)
                  for value, share in (("breeding_value", pl.col("share")), ("genotypic_value", pl.lit(1.0)))]
        return VALUES.conform(both.with_columns(*scaled, breeding_value="breeding", genotypic_value="genotypic"))

    def values_from_dosages(self, dosage_NM: np.ndarray) -> np.ndarray:
        """Breeding values, float64 (N, T), of dosages in the panel's marker order; missing (−1) at 2p.

        Raises ValueError for another number of markers.
        """
        return markers.breeding_values(dosage_NM, self.additive.frequencies_M, self.effects_MT)

    def explain(self, genotypes: GenotypeTable | None = None, top: int = 10) -> pl.DataFrame:
        """Average effects of markers on the breeding value, or each line's `top` largest contributions to it."""
        frequencies_M = self.additive.frequencies_M
        if genotypes is None:
            return markers.effects_table(self.panel, frequencies_M, self.traits, self.effects_MT)
        aligned = markers.match_markers(genotypes, self.panel)
        return markers.top_contributions(aligned, frequencies_M, self.traits, self.effects_MT, top)

    def summary(self) -> dict[str, Summary]:
        """GBLUP's with the variances that inner folds support, and what the recipe adds."""
        return self.summaries

    def save(self, folder: Path) -> None:
        """Write model.json, arrays, the GBLUP and the recipe's own: equal parameters, equal bytes. Nothing is pickled.

        run.json (processor, threads, versions) records the run: a digest of the parameters leaves it out.
        """
        folder.mkdir(parents=True, exist_ok=True)
        said = {"class": self.class_path, "format_version": 1, "recipe": self.recipe, "settings": self.settings,
                "code_version": self.code_version, "season": self.additive.season, "summary": self.summaries,
                "marker_digest": self.panel.marker_digest} | self.described()
        (folder / PARAMETERS).write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")
        (folder / ARRAYS).mkdir(exist_ok=True)
        for name in _ARRAYS:
            markers.save_array(getattr(self, name), folder / ARRAYS / f"{name}.npy")
        save_part(self.additive, folder / ADDITIVE)
        run = circumstances() | {package: version(package) for package in self.packages}
        (folder / RUN).write_text(json.dumps(run, sort_keys=True, indent=1) + "\n")

    @abstractmethod
    def described(self) -> dict[str, object]:
        """What model.json holds beside the usual."""

    @classmethod
    def read(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        """What `save` wrote: all of model.json, and the shared attributes by name."""
        said = json.loads((folder / PARAMETERS).read_text())
        arrays = {name: np.load(folder / ARRAYS / f"{name}.npy", allow_pickle=False) for name in _ARRAYS}
        return said, arrays | {"code_version": said["code_version"], "settings": said["settings"],
                               "summaries": said["summary"], "additive": FittedGenomicBlup.load(folder / ADDITIVE)}


def save_part(model: FittedModel, folder: Path) -> None:
    """Save a model within another, whose run.json speaks for both."""
    model.save(folder)
    (folder / RUN).unlink(missing_ok=True)
