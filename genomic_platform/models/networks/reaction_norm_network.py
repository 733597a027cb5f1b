"""`reaction_norm_network`: lines' responses to environments, first linear in the covariates, then in any way they help.

ŷ = reaction norm + a f̄(x, w): the single-stage mixed model of `mixed.reaction_norm` (the skip path), and a branch of
marker effects times features of environment covariates (of the file, or windows of daily weather), whose last layer
starts at zero. It learns what the reaction norm leaves, a ∈ [0, 1] is its weight in new lines and new environments
(`inner_cells`); where it does not help those, a = 0 and the result is the reaction norm. Without covariates, or with
fewer than four environments, there is nothing to learn from and the result is the reaction norm too.
Reference of the skip path: Jarquín et al. 2014, Theor. Appl. Genet. 127:595-607.
Axes: N cells, E environments, R inputs of a line, W covariates, T traits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.models.checkpoint import Checkpoint
from genomic_platform.models.device_memory import with_smaller_batch
from genomic_platform.models.mixed.reaction_norm_recipe import FittedReactionNorm, ReactionNormRecipe
from genomic_platform.models.networks.inner_cells import CellTargets, cell_targets
from genomic_platform.models.networks.inputs import line_inputs
from genomic_platform.models.networks.reaction_fitted import FittedReactionNetwork
from genomic_platform.models.networks.recipe import branch_said, gates, network_device
from genomic_platform.models.networks.settings import Training
from genomic_platform.models.networks.trained_branch import Branch
from genomic_platform.models.protocol import TrainingSet

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ReactionNormNetwork:
    """The recipe `reaction_norm_network`."""

    training: Training = field(default_factory=Training)
    """How the branch is trained; `folds` is that of lines and, at most, of environments."""
    features: int = 16
    """Cosine features of the environment of each member; each has marker effects of its own, for each trait."""
    bandwidth: float = 1.0
    """θ of the kernel of environments the features start from, in median squared distances of training environments."""
    most_axes: int = 4_000
    """As of `marker_network`."""
    environment_kernel: str = "linear"
    """Of the skip path, as of `reaction_norm`."""
    weights: str = "auto"
    """Of line means in environments, as of `reaction_norm`."""

    name: ClassVar[str] = "reaction_norm_network"
    code_version: ClassVar[str] = f"1, {ReactionNormRecipe.code_version}"

    @classmethod
    def from_settings(cls, settings: Mapping[str, object]) -> Self:
        """The recipe whose `asdict` this is."""
        return cls(**Training.restored(settings))

    def fit(self, training_set: TrainingSet, *, seed: int = 0, device: str = "cpu",
            checkpoint: Path | None = None) -> FittedReactionNetwork:
        """Train on all traits; parameters and repeatability as of `NetworkRecipe.fit`.

        Raises
        ------
        MissingExtra : torch is not installed. NotAvailable : no such device here. ProgramError : the training set has
        no line means of environments. OutOfDeviceMemory : half the batch does not fit either.
        """
        where = network_device(device)
        if training_set.relationship_NN is None:
            training_set = replace(training_set, relationship_NN=vanraden(training_set.genotypes).matrix_NN)
        additive = ReactionNormRecipe(self.environment_kernel, self.weights).fit(training_set)
        targets = cell_targets(additive, self.training.folds, seed)
        if targets is None:
            return FittedReactionNetwork.without_branch(self, additive)
        with Checkpoint(checkpoint, self.training.checkpoint_seconds) as place:
            return with_smaller_batch(lambda batch: self._fit_branch(
                additive, targets, seed, where, place, replace(self.training, batch=batch)), self.training.batch)

    def _fit_branch(self, additive: FittedReactionNorm, targets: CellTargets, seed: int, device: torch.device,
                    checkpoint: Checkpoint, settings: Training) -> FittedReactionNetwork:
        import torch

        from genomic_platform.models.networks.branches import ReactionBranch
        from genomic_platform.models.networks.feeds import CellFeed
        from genomic_platform.models.networks.training import Trainer

        covariates = additive.covariates()
        assert covariates is not None
        generator = torch.Generator().manual_seed(seed)
        inputs = line_inputs(additive.panel, additive.relationship(), self.most_axes)
        rows_L, line_N = np.unique(targets.rows_N, return_inverse=True)
        lines = additive.panel.select(lines=[additive.panel.lines[row] for row in rows_L])
        feed = CellFeed(inputs.feed(lines, additive, device, settings.resident_bytes), line_N, targets.environment_N,
                        covariates.w_EW)
        n_members = targets.residual_NKT.shape[1] * settings.seeds
        module = ReactionBranch(inputs.n_inputs, covariates.w_EW, n_members, self.features, len(additive.traits),
                                self.bandwidth * covariates.median_distance, generator)
        trained = Trainer(module, feed, targets, settings, generator).run(checkpoint)
        found = gates(targets, trained.epoch_T, trained.held_out_NT)
        branch = Branch(inputs, trained.parameters, trained.epoch_T, np.array([g.weight for g in found]) * targets.sd_T)
        said = [branch_said(g, targets, t, trained.epoch_T, n_members, settings) for t, g in enumerate(found)]
        return FittedReactionNetwork.with_branch(self, additive, branch, said)
