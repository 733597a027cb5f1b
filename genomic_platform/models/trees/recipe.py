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
from typing import ClassVar

import numpy as np
import polars as pl

from genomic_platform.errors import ProgramError
from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.models.genomic_blup import FittedGenomicBlup, GenomicBlup
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.models.threads import threads_for
from genomic_platform.models.trait_fit import require_numbers
from genomic_platform.models.trees.boosting import Boosting, grow, trees_package
from genomic_platform.models.trees.effects import AverageEffects, average_effects
from genomic_platform.models.trees.fitted import FittedTrees, TraitTrees, features
from genomic_platform.models.trees.inputs import Structure, top_markers
from genomic_platform.models.yardstick import UNKNOWN, InnerTrait, Summary, calibrated, inner_traits, recalibrated

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
    code_version: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        wrong = [f"{name} is {getattr(self, name)}; expected at least {least}" for name, least in
                 (("folds", 2), ("components", 0), ("markers", 1)) if getattr(self, name) < least]
        if wrong:
            raise ProgramError(f"boosted_trees: {'; '.join(wrong)}")

    def fit(self, training_set: TrainingSet, *, seed: int = 0, device: str = "cpu",
            checkpoint: Path | None = None) -> FittedTrees:
        """Train on all traits: equal seeds give equal bits on one processor. `device` and `checkpoint` change nothing.

        A trait with fewer than eight lines for each inner fold, a constant one, and one where no tree lessens the error
        in lines not seen get values 0 with reliability 0, and the summary says so.

        Raises
        ------
        MissingExtra : lightgbm is not installed. InputError : a mean is not a number.
        """
        trees_package()
        require_numbers(training_set.means)
        with threads_for(len(set(training_set.means["line_id"]))):
            return self._fit(training_set, seed)

    def fit_values(self, training_set: TrainingSet, seed: int = 0) -> pl.DataFrame:
        """Train and give the panel's values: line_id, trait, breeding_value, genotypic_value, intercept."""
        fitted = self.fit(training_set, seed=seed)
        intercept = pl.DataFrame({"trait": fitted.traits, "intercept": [own.intercept for own in fitted.trees]},
                                 schema={"trait": pl.String, "intercept": pl.Float64})
        return (fitted.predict(training_set.genotypes).join(intercept, on="trait", maintain_order="left")
                .select("line_id", "trait", "breeding_value", "genotypic_value", "intercept"))

    def _fit(self, training_set: TrainingSet, seed: int) -> FittedTrees:
        relationship_PP = training_set.relationship_NN
        if relationship_PP is None:
            relationship_PP = vanraden(training_set.genotypes).matrix_NN
        # The yardstick speaks of genotyped lines only: those the pedigree joins have nothing that trees could see.
        additive = GenomicBlup().fit(replace(training_set, relationship_NN=relationship_PP, pedigree=None))
        assert isinstance(additive, FittedGenomicBlup)
        panel, frequencies_M = additive.panel, additive.frequencies_M
        inner = inner_traits(panel, relationship_PP, additive.fits, training_set.families, self.folds, seed)
        rows_N = np.unique(np.concatenate([np.zeros(0, np.int64), *(fit.data.rows_N for fit in additive.fits)]))
        structure = Structure.of_training(panel, rows_N, relationship_PP, frequencies_M, additive.scale,
                                          self.components)
        trees, effects, summaries = [], [], {}
        for t, fit in enumerate(additive.fits):
            own, found, said = self._trait(additive, t, inner.get(t), structure, seed)
            trees.append(own)
            effects.append(found)
            summaries[fit.trait] = said
        return FittedTrees(self.code_version, asdict(self), additive, structure, tuple(trees),
                           np.stack([e.effect_M for e in effects], axis=1), np.array([e.share for e in effects]),
                           summaries)

    def _trait(self, additive: FittedGenomicBlup, t: int, inner: InnerTrait | None, structure: Structure,
               seed: int) -> tuple[TraitTrees, AverageEffects, Summary]:
        fit, panel, frequencies_M = additive.fits[t], additive.panel, additive.frequencies_M
        said, nothing = additive.summary()[fit.trait], AverageEffects(np.zeros(panel.n_variants), 0.0, 0)
        mean = float(fit.data.y_N.mean()) if len(fit.data.y_N) else 0.0
        closed = TraitTrees(fit.trait, (), np.zeros((0, 0), np.int64), 0.0, 0.0, mean, 0.0)
        if inner is None:
            return closed, nothing, recalibrated(said, UNKNOWN, 0.0) | {"trees": NOT_LEARNT}
        weights_PK = np.zeros((panel.n_lines, inner.n_folds))
        weights_PK[fit.data.rows_N] = inner.dual_NK
        chosen_KC = top_markers(panel, frequencies_M, weights_PK, self.markers)
        training = panel.select(lines=[panel.lines[row] for row in fit.data.rows_N])
        score_NR = structure.scores(training, frequencies_M)
        mean, unit = float(np.average(fit.data.y_N, weights=inner.weight_N)), float(fit.data.y_N.std())
        grown = grow([features(training, score_NR, chosen_C, frequencies_M) for chosen_C in chosen_KC],
                     (fit.data.y_N - mean) / unit, inner.weight_N, inner.fold_N, self.boosting, seed)
        if not grown.rounds:
            return closed, nothing, recalibrated(said, UNKNOWN, 0.0) | {"trees": NO_GAIN}
        found = calibrated(inner, mean + unit * grown.held_out_N)
        own = TraitTrees(fit.trait, grown.texts, chosen_KC, unit, 0.0, mean, found.reliability)
        centre = float(np.average(own.values(training, score_NR, frequencies_M), weights=inner.weight_N))
        own = replace(own, centre=-centre, intercept=mean + centre)
        effects = average_effects(own, training, score_NR, structure, frequencies_M)
        return own, effects, recalibrated(said, found, effects.share) | {
            "trees": "grown", "rounds": grown.rounds, "members": inner.n_folds,
            "markers_split_on": effects.n_markers_used}
