"""Daily weather of environments (`weather.csv` beside `environments.csv`) as a typed table, one row a day.

A table with the columns environment, season and date is daily weather; units are in the column names or, under NASA
POWER's names, its own. What is made of the days is in `weather_features`; places and dates are in `environments`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from genomic_platform.errors import InputError, Notice, Problem
from genomic_platform.phenotypes.delimited import notices_of, problems_of, read_delimited, to_numbers
from genomic_platform.phenotypes.seasons import LABEL
from genomic_platform.schemas.phenotypes import DAILY_WEATHER

KEYS = ("environment", "season", "date")
_FILE, _LINE = "__file", "__line"
_ISO = r"^\d{4}-\d{2}-\d{2}$"


@dataclass(frozen=True)
class Variable:
    """A daily variable: unit, what is possible on Earth's fields, and the other headers it is known by."""

    unit: str
    low: float
    high: float
    headers: tuple[str, ...]


#: Bounds are the records of the World Meteorological Organization (air temperature −89.2 to 56.7 °C, rain 1,825 mm a
#: day) and the largest daily radiation outside the atmosphere (FAO-56 annex 2, table 2.6), rounded outwards.
VARIABLES = {
    "air_temperature_max_c": Variable("°C", -90, 60, ("t2m_max", "t2m_max_degc", "tmax_c")),
    "air_temperature_min_c": Variable("°C", -90, 60, ("t2m_min", "t2m_min_degc", "tmin_c")),
    "air_temperature_mean_c": Variable("°C", -90, 60, ("t2m", "t2m_degc", "tmean_c")),
    "dew_point_c": Variable("°C", -100, 40, ("t2mdew", "t2mdew_degc")),
    "relative_humidity_pct": Variable("%", 0, 100, ("rh2m", "rh2m_pct")),
    "rain_mm": Variable("mm", 0, 2_000, ("prectotcorr", "prectotcorr_mm_day", "precipitation_mm")),
    "solar_radiation_mj_m2": Variable("MJ/m²", 0, 50, ("allsky_sfc_sw_dwn", "solar_mj_m2_day")),
}
_NAMES = {header: name for name, v in VARIABLES.items() for header in (name, *v.headers)}


@dataclass(frozen=True)
class WeatherInspection:
    """What weather files hold: contract DAILY_WEATHER, the variables known, and what stops or was accepted."""

    daily: pl.DataFrame
    variables: tuple[str, ...]
    problems: tuple[Problem, ...]
    notices: tuple[Notice, ...]


def is_daily_weather(columns: Sequence[str]) -> bool:
    """Whether a table's columns are those of daily weather, not of environments (one row each) or of trials."""
    return "date" in columns and "environment" in columns and "line_id" not in columns


