"""`stacked`: several recipes, weighted as they predicted lines they had not seen.

ŷ = a + Σ_k w_k p̂_k, w ≥ 0: in inner folds of the training lines every member predicts the lines it was not trained
with, mean included (p̂), and a, w minimise Σ ω (y − a − Σ_k w_k p̂_k)² for each trait, ω = 1 / (σ²r + stage-one error
variance). Members are then trained again on all training lines. Weights need not sum to one: what all members promise
too much of is shrunk. Nothing but training lines and their genotypes is ever used.
Axes: P panel lines, N training lines of a trait, M markers, K inner folds, W members, T traits.
References: Wolpert 1992, Neural Netw. 5:241-259; Breiman 1996, Mach. Learn. 24:49-64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import polars as pl

from genomic_platform.errors import ProgramError
from genomic_platform.models import markers
from genomic_platform.models.cross_validation import panel_values
from genomic_platform.models.fitted_stack import FittedStack, effects_of, values_of
from genomic_platform.models.genomic_blup import FittedGenomicBlup
from genomic_platform.models.protocol import Model, TrainingSet
from genomic_platform.models.recipes import load_recipe
from genomic_platform.models.yardstick import (
    UNKNOWN,
    Calibration,
    InnerTrait,
    Summary,
    calibrated,
    inner_traits,
    recalibrated,
    yardstick,
)

#: On the published wheat folds boosted trees beside these added nothing, at six times the cost (docs/models.md).
MEMBERS = ("genomic_blup", "kernel", "arc_cosine")


class Weights(NamedTuple):
    """Of one trait.

    Attributes
    ----------
    weight_W : ≥ 0. intercept : a. showed : what held-out lines say of the stack.
    state : how the weights came about, for the summary.
    """

    weight_W: np.ndarray
    intercept: float
    showed: Calibration
    state: str = "learnt in inner folds"


@dataclass(frozen=True)
class Stacked:
    """The recipe `stacked`.

    Attributes
    ----------
    members : recipes as program.toml names them. One that cannot be trained is an error, never left out. A trait with
        fewer than eight lines for each inner fold is the first member's alone.
    folds : inner folds of the training lines.
    """

    members: tuple[str, ...] = MEMBERS
    folds: int = 5

    name: ClassVar[str] = "stacked"

    @property
    def code_version(self) -> str:
        """Its own, then its members': what they find decides the weights."""
        return ", ".join(["1", *(load_recipe(member).code_version for member in self.members)])

    def __post_init__(self) -> None:
        if not self.members or len(set(self.members)) < len(self.members) or self.name in self.members:
            raise ProgramError(f"stacked: members are {', '.join(self.members) or 'none'}; expected at least one "
                               f"recipe, none twice and not {self.name} itself")
        if self.folds < 2:
            raise ProgramError(f"stacked: folds is {self.folds}; expected at least 2")

    def fit(self, training_set: TrainingSet, *, seed: int = 0, device: str = "cpu",
            checkpoint: Path | None = None) -> FittedStack:
        """Weigh and train on all traits: equal seeds give equal bits if the members' do.

        Parameters
        ----------
        seed : of the inner folds, and of the members on all lines; within folds members take the seed they have by
            themselves. device : members'. checkpoint : not used.

        Raises
        ------
        What a member raises.
        """
        additive, training_set, weights = self._weighed(training_set, seed)
        members = tuple(load_recipe(name).fit(training_set, seed=seed, device=device) for name in self.members)
        weight_TW = np.array([w.weight_W for w in weights])
        effects_MT = np.einsum("tw,wmt->mt", weight_TW, np.stack(
            [effects_of(member, additive.panel, additive.traits) for member in members]))
        value_PT = np.einsum("tw,wpt->pt", weight_TW, np.stack(
            [values_of(member, additive.panel, additive.traits) for member in members]))
        share_T = _shares(additive, effects_MT, value_PT)
        summaries = {trait: recalibrated(additive.summary()[trait], w.showed, share) | self._said(w)
                     for trait, w, share in zip(additive.traits, weights, share_T, strict=True)}
        return FittedStack(
            self.code_version, asdict(self), additive, effects_MT, share_T,
            np.array([w.showed.reliability for w in weights]), summaries, members, weight_TW)

    def fit_values(self, training_set: TrainingSet, seed: int = 0) -> pl.DataFrame:
        """Weigh, and give the panel's values: line_id, trait, breeding_value, genotypic_value, intercept."""
        additive, training_set, weights = self._weighed(training_set, seed)
        intercepts = {trait: w.intercept for trait, w in zip(additive.traits, weights, strict=True)}
        total = None
        for place, name in enumerate(self.members):
            weight = {t: w.weight_W[place] for t, w in zip(additive.traits, weights, strict=True)}
            part = panel_values(load_recipe(name), training_set).select("line_id", "trait", *(
                pl.col(column) * pl.col("trait").replace_strict(weight, return_dtype=pl.Float64)
                for column in ("breeding_value", "genotypic_value", "intercept")))
            total = part if total is None else _sum(total, part)
        assert total is not None
        return total.with_columns(pl.col("intercept") + pl.col("trait").replace_strict(
            intercepts, return_dtype=pl.Float64))

    def _weighed(self, training_set: TrainingSet, seed: int) -> tuple[FittedGenomicBlup, TrainingSet, list[Weights]]:
        """The yardstick, the training set with its relationship, and the weights of every trait."""
        additive, relationship_PP = yardstick(training_set)
        training_set = replace(training_set, relationship_NN=relationship_PP)
        inner = inner_traits(additive.panel, relationship_PP, additive.fits, training_set.families, self.folds, seed)
        recipes = [load_recipe(name) for name in self.members]
        predicted = held_out_predictions(training_set, recipes, additive, inner)
        alone = Weights(np.eye(len(recipes))[0], 0.0, Calibration(1.0, 1.0, 0.0),
                        f"too few lines: {self.members[0]} alone")
        return additive, training_set, [
            stacking_weights(inner[t], predicted[t]) if t in inner else alone for t in range(len(additive.fits))]

    def _said(self, weights: Weights) -> Summary:
        nothing: Summary = {} if weights.weight_W.any() else {"status": "no member predicts lines held out"}
        return {"weights": weights.state} | nothing | {
            f"weight_{name}": float(weight) for name, weight in zip(self.members, weights.weight_W, strict=True)}


