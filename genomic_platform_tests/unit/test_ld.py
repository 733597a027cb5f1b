"""r², its decay and pruning against plain implementations that decode every call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomic_platform.errors import InputError
from genomic_platform.genotypes.population.ld import hill_weir, ld_decay, prune, r2_pairs
from genomic_platform.genotypes.table import GenotypeTable


def made_table(n_lines: int, n_variants: int, seed: int, missing: float, chromosomes: int = 2,
               spacing: int = 1000) -> GenotypeTable:
    """Neighbours resemble each other; some variants are complete, repeated, without variance or never called."""
    rng = np.random.default_rng(seed)
    dosage_MN = rng.integers(0, 3, (n_variants, n_lines)).astype(np.int8)
    for v in range(1, n_variants):
        copied_N = rng.random(n_lines) < rng.choice([0.0, 0.7, 0.95])
        dosage_MN[v, copied_N] = dosage_MN[v - 1, copied_N]
    dosage_MN[rng.random(dosage_MN.shape) < missing * (rng.random((n_variants, 1)) < 0.7)] = -1
    for value in (-1, 0, 1, 2):
        dosage_MN[rng.random(n_variants) < 0.02] = value
    of_M = np.sort(rng.integers(0, chromosomes, n_variants))
    variants = pl.DataFrame({"variant_id": [f"v{v:04d}" for v in range(n_variants)],
                             "chromosome": [f"chr{c + 1}" for c in of_M],
                             "position": 1 + np.cumsum(rng.integers(0, 2 * spacing, n_variants)),
                             "ref": "A", "alt": "C"})
    return GenotypeTable.from_dosages(variants, [f"line{i}" for i in range(n_lines)], dosage_MN)


def plain_r2(x_N: np.ndarray, y_N: np.ndarray) -> float:
    """The squared Pearson correlation over the lines called in both, NaN where one does not vary."""
    both_N = (x_N >= 0) & (y_N >= 0)
    x_N, y_N = x_N[both_N].astype(float), y_N[both_N].astype(float)
    if not len(x_N) or x_N.std() == 0 or y_N.std() == 0:
        return np.nan
    return float(np.corrcoef(x_N, y_N)[0, 1] ** 2)


def plain_prune(table: GenotypeTable, window: int, step: int, max_r2: float) -> set[str]:
    """The description in `prune`, in Python over decoded calls."""
    kept: set[str] = set()
    for (_,), part in table.variants.with_row_index().group_by("chromosome", maintain_order=True):
        dosage_NM = table.dosages(part["index"].to_numpy())
        minor, gone = [], []
        for x_N in dosage_NM.T:
            called_N = x_N[x_N >= 0]
            minor.append(min(called_N.mean(), 2 - called_N.mean()) if len(called_N) else 0.0)
            gone.append(len(set(called_N.tolist())) < 2 and part.height > 1)
        met: set[tuple[int, int]] = set()
        for start in range(0, part.height, step):
            inside = range(start, min(start + window, part.height))
            removing = True
            while removing:
                removing = False
                for i in inside:
                    for j in inside:
                        if gone[i] or gone[j] or j <= i or (i, j) in met:
                            continue
                        met.add((i, j))
                        if plain_r2(dosage_NM[:, i], dosage_NM[:, j]) > max_r2 + 1e-12:
                            gone[i if minor[i] < minor[j] - 1e-12 else j] = removing = True
                            break
        kept |= {name for name, out in zip(part["variant_id"], gone, strict=True) if not out}
    return kept


@settings(deadline=None, max_examples=25)
@given(n_lines=st.integers(2, 70), seed=st.integers(0, 10_000), missing=st.sampled_from([0.0, 0.05, 0.4]),
       window=st.integers(1, 12))
def test_r2_is_the_squared_correlation_over_lines_called_in_both(n_lines: int, seed: int, missing: float, window: int):
    table = made_table(n_lines, 25, seed, missing)
    dosage_NM = table.dosages()
    chromosome = table.variants["chromosome"].to_list()
    wanted = {(i, j): plain_r2(dosage_NM[:, i], dosage_NM[:, j]) for i in range(25)
              for j in range(i + 1, min(25, i + window + 1)) if chromosome[i] == chromosome[j]}
    wanted = {pair: r2 for pair, r2 in wanted.items() if not np.isnan(r2)}
    found = r2_pairs(table, window_variants=window, min_r2=0.0)
    assert found.select(pl.concat_list(pl.col("variant_1", "variant_2").str.slice(1).cast(pl.Int64))
                        ).to_series().to_list() == [list(pair) for pair in wanted]
    np.testing.assert_allclose(found["r2"], list(wanted.values()), atol=1e-12)  # corrcoef's rounding


@settings(deadline=None, max_examples=25)
@given(n_lines=st.integers(2, 60), seed=st.integers(0, 10_000), missing=st.sampled_from([0.0, 0.1]),
       window=st.integers(2, 15), step=st.integers(1, 15), max_r2=st.sampled_from([0.05, 0.2, 0.5, 0.9]))
def test_pruning_is_the_described_sweep(n_lines: int, seed: int, missing: float, window: int, step: int, max_r2: float):
    table, step = made_table(n_lines, 40, seed, missing), min(step, window)
    kept_M = prune(table, window, step, max_r2)
    assert set(table.variants["variant_id"].filter(kept_M)) == plain_prune(table, window, step, max_r2)


def test_a_window_of_the_whole_chromosome_leaves_no_pair_above_the_threshold():
    table = made_table(90, 150, seed=4, missing=0.1)
    kept = table.select(prune(table, window_variants=150, step=1, max_r2=0.3))
    assert 2 < kept.n_variants < 150
    assert r2_pairs(kept, window_variants=150, min_r2=0.3001).height == 0


def test_base_pair_windows_give_the_pairs_within_reach():
    table = made_table(40, 80, seed=5, missing=0.1)
    everything = r2_pairs(table, window_variants=80, min_r2=0.1)
    near = everything.filter(pl.col("position_2") - pl.col("position_1") <= 5000)
    assert 0 < near.height < everything.height
    assert r2_pairs(table, window_bp=5000, min_r2=0.1).equals(near)


def test_threads_and_a_table_on_disk_change_nothing(tmp_path: Path):
    table = made_table(130, 400, seed=6, missing=0.05, chromosomes=5)
    table.save(tmp_path / "panel")
    opened = GenotypeTable.open(tmp_path / "panel")
    assert (prune(opened, threads=3) == prune(table, threads=1)).all()
    assert r2_pairs(opened, window_bp=20_000, threads=3).equals(r2_pairs(table, window_bp=20_000, threads=1))
    assert ld_decay(opened, 20_000, 5).bins.equals(ld_decay(table, 20_000, 5, threads=1).bins)


def test_decay_averages_the_pairs_of_each_bin_of_distance():
    table = made_table(50, 120, seed=7, missing=0.05)
    pairs = r2_pairs(table, window_bp=10_000, min_r2=0.0).with_columns(
        bin=((pl.col("position_2") - pl.col("position_1")) * 4 // 10_000).clip(0, 3))
    for chromosome in ("chr1", "chr2", None):
        here = pairs if chromosome is None else pairs.filter(chromosome=chromosome)
        wanted = here.group_by("bin").agg(pl.len(), pl.col("r2").mean()).sort("bin")
        found = ld_decay(table, 10_000, 4).bins.filter(pl.col("chromosome").eq_missing(chromosome))
        assert found["n_pairs"].to_list() == wanted["len"].to_list()
        np.testing.assert_allclose(found["mean_r2"], wanted["r2"], rtol=1e-12)  # order of summation


def test_the_fitted_curve_is_that_of_the_population_it_was_simulated_from():
    # recombination fraction 2e-6 between neighbouring bp, N = 100: ρ = 4Nc = 8e-4 per bp. Drift of 60 generations from
    # common alleles in one population, so that one estimate varies (over 20 seeds: 4.8e-4 to 1.17e-3, median 9.0e-4).
    rng, n, m, bp = np.random.default_rng(11), 100, 300, 500
    hap_HM = rng.integers(0, 2, (2 * n, m)).astype(np.int8)
    for _ in range(60):
        parent_H, strand_H = rng.integers(0, n, 2 * n), rng.integers(0, 2, 2 * n)
        crossed_HM = (np.cumsum(rng.random((2 * n, m)) < 2e-6 * bp, axis=1) + strand_H[:, None]) % 2
        hap_HM = hap_HM[2 * parent_H[:, None] + crossed_HM, np.arange(m)]
    dosage_MN = (hap_HM[0::2] + hap_HM[1::2]).T
    common_M = np.minimum(dosage_MN.mean(axis=1), 2 - dosage_MN.mean(axis=1)) > 0.2
    variants = pl.DataFrame({"variant_id": [f"m{i}" for i in range(m)], "chromosome": "1",
                             "position": 1 + bp * np.arange(m), "ref": "A", "alt": "C"})
    table = GenotypeTable.from_dosages(variants, [f"l{i}" for i in range(n)], dosage_MN).select(common_M)
    fit = ld_decay(table, 50_000, 25).fits.filter(pl.col("chromosome").is_null()).row(0, named=True)
    assert 3e-4 < fit["rho_per_bp"] < 1.6e-3
    half = hill_weir(fit["rho_per_bp"] * fit["half_decay_bp"], n) / hill_weir(0.0, n)
    assert half == pytest.approx(0.5, abs=0.001)  # n is the same up to rounding, as every line is called
    assert fit["reason"] is None


def test_expected_r2_has_the_published_limits():
    assert hill_weir(0.0, np.inf) == pytest.approx(10 / 22)  # Hill and Weir 1988: 5/11 with complete linkage
    assert hill_weir(1e9, 50) == pytest.approx(1 / 50, rel=1e-6)  # chance alone between unlinked sites


@pytest.mark.parametrize(("bins", "reason"), [(2, "2 bins of distance hold pairs"), (40, "does not fall")])
def test_a_decay_that_cannot_be_fitted_says_why(bins: int, reason: str):
    dosage_MN = np.repeat(np.random.default_rng(1).integers(0, 3, (1, 30)), 50, axis=0)
    variants = pl.DataFrame({"variant_id": [f"m{i}" for i in range(50)], "chromosome": "1",
                             "position": 1 + 100 * np.arange(50), "ref": "A", "alt": "C"})
    table = GenotypeTable.from_dosages(variants, [f"l{i}" for i in range(30)], dosage_MN)
    fit = ld_decay(table, 4000, bins).fits.row(0, named=True)
    assert fit["half_decay_bp"] is None
    assert reason in fit["reason"]


def unplaced_table() -> GenotypeTable:
    table = made_table(30, 60, seed=8, missing=0.0, chromosomes=1)
    variants = table.variants.with_columns(chromosome=pl.lit("unplaced"), position=0)
    return GenotypeTable.from_packed(variants, table.lines, table.packed_MB)


@pytest.mark.parametrize("work", [lambda t: prune(t), lambda t: prune(t, window_bp=1000), lambda t: ld_decay(t),
                                  lambda t: r2_pairs(t, window_bp=1000), lambda t: r2_pairs(t, window_variants=10)])
def test_windows_are_refused_where_positions_are_unknown(work):
    with pytest.raises(InputError, match=r"60 variants of 60 without .*v0000.*repair: read the genotypes from a file"):
        work(unplaced_table())


def test_all_pairs_need_no_positions():
    assert 0 < prune(unplaced_table(), window_variants=60, step=1).sum() < 60
    assert r2_pairs(unplaced_table(), window_variants=59, min_r2=0.0).height > 1000


def test_a_table_without_variants_prunes_to_nothing():
    empty = made_table(10, 20, seed=1, missing=0.0).select(np.zeros(20, dtype=bool))
    assert prune(empty).shape == (0,)
    assert r2_pairs(empty, window_variants=5).height == 0


def test_a_step_larger_than_the_window_is_refused():
    with pytest.raises(ValueError, match="step ≤ window_variants"):
        prune(made_table(10, 20, seed=1, missing=0.0), 10, 11)
