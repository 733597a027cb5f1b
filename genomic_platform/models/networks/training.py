"""The training loop that all networks share: all members at once, early stopping on inner folds, checkpoints.

torch is imported here: import this module inside functions. What is learnt belongs to `inner_folds`, from what to
`feeds`, by what to `branches`. Reference: Prechelt 1998, Early stopping - but when?, LNCS 1524:55-69.
Axes: N training lines, B lines of a batch, K inner folds, A = K × S members, T traits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from genomic_platform.models.checkpoint import Checkpoint
from genomic_platform.models.networks.feeds import Feed, batches
from genomic_platform.models.networks.inner_folds import InnerTargets
from genomic_platform.models.networks.settings import Training


class Trained(NamedTuple):
    """What training found: each trait has its own best pass.

    Attributes
    ----------
    epoch_T : passes over the training lines up to the best; 0 = none was better than GBLUP.
    parameters : of the module after each pass that was some trait's best.
    held_out_NT : each line's value by the members that had not seen it, in standard deviations.
    """

    epoch_T: np.ndarray
    parameters: dict[int, dict[str, np.ndarray]]
    held_out_NT: np.ndarray


@dataclass
class _Targets:
    """`InnerTargets` on the device, float32."""

    residual_NKT: Tensor
    weight_NKT: Tensor
    held_NKT: Tensor

    @classmethod
    def of(cls, targets: InnerTargets, device: torch.device) -> _Targets:
        weight_NKT = targets.weight_NT[:, None, :] * targets.trains_NK[:, :, None]
        held_NKT = targets.weight_NT[:, None, :] * targets.held_out_NK[:, :, None]
        return cls(*(torch.from_numpy(a.astype(np.float32)).to(device)
                     for a in (targets.residual_NKT, weight_NKT, held_NKT)))


class Trainer:
    """One training, as an object whose state can be saved and taken up again.

    The loss of a batch is Σ w (r − f)² / 2 over lines, traits and members, each member without its own fold: summed,
    so that a step's size does not depend on the size of the batch. Plain gradient steps with Nesterov momentum, since
    steps scaled by the gradient's own size (Adam) drown a signal that is a few per cent of the variance.
    """

    def __init__(self, module: nn.Module, feed: Feed, targets: InnerTargets, settings: Training,
                 generator: torch.Generator) -> None:
        self.module, self.settings, self.generator = module.to(feed.device), settings, generator
        self.feed = feed.in_bf16() if settings.bf16 else feed
        self.targets = _Targets.of(targets, feed.device)
        self.fold_N = torch.from_numpy(targets.fold_N).to(feed.device)
        self.forward = torch.compile(module) if settings.compile else module
        self.optimiser = torch.optim.SGD(module.parameters(), lr=settings.rate, momentum=settings.momentum,
                                         nesterov=settings.momentum > 0, fused=True)
        n_traits = len(targets.sd_T)
        self.epoch, self.best_epoch_T, self.best_loss_T = 0, [0] * n_traits, [1.0] * n_traits  # the head is 0: GBLUP
        self.best: dict[int, dict[str, Tensor]] = {}
        # A checkpoint of other data, settings or seed is not gone on from.
        start = hashlib.sha256(targets.residual_NKT.tobytes() + targets.fold_N.tobytes())
        start.update(f"{settings} {generator.initial_seed()} {[tuple(p.shape) for p in module.parameters()]}".encode())
        self.of = start.hexdigest()

    def run(self, checkpoint: Checkpoint) -> Trained:
        """Train until no trait's held-out loss has fallen for `patience` passes; each trait keeps its best pass."""
        saved = checkpoint.load()
        if saved is not None and saved["of"] == self.of:
            self._restore(saved)
        while self.epoch < self.settings.epochs and self.epoch - max(self.best_epoch_T) < self.settings.patience:
            self._pass()
            self.epoch += 1
            self._keep_best(self._held_out_loss(self._values_NAT()))
            checkpoint.reached(self.state)
        return self._trained()

    def step(self, rows_B: Tensor) -> None:
        """One gradient step on a batch of lines."""
        t = self.targets
        with self._precision():
            f_BAT = self.forward(self.feed.batch(rows_B)).float()
        miss_BAT = t.residual_NKT[rows_B].repeat_interleave(self._seeds, dim=1) - f_BAT
        loss = 0.5 * (t.weight_NKT[rows_B].repeat_interleave(self._seeds, dim=1) * miss_BAT.square()).sum()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()

    def state(self) -> dict[str, Any]:
        """All that the rest of the training depends on, between two passes."""
        return {"of": self.of, "module": self.module.state_dict(), "optimiser": self.optimiser.state_dict(),
                "epoch": self.epoch, "best_epoch_T": self.best_epoch_T, "best_loss_T": self.best_loss_T,
                "best": self.best, "generator": self.generator.get_state()}

    def _restore(self, saved: Mapping[str, Any]) -> None:
        self.module.load_state_dict(saved["module"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.epoch, self.best_epoch_T, self.best_loss_T = saved["epoch"], saved["best_epoch_T"], saved["best_loss_T"]
        self.best = saved["best"]
        self.generator.set_state(saved["generator"])

    @property
    def _seeds(self) -> int:
        return self.settings.seeds

    def _pass(self) -> None:
        order_N = torch.randperm(self.feed.n_lines, generator=self.generator)
        for rows_B in batches(self.feed, self.settings.batch, order_N):
            self.step(rows_B)

    def _keep_best(self, loss_T: list[float]) -> None:
        for t, loss in enumerate(loss_T):
            if loss < self.best_loss_T[t]:
                self.best_loss_T[t], self.best_epoch_T[t] = loss, self.epoch
                self.best[self.epoch] = {name: value.clone() for name, value in self.module.state_dict().items()}
        self.best = {epoch: state for epoch, state in self.best.items() if epoch in self.best_epoch_T}

    def _trained(self) -> Trained:
        epoch_T = np.array(self.best_epoch_T)
        held_out_NT = np.zeros((self.feed.n_lines, len(epoch_T)))
        for epoch, state in self.best.items():
            self.module.load_state_dict(state)
            f_NT = self._held_out(self._values_NAT()).cpu().numpy()
            held_out_NT[:, epoch_T == epoch] = f_NT[:, epoch_T == epoch]
        parameters = {epoch: {name: value.cpu().numpy().copy() for name, value in state.items()}
                      for epoch, state in self.best.items()}
        return Trained(epoch_T, parameters, held_out_NT)

    def _values_NAT(self) -> Tensor:
        return values(self.module, self.feed, self.settings.batch, self._precision())

    def _held_out(self, f_NAT: Tensor) -> Tensor:
        """Mean over the members of each line's own fold, (N, T)."""
        f_NKT = f_NAT.unflatten(1, (-1, self._seeds)).mean(dim=2)
        return f_NKT[torch.arange(len(f_NKT), device=f_NKT.device), self.fold_N]

    def _held_out_loss(self, f_NAT: Tensor) -> list[float]:
        """Squared error in held-out lines as a share of GBLUP's, of every trait; 1 for traits that are not learnt."""
        t, f_NT = self.targets, self._held_out(f_NAT)
        left_T = (t.held_NKT * (t.residual_NKT - f_NT[:, None]).square()).sum(dim=(0, 1))
        alone_T = (t.held_NKT * t.residual_NKT.square()).sum(dim=(0, 1))
        return torch.where(alone_T > 0, left_T / alone_T, 1.0).tolist()

    def _precision(self) -> AbstractContextManager[object]:
        return torch.autocast(self.feed.device.type, dtype=torch.bfloat16, enabled=self.settings.bf16)


def values(module: nn.Module, feed: Feed, size: int, precision: AbstractContextManager[object]) -> Tensor:
    """Values (N, A, T) of all lines of a feed, without gradients."""
    with torch.no_grad(), precision:
        return torch.cat([module(feed.batch(rows_B)).float() for rows_B in batches(feed, size)])


def mean_gradient(module: nn.Module, feed: Feed, size: int, weight_NT: np.ndarray) -> np.ndarray:
    """∂f/∂x averaged over lines (weights summing to 1 for a trait) and members, float64 (R, T)."""
    weight = torch.from_numpy(weight_NT.astype(np.float32)).to(feed.device)
    shift_R = torch.zeros(feed.n_inputs, device=feed.device, requires_grad=True)
    total_TR = np.zeros((weight.shape[1], feed.n_inputs))
    for rows_B, weight_BT in zip(batches(feed, size), weight.split(size), strict=True):
        f_T = (module(feed.batch(rows_B) + shift_R).mean(dim=1) * weight_BT).sum(dim=0)
        for t in range(len(f_T)):
            gradient_R, = torch.autograd.grad(f_T[t], shift_R, retain_graph=t + 1 < len(f_T))
            total_TR[t] += gradient_R.cpu().numpy()
    return total_TR.T
