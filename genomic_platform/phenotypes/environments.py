"""Landing environments (`environments.csv`): weather, soil and place of each environment, long and as features.

One row of the file is one environment; weather and soil belong to environments, never to lines. Trials are not read
here.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from genomic_platform.errors import InputError, Notice, Problem
from genomic_platform.phenotypes.delimited import notices_of, problems_of, read_delimited, to_numbers
from genomic_platform.phenotypes.seasons import LABEL
from genomic_platform.schemas.phenotypes import ENVIRONMENT_FEATURES, ENVIRONMENT_RECORDS

KEYS = ("environment", "season", "location")
#: Date columns and the day-of-year variables made of them.
DATES = {"planting_date": "planting_day", "harvest_date": "harvest_day"}
LIMITS = {"latitude": (-90.0, 90.0), "longitude": (-180.0, 180.0)}
#: What `environment_places` gives.
PLACES = {"environment": pl.String, "season": pl.String, "location": pl.String, "latitude": pl.Float64,
          "planting_date": pl.Date, "harvest_date": pl.Date}
_FILE, _LINE = "__file", "__line"
_SCHEMA = {"environment": pl.String, "season": pl.String, "location": pl.String}


@dataclass(frozen=True)
class EnvironmentInspection:
    """What environment files hold.

    Attributes
    ----------
    environments : environment, season, location (the environment's name where the file has no location).
    variables : numeric variables, dates as `planting_day` and `harvest_day`.
    ignored : text columns that are not used.
    latitude : mean latitude, degrees north; None where the files do not say.
    problems, notices : what stops the files, and what was accepted.
    """

    environments: pl.DataFrame
    variables: tuple[str, ...]
    ignored: tuple[str, ...]
    latitude: float | None
    problems: tuple[Problem, ...]
    notices: tuple[Notice, ...]


def inspect_environments(paths: Sequence[Path]) -> EnvironmentInspection:
    """Say what environment files hold and everything that is wrong with them; raises nothing for their content."""
    table, variables, ignored, problems, notices = _checked(paths)
    latitude = table["latitude"].mean() if "latitude" in variables else None
    return EnvironmentInspection(
        environments=table.select(KEYS) if table.width else pl.DataFrame(schema=_SCHEMA), variables=tuple(variables),
        ignored=tuple(ignored), latitude=latitude if isinstance(latitude, float) else None, problems=tuple(problems),
        notices=tuple(notices))


def read_environments(paths: Sequence[Path]) -> tuple[pl.DataFrame, list[Notice]]:
    """Environment files as records (contract ENVIRONMENT_RECORDS), long, filled cells only.

    Raises
    ------
    InputError : every problem of every file.
    """
    table, variables, _, problems, notices = _checked(paths)
    if problems:
        raise InputError(problems)
    records = table.select(*KEYS, *variables).unpivot(variables, index=list(KEYS)).drop_nulls("value") \
        if variables else ENVIRONMENT_RECORDS.empty()
    return ENVIRONMENT_RECORDS.conform(records), notices


def environment_places(paths: Sequence[Path]) -> pl.DataFrame:
    """Where and when environments were grown: what windows of daily weather are counted from.

    Returns
    -------
    environment, season, location, latitude (degrees north), planting_date, harvest_date; null where the files do not
    say. An environment that is named twice, or not at all, is left out: its problem is found by `read_environments`.
    """
    table, *_ = _checked(paths)
    absent = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in PLACES.items() if name not in table.columns]
    places = table.with_columns(absent) if table.width else pl.DataFrame(schema=PLACES)
    return places.select(*PLACES).drop_nulls("environment").unique("environment", keep="none").sort("environment")


def with_features(records: pl.DataFrame, features: pl.DataFrame) -> pl.DataFrame:
    """Records of the file and features made of daily weather as one table (contract ENVIRONMENT_RECORDS).

    Raises
    ------
    InputError : a covariate of the file has the name of a feature.
    """
    shared = sorted(set(records["variable"]) & set(features["variable"]))
    if shared:
        raise InputError([Problem("environments", "names other than those of features made of daily weather",
                                  f"the column {name}", "rename the column, or the window in program.toml")
                          for name in shared])
    return ENVIRONMENT_RECORDS.conform(pl.concat([records, features]))


def environment_features(records: pl.DataFrame) -> pl.DataFrame:
    """Variables that vary between the environments given, standardised over them (contract ENVIRONMENT_FEATURES).

    Parameters
    ----------
    records : contract ENVIRONMENT_RECORDS; pass only environments known at the season, since the mean and standard
        deviation (n − 1) are taken over all of them.
    """
    spread = pl.col("value").std().over("variable")
    varying = pl.col("value").n_unique().over("variable") > 1
    features = records.filter(varying).with_columns(
        pl.col("variable").alias("feature"),
        ((pl.col("value") - pl.col("value").mean().over("variable")) / spread).alias("standardised"))
    return ENVIRONMENT_FEATURES.conform(features)


def _checked(paths: Sequence[Path]) -> tuple[pl.DataFrame, list[str], list[str], list[Problem], list[Notice]]:
    files = [read_delimited(p) for p in paths]
    problems, notices = problems_of(files), notices_of(files)
    stacked: list[pl.DataFrame] = []
    for file in (f for f in files if f.columns):
        missing = [c for c in ("environment", "season") if c not in file.columns]
        problems += [Problem(file.name, f"a column {c}", f"columns {', '.join(file.columns)}",
                             f"add the column {c}, or name it so", line=1) for c in missing]
        if not missing:
            stacked.append(file.cells.with_columns(pl.lit(file.name).alias(_FILE),
                                                   pl.Series(_LINE, file.lines, dtype=pl.Int64)))
    if not stacked:
        return pl.DataFrame(), [], [], problems, notices
    table = pl.concat(stacked, how="diagonal")
    problems += _key_problems(table)
    place = pl.col("location") if "location" in table.columns else pl.lit(None, dtype=pl.String)
    keyed = table.with_columns(pl.coalesce(place, "environment").alias("location"))
    numbers, ignored = _variables(keyed, problems)
    if ignored:
        notices.append(Notice("ignored_columns", "environment columns that hold text are not used", len(ignored),
                              tuple(ignored[:3])))
    dates = [_dates(keyed[c]) for c in DATES if c in keyed.columns]
    variables = [s.name for s in numbers]
    return keyed.select(KEYS).with_columns(*numbers, *dates), variables, ignored, problems, notices


def _key_problems(table: pl.DataFrame) -> list[Problem]:
    problems = [Problem(row[_FILE], "a value in every row", "empty", "fill the cell or remove the row", row[_LINE], c)
                for c in ("environment", "season") for row in table.filter(pl.col(c).is_null()).iter_rows(named=True)]
    problems += [Problem(row[_FILE], "1 to 16 letters, digits or hyphens", repr(row["season"]), "correct the label",
                         row[_LINE], "season")
                 for row in table.iter_rows(named=True) if row["season"] and not LABEL.fullmatch(row["season"])]
    named = table.drop_nulls("environment").with_row_index("__row")
    first = named.unique("environment", keep="first", maintain_order=True)
    again = named.join(first.select("environment", __at=_LINE, __in=_FILE, __first="__row"), on="environment",
                       maintain_order="left").filter(pl.col("__row") != pl.col("__first"))
    problems += [Problem(r[_FILE], "one row per environment", f"{r['environment']!r} again (first in {r['__in']}, line "
                         f"{r['__at']})", "keep one row", r[_LINE], "environment") for r in again.iter_rows(named=True)]
    return problems


def _variables(table: pl.DataFrame, problems: list[Problem]) -> tuple[list[pl.Series], list[str]]:
    """Numeric columns and days of the year, and the names of text columns; a mostly numeric column may hold no text."""
    numbers: list[pl.Series] = []
    ignored: list[str] = []
    for cells in table.iter_columns():
        if cells.name in (*KEYS, _FILE, _LINE) or not cells.count():
            continue
        if cells.name in DATES:
            values, expected = _days(cells), "a date such as 2013-10-28"
        else:
            values, expected = to_numbers(cells), "a number or an empty cell"
            if cells.name not in LIMITS and 2 * values.count() < cells.count():
                ignored.append(cells.name)
                continue
        low, high = LIMITS.get(cells.name, (float("-inf"), float("inf")))
        bad = table.select(_FILE, _LINE, __text=cells, __value=values).filter(
            pl.col("__text").is_not_null() & ~pl.col("__value").is_between(low, high).fill_null(False))
        wanted = f"{low:g} to {high:g} degrees" if cells.name in LIMITS else expected
        problems += [Problem(f, wanted, repr(text), "correct the value or leave the cell empty", line, cells.name)
                     for f, line, text, _ in bad.iter_rows()]
        numbers.append(values)
    return numbers, ignored


def _days(cells: pl.Series) -> pl.Series:
    """ISO dates as days of the year (1 to 366); null where a cell is not one."""
    return _dates(cells).dt.ordinal_day().cast(pl.Float64).alias(DATES[cells.name])


def _dates(cells: pl.Series) -> pl.Series:
    """ISO dates; null where a cell is not one."""
    dates: list[datetime.date | None] = []
    for cell in cells:
        try:
            dates.append(datetime.date.fromisoformat(cell) if cell else None)
        except ValueError:
            dates.append(None)
    return pl.Series(cells.name, dates, dtype=pl.Date)
