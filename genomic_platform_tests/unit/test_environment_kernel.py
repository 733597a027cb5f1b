"""Environment kernels, the training's standardisation for new environments, environments to come: on real weather."""

from __future__ import annotations

import datetime
import json
import statistics
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import ProgramError
from genomic_platform.phenotypes.environment_kernel import EnvironmentCovariates, wide
from genomic_platform.phenotypes.environments import environment_features, environment_places
from genomic_platform.phenotypes.standardise import Standardisation
from genomic_platform.phenotypes.target_environments import completed, historical_seasons, target_environments
from genomic_platform.phenotypes.weather import read_weather
from genomic_platform.phenotypes.weather_features import weather_features
from genomic_platform.schemas.phenotypes import DAILY_WEATHER, ENVIRONMENT_RECORDS

REAL = Path(__file__).parents[1] / "reference/weather"
PLACES = environment_places([REAL / "environments.csv"])
DAILY = read_weather([REAL / "weather_daily.csv.gz"], PLACES)[0]
RECORDS = weather_features(DAILY, PLACES)[0]
TRAINING = RECORDS.filter(pl.col("season") < "2017")
NEW = RECORDS.filter(pl.col("season") == "2017")
COVARIATES = EnvironmentCovariates.of(TRAINING)


def record(environment: str, variable: str, value: float) -> dict[str, str | float]:
    return {"environment": environment, "season": "2017", "location": "X", "variable": variable, "value": value}


def test_covariates_that_are_constant_or_missing_are_dropped_and_said() -> None:
    standardisation = COVARIATES.standardisation
    assert standardisation.dropped["days_60_90_frost_days"] == "constant"
    assert standardisation.dropped["thermal_900_1200_rain_mm"] == "missing in 1 of 17"  # Waterloo_2014
    assert not set(standardisation.names) & set(standardisation.dropped)
    assert len(standardisation.names) + len(standardisation.dropped) == TRAINING["variable"].n_unique()
    assert COVARIATES.w_EW.mean(axis=0) == pytest.approx(np.zeros(len(standardisation.names)), abs=1e-12)
    assert COVARIATES.w_EW.std(axis=0, ddof=1) == pytest.approx(np.ones(len(standardisation.names)))


def test_kernels_equal_sums_written_out_pair_by_pair() -> None:
    names = COVARIATES.standardisation.names
    values = {(r["environment"], r["variable"]): r["value"] for r in TRAINING.iter_rows(named=True)}
    scores = {}
    for name in names:
        column = [values[e, name] for e in COVARIATES.environments]
        mean, sd = statistics.fmean(column), statistics.stdev(column)
        scores[name] = [(x - mean) / sd for x in column]
    n = len(COVARIATES.environments)
    products = [[sum(s[i] * s[j] for s in scores.values()) / len(names) for j in range(n)] for i in range(n)]
    distances = [[sum((s[i] - s[j]) ** 2 for s in scores.values()) for j in range(n)] for i in range(n)]
    median = statistics.median(distances[i][j] for i in range(n) for j in range(i))
    assert COVARIATES.kernel("linear") == pytest.approx(np.array(products), abs=1e-10)
    for bandwidth in (0.5, 1.0):
        assert COVARIATES.kernel("gaussian", bandwidth=bandwidth) == pytest.approx(
            np.exp(-bandwidth * np.array(distances) / median), abs=1e-10)


def test_linear_kernel_is_of_the_standardised_features_the_graph_publishes() -> None:
    features = environment_features(TRAINING).filter(pl.col("feature").is_in(COVARIATES.standardisation.names))
    table = features.pivot("feature", index="environment", values="standardised").sort("environment")
    w_EW = table.drop("environment").to_numpy()
    assert COVARIATES.kernel("linear") == pytest.approx(w_EW @ w_EW.T / w_EW.shape[1], abs=1e-10)


def test_the_graph_s_features_and_the_records_give_one_kernel() -> None:
    from_features = EnvironmentCovariates.of(environment_features(TRAINING))
    assert from_features.standardisation.names == COVARIATES.standardisation.names
    assert np.array_equal(from_features.kernel("linear"), COVARIATES.kernel("linear"))


