"""Out of memory: half the batch once, then a failure that is not tried again."""

from __future__ import annotations

import numpy as np
import pytest

from genomic_platform.errors import OutOfDeviceMemory
from genomic_platform.models.device_memory import with_smaller_batch

torch = pytest.importorskip("torch")
_ROW = 1 << 56  # bytes: no machine has them, so NumPy's own MemoryError is raised


def test_half_the_batch_is_tried_when_the_whole_does_not_fit() -> None:
    tried: list[int] = []

    def work(batch: int) -> int:
        tried.append(batch)
        np.empty((_ROW if batch > 64 else 1, 1), dtype=np.uint8)
        return batch

    assert with_smaller_batch(work, 128) == 64
    assert tried == [128, 64]


@pytest.mark.parametrize(("batch", "sizes"), [(128, ["128", "64"]), (1, ["1"])])
def test_then_it_fails_for_good_and_says_what_was_tried(batch: int, sizes: list[str]) -> None:
    tried: list[str] = []

    def work(size: int) -> None:
        tried.append(str(size))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")  # no card here to raise it

    with pytest.raises(OutOfDeviceMemory) as caught:
        with_smaller_batch(work, batch)
    assert tried == sizes
    assert not caught.value.transient
    assert all(f"batch of {size}: CUDA out of memory" in str(caught.value) for size in sizes)


def test_other_errors_pass_at_once() -> None:
    tried: list[int] = []

    def work(batch: int) -> None:
        tried.append(batch)
        raise RuntimeError("not memory")

    with pytest.raises(RuntimeError, match="not memory"):
        with_smaller_batch(work, 8)
    assert tried == [8]
