"""Whose turn it is: a season waits for one on its way, refuses when none is, and killed runs are not waited for."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from genomic_platform import orphans
from genomic_platform.defs.order import on_its_way, require_predecessors
from genomic_platform.errors import NotAvailable, PredecessorRunning, SeasonOrderError
from genomic_platform.executors.season_queue import CONTINUES_TAG, SeasonQueue
from genomic_platform.io_managers.versioned import PID_TAG
from genomic_platform.program import FieldSeason
from genomic_platform.runs import run_seasons
from genomic_platform.workspace import Workspace
from genomic_platform_tests.dagster.small import Small, failures_of

ORIGIN = RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("none"), "none"), "train_season")
CALENDAR = ["2019", "2020", "2021"]
QUEUED, STARTED, FAILURE = (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE)
NOT_STARTED = dg.DagsterRunStatus.NOT_STARTED
Published = Callable[[int], Small]
Opened = Callable[[Small], dg.DagsterInstance]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "workspace")
    made.prepare()
    return made


@pytest.fixture
def instance(workspace: Workspace) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(workspace.dagster_home)) as opened:
        yield opened


def add_run(instance: dg.DagsterInstance, season: str, status: dg.DagsterRunStatus, **tags: str) -> dg.DagsterRun:
    """A run of the season as another process left it."""
    own = {"program": "ppp", "dagster/partition": f"ppp:{season}"} | {k.replace("__", "/"): v for k, v in tags.items()}
    return instance.add_run(dg.DagsterRun("train_season", str(uuid.uuid4()), status=status, tags=own,
                                          remote_job_origin=ORIGIN))


def turn(instance: dg.DagsterInstance, season: str, published: list[str]) -> None:
    run = add_run(instance, season, STARTED)
    require_predecessors(instance, run, FieldSeason("ppp", season), CALENDAR, published)


def test_a_season_whose_predecessors_are_published_has_its_turn(instance: dg.DagsterInstance) -> None:
    turn(instance, "2019", [])
    turn(instance, "2021", ["2019", "2020"])


def test_no_predecessor_on_its_way_is_for_good_and_names_the_first(instance: dg.DagsterInstance) -> None:
    with pytest.raises(SeasonOrderError, match=r"2021 needs season 2019 published first.*run season 2019"):
        turn(instance, "2021", [])
    with pytest.raises(SeasonOrderError, match="needs season 2020"):
        turn(instance, "2021", ["2019"])
    assert not SeasonOrderError.transient


def test_a_season_without_records_is_named(instance: dg.DagsterInstance) -> None:
    with pytest.raises(NotAvailable, match=r"2022.*has no trial records.*2019, 2020, 2021"):
        turn(instance, "2022", [])


@pytest.mark.parametrize("status", [QUEUED, dg.DagsterRunStatus.STARTING, STARTED])
def test_a_predecessor_queued_or_running_is_waited_for(instance: dg.DagsterInstance,
                                                       status: dg.DagsterRunStatus) -> None:
    add_run(instance, "2020", status)
    with pytest.raises(PredecessorRunning, match="2021 waits for season 2020"):
        turn(instance, "2021", ["2019"])
    assert PredecessorRunning.transient


def test_a_failed_predecessor_is_waited_for_only_while_its_retry_is_to_come(instance: dg.DagsterInstance) -> None:
    season = FieldSeason("ppp", "2020")
    add_run(instance, "2020", FAILURE, dagster__will_retry="true", dagster__auto_retry_run_id="made")
    assert not on_its_way(instance, season)
    add_run(instance, "2020", FAILURE, dagster__will_retry="true")
    assert on_its_way(instance, season)
    add_run(instance, "2020", FAILURE, dagster__will_retry="false")
    assert not on_its_way(instance, season)


def test_another_programme_is_not_waited_for(instance: dg.DagsterInstance) -> None:
    add_run(instance, "2020", STARTED, dagster__partition="other:2020")
    with pytest.raises(SeasonOrderError):
        turn(instance, "2021", ["2019"])


def test_the_queue_names_the_programme_of_whatever_is_started(instance: dg.DagsterInstance) -> None:
    """A run started in the UI has its partition and nothing else."""
    run = instance.add_run(dg.DagsterRun("train_season", str(uuid.uuid4()), tags={"dagster/partition": "ppp:2020"},
                                         remote_job_origin=ORIGIN))
    small_job = instance.add_run(dg.DagsterRun("rollback", str(uuid.uuid4()), remote_job_origin=ORIGIN))
    assert isinstance(instance.run_coordinator, SeasonQueue)
    limits = instance.get_concurrency_config().run_queue_config
    assert limits is not None
    assert {"key": "program", "value": {"applyLimitPerUniqueValue": True}, "limit": 1} in limits.tag_concurrency_limits
    for submitted in (run, small_job):
        instance.run_coordinator.submit_run(_submission(submitted))
    queued = {r.run_id: r for r in instance.get_runs()}
    assert queued[run.run_id].tags["program"] == "ppp"
    assert queued[run.run_id].status == QUEUED
    assert "program" not in queued[small_job.run_id].tags


def test_a_run_of_what_a_backfill_left_goes_on_with_its_branch(instance: dg.DagsterInstance) -> None:
    """Re-executed from failure: the season's run in the backfill before; or an earlier one in the same backfill."""
    left = add_run(instance, "2020", FAILURE, dagster__backfill="first", genomic_platform__continues="another")
    add_run(instance, "2019", FAILURE, dagster__backfill="first")
    lineage = {"dagster__backfill": "second", "dagster__parent_backfill_id": "first"}
    fresh = add_run(instance, "2021", NOT_STARTED, **lineage)
    goes_on = add_run(instance, "2020", NOT_STARTED, **lineage)
    for run in (fresh, goes_on):
        instance.run_coordinator.submit_run(_submission(run))
    retried = instance.add_run(dg.DagsterRun("train_season", str(uuid.uuid4()), tags=dict(goes_on.tags),
                                             remote_job_origin=ORIGIN, parent_run_id=goes_on.run_id,
                                             root_run_id=goes_on.run_id))
    instance.run_coordinator.submit_run(_submission(retried))
    wave = add_run(instance, "2021", NOT_STARTED, **lineage)
    instance.run_coordinator.submit_run(_submission(wave))
    tags = {r.run_id: r.tags.get(CONTINUES_TAG) for r in instance.get_runs()}
    assert left.tags[CONTINUES_TAG] == tags[goes_on.run_id] == "another"
    assert (tags[fresh.run_id], tags[wave.run_id], tags[retried.run_id]) == (None, fresh.run_id, None)


