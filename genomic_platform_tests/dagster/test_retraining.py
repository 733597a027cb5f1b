"""Retraining with cause: challengers called, caught up, promoted or not; what started them; what they brought."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from genomic_platform.catalogue import ASSETS
from genomic_platform.cli import main
from genomic_platform.costs.ledger import Entry, Ledger
from genomic_platform.defs.monitoring.retraining_sensors import retraining_sensor, season_schedule
from genomic_platform.io_managers.versioned import resources_of
from genomic_platform.results.history import history
from genomic_platform.retraining.challengers import CAUSE_TAG
from genomic_platform.runs import run_seasons, stale_seasons
from genomic_platform.stores.assets import RELEASE
from genomic_platform_tests.dagster.small import SMALL, Small, loose_files, plant_drift, with_challengers

Published = Callable[[int], Small]


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


class Ticks:
    """The retraining sensor again and again, as the daemon evaluates it: with its cursor, and no run key twice."""

    def __init__(self, small: Small, instance: dg.DagsterInstance) -> None:
        self.small, self.instance, self.cursor, self.said = small, instance, None, ""
        self.fired: set[str | None] = set()

    def tick(self) -> list[dg.RunRequest]:
        with dg.build_sensor_context(self.instance, cursor=self.cursor, resources=resources_of(
                str(self.small.workspace.root))) as context:
            result = retraining_sensor(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        self.said = (result.skip_reason.skip_message or "") if result.skip_reason else ""
        new = [r for r in result.run_requests or [] if r.run_key not in self.fired]
        self.fired |= {r.run_key for r in new}
        return new


def test_a_cause_on_a_new_commit_starts_one_run_however_often_it_is_looked_at(
        published: Published, opened: Callable[[Small], dg.DagsterInstance]) -> None:
    small = with_challengers(published(2), "family_blup")
    ticks = Ticks(small, opened(small))
    assert ticks.tick() == []
    assert "no cause for retraining" in ticks.said
    plant_drift(small)
    (request,) = ticks.tick()
    assert request.partition_key == small.key("2020")
    assert request.tags[CAUSE_TAG] == "drift: population (p = 0.005, F_ST 0.080)"
    assert [r for _ in range(1_000) for r in ticks.tick()] == []
    commit = json.loads(ticks.cursor or "")[small.name]["commit"]
    for cursor in (None, "garbage", "[]", f'{{"{small.name}": "old"}}',
                   json.dumps({small.name: {"commit": commit, "again": "some day"}})):
        ticks.cursor = cursor
        assert ticks.tick() == [], "a cursor that is lost or spoilt asks with the same key"
    small.run(ticks.instance, "2020", tags=request.tags)
    assert "family_blup" in release(small, "2020")
    assert ticks.tick() == []
    assert "tried family_blup" in ticks.said
    (alert,) = small.workspace.alerts.alerts(small.name)
    assert (alert.kind, alert.season, alert.done) == ("drift", "2020", "retraining with family_blup beside the "
                                                      "candidates")
    told = history(small.name, small.workspace)
    assert [(e.season, e.kind) for e in told] == [("2019", "season"), *[("2020", "season")] * 2, ("2020", "drift")]
    assert told[-1].trigger == "population (p = 0.005, F_ST 0.080)"
    assert told[-1].run_id


def test_a_cause_without_challengers_is_told_and_starts_nothing(
        published: Published, opened: Callable[[Small], dg.DagsterInstance]) -> None:
    small = published(2)
    plant_drift(small)
    ticks = Ticks(small, opened(small))
    assert [r for _ in range(3) for r in ticks.tick()] == []
    told = history(small.name, small.workspace)[-1]
    assert (told.kind, told.run_id) == ("drift", None)
    assert "names no challengers" in told.done


def test_causes_of_a_season_that_has_a_successor_are_told_and_start_nothing(
        published: Published, opened: Callable[[Small], dg.DagsterInstance]) -> None:
    """Two seasons land between two looks: drift in the first of them is news too."""
    small = with_challengers(published(1), "family_blup")
    ticks = Ticks(small, opened(small))
    assert ticks.tick() == []
    plant_drift(small)
    run(small, "2020")
    assert ticks.tick() == []
    (alert,) = small.workspace.alerts.alerts(small.name)
    assert (alert.season, alert.done) == ("2019", "nothing: season 2020 has been published since")


def test_a_retraining_that_failed_is_in_the_history_and_not_asked_for_again(
        published: Published, opened: Callable[[Small], dg.DagsterInstance]) -> None:
    small = with_challengers(published(1), "genomic_platform_tests.support.waiting:NoSuchRecipe")
    ticks = Ticks(small, opened(small))
    assert ticks.tick() == []
    plant_drift(small)
    (request,) = ticks.tick()
    result = small.run(ticks.instance, "2019", tags={**request.tags, "dagster/run_key": request.run_key or ""})
    assert not result.success
    ticks.cursor = None
    assert ticks.tick() == []
    assert "was started and is failure" in ticks.said
    (failed,) = [e for e in history(small.name, small.workspace) if e.run_id == result.run_id]
    assert (failed.kind, failed.season) == ("drift", "2019")
    assert "NoSuchRecipe" in failed.done


def test_the_calendar_starts_one_run_a_year_of_a_living_programme(
        published: Published, opened: Callable[[Small], dg.DagsterInstance], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENOMIC_PLATFORM_PRICE_CPU_HOUR", "3600")
    small = published(2)
    small.edit_program(r"planting_month = \d+", "planting_month = 10")
    instance = opened(small)

    def asked(at: datetime) -> list[dg.RunRequest]:
        with dg.build_schedule_context(instance, scheduled_execution_time=at, resources=resources_of(
                str(small.workspace.root))) as context:
            found = season_schedule(context)
        return found if isinstance(found, list) else []

    (first,) = asked(datetime(2021, 9, 1, 5, tzinfo=UTC))
    assert first.run_key == f"{small.key('2020')}:before_planting:2021"
    assert first.tags[CAUSE_TAG] == "before_planting: September 2021"
    # As the daemon makes it. It asks of a key whether this very tick has used it, and tomorrow's is another tick.
    instance.add_run(dg.DagsterRun("train_season", tags={**first.tags, "dagster/run_key": first.run_key}))
    assert [r for day in range(2, 31) for r in asked(datetime(2021, 9, day, 5, tzinfo=UTC))] == []
    assert asked(datetime(2021, 10, 1, 5, tzinfo=UTC)) == []
    assert asked(datetime(2026, 9, 1, 5, tzinfo=UTC)) == []
    (next_year,) = asked(datetime(2022, 9, 1, 5, tzinfo=UTC))
    assert next_year.run_key == f"{small.key('2020')}:before_planting:2022"


def test_the_calendar_waits_for_budget_and_asks_once_there_is_some(
        published: Published, opened: Callable[[Small], dg.DagsterInstance], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENOMIC_PLATFORM_PRICE_CPU_HOUR", "3600")
    small = published(2)
    small.edit_program(r"planting_month = \d+", "planting_month = 10")
    instance, toml = opened(small), small.folder / "program.toml"
    toml.write_text(f"{toml.read_text()}\n[budget]\nmonthly = 0.001\n")
    now = datetime(2021, 9, 1, 5, tzinfo=UTC)
    Ledger(small.workspace.root).append(Entry(
        now, "run", small.name, "2020", "kernel", "training", "", False, False, False, 9.0, 9.0, 0.0, 0.0, "", None, 0))

    def asked(at: datetime) -> list[dg.RunRequest] | dg.SkipReason:
        with dg.build_schedule_context(instance, scheduled_execution_time=at, resources=resources_of(
                str(small.workspace.root))) as context:
            return season_schedule(context)

    waits = asked(now)
    assert isinstance(waits, dg.SkipReason)
    assert "waits: 9.00 of 0.001 (" in (waits.skip_message or "")
    small.edit_program("monthly = 0.001", "monthly = 100")
    assert isinstance(asked(now), list)


def test_a_person_has_challengers_tried_and_reads_what_came_of_it(published: Published,
                                                                  capsys: pytest.CaptureFixture[str]) -> None:
    small = published(1)

    def said(*arguments: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main([arguments[0], str(small.folder), *arguments[1:]])
        assert ended.value.code == code
        captured = capsys.readouterr()
        return captured.err if code else captured.out

    refused = said("retrain", "--why", "new weather station", code=2)
    assert "expected challengers under [retraining], found none" in " ".join(refused.split())
    with_challengers(small, "family_blup")
    told = said("retrain", "--why", "new weather station")
    assert "new weather station" in told
    assert "tried family_blup: no earlier season to compare it on" in told
    found = json.loads(said("history", "--json"))
    assert [e["kind"] for e in found["results"]] == ["season", "hand"]
