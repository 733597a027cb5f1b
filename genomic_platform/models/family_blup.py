"""GBLUP for many families: marker effects of different families are correlated, not equal.

K_ij = G_ij within a family and ρ G_ij between families, ρ the correlation of marker effects between families; with
ρ = 1 it is GBLUP. One ρ for all pairs of families, from `CORRELATIONS` by restricted likelihood. Family means need no
term of their own: K within a family holds them. Axes: P lines of the panel, Q lines to predict, T traits.
References: Karoui et al. 2012, Genet. Sel. Evol. 44:39; Lehermeier et al. 2015, Genetics 201:323-337.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.population.clusters import relationship_clusters
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models import markers
from genomic_platform.models.line_covariance import LineCovariance, Lines, MarkerWeights
from genomic_platform.models.line_model import ARRAYS, FittedLineModel
from genomic_platform.models.line_recipe import LineRecipe
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.models.trait_fit import SolvedTrait, TraitData, TraitFit, fit_traits, spread
from genomic_platform.models.tridiagonal import tridiagonal_contrasts, tridiagonal_likelihood

#: Correlations of marker effects between families that REML chooses from.
CORRELATIONS = (1.0, 0.75, 0.5, 0.25)
#: Lines on which ρ is chosen: one reduction for each of `CORRELATIONS`.
CORRELATION_LINES = 1_000
#: Families of fewer lines tell nothing of their own effects; their lines count as of no family.
MIN_FAMILY = 5
#: A new line belongs to the family it is most related to, if by this part of what the family's lines are among
#: themselves; else it belongs to none.
NEAREST_FAMILY = 0.5
NO_FAMILY = -1


def family_numbers(lines: Iterable[str], families: Mapping[str, str | None] | None,
                   relationship_PP: np.ndarray) -> np.ndarray:
    """Family number of each line from 0, int64 (P,); −1 in families of fewer than five lines or without family.

    Parameters
    ----------
    families : line → family. None = clusters of the relationship (`relationship_clusters`).
    """
    if families is None:
        number_P = relationship_clusters(relationship_PP)
    else:
        names = [families.get(line) for line in lines]
        place = {name: i for i, name in enumerate(sorted({name for name in names if name}))}
        number_P = np.array([place[name] if name else NO_FAMILY for name in names], dtype=np.int64)
    sizes = np.bincount(number_P[number_P >= 0], minlength=1)
    large = np.flatnonzero(sizes >= MIN_FAMILY)
    renumbered = np.full(len(sizes) + 1, NO_FAMILY, dtype=np.int64)  # the last place is that of −1
    renumbered[large] = np.arange(len(large))
    return renumbered[number_P]


@dataclass(frozen=True)
class FamilyCovariance:
    """K = G ∘ (ρ + (1 − ρ) S), S_ij = 1 for two lines of one family; positive semi-definite (Schur product theorem)."""

    family_P: np.ndarray
    correlations: Mapping[str, float]

    def panel(self, relationship_PP: np.ndarray, scale: float, fit: TraitFit) -> np.ndarray:
        return correlated(relationship_PP, self.family_P, self.correlations[fit.trait])

    def cross(self, lines: Lines, relationship_PP: np.ndarray, scale: float, fit: TraitFit) -> Lines:
        """Lines that the panel holds keep their family there, others get the nearest."""
        panel_Q = same_line(lines, relationship_PP)
        family_Q = np.where(panel_Q >= 0, self.family_P[panel_Q],
                            nearest_family(lines.cross_QP, relationship_PP, self.family_P))
        return Lines(correlated(lines.cross_QP, self.family_P, self.correlations[fit.trait], family_Q, panel_Q),
                     lines.own_Q)

    def marker_weights(self, relationship_PP: np.ndarray, scale: float, fit: TraitFit) -> MarkerWeights:
        """Effects common to all families, û = Z'(ρ σ²g / scale) V⁻¹(y − 1μ̂); each family's own come on top."""
        common = self.correlations[fit.trait] * fit.components.genetic / scale
        return MarkerWeights(common * fit.panel_weights(len(relationship_PP)), 1.0, own_effects=True)


def correlated(relationship_QP: np.ndarray, family_P: np.ndarray, correlation: float,
               family_Q: np.ndarray | None = None, panel_Q: np.ndarray | None = None) -> np.ndarray:
    """The relationship, between lines that do not share a family times ρ; a line without family shares with itself.

    Parameters
    ----------
    family_Q, panel_Q : family number and row in the panel of each line, −1 = none; None = the lines are the panel.
    """
    if correlation == 1.0:
        return relationship_QP
    family_Q = family_P if family_Q is None else family_Q
    panel_Q = np.arange(len(family_P)) if panel_Q is None else panel_Q
    same_QP = (family_Q[:, None] == family_P[None, :]) & (family_P[None, :] >= 0)
    same_QP[panel_Q >= 0, panel_Q[panel_Q >= 0]] = True
    return relationship_QP * np.where(same_QP, 1.0, correlation)


def same_line(lines: Lines, relationship_PP: np.ndarray) -> np.ndarray:
    """The panel's line with the same genotypes, int64 (Q,); −1 where there is none."""
    nearest_Q = (2 * lines.cross_QP - np.diagonal(relationship_PP)).argmax(axis=1)
    same_Q = np.isclose(lines.cross_QP, relationship_PP[nearest_Q], rtol=0.0, atol=1e-5).all(axis=1)
    return np.where(same_Q, nearest_Q, -1)


