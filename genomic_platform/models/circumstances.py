"""What a fit may depend on beside data, settings and seed: processor, threads, versions of what computes."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

COMPUTING = ("numba", "numpy", "polars", "scipy")


def circumstances() -> dict[str, str]:
    """Name → value, as they are now: `processor`, `cores`, `blas threads`, and a version for each of `COMPUTING`."""
    import scipy.linalg  # noqa: F401  (loads its BLAS, so that it is counted)
    from threadpoolctl import threadpool_info

    threads = sorted({str(library["num_threads"]) for library in threadpool_info() if library["user_api"] == "blas"})
    return {"processor": _processor(), "cores": str(os.cpu_count()), "blas threads": "/".join(threads),
            **{package: version(package) for package in COMPUTING}}


def _processor() -> str:
    """The processor's model; where the system does not tell, its architecture."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8", errors="replace").splitlines() if told.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