def split_weather(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Files of `landing/environments` as (environment files, daily weather files), told by their columns."""
    daily = [p for p in paths if is_daily_weather(read_delimited(p).columns)]
    return [p for p in paths if p not in daily], daily


def inspect_weather(paths: Sequence[Path], places: pl.DataFrame | None = None) -> WeatherInspection:
    """Say what weather files hold and everything that is wrong with them; raises nothing for their content.

    Parameters
    ----------
    paths : CSV or TSV files with environment, season, date and variables (`VARIABLES`); an empty cell is missing.
    places : of `environments.environment_places`: an environment's season must be the one given there.
    """
    files = [read_delimited(p) for p in paths]
    problems, notices = problems_of(files), notices_of(files)
    stacked: list[pl.DataFrame] = []
    for file in (f for f in files if f.columns):
        named = {c: _NAMES[c.lower()] for c in file.columns if c.lower() in _NAMES}
        problems += _column_problems(file.name, file.columns, named)
        if set(KEYS) <= set(file.columns) and named and len(set(named.values())) == len(named):
            stacked.append(file.cells.select(*KEYS, *named).rename(named).with_columns(
                pl.lit(file.name).alias(_FILE), pl.Series(_LINE, file.lines, dtype=pl.Int64)))
        if ignored := [c for c in file.columns if c not in (*KEYS, "location", *named)]:
            notices.append(Notice("ignored_columns", f"{file.name}: columns that are no known daily variable are not "
                                  "used", len(ignored), tuple(ignored[:3])))
    if not stacked:
        return WeatherInspection(DAILY_WEATHER.empty(), (), tuple(problems), tuple(notices))
    table = pl.concat(stacked, how="diagonal")
    typed = table.with_columns(_dates(table["date"]), *[to_numbers(table[v]) for v in VARIABLES if v in table.columns])
    problems += [*_key_problems(table, typed), *_value_problems(table, typed), *_season_problems(typed, places)]
    absent = [pl.lit(None, dtype=pl.Float64).alias(v) for v in VARIABLES if v not in typed.columns]
    daily = DAILY_WEATHER.empty() if problems else DAILY_WEATHER.conform(typed.with_columns(absent))
    return WeatherInspection(daily, tuple(v for v in VARIABLES if v in typed.columns), tuple(problems), tuple(notices))


def read_weather(paths: Sequence[Path], places: pl.DataFrame | None = None) -> tuple[pl.DataFrame, list[Notice]]:
    """Weather files as one typed table (contract DAILY_WEATHER). Parameters as for `inspect_weather`.

    Raises
    ------
    InputError : every problem of every file.
    """
    found = inspect_weather(paths, places)
    if found.problems:
        raise InputError(found.problems)
    return found.daily, list(found.notices)


def _dates(cells: pl.Series) -> pl.Series:
    """ISO dates; null where a cell is not one."""
    return pl.select(pl.when(cells.str.contains(_ISO)).then(cells.str.to_date("%Y-%m-%d", strict=False))) \
        .to_series().alias("date")


def _column_problems(name: str, columns: Sequence[str], named: dict[str, str]) -> list[Problem]:
    shown = f"columns {', '.join(columns)}"
    problems = [Problem(name, f"a column {c}", shown, f"add the column {c}, or name it so", line=1)
                for c in KEYS if c not in columns]
    if not named:
        problems.append(Problem(name, f"at least one daily variable: {', '.join(VARIABLES)}", shown,
                                "name the columns so, with values in the units of the names", line=1))
    twice = [c for c, v in named.items() if list(named.values()).count(v) > 1]
    return problems + [Problem(name, "each variable once", f"a second column for {named[c]}", "keep one of them", 1, c)
                       for c in twice[1:]]


def _key_problems(table: pl.DataFrame, typed: pl.DataFrame) -> list[Problem]:
    problems = [Problem(file, "a value in every row", "empty", "fill the cell or remove the row", line, c)
                for c in KEYS for file, line in table.filter(pl.col(c).is_null()).select(_FILE, _LINE).iter_rows()]
    wrong = table.filter(pl.col("date").is_not_null() & typed["date"].is_null())
    problems += [Problem(file, "a date such as 2013-10-28", repr(found), "write year-month-day", line, "date")
                 for file, line, found in wrong.select(_FILE, _LINE, "date").iter_rows()]
    labels = table.filter(~pl.col("season").str.contains(rf"^(?:{LABEL.pattern})$"))
    problems += [Problem(file, "1 to 16 letters, digits or hyphens", repr(found), "correct the label", line, "season")
                 for file, line, found in labels.select(_FILE, _LINE, "season").iter_rows()]
    days = typed.drop_nulls(["environment", "date"])
    first = days.unique(["environment", "date"], keep="first", maintain_order=True)
    again = days.join(first.select("environment", "date", __in=_FILE, __at=_LINE), on=["environment", "date"],
                      maintain_order="left").filter(
        (pl.col(_LINE) != pl.col("__at")) | (pl.col(_FILE) != pl.col("__in")))
    return problems + [Problem(r[_FILE], "one row a day and environment", f"{r['date']} of {r['environment']!r} again "
                               f"(first in {r['__in']}, line {r['__at']})", "keep one row", r[_LINE], "date")
                       for r in again.iter_rows(named=True)]


def _value_problems(table: pl.DataFrame, typed: pl.DataFrame) -> list[Problem]:
    """Cells that are no number or outside what is possible, and days colder at their maximum than at their minimum."""
    problems: list[Problem] = []
    for name in (v for v in VARIABLES if v in table.columns):
        variable = VARIABLES[name]
        bad = table.select(_FILE, _LINE, name).filter(
            pl.col(name).is_not_null() & ~typed[name].is_between(variable.low, variable.high).fill_null(False))
        problems += [Problem(file, f"{variable.low:g} to {variable.high:g} {variable.unit} or an empty cell",
                             repr(found), "correct the value or its unit; leave missing days empty", line, name)
                     for file, line, found in bad.iter_rows()]
    if {"air_temperature_max_c", "air_temperature_min_c"} <= set(typed.columns):
        high, low = "air_temperature_max_c", "air_temperature_min_c"
        problems += [Problem(r[_FILE], f"at least the day's minimum, {r[low]:g} °C", f"{r[high]:g} °C",
                             "exchange or correct the two values", r[_LINE], high)
                     for r in typed.filter(pl.col(high) < pl.col(low)).iter_rows(named=True)]
    return problems


def _season_problems(typed: pl.DataFrame, places: pl.DataFrame | None) -> list[Problem]:
    """Environments with days of two seasons, or of another season than their own row says; at the first line."""
    days = typed.drop_nulls(["environment", "season"])
    first = days.unique("environment", keep="first", maintain_order=True).select("environment", __own="season")
    if places is not None and places.height:
        first = first.join(places.select("environment", "season"), on="environment", how="left").select(
            "environment", __own=pl.coalesce("season", "__own"))
    odd = days.join(first, on="environment", maintain_order="left").filter(pl.col("season") != pl.col("__own")) \
        .unique("environment", keep="first", maintain_order=True)
    return [Problem(r[_FILE], f"{r['__own']!r}, the season of environment {r['environment']!r}", repr(r["season"]),
                    "correct the label, or give each season its own environment", r[_LINE], "season")
            for r in odd.iter_rows(named=True)]
