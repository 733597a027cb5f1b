"""`graph_network`: lines as nodes, edges to their nearest relatives, two steps of propagation before the branch.

Transductive: lines without a phenotype are nodes too, and a line that comes later is attached to its nearest panel
lines. Reference: Frasca et al. 2020, SIGN, arXiv:2004.11198.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.genomic_blup import GenomicBlup
from genomic_platform.models.networks.inputs import Inputs, NeighbourInputs
from genomic_platform.models.networks.recipe import NetworkRecipe
from genomic_platform.models.search.space import Choice, Range, Real, Whole

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class GraphNetwork(NetworkRecipe):
    """The recipe `graph_network`."""

    neighbours: int = 10
    """Nearest relatives that a line has edges to."""
    features: int = 512
    """Cosine features of each member."""
    bandwidth: float = 1.0
    """θ of the kernel the features start from, in median squared distances of panel lines; larger than
    `marker_network`'s, since neighbourhood means add to the distance."""

    name: ClassVar[str] = "graph_network"
    code_version: ClassVar[str] = f"1, {GenomicBlup.code_version}"
    space: ClassVar[Mapping[str, Range]] = {
        **NetworkRecipe.space, "features": Choice((128, 256, 512, 1024)), "bandwidth": Real(0.1, 5.0, log=True),
        "neighbours": Whole(3, 30, log=True)}

    def inputs(self, panel: GenotypeTable, relationship_PP: np.ndarray) -> Inputs:
        return NeighbourInputs.of_relatives(relationship_PP, self.neighbours)

    def inputs_of(self, arrays: Mapping[str, np.ndarray], panel: GenotypeTable) -> Inputs:
        return NeighbourInputs(arrays["score_PR"], arrays["propagated_PR"], self.neighbours)

    def module(self, inputs: Inputs, panel: GenotypeTable, n_traits: int, spread: float,
               generator: torch.Generator) -> nn.Module:
        from genomic_platform.models.networks.branches import DenseBranch

        return DenseBranch(inputs.n_inputs, self.n_members, self.features, n_traits, self.bandwidth * spread,
                           generator)
