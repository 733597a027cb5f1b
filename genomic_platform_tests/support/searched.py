"""A programme's own recipe whose settings can be searched, and a search that is killed: `python -m … FOLDER FIT`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from genomic_platform.models.genomic_blup import GenomicBlup
from genomic_platform.models.line_model import FittedLineModel
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.models.search.budget import Budget
from genomic_platform.models.search.recipe import SearchedRecipe
from genomic_platform.models.search.space import Range, Real, Whole
from genomic_platform_tests.support.panels import made_panel, made_values, training_set

ENOUGH = Budget(trials=10, minutes=float("inf"))
SEED = 5


@dataclass(frozen=True)
class ThinnedBlup:
    """GBLUP on every k-th marker; its own settings leave two of 24. `fits` counts, at `last` the process is killed."""

    every: int = 12
    start: float = 0.0

    name: ClassVar[str] = "thinned_blup"
    code_version: ClassVar[str] = "1"
    space: ClassVar[Mapping[str, Range]] = {"every": Whole(1, 12, log=True), "start": Real(0.0, 0.99)}
    fits: ClassVar[int] = 0
    last: ClassVar[int] = 0

    def fit(self, training_set: TrainingSet, *, seed: int = 0, device: str = "cpu",
            checkpoint: Path | None = None) -> FittedLineModel:
        ThinnedBlup.fits += 1
        if self.fits == self.last:
            os.kill(os.getpid(), signal.SIGKILL)
        panel = training_set.genotypes
        kept_M = np.arange(int(self.start * self.every), panel.n_variants, self.every)
        return GenomicBlup().fit(replace(training_set, genotypes=panel.select(kept_M), relationship_NN=None))


def learnt() -> TrainingSet:
    """Two traits of 80 lines and 24 markers."""
    panel = made_panel(n_lines=80, n_markers=24)
    lines = list(panel.lines)
    return training_set(panel, {"height": (lines, made_values(panel, 0.8), None),
                                "yield": (lines[:70], made_values(panel, 0.6)[:70], None)})


if __name__ == "__main__":
    ThinnedBlup.last = int(sys.argv[2])
    SearchedRecipe(ThinnedBlup(), ENOUGH).fit(learnt(), seed=SEED, checkpoint=Path(sys.argv[1]))
