"""Phenotyped lines without genotypes, joined to the panel through the pedigree: single-step GBLUP.

    u = C g_S + ε,   C = A_US A_SS⁻¹,   Var(ε) = σ²g (A_UU − C A_SU) / slope

S are the panel's lines in the pedigree, in trial or not, U the lines in trial without genotypes. This is H (Legarra
et al. 2009, eq. 4) with G unblended, since V is formed from H and nothing inverts G, and A divided by `slope` so that
both spread alike (`tuning`, Christensen et al. 2012). Breeding values stay deviations from the panel's mean: what no
genotyped line explains of a U line has mean 0, and there is no shift. A itself is `genotypes/kinship`'s.
Axes: P lines of the panel, S, U as above, E = P + U.
Reference: Legarra, Aguilar & Misztal 2009, J. Dairy Sci. 92:4656-4663.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from genomic_platform.genotypes.kinship.pedigree import numerator_relationship, ordered_pedigree
from genomic_platform.genotypes.kinship.single_step import pedigree_regression, tuning
from genomic_platform.models.line_covariance import MarkerWeights
from genomic_platform.models.markers import save_array
from genomic_platform.phenotypes.pedigree import with_ancestors

#: Largest |C| of a line that no genotyped line says anything about.
_UNRELATED = 1e-9
NAMES, REGRESSION, RESIDUAL = "lines.txt", "regression_UP.npy", "residual_UU.npy"


@dataclass(frozen=True, eq=False)
class PedigreeLines:
    """Lines in trial without genotypes.

    Attributes
    ----------
    lines : U line ids; none where all lines in trial are genotyped, or nothing is known of their parents.
    regression_UP : C, 0 for lines of the panel outside the pedigree. residual_UU : Var(ε) / σ²g.
    """

    lines: tuple[str, ...]
    regression_UP: np.ndarray
    residual_UU: np.ndarray

    @classmethod
    def none(cls, n_panel: int) -> Self:
        return cls((), np.zeros((0, n_panel)), np.zeros((0, 0)))

    def covariance(self, relationship_PP: np.ndarray) -> np.ndarray:
        """H of all lines, shape (E, E), the panel's first, in G's scale."""
        if not self.lines:
            return relationship_PP
        cross_UP = self.regression_UP @ relationship_PP
        own_UU = cross_UP @ self.regression_UP.T + self.residual_UU
        return np.block([[relationship_PP, cross_UP.T], [cross_UP, (own_UU + own_UU.T) / 2]])

    def cross(self, cross_QP: np.ndarray) -> np.ndarray:
        """Covariance of Q genotyped lines with all E, from theirs with the panel."""
        return cross_QP if not self.lines else np.hstack([cross_QP, cross_QP @ self.regression_UP.T])

    def on_panel(self, weights: MarkerWeights) -> MarkerWeights:
        """Weights over E as weights over the panel: a genotyped line's row of H times the former is its row of G times
        the latter."""
        n_panel, weights_E = self.regression_UP.shape[1], weights.weights_P
        return replace(weights, weights_P=weights_E[:n_panel] + self.regression_UP.T @ weights_E[n_panel:])

    def save(self, folder: Path) -> None:
        """Write a folder; nothing where there are no lines."""
        if not self.lines:
            return
        folder.mkdir(parents=True, exist_ok=True)
        (folder / NAMES).write_text("".join(f"{line}\n" for line in self.lines), encoding="utf-8")
        save_array(self.regression_UP, folder / REGRESSION)
        save_array(self.residual_UU, folder / RESIDUAL)

    @classmethod
    def load(cls, folder: Path, n_panel: int) -> Self:
        """What `save` wrote."""
        if not folder.is_dir():
            return cls.none(n_panel)
        return cls(tuple((folder / NAMES).read_text(encoding="utf-8").splitlines()),
                   np.load(folder / REGRESSION, allow_pickle=False), np.load(folder / RESIDUAL, allow_pickle=False))


def pedigree_lines(pedigree: pl.DataFrame | None, panel: tuple[str, ...], relationship_PP: np.ndarray,
                   phenotyped: set[str]) -> PedigreeLines:
    """The lines in trial that only the pedigree joins to the panel.

    Parameters
    ----------
    pedigree : contract PEDIGREE; rows of lines that are neither in the panel nor in trial, nor ancestors of these,
        change nothing. panel : P line ids, in the order of `relationship_PP`. phenotyped : lines in trial.
    """
    none = PedigreeLines.none(len(panel))
    if pedigree is None or not phenotyped - set(panel):
        return none
    known = with_ancestors(pedigree, phenotyped.union(panel))
    members = set(known["line_id"])
    wanted, genotyped = sorted((phenotyped - set(panel)) & members), [line for line in panel if line in members]
    if not wanted or len(genotyped) < 2 or not known["parent_1"].count() + known["parent_2"].count():
        return none
    relationship_LL = numerator_relationship(ordered_pedigree(known), [*genotyped, *wanted])
    n = len(genotyped)
    own_SS, cross_US = relationship_LL[:n, :n], relationship_LL[n:, :n]
    regression_US = pedigree_regression(cross_US, own_SS)
    related_U = np.abs(regression_US).max(axis=1) > _UNRELATED
    at_S = np.array([row for row, line in enumerate(panel) if line in members])
    try:
        slope = tuning(relationship_PP[np.ix_(at_S, at_S)], own_SS)[1]
    except ValueError:  # a pedigree of unrelated or identical lines says nothing about scale
        slope = 1.0
    residual_UU = (relationship_LL[n:, n:] - regression_US @ cross_US.T) / slope
    regression_UP = np.zeros((int(related_U.sum()), len(panel)))
    regression_UP[:, at_S] = regression_US[related_U]
    return PedigreeLines(tuple(line for line, related in zip(wanted, related_U, strict=True) if related),
                         regression_UP, residual_UU[np.ix_(related_U, related_U)])