def _submission(run: dg.DagsterRun) -> object:
    """What the coordinator is given: of it only the run is read, and a real one would need a code server."""

    class Submission:
        dagster_run = run

    return Submission()


def test_a_run_whose_process_is_gone_is_ended(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "END_SECONDS", 0.0)
    killed = add_run(instance, "2019", STARTED, **{PID_TAG: "1", "dagster/max_retries": "0"})
    young, queued = add_run(instance, "2020", STARTED), add_run(instance, "2021", QUEUED)
    other = add_run(instance, "2019", STARTED, program="other", **{PID_TAG: "1"})
    assert orphans.end_orphans(instance, "ppp") == [killed.run_id]
    ended = instance.get_run_by_id(killed.run_id)
    assert ended is not None
    assert (ended.status, ended.tags["dagster/will_retry"]) == (FAILURE, "false")
    assert {r.run_id for r in instance.get_runs(dg.RunsFilter(statuses=[STARTED, QUEUED]))} == {
        young.run_id, queued.run_id, other.run_id}
    monkeypatch.setattr(orphans, "TURN_SECONDS", 0.0)
    assert orphans.end_orphans(instance, "ppp") == [young.run_id]
    retried = instance.get_run_by_id(young.run_id)
    assert retried is not None
    assert retried.tags["dagster/will_retry"] == "true"


def test_queued_runs_count_only_while_a_daemon_is_there(instance: dg.DagsterInstance) -> None:
    add_run(instance, "2019", QUEUED)
    assert orphans.living_runs(instance, "ppp") == []
    started = add_run(instance, "2020", STARTED)
    assert [r.run_id for r in orphans.living_runs(instance, "ppp")] == [started.run_id]


def test_the_command_line_refuses_while_another_holds_the_programme(published: Published, opened: Opened) -> None:
    small = published(0)
    with small.workspace.turn(small.name), pytest.raises(PredecessorRunning, match="another command line") as refused:
        run_seasons(small.program, small.workspace, ["2019"])
    assert refused.value.exit_code == 4
    started = add_run(opened(small), "2019", STARTED, program="small", dagster__partition="small:2019")
    with pytest.raises(PredecessorRunning, match=f"run {started.run_id[:8]} of small season 2019"):
        run_seasons(small.program, small.workspace, ["2019"])
    assert small.main.published() == []


def test_the_environment_of_the_process_is_left_alone(published: Published) -> None:
    small, before = published(0), dict(os.environ)
    (outcome,) = run_seasons(small.program, small.workspace, ["2020"])
    assert not outcome.published
    assert "2020 needs season 2019 published first" in outcome.reason
    assert dict(os.environ) == before


def test_a_season_out_of_turn_fails_for_good_or_waits(published: Published, opened: Opened) -> None:
    small = published(1)
    instance = opened(small)
    refused = small.run(instance, "2021")
    assert all("2021 needs season 2020" in said for said in failures_of(refused).values())
    assert _tag(instance, refused, "dagster/will_retry") == "false"
    add_run(instance, "2020", QUEUED, program="small", dagster__partition="small:2020")
    waits = small.run(instance, "2021")
    assert all("2021 waits for season 2020" in said for said in failures_of(waits).values())
    assert _tag(instance, waits, "dagster/will_retry") == "true"
    assert small.main.published() == ["2019"]
    assert small.workspace.store.branches() == ["main"]


def _tag(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult, tag: str) -> str:
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    return run.tags[tag]
