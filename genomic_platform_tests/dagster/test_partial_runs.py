"""Runs of some assets of a season: published when what they leave out belongs to what they make, else refused."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg
import pytest

from genomic_platform.defs.season_asset import FORCE_TAG
from genomic_platform.stores.assets import RELEASE
from genomic_platform_tests.dagster.small import Small, downstream_of, failures_of

Published = Callable[[int], Small]
Opened = Callable[[Small], dg.DagsterInstance]


def refusal(small: Small, instance: dg.DagsterInstance, season: str, assets: list[str]) -> str:
    """Why a run of these assets is not published."""
    result = small.run(instance, season, assets=assets)
    assert not result.success
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags["dagster/max_retries"] == "0"
    return " ".join(failures_of(result).values())


def test_all_after_an_asset_is_published_with_what_lies_before(published: Published, opened: Opened) -> None:
    small = published(1)
    before, chosen = small.main.records("2019"), downstream_of("kernel")
    result = small.run(opened(small), "2019", assets=chosen, tags={FORCE_TAG: "true"})
    assert result.success, failures_of(result)
    now = small.main.records("2019")
    assert {n for n in now if now[n].run_id != before[n].run_id} == set(chosen) & now.keys()
    assert now[RELEASE].extra["known_digest"] == before[RELEASE].extra["known_digest"]
    assert len(small.main.releases()["2019"]) == 2


def test_what_an_earlier_program_toml_made_is_not_published_as_this_ones(published: Published, opened: Opened) -> None:
    small = published(1)
    small.edit_program(r'weights = "errors"', 'weights = "none"')
    said = refusal(small, opened(small), "2019", downstream_of("kernel"))
    assert "program.toml has changed since assets that this run did not make: line_means (line_means" in said
    assert "repair: materialise the whole season" in said
    assert len(small.main.releases()["2019"]) == 1


@pytest.mark.slow
def test_what_an_earlier_seasons_former_content_made_is_not_published(published: Published, opened: Opened) -> None:
    """2019 was corrected; a part of 2020, whose training set knows 2019 as it was, does not make 2020 fresh."""
    small = published(2)
    instance = opened(small)
    small.change_trials("2019")
    assert small.run(instance, "2019").success
    said = refusal(small, instance, "2020", downstream_of("population_structure"))
    assert "training_set (made from another line_means of season 2019)" in said
    assert len(small.main.releases()["2020"]) == 1


@pytest.mark.parametrize("first", ["kernel", "population_structure"])
def test_a_season_never_published_is_refused(published: Published, opened: Opened, first: str) -> None:
    small = published(1)
    said = refusal(small, opened(small), "2020", downstream_of(first))
    assert "is neither published nor made by this run; repair: materialise the whole season" in said
    assert small.main.published() == ["2019"]
