"""When a device's memory is too small for a training: half the batch, once, then a failure that says what was tried.

Which batch a training takes, and what else a smaller one changes, belongs to the training.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

from genomic_platform.errors import OutOfDeviceMemory

T = TypeVar("T")


def with_smaller_batch(work: Callable[[int], T], batch: int) -> T:
    """`work(batch)`; if memory is too small, `work` of half the batch.

    Raises
    ------
    OutOfDeviceMemory
        Half the batch does not fit either. Not tried again: the same device is as small the next time.
    """
    said: list[str] = []
    for size in dict.fromkeys((batch, max(1, batch // 2))):
        try:
            return work(size)
        except Exception as error:
            if not out_of_memory(error):
                raise
            said.append(f"batch of {size:,}: {error}")
        # outside `except`, where the traceback no longer holds the first try's tensors
        _release()
    raise OutOfDeviceMemory(f"out of memory, a smaller batch too; {'; '.join(said)}; repair: a smaller batch, fewer "
                            "markers, or ask for a device with more free memory (gpu_memory_gib)")


def out_of_memory(error: BaseException) -> bool:
    """Whether memory, the device's or the machine's, was too small."""
    torch = sys.modules.get("torch")
    return isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError))


def _release() -> None:
    """Give cached blocks back to the device, so that the second try finds all of its memory."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
