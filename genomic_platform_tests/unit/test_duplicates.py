"""What is there twice: repeated variants, and lines that are one line, against plain comparisons of decoded calls."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomic_platform.genotypes.quality.duplicates import (
    close_pairs,
    duplicate_variants,
    groups_of,
    identical_lines,
    varying,
)
from genomic_platform.genotypes.table import GenotypeTable


def panel_of(dosage_MN: np.ndarray, chromosomes: list[str] | None = None,
             positions: list[int] | None = None) -> GenotypeTable:
    m, n = dosage_MN.shape
    variants = pl.DataFrame({"variant_id": [f"m{i:04d}" for i in range(m)], "chromosome": chromosomes or ["1"] * m,
                             "position": positions or list(range(1, m + 1)), "ref": ["A"] * m, "alt": ["C"] * m},
                            schema_overrides={"position": pl.Int64})
    return GenotypeTable.from_dosages(variants, [f"L{i:03d}" for i in range(n)], dosage_MN.astype(np.int8))


def random_calls(n_variants: int, n_lines: int, seed: int = 1, missing: float = 0.05) -> np.ndarray:
    rng = np.random.default_rng(seed)
    dosage_MN = rng.binomial(2, rng.uniform(0.1, 0.9, n_variants)[:, None], (n_variants, n_lines))
    dosage_MN[rng.random(dosage_MN.shape) < missing] = -1
    return dosage_MN


def swapped(dosage_N: np.ndarray) -> np.ndarray:
    return np.where(dosage_N < 0, -1, 2 - dosage_N)


def identity_of_decoded(dosage_MN: np.ndarray, i: int, j: int) -> float:
    one, two = dosage_MN[:, i], dosage_MN[:, j]
    both = (one >= 0) & (two >= 0)
    return 1 - np.abs(one - two)[both].sum() / (2 * both.sum()) if both.any() else 0.0


@pytest.mark.parametrize("n_lines", [5, 31, 32, 33, 64, 203])
def test_repeats_are_found_in_either_coding_with_the_last_bits_of_a_row_counted(n_lines: int) -> None:
    dosage_MN = random_calls(200, n_lines, missing=0.0)
    dosage_MN[:, 0], dosage_MN[:, 1] = 0, 2  # all vary
    dosage_MN[:, -8:] = (np.arange(200)[:, None] >> np.arange(8)[-min(8, n_lines):]) & 1  # no two alike by chance
    dosage_MN[:, 0] = np.where((dosage_MN == dosage_MN[:, :1]).all(axis=1), 2 - dosage_MN[:, 0], dosage_MN[:, 0])
    dosage_MN[50], dosage_MN[120], dosage_MN[199] = dosage_MN[7], swapped(dosage_MN[7]), dosage_MN[13]
    dosage_MN[150] = dosage_MN[7]
    dosage_MN[150, -1] = (dosage_MN[7, -1] + 1) % 2  # one call differs
    expected = {}
    for row in range(200):
        for first in range(row):
            if (dosage_MN[first] == dosage_MN[row]).all() or (swapped(dosage_MN[first]) == dosage_MN[row]).all():
                expected[row] = (first, not (dosage_MN[first] == dosage_MN[row]).all())
                break
    found = duplicate_variants(panel_of(dosage_MN))
    assert {row: (first, swap) for row, first, swap in found.select("row", "same_as_row", "swapped").iter_rows()} == {
        row: said for row, said in expected.items() if len(set(dosage_MN[row])) > 1}
    assert {50, 120, 199} <= set(found["row"])
    assert found["same_calls"].all()


def test_missing_calls_belong_to_what_must_agree_and_chromosomes_are_kept_apart() -> None:
    dosage_MN = random_calls(60, 90)
    dosage_MN[20] = dosage_MN[10]
    dosage_MN[20, np.flatnonzero(dosage_MN[10] >= 0)[0]] = -1
    dosage_MN[45] = dosage_MN[10]
    dosage_MN[46], dosage_MN[47], dosage_MN[48] = 0, 0, -1  # monomorphic and void ones repeat nothing
    assert duplicate_variants(panel_of(dosage_MN, ["1"] * 40 + ["2"] * 20)).is_empty()
    assert duplicate_variants(panel_of(dosage_MN))["row"].to_list() == [45]


def test_probes_of_one_position_are_the_same_when_they_agree_beyond_chance() -> None:
    dosage_MN = random_calls(10, 300)
    dosage_MN[1] = dosage_MN[0]
    dosage_MN[1, :60] = -1                               # the same probe with more calls lost
    dosage_MN[3] = swapped(dosage_MN[2])
    dosage_MN[3, 5:7] = 1                                # swapped, with two errors
    rare = np.zeros((2, 300), dtype=int)
    rare[0, 0], rare[1, 1] = 1, 1                        # two rare alleles agree in 99 % of lines by chance alone
    dosage_MN[4:6] = rare
    dosage_MN[7] = dosage_MN[6]
    dosage_MN[7, 0] = -1                                 # unplaced: position 0 is no position
    positions = [5, 5, 8, 8, 9, 9, 0, 0, 20, 20]
    table = panel_of(dosage_MN, ["1"] * 6 + ["2"] * 4, positions)
    found = duplicate_variants(table)
    assert found.select("variant_id", "same_as", "swapped").rows() == [("m0001", "m0000", False),
                                                                       ("m0003", "m0002", True)]
    assert not found["same_calls"].any()
    assert found["agreement"].to_list() == [1.0, pytest.approx(1, abs=0.01)]


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 40), st.integers(1, 150), st.floats(0.5, 0.99), st.integers(0, 10_000))
def test_close_pairs_are_those_of_decoded_calls(n_lines: int, n_variants: int, threshold: float, seed: int) -> None:
    dosage_MN = random_calls(n_variants, n_lines, seed, missing=0.2)
    dosage_MN[:, -1] = dosage_MN[:, 0]
    table = panel_of(dosage_MN)
    used_MN = dosage_MN[varying(table)]
    expected = {(table.lines[i], table.lines[j]): identity_of_decoded(used_MN, i, j)
                for i in range(n_lines) for j in range(i + 1, n_lines)}
    found = {(one, two): ibs for one, two, ibs in close_pairs(table, threshold).iter_rows()}
    assert found == {pair: ibs for pair, ibs in expected.items() if ibs > threshold}


def test_the_thinned_first_pass_loses_no_pair() -> None:
    dosage_MN = random_calls(6000, 120, missing=0.03)
    rng = np.random.default_rng(3)
    for line in range(60):  # copies with a share of other calls that brings them to either side of .99
        errors = rng.random(6000) < rng.uniform(0, 0.03)
        dosage_MN[:, 60 + line] = np.where(errors, random_calls(6000, 1, seed=line)[:, 0], dosage_MN[:, line])
    table = panel_of(dosage_MN)
    thinned, complete = close_pairs(table, 0.99, thinned=500), close_pairs(table, 0.99, thinned=6000)
    assert thinned.equals(complete)
    assert 10 < complete.height < 60
    assert complete["ibs"].is_sorted(descending=True)


def test_lines_without_a_call_in_common_are_no_pair() -> None:
    dosage_MN = random_calls(50, 6, missing=0)
    dosage_MN[:25, 1], dosage_MN[25:, 2] = -1, -1
    dosage_MN[:, 3] = -1
    pairs = close_pairs(panel_of(dosage_MN), 0.0)
    assert ("L001", "L002") not in pairs.select("line_1", "line_2").rows()
    assert "L003" not in {*pairs["line_1"], *pairs["line_2"]}


def test_lines_are_grouped_through_others_in_the_order_of_the_table() -> None:
    pairs = pl.DataFrame({"line_1": ["d", "a", "b"], "line_2": ["e", "c", "c"]})
    assert groups_of(["a", "b", "c", "d", "e", "f"], pairs) == [["a", "b", "c"], ["d", "e"]]
    dosage_MN = random_calls(300, 9)
    dosage_MN[:, 7], dosage_MN[:, 8] = dosage_MN[:, 2], dosage_MN[:, 2]
    assert identical_lines(panel_of(dosage_MN)) == [{"L002", "L007", "L008"}]
    assert identical_lines(panel_of(dosage_MN[:, :7])) == []


def test_a_table_in_which_nothing_varies_has_no_pairs_and_no_repeats() -> None:
    table = panel_of(np.zeros((5, 4), dtype=int))
    assert close_pairs(table).is_empty()
    assert duplicate_variants(table).is_empty()