def test_new_environments_are_held_against_training_by_the_training_s_scale() -> None:
    environments, a_AW = COVARIATES.standardised(NEW)
    assert environments == tuple(NEW["environment"].unique().sort())
    names = COVARIATES.standardisation.names
    of_training = {n: TRAINING.filter(pl.col("variable") == n)["value"].to_numpy() for n in names}
    _, found, values = wide(NEW)
    expected = np.column_stack([(values[:, found.index(n)] - of_training[n].mean()) / of_training[n].std(ddof=1)
                                for n in names])
    assert a_AW == pytest.approx(expected, abs=1e-9)
    again = COVARIATES.standardised(TRAINING)[1]
    assert np.array_equal(again, COVARIATES.w_EW)
    assert COVARIATES.kernel("linear", a_AW).shape == (5, 17)
    alone = COVARIATES.standardised(NEW.filter(pl.col("environment") == "Aurora_2017"))[1]
    assert COVARIATES.kernel("gaussian", alone)[0] == pytest.approx(COVARIATES.kernel("gaussian", a_AW)[0], abs=1e-12)


def test_covariates_come_back_from_json_to_the_bit() -> None:
    again = EnvironmentCovariates.from_dict(json.loads(json.dumps(COVARIATES.as_dict())))
    assert np.array_equal(again.w_EW, COVARIATES.w_EW)
    for kind in ("linear", "gaussian"):
        for theirs, ours in ((again, COVARIATES), (COVARIATES, again)):
            assert np.array_equal(theirs.kernel(kind, theirs.standardised(NEW)[1]),
                                  ours.kernel(kind, ours.standardised(NEW)[1]))
    assert again.standardisation.dropped == COVARIATES.standardisation.dropped


def test_an_environment_resembles_its_own_location_most() -> None:
    """Real weather: all but a few of 17 environments have their nearest neighbour in the same location or region."""
    kernel = COVARIATES.kernel("gaussian") - np.eye(17)
    nearest = [COVARIATES.environments[k] for k in kernel.argmax(axis=1)]
    same = sum(a.split("_")[0] == b.split("_")[0] for a, b in zip(COVARIATES.environments, nearest, strict=True))
    assert same > 17 * (2 / 16) * 2  # twice what chance gives with at most two others of a location


def test_a_covariate_never_seen_is_named() -> None:
    odd = pl.concat([NEW, ENVIRONMENT_RECORDS.conform(pl.DataFrame([record("Aurora_2017", "hail_mm", 3.0)]))])
    with pytest.raises(ProgramError, match="covariates never seen in training: hail_mm; expected those of the train"):
        COVARIATES.standardised(odd)


def test_a_covariate_that_is_absent_or_missing_is_named() -> None:
    with pytest.raises(ProgramError, match="covariates of the training are absent: season_rain_mm; found"):
        COVARIATES.standardised(NEW.filter(pl.col("variable") != "season_rain_mm"))
    holed = NEW.filter((pl.col("variable") != "season_rain_mm") | (pl.col("environment") != "Columbia_2017"))
    with pytest.raises(ProgramError, match="covariate season_rain_mm is missing in Columbia_2017; expected a value"):
        COVARIATES.standardised(holed)


def test_chosen_covariates_alone_and_the_others_are_no_surprise_later() -> None:
    early = [n for n in COVARIATES.standardisation.names if n.startswith("days_0_30")]
    chosen = EnvironmentCovariates.of(TRAINING, early)
    assert chosen.standardisation.names == tuple(early)
    assert chosen.standardised(NEW)[1].shape == (5, len(early))
    assert chosen.standardised(NEW.filter(pl.col("variable").is_in(early)))[1].shape == (5, len(early))
    with pytest.raises(ProgramError, match="no covariate days_0_30_hail; expected some of days_0_30_dry_days"):
        EnvironmentCovariates.of(TRAINING, ["days_0_30_hail"])


