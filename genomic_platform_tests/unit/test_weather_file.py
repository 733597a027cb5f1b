"""Daily weather files: what is read, and everything that is refused, with file, line, field and repair."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from genomic_platform.errors import InputError
from genomic_platform.landing.checkup import kind_of
from genomic_platform.landing.inspection import inspect_files
from genomic_platform.phenotypes.environments import environment_places
from genomic_platform.phenotypes.weather import VARIABLES, inspect_weather, read_weather, split_weather
from genomic_platform.schemas.phenotypes import DAILY_WEATHER

REAL = Path(__file__).parents[1] / "reference/weather"
PLACES = ("environment,season,location,latitude,planting_date,harvest_date",
          "T12,2012,Treinta y Tres,-33.25,2011-10-28,2012-03-20")
HEADER = "environment,season,date,air_temperature_max_c,air_temperature_min_c,rain_mm,station"
GOOD = (HEADER, "T12,2012,2011-10-28,25,14,0,a", "T12,2012,2011-10-29,24,,3.5,a")


def written(folder: Path, *rows: str, name: str = "weather.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(rows) + "\n")
    return path


def test_real_weather_is_read_whole() -> None:
    files, weather = split_weather([REAL / "environments.csv", REAL / "weather_daily.csv.gz"])
    assert [f.name for f in files] == ["environments.csv"]
    daily, notices = read_weather(weather, environment_places(files))
    assert DAILY_WEATHER.faults(daily) == []
    assert daily.height == 3617
    assert daily["environment"].n_unique() == 22
    assert daily.null_count().sum_horizontal().item() == 0
    first = daily.row(0, named=True)
    assert (first["environment"], first["date"], first["air_temperature_max_c"], first["rain_mm"]) == (
        "Aurora_2014", datetime.date(2014, 5, 28), 19.75, 0.31)
    assert [(n.code, n.examples) for n in notices] == [("ignored_columns", ("vapour_deficit_kPa",))]


def test_places_are_dates_and_latitudes() -> None:
    places = environment_places([REAL / "environments.csv"])
    assert places.row(0) == ("Aurora_2014", "2014", "Aurora", 42.73, datetime.date(2014, 5, 28),
                             datetime.date(2014, 12, 2))
    assert places.drop_nulls().height == 22


def test_absent_variables_and_empty_cells_are_missing(tmp_path: Path) -> None:
    daily, _ = read_weather([written(tmp_path, *GOOD)])
    assert daily.columns == ["environment", "season", "date", *VARIABLES]
    assert daily["air_temperature_min_c"].to_list() == [14.0, None]
    assert daily["dew_point_c"].null_count() == 2


def test_a_file_is_told_by_its_columns(tmp_path: Path) -> None:
    assert kind_of(written(tmp_path, *GOOD)) == "environments"
    assert kind_of(REAL / "weather_daily.csv.gz") == "environments"


@pytest.mark.parametrize(("row", "message"), [
    ("T12,2012,2011-10-29,24,13,1,a", "line 4: date is 2011-10-29 of 'T12' again (first in weather.csv, line 3)"),
    ("T12,2012,30/10/2011,24,13,1,a", "line 4: date is '30/10/2011'; expected a date such as 2013-10-28"),
    ("T12,2012,2011-02-30,24,13,1,a", "line 4: date is '2011-02-30'"),
    ("T12,2012,,24,13,1,a", "line 4: date is empty"),
    (",2012,2011-10-30,24,13,1,a", "line 4: environment is empty"),
    ("T12,2011/12,2011-10-30,24,13,1,a", "line 4: season is '2011/12'; expected 1 to 16 letters"),
    ("T12,2013,2011-10-30,24,13,1,a", "line 4: season is '2013'; expected '2012', the season of environment 'T12'"),
    ("T12,2012,2011-10-30,295,13,1,a", "line 4: air_temperature_max_c is '295'; expected -90 to 60 °C or an empty"),
    ("T12,2012,2011-10-30,24,-999,1,a", "line 4: air_temperature_min_c is '-999'; expected -90 to 60 °C"),
    ("T12,2012,2011-10-30,24,13,-1,a", "line 4: rain_mm is '-1'; expected 0 to 2000 mm"),
    ("T12,2012,2011-10-30,24,13,trace,a", "line 4: rain_mm is 'trace'; expected 0 to 2000 mm"),
    ("T12,2012,2011-10-30,13,24,1,a", "line 4: air_temperature_max_c is 13 °C; expected at least the day's minimum"),
    ("T12,2012,2011-10-30,24,13,1", "line 4"),
])
def test_refused(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        read_weather([written(tmp_path, *GOOD, row)])
    assert message in str(refused.value)
    assert "repair: " in str(refused.value)


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    found = inspect_weather([written(tmp_path, *GOOD, "T12,2012,2011-10-30,295,13,-1,a", "T12,2012,x,24,13,1,a")])
    assert [(p.line, p.field) for p in found.problems] == [
        (5, "date"), (4, "air_temperature_max_c"), (4, "rain_mm")]
    assert found.daily.is_empty()


@pytest.mark.parametrize(("header", "message"), [
    ("environment,date,rain_mm", "expected a column season"),
    ("environment,season,date,wind", "expected at least one daily variable: air_temperature_max_c"),
    ("environment,season,date,T2M_MAX,tmax_c", "tmax_c is a second column for air_temperature_max_c"),
])
def test_columns_refused(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        read_weather([written(tmp_path, header, ",".join("1" for _ in header.split(",")))])
    assert message in str(refused.value)


def test_the_season_must_be_the_environment_file_s(tmp_path: Path) -> None:
    places = environment_places([written(tmp_path, *PLACES, name="environments.csv")])
    rows = [row.replace(",2012,", ",2011,") for row in GOOD]
    with pytest.raises(InputError, match="line 2: season is '2011'; expected '2012', the season of environment 'T12'"):
        read_weather([written(tmp_path, *rows)], places)


def test_a_harvest_before_planting_is_refused(tmp_path: Path) -> None:
    odd = [row.replace("2012-03-20", "2011-03-20") for row in PLACES]
    places = environment_places([written(tmp_path, *odd, name="environments.csv")])
    with pytest.raises(InputError, match="harvest_date is 2011-03-20 for environment 'T12'; expected a day after"):
        read_weather([written(tmp_path, *GOOD)], places)


def test_inspection_of_landing_files_holds_weather_and_environments_apart(tmp_path: Path) -> None:
    paths = [written(tmp_path, *PLACES, name="environments.csv"), written(tmp_path, *GOOD)]
    found = inspect_files(environments=paths)
    assert found.problems == []
    assert found.environments is not None
    assert found.environments.variables == ("latitude", "planting_day", "harvest_day")
    assert found.weather is not None
    assert found.weather.variables == ("air_temperature_max_c", "air_temperature_min_c", "rain_mm")
