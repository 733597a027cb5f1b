"""Environments nobody has grown yet: a location as its past years describe it, and a season that is not over.

A target environment is the mean of a location's records over past seasons, with their number. What the records are made
of is in `weather_features`; how environments compare is in `environment_kernel`.
"""

from __future__ import annotations

import datetime

import polars as pl

from genomic_platform.errors import Notice, ProgramError
from genomic_platform.schemas.phenotypes import DAILY_WEATHER, ENVIRONMENT_RECORDS

#: Columns of `target_environments`.
TARGET = ("environment", "location", "variable", "value", "sd", "n_years", "first_season", "last_season")


def target_environments(records: pl.DataFrame, *, before: str | None = None) -> pl.DataFrame:
    """Each location as the mean of its past seasons: what an environment to come is expected to be.

    Parameters
    ----------
    records : contract ENVIRONMENT_RECORDS of many seasons, trials or none grown in them.
    before : only seasons earlier than this label are used, so that a season's target knows nothing of the season.

    Returns
    -------
    environment (`target_<location>`), location, variable, value (mean over seasons, of a season's environments first),
    sd (between seasons; null with one), n_years (seasons that have the variable), first_season, last_season. It serves
    `EnvironmentCovariates.standardised` as it is.

    Raises
    ------
    ProgramError : no season is left.
    """
    past = records if before is None else records.filter(pl.col("season") < before)
    if past.is_empty():
        raise ProgramError(f"no environment records of seasons before {before}; expected at least one season; repair: "
                           "give historical weather" if before else "no environment records given")
    seasons = past.group_by("location", "variable", "season").agg(pl.col("value").mean())
    return seasons.group_by("location", "variable").agg(
        pl.col("value").mean(), pl.col("value").std().alias("sd"), pl.len().cast(pl.Int64).alias("n_years"),
        pl.col("season").min().alias("first_season"), pl.col("season").max().alias("last_season"),
    ).with_columns(pl.format("target_{}", "location").alias("environment")).select(TARGET).sort("location", "variable")


def completed(records: pl.DataFrame, targets: pl.DataFrame) -> tuple[pl.DataFrame, list[Notice]]:
    """A running season's records with what is not known yet taken from the location's past.

    Parameters
    ----------
    records : contract ENVIRONMENT_RECORDS; features of windows that are not complete are absent.
    targets : of `target_environments`, of earlier seasons.

    Returns
    -------
    Records with every variable that the location has in `targets`, and a notice naming how many were expected values
    in which environment.
    """
    keys = records.select("environment", "season", "location").unique()
    expected = keys.join(targets.select("location", "variable", "value"), on="location").join(
        records, on=["environment", "variable"], how="anti")
    by_environment = expected.group_by("environment").len().sort("environment")
    notices = [Notice("expected_covariates", "covariates not known yet, taken as the mean of the location's past",
                      expected.height, tuple(f"{e}: {n}" for e, n in by_environment.head(3).iter_rows()))
               ] if expected.height else []
    return ENVIRONMENT_RECORDS.conform(pl.concat([records, expected.select(records.columns)])), notices


def historical_seasons(daily: pl.DataFrame, location: str, latitude: float, planting: tuple[int, int],
                       harvest: tuple[int, int]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One location's long daily weather as one environment a year, planted and harvested on the same dates.

    Parameters
    ----------
    daily : columns of contract DAILY_WEATHER, of one place; environment and season are replaced.
    latitude : degrees north. planting, harvest : month and day; a harvest before planting falls in the next year.

    Returns
    -------
    Daily weather (contract DAILY_WEATHER) and places, as `weather_features` takes them; environments are
    `<location>_<year of planting>`. Years whose season the weather does not cover whole are left out.

    Raises
    ------
    ProgramError : no year is covered whole.
    """
    first, last = daily["date"].min(), daily["date"].max()
    seasons = []
    if isinstance(first, datetime.date) and isinstance(last, datetime.date):
        for year in range(first.year, last.year + 1):
            sown = datetime.date(year, *planting)
            cut = datetime.date(year + (harvest < planting), *harvest)
            if first <= sown and cut <= last:
                seasons.append((f"{location}_{year}", str(year), location, latitude, sown, cut))
    if not seasons:
        raise ProgramError(f"daily weather of {location} from {first} to {last} covers no season from planting "
                           f"{planting} to harvest {harvest} (month, day); expected at least one")
    places = pl.DataFrame(seasons, orient="row", schema=[
        "environment", "season", "location", "latitude", "planting_date", "harvest_date"])
    days = daily.drop("environment", "season", strict=False).join_where(
        places.select("environment", "season", "planting_date", "harvest_date"),
        pl.col("date") >= pl.col("planting_date"), pl.col("date") <= pl.col("harvest_date"))
    return DAILY_WEATHER.conform(days), places
