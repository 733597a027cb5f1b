"""Environment files: variables, dates, implausible places, and standardised features."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from genomic_platform.errors import InputError
from genomic_platform.phenotypes.environments import environment_features, inspect_environments, read_environments
from genomic_platform.schemas.phenotypes import ENVIRONMENT_FEATURES, ENVIRONMENT_RECORDS

EXAMPLE = Path(__file__).parents[2] / "examples/rice_japonica_uy/landing/environments/environments.csv"
HEADER = "environment,season,location,latitude,planting_date,rain_mm,soil"
GOOD = (HEADER, "T12,2012,Treinta y Tres,-33.25,2011-10-28,640,clay", "T13,2013,Treinta y Tres,-33.25,2012-11-03,,loam")


def written(folder: Path, *rows: str) -> Path:
    path = folder / "environments.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_numbers_and_dates_are_variables_and_text_is_not(tmp_path: Path) -> None:
    records, notices = read_environments([written(tmp_path, *GOOD)])
    assert ENVIRONMENT_RECORDS.faults(records) == []
    assert records.select("environment", "variable", "value").rows() == [
        ("T12", "latitude", -33.25), ("T12", "planting_day", 301.0), ("T12", "rain_mm", 640.0),
        ("T13", "latitude", -33.25), ("T13", "planting_day", 308.0)]
    assert [(n.code, n.examples) for n in notices] == [("ignored_columns", ("soil",))]


def test_inspection_says_what_is_there(tmp_path: Path) -> None:
    inspected = inspect_environments([written(tmp_path, *GOOD)])
    assert inspected.variables == ("latitude", "planting_day", "rain_mm")
    assert inspected.latitude == -33.25
    assert inspected.environments["environment"].to_list() == ["T12", "T13"]


@pytest.mark.parametrize(("rows", "message"), [
    ((*GOOD, "T14,2014,X,133,2013-11-01,5,clay"), "line 4: latitude is '133'; expected -90 to 90 degrees"),
    ((*GOOD, "T14,2014,X,south,2013-11-01,5,clay"), "line 4: latitude is 'south'; expected -90 to 90 degrees"),
    ((*GOOD, "T14,2014,X,-33,1/11/2013,5,clay"), "line 4: planting_date is '1/11/2013'; expected a date such as"),
    ((*GOOD, "T14,2014,X,-33,2013-02-30,5,clay"), "line 4: planting_date is '2013-02-30'"),
    ((*GOOD, "T14,2014,X,-33,2013-11-01,dry,clay"), "line 4: rain_mm is 'dry'; expected a number or an empty cell"),
    ((*GOOD, "T12,2012,X,-33,,5,clay"), "line 4: environment is 'T12' again (first in environments.csv, line 2)"),
    ((*GOOD, ",2012,X,-33,,5,clay"), "line 4: environment is empty"),
    ((*GOOD, "T14,,X,-33,,5,clay"), "line 4: season is empty"),
    ((*GOOD, "T14,2014/15,X,-33,,5,clay"), "line 4: season is '2014/15'"),
    (("environment,rain", "T12,5"), "line 1: columns environment, rain; expected a column season"),
])
def test_refused(tmp_path: Path, rows: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError) as refused:
        read_environments([written(tmp_path, *rows)])
    assert message in str(refused.value)


def test_features_vary_and_are_standardised() -> None:
    records, _ = read_environments([EXAMPLE])
    features = environment_features(records)
    assert ENVIRONMENT_FEATURES.faults(features) == []
    assert "latitude" not in features["feature"].to_list()
    assert features["feature"].n_unique() == 54
    spread = features.group_by("feature").agg(mean=pl.col("standardised").mean(), sd=pl.col("standardised").std())
    assert spread["mean"].abs().max() == pytest.approx(0, abs=1e-9)
    assert spread["sd"].to_list() == pytest.approx([1.0] * 54)


def test_a_file_without_variables_gives_no_records(tmp_path: Path) -> None:
    records, _ = read_environments([written(tmp_path, "environment,season", "T12,2012")])
    assert records.height == 0
    assert environment_features(records).height == 0
