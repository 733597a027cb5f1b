"""The recipes on a line covariance before training: one `fit` for all, and values alone for cross-validation.

A recipe adds how components (and bandwidths) are found. Axes: P lines of the panel, E these and the lines in trial that
only the pedigree joins to them (`pedigree_lines`), M markers, T traits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.models import markers
from genomic_platform.models.line_covariance import LineCovariance, Lines
from genomic_platform.models.line_model import FittedLineModel, describe, value_columns
from genomic_platform.models.pedigree_lines import PedigreeLines, pedigree_lines
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.models.threads import threads_for
from genomic_platform.models.trait_fit import SolvedTrait, TraitData, TraitFit, genotypic_values, trait_data


@dataclass(frozen=True)
class LineRecipe(ABC):
    """A model of lines whose covariance follows from the genomic relationship."""

    name: ClassVar[str]
    code_version: ClassVar[str]
    fitted_class: ClassVar[type[FittedLineModel]]
    uses_pedigree: ClassVar[bool] = False

    @property
    def covariance(self) -> LineCovariance:
        """How lines covary; the fitted class's own unless it follows from the training set too."""
        return self.fitted_class.covariance

    def fitted(self, **parameters: Any) -> FittedLineModel:
        """The trained model of these parameters, by their names in `FittedLineModel`."""
        return self.fitted_class(**parameters)

    @abstractmethod
    def fit_components(self, relationship_EE: np.ndarray, scale: float,
                       data: Iterable[TraitData]) -> Iterator[SolvedTrait]:
        """Variance components and solution of every trait, in any order, one at a time."""

    def fit(self, training_set: TrainingSet, *, seed: int = 0, device: str = "cpu",
            checkpoint: Path | None = None) -> FittedLineModel:
        """Train on all traits. Exact algebra: `seed`, `device` and `checkpoint` change nothing.

        A trait that is constant or has fewer than five such lines gets values 0 with reliability 0, and the
        summary says so.
        """
        with threads_for(training_set.genotypes.n_lines):
            return self._fit(training_set)

    def _fit(self, training_set: TrainingSet) -> FittedLineModel:
        relationship_PP, frequencies_M, scale = _panel_relationship(training_set)
        panel = training_set.genotypes
        joined = self._joined(training_set, relationship_PP)
        relationship_EE = joined.covariance(relationship_PP)
        data = trait_data(training_set.means, (*panel.lines, *joined.lines))
        place = {d.trait: t for t, d in enumerate(data)}
        fits: dict[str, TraitFit] = {}
        summaries: dict[str, dict[str, float | int | str]] = {}
        weights_PT, values_4PT = np.zeros((panel.n_lines, len(data))), np.zeros((4, panel.n_lines, len(data)))
        for solved in self.fit_components(relationship_EE, scale, data):
            fit, t, own_E = solved.fit, place[solved.fit.trait], np.diagonal(solved.covariance_EE)
            lines = Lines(solved.covariance_EE[: panel.n_lines], own_E[: panel.n_lines])
            breeding = joined.on_panel(self.covariance.marker_weights(relationship_EE, scale, fit))
            weights_PT[:, t] = breeding.weights_P
            values_4PT[:, :, t] = value_columns(
                fit, solved.solution(), lines, np.arange(panel.n_lines), breeding.share,
                breeding.breeding_values(relationship_PP, lines.cross_QP, scale, fit))
            fits[fit.trait], summaries[fit.trait] = fit, describe(fit, own_E, panel, values_4PT[:, :, t])
        return self.fitted(
            recipe=self.name, code_version=self.code_version, settings={k: str(v) for k, v in asdict(self).items()},
            season=training_set.season, panel=panel, frequencies_M=frequencies_M, scale=scale,
            fits=tuple(fits[trait] for trait in place), summaries={trait: summaries[trait] for trait in place},
            effects_MT=markers.marker_sums(panel, frequencies_M, weights_PT), panel_values_4PT=values_4PT,
            joined=joined)

    def _joined(self, training_set: TrainingSet, relationship_PP: np.ndarray) -> PedigreeLines:
        panel = training_set.genotypes
        if not self.uses_pedigree:
            return PedigreeLines.none(panel.n_lines)
        return pedigree_lines(training_set.pedigree, panel.lines, relationship_PP,
                              set(training_set.means["line_id"]))

    def fit_values(self, training_set: TrainingSet) -> pl.DataFrame:
        """Train and give the panel's values alone, without reliabilities and effects, for cross-validation.

        Returns
        -------
        line_id, trait, breeding_value, genotypic_value (deviations as in `fit`), intercept (the estimated mean on the
        scale of the training means).
        """
        with threads_for(len(set(training_set.means["line_id"]))):
            return self._fit_values(training_set)

    def _fit_values(self, training_set: TrainingSet) -> pl.DataFrame:
        relationship_PP, _, scale = _panel_relationship(training_set)
        lines, joined = training_set.genotypes.lines, self._joined(training_set, relationship_PP)
        relationship_EE = joined.covariance(relationship_PP)
        data = trait_data(training_set.means, (*lines, *joined.lines))
        parts = []
        for solved in self.fit_components(relationship_EE, scale, data):
            fit, covariance_PE = solved.fit, solved.covariance_EE[: len(lines)]
            breeding = joined.on_panel(self.covariance.marker_weights(relationship_EE, scale, fit))
            parts.append(pl.DataFrame({
                "line_id": lines, "trait": [fit.trait] * len(lines),
                "breeding_value": breeding.breeding_values(relationship_PP, covariance_PE, scale, fit),
                "genotypic_value": genotypic_values(fit, solved.covariance_EE)[: len(lines)],
                "intercept": np.full(len(lines), fit.intercept)}))
        return pl.concat(parts).sort("trait", maintain_order=True)


def _panel_relationship(training_set: TrainingSet) -> tuple[np.ndarray, np.ndarray, float]:
    """Relationship of the panel (computed unless given), ALT frequencies (M,) and scale 2Σp(1−p)."""
    frequencies_M = markers.panel_frequencies(training_set.genotypes)
    scale = float(2 * np.sum(frequencies_M * (1 - frequencies_M)))
    if training_set.relationship_NN is not None:
        return training_set.relationship_NN, frequencies_M, scale
    return vanraden(training_set.genotypes, frequencies_M).matrix_NN, frequencies_M, scale
