"""Retraining with cause: challengers that are called, caught up, promoted or not; what started them; what they brought."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from genomic_platform.catalogue import ASSETS
from genomic_platform.runs import run_seasons, stale_seasons
from genomic_platform.stores.assets import RELEASE
from genomic_platform_tests.dagster.small import SMALL, Small, loose_files

Published = Callable[[int], Small]


def with_challengers(small: Small, *challengers: str, more: str = "") -> Small:
    path = small.folder / "program.toml"
    path.write_text(path.read_text() + f"\n[retraining]\nchallengers = [{', '.join(map(repr, challengers))}]\n{more}")
    return small


def run(small: Small, *seasons: str, cause: str = "") -> None:
    for outcome in run_seasons(small.program, small.workspace, seasons, cause=cause):
        assert outcome.published, outcome.reason


def recipes(small: Small, asset: str, season: str) -> set[str]:
    return set(small.main.read(asset, season, ASSETS[asset])["recipe"])


def release(small: Small, season: str) -> set[str]:
    record = small.main.record(RELEASE, season)
    assert record is not None
    return set(record.inputs)


def test_challengers_are_tried_only_with_cause_and_held_to_seasons_they_had_not_seen(published: Published) -> None:
    small = with_challengers(published(2), "family_blup")
    assert stale_seasons(small.program, small.workspace) == ["2021"], "naming challengers changes no published season"
    run(small, "2020", cause="hand: a trial")
    assert "family_blup" in release(small, "2020")
    assert small.main.record(RELEASE, "2020").extra["cause"] == "hand: a trial"  # type: ignore[union-attr]
    scored = small.main.read("forward_predictions", "2020", ASSETS["forward_predictions"])
    by_recipe = {r: scored.filter(recipe=r).select("season", "trained_through", "line_id", "environment")
                 for r in ("kernel", "family_blup")}
    assert by_recipe["family_blup"].equals(by_recipe["kernel"]), "the same lines, trained through 2019"
    assert stale_seasons(small.program, small.workspace) == ["2021"]
    run(small, "2021")
    champions = recipes(small, "registered_model", "2020")
    assert ("family_blup" in release(small, "2021")) == ("family_blup" in champions)


def test_a_challenger_that_is_better_takes_over_and_stays(tmp_path: Path) -> None:
    """The champion is a poor recipe, and so many lines are harvested again that the gate can see it."""
    small = Small.made(tmp_path / "made", loose_files(tmp_path, replace(SMALL, advanced=80)))
    small.edit_program(r"candidates = \[.*\]", "candidates = ['boosted_trees']")
    with_challengers(small, "genomic_blup", more="[gate]\nmargin = 0.0\nconfidence = 0.51\n")
    run(small, "2019", "2020")
    assert recipes(small, "registered_model", "2020") == {"boosted_trees"}
    run(small, "2020", cause="accuracy: too low")
    decided = small.main.read("registered_model", "2020", ASSETS["registered_model"]).to_dicts()
    assert [(r["decision"], r["recipe"]) for r in decided] == [("replace", "genomic_blup")]
    run(small, "2021")
    assert "genomic_blup" in release(small, "2021")
    effect = small.main.read("retraining_effect", "2021", ASSETS["retraining_effect"]).to_dicts()
    assert [(r["cause"], r["recipe_before"], r["recipe_after"]) for r in effect] == [
        ("accuracy", "boosted_trees", "genomic_blup")]
