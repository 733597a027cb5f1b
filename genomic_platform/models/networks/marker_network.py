"""`marker_network`: every feature of the branch sees the whole genotype, so that markers of all chromosomes interact.

The branch starts as a Gaussian kernel's random features (Rahimi & Recht 2007, NeurIPS 20) and learns from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.genomic_blup import GenomicBlup
from genomic_platform.models.networks.inputs import Inputs, line_inputs, saved_line_inputs
from genomic_platform.models.networks.recipe import NetworkRecipe
from genomic_platform.models.search.space import Choice, Range, Real

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class MarkerNetwork(NetworkRecipe):
    """The recipe `marker_network`."""

    features: int = 512
    """Cosine features of each member."""
    bandwidth: float = 0.5
    """θ of the kernel the features start from, in median squared distances of panel lines."""
    most_axes: int = 4_000
    """Panels with more lines, or more lines than markers, give the branch their markers instead of their scores: the
    eigendecomposition takes 9 P³ operations."""

    name: ClassVar[str] = "marker_network"
    code_version: ClassVar[str] = f"1, {GenomicBlup.code_version}"
    space: ClassVar[Mapping[str, Range]] = {
        **NetworkRecipe.space, "features": Choice((128, 256, 512, 1024)), "bandwidth": Real(0.1, 5.0, log=True)}

    def inputs(self, panel: GenotypeTable, relationship_PP: np.ndarray) -> Inputs:
        return line_inputs(panel, relationship_PP, self.most_axes)

    def inputs_of(self, arrays: Mapping[str, np.ndarray], panel: GenotypeTable) -> Inputs:
        return saved_line_inputs(arrays, panel)

    def module(self, inputs: Inputs, panel: GenotypeTable, n_traits: int, spread: float,
               generator: torch.Generator) -> nn.Module:
        from genomic_platform.models.networks.branches import DenseBranch

        return DenseBranch(inputs.n_inputs, self.n_members, self.features, n_traits, self.bandwidth * spread,
                           generator)
