"""Scores of predictions against plain calculations, paired differences against a plain bootstrap, calibration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import ProgramError
from genomic_platform.models.ability import summarise
from genomic_platform.models.calibration import calibration, calibration_bins
from genomic_platform.models.evaluate import PREDICTIONS, predictions
from genomic_platform.models.paired import compare_models, corrected_error
from genomic_platform.models.scores import selection_gain
from genomic_platform_tests.support.nested_association import NestedDesign, NestedPanel, nested_panel


@pytest.fixture(scope="module")
def panel() -> NestedPanel:
    return nested_panel(replace(NestedDesign.small(), n_lines=160, n_families=8, n_markers=200), seed=4)


@pytest.fixture(scope="module")
def found(panel: NestedPanel) -> pl.DataFrame:
    return predictions(panel.genotypes, panel.line_means, recipes=["genomic_blup", "kernel"], replicates=2,
                       families=panel.families, parents=panel.parents, reliabilities=True)


def _r(part: pl.DataFrame, column: str = "predicted") -> float:
    return float(np.corrcoef(part[column].to_numpy(), part["observed"].to_numpy())[0, 1])


def test_scores_are_the_plain_ones(panel: NestedPanel, found: pl.DataFrame) -> None:
    row = summarise(found).filter(pl.col("model") == "genomic_blup").row(0, named=True)
    own = found.filter(pl.col("recipe") == "genomic_blup")
    lines = own.filter(pl.col("environment").is_null())
    by_replicate = [np.mean([_r(fold) for _, fold in replicate.group_by("fold")])
                    for _, replicate in lines.group_by("replicate", maintain_order=True)]
    assert row["r_mean"] == pytest.approx(np.mean(by_replicate), abs=1e-12)
    assert row["r_sd"] == pytest.approx(np.std(by_replicate, ddof=1), abs=1e-12)
    assert row["r_within_environment"] == pytest.approx(np.mean([
        _r(part) for _, part in own.drop_nulls("environment").group_by("replicate", "fold", "environment")]), abs=1e-12)
    assert row["baseline_family_mean"] == pytest.approx(np.mean([
        _r(part, "family_mean") for _, part in lines.group_by("replicate", "fold")]), abs=1e-12)
    assert (row["baseline_own_mean"], row["r_known"]) == (None, None)
    assert row["r_new"] == row["r_mean"] == row["r_t2"]
    within = []
    for _, replicate in lines.group_by("replicate"):
        centred = replicate.with_columns((pl.col(c) - pl.col(c).mean().over("fold", "family"))
                                         for c in ("predicted", "observed"))
        within.append(np.mean([_r(part) for _, part in centred.group_by("family")]))  # families of equal size
    assert row["r_within_family"] == pytest.approx(np.mean(within), abs=1e-12)


def test_family_mean_is_that_of_the_training_lines(panel: NestedPanel, found: pl.DataFrame) -> None:
    fold = found.filter(pl.col("recipe") == "kernel", pl.col("replicate") == 0, pl.col("environment").is_null())
    held_out = fold.filter(pl.col("fold") == 2)
    line, family, said = held_out.select("line_id", "family", "family_mean").row(0)
    sisters = fold.filter(pl.col("family") == family, pl.col("fold") != 2)["observed"].to_numpy()
    assert panel.families[line] == family
    assert said == pytest.approx(sisters.mean(), abs=1e-12)


def test_accuracy_only_where_heritability_spans_seasons(panel: NestedPanel, found: pl.DataFrame) -> None:
    row = summarise(found).row(0, named=True)
    lines = found.filter(pl.col("recipe") == row["model"], pl.col("environment").is_null()).unique("line_id")
    heritability = 1 - lines["error_variance"].to_numpy().mean() / lines["observed"].to_numpy().var()
    assert row["accuracy"] == pytest.approx(row["r_mean"] / np.sqrt(heritability))
    one = panel.line_means.filter(pl.col("season") == "2021")
    for table, mode in ((one, {}), (panel.line_means, {"means": "centred", "weights": "none"})):
        part = predictions(panel.genotypes, table, recipes=["genomic_blup"], replicates=1, **mode)  # pyright: ignore
        assert summarise(part)["accuracy"].to_list() == [None]


def test_selection_gain() -> None:
    predicted_N, observed_N = np.arange(10.0), np.array([0, 0, 0, 0, 0, 0, 0, 0, 4.0, 6.0])
    assert selection_gain(predicted_N, observed_N) == pytest.approx(5 - 1)
    assert selection_gain(predicted_N, observed_N, "minimise") == pytest.approx(0 + 1)
    assert selection_gain(np.ones(10), observed_N) is None


def test_a_baseline_that_wins_is_named(found: pl.DataFrame) -> None:
    spoilt = found.with_columns(predicted=-pl.col("predicted"))
    assert summarise(spoilt)["loses_to"].to_list() == [["family_mean"]] * 2


def test_the_difference_is_that_of_the_scores(found: pl.DataFrame) -> None:
    pairs = compare_models(found, "genomic_blup", "kernel")
    scores = {row["model"]: row for row in summarise(found).iter_rows(named=True)}
    for pair, column in zip(pairs.iter_rows(named=True), ("r_mean", "r_within_family"), strict=True):
        expected = scores["kernel"][column] - scores["genomic_blup"][column]
        assert pair["difference"] == pytest.approx(expected, abs=1e-9)
        assert pair["lower"] <= pair["difference"] <= pair["upper"]
        assert (pair["n_lines"], pair["n_clusters"], pair["replicates"]) == (
            found["line_id"].n_unique(), found["family"].n_unique(), 2)
    itself = compare_models(found, "kernel", "kernel").row(0, named=True)
    assert (itself["difference"], itself["lower"], itself["upper"]) == (0.0, 0.0, 0.0)


def test_only_the_same_lines_are_compared(found: pl.DataFrame) -> None:
    fewer = found.filter(~((pl.col("recipe") == "kernel") & (pl.col("line_id") == found["line_id"][0])))
    with pytest.raises(ProgramError, match="predicted different lines"):
        compare_models(fewer, "genomic_blup", "kernel")
    with pytest.raises(ProgramError, match="no predictions of forest; found genomic_blup, kernel"):
        compare_models(found, "genomic_blup", "forest")


def _made(rng: np.random.Generator, n_families: int = 30, size: int = 6, gain: float = 0.0) -> pl.DataFrame:
    """Two recipes of equal ability (but for `gain`) whose errors families share, one replicate of five folds."""
    family_N = np.repeat(np.arange(n_families), size)
    n = len(family_N)

    def errors() -> np.ndarray:
        return 0.6 * rng.normal(size=n_families)[family_N] + 0.8 * rng.normal(size=n)

    y_N, fold_N = errors(), rng.permutation(n) % 5
    parts = [pl.DataFrame({"recipe": recipe, "line_id": [f"l{i}" for i in range(n)], "fold": fold_N, "observed": y_N,
                           "predicted": (0.5 + more) * y_N + errors(), "family": [f"f{f}" for f in family_N]})
             for recipe, more in (("one", 0.0), ("two", gain))]
    table = pl.concat(parts).with_columns(trait=pl.lit("y"), scheme=pl.lit("cv1"), replicate=0, known=False)
    missing = [pl.lit(None, dtype).alias(c) for c, dtype in PREDICTIONS.items() if c not in table.columns]
    return table.with_columns(missing).select(*PREDICTIONS).cast(PREDICTIONS)  # pyright: ignore[reportArgumentType]


def test_the_interval_covers() -> None:
    """Of 100 comparisons of equal recipes the 95 % interval holds 0 in about 95; three binomial standard errors (.065)
    and two per cent for 30 families being few. A standard deviation of 100 draws is known within 7 %."""
    rng = np.random.default_rng(5)
    rows = [compare_models(_made(rng), "one", "two", metrics=("r",), resamples=300).row(0, named=True)
            for _ in range(100)]
    covered = np.mean([row["lower"] <= 0 <= row["upper"] for row in rows])
    assert covered >= 0.865
    spread = np.std([row["difference"] for row in rows], ddof=1)
    assert np.mean([row["standard_error"] for row in rows]) == pytest.approx(spread, rel=0.21)
    better = compare_models(_made(rng, gain=1.0), "one", "two", metrics=("r",)).row(0, named=True)
    assert better["lower"] > 0


def test_the_bootstrap_is_the_plain_one() -> None:
    """Families drawn with replacement, lines repeated, r by fold with numpy: the same spread within sampling (400
    draws tell a standard deviation within 3.5 %, so 12 % is three standard errors)."""
    table = _made(np.random.default_rng(6))
    found = compare_models(table, "one", "two", metrics=("r",), resamples=2000).row(0, named=True)
    wide = table.pivot("recipe", index=["line_id", "family", "fold", "observed"], values="predicted")
    members = [part for _, part in wide.group_by("family", maintain_order=True)]
    rng, drawn = np.random.default_rng(7), []
    for _ in range(400):
        sample = pl.concat([members[i] for i in rng.integers(0, len(members), len(members))])
        drawn.append(np.mean([_r(fold, "two") - _r(fold, "one") for _, fold in sample.group_by("fold")]))
    assert found["standard_error"] == pytest.approx(np.std(drawn, ddof=1), rel=0.12)


def test_corrected_error() -> None:
    difference_J = np.array([0.01, 0.03, 0.02, 0.04, 0.0])
    assert corrected_error(difference_J, 5) == pytest.approx(np.sqrt((1 / 5 + 1 / 4) * 0.00025))
    assert corrected_error(difference_J[:1], 5) is None


def test_calibration_tells_honest_from_boastful() -> None:
    rng, n = np.random.default_rng(8), 4_000
    reliability_N = rng.uniform(0.1, 0.9, n)
    variance_N = 2.0 * (1 - reliability_N) + 0.5
    lines = pl.DataFrame({"predicted": 0.0, "observed": rng.normal(size=n) * np.sqrt(variance_N),
                          "reliability": reliability_N, "predictive_variance": variance_N})
    honest = calibration(lines)
    # Standard errors at 4,000 lines: .005, .08, .02.
    assert honest["coverage_90"] == pytest.approx(0.9, abs=0.015)
    assert honest["calibration_slope"] == pytest.approx(1.0, abs=0.25)
    assert honest["squared_error_ratio"] == pytest.approx(1.0, abs=0.07)
    boastful = calibration(lines.with_columns(predictive_variance=pl.col("predictive_variance") / 2))
    assert boastful["squared_error_ratio"] == pytest.approx(2 * honest["squared_error_ratio"])  # type: ignore[operator]
    bins = calibration_bins(lines)
    assert bins["n_lines"].to_list() == [800] * 5
    assert bins["reliability"].is_sorted()
    assert bins["squared_error"].to_numpy() == pytest.approx(bins["promised"].to_numpy(), rel=0.15)
    assert calibration(lines.head(2)) == dict.fromkeys(honest)


def test_reliabilities_of_gblup_are_honest(found: pl.DataFrame) -> None:
    row = summarise(found).filter(pl.col("model") == "genomic_blup").row(0, named=True)
    # 160 lines twice: the standard error of the ratio is near .11, of the coverage .024.
    assert row["squared_error_ratio"] == pytest.approx(1.0, abs=0.3)
    assert row["coverage_90"] == pytest.approx(0.9, abs=0.07)
