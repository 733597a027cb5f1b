"""A recipe whose fit of a season waits while a file of the season's name lies in the folder that HOLD names.

For tests that must act on a run while it works, however fast the machine is.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from genomic_platform.models.genomic_blup import GenomicBlup
from genomic_platform.models.line_model import FittedLineModel
from genomic_platform.models.protocol import TrainingSet

HOLD = "HOLD_FITS_IN"
RECIPE = "genomic_platform_tests.support.waiting:Waiting"


@dataclass(frozen=True)
class Waiting(GenomicBlup):
    """Genomic BLUP that waits before it fits."""

    name: ClassVar[str] = RECIPE

    def fit(self, training_set: TrainingSet, **more: Any) -> FittedLineModel:
        while (Path(os.environ[HOLD]) / training_set.season).exists():
            time.sleep(0.1)
        return super().fit(training_set, **more)
