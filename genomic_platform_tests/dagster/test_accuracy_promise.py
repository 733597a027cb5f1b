"""What is watched of inputs, values and accuracy, in a programme's published seasons; what its checks say and when."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg
import polars as pl
import pytest

from genomic_platform.catalogue import ASSETS
from genomic_platform.defs.monitoring import accuracy_checks as checks
from genomic_platform_tests.dagster.small import Small, metadata_of
from genomic_platform_tests.dagster.test_release import run_check

Published = Callable[[int], Small]


def read(small: Small, asset: str, season: str) -> pl.DataFrame:
    return small.main.read(asset, season, ASSETS[asset])


def test_two_published_seasons(published: Published) -> None:
    """Two sites, two seasons: inputs are too few, values are comparable, accuracy cannot be promised yet."""
    small = published(2)
    inputs = read(small, "input_drift", "2020")
    assert set(inputs["decision"]) == {"too_few"}
    assert inputs["n_new"].to_list() == inputs["n_reference"].to_list() == [2] * inputs.height
    assert set(read(small, "input_drift", "2019")["decision"]) == {"no_test"}

    (values,) = read(small, "prediction_drift", "2020").to_dicts()
    assert values["decision"] in ("usual", "changed")
    assert values["n_lines"] == read(small, "selection_index", "2020").height
    assert 0 <= values["extrapolated"] < 1
    both = [read(small, "breeding_values", s).select("line_id", "genotypic_value") for s in ("2019", "2020")]
    joined = both[0].join(both[1], on="line_id")
    r = joined.select(pl.corr("genotypic_value", "genotypic_value_right")).item()
    assert values["r_previous"] == pytest.approx(r)
    assert read(small, "prediction_drift", "2019")["decision"].to_list() == ["first"]

    assert read(small, "accuracy_promise", "2019").is_empty()
    promise = read(small, "accuracy_promise", "2020")
    assert set(promise["verdict"]) <= {"no_promise", "too_few"}
    assert promise["level"].unique().sort().to_list() == ["environment", "family", "season"]
    assert promise.filter(level="environment")["label"].to_list() == sorted(
        read(small, "line_means", "2020")["environment"].unique())
    whole, scored = promise.filter(level="season"), read(small, "realised_accuracy", "2020")
    assert whole["realised"].item() == pytest.approx(scored["r_all"].item())
    assert (whole["slope"].item(), whole["top20_hit"].item()) == pytest.approx(
        (scored["slope"].item(), scored["top20_hit"].item()))


def test_the_third_season_shows_numbers_and_plots(published: Published,
                                                  opened: Callable[[Small], dg.DagsterInstance]) -> None:
    small = published(2)
    upstream = ["genotype_batch", "trial_records", "line_records", "genotype_panel", "daily_weather",
                "environment_records", "environment_features", "line_means"]
    result = small.run(opened(small), "2021", assets=[*upstream, "input_drift", "accuracy_promise"])
    assert result.success
    shown = metadata_of(result, "accuracy_promise")
    assert shown["below"] == "none"
    assert ";base64," in shown["promised_and_realised"]
    assert "too few lines to tell: 14, needed 20" in shown["verdicts"]  # 2021 grows what advanced, and checks
    shown = metadata_of(result, "input_drift")
    assert shown["too_few"] == shown["features"] > 0
    assert shown["said"].startswith("too few to tell: 2 environments this season, 4 in 2 earlier seasons")
    assert ";base64," in shown["effects"]


@pytest.mark.parametrize(("check", "asset", "column", "bad"), [
    (checks.inputs_as_before, "input_drift", "decision", "shifted"),
    (checks.predictions_as_before, "prediction_drift", "decision", "changed"),
    (checks.accuracy_as_promised, "accuracy_promise", "verdict", "below")])
def test_checks_say_how_many_and_what_cannot_be_told(
        published: Published, check: dg.AssetChecksDefinition, asset: str, column: str, bad: str) -> None:
    small = published(2)
    first, second = (read(small, asset, season) for season in ("2019", "2020"))
    for untold in (first, first.clear()):
        good = run_check(small, check, {asset: untold})
        assert good.passed
        assert good.metadata["cannot_be_told"].value
    spoilt = second.with_columns(pl.lit(bad).alias(column), message=pl.lit("so it is"))
    failed = run_check(small, check, {asset: spoilt})
    assert failed.metadata[bad].value == second.height
    assert "so it is" in [m.value for m in failed.metadata.values()]
