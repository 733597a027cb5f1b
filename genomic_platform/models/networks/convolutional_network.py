"""`convolutional_network`: markers in map order, features of windows of neighbours, pooled over the genome.

Windows never cross chromosomes. Their weights are their own (locally connected): an allele has no meaning that could
be shared between places, unlike a pixel. What is learnt beyond GBLUP is interaction within windows, as of haplotypes.
Compare Pook et al. 2020, Front. Genet. 11:561497. Axes: L windows of W markers, M markers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.genomic_blup import GenomicBlup
from genomic_platform.models.markers import panel_frequencies
from genomic_platform.models.networks.inputs import Inputs, MarkerInputs
from genomic_platform.models.networks.recipe import NetworkRecipe
from genomic_platform.models.search.space import Range, Real, Whole

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class ConvolutionalNetwork(NetworkRecipe):
    """The recipe `convolutional_network`."""

    window: int = 64
    """Neighbouring markers of a window; panels of more than `most_windows` windows take longer ones."""
    most_windows: int = 200
    """Most windows, so that work and parameters stay those of a small network on dense panels."""
    features: int = 8
    """Cosine features of each window and member."""
    bandwidth: float = 0.5
    """θ of the kernel a window's features start from, in mean squared distances of panel lines within the window."""

    name: ClassVar[str] = "convolutional_network"
    code_version: ClassVar[str] = f"1, {GenomicBlup.code_version}"
    space: ClassVar[Mapping[str, Range]] = {
        **NetworkRecipe.space, "features": Whole(4, 32, log=True), "bandwidth": Real(0.1, 5.0, log=True),
        "window": Whole(16, 256, log=True)}

    def inputs(self, panel: GenotypeTable, relationship_PP: np.ndarray) -> Inputs:
        return MarkerInputs(panel.n_variants)

    def inputs_of(self, arrays: Mapping[str, np.ndarray], panel: GenotypeTable) -> Inputs:
        return MarkerInputs(panel.n_variants)

    def module(self, inputs: Inputs, panel: GenotypeTable, n_traits: int, spread: float,
               generator: torch.Generator) -> nn.Module:
        from genomic_platform.models.networks.branches import WindowBranch

        width = max(self.window, -(-panel.n_variants // self.most_windows))
        marker_LW = windows(panel.variants["chromosome"].to_numpy(), width)
        frequencies_M = panel_frequencies(panel)
        scale = 2 * np.sum(frequencies_M * (1 - frequencies_M))
        # Two lines drawn at random differ at a marker by twice its variance; 2p(1 − p) is that of unrelated gametes.
        spread_M = np.append(4 * frequencies_M * (1 - frequencies_M) / scale, 0.0)
        return WindowBranch(marker_LW, spread_M[marker_LW].sum(axis=1), self.n_members, self.features, n_traits,
                            self.bandwidth, generator)


def windows(chromosome_M: np.ndarray, width: int) -> np.ndarray:
    """Markers of windows of `width`, int64 (L, W), in map order; places past a chromosome's end hold M."""
    n_markers = len(chromosome_M)
    ends = np.flatnonzero(chromosome_M[1:] != chromosome_M[:-1]) + 1
    found = []
    for run_M in np.split(np.arange(n_markers), ends):
        padded = np.full(-(-len(run_M) // width) * width, n_markers, dtype=np.int64)
        padded[: len(run_M)] = run_M
        found.append(padded.reshape(-1, width))
    return np.concatenate(found)
