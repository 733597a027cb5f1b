"""Environments of a season against earlier ones: the rule's states, second opinions from SciPy, what a year may do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from genomic_platform.drift import inputs
from genomic_platform.drift.inputs import hedges_g, input_drift
from genomic_platform.phenotypes.environments import environment_features
from genomic_platform.schemas.monitoring import INPUT_DRIFT
from genomic_platform.schemas.phenotypes import ENVIRONMENT_RECORDS

Values = dict[str, list[float]]


def table(seasons: dict[str, Values]) -> pl.DataFrame:
    """Features of environments, from season → variable → one value an environment (NaN = not measured)."""
    rows = [{"environment": f"S{i}_{season}", "season": season, "location": f"S{i}", "variable": name, "value": value}
            for season, variables in seasons.items() for name, values in variables.items()
            for i, value in enumerate(values)]
    return environment_features(ENVIRONMENT_RECORDS.conform(pl.DataFrame(rows, schema=ENVIRONMENT_RECORDS.schema)))


def earlier(*shape: int, seed: int = 1) -> dict[str, Values]:
    """Seasons 2010, 2011, … with `shape` = (seasons, environments) of rain ~ N(100, 10²)."""
    rain_SE = np.random.default_rng(seed).normal(100, 10, shape)
    return {str(2010 + s): {"rain_mm": row.tolist()} for s, row in enumerate(rain_SE)}


def judged(now: Values, before: dict[str, Values], feature: str = "rain_mm") -> dict:
    report = input_drift(table(before | {"2020": now}), season="2020")
    return report.row(by_predicate=pl.col("feature") == feature, named=True)


@pytest.mark.parametrize(("now", "before", "decision", "words"), [
    ([90.0], earlier(9, 1), "no_test", "one site and one season against 9 earlier environments: no test exists"),
    ([90.0, 91.0, 92.0], {}, "no_test", "no earlier environment has it: no test exists"),
    ([90.0, 91.0], earlier(4, 3), "too_few", "too few to tell: 2 environments this season, 12 in 4 earlier seasons"),
    ([90.0, 91.0, 92.0], earlier(2, 9), "too_few", "18 in 2 earlier seasons; needed 3, and 6 in 3 seasons"),
    ([101.0, 99.0, 97.0], earlier(4, 5), "same", "no further from earlier environments than chance brings"),
    ([168.0, 171.0, 166.0, 165.0], earlier(5, 5), "shifted", "higher than in the 25 environments before"),
    ([38.0, 41.0, 36.0, 35.0], earlier(5, 5), "shifted", "lower than in the 25 environments before"),
])
def test_every_state_is_said_in_words(now: list[float], before: dict[str, Values], decision: str, words: str) -> None:
    row = judged({"rain_mm": now}, before)
    assert row["decision"] == decision
    assert words in row["message"]
    assert (row["p_value"] is None) == (decision in ("no_test", "too_few"))


def test_the_smallest_sizes_that_are_tested() -> None:
    assert judged({"rain_mm": [1.0, 2.0, 3.0]}, earlier(3, 2))["p_value"] is not None
    assert inputs.MIN_NEW == 3
    smallest = 1 / len(inputs.deals(3, 9, 0))  # the module's reason for its minimum
    assert smallest == pytest.approx(1 / 84)


def test_environments_outside_the_earlier_range_are_counted_where_there_is_no_test() -> None:
    row = judged({"rain_mm": [500.0]}, earlier(9, 1))
    assert row["n_outside"] == 1
    assert row["message"].endswith("1 of 1 outside the range of all earlier environments")
    assert judged({"rain_mm": [500.0, 400.0, 100.0, 0.0]}, earlier(5, 5))["n_outside"] == 3
    assert judged({"rain_mm": [500.0, 400.0]}, {})["n_outside"] == 0


def test_an_ordinary_year_is_no_alarm() -> None:
    """Seasons that differ by as much as this one does, though environments dealt at random never would."""
    rng, means = np.random.default_rng(2), (70, 130, 95, 120, 80)
    before = {str(2010 + i): {"rain_mm": rng.normal(mean, 5, 6).tolist()} for i, mean in enumerate(means)}
    row = judged({"rain_mm": rng.normal(130, 5, 6).tolist()}, before)
    assert row["decision"] == "same"
    assert "by no more than seasons differ" in row["message"]
    assert judged({"rain_mm": rng.normal(300, 5, 6).tolist()}, before)["decision"] == "shifted"


def test_missing_values_constants_and_features_of_one_side() -> None:
    before = {season: {"rain_mm": values["rain_mm"], "soil": [1.0, 1.0, 1.0], "old": [1.0, 2.0, 3.0]}
              for season, values in earlier(4, 3).items()}
    now = {"rain_mm": [float("nan"), 100.0, 104.0, 97.0], "soil": [2.0, 2.0, 2.0, 2.0], "new": [1.0, 2.0, 3.0, 4.0]}
    report = input_drift(table(before | {"2020": now}), season="2020")
    row = {r["feature"]: r for r in report.to_dicts()}
    assert (row["rain_mm"]["n_new"], row["rain_mm"]["decision"]) == (3, "same")
    assert (row["soil"]["effect"], row["soil"]["decision"]) == (None, "shifted")
    assert "constant before and now" in row["soil"]["message"]
    assert (row["old"]["n_new"], row["old"]["decision"]) == (0, "no_test")
    assert (row["new"]["n_reference"], row["new"]["decision"]) == (0, "no_test")
    constant = table(earlier(2, 2) | {"2020": {"rain_mm": [100.0]}}).with_columns(value=pl.lit(1.0))
    assert judged_constant(constant) == "no_test"


def judged_constant(features: pl.DataFrame) -> str:
    return input_drift(features, season="2020")["decision"].item()


def test_no_features_and_later_seasons() -> None:
    none = ENVIRONMENT_RECORDS.empty()
    assert input_drift(environment_features(none), season="2020").equals(INPUT_DRIFT.empty())
    before = earlier(4, 3)
    wanted = input_drift(table(before | {"2020": {"rain_mm": [1.0, 2.0, 3.0]}}), season="2020")
    later = table(before | {"2020": {"rain_mm": [1.0, 2.0, 3.0]}, "2021": {"rain_mm": [9e9, 8e9]}})
    assert input_drift(later, season="2020").equals(wanted)


@given(values=st.lists(st.integers(-40, 40), min_size=9, max_size=9))
@settings(max_examples=25, deadline=None)
def test_the_permutation_is_scipys_exact_one(values: Sequence[int]) -> None:
    """Whole numbers have ties; both count a deal as far out as the observed one within rounding."""
    new, reference = np.array(values[:3], float), np.array(values[3:], float)
    side = inputs.Sides(new, reference, np.repeat(["a", "b", "c"], 2))
    ours = inputs._dealt_chance(side, inputs.deals(3, 9, 0))
    theirs = stats.permutation_test((new, reference), lambda x, y, axis: abs(x.mean(axis) - y.mean(axis)),
                                    alternative="greater", n_resamples=np.inf, vectorized=True)
    assert ours == pytest.approx(theirs.pvalue, abs=1e-12)


def test_many_deals_are_drawn_and_come_near_the_t_test() -> None:
    rng = np.random.default_rng(3)
    new, reference = rng.normal(0.8, 1, 9), rng.normal(0, 1, 18)
    dealt = inputs.deals(9, 27, 0)
    assert dealt.shape == (inputs.DEALS + 1, 27)
    assert (dealt.sum(axis=1) == 9).all()
    assert dealt[0].tolist() == [1.0] * 9 + [0.0] * 18
    ours = inputs._dealt_chance(inputs.Sides(new, reference, np.arange(18).astype(str)), dealt)
    assert ours == pytest.approx(stats.ttest_ind(new, reference).pvalue, abs=0.01)  # p ≈ .04: 3 sd of 10,000 deals


def test_hedges_g_by_hand() -> None:
    """Means 4 and 1.5, pooled variance (2 + 5) / (3 + 4 − 2); Hedges' factor 1 − 3 / (4 × 5 − 1)."""
    g = hedges_g(np.array([3.0, 4.0, 5.0]), np.array([0.0, 1.0, 2.0, 3.0]))
    assert g == pytest.approx((1 - 3 / 19) * 2.5 / np.sqrt(7 / 5))
    assert hedges_g(np.array([1.0, 1.0]), np.array([2.0, 2.0])) is None
    assert hedges_g(np.array([1.0]), np.array([2.0])) is None


def test_the_report_does_not_depend_on_the_order_of_rows_or_the_unit() -> None:
    features = table(earlier(6, 4) | {"2020": {"rain_mm": [125.0, 131.0, 119.0, 122.0, 128.0]}})
    report = input_drift(features, season="2020", seed=5)
    assert input_drift(features.reverse(), season="2020", seed=5).equals(report)
    scaled = input_drift(features.with_columns(pl.col("value") * 1e-4), season="2020", seed=5)
    same = ["decision", "effect", "p_value", "p_adjusted", "n_outside"]
    for column in same:
        wanted = report[column].item()
        assert scaled[column].item() == (pytest.approx(wanted) if isinstance(wanted, float) else wanted), column
