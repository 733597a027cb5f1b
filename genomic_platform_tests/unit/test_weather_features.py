"""Features of real daily weather against a plain computation day by day, gaps, and days that must not be looked at."""

from __future__ import annotations

import csv
import datetime
import gzip
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import Notice, ProgramError
from genomic_platform.phenotypes.environments import environment_features, environment_places, with_features
from genomic_platform.phenotypes.weather import VARIABLES, read_weather
from genomic_platform.phenotypes.weather_features import FEATURES, bridge, weather_features
from genomic_platform.phenotypes.weather_formulas import vapour_pressure_deficit
from genomic_platform.phenotypes.weather_windows import WINDOWS, Crop, Span, Window, span_of
from genomic_platform.schemas.phenotypes import ENVIRONMENT_FEATURES, ENVIRONMENT_RECORDS

REAL = Path(__file__).parents[1] / "reference/weather"
WEATHER = REAL / "weather_daily.csv.gz"
PLACES = environment_places([REAL / "environments.csv"])
DAILY = read_weather([WEATHER], PLACES)[0]
AURORA = DAILY.filter(pl.col("environment") == "Aurora_2014")
AURORA_PLACE = PLACES.filter(pl.col("environment") == "Aurora_2014")


def value_of(records: pl.DataFrame, variable: str, environment: str = "Aurora_2014") -> float | None:
    found = records.filter((pl.col("environment") == environment) & (pl.col("variable") == variable))["value"]
    return found[0] if found.len() else None


def said(notices: list[Notice], code: str) -> Notice:
    return next(n for n in notices if n.code == code)


def without(daily: pl.DataFrame, days: list[int], column: str | None = None) -> pl.DataFrame:
    """`daily` without these rows, or without these rows' values of a column."""
    hit = pl.int_range(pl.len()).is_in(days)
    return daily.filter(~hit) if column is None else daily.with_columns(pl.when(~hit).then(column).alias(column))


def plain_day(row: dict[str, str], latitude: float) -> dict[str, float]:
    """Everything of one day, written out from the papers once more."""
    high, low = float(row["T2M_MAX_degC"]), float(row["T2M_MIN_degC"])
    rain = float(row["PRECTOTCORR_mm_day"])
    day = datetime.date.fromisoformat(row["date"]).timetuple().tm_yday

    def pressure(t: float) -> float:
        return 0.6108 * math.exp(17.27 * t / (t + 237.3))

    phi, turn = math.radians(latitude), 2 * math.pi * day / 365
    tilt = 0.409 * math.sin(turn - 1.39)
    sunset = math.acos(-math.tan(phi) * math.tan(tilt))
    radiation = 24 * 60 / math.pi * 0.082 * (1 + 0.033 * math.cos(turn)) * (
        sunset * math.sin(phi) * math.sin(tilt) + math.cos(phi) * math.cos(tilt) * math.sin(sunset))
    theta = 0.2163108 + 2 * math.atan(0.9671396 * math.tan(0.0086 * (day - 186)))
    tilt = math.asin(0.39795 * math.cos(theta))
    cosine = (math.sin(math.radians(0.8333)) + math.sin(phi) * math.sin(tilt)) / (math.cos(phi) * math.cos(tilt))
    deficit = (pressure(high) + pressure(low)) / 2 - pressure(float(row["T2MDEW_degC"]))
    evaporated = 0.0023 * ((high + low) / 2 + 17.8) * (high - low) ** 0.5 * 0.408 * radiation
    return {
        "temperature_mean_c": (high + low) / 2, "temperature_max_c": high, "temperature_min_c": low,
        "temperature_range_c": high - low,
        "thermal_time_c_d": (min(max(high, 10), 30) + min(max(low, 10), 30)) / 2 - 10,
        "heat_days": float(high > 30), "frost_days": float(low < 0), "rain_mm": rain, "dry_days": float(rain < 1),
        "dry_spell_days": float(rain < 1), "solar_radiation_mj_m2": float(row["solar_MJ_m2_day"]),
        "vapour_pressure_deficit_kpa": max(deficit, 0),
        "photoperiod_h": 24 - 24 / math.pi * math.acos(cosine), "evapotranspiration_mm": evaporated,
        "water_balance_mm": rain - evaporated}


