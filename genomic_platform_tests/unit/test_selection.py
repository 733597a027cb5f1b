"""The selection index: weights, directions, reliability, ties."""

from __future__ import annotations

import polars as pl
import pytest

from genomic_platform.errors import ProgramError
from genomic_platform.models.selection import TraitGoal, selection_index
from genomic_platform.schemas.predictions import SELECTION_INDEX, VALUES
from genomic_platform_tests.support.panels import line_records

VALUE = {"yield": [2.0, 1.0, 0.0, -1.0, -2.0], "height": [3.0, -3.0, 0.0, 0.0, 0.0]}
RELIABILITY = {"yield": 0.8, "height": 0.2}
LINES = ["e", "d", "c", "b", "a"]


@pytest.fixture
def values() -> pl.DataFrame:
    return VALUES.conform(pl.concat([pl.DataFrame({
        "line_id": LINES, "trait": trait, "environment": pl.Series([None] * 5, dtype=pl.String),
        "breeding_value": [0.0] * 5, "breeding_value_reliability": 0.0, "genotypic_value": value,
        "genotypic_value_reliability": RELIABILITY[trait], "phenotyped": [True, False, False, False, False],
    }) for trait, value in VALUE.items()]))


def test_index_is_the_weighted_sum_in_genetic_standard_deviations(values: pl.DataFrame) -> None:
    goals = {"yield": TraitGoal("maximise", 2.0, genetic_sd=1.0), "height": TraitGoal("minimise", 1.0, genetic_sd=3.0)}
    table = selection_index(values, goals, line_records(LINES, ["f"] * 5))
    assert SELECTION_INDEX.faults(table) == []
    found = dict(table.select("line_id", "index").iter_rows())
    assert found == pytest.approx({"e": 3.0, "d": 3.0, "c": 0.0, "b": -2.0, "a": -4.0})
    assert table["line_id"].to_list() == ["d", "e", "c", "b", "a"], "ties by line_id"
    assert table["rank"].to_list() == [1, 2, 3, 4, 5]
    assert table["index_reliability"].to_list() == pytest.approx([(4 * 0.8 + 0.2) / 5] * 5)
    assert dict(table.select("line_id", "phenotyped").iter_rows())["e"]


def test_target_and_spread_of_the_values(values: pl.DataFrame) -> None:
    goals = {"height": TraitGoal("target(103)", 1.0, genetic_sd=1.0, average=100.0)}
    assert selection_index(values, goals, line_records(LINES))["line_id"][0] == "e"
    by_spread = selection_index(values, {"yield": TraitGoal()}, line_records(LINES))
    assert by_spread["index"].std() == pytest.approx(1.0)


def test_unknown_lines_are_candidates(values: pl.DataFrame) -> None:
    table = selection_index(values, {"yield": TraitGoal()}, line_records(["a"]))
    assert set(table["role"]) == {"candidate"}
    assert table["family"].null_count() == 5


@pytest.mark.parametrize(("goals", "said"), [
    ({}, "no trait has a positive weight"),
    ({"yield": TraitGoal(weight=0.0)}, "no trait has a positive weight"),
    ({"yield": TraitGoal(weight=-1.0)}, "weight is -1.0; expected 0 or more"),
    ({"oil": TraitGoal()}, "trait oil: no values; expected one of height, yield"),
])
def test_bad_goals_are_refused(values: pl.DataFrame, goals: dict[str, TraitGoal], said: str) -> None:
    with pytest.raises(ProgramError, match=said):
        selection_index(values, goals, line_records(LINES))
