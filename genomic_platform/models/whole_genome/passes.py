"""Passes over the packed calls that all traits share, on the processor or a graphics card, resumable between two.

What is solved belongs to `trait_job`, products over packed calls to `genotypes`.
Axes: P panel lines, M markers, K directions of a trait, L of all traits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from genomic_platform.errors import MissingExtra, NotAvailable
from genomic_platform.genotypes.kinship.codings import additive
from genomic_platform.genotypes.kinship.cross_product import gram_times
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.checkpoint import Checkpoint
from genomic_platform.models.device_memory import with_smaller_batch
from genomic_platform.models.whole_genome.trait_job import TraitJob

Product = Callable[[np.ndarray], np.ndarray]
#: Bytes of calls unpacked at a time on a card; what unpacking needs beside them is about twice that.
_DEVICE_BYTES = 268_000_000


def relationship_product(panel: GenotypeTable, frequencies_M: np.ndarray, scale: float, device: str) -> Product:
    """x (P, L) → K x without K, one pass over the packed calls.

    Raises
    ------
    MissingExtra : a card is asked for and torch is not installed. NotAvailable : no such device here.
    OutOfDeviceMemory : the packed calls do not fit the card together with a block of them.
    """
    value_M4 = additive(frequencies_M)
    if device == "cpu":
        return lambda right_PL: gram_times(panel, value_M4, right_PL) / scale
    try:
        from genomic_platform.genotypes.device import ResidentGram, torch_device

        torch_device(device)
    except ImportError as error:
        raise MissingExtra("whole-genome regression on a card needs the package torch; repair: pip install "
                           "'genomic-platform[networks]'") from error
    except ValueError as error:
        raise NotAvailable(f"whole-genome regression: {error}") from error

    batch = max(64, _DEVICE_BYTES // (4 * panel.n_lines))
    gram = with_smaller_batch(partial(_tried, ResidentGram, panel, value_M4, device), batch)
    return lambda right_PL: gram(right_PL) / scale


def _tried(make: Callable[..., Product], panel: GenotypeTable, value_M4: np.ndarray, device: str,
           batch: int) -> Product:
    """The product after a first call of a usual width: what does not fit shows at once."""
    gram = make(panel, value_M4, device, batch)
    gram(np.zeros((panel.n_lines, 128)))
    return gram


def run(jobs: Sequence[TraitJob], product: Product, n_panel: int, checkpoint: Checkpoint, key: str) -> None:
    """Bring every job to its end, each pass for all that are not there yet.

    Parameters
    ----------
    key : of data, settings and seed; a checkpoint of another one is not gone on from.
    """
    saved = checkpoint.load()
    if saved is not None and saved["key"] == key:
        for job in jobs:
            job.resume(saved["jobs"][job.data.trait])
    while open_jobs := [job for job in jobs if not job.done]:
        parts = [job.directions() for job in open_jobs]
        stops = np.cumsum([0, *(part.shape[1] for part in parts)])
        right_PL = np.zeros((n_panel, stops[-1]))
        for job, part, start, stop in zip(open_jobs, parts, stops[:-1], stops[1:], strict=True):
            right_PL[job.data.rows_N, start:stop] = part
        image_PL = product(right_PL)
        for job, start, stop in zip(open_jobs, stops[:-1], stops[1:], strict=True):
            job.take(image_PL[job.data.rows_N, start:stop])
        checkpoint.reached(lambda: {"key": key, "jobs": {job.data.trait: job.state() for job in jobs}})
