"""Which columns moved: against SciPy's distance and correction, and how often chance is taken for a finding."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from scipy.stats import ks_2samp

from genomic_platform.drift.column_shift import ALPHA, ColumnShift, column_shifts


def rows(seed: int, columns: int = 1, n: int = 60, new: int = 20, shift: float = 0.0) -> list[ColumnShift]:
    rng = np.random.default_rng(seed)
    new_N = np.arange(n) >= n - new
    return column_shifts({f"c{i}": rng.normal(size=n) + shift * new_N for i in range(columns)}, new_N, seed=seed)


def families(seed: int, *, shared: bool, shift: float = 0.0) -> ColumnShift:
    """600 lines of 60 families that make half of the variance; a fifth are new, in families of their own or not."""
    rng = np.random.default_rng(seed)
    family_N = rng.integers(0, 60, 600)
    new_N = rng.random(600) < .2 if shared else family_N < 12
    value_N = (rng.normal(size=60)[family_N] + rng.normal(size=600)) / np.sqrt(2) + shift * new_N
    (found,) = column_shifts({"c": value_N}, new_N, [f"f{f}" for f in family_N], seed=seed, permutations=199)
    return found


def test_distance_is_scipys_with_ties_and_missing_values() -> None:
    rng = np.random.default_rng(2)
    value_N, new_N = rng.integers(0, 8, 90).astype(float), np.arange(90) >= 50
    value_N[rng.random(90) < .1] = np.nan
    (found,) = column_shifts({"c": value_N}, new_N)
    old, new = (value_N[side & np.isfinite(value_N)] for side in (~new_N, new_N))
    assert found.distance == pytest.approx(ks_2samp(old, new).statistic, abs=1e-12)
    assert (found.n_reference, found.n_current) == (len(old), len(new))
    assert found.effect == pytest.approx((new.mean() - old.mean()) / old.std(ddof=1))


def test_p_of_single_rows_is_scipys_exact_one() -> None:
    """1,999 permutations give .03 with a standard error of .004, and at most 1e-3 steps at the small end."""
    for seed, shift in ((1, .9), (2, .7), (3, 1.5)):
        rng = np.random.default_rng(seed)
        new_N = np.arange(60) >= 40
        value_N = rng.normal(size=60) + shift * new_N
        (found,) = column_shifts({"c": value_N}, new_N, seed=seed)
        exact = ks_2samp(value_N[~new_N], value_N[new_N], method="exact").pvalue
        assert found.p_value == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 1999) + 1e-3)


def test_chance_moves_no_column_and_a_shift_does() -> None:
    """Twenty columns without drift: a single p ≤ .05 would be there in 6 of 10 reports. A chance of .05 gives more than
    five alarms of 40 in 2 % of cases; the seeds are fixed."""
    alarms = sum(any(s.verdict == "moved" for s in rows(seed, columns=20)) for seed in range(40))
    assert alarms <= 5
    assert all(s.verdict == "moved" for s in rows(1, columns=5, n=200, new=100, shift=.8))


@pytest.mark.parametrize("shared", [False, True], ids=["families of their own", "shared families"])
def test_families_are_not_taken_for_independent_lines(shared: bool) -> None:
    """Taken as independent they would give p ≤ .05 in far more than 5 % of cases; two standard errors allowed."""
    alarms = np.mean([(families(seed, shared=shared).p_value or 0) <= ALPHA for seed in range(150)])
    assert alarms <= ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / 150)
    assert np.mean([families(seed, shared=shared, shift=1.2).verdict == "moved" for seed in range(10)]) >= .9


def test_too_few_rows_or_families_are_said() -> None:
    assert {s.verdict for s in rows(1, columns=3, new=9, shift=9)} == {"too_few"}
    value_N, new_N = np.arange(60.0), np.arange(60) >= 40
    (few,) = column_shifts({"c": value_N}, new_N, ["a"] * 20 + ["b"] * 20 + ["c"] * 10 + ["d"] * 10)
    assert (few.verdict, few.p_value, few.p_adjusted) == ("too_few", None, None)
    assert few.distance == pytest.approx(1)


def test_many_rows_do_not_make_a_trifle_a_finding() -> None:
    (found,) = rows(4, n=2000, new=1000, shift=.2)
    assert found.p_adjusted is not None
    assert found.p_adjusted <= ALPHA
    assert found.verdict == "same"


@settings(max_examples=40, deadline=None)
@given(arrays(np.float64, st.tuples(st.just(30)), elements=st.floats(-1e300, 1e300) | st.just(float("nan"))),
       st.integers(1, 29), st.lists(st.sampled_from("abcdefgh"), min_size=30, max_size=30) | st.none())
def test_any_numbers_give_an_answer(value_N: np.ndarray, new: int, groups: list[str] | None) -> None:
    new_N = np.arange(30) >= 30 - new
    if not all(np.isfinite(value_N[side]).any() for side in (new_N, ~new_N)):
        return
    with np.errstate(over="ignore", invalid="ignore"):
        (found,) = column_shifts({"c": value_N}, new_N, groups, permutations=20)
    assert 0 <= found.distance <= 1 + 1e-12
    assert found.p_value is None or 0 < found.p_value <= 1
    assert (found.verdict == "too_few") == (found.p_value is None)

