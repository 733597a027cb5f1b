"""p-values of many tests at once: markers of a genome scan, features of an environment, columns of a table.

The gate's own corrections, which resample, are `gate`'s. Axes: M tests.
"""

from __future__ import annotations

import numpy as np


def false_discovery_rates(p_value_M: np.ndarray) -> np.ndarray:
    """q-values (M,) of p-values (M,), 0–1: the least of p' M / rank(p') over p' ≥ p; NaN stays NaN and is not counted.

    Benjamini & Hochberg 1995, J. R. Stat. Soc. B 57:289-300.
    """
    q_M = np.full(len(p_value_M), np.nan)
    tested = np.flatnonzero(np.isfinite(p_value_M))
    order = tested[np.argsort(p_value_M[tested])]
    step_M = p_value_M[order] * len(order) / np.arange(1, len(order) + 1)
    q_M[order] = np.minimum(np.minimum.accumulate(step_M[::-1])[::-1], 1.0)
    return q_M
