"""`boosted_trees`: boosted regression trees on population structure and the markers that matter most.

ŷ = ȳ + f̄(z, x): f̄ the mean of a member per inner fold, z the line's principal components among the training lines, x
its dosages at the markers with which GBLUP of the lines the member sees explains most. Members of all folds are stopped
together where the lines they had not seen say so (`boosting`); lines weigh by 1 / (σ²r + stage-one error variance).
Axes: P panel lines, N training lines, M markers, R components, C chosen markers, K members, T traits.
References: Friedman 2001, Ann. Stat. 29:1189-1232; Ke et al. 2017, NeurIPS 30; González-Recio & Forni 2011, Genet. Sel.
Evol. 43:7 (boosting for genomic prediction).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import polars as pl

from genomic_platform.errors import ProgramError
from genomic_platform.models.genomic_blup import FittedGenomicBlup, GenomicBlup
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.models.threads import threads_for
from genomic_platform.models.trait_fit import TraitFit
from genomic_platform.models.trees.boosting import Boosting, grow, trees_package
from genomic_platform.models.trees.effects import AverageEffects, average_effects
from genomic_platform.models.trees.fitted import FittedTrees, TraitTrees, features
from genomic_platform.models.trees.inputs import Structure, top_markers
from genomic_platform.models.yardstick import (
    UNKNOWN,
    InnerTrait,
    Summary,
    calibrated,
    inner_traits,
    recalibrated,
    yardstick,
)

NOT_LEARNT, NO_GAIN = "none: too few lines", "none: no gain in inner folds"


@dataclass(frozen=True)
class BoostedTrees:
    """The recipe `boosted_trees`."""

    folds: int = 5
    """Inner folds of the training lines; each is held out by its own member."""
    components: int = 10
    """Principal components of the training lines."""
    markers: int = 500
    """Markers a member sees."""
    boosting: Boosting = field(default_factory=Boosting)
    """How trees are grown."""

    name: ClassVar[str] = "boosted_trees"
    code_version: ClassVar[str] = f"1, {GenomicBlup.code_version}"

    def __post_init__(self) -> None:
        wrong = [f"{name} is {getattr(self, name)}; expected at least {least}" for name, least in
                 (("folds", 2), ("components", 1), ("markers", 1)) if getattr(self, name) < least]
        if wrong:
            raise ProgramError(f"boosted_trees: {'; '.join(wrong)}")

    def fit(self, training_set: TrainingSet, *, seed: int = 0, device: str = "cpu",
            checkpoint: Path | None = None) -> FittedTrees:
        """Train on all traits: equal seeds give equal bits on one processor. `device` and `checkpoint` change nothing.

        A trait with fewer than eight lines for each inner fold, a constant one, and one where no tree lessens the error
        in lines not seen get values 0 with reliability 0, and the summary says so.

        Raises
        ------
        MissingExtra : lightgbm is not installed.
        """
        trees_package()
        with threads_for(len(set(training_set.means["line_id"]))):
            return self._fit(training_set, seed)

    def fit_values(self, training_set: TrainingSet, seed: int = 0) -> pl.DataFrame:
        """Train and give the panel's values: line_id, trait, breeding_value, genotypic_value, intercept."""
        fitted = self.fit(training_set, seed=seed)
        intercept = {trait: own.intercept for trait, own in zip(fitted.traits, fitted.trees, strict=True)}
        return fitted.predict(fitted.panel).select(
            "line_id", "trait", "breeding_value", "genotypic_value",
            intercept=pl.col("trait").replace_strict(intercept, return_dtype=pl.Float64))

    def _fit(self, training_set: TrainingSet, seed: int) -> FittedTrees:
        additive, relationship_PP = yardstick(training_set)
        panel, frequencies_M = additive.panel, additive.frequencies_M
        inner = inner_traits(panel, relationship_PP, additive.fits, training_set.families, self.folds, seed)
        rows_N = np.unique(np.concatenate([np.zeros(0, np.int64), *(fit.data.rows_N for fit in additive.fits)]))
        structure = Structure.of_training(panel, rows_N, relationship_PP, frequencies_M, additive.scale,
                                          self.components)
        found = [self._trait(additive, t, inner.get(t), structure, seed) for t in range(len(additive.fits))]
        return FittedTrees(
            self.code_version, asdict(self), additive, np.stack([f.effects.effect_M for f in found], axis=1),
            np.array([f.effects.share for f in found]), np.array([f.reliability for f in found]),
            {trait: f.said for trait, f in zip(additive.traits, found, strict=True)}, structure,
            tuple(f.trees for f in found))

    def _trait(self, additive: FittedGenomicBlup, t: int, inner: InnerTrait | None, structure: Structure,
               seed: int) -> _Found:
        fit, said, panel, p_M = additive.fits[t], additive.summary()[additive.traits[t]], additive.panel, \
            additive.frequencies_M
        if inner is None:
            return _Found.nothing(fit, said, panel.n_variants, NOT_LEARNT)
        weights_PK = np.zeros((panel.n_lines, inner.n_folds))
        weights_PK[fit.data.rows_N] = inner.dual_NK
        chosen_KC = top_markers(panel, p_M, weights_PK, self.markers)
        training = panel.select(lines=[panel.lines[row] for row in fit.data.rows_N])
        score_NR = structure.scores(training, p_M)
        mean, unit = float(np.average(fit.data.y_N, weights=inner.weight_N)), float(fit.data.y_N.std())
        grown = grow([features(training, score_NR, chosen_C, p_M) for chosen_C in chosen_KC],
                     (fit.data.y_N - mean) / unit, inner.weight_N, inner.fold_N, self.boosting, seed)
        if not grown.rounds:
            return _Found.nothing(fit, said, panel.n_variants, NO_GAIN)
        own = TraitTrees(grown.texts, chosen_KC, unit, 0.0, mean)
        centre = float(np.average(own.values(training, score_NR, p_M), weights=inner.weight_N))
        own = replace(own, centre=-centre, intercept=mean + centre)
        effects = average_effects(own, training, score_NR, structure, p_M)
        showed = calibrated(inner, mean + unit * grown.held_out_N)
        return _Found(own, effects, showed.reliability, recalibrated(said, showed, effects.share) | {
            "trees": "grown", "rounds": grown.rounds, "members": inner.n_folds,
            "markers_split_on": effects.n_markers_used})


class _Found(NamedTuple):
    """What was learnt of a trait."""

    trees: TraitTrees
    effects: AverageEffects
    reliability: float
    said: Summary

    @classmethod
    def nothing(cls, fit: TraitFit, said: Summary, n_markers: int, why: str) -> _Found:
        return cls(TraitTrees.none(fit.intercept), AverageEffects(np.zeros(n_markers), 0.0, 0), 0.0,
                   recalibrated(said, UNKNOWN, 0.0) | {"trees": why, "status": why if fit.fitted else said["status"]})
