"""Values of two seasons: what learning does to them is usual, what a fault does is not."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from genomic_platform.drift.predictions import prediction_drift, without_kin
from genomic_platform.schemas.phenotypes import TRAINING_SET
from genomic_platform.schemas.predictions import VALUES

N, TRAIT = 400, "yield"
LINES = [f"L{i:03}" for i in range(N)]


def values(value_N: np.ndarray, reliability: float = 0.5, phenotyped: bool = True, trait: str = TRAIT) -> pl.DataFrame:
    lines = LINES[:len(value_N)]
    return VALUES.conform(pl.DataFrame({
        "line_id": lines, "trait": trait, "environment": pl.Series([None] * len(lines), dtype=pl.String),
        "breeding_value": value_N, "breeding_value_reliability": reliability, "genotypic_value": value_N,
        "genotypic_value_reliability": reliability, "phenotyped": phenotyped}))


def compared(now: pl.DataFrame, before: pl.DataFrame | None) -> dict:
    return prediction_drift(now, before, season="2", genetic_sd={TRAIT: 1.0}, foreign={}).row(0, named=True)


@pytest.fixture
def learnt() -> tuple[np.ndarray, np.ndarray]:
    """True values with BLUPs of reliability .25 and, with more records of the same lines, .8: old = E(true | less)."""
    rng = np.random.default_rng(1)
    old_N = np.sqrt(0.25) * rng.normal(size=N)
    new_N = old_N + np.sqrt(0.8 - 0.25) * rng.normal(size=N)
    return old_N, new_N


def test_learning_is_usual_though_the_correlation_is_low(learnt: tuple[np.ndarray, np.ndarray]) -> None:
    old_N, new_N = learnt
    row = compared(values(new_N, 0.8), values(old_N, 0.25))
    assert row["decision"] == "usual"
    assert row["r_previous"] == pytest.approx(np.corrcoef(old_N, new_N)[0, 1])
    assert row["r_previous"] == pytest.approx(np.sqrt(0.25 / 0.8), abs=0.07)  # 2 sd of r among 400 lines
    assert row["sd_ratio"] == pytest.approx(new_N.std(ddof=1) / old_N.std(ddof=1))
    assert "0.56 expected" in row["message"]


def test_a_correlation_is_low_or_not_by_what_was_learnt() -> None:
    """r of .42 where old reliability is a fifth of the new (.45 expected), and where nothing was learnt."""
    old_N, own_N = np.random.default_rng(4).normal(size=(2, N))
    own_N -= old_N * (old_N @ own_N) / (old_N @ old_N)
    new_N = 0.42 * old_N / old_N.std() + np.sqrt(1 - 0.42**2) * own_N / own_N.std()
    assert compared(values(new_N, 0.75), values(np.sqrt(0.2) * old_N, 0.15))["decision"] == "usual"
    row = compared(values(new_N, 0.75), values(old_N, 0.75))
    assert (row["decision"], row["r_previous"]) == ("changed", pytest.approx(0.42, abs=0.005))
    assert "ordered otherwise" in row["message"]
    assert "spread" not in row["message"]


@pytest.mark.parametrize(("fault", "words"), [
    (lambda v: v * 1000, "values spread 2"), (lambda v: v / 1000, "values spread 0.00 times"),
    (lambda v: -v, "ordered otherwise"), (lambda v: np.roll(v, 1), "ordered otherwise"),
    (lambda v: v * 0, "all lines have the same value this season")])
def test_faults_are_changes(learnt: tuple[np.ndarray, np.ndarray], fault, words: str) -> None:
    old_N, new_N = learnt
    row = compared(values(fault(new_N), 0.8), values(old_N, 0.25))
    assert row["decision"] == "changed"
    assert words in row["message"]


def test_a_rising_mean_is_gain(learnt: tuple[np.ndarray, np.ndarray]) -> None:
    old_N, new_N = learnt
    row = compared(values(new_N + 50, 0.8), values(old_N, 0.25))
    assert (row["decision"], row["mean"]) == ("usual", pytest.approx(new_N.mean() + 50))


def test_nothing_to_compare_with(learnt: tuple[np.ndarray, np.ndarray]) -> None:
    old_N, new_N = learnt
    assert compared(values(new_N), None)["decision"] == "first"
    assert compared(values(new_N), values(old_N, trait="height"))["decision"] == "first"
    few = compared(values(new_N), values(old_N[:19]))
    assert (few["decision"], few["r_previous"]) == ("first", None)
    assert "19 lines" in few["message"]
    assert compared(values(new_N, 0.8), values(old_N[:20], 0.25))["decision"] == "usual"
    seeing = compared(values(new_N), values(0 * old_N, 0.0))
    assert (seeing["decision"], seeing["sd_ratio"]) == ("usual", None)
    assert compared(values(0 * new_N, 0.0), values(0 * old_N, 0.0))["message"].endswith("in both seasons")


def test_few_lines_have_to_differ_by_more_than_their_sampling_error() -> None:
    """r of .5 where 1 is expected: below .6, but among 20 lines not surely so."""
    x, e = np.random.default_rng(3).normal(size=(2, 400))
    for n, decision in ((20, "usual"), (400, "changed")):
        old, own = x[:n] - x[:n].mean(), e[:n] - e[:n].mean()
        own -= old * (old @ own) / (old @ old)
        new = 0.5 * old / old.std() + np.sqrt(0.75) * own / own.std()
        row = compared(values(new), values(old))
        assert row["r_previous"] == pytest.approx(0.5)
        assert (n, row["decision"]) == (n, decision)


def test_lines_of_one_season_do_not_count_in_the_comparison(learnt: tuple[np.ndarray, np.ndarray]) -> None:
    old_N, new_N = learnt
    wild = np.concatenate([new_N[:200], 1000 * new_N[200:]])
    row = compared(values(wild, 0.8), values(old_N[:200], 0.25))
    assert (row["decision"], row["n_lines"]) == ("usual", N)
    assert row["sd"] == pytest.approx(wild.std(ddof=1))


def test_shrinkage_and_extrapolation() -> None:
    value_N = np.linspace(-1, 1, 40)
    table = values(value_N).with_columns(phenotyped=pl.col("line_id") < "L010")
    foreign = {TRAIT: {"L005", "L010", "L030"}}
    report = prediction_drift(table, None, season="2", genetic_sd={TRAIT: 2.0}, foreign=foreign)
    row = report.row(0, named=True)
    assert row["shrinkage"] == pytest.approx(1 - value_N.std(ddof=1) / 2)
    assert row["extrapolated"] == pytest.approx(2 / 40)  # L005 has a record
    for sd in ({TRAIT: 0.0}, {}):
        report = prediction_drift(table, None, season="2", genetic_sd=sd, foreign={})
        assert report.select("shrinkage", "extrapolated").row(0) == (None, 0.0)


def test_targets_are_left_out() -> None:
    value_N = np.linspace(-1, 1, 40)
    targeted = pl.concat([values(value_N), values(99 * value_N).with_columns(environment=pl.lit("A"))])
    assert prediction_drift(targeted, targeted, season="2", genetic_sd={}, foreign={}).equals(
        prediction_drift(values(value_N), values(value_N), season="2", genetic_sd={}, foreign={}))


def test_kin_are_found_trait_by_trait_as_plain_loops_find_them() -> None:
    rng = np.random.default_rng(2)
    lines = LINES[:30]
    dosage = rng.integers(0, 3, (30, 12)).astype(float)
    relationship = (dosage - dosage.mean(axis=0)) @ (dosage - dosage.mean(axis=0)).T / 6
    trained = {"yield": [*lines[:8], "not genotyped"], "height": lines[4:20], "oil": ["not genotyped"]}
    training = pl.concat([TRAINING_SET.conform(pl.DataFrame(
        {"line_id": who, "trait": trait, "mean": 0.0, "error_variance": None, "error_loadings": None,
         "n_environments": 1, "n_records": 1, "first_season": "1", "last_season": "1", "genotyped": True},
        schema=TRAINING_SET.schema)) for trait, who in trained.items()])
    wanted = {trait: {line for i, line in enumerate(lines) if not any(
        relationship[i, lines.index(t)] / np.sqrt(relationship[i, i] * relationship[lines.index(t), lines.index(t)])
        >= 0.25 for t in who if t in lines and t != line)} for trait, who in trained.items()}
    found = without_kin(lines, relationship, training)
    assert found == wanted
    assert found["oil"] == set(lines)
    assert 0 < len(found["yield"]) < 30
