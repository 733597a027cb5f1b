"""How networks are trained: the settings that all of them share, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genomic_platform.errors import ProgramError


@dataclass(frozen=True)
class Training:
    """Settings of the training loop; see `training.Trainer`."""

    folds: int = 5
    """Inner folds of the training lines; each is held out by its own members, on it they stop."""
    seeds: int = 1
    """Members per inner fold, which differ in where they start."""
    epochs: int = 60
    """Most passes over the training lines."""
    patience: int = 5
    """Passes without a smaller held-out loss before training ends."""
    batch: int = 128
    """Lines of a batch."""
    rate: float = 0.003
    """Step size per line; with momentum .9 a feature is learnt in about 1 / (10 × rate) passes."""
    momentum: float = 0.9
    """Nesterov momentum, 0–1."""
    bf16: bool = False
    """Matrix products in bfloat16 (parameters, loss and steps stay float32)."""
    compile: bool = False
    """Compile the module with torch.compile; off, since on a CPU it saves 2 % of a step (of a reaction norm's branch
    nothing) and takes seconds to compile (benchmarks/networks.py --compile). Not measured on a GPU."""
    resident_bytes: int = 4_000_000_000
    """Decoded markers that take more stay packed and are unpacked batch by batch; packed calls that take more stay in
    the host's memory."""
    checkpoint_seconds: float = 300.0
    """Seconds between two checkpoints, where a folder for them is given."""

    @staticmethod
    def restored(settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings of a recipe, as `asdict` made them, with their `training` as what it was."""
        return {**settings, "training": Training(**settings["training"])}

    def __post_init__(self) -> None:
        wrong = [f"{name} is {getattr(self, name)}; expected at least {least}" for name, least in
                 (("folds", 2), ("seeds", 1), ("epochs", 1), ("patience", 1), ("batch", 1)) if
                 getattr(self, name) < least]
        if not self.rate > 0 or not 0 <= self.momentum < 1:
            wrong.append(f"rate is {self.rate} and momentum {self.momentum}; expected rate > 0, 0 ≤ momentum < 1")
        if wrong:
            raise ProgramError(f"network training: {'; '.join(wrong)}")
