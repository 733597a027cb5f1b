"""Markers compared by counting bits: the same figures as decoding every call and writing the formulas out."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomic_platform.drift.markers import marker_shift
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform_tests.support.panels import made_panel


def plain(old: list[int], new: list[int]) -> dict[str, float | None]:
    """χ², F_ST and PSI of one marker from its calls (−1 missing), term by term."""
    old, new = [x for x in old if x >= 0], [x for x in new if x >= 0]
    if not old or not new:
        return {"chi_squared": None, "fst": None, "psi": None}
    observed = [[2 * len(side) - sum(side), sum(side)] for side in (old, new)]
    total = sum(map(sum, observed))
    chi_squared = 0.0
    for row in observed:
        for k in range(2):
            expected = sum(row) * (observed[0][k] + observed[1][k]) / total
            chi_squared += (row[k] - expected) ** 2 / expected if expected else 0
    p, q = sum(old) / 2 / len(old), sum(new) / 2 / len(new)
    between = p * (1 - q) + q * (1 - p)
    numerator = (p - q) ** 2 - p * (1 - p) / (2 * len(old) - 1) - q * (1 - q) / (2 * len(new) - 1)
    psi = 0.0
    for dosage in range(3):
        a, b = (max(side.count(dosage) / len(side), 1e-4) for side in (old, new))
        psi += (b - a) * math.log(b / a)
    varies = 0 < sum(old) + sum(new) < 2 * (len(old) + len(new))
    return {"chi_squared": chi_squared if varies else None, "fst": numerator / between if varies else None, "psi": psi}


def shift(table: GenotypeTable, n_old: int) -> pl.DataFrame:
    return marker_shift(table, reference_lines=table.lines[:n_old], new_lines=table.lines[n_old:])


def test_the_figures_are_those_of_the_formulas_written_out() -> None:
    table = made_panel(n_lines=131, n_markers=60, missing=0.1)
    found = shift(table, 90)
    for dosage_N, row in zip(table.dosages().T.tolist(), found.to_dicts(), strict=True):
        wanted = plain(dosage_N[:90], dosage_N[90:])
        # sums of a few terms of order one in double precision
        assert {k: row[k] for k in wanted} == pytest.approx(wanted, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.sampled_from([-1, 0, 1, 2]), min_size=11, max_size=11), min_size=1, max_size=5),
       st.integers(1, 10))
def test_any_calls_also_none_at_all(calls: list[list[int]], n_old: int) -> None:
    variants = pl.DataFrame({"variant_id": [f"m{i}" for i in range(len(calls))], "chromosome": "1",
                             "position": np.arange(1, len(calls) + 1), "ref": "A", "alt": "C"})
    table = GenotypeTable.from_dosages(variants, [f"L{i}" for i in range(11)], np.array(calls, dtype=np.int8))
    for dosage_N, row in zip(calls, shift(table, n_old).to_dicts(), strict=True):
        wanted = plain(dosage_N[:n_old], dosage_N[n_old:])
        assert {k: row[k] for k in wanted} == pytest.approx(wanted, abs=1e-12)


def test_sides_are_lines_wherever_they_stand_in_the_table_and_others_do_not_count() -> None:
    table = made_panel(n_lines=40, n_markers=30)
    old, new = list(table.lines[1::3]), list(table.lines[2::3])
    own = table.select(lines=[*old, *new])
    assert marker_shift(table, reference_lines=old, new_lines=new).equals(shift(own, len(old)))


def test_a_marker_as_before_has_no_shift_and_a_swapped_one_the_largest() -> None:
    calls = np.array([[0, 0, 1, 2] * 2, [0, 0, 0, 0, 2, 2, 2, 2], [0] * 8], dtype=np.int8)
    variants = pl.DataFrame({"variant_id": ["same", "swapped", "fixed"], "chromosome": "1", "position": [1, 2, 3],
                             "ref": "A", "alt": "C"})
    same, swapped, fixed = shift(GenotypeTable.from_dosages(variants, list("abcdefgh"), calls), 4).to_dicts()
    assert (same["chi_squared"], same["psi"]) == (0, 0)
    assert (swapped["chi_squared"], swapped["fst"]) == (16, 1)
    assert (fixed["chi_squared"], fixed["fst"], fixed["psi"]) == (None, None, 0)


def test_a_side_without_lines_is_refused() -> None:
    table = made_panel(n_lines=8, n_markers=5)
    with pytest.raises(ValueError, match="found 8 reference and 0 new"):
        marker_shift(table, reference_lines=table.lines, new_lines=[])