def plain_features(days: list[dict[str, float]]) -> dict[str, float]:
    """Every window's every feature, or none of a window that does not end before the harvest."""
    held: dict[str, list[dict[str, float]]] = {w.name: [] for w in WINDOWS}
    closed = {"season"}
    heat = 0.0
    for number, day in enumerate([*days, None]):
        for w in WINDOWS:
            clock = {"season": 0.0, "days": float(number), "thermal": heat}[w.clock]
            if clock >= w.end:
                closed.add(w.name)
            elif day is not None and clock >= w.start:
                held[w.name].append(day)
        heat += day["thermal_time_c_d"] if day is not None else 0.0
    found = {}
    for name in closed:
        for feature in FEATURES:
            values = [d[feature] for d in held[name]]
            total = sum(values)
            if feature == "dry_spell_days":
                total = float(max(len(run) for run in "".join("d" if v else " " for v in values).split(" ")))
            mean = "mean" in FEATURES[feature].formula
            found[f"{name}_{feature}"] = total / len(values) if mean else total
    return found


def test_every_feature_of_every_environment_equals_a_plain_computation() -> None:
    records, _ = weather_features(DAILY, PLACES)
    assert ENVIRONMENT_RECORDS.faults(records) == []
    rows: dict[str, list[dict[str, str]]] = {}
    with gzip.open(WEATHER, "rt") as file:
        for row in csv.DictReader(file):
            rows.setdefault(row["environment"], []).append(row)
    latitude = dict(PLACES.select("environment", "latitude").iter_rows())
    for environment, days in rows.items():
        expected = plain_features([plain_day(d, latitude[environment]) for d in days])
        own = records.filter(pl.col("environment") == environment)
        found = dict(own.select("variable", "value").iter_rows())
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9), environment  # sums in another order


def test_vapour_pressure_deficit_is_the_one_its_source_made_from_humidity() -> None:
    """learnMET's authors used FAO-56 with mean relative humidity and printed six digits."""
    theirs = pl.read_csv(WEATHER).sort("environment", "date")
    ours = vapour_pressure_deficit(theirs["T2M_MAX_degC"].to_numpy(), theirs["T2M_MIN_degC"].to_numpy(),
                                   humidity_D=theirs["RH2M_pct"].to_numpy())
    assert ours == pytest.approx(theirs["vapour_deficit_kPa"].to_numpy(), rel=5e-6, abs=5e-7)


def test_every_feature_has_a_unit_and_a_source_and_ends_in_its_unit() -> None:
    ends = {"°C": "_c", "°C d": "_c_d", "days": "_days", "mm": "_mm", "kPa": "_kpa", "MJ/m²": "_mj_m2", "h": "_h"}
    assert all(name.endswith(ends[f.unit]) and f.formula and f.source for name, f in FEATURES.items())


def test_the_docs_table_is_the_code_s() -> None:
    docs = (Path(__file__).parents[2] / "docs/environments.md").read_text(encoding="utf-8")
    for name, f in FEATURES.items():
        assert f"| `{name}` | {f.unit} | {f.formula} | {f.source} |" in docs
    for name, v in VARIABLES.items():
        assert f"| `{name}` | {v.unit}" in docs
    for window in WINDOWS:
        assert f"`{window.name}`" in docs


def test_a_bridge_spans_three_days_and_no_more_and_never_an_end() -> None:
    nan = np.nan
    given = np.array([nan, 1.0, nan, nan, nan, 5.0, nan, nan, nan, nan, 0.0, nan])
    assert bridge(given)[1:6].tolist() == [1, 2, 3, 4, 5]
    assert np.isnan(bridge(given)[[0, 6, 7, 8, 9, 11]]).all()
    assert np.isnan(given[2])  # the days given are left as they are


def test_short_gaps_are_bridged_and_said() -> None:
    whole, _ = weather_features(AURORA, AURORA_PLACE)
    bridged, notices = weather_features(without(AURORA, [40, 41, 42], "air_temperature_max_c"), AURORA_PLACE)
    assert bridged["variable"].to_list() == whole["variable"].to_list()
    days = AURORA["air_temperature_max_c"].to_numpy().copy()
    days[40:43] = days[39] + (days[43] - days[39]) * np.arange(1, 4) / 4
    assert value_of(bridged, "days_30_60_temperature_max_c") == pytest.approx(days[30:60].mean())
    assert value_of(bridged, "days_0_30_temperature_max_c") == value_of(whole, "days_0_30_temperature_max_c")
    assert str(said(notices, "weather_bridged")).endswith("(Aurora_2014: air_temperature_max_c on 3 days)")


