"""The recipes of networks before training: GBLUP first, then a branch on what it leaves, kept where it helps.

ŷ = μ̂ + ĝ + a f̄(x): ĝ is the GBLUP of all training lines (the skip path; effects by back-solution), f̄ the mean over
members of a branch whose last layer starts at zero, a ∈ [0, 1] its weight by lines the members had not seen. Where f
does not help those, a = 0 and the result is GBLUP. A recipe adds what the branch sees and how it is built.
Axes: P panel lines, N training lines, M markers, R inputs, A members, T traits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import polars as pl

from genomic_platform.errors import MissingExtra, NotAvailable
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.checkpoint import Checkpoint
from genomic_platform.models.device_memory import with_smaller_batch
from genomic_platform.models.genomic_blup import FittedGenomicBlup
from genomic_platform.models.networks.fitted import NOT_LEARNT, FittedNetwork
from genomic_platform.models.networks.inner_folds import CLOSED, Gate, InnerTargets, gate, inner_targets
from genomic_platform.models.networks.inputs import Inputs
from genomic_platform.models.networks.settings import Training
from genomic_platform.models.networks.trained_branch import Branch
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.models.search.space import Range, Real
from genomic_platform.models.yardstick import yardstick

if TYPE_CHECKING:
    import torch
    from torch import nn

NO_GAIN = "closed: no gain in inner folds"


@dataclass(frozen=True)
class NetworkRecipe(ABC):
    """A network that starts as GBLUP.

    Attributes
    ----------
    training : how it is trained.
    """

    training: Training = field(default_factory=Training)

    name: ClassVar[str]
    code_version: ClassVar[str]
    space: ClassVar[Mapping[str, Range]] = {"training.rate": Real(0.001, 0.02, log=True)}

    @abstractmethod
    def inputs(self, panel: GenotypeTable, relationship_PP: np.ndarray) -> Inputs:
        """What the branch sees of a line."""

    @abstractmethod
    def inputs_of(self, arrays: Mapping[str, np.ndarray], panel: GenotypeTable) -> Inputs:
        """The same from saved arrays."""

    @abstractmethod
    def module(self, inputs: Inputs, panel: GenotypeTable, n_traits: int, spread: float,
               generator: torch.Generator) -> nn.Module:
        """The branch. `spread` : median squared distance of two panel lines in the inputs' scale."""

    @property
    def n_members(self) -> int:
        return self.training.folds * self.training.seeds

    @classmethod
    def from_settings(cls, settings: Mapping[str, object]) -> Self:
        """The recipe whose `asdict` this is."""
        return cls(**Training.restored(settings))

    def fit(self, training_set: TrainingSet, *, seed: int = 0, device: str = "cpu",
            checkpoint: Path | None = None) -> FittedNetwork:
        """Train on all traits: repeatable to the bit on one processor with one number of threads.

        Parameters
        ----------
        seed : of the inner folds, the start and the order of lines.
        device : `cpu` or `cuda`, of the branch.
        checkpoint : folder from which a training that was killed goes on; of other data, settings or seed it is not
            used. Its owner removes it once the model is safe.

        Raises
        ------
        MissingExtra : torch is not installed. NotAvailable : no such device here.
        OutOfDeviceMemory : half the batch does not fit the device either.
        """
        where = network_device(device)
        additive, relationship_PP = yardstick(training_set)
        targets = inner_targets(additive.panel, relationship_PP, additive.fits, self.training.folds, seed)
        if targets is None:
            return FittedNetwork.without_branch(self, additive)
        with Checkpoint(checkpoint, self.training.checkpoint_seconds) as place:
            return with_smaller_batch(lambda batch: self._fit_branch(
                additive, relationship_PP, targets, seed, where, place, replace(self.training, batch=batch)),
                self.training.batch)

    def fit_values(self, training_set: TrainingSet) -> pl.DataFrame:
        """Train and give the panel's values, with GBLUP's intercept, for cross-validation."""
        fitted = self.fit(training_set)
        intercept = pl.DataFrame({"trait": fitted.traits, "intercept": [f.intercept for f in fitted.additive.fits]},
                                 schema={"trait": pl.String, "intercept": pl.Float64})
        return (fitted.predict(training_set.genotypes).join(intercept, on="trait", maintain_order="left")
                .select("line_id", "trait", "breeding_value", "genotypic_value", "intercept"))

    def _fit_branch(self, additive: FittedGenomicBlup, relationship_PP: np.ndarray, targets: InnerTargets, seed: int,
                    device: torch.device, checkpoint: Checkpoint, settings: Training) -> FittedNetwork:
        import torch

        from genomic_platform.models.kernel import median_squared_distance
        from genomic_platform.models.networks.training import Trainer

        panel = additive.panel
        generator = torch.Generator().manual_seed(seed)
        inputs = self.inputs(panel, relationship_PP)
        module = self.module(inputs, panel, len(additive.fits), median_squared_distance(relationship_PP, 1.0),
                             generator)
        lines = panel.select(lines=[panel.lines[row] for row in targets.rows_N])
        feed = inputs.feed(lines, additive, device, settings.resident_bytes)
        trained = Trainer(module, feed, targets, settings, generator).run(checkpoint)
        found = gates(targets, trained.epoch_T, trained.held_out_NT)
        branch = Branch(inputs, trained.parameters, trained.epoch_T,
                        np.array([g.weight for g in found]) * targets.sd_T)
        fitted = FittedNetwork.with_branch(self, additive, branch, module, feed, targets, settings.batch)
        for t, trait in enumerate(fitted.traits):
            fitted.summaries[trait] |= branch_said(found[t], targets, t, trained.epoch_T, self.n_members, settings)
        return fitted


def gates(targets: InnerTargets, epoch_T: np.ndarray, held_out_NT: np.ndarray) -> list[Gate]:
    """The gate of every trait; closed where no pass was better than none."""
    return [gate(targets, t, held_out_NT) if epoch else CLOSED for t, epoch in enumerate(epoch_T)]


def network_device(device: str) -> torch.device:
    """The torch device of that name.

    Raises
    ------
    MissingExtra : torch is not installed. NotAvailable : no such device here.
    """
    try:
        from genomic_platform.genotypes.device import torch_device

        return torch_device(device)
    except ImportError as error:
        raise MissingExtra("networks need the package torch; repair: pip install 'genomic-platform[networks]'"
                           ) from error
    except ValueError as error:
        raise NotAvailable(f"network training: {error}") from error


def branch_said(found: Gate, targets: InnerTargets, trait: int, epoch_T: np.ndarray, n_members: int,
                settings: Training) -> dict[str, float | int | str]:
    """What a summary says of a trait's branch; `batch` is half of what was asked where a device was too small."""
    state = "open" if found.weight else NO_GAIN if targets.sd_T[trait] > 0 else NOT_LEARNT
    return {"branch": state, "branch_weight": found.weight, "inner_fold_gain": found.gain,
            "inner_fold_gain_error": found.gain_error, "epochs": int(epoch_T[trait]), "members": n_members,
            "batch": settings.batch}
