"""GBLUP: line values whose covariance is the genomic relationship of VanRaden 2008, method 1.

The breeding value is the additive BLUP, the genotypic value adds the BLUP of the line residual where stage-one
errors identify it; reliability = 1 − PEV / (σ²g K_ii). Marker effects follow by back-solution.
Lines in trial without genotypes train too where the pedigree joins them to the panel (`pedigree_lines`).
References: VanRaden 2008, J. Dairy Sci. 91:4414-4423; Strandén & Garrick 2009, J. Dairy Sci. 92:2971-2975.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from genomic_platform.models.line_covariance import LineCovariance, Lines, MarkerWeights
from genomic_platform.models.line_model import FittedLineModel
from genomic_platform.models.line_recipe import LineRecipe
from genomic_platform.models.trait_fit import SolvedTrait, TraitData, TraitFit, fit_traits


class AdditiveCovariance:
    """K = the relationship itself."""

    def panel(self, relationship_EE: np.ndarray, scale: float, fit: TraitFit) -> np.ndarray:
        return relationship_EE

    def cross(self, lines: Lines, relationship_EE: np.ndarray, scale: float, fit: TraitFit) -> Lines:
        return lines

    def marker_weights(self, relationship_EE: np.ndarray, scale: float, fit: TraitFit) -> MarkerWeights:
        """Back-solution û = Z'(σ²g / scale) V⁻¹(y − 1μ̂) (Strandén & Garrick 2009, eq. 5)."""
        return MarkerWeights(fit.components.genetic / scale * fit.panel_weights(len(relationship_EE)), 1.0)


class FittedGenomicBlup(FittedLineModel):
    """A trained GBLUP; see `FittedLineModel`."""

    class_path = "genomic_platform.models.genomic_blup:FittedGenomicBlup"
    covariance: ClassVar[LineCovariance] = AdditiveCovariance()


@dataclass(frozen=True)
class GenomicBlup(LineRecipe):
    """The recipe `genomic_blup`; it has no settings."""

    name: ClassVar[str] = "genomic_blup"
    code_version: ClassVar[str] = "2"
    fitted_class: ClassVar[type[FittedLineModel]] = FittedGenomicBlup
    uses_pedigree: ClassVar[bool] = True

    def fit_components(self, relationship_EE: np.ndarray, scale: float,
                       data: Iterable[TraitData]) -> Iterator[SolvedTrait]:
        return fit_traits(relationship_EE, data)
