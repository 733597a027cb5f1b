"""Folds of lines: the published division, clones together, tables of folds."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import InputError
from genomic_platform.models.folds import fold_members, published_folds, random_folds


def test_folds_are_those_of_the_reference_figures() -> None:
    lines = [str(i) for i in range(23)]
    ids, order = sorted(lines), np.random.default_rng(1003).permutation(23)
    expected = {ids[line]: i % 5 for i, line in enumerate(order)}
    assert random_folds(reversed(lines), 3) == expected
    assert random_folds(lines, 4) != expected
    assert {len(members) for members in fold_members(expected)} == {4, 5}


def test_clones_share_a_fold() -> None:
    lines = [f"l{i:02d}" for i in range(40)]
    clones = [{"l03", "l17", "l39", "not here"}, {"l00", "l01"}, {"elsewhere"}]
    folds = random_folds(lines, 0, clones=clones)
    assert folds["l03"] == folds["l17"] == folds["l39"]
    assert folds["l00"] == folds["l01"]
    assert set(folds) == set(lines)
    plain = random_folds(lines, 0)
    assert all(folds[line] == plain[line] for line in lines if line not in {"l17", "l39", "l01"})


def test_published_folds() -> None:
    table = pl.DataFrame({"line_id": ["b", "a", "c"], "fold10": ["2", "1", "2"]})
    assert published_folds(table) == {"a": "1", "b": "2", "c": "2"}
    assert fold_members(published_folds(table)) == [("a",), ("b", "c")]


@pytest.mark.parametrize(("table", "said"), [
    ({"line": ["a"], "fold": ["1"]}, "expected columns line_id and one fold column"),
    ({"line_id": ["a"], "one": ["1"], "two": ["1"]}, "expected columns line_id and one fold column"),
    ({"line_id": ["a", "b"], "fold": ["1", None]}, "line 3: fold is empty"),
    ({"line_id": ["a", "b", "a"], "fold": ["1", "2", "2"]}, "line 4: line_id is 'a' in 2 folds"),
    ({"line_id": ["a", "b"], "fold": ["1", "1"]}, "expected at least two folds"),
])
def test_bad_folds_are_refused(table: dict[str, list[str | None]], said: str) -> None:
    with pytest.raises(InputError, match=said):
        published_folds(pl.DataFrame(table), "folds.csv")
