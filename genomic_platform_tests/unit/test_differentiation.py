"""F_ST against the papers' formulas written out for one variant, and what must hold whatever the data."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomic_platform.errors import InputError
from genomic_platform.genotypes.population.differentiation import fst, fst_by_variant
from genomic_platform.genotypes.table import GenotypeTable

METHODS = ("hudson", "weir_cockerham")


def made_table(n_lines: int, seed: int, n_variants: int = 60, missing: float = 0.1) -> GenotypeTable:
    rng = np.random.default_rng(seed)
    dosage_MN = rng.binomial(2, rng.uniform(0, 1, (n_variants, 1)), (n_variants, n_lines)).astype(np.int8)
    dosage_MN[rng.random(dosage_MN.shape) < missing] = -1
    variants = pl.DataFrame({"variant_id": [f"m{v}" for v in range(n_variants)],
                             "chromosome": [f"{3 * v // n_variants}" for v in range(n_variants)],
                             "position": np.arange(1, n_variants + 1), "ref": "A", "alt": "C"})
    return GenotypeTable.from_dosages(variants, [f"l{i}" for i in range(n_lines)], dosage_MN)


def made_groups(table: GenotypeTable, n_groups: int, seed: int) -> dict[str, str]:
    order = np.random.default_rng(seed).permutation(table.n_lines)
    return {table.lines[line]: f"group {i % n_groups}" for i, line in enumerate(order)}


def plain_hudson(calls: list[np.ndarray]) -> tuple[float, float]:
    """Bhatia et al. 2013, eq. 10, summed over pairs of groups."""
    numerator = denominator = 0.0
    for first, second in combinations(calls, 2):
        (p1, n1), (p2, n2) = ((x.mean() / 2, 2 * len(x)) for x in (first, second))
        numerator += (p1 - p2) ** 2 - p1 * (1 - p1) / (n1 - 1) - p2 * (1 - p2) / (n2 - 1)
        denominator += p1 * (1 - p2) + p2 * (1 - p1)
    return numerator, denominator


def plain_weir_cockerham(calls: list[np.ndarray]) -> tuple[float, float]:
    """Weir and Cockerham 1984, eqs. 2–4: a and a + b + c."""
    r, n = len(calls), np.array([len(x) for x in calls])
    p, h = np.array([x.mean() / 2 for x in calls]), np.array([(x == 1).mean() for x in calls])
    n_bar, n_c = n.mean(), (n.sum() - (n**2).sum() / n.sum()) / (r - 1)
    p_bar, h_bar = (n * p).sum() / n.sum(), (n * h).sum() / n.sum()
    s2 = (n * (p - p_bar) ** 2).sum() / ((r - 1) * n_bar)
    a = n_bar / n_c * (s2 - (p_bar * (1 - p_bar) - (r - 1) / r * s2 - h_bar / 4) / (n_bar - 1))
    b = n_bar / (n_bar - 1) * (p_bar * (1 - p_bar) - (r - 1) / r * s2 - (2 * n_bar - 1) / (4 * n_bar) * h_bar)
    return a, a + b + h_bar / 2


@settings(deadline=None, max_examples=30)
@given(n_lines=st.integers(9, 80), n_groups=st.integers(2, 4), seed=st.integers(0, 10_000),
       method=st.sampled_from(METHODS))
def test_each_variant_has_the_fst_of_the_papers(n_lines: int, n_groups: int, seed: int, method: str):
    table = made_table(n_lines, seed)
    groups = made_groups(table, n_groups, seed)
    members = [[line for line in table.lines if groups[line] == name] for name in sorted(set(groups.values()))]
    plain = plain_hudson if method == "hudson" else plain_weir_cockerham
    for row, x_N in zip(fst_by_variant(table, groups, method).iter_rows(named=True), table.dosages().T, strict=True):
        calls = [x_N[table.line_rows(lines)] for lines in members]
        calls = [x[x >= 0].astype(float) for x in calls]
        if min(map(len, calls)) == 0 or (len(np.unique(np.concatenate(calls))) == 1 and calls[0][0] != 1):
            assert row["fst"] is None
            continue
        numerator, denominator = plain(calls)
        np.testing.assert_allclose([row["numerator"], row["denominator"]], [numerator, denominator], atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_chromosomes_and_the_whole_are_ratios_of_summed_components(method: str):
    table = made_table(50, seed=3)
    groups = made_groups(table, 2, seed=4)
    each, summed = fst_by_variant(table, groups, method).drop_nulls(), fst(table, groups, method)
    for chromosome in (None, "0", "1", "2"):
        part = each if chromosome is None else each.filter(chromosome=chromosome)
        row = summed.row(by_predicate=pl.col("chromosome").eq_missing(chromosome), named=True)
        assert row["n_variants"] == part.height
        assert row["fst"] == pytest.approx(part["numerator"].sum() / part["denominator"].sum(), rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_three_groups_are_compared_in_pairs_and_all_together(method: str):
    table = made_table(60, seed=5)
    groups = made_groups(table, 3, seed=6)
    whole = fst(table, groups, method).filter(pl.col("chromosome").is_null())
    assert whole.select("group_1", "group_2").rows() == [("group 0", "group 1"), ("group 0", "group 2"),
                                                         ("group 1", "group 2"), (None, None)]
    two = {line: group for line, group in groups.items() if group != "group 1"}
    assert fst(table, two, method)["fst"][0] == pytest.approx(whole["fst"][1], rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_groups_fixed_for_different_alleles_have_fst_one(method: str):
    table = made_table(20, seed=1)
    dosage_MN = np.where(np.arange(20) < 8, 0, 2).astype(np.int8) * np.ones((60, 1), dtype=np.int8)
    fixed = GenotypeTable.from_dosages(table.variants, table.lines, dosage_MN)
    groups = {line: "low" if i < 8 else "high" for i, line in enumerate(table.lines)}
    assert fst(fixed, groups, method)["fst"].to_list() == pytest.approx([1.0] * 4)


@pytest.mark.parametrize("method", METHODS)
def test_random_groups_of_one_population_do_not_differ(method: str):
    # both estimators are unbiased: over 3,000 independent variants the mean of about 0 has a standard error of .0004
    table = made_table(100, seed=7, n_variants=3000, missing=0.02)
    assert abs(fst(table, made_groups(table, 2, seed=8), method)["fst"][0]) < 0.002


@pytest.mark.parametrize("method", METHODS)
def test_lines_without_a_group_are_left_out_and_a_table_on_disk_gives_the_same(tmp_path: Path, method: str):
    table = made_table(41, seed=9)
    groups: dict[str, str | None] = dict(made_groups(table, 2, seed=10))
    groups |= dict.fromkeys(table.lines[:11])
    inside = table.select(None, [line for line in table.lines if groups[line] is not None])
    table.save(tmp_path / "panel")
    assert fst(GenotypeTable.open(tmp_path / "panel"), groups, method).equals(
        fst(inside, {line: groups[line] for line in inside.lines}, method))


def test_a_single_group_and_groups_of_one_line_are_named():
    table = made_table(10, seed=1)
    with pytest.raises(InputError, match="at least two groups"):
        fst(table, dict.fromkeys(table.lines, "all"))
    with pytest.raises(InputError, match="lonely is one line; expected at least two lines"):
        fst(table, {**dict.fromkeys(table.lines, "all"), table.lines[3]: "lonely"})


def test_a_line_that_is_not_in_the_table_is_named():
    with pytest.raises(ValueError, match="no genotypes here: stranger"):
        fst(made_table(10, seed=1), {"l1": "a", "l2": "a", "l3": "b", "stranger": "b"})
