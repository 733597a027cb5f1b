"""The numbers that calls stand for in a relationship: one for each variant and each of the four packed codes.

Every relationship is such a coding, a product over variants and a scale. Products belong in `cross_product.py`, scales
and names in `relationship.py`.
Axes: M variants, 4 codes in the order of `packing`: 2 ALT alleles, missing, 1, 0. A missing call is 0, the mean of its
variant, and all calls of a variant without variance in the base (p = 0 or 1) are 0 where that would be divided by.
References: VanRaden 2008, J. Dairy Sci. 91:4414-4423; Vitezica, Varona and Legarra 2013, Genetics 195:1223-1230.
"""

from __future__ import annotations

import numpy as np

_ALT_ALLELES_4 = np.array([2.0, np.nan, 1.0, 0.0])


def additive(p_M: np.ndarray) -> np.ndarray:
    """z = x − 2p."""
    value_M4 = _ALT_ALLELES_4 - 2 * p_M[:, None]
    value_M4[:, 1] = 0
    return value_M4


def standardised(p_M: np.ndarray) -> np.ndarray:
    """z = (x − 2p) / √(2p(1 − p))."""
    variance_M = 2 * p_M * (1 - p_M)
    return additive(p_M) * np.divide(1, np.sqrt(variance_M), out=np.zeros_like(p_M), where=variance_M > 0)[:, None]


def dominance(p_M: np.ndarray) -> np.ndarray:
    """−2q², 2pq, −2p² for 2, 1, 0 ALT alleles: deviations orthogonal to `additive` in Hardy–Weinberg proportions."""
    q_M = 1 - p_M
    value_M4 = np.stack([-2 * q_M**2, np.zeros_like(p_M), 2 * p_M * q_M, -2 * p_M**2], axis=1)
    value_M4[(p_M == 0) | (p_M == 1)] = 0
    return value_M4


def own_deviation(p_M: np.ndarray) -> np.ndarray:
    """(x² − (1 + 2p) x + 2p²) / 2p(1 − p): what a marker adds to Yang's diagonal beyond 1; 0 where p is 0 or 1."""
    x_4, p_M1 = _ALT_ALLELES_4, p_M[:, None]
    variance_M1 = 2 * p_M1 * (1 - p_M1)
    value_M4 = np.divide(x_4**2 - (1 + 2 * p_M1) * x_4 + 2 * p_M1**2, variance_M1,
                         out=np.zeros((len(p_M), 4)), where=variance_M1 > 0)
    value_M4[:, 1] = 0
    return value_M4


def called(p_M: np.ndarray) -> np.ndarray:
    """1 where a call was made at a marker that varies: its product counts the markers that two lines share."""
    varies_M = (p_M > 0) & (p_M < 1)
    return np.array([1.0, 0.0, 1.0, 1.0]) * varies_M[:, None]