def test_long_gaps_leave_features_of_their_windows_out_and_thermal_time_after_them_unknown() -> None:
    gapped, notices = weather_features(without(AURORA, [40, 41, 42, 43]), AURORA_PLACE)
    variables = gapped["variable"].to_list()
    assert "days_0_30_rain_mm" in variables
    assert "days_60_90_temperature_mean_c" in variables
    assert "thermal_0_300_rain_mm" in variables
    assert not any(v.startswith(("days_30_60_temp", "days_30_60_rain", "thermal_300", "thermal_600", "season_therm"))
                   for v in variables)
    assert "days_30_60_photoperiod_h" in variables  # a matter of the calendar alone
    assert said(notices, "weather_gap").examples[0].startswith("Aurora_2014: season_temperature_mean_c")


def test_rain_is_never_bridged() -> None:
    gapped, notices = weather_features(without(AURORA, [40], "rain_mm"), AURORA_PLACE)
    assert value_of(gapped, "days_30_60_rain_mm") is None
    assert value_of(gapped, "days_30_60_dry_spell_days") is None
    assert value_of(gapped, "days_30_60_temperature_mean_c") is not None
    assert said(notices, "weather_gap").count == 1


def test_nothing_after_the_harvest_is_looked_at() -> None:
    extreme = AURORA.tail(1).with_columns(
        pl.lit(datetime.date(2014, 12, 3)).alias("date"), pl.lit(59.0).alias("air_temperature_max_c"),
        pl.lit(1500.0).alias("rain_mm"))
    assert weather_features(pl.concat([AURORA, extreme]), AURORA_PLACE)[0].equals(
        weather_features(AURORA, AURORA_PLACE)[0])
    # nor does a bridge lean on it
    open_end = without(AURORA, [AURORA.height - 1], "air_temperature_max_c")
    leant = weather_features(pl.concat([open_end, extreme]), AURORA_PLACE)[0]
    assert value_of(leant, "season_temperature_max_c") is None


def test_before_harvest_windows_that_are_not_complete_are_named_and_later_days_not_looked_at() -> None:
    until = datetime.date(2014, 7, 20)  # day 53
    early, notices = weather_features(AURORA, AURORA_PLACE, known_until=until)
    windows = {w.name for w in WINDOWS if any(v.startswith(w.name) for v in early["variable"])}
    assert windows == {"days_0_30", "thermal_0_300"}
    assert said(notices, "weather_incomplete").examples == (
        "Aurora_2014: season, days_30_60, days_60_90, days_90_120, …",)
    later = AURORA.with_columns(pl.when(pl.col("date") > until).then(pl.lit(40.0)).otherwise("air_temperature_max_c")
                                .alias("air_temperature_max_c"))
    assert weather_features(later, AURORA_PLACE, known_until=until)[0].equals(early)
    full, _ = weather_features(AURORA, AURORA_PLACE)
    assert early.equals(full.filter(pl.col("variable").is_in(early["variable"].to_list())))


def test_a_standing_crop_and_weather_that_ends_early_are_incomplete() -> None:
    standing = AURORA_PLACE.with_columns(pl.lit(None, dtype=pl.Date).alias("harvest_date"))
    for daily, place in ((AURORA, standing), (AURORA.head(-1), AURORA_PLACE)):
        records, notices = weather_features(daily, place)
        assert value_of(records, "season_rain_mm") is None
        assert said(notices, "weather_incomplete").examples == ("Aurora_2014: season",)


def test_windows_that_the_harvest_cut_short_are_named() -> None:
    _, notices = weather_features(DAILY, PLACES)
    assert said(notices, "weather_harvested").examples == ("Waterloo_2014: thermal_900_1200",)


def test_what_the_environment_file_lacks_is_said() -> None:
    bare = AURORA_PLACE.with_columns(pl.lit(None, dtype=pl.Float64).alias("latitude"))
    records, notices = weather_features(AURORA, bare)
    assert not any(v.endswith(("photoperiod_h", "evapotranspiration_mm")) for v in records["variable"])
    assert said(notices, "weather_without_latitude").count == 1
    unsown = AURORA_PLACE.with_columns(pl.lit(None, dtype=pl.Date).alias("planting_date"))
    records, notices = weather_features(AURORA, unsown)
    assert records.is_empty()
    assert said(notices, "weather_without_planting_date").examples == ("Aurora_2014",)
    assert said(weather_features(AURORA, PLACES)[1], "weather_absent").count == 21
    late = AURORA_PLACE.with_columns(pl.lit(datetime.date(2014, 12, 1)).alias("planting_date"))
    _, notices = weather_features(AURORA.head(20), late)
    assert said(notices, "weather_outside").examples == ("Aurora_2014",)