@pytest.mark.parametrize(("rows", "message"), [
    ([record("A", "rain", 1.0)], "covariates of 1 environment; expected at least two"),
    ([record("A", "rain", 1.0), record("B", "rain", 1.0)], "no covariate varies over the 2 training .*rain: const"),
    ([record("A", "rain", 1.0), record("B", "heat", 1.0)], "no covariate varies .*heat: missing in 1 of 2"),
])
def test_too_little_to_compare(rows: list[dict[str, str | float]], message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        EnvironmentCovariates.of(ENVIRONMENT_RECORDS.conform(pl.DataFrame(rows)))


def test_an_unknown_kernel_is_named() -> None:
    with pytest.raises(ProgramError, match="environment kernel is 'cosine'; expected one of linear, gaussian"):
        COVARIATES.kernel("cosine")


@pytest.mark.parametrize(("values", "names", "message"), [
    (np.zeros((2, 2)), ["a"], r"shape \(2, 2\) and 1 distinct names"),
    (np.zeros((2, 2)), ["a", "a"], "1 distinct names"),
    (np.array([[np.inf], [1.0]]), ["a"], "covariate a holds an infinite value")])
def test_covariates_refused(values: np.ndarray, names: list[str], message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        Standardisation.of(values, names)


def test_a_target_environment_is_the_mean_of_its_past_with_the_number_of_years() -> None:
    targets = target_environments(RECORDS, before="2017")
    row = targets.filter((pl.col("location") == "Aurora") & (pl.col("variable") == "season_rain_mm")).row(0, named=True)
    rain = [float(DAILY.filter(pl.col("environment") == f"Aurora_{y}")["rain_mm"].sum()) for y in (2014, 2015, 2016)]
    assert row["value"] == pytest.approx(statistics.fmean(rain))
    assert row["sd"] == pytest.approx(statistics.stdev(rain))
    assert (row["environment"], row["n_years"], row["first_season"], row["last_season"]) == (
        "target_Aurora", 3, "2014", "2016")
    late = targets.filter((pl.col("location") == "Waterloo") & (pl.col("variable") == "thermal_900_1200_rain_mm"))
    assert late["n_years"].to_list() == [2]
    environments, a_AW = COVARIATES.standardised(targets)
    assert len(environments) == 6
    assert COVARIATES.kernel("gaussian", a_AW).shape == (6, 17)
    with pytest.raises(ProgramError, match="no environment records of seasons before 2014"):
        target_environments(RECORDS, before="2014")


def test_a_running_season_is_completed_from_its_location_s_past_and_says_so() -> None:
    until = datetime.date(2017, 7, 15)
    running, _ = weather_features(DAILY, PLACES.filter(pl.col("season") == "2017"), known_until=until)
    targets = target_environments(RECORDS, before="2017")
    whole, notices = completed(running, targets)
    assert COVARIATES.standardised(whole)[1].shape == (5, len(COVARIATES.standardisation.names))
    added = whole.join(running, on=["environment", "variable"], how="anti")
    assert notices[0].count == added.height > 0
    aurora = added.filter((pl.col("environment") == "Aurora_2017") & (pl.col("variable") == "season_rain_mm"))
    assert aurora["value"][0] == targets.filter(
        (pl.col("location") == "Aurora") & (pl.col("variable") == "season_rain_mm"))["value"][0]
    known = whole.join(running, on=["environment", "variable"], how="semi")
    assert known.equals(running)


def test_long_weather_of_a_place_is_a_set_of_seasons() -> None:
    aurora = DAILY.filter(pl.col("environment").str.starts_with("Aurora"))
    daily, places = historical_seasons(aurora, "Aurora", 42.73, (6, 1), (10, 1))
    assert DAILY_WEATHER.faults(daily) == []
    assert places["environment"].to_list() == [f"Aurora_{y}" for y in range(2014, 2018)]
    records, _ = weather_features(daily, places)
    own = aurora.filter(pl.col("date").is_between(datetime.date(2015, 6, 1), datetime.date(2015, 10, 1)))
    found = records.filter((pl.col("environment") == "Aurora_2015") & (pl.col("variable") == "season_rain_mm"))
    assert found["value"][0] == pytest.approx(own["rain_mm"].sum())
    assert target_environments(records)["n_years"].max() == 4


def test_a_season_over_new_year_is_named_by_its_planting() -> None:
    days = pl.date_range(datetime.date(2010, 1, 1), datetime.date(2012, 12, 31), eager=True)
    long = DAILY_WEATHER.conform(pl.DataFrame({"environment": "T", "season": "x", "date": days}).with_columns(
        pl.lit(1.0).alias(c.name) for c in DAILY_WEATHER.columns[3:]))
    daily, places = historical_seasons(long, "T", -33.25, (11, 1), (3, 31))
    assert places["season"].to_list() == ["2010", "2011"]
    assert daily["date"].min() == datetime.date(2010, 11, 1)
    assert daily.group_by("environment").len().sort("environment")["len"].to_list() == [151, 152]
    with pytest.raises(ProgramError, match="daily weather of T from 2010-01-01 to 2010-12-31 covers no season"):
        historical_seasons(long.filter(pl.col("date") < datetime.date(2011, 1, 1)), "T", -33.25, (11, 1), (3, 31))
