"""Linear algebra on small matrices takes one thread, on large ones what the environment gives."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_info

from genomic_platform.models.threads import SMALL_LINES, threads_for


def _threads() -> list[int]:
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_small_matrices_take_one_thread_and_large_ones_all() -> None:
    np.linalg.inv(np.eye(3))
    with threads_for(SMALL_LINES + 1):
        before = _threads()
    with threads_for(SMALL_LINES):
        within = _threads()
    assert set(within) == {1}
    assert before[:len(within)] == _threads()[:len(before)]