@pytest.mark.parametrize("kept", [("rain_mm",), ("air_temperature_max_c", "air_temperature_min_c")])
def test_variables_that_a_programme_does_not_record_are_no_gaps(kept: tuple[str, ...]) -> None:
    only = AURORA.with_columns(pl.lit(None, dtype=pl.Float64).alias(v) for v in AURORA.columns[3:] if v not in kept)
    records, notices = weather_features(only, AURORA_PLACE)
    assert [n.code for n in notices] == []
    made = {v.removeprefix("season_") for v in records["variable"] if v.startswith("season_")}
    assert made == ({"rain_mm", "dry_days", "dry_spell_days", "photoperiod_h"} if kept == ("rain_mm",) else
                    set(FEATURES) - {"rain_mm", "dry_days", "dry_spell_days", "water_balance_mm",
                                     "vapour_pressure_deficit_kpa", "solar_radiation_mj_m2"})


def test_windows_and_temperatures_of_another_crop() -> None:
    wheat = Crop(base_c=0.0, ceiling_c=26.0, heat_c=28.0)
    records, _ = weather_features(AURORA, AURORA_PLACE, (Window("grain_filling", "thermal", 700, 1200),), wheat)
    assert all(v.startswith("grain_filling_") for v in records["variable"])
    held = value_of(records, "grain_filling_thermal_time_c_d")
    assert held is not None
    assert held == pytest.approx(500, abs=26)  # the days at both ends count whole


def test_a_window_holds_its_start_and_not_its_end() -> None:
    """Ten degree-days a day, exactly: the fifth day begins at 40 and ends at 50."""
    ten_D = np.full(5, 10.0)
    assert span_of(Window("w", "thermal", 0, 50), ten_D, False) == Span(0, 5)
    assert span_of(Window("w", "thermal", 10, 40), ten_D, False) == Span(1, 4)
    assert span_of(Window("w", "thermal", 0, 51), ten_D, False) == Span(why="incomplete")
    assert span_of(Window("w", "days", 1, 5), ten_D, False) == Span(1, 5)
    assert span_of(Window("w", "days", 1, 6), ten_D, False) == Span(why="incomplete")
    assert span_of(Window("w", "days", 1, 6), ten_D, True) == Span(why="harvested")


@pytest.mark.parametrize(("made", "message"), [
    (lambda: Window("w", "weeks", 0, 3), "window w: clock is 'weeks'; expected one of days, thermal, season"),
    (lambda: Window("w", "days", 30, 30), "window w: from 30 to 30 days after planting; expected 0 ≤ start < end"),
    (lambda: Window("w", "thermal", 100), "window w: from 100 to inf °C d"),
    (lambda: Crop(base_c=30, ceiling_c=30), "thermal time from 30 to 30 °C; expected base < ceiling"),
    (lambda: weather_features(AURORA, AURORA_PLACE, [WINDOWS[0], WINDOWS[0]]), "windows named twice: season"),
])
def test_windows_refused(made: object, message: str) -> None:
    with pytest.raises(ProgramError) as refused:
        made()  # type: ignore[operator]
    assert message in str(refused.value)


def test_features_are_records_like_any_covariate_and_are_standardised_with_them() -> None:
    records, _ = weather_features(DAILY, PLACES)
    soil = ENVIRONMENT_RECORDS.conform(PLACES.select("environment", "season", "location").with_columns(
        pl.lit("clay_pct").alias("variable"), pl.int_range(pl.len()).cast(pl.Float64).alias("value")))
    features = environment_features(with_features(soil, records))
    assert ENVIRONMENT_FEATURES.faults(features) == []
    assert {"clay_pct", "season_rain_mm"} <= set(features["feature"])
    with pytest.raises(Exception, match="the column season_rain_mm; expected names other than those of features"):
        with_features(soil.with_columns(pl.lit("season_rain_mm").alias("variable")), records)