def nearest_family(cross_QP: np.ndarray, relationship_PP: np.ndarray, family_P: np.ndarray) -> np.ndarray:
    """Family number of new lines by their mean relationship with each family's lines, int64 (Q,); −1 = none."""
    n_families = int(family_P.max(initial=NO_FAMILY)) + 1
    if n_families == 0:
        return np.full(len(cross_QP), NO_FAMILY, dtype=np.int64)
    member_PF = (family_P[:, None] == np.arange(n_families)) / np.bincount(family_P[family_P >= 0])
    mean_QF = cross_QP @ member_PF
    among_F = np.einsum("pf,pf->f", member_PF, relationship_PP @ member_PF)
    nearest_Q = mean_QF.argmax(axis=1)
    close_Q = mean_QF[np.arange(len(mean_QF)), nearest_Q] >= NEAREST_FAMILY * among_F[nearest_Q]
    return np.where(close_Q, nearest_Q, NO_FAMILY)


@dataclass(frozen=True, eq=False)
class FittedFamilyBlup(FittedLineModel):
    """A trained family BLUP; see `FittedLineModel`. `effects_MT` are the effects common to all families.

    Attributes
    ----------
    family_P : family number of the panel's lines, −1 = none. correlation_T : ρ of every trait.

    Notes
    -----
    A line outside the panel is taken into the family it is most related to, see `nearest_family`.
    """

    family_P: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    correlation_T: np.ndarray = field(default_factory=lambda: np.zeros(0))

    class_path = "genomic_platform.models.family_blup:FittedFamilyBlup"

    @property
    def covariance(self) -> LineCovariance:  # pyright: ignore[reportIncompatibleVariableOverride]
        correlations = zip(self.traits, self.correlation_T.tolist(), strict=True)
        return FamilyCovariance(self.family_P, dict(correlations))

    def values_from_dosages(self, dosage_NM: np.ndarray) -> np.ndarray:
        """Breeding values, float64 (N, T), of dosages in the panel's marker order; missing −1. As `predict` gives them.

        Raises ValueError for another number of markers.
        """
        if dosage_NM.ndim != 2 or dosage_NM.shape[1] != self.n_markers:
            raise ValueError(f"dosages have shape {dosage_NM.shape}; expected (lines, {self.n_markers})")
        names = [f"{i:09d}" for i in range(len(dosage_NM))]
        table = GenotypeTable.from_dosages(self.panel.variants, names, np.ascontiguousarray(dosage_NM.T))
        values = self.predict(table).pivot("trait", index="line_id", values="breeding_value").sort("line_id")
        return values.select(self.traits).to_numpy()

    def save(self, folder: Path) -> None:
        super().save(folder)
        for name in ("family_P", "correlation_T"):
            markers.save_array(getattr(self, name), folder / ARRAYS / f"{name}.npy")


