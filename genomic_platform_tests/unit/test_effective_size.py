"""Effective size of populations simulated forwards with a known one, and what is said where there is none."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from genomic_platform.genotypes.population.effective_size import effective_size
from genomic_platform.genotypes.table import GenotypeTable

CHROMOSOMES, LOCI = 10, 20


def gametes(parents: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One gamete of each parent (n, 2, C, L): on each chromosome one crossover or, half the time, none."""
    shape = (len(parents), CHROMOSOMES, 1)
    crossed = (rng.random(shape) < 0.5) & (np.arange(LOCI) >= rng.integers(0, LOCI + 1, shape))
    return np.where(rng.integers(0, 2, shape) ^ crossed, parents[:, 1], parents[:, 0])


def offspring(parents: np.ndarray, n: int, rng: np.random.Generator, inbred: bool) -> np.ndarray:
    """n offspring of parents drawn at random, two for each; inbred: a doubled gamete of each."""
    children = np.stack([gametes(parents[rng.integers(0, len(parents), n)], rng) for _ in range(2)], axis=1)
    return np.repeat(gametes(children, rng)[:, None], 2, axis=1) if inbred else children


def drifted_table(n_parents: int, n_lines: int, seed: int, inbred: bool = False) -> GenotypeTable:
    """A sample of the offspring after 20 generations of `n_parents`: unlinked r² is in balance after a few."""
    rng = np.random.default_rng(seed)
    population = rng.integers(0, 2, (n_parents, 2, CHROMOSOMES, LOCI)).astype(np.int8)
    for _ in range(20):
        population = offspring(population, n_parents, rng, inbred)
    dosage_MN = offspring(population, n_lines, rng, inbred).sum(axis=1, dtype=np.int8).reshape(n_lines, -1).T
    dosage_MN[rng.random(dosage_MN.shape) < 0.02] = -1
    return table_of(dosage_MN)


def table_of(dosage_MN: np.ndarray) -> GenotypeTable:
    m, n = dosage_MN.shape
    variants = pl.DataFrame({"variant_id": [f"m{v}" for v in range(m)],
                             "chromosome": [f"{v // LOCI + 1}" for v in range(m)],
                             "position": np.arange(m) % LOCI + 1, "ref": "A", "alt": "C"})
    return GenotypeTable.from_dosages(variants, [f"l{i}" for i in range(n)], dosage_MN)


@pytest.mark.parametrize(("n_parents", "n_lines", "inbred", "truth"), [
    (50, 100, False, 50.0), (100, 60, False, 100.0), (50, 100, True, 25.0)])
def test_a_simulated_population_has_the_size_it_was_simulated_with(n_parents: int, n_lines: int, inbred: bool,
                                                                   truth: float):
    # 1/Ne is what r² is linear in; one estimate of it had a coefficient of variation of .10 to .14 over 20 replicates,
    # so the mean of eight has .035 to .05: 15 % is three standard errors. Doubled gametes drift as half their number.
    rows = pl.concat([effective_size(drifted_table(n_parents, n_lines, seed, inbred)) for seed in range(8)])
    assert 1 / (1 / rows["effective_size"]).mean() == pytest.approx(truth, rel=0.15)
    assert ((rows["lower"] < truth) & (rows["upper"] > truth)).sum() >= 6  # of eight, where 95 % is meant
    assert rows["inbreeding"].mean() == pytest.approx(float(inbred), abs=0.02)
    assert rows["reason"].is_null().all()


def plain_mean_r2(table: GenotypeTable) -> tuple[float, float, int]:
    """Weighted means of r² and of the r² of chance over pairs on different chromosomes, pair by pair."""
    dosage_NM, chromosome = table.dosages().astype(float), table.variants["chromosome"].to_list()
    weight, observed, chance, pairs = 0.0, 0.0, 0.0, 0
    for i in range(table.n_variants):
        for j in range(i):
            both_N = (dosage_NM[:, i] >= 0) & (dosage_NM[:, j] >= 0)
            x_N, y_N, s = dosage_NM[both_N, i], dosage_NM[both_N, j], int(both_N.sum())
            if chromosome[i] == chromosome[j] or x_N.std() == 0 or y_N.std() == 0:
                continue
            pairs, weight = pairs + 1, weight + s**2
            observed += s**2 * (np.corrcoef(x_N, y_N)[0, 1] * s / (s - 1)) ** 2
            chance += s**2 * (1 / s + 3.19 / s**2 if s >= 30 else 0.0018 + 0.907 / s + 4.44 / s**2)
    return observed / weight, chance / weight, pairs


@pytest.mark.parametrize("n_lines", [25, 70])
def test_the_mean_r2_is_that_of_a_plain_loop(n_lines: int):
    table = drifted_table(40, n_lines, seed=1).select(np.arange(0, CHROMOSOMES * LOCI, 5))
    row = effective_size(table, min_allele_frequency=0.0).row(0, named=True)
    r2, chance, pairs = plain_mean_r2(table)
    assert row["n_pairs"] == pairs
    assert (row["r2"], row["r2_by_chance"]) == pytest.approx((r2, chance), rel=1e-12)


def test_fewer_variants_are_used_when_asked_and_rare_ones_are_not():
    table = drifted_table(40, 60, seed=2)
    row = effective_size(table, max_variants=50).row(0, named=True)
    assert row["n_variants"] == 50
    common = table.variants.filter(pl.col("alt_frequency").is_between(0.2, 0.8)).height
    assert effective_size(table, min_allele_frequency=0.2)["n_variants"].item() == common


def test_independent_lines_without_drift_have_an_infinite_size_or_a_large_one():
    rng = np.random.default_rng(3)
    rows = pl.concat([effective_size(table_of(rng.binomial(2, 0.5, (CHROMOSOMES * LOCI, 60)).astype(np.int8)))
                      for _ in range(6)])
    assert (rows["effective_size"] > 300).all()
    assert rows["upper"].is_infinite().all()
    infinite = rows.filter(pl.col("effective_size").is_infinite())
    assert 0 < infinite.height < 6
    assert infinite["reason"].str.contains("not above chance").all()


@pytest.mark.parametrize(("changed", "reason"), [
    ({"chromosome": pl.lit("unplaced"), "position": pl.lit(0)}, "no variant has a chromosome"),
    ({"chromosome": pl.lit("7"), "position": pl.int_range(1, pl.len() + 1)}, "on chromosome 7"),
    ({"chromosome": pl.lit("7"), "position": pl.lit(0)}, "no variant has a chromosome"),
])
def test_without_unlinked_variants_nothing_is_estimated(changed: dict[str, pl.Expr], reason: str):
    table = drifted_table(20, 30, seed=4)
    row = effective_size(GenotypeTable.from_packed(table.variants.with_columns(**changed), table.lines, table.packed_MB)
                         ).row(0, named=True)
    assert row["effective_size"] is None
    assert reason in row["reason"]


def test_too_few_lines_or_no_common_variant_are_said():
    table = drifted_table(20, 30, seed=5)
    assert "9 lines; at least 10" in effective_size(table.select(None, table.lines[:9]))["reason"].item()
    assert "common enough" in effective_size(table, min_allele_frequency=0.51)["reason"].item()
