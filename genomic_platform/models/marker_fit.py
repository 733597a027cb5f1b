"""From what a recipe found of each trait's marker effects to a `FittedMarkerModel`: values, reliabilities, summary.

Any posterior of the effects serves, as a mean and draws: a Gibbs sampler's, or the solutions of a ridge regression for
perturbed data. Axes: P panel lines, N training lines, M markers, T traits, S draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models import markers
from genomic_platform.models.blup import VarianceComponents
from genomic_platform.models.line_model import describe
from genomic_platform.models.marker_model import FittedMarkerModel, MarkerFit, reliabilities
from genomic_platform.models.trait_fit import TraitData, TraitFit

#: Draws a model keeps of each trait: a reliability then has a relative standard error of its PEV of √(2 / 127) = 13 %.
KEPT_DRAWS = 128


@dataclass(frozen=True, eq=False)
class TraitEffects:
    """A trait's marker effects as a recipe found them.

    Attributes
    ----------
    components : see `MarkerFit`; all 0 where nothing could be fitted. intercept : at the panel's mean dosages.
    effect_M : posterior means per ALT allele. draws_SM : draws of the same, float32.
    line_SN : expected line residual of each training line at the same draws; no columns where none is modelled.
    line_variance_N : its variance around `line_SN`, mean over the draws.
    said : what the summary says beside the usual.
    """

    data: TraitData
    components: VarianceComponents
    intercept: float
    effect_M: np.ndarray
    draws_SM: np.ndarray
    line_SN: np.ndarray
    line_variance_N: np.ndarray
    log_likelihood: float = 0.0
    said: Mapping[str, float | int | str] = field(default_factory=dict)

    @classmethod
    def none(cls, data: TraitData, n_markers: int) -> TraitEffects:
        """A trait that could not be fitted: values 0 with reliability 0."""
        mean = float(data.y_N.mean()) if len(data.y_N) else 0.0
        return cls(data, VarianceComponents(0.0, 0.0, 0.0), mean, np.zeros(n_markers),
                   np.zeros((0, n_markers), np.float32), np.zeros((0, 0), np.float32), np.zeros(0))

    @property
    def line_residual_N(self) -> np.ndarray:
        """Posterior mean of the training lines' residuals; 0 where none is modelled."""
        return self.line_SN.mean(axis=0, dtype=np.float64) if self.line_SN.size else np.zeros(len(self.data.rows_N))


def genotypic_values(effects: TraitEffects, breeding_value_P: np.ndarray) -> np.ndarray:
    """Breeding value plus line residual of the panel's lines."""
    total_P = breeding_value_P.copy()
    total_P[effects.data.rows_N] += effects.line_residual_N
    return total_P


def fitted_marker_model(recipe: str, code_version: str, settings: dict[str, str], season: str, panel: GenotypeTable,
                        frequencies_M: np.ndarray, found: Iterable[TraitEffects]) -> FittedMarkerModel:
    """Put a model together, one trait's draws in memory at a time if `found` is an iterator."""
    scale = marker_scale(frequencies_M)
    own_P = markers.own_relationship(panel, frequencies_M, scale) if scale > 0 else np.zeros(panel.n_lines)
    fits, summaries, effects, draws, trained, values = [], {}, [], [], [], []
    for e in found:
        values_4P = panel_values(e, panel, frequencies_M, own_P)
        record = TraitFit(e.data, e.components, e.intercept, np.zeros(0), e.log_likelihood)
        fits.append(MarkerFit(e.data.trait, e.data.status, e.components, e.intercept, e.log_likelihood))
        summaries[e.data.trait] = describe(record, own_P, panel, values_4P) | dict(e.said)
        effects.append(e.effect_M)
        draws.append(_kept_draws(e, scale))
        trained.append(np.isin(np.arange(panel.n_lines), e.data.rows_N))
        values.append(values_4P)
    return FittedMarkerModel(
        recipe=recipe, code_version=code_version, settings=settings, season=season,
        panel=markers.PanelMarkers.of(panel), lines=panel.lines, frequencies_M=frequencies_M, scale=scale,
        fits=tuple(fits), effects_MT=np.stack(effects, axis=1), draws_TSM=np.stack(draws),
        trained_PT=np.stack(trained, axis=1), panel_values_4PT=np.stack(values, axis=2), summaries=summaries)


def values_alone(panel: GenotypeTable, frequencies_M: np.ndarray, found: Iterable[TraitEffects]) -> pl.DataFrame:
    """The panel's values without reliabilities, for cross-validation (`QuickValues`).

    Returns
    -------
    line_id, trait, breeding_value, genotypic_value (deviations), intercept (the estimated mean on the scale of the
    training means).
    """
    parts = []
    for e in found:
        breeding_P = markers.line_sums(panel, frequencies_M, e.effect_M[:, None])[:, 0]
        parts.append(pl.DataFrame({
            "line_id": panel.lines, "trait": [e.data.trait] * panel.n_lines, "breeding_value": breeding_P,
            "genotypic_value": genotypic_values(e, breeding_P), "intercept": np.full(panel.n_lines, e.intercept)}))
    return pl.concat(parts)


def panel_values(e: TraitEffects, panel: GenotypeTable, frequencies_M: np.ndarray, own_P: np.ndarray) -> np.ndarray:
    """The four value columns of the panel's lines, shape (4, P), with all draws; zeros where nothing was fitted.

    PEV of the genotypic value of a training line: variance of Σ (dosage − 2p) b + E(r | b) over the draws, plus the
    mean of Var(r | b); of a line without a record, PEV of the breeding value plus σ²r.
    """
    if e.components.genetic <= 0 >= e.components.line_residual:
        return np.zeros((4, panel.n_lines))
    breeding_P = markers.line_sums(panel, frequencies_M, e.effect_M[:, None])[:, 0]
    draws_PS = markers.line_sums(panel, frequencies_M, e.draws_SM.T)
    rows_N, error_P = e.data.rows_N, draws_PS.var(axis=1, ddof=1, dtype=np.float64)
    total_error_P = error_P + e.components.line_residual
    if e.line_SN.size:
        total_error_P[rows_N] = (draws_PS[rows_N] + e.line_SN.T).var(axis=1, ddof=1, dtype=np.float64) \
            + e.line_variance_N
    reliability_2P = reliabilities(e.components, own_P, error_P, total_error_P)
    return np.stack([breeding_P, reliability_2P[0], genotypic_values(e, breeding_P), reliability_2P[1]])


def marker_scale(frequencies_M: np.ndarray) -> float:
    """2Σp(1−p)."""
    return float(2 * np.sum(frequencies_M * (1 - frequencies_M)))


def _kept_draws(e: TraitEffects, scale: float) -> np.ndarray:
    """`KEPT_DRAWS` of the draws (fewer serve twice) less their mean, in units of √(σ²g / scale); else zeros."""
    kept_SM = np.zeros((KEPT_DRAWS, len(e.effect_M)), np.float16)
    if e.components.genetic > 0 and len(e.draws_SM):
        at = np.linspace(0, len(e.draws_SM) - 1, KEPT_DRAWS).astype(np.int64)
        deviation_SM = e.draws_SM[at] - e.draws_SM[at].mean(axis=0)
        kept_SM = (deviation_SM / np.sqrt(e.components.genetic / scale)).astype(np.float16)
    return kept_SM