def held_out_predictions(training_set: TrainingSet, recipes: list[Model], additive: FittedGenomicBlup,
                         inner: Mapping[int, InnerTrait]) -> dict[int, np.ndarray]:
    """Each training line's prediction by members trained without its fold, mean included, (N, W), by trait.

    All traits share a fold's training; a line that is held out of one trait may teach another.
    """
    lines = additive.panel.lines
    predicted = {t: np.zeros((len(own.fold_N), len(recipes))) for t, own in inner.items()}
    for fold in range(max((own.n_folds for own in inner.values()), default=0)):
        rows = {t: np.flatnonzero(own.fold_N == fold) for t, own in inner.items()}
        names = {t: [lines[row] for row in own.fit.data.rows_N[rows[t]]] for t, own in inner.items()}
        held = pl.DataFrame([(line, additive.traits[t]) for t, found in names.items() for line in found],
                            schema={"line_id": pl.String, "trait": pl.String}, orient="row")
        part = replace(training_set, means=training_set.means.join(held, on=["line_id", "trait"], how="anti",
                                                                   maintain_order="left"))
        for w, recipe in enumerate(recipes):
            values = panel_values(recipe, part)
            for t, found in names.items():
                own = pl.DataFrame({"line_id": found}).join(
                    values.filter(pl.col("trait") == additive.traits[t]), on="line_id", maintain_order="left")
                predicted[t][rows[t], w] = (own["intercept"] + own["genotypic_value"]).to_numpy()
    return predicted


def stacking_weights(inner: InnerTrait, predicted_NW: np.ndarray) -> Weights:
    """a and w ≥ 0 by non-negative least squares (Lawson & Hanson 1974, chapter 23)."""
    from scipy.optimize import nnls

    y_N, weight_N = inner.fit.data.y_N, inner.weight_N
    mean, mean_W = np.average(y_N, weights=weight_N), np.average(predicted_NW, axis=0, weights=weight_N)
    root_N = np.sqrt(weight_N)
    weight_W = nnls(root_N[:, None] * (predicted_NW - mean_W), root_N * (y_N - mean))[0]
    intercept = float(mean - weight_W @ mean_W)
    showed = calibrated(inner, intercept + predicted_NW @ weight_W) if weight_W.any() else UNKNOWN
    return Weights(weight_W, intercept, showed)


def _shares(additive: FittedGenomicBlup, effects_MT: np.ndarray, value_PT: np.ndarray) -> np.ndarray:
    """Squared correlation of breeding and genotypic values over a trait's training lines; 0 where one is constant."""
    breeding_PT = markers.line_sums(additive.panel, additive.frequencies_M, effects_MT)
    share_T = np.zeros(len(additive.fits))
    for t, fit in enumerate(additive.fits):
        covariance_22 = np.cov(breeding_PT[fit.data.rows_N, t], value_PT[fit.data.rows_N, t]) if len(
            fit.data.rows_N) > 1 else np.zeros((2, 2))
        if (spread := covariance_22[0, 0] * covariance_22[1, 1]) > 0:
            share_T[t] = min(covariance_22[0, 1] ** 2 / spread, 1.0)
    return share_T


def _sum(one: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """Two tables of values of the same lines and traits, added."""
    both = one.join(other, on=["line_id", "trait"], suffix="_other", maintain_order="left")
    return both.select("line_id", "trait", *(pl.col(c) + pl.col(f"{c}_other")
                                             for c in ("breeding_value", "genotypic_value", "intercept")))
