"""Scores of a season: None where they cannot be had, directions, families, baselines that win."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import ProgramError
from genomic_platform.models import scores
from genomic_platform.schemas.phenotypes import TRAINING_SET
from genomic_platform.schemas.predictions import REALISED_ACCURACY, REGISTERED_MODEL, VALUES
from genomic_platform_tests.support.panels import line_records

LINES = [f"l{i:02d}" for i in range(30)]


def test_what_cannot_be_had_is_none() -> None:
    two, flat, rising = np.arange(2.0), np.full(9, 0.1), np.arange(9.0)
    assert scores.correlation(two, two) is None
    assert scores.correlation(flat, rising) is None
    assert scores.correlation(rising, flat) is None
    assert scores.slope(flat, rising) is None
    assert scores.bias(two, two) is None
    assert scores.top_fifth_hit(flat, rising) is None
    assert scores.within_family(rising, rising, ["a"] * 9) is None
    assert scores.correlation(np.array([]), np.array([])) is None


def test_slope_and_bias() -> None:
    x_N = np.arange(10.0)
    assert scores.slope(x_N, 0.5 * x_N + 2) == pytest.approx(0.5)
    assert scores.bias(x_N, x_N - 1) == pytest.approx(1.0)


@pytest.mark.parametrize(("direction", "hit"), [("maximise", 1.0), ("minimise", 0.0), ("target(9)", 1.0)])
def test_best_fifth_is_in_the_traits_direction(direction: str, hit: float) -> None:
    observed_N = np.arange(10.0)
    predicted_N = observed_N.copy()
    predicted_N[[0, 1, 4, 5]] = observed_N[[4, 5, 0, 1]]
    assert scores.top_fifth_hit(predicted_N, observed_N, direction) == hit


def test_target_counts_from_the_average_line() -> None:
    assert scores.merit(np.array([-1.0, 0.0, 2.0]), "target(102)", average=100.0) == pytest.approx([-3.0, -2.0, 0.0])
    with pytest.raises(ProgramError, match="expected maximise, minimise or target"):
        scores.merit(np.zeros(1), "larger")


def test_families_of_ten_are_weighted_by_size() -> None:
    rng = np.random.default_rng(1)
    predicted_N, observed_N = rng.normal(size=45), rng.normal(size=45)
    families = ["a"] * 12 + ["b"] * 20 + ["small"] * 9 + [None] * 4
    r_a = np.corrcoef(predicted_N[:12], observed_N[:12])[0, 1]
    r_b = np.corrcoef(predicted_N[12:32], observed_N[12:32])[0, 1]
    assert scores.within_family(predicted_N, observed_N, families) == pytest.approx((12 * r_a + 20 * r_b) / 32)


def _season(good_model: bool) -> pl.DataFrame:
    rng = np.random.default_rng(2)
    truth_N = rng.normal(size=30)
    noise_N = rng.normal(size=30)
    model_N, own_N = (truth_N + 0.1 * noise_N, rng.normal(size=30)) if good_model else (noise_N, truth_N)
    # New lines are scored by the breeding value, which here is the opposite; a target environment is not scored.
    values = VALUES.conform(pl.concat([pl.DataFrame({
        "line_id": LINES, "trait": "y", "environment": pl.Series([environment] * 30, dtype=pl.String),
        "breeding_value": -model_N, "breeding_value_reliability": 0.5, "genotypic_value": model_N,
        "genotypic_value_reliability": 0.5, "phenotyped": True}) for environment in (None, "elsewhere")]))
    means = TRAINING_SET.conform(pl.DataFrame({
        "line_id": LINES[:20], "trait": "y", "mean": own_N[:20], "error_variance": None, "error_loadings": None,
        "n_environments": 1, "n_records": 1, "first_season": "2009", "last_season": "2009",
        "genotyped": True}))
    observed = pl.DataFrame({"line_id": [*LINES, "unpredicted"], "trait": "y", "observed": [*truth_N, 9.0]})
    decisions = REGISTERED_MODEL.conform(pl.DataFrame({
        "trait": ["y", "absent"], "season": "2009", "decision": "initial", "recipe": "genomic_blup",
        "challenger": None, "proposed": None, "trained_through": "2009", "model_version": "x", "n_train": 20,
        "reasons": [["first"]] * 2}))
    return scores.realised_accuracy(
        season="2010", values=values, observed=observed, training_means=means, decisions=decisions,
        line_records=line_records(LINES, ["f1"] * 12 + ["f2"] * 18), directions={"y": "maximise"})


def test_known_lines_by_genotypic_and_new_lines_by_breeding_value() -> None:
    table = _season(good_model=True)
    assert REALISED_ACCURACY.faults(table) == []
    row = table.row(0, named=True)
    assert table.height == 1
    assert (row["n_scored"], row["n_known"], row["n_new"]) == (30, 20, 10)
    assert row["r_known"] > 0.95
    assert row["r_new"] < -0.95
    assert row["loses_to"] == []
    assert (row["trained_through"], row["recipe"], row["n_train"]) == ("2009", "genomic_blup", 20)


def test_a_baseline_that_wins_is_named() -> None:
    row = _season(good_model=False).row(0, named=True)
    assert row["baseline_own_mean"] == pytest.approx(1.0)
    assert "own_mean" in row["loses_to"]
