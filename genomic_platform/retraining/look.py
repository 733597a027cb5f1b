"""One look at what new commits published: what is done about each programme's latest season, told as alerts.

A programme whose seasons are being run is looked at afterwards, since its release may be about to change.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile

import dagster as dg

from genomic_platform.alerts.alert import Alert
from genomic_platform.alerts.from_sensors import unforeseen
from genomic_platform.costs.budget import budget_state
from genomic_platform.cursors import looks_of
from genomic_platform.errors import GenomicPlatformError
from genomic_platform.executors.season_queue import PROGRAM_TAG
from genomic_platform.links import dagster_asset
from genomic_platform.orphans import living_runs
from genomic_platform.program import Program
from genomic_platform.retraining.causes import Cause, causes_of
from genomic_platform.retraining.challengers import RETRAINING_TAG
from genomic_platform.retraining.plan import Answer, answer, due_by_calendar
from genomic_platform.stores.assets import AssetStore
from genomic_platform.stores.protocol import MAIN
from genomic_platform.workspace import Workspace

_RUN_KEY_TAG = "dagster/run_key"
_ASSETS = {"population": "drift_report", "inputs": "input_drift"}


@dataclass(frozen=True)
class Look:
    """What a look found: the runs to start (programme, season, answer), what to say, and the cursor of the next."""

    starts: Sequence[tuple[Program, str, Answer]]
    said: Sequence[str]
    cursor: str


def look(instance: dg.DagsterInstance, workspace: Workspace, cursor: str | None, now: datetime | None = None) -> Look:
    """What to do about every programme whose `main` has a new commit, or whose cause has waited long enough.

    Parameters
    ----------
    cursor : for each programme the commit last looked at, and when to look again though none came; None = the first.
    """
    now = now or datetime.now(UTC)
    before = looks_of(cursor)
    head = workspace.store.log(MAIN, limit=1)[0].id
    after, starts, said = {}, [], []
    for name in workspace.program_folders():
        seen = after[name] = before.get(name, {})
        if seen.get("commit") == head and not _due(seen.get("again"), now):
            continue
        try:
            program = workspace.program(name)
            found = _answered(instance, workspace, program, seen.get("commit"), now)
        except (GenomicPlatformError, OSError) as error:
            said.append(f"{name}: refused: {error}")
            continue
        except Exception as error:  # one programme's must not keep the others from being looked at
            workspace.alerts.tell(unforeseen("retraining_sensor", name, error))
            said.append(f"{name}: {error!r}")
            continue
        if found is None:
            said.append(f"{name}: its seasons are being run")
            continue
        season, told = found
        after[name] = {"commit": head, "again": told.again.isoformat() if told.again else None}
        starts += [(program, season, told)] if told.run_key else []
        said += [f"{name} season {season}: {told.why}"] if told.why else []
    return Look(starts, said or [f"no cause for retraining at commit {head[:12]}"], json.dumps(after, sort_keys=True))


def _due(again: object, now: datetime) -> bool:
    """Whether the time to look again has come; a time that cannot be read has, so that no cause waits for good."""
    try:
        return bool(again) and now >= datetime.fromisoformat(str(again))
    except (ValueError, TypeError):
        return True


def _answered(instance: dg.DagsterInstance, workspace: Workspace, program: Program, seen: str | None,
              now: datetime) -> tuple[str, Answer] | None:
    """The latest season and what is done about it; None while a run of the programme goes on.

    Causes of other seasons published since the commit `seen` are told too. Nothing is started on them: their models
    have successors.
    """
    main = AssetStore(workspace.store, program.name)
    published = main.published()
    if not published:
        return "", Answer("", None, "")
    if living_runs(instance, program.name):
        return None
    for season in _published_since(main, seen) - {published[-1]}:
        earlier = Answer("", None, f"nothing: season {published[-1]} has been published since")
        _tell(workspace, program, season, causes_of(main, season), earlier)
    causes = causes_of(main, published[-1])
    told = answer(program, main, published[-1], causes, now=now, last=_last(instance, program.name))
    told = _within_budget(_once(told, instance), program, workspace, now)
    _tell(workspace, program, published[-1], causes, told)
    return published[-1], told


def _published_since(main: AssetStore, seen: str | None) -> set[str]:
    """Seasons of the programme released after this commit; none at a first look, which leaves the past alone."""
    if seen is None:
        return set()
    new = takewhile(lambda commit: commit.id != seen, main.store.log(main.ref))
    return {commit.metadata["season"] for commit in new
            if commit.metadata.get("program") == main.program and "season" in commit.metadata}


def _once(told: Answer, instance: dg.DagsterInstance) -> Answer:
    """The answer, or what became of the run that was started with its key: a key starts no second one."""
    runs = instance.get_runs(dg.RunsFilter(tags={_RUN_KEY_TAG: told.run_key}), limit=1) if told.run_key else []
    if not runs:
        return told
    return Answer(told.cause, None, f"run {runs[0].run_id[:8]} was started and is {runs[0].status.value.lower()}; "
                  "`genomic-platform retrain` starts another")


def due(instance: dg.DagsterInstance, workspace: Workspace, program: Program, today: datetime) -> Answer:
    """What the calendar asks for today, unless a run was asked for already or the month's budget is spent.

    The run key of a schedule holds within one of its ticks alone, so runs that have it are looked for.
    """
    told = due_by_calendar(program, AssetStore(workspace.store, program.name), today)
    return _within_budget(_once(told, instance), program, workspace, today)


def _within_budget(told: Answer, program: Program, workspace: Workspace, now: datetime) -> Answer:
    """The answer, or that it waits for the next day while the month's budget is spent."""
    if not told.run_key or (budget := budget_state(program, workspace, now)).state != "stop":
        return told
    return Answer(told.cause, None, f"waits: {budget.message}", now + timedelta(days=1))


def _last(instance: dg.DagsterInstance, program: str) -> datetime | None:
    """When the programme's last retraining was asked for that has not failed."""
    unfailed = [s for s in dg.DagsterRunStatus if s not in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)]
    records = instance.get_run_records(
        dg.RunsFilter(tags={PROGRAM_TAG: program, RETRAINING_TAG: "true"}, statuses=unfailed), limit=1)
    return records[0].create_timestamp if records else None


def _tell(workspace: Workspace, program: Program, season: str, causes: Sequence[Cause], told: Answer) -> None:
    for cause in causes:
        asset = _ASSETS.get(cause.subject, "accuracy_promise")
        workspace.alerts.tell(Alert(
            cause=f"{program.season(season).key}:{cause.name}", kind=cause.kind, program=program.name, season=season,
            what=cause.words, where=asset, how_sure=cause.how_sure, done=told.why,
            link=dagster_asset(workspace.settings, asset) or None))
