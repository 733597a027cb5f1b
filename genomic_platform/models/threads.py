"""How many threads linear algebra may take: one for small matrices, where threads cost more than they save.

With other work on the same cores two BLAS threads made fits of 130 lines ten times slower than one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

#: Up to this many lines one thread; above, as many as the environment allows (OMP_NUM_THREADS, else all cores).
SMALL_LINES = 1_000


@contextmanager
def threads_for(n_lines: int) -> Iterator[None]:
    """Within, BLAS uses one thread where matrices have at most `SMALL_LINES` lines."""
    if n_lines > SMALL_LINES:
        yield
        return
    with _controller().limit(limits=1, user_api="blas"):
        yield


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    """The BLAS libraries of numpy and scipy, each of which brings its own."""
    import scipy.linalg  # noqa: F401  (loads its library, so that it is found)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
