"""Daily weather in the graph: beside environments.csv in landing, digested per season, made features of its season."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from genomic_platform.errors import ProgramError
from genomic_platform.landing.files import Landing
from genomic_platform.landing.state import season_states
from genomic_platform.phenotypes.weather_windows import WINDOWS, Crop, Window
from genomic_platform.program_sections import WeatherSection
from genomic_platform.schemas import TableContract
from genomic_platform.schemas.phenotypes import DAILY_WEATHER, ENVIRONMENT_FEATURES, ENVIRONMENT_RECORDS
from genomic_platform.stores.assets import AssetStore, TableCodec
from genomic_platform_tests.dagster.small import Small, failures_of, metadata_of

Published = Callable[[int], Small]
Opened = Callable[[Small], dg.DagsterInstance]
ASSETS = ("daily_weather", "environment_records", "environment_features")
PLANTED, HARVESTED = datetime.date(2019, 11, 1), datetime.date(2020, 3, 31)
REAL = Path(__file__).parents[1] / "reference/weather/weather_daily.csv.gz"


def add_weather(small: Small, dates: Sequence[tuple[datetime.date, datetime.date]] = ((PLANTED, HARVESTED),)) -> Path:
    """Sowing dates for 2020's environments, and real days of weather moved to their dates; 2019 keeps its rows."""
    environments = next((small.folder / "landing/environments").iterdir())
    table = pl.read_csv(environments, infer_schema_length=0)
    own = pl.col("season") == "2020"
    columns = [pl.when(own).then(pl.lit(str(day))).alias(f"{name}_date")
               for name, day in zip(("planting", "harvest"), dates[0], strict=True)]
    table.with_columns(columns).write_csv(environments)
    real = pl.read_csv(REAL).partition_by("environment", maintain_order=True)
    names = table.filter(own)["environment"]
    days = pl.date_range(PLANTED, HARVESTED, eager=True)
    moved = [r.head(days.len()).with_columns(pl.lit(name).alias("environment"), pl.lit("2020").alias("season"),
                                             days.alias("date")) for name, r in zip(names, real, strict=False)]
    weather = environments.with_name("weather_daily.csv")
    pl.concat(moved).write_csv(weather)
    return weather


def read(small: Small, run: dg.ExecuteInProcessResult, contract: TableContract) -> pl.DataFrame:
    store = AssetStore(small.workspace.store, small.name, f"run-{run.run_id}")
    return store.read(contract.name, "2020", TableCodec(contract))


def test_weather_becomes_features_of_its_season(published: Published, opened: Opened) -> None:
    small = published(1)
    before = small.run(opened(small), "2020", assets=ASSETS)
    assert read(small, before, DAILY_WEATHER).is_empty()
    covariates = read(small, before, ENVIRONMENT_RECORDS)
    add_weather(small)
    result = small.run(opened(small), "2020", assets=ASSETS)
    assert result.success, failures_of(result)
    daily, records = read(small, result, DAILY_WEATHER), read(small, result, ENVIRONMENT_RECORDS)
    assert set(daily["season"]) == {"2020"}
    shared = records.join(covariates, on=["environment", "variable"], how="semi")
    assert shared.equals(covariates)
    name = daily["environment"][0]
    rain = daily.filter(pl.col("environment") == name)["rain_mm"].sum()
    found = records.filter((pl.col("environment") == name) & (pl.col("variable") == "season_rain_mm"))["value"][0]
    assert found == pytest.approx(rain)
    features = read(small, result, ENVIRONMENT_FEATURES)
    assert "season_rain_mm" in features["feature"].to_list()
    assert set(features["season"]) == {"2019", "2020"}
    assert name in metadata_of(result, "daily_weather")["by_environment"]


def test_a_window_not_complete_is_said_on_the_asset(published: Published, opened: Opened) -> None:
    small = published(1)
    add_weather(small, [(PLANTED, datetime.date(2020, 6, 1))])
    result = small.run(opened(small), "2020", assets=ASSETS)
    assert "windows not complete yet on the last day of weather, left out" in metadata_of(
        result, "environment_records")["notices"]


def test_weather_makes_only_its_own_season_stale(published: Published) -> None:
    small = published(1)
    states = [s.state for s in season_states(Landing(small.program), small.main)]
    assert states == ["published", "new", "new"]
    digests = Landing(small.program).digests("2020")["environments"]
    weather = add_weather(small)
    assert [s.state for s in season_states(Landing(small.program), small.main)] == states
    with_weather = Landing(small.program).digests("2020")["environments"]
    assert with_weather != digests
    text = weather.read_text()
    weather.write_text(text.replace(",0.31,", ",0.32,", 1))
    assert weather.read_text() != text
    assert Landing(small.program).digests("2020")["environments"] != with_weather


def test_faulty_weather_stops_the_season_and_says_where(published: Published, opened: Opened) -> None:
    small = published(1)
    weather = add_weather(small)
    lines = weather.read_text().splitlines()
    weather.write_text("\n".join([*lines, lines[-1]]) + "\n")
    result = small.run(opened(small), "2020", assets=ASSETS)
    said = failures_of(result)["daily_weather"]
    assert f"weather_daily.csv, line {len(lines) + 1}: date is 2020-03-31 of" in said


def test_windows_of_program_toml() -> None:
    section = WeatherSection.model_validate({"base_c": 0, "ceiling_c": 26, "windows": {
        "tillering": {"days": [0, 40]}, "filling": {"thermal": [900, 1500]}}})
    assert section.crop() == Crop(base_c=0, ceiling_c=26)
    assert section.named_windows() == (
        Window("season", "season"), Window("tillering", "days", 0, 40), Window("filling", "thermal", 900, 1500))
    assert WeatherSection().named_windows() == WINDOWS
    assert WeatherSection().crop() == Crop()


@pytest.mark.parametrize(("section", "message"), [
    ({"windows": {"w": {"days": [0, 40], "thermal": [0, 3]}}}, "expected either days = .from, to. or thermal"),
    ({"windows": {"w": {}}}, "expected either days"),
    ({"windows": {"w": {"days": [40, 40]}}}, "window w: from 40 to 40 days after planting; expected 0 ≤ start < end"),
    ({"windows": {"1 w": {"days": [0, 40]}}}, "window names start with a letter"),
    ({"windows": {"season": {"days": [0, 40]}}}, "season is the whole season"),
    ({"base_c": 30}, "expected base < ceiling"),
    ({"base": 3}, "base"),
])
def test_windows_of_program_toml_refused(section: dict[str, object], message: str) -> None:
    with pytest.raises((ProgramError, ValueError), match=message):
        WeatherSection.model_validate(section)


def test_programmes_that_never_name_weather_keep_their_settings_digest(published: Published) -> None:
    small = published(1)
    before = small.program.settings_digest("weather", "index")
    assert before == small.program.settings_digest("index")
    small.edit_program(r"\[line_means\]", "[weather]\nbase_c = 8.0\n\n[line_means]")
    assert small.program.settings_digest("weather", "index") != before
