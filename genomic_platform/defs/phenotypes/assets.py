"""Phenotypes: trial files to records, line means and the environment's features."""

from __future__ import annotations

from typing import Any

import polars as pl

from genomic_platform.defs.season_asset import Season, season_asset
from genomic_platform.errors import Notice
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.phenotypes import environments, trials, weather, weather_features
from genomic_platform.phenotypes import line_means as stage_one
from genomic_platform.phenotypes.plausible import implausible_values
from genomic_platform.phenotypes.seasons import ALL
from genomic_platform.program_sections import WeatherSection
from genomic_platform.results import plots
from genomic_platform.schemas.phenotypes import DAILY_WEATHER, ENVIRONMENT_RECORDS


def _of_season(season: Season, table: pl.DataFrame) -> pl.DataFrame:
    return table if season.label == ALL else table.filter(pl.col("season") == season.label)


def _describe_records(season: Season, table: pl.DataFrame) -> dict[str, Any]:
    by_trait = table.group_by("trait").agg(
        pl.len().alias("records"), pl.col("line_id").n_unique().alias("lines"),
        pl.col("environment").n_unique().alias("environments"), pl.col("value").mean().alias("mean"),
        pl.col("value").std().alias("sd")).sort("trait")
    return {"lines": table["line_id"].n_unique(), "environments": table["environment"].n_unique(),
            "by_trait": plots.markdown_table(by_trait), "values": plots.distribution(table, "value", season.units)}


@season_asset(group="phenotypes", code_version="1", settings=("traits",), landing=("trials", "lines"),
              describe=_describe_records)
def trial_records(season: Season) -> pl.DataFrame:
    """The season's trial records in long form, one row a measured value, checked and under stable line names."""
    registry = season.landing.line_registry(season.label)
    records, notices = trials.read_trials(season.landing.files("trials"), list(season.program.traits), registry,
                                          season.program.calendar)
    season.note([*registry.notices, *notices])
    own = _of_season(season, records)
    odd = implausible_values(own)
    if odd.height:
        examples = (f"{r['line_id']} {r['trait']} {r['value']:g}" for r in odd.head(3).to_dicts())
        season.note([Notice("implausible", f"values far outside their environment's, used all the same: {odd.height}",
                            odd.height, tuple(examples))])
    return own


def _describe_lines(season: Season, table: pl.DataFrame) -> dict[str, Any]:
    return {"families": table["family"].drop_nulls().n_unique(),
            "roles": plots.markdown_table(table["role"].value_counts(sort=True))}


@season_asset(group="phenotypes", code_version="1", settings=("traits",), landing=("trials", "lines"),
              history=("line_records",), describe=_describe_lines)
def line_records(season: Season) -> pl.DataFrame:
    """Lines known at the season, from lines.csv and the trials so far: family, parents, role, first season known."""
    registry = season.landing.line_registry(season.label)
    return registry.records if season.label == ALL else registry.known_through(season.label)


@season_asset(group="phenotypes", code_version="1", landing=("lines", "pedigree"), describe=lambda season, table: {
    "lines_with_a_parent": table.filter(pl.any_horizontal(pl.col("parent_1", "parent_2").is_not_null())).height})
def pedigree(season: Season, line_records: pl.DataFrame, genotype_panel: GenotypeTable) -> pl.DataFrame:
    """Parents and inbreeding of the lines known at the season and their ancestors, from pedigree.csv and lines.csv."""
    found = season.landing.pedigree(line_records, genotype_panel.lines)
    season.note(found.notices)
    return found.records


def _describe_weather(season: Season, table: pl.DataFrame) -> dict[str, Any]:
    by_environment = table.group_by("environment").agg(
        pl.col("date").min().cast(pl.String).alias("first"), pl.col("date").max().cast(pl.String).alias("last"),
        pl.len().alias("days")).sort("environment")
    return {"environments": by_environment.height, "by_environment": plots.markdown_table(by_environment)}


@season_asset(group="phenotypes", code_version="1", landing=("environments",), describe=_describe_weather)
def daily_weather(season: Season) -> pl.DataFrame:
    """The season's daily weather, typed and checked; empty where the programme has none."""
    environment_files, weather_files = weather.split_weather(season.landing.files("environments"))
    if not weather_files:
        return DAILY_WEATHER.empty()
    daily, notices = weather.read_weather(weather_files, environments.environment_places(environment_files))
    season.note(notices)
    return _of_season(season, daily)


def _describe_environments(season: Season, table: pl.DataFrame) -> dict[str, Any]:
    return {"environments": table["environment"].n_unique(), "variables": table[table.columns[3]].n_unique()}


@season_asset(group="phenotypes", code_version="2", landing=("environments",), settings=("weather",),
              describe=_describe_environments)
def environment_records(season: Season, daily_weather: pl.DataFrame) -> pl.DataFrame:
    """The season's environments: place, dates, covariates and what daily weather sums up to, in long form."""
    files, _ = weather.split_weather(season.landing.files("environments"))
    if not files:
        return ENVIRONMENT_RECORDS.empty()
    records, notices = environments.read_environments(files)
    season.note(notices)
    own = _of_season(season, records)
    if daily_weather.is_empty():
        return own
    rules = season.program.file.weather or WeatherSection()
    places = _of_season(season, environments.environment_places(files))
    features, notices = weather_features.weather_features(daily_weather, places, rules.named_windows(), rules.crop())
    season.note(notices)
    return environments.with_features(own, features)


@season_asset(group="phenotypes", code_version="1", history=("environment_records",),
              describe=lambda season, table: {"features": table["feature"].n_unique()})
def environment_features(season: Season, environment_records: pl.DataFrame) -> pl.DataFrame:
    """Covariates that vary between all environments known at the season, standardised over them."""
    return environments.environment_features(season.history("environment_records", environment_records))


def _describe_means(season: Season, table: pl.DataFrame) -> dict[str, Any]:
    return {"lines": table["line_id"].n_unique(), "without_standard_error": table["standard_error"].null_count(),
            "line_means": plots.distribution(table, "centred", season.units)}


@season_asset(group="phenotypes", code_version="1", settings=("line_means",), describe=_describe_means)
def line_means(season: Season, trial_records: pl.DataFrame) -> pl.DataFrame:
    """Stage one: each line's mean in each environment of the season, with its standard error."""
    means, notices = stage_one.line_means(trial_records, means=season.program.file.line_means.means)
    season.note(notices)
    return means
