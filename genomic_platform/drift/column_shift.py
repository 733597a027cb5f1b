"""Which columns of two tables differ in distribution: Kolmogorov–Smirnov distances, whole groups of rows permuted.

Any numeric column of any table belongs here; what a difference means for a programme does not. The rule, in this order:

1. `too_few`: fewer than 10 values, or values of fewer than 3 groups, on either side. No p-value.
2. `moved`: p is at most .05 after Benjamini–Hochberg over the columns tested, and the distance at least .2 (what half
   a standard deviation gives), so that many rows do not make a trifle a finding.
3. `same`: anything else.

Axes: N rows, U units (a group's rows of one side), R permutations. References: Kolmogorov–Smirnov two-sample distance
(Smirnov 1948, Ann. Math. Stat. 19:279); Besag and Clifford 1991, Biometrika 78:301 (permuting no longer than needed);
Benjamini and Hochberg 1995, J. R. Stat. Soc. B 57:289.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from genomic_platform.models.multiple_testing import false_discovery_rates

MIN_VALUES, MIN_GROUPS = 10, 3
ALPHA, MIN_DISTANCE = 0.05, 0.2
#: Fifty columns and a single one of them moved: p must be able to fall below .05 / 50.
PERMUTATIONS = 1999
#: A column is done with once so many permutations reach its distance: its p is far from small.
ENOUGH, _A_BATCH = 20, 200


@dataclass(frozen=True)
class ColumnShift:
    """One column of both sides.

    Attributes
    ----------
    distance : largest difference of the cumulative distributions, 0–1. effect : difference of the means, current minus
        reference, in standard deviations of the reference; None without spread. p_value, p_adjusted : None where
        there are too few rows. verdict : `too_few`, `moved` or `same`.
    """

    column: str
    n_reference: int
    n_current: int
    mean_reference: float
    mean_current: float
    effect: float | None
    distance: float
    p_value: float | None = None
    p_adjusted: float | None = None
    verdict: str = "too_few"


def column_shifts(columns: Mapping[str, np.ndarray], new_N: np.ndarray, groups: Sequence[str] | None = None, *,
                  seed: int = 0, permutations: int = PERMUTATIONS) -> list[ColumnShift]:
    """Compare the rows of two sides, column by column, by the rule at the top of this module.

    Parameters
    ----------
    columns : float64 (N,) each, finite or NaN, with a value on both sides. new_N : bool, rows of the current side.
    groups : what rows share that are no independent draws, such as a family; None = every row is its own.
    """
    own = [str(row) for row in range(len(new_N))]
    group_N = np.unique(np.array(groups or own), return_inverse=True)[1].ravel()
    keys, unit_N = np.unique(np.stack([group_N, new_N]), axis=1, return_inverse=True)
    unit_N, new_U = unit_N.ravel(), keys[1].astype(bool)
    new_RU = sides_of_equal_size(np.bincount(unit_N), new_U, permutations, seed)
    shifts = [_shift(name, value_N, unit_N, new_U, new_RU) for name, value_N in columns.items()]
    adjusted = false_discovery_rates(np.array([shift.p_value for shift in shifts], np.float64))  # untested ones are NaN
    return [shift if shift.p_value is None else replace(
        shift, p_adjusted=p, verdict="moved" if p <= ALPHA and shift.distance >= MIN_DISTANCE else "same")
        for shift, p in zip(shifts, adjusted.tolist(), strict=True)]


def sides_of_equal_size(rows_U: np.ndarray, new_U: np.ndarray, permutations: int, seed: int) -> np.ndarray:
    """Which units are current when whole units change sides, bool (R, U), with about as many rows as now on each side.

    As many units as now would not do: where few lines of many families are new, a permuted side would hold more rows
    than the observed one, and chance look smaller than it is.
    """
    order_RU = np.random.default_rng(seed).random((permutations, len(rows_U))).argsort(axis=1)
    in_order_RU = rows_U[order_RU].cumsum(axis=1) - rows_U[order_RU] / 2 <= rows_U[new_U].sum()
    in_order_RU[:, 0], in_order_RU[:, -1] = True, False  # neither side is empty
    new_RU = np.empty_like(in_order_RU)
    np.put_along_axis(new_RU, order_RU, in_order_RU, axis=1)
    return new_RU


def _shift(name: str, value_N: np.ndarray, unit_N: np.ndarray, new_U: np.ndarray, new_RU: np.ndarray) -> ColumnShift:
    here_N = np.isfinite(value_N)
    value_n, unit_n = value_N[here_N], unit_N[here_N]
    new_n = new_U[unit_n]
    old, new = value_n[~new_n], value_n[new_n]
    spread = float(old.std(ddof=1)) if len(old) > 1 else 0.0
    order_n = value_n.argsort(kind="stable")
    last_n = np.append(np.diff(value_n[order_n]) > 0, True)  # of equal values, where the cumulative has them all
    distance = float(_distances(new_n[order_n][None], last_n, np.float64)[0])
    shift = ColumnShift(name, len(old), len(new), float(old.mean()), float(new.mean()),
                        float((new.mean() - old.mean()) / spread) if spread > 0 else None, distance)
    sides = new_U[np.unique(unit_n)]
    if min(len(old), len(new)) < MIN_VALUES or min(sides.sum(), (~sides).sum()) < MIN_GROUPS:
        return shift
    as_far = drawn = 0
    for start in range(0, len(new_RU), _A_BATCH):
        permuted_R = _distances(new_RU[start:start + _A_BATCH, unit_n[order_n]], last_n, np.float32)
        as_far, drawn = as_far + int((permuted_R >= distance - 1e-6).sum()), drawn + len(permuted_R)  # float32 sums
        if as_far >= ENOUGH:
            break
    return replace(shift, p_value=(as_far + 1) / (drawn + 1))


def _distances(new_Rn: np.ndarray, last_n: np.ndarray, dtype: type[np.floating]) -> np.ndarray:
    """Kolmogorov–Smirnov distance of each assignment of the sorted rows to the sides, (R,); 0 where a side is empty."""
    n_new_R = new_Rn.sum(axis=1, keepdims=True, dtype=dtype)
    n_old_R = new_Rn.shape[1] - n_new_R
    weight_Rn = np.where(new_Rn, 1 / np.maximum(n_new_R, 1), -1 / np.maximum(n_old_R, 1)).astype(dtype)
    both_R = (n_new_R[:, 0] > 0) & (n_old_R[:, 0] > 0)
    return np.where(both_R, np.abs(weight_Rn.cumsum(axis=1)[:, last_n]).max(axis=1), 0)
