"""Relationship by pedigree: published tables, a plain tabular method, selfing written out, any order of rows, speed."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomic_platform.genotypes.kinship.pedigree import inverse_relationship, numerator_relationship, ordered_pedigree
from genomic_platform.schemas.pedigree import PEDIGREE

EXACT = 1e-12  # sums of some hundred products of halves in float64


def pedigree(*rows: tuple[str, str | None, str | None, float | None]) -> pl.DataFrame:
    return pl.DataFrame(rows, PEDIGREE.schema, orient="row")


def tabular(records: pl.DataFrame) -> np.ndarray:
    """Emik & Terrill's tabular method, one element at a time, of rows that list parents first and no selfing."""
    row_of = {line: i for i, line in enumerate(records["line_id"])}
    a = np.zeros((len(row_of), len(row_of)))
    for i, (_, one, other, founder) in enumerate(records.iter_rows()):
        p, q = row_of.get(one, -1), row_of.get(other, -1)
        for j in range(i):
            a[i, j] = a[j, i] = (a[j, p] * (p >= 0) + a[j, q] * (q >= 0)) / 2
        a[i, i] = 1 + (a[p, q] / 2 if p >= 0 and q >= 0 else founder or 0)
    return a


def relationship(records: pl.DataFrame, lines: list[str] | None = None, **options: float) -> np.ndarray:
    return numerator_relationship(ordered_pedigree(records, **options), lines or records["line_id"].to_list())