class _OnFamilies(LineRecipe):
    """The recipe once the families are known; ρ of every trait is filled in as it is found."""

    name = "family_blup"
    code_version = "1"
    fitted_class = FittedFamilyBlup

    def __init__(self, family_P: np.ndarray) -> None:
        object.__setattr__(self, "family_P", family_P)
        object.__setattr__(self, "correlations", {})

    family_P: np.ndarray
    correlations: dict[str, float]

    @property
    def covariance(self) -> LineCovariance:
        return FamilyCovariance(self.family_P, self.correlations)

    def fitted(self, **parameters: Any) -> FittedLineModel:
        for trait, said in parameters["summaries"].items():
            said |= {"effect_correlation": self.correlations[trait], "n_families": int(self.family_P.max()) + 1}
        correlation_T = np.array([self.correlations[fit.trait] for fit in parameters["fits"]])
        return FittedFamilyBlup(**parameters, family_P=self.family_P, correlation_T=correlation_T)

    def fit_components(self, relationship_EE: np.ndarray, scale: float,
                       data: Iterable[TraitData]) -> Iterator[SolvedTrait]:
        data = list(data)
        self.correlations.update(self._chosen(relationship_EE, data))
        for correlation in sorted(set(self.correlations.values())):
            of_this = [d for d in data if self.correlations[d.trait] == correlation]
            yield from fit_traits(correlated(relationship_EE, self.family_P, correlation), of_this)

    def _chosen(self, relationship_PP: np.ndarray, data: list[TraitData]) -> dict[str, float]:
        """ρ of every trait by the restricted likelihood of homoscedastic line means; 1 with fewer than two families."""
        chosen = {d.trait: 1.0 for d in data}
        groups: dict[bytes, list[TraitData]] = {}
        for d in data:
            if d.status == "fitted" and len(set(self.family_P[d.rows_N]) - {NO_FAMILY}) > 1:
                groups.setdefault(d.rows_N.tobytes(), []).append(d)
        for group in groups.values():
            at = spread(len(group[0].rows_N), CORRELATION_LINES)
            rows_S = group[0].rows_N[at]
            relationship_SS, family_S = relationship_PP[np.ix_(rows_S, rows_S)], self.family_P[rows_S]
            y_ST = np.column_stack([d.y_N[at] for d in group])
            likelihood_CT = np.array([tridiagonal_likelihood(
                y_ST, tridiagonal_contrasts(correlated(relationship_SS, family_S, c))) for c in CORRELATIONS])
            best_T = likelihood_CT.argmax(axis=0)
            chosen |= {d.trait: CORRELATIONS[best] for d, best in zip(group, best_T, strict=True)}
        return chosen


@dataclass(frozen=True)
class FamilyBlup:
    """The recipe `family_blup`; it has no settings. Families come with the training set, else from the relationship."""

    name: ClassVar[str] = _OnFamilies.name
    code_version: ClassVar[str] = _OnFamilies.code_version

    def fit(self, training_set: TrainingSet, *, seed: int = 0, device: str = "cpu",
            checkpoint: Path | None = None) -> FittedLineModel:
        """Train on all traits, as `LineRecipe.fit`."""
        return self._on_families(training_set).fit(training_set, seed=seed, device=device, checkpoint=checkpoint)

    def fit_values(self, training_set: TrainingSet) -> pl.DataFrame:
        """The panel's values alone, as `LineRecipe.fit_values`."""
        return self._on_families(training_set).fit_values(training_set)

    def _on_families(self, training_set: TrainingSet) -> _OnFamilies:
        relationship_PP = training_set.relationship_NN
        if training_set.families is None and relationship_PP is None:
            relationship_PP = vanraden(training_set.genotypes).matrix_NN
        return _OnFamilies(family_numbers(training_set.genotypes.lines, training_set.families,
                                          np.zeros((0, 0)) if relationship_PP is None else relationship_PP))