def random_pedigree(n: int, seed: int, founders: int = 4) -> pl.DataFrame:
    """Matings among all earlier lines: related parents, selfings, one or both parents unknown at times."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[str, str | None, str | None, float | None]] = []
    for i in range(n):
        p, q = (f"L{k:03d}" for k in rng.integers(0, max(i, 1), 2))
        known = (0, 0) if i < founders else rng.random(2) < 0.9
        rows.append((f"L{i:03d}", p if known[0] else None, q if known[1] else None, None))
    return pedigree(*rows)


def test_mrode_table_2_1() -> None:
    """Mrode 2014, Linear Models for the Prediction of Animal Breeding Values, example 2.1: A, and its inverse (2.4)."""
    records = pedigree(("1", None, None, None), ("2", None, None, None), ("3", "1", "2", None), ("4", "1", None, None),
                       ("5", "4", "3", None), ("6", "5", "2", None))
    a = relationship(records)
    published = [[1, 0, .5, .5, .5, .25], [0, 1, .5, 0, .25, .625], [.5, .5, 1, .25, .625, .5625],
                 [.5, 0, .25, 1, .625, .3125], [.5, .25, .625, .625, 1.125, .6875],
                 [.25, .625, .5625, .3125, .6875, 1.125]]
    np.testing.assert_allclose(a, published, atol=EXACT)
    inverse = inverse_relationship(ordered_pedigree(records)).toarray()
    rounded = [[1.833, .5, -1, -.667, 0, 0], [.5, 2.033, -1, 0, .533, -1.067], [-1, -1, 2.5, .5, -1, 0],
               [-.667, 0, .5, 1.833, -1, 0], [0, .533, -1, -1, 2.533, -1.067], [0, -1.067, 0, 0, -1.067, 2.133]]
    order = [ordered_pedigree(records).row_of_line[line] for line in records["line_id"]]
    np.testing.assert_allclose(inverse[np.ix_(order, order)], rounded, atol=5e-4)  # printed to three decimals


def test_mendelian_sampling_variances_of_the_same_table() -> None:
    """Mrode 2014, section 2.3: D = diag(1, 1, .5, .75, .5, .469)."""
    records = pedigree(("1", None, None, None), ("2", None, None, None), ("3", "1", "2", None), ("4", "1", None, None),
                       ("5", "4", "3", None), ("6", "5", "2", None))
    ordered = ordered_pedigree(records)
    np.testing.assert_allclose(ordered.mendelian_N[ordered.rows(records["line_id"].to_list())],
                               [1, 1, .5, .75, .5, .46875], atol=EXACT)


def test_inbreeding_of_the_example_of_ggroups() -> None:
    """Documentation of tabAinv in the R package ggroups 2.1.2: inbreeding 0, 0, 0, 0.25, 0, 0.25."""
    records = pedigree(("1", None, None, None), ("2", None, None, None), ("3", "1", "2", None), ("4", "3", "2", None),
                       ("5", "1", "2", None), ("6", "4", "5", None))
    np.testing.assert_allclose(np.diag(relationship(records)) - 1, [0, 0, 0, .25, 0, .25], atol=EXACT)
    np.testing.assert_allclose(relationship(records), tabular(records), atol=EXACT)


@settings(deadline=None, max_examples=60)
@given(n=st.integers(1, 40), seed=st.integers(0, 10_000))
def test_equal_to_the_plain_tabular_method_and_its_inverse(n: int, seed: int) -> None:
    records = random_pedigree(n, seed)
    plain = tabular(records)
    ordered = ordered_pedigree(records)
    np.testing.assert_allclose(relationship(records), plain, atol=EXACT)
    np.testing.assert_allclose(ordered.inbreeding_N[ordered.rows(records["line_id"].to_list())], np.diag(plain) - 1,
                               atol=EXACT)
    product = inverse_relationship(ordered).toarray() @ numerator_relationship(ordered)
    np.testing.assert_allclose(product, np.eye(n), atol=1e-8)  # A's condition number goes to 1e4 here


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_rows_in_any_order_and_subsets_give_the_same_numbers(seed: int) -> None:
    records = random_pedigree(40, seed)
    rng = np.random.default_rng(seed)
    whole = relationship(records)
    shuffled = records[rng.permutation(40).tolist()]
    some = rng.choice(40, 9, replace=False)
    names = [records["line_id"][int(i)] for i in some]
    assert (relationship(shuffled, records["line_id"].to_list()) == whole).all()  # the order is by generation and name
    np.testing.assert_allclose(relationship(shuffled, names), whole[np.ix_(some, some)], atol=EXACT)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000))
def test_declared_selfing_equals_every_selfed_generation_written_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    short: list[tuple[str, str | None, str | None, float | None]] = []
    long: list[tuple[str, str | None, str | None, float | None]] = []
    for i in range(20):
        p, q = (None, None) if i < 3 else (f"L{k:02d}" for k in rng.integers(0, i, 2))
        generations = int(rng.integers(0, 6))
        if i < 3:
            founder = 1 - 0.5 ** generations
            short.append((f"L{i:02d}", None, None, founder))
            long.append((f"L{i:02d}", None, None, founder))
            continue
        short.append((f"L{i:02d}", p, q, 1 - 0.5 ** generations))
        steps = [f"L{i:02d}", *(f"L{i:02d}.{g}" for g in range(1, generations + 1))][::-1]
        long.append((steps[0], p, q, None))
        long += [(after, before, before, None) for before, after in pairwise(steps)]
    written_out = pedigree(*long)
    rows = [i for i, line in enumerate(written_out["line_id"]) if "." not in line]
    names = [written_out["line_id"][i] for i in rows]
    expected = tabular(written_out)[np.ix_(rows, rows)]
    np.testing.assert_allclose(relationship(pedigree(*short), names), expected, atol=EXACT)


def test_inbred_lines_and_their_progeny_by_hand() -> None:
    records = pedigree(("P", None, None, 1.0), ("Q", None, None, None), ("H", "P", "Q", None), ("D", "P", "Q", 1.0),
                       ("S", "P", "P", None), ("R", "P", None, 1.0))
    a = relationship(records, founder_inbreeding=1.0)
    np.testing.assert_allclose(np.diag(a), [2, 2, 1, 2, 2, 2])  # founders, F1, DH, selfed inbred line, half known
    np.testing.assert_allclose(a[0], [2, 0, 1, 1, 2, 1])
    assert a[2, 3] == 1  # the F1 with a doubled haploid of it
    ordered = ordered_pedigree(records, founder_inbreeding=1.0)
    d = dict(zip(ordered.lines, ordered.mendelian_N, strict=True))
    assert d == {"P": 2, "Q": 2, "H": 0, "D": 1, "S": 0, "R": 1.5}
    with pytest.raises(ValueError, match=r"2 lines are determined by their parents.*: H, S"):
        inverse_relationship(ordered)


def test_lines_without_a_row_become_founders() -> None:
    ordered = ordered_pedigree(pedigree(("A", "P", None, None)), ["X"], founder_inbreeding=1.0)
    assert ordered.lines == ("P", "X", "A")
    np.testing.assert_allclose(numerator_relationship(ordered), [[2, 0, 1], [0, 2, 0], [1, 0, 1]])
    with pytest.raises(ValueError, match="1 lines are not in the pedigree: Z"):
        numerator_relationship(ordered, ["Z"])


@pytest.mark.parametrize(("rows", "message"), [
    ([("A", "B", None, None), ("B", "A", None, None)], "the pedigree has a loop"),
    ([("A", None, None, None), ("A", "P", None, None)], "2 rows of 1 lines"),
])
def test_refused(rows: list[tuple[str, str | None, str | None, float | None]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ordered_pedigree(pedigree(*rows))


def test_one_line_and_no_line() -> None:
    assert relationship(pedigree(("A", None, None, 0.5))).tolist() == [[1.5]]
    assert numerator_relationship(ordered_pedigree(pedigree())).shape == (0, 0)


def test_twenty_thousand_lines_take_seconds() -> None:
    """40 generations of 500 lines, each from 50 crosses among the two before."""
    rng = np.random.default_rng(1)
    crosses = [rng.integers(max(0, g - 2) * 500, g * 500, (50, 2)).repeat(10, axis=0) for g in range(1, 40)]
    parents = np.concatenate(crosses).T
    records = pl.DataFrame({"line_id": [f"L{i}" for i in range(20_000)],
                            "parent_1": [None] * 500 + [f"L{i}" for i in parents[0]],
                            "parent_2": [None] * 500 + [f"L{i}" for i in parents[1]],
                            "inbreeding": [1.0] * 20_000})
    relationship(records[:510])  # compiled before the clock starts
    started = time.process_time()
    ordered = ordered_pedigree(records)
    last = numerator_relationship(ordered, [f"L{i}" for i in range(19_500, 20_000)])
    inverse_relationship(ordered)
    assert time.process_time() - started < 20  # takes half a second; room for a slow, busy machine
    np.testing.assert_allclose(np.diag(last), 2, atol=EXACT)
