"""What starts a retraining beside new data: a release with cause for it, and the months before planting and after
harvest. One cause starts one run; what is done about a cause, or why nothing is, is told as an alert.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from genomic_platform.alerts.alert import Alert
from genomic_platform.defs.training.candidates import assets_of
from genomic_platform.errors import GenomicPlatformError
from genomic_platform.executors.season_queue import PROGRAM_TAG
from genomic_platform.io_managers.versioned import WorkspaceResource
from genomic_platform.links import dagster_asset
from genomic_platform.orphans import living_runs
from genomic_platform.program import Program
from genomic_platform.retraining.causes import Cause, causes_of
from genomic_platform.retraining.challengers import CAUSE_TAG
from genomic_platform.retraining.plan import Answer, answer, due_by_calendar
from genomic_platform.settings import read_settings
from genomic_platform.stores.assets import AssetStore
from genomic_platform.stores.protocol import MAIN
from genomic_platform.workspace import Workspace

#: On every run that a cause started, so that the last one is found.
RETRAINING_TAG = "genomic_platform/retraining"
_SETTINGS = read_settings()


@dg.sensor(name="retraining_sensor", job_name=_SETTINGS.season_job, minimum_interval_seconds=_SETTINGS.sensor_seconds,
           default_status=dg.DefaultSensorStatus.RUNNING)
def retraining_sensor(context: dg.SensorEvaluationContext, workspace: WorkspaceResource) -> dg.SensorResult:
    """Looks at what a new commit on `main` published; a season with cause for it is run again with the challengers.

    The cursor is, for each programme, the commit last looked at, and when to look again though none came: a cause may
    wait for the cooldown. A programme whose seasons are being run is looked at afterwards.
    """
    before: dict[str, dict[str, str | None]] = json.loads(context.cursor or "{}")
    after, requests, said = {}, [], []
    opened, now = workspace.open(), datetime.now(UTC)
    head = opened.store.log(MAIN, limit=1)[0].id
    for name in opened.program_folders():
        look = before.get(name, {})
        after[name] = look
        if look.get("commit") == head and not (look.get("again") and now >= datetime.fromisoformat(str(look["again"]))):
            continue
        try:
            program = opened.program(name)
            season, told = _answered(context.instance, opened, program, now)
        except (GenomicPlatformError, OSError) as error:
            said.append(f"{name}: refused: {error}")
            continue
        if told is not None:
            after[name] = {"commit": head, "again": told.again.isoformat() if told.again else None}
            requests += [_request(program, season, told)] if told.run_key else []
        said += [f"{name}: its seasons are being run" if told is None else f"{name} season {season}: {told.why}"] \
            if told is None or told.why else []
    return dg.SensorResult(run_requests=requests, cursor=json.dumps(after, sort_keys=True), skip_reason=None if requests
                           else dg.SkipReason("; ".join(said) or f"no cause for retraining at commit {head[:12]}"))


def _answered(instance: dg.DagsterInstance, workspace: Workspace, program: Program,
              now: datetime) -> tuple[str, Answer | None]:
    """The latest season, and what is done about it, told as alerts; None while a run of the programme goes on."""
    main = AssetStore(workspace.store, program.name)
    published = main.published()
    if not published:
        return "", Answer("", None, "")
    if living_runs(instance, program.name):
        return published[-1], None
    causes = causes_of(main, published[-1])
    told = answer(program, main, published[-1], causes, now=now, last=_last(instance, program.name))
    for alert in _alerts(workspace, program, published[-1], causes, told, now):
        workspace.alerts.tell(alert)
    return published[-1], told


def _last(instance: dg.DagsterInstance, program: str) -> datetime | None:
    records = instance.get_run_records(dg.RunsFilter(tags={PROGRAM_TAG: program, RETRAINING_TAG: "true"}), limit=1)
    return records[0].create_timestamp if records else None


def _alerts(workspace: Workspace, program: Program, season: str, causes: list[Cause], told: Answer,
            now: datetime) -> Iterator[Alert]:
    for cause in causes:
        asset = {"population": "drift_report", "inputs": "input_drift"}.get(cause.subject, "accuracy_promise")
        yield Alert(cause=f"{program.season(season).key}:{cause.name}", kind=cause.kind, program=program.name,
                    season=season, what=cause.words, where=asset, how_sure=cause.how_sure, done=told.why,
                    link=dagster_asset(workspace.settings, asset), severity="warning", time=now)


def _request(program: Program, season: str, told: Answer) -> dg.RunRequest:
    key = program.season(season)
    return dg.RunRequest(run_key=told.run_key, partition_key=key.key, asset_selection=assets_of(program.file),
                         tags={PROGRAM_TAG: program.name, RETRAINING_TAG: "true", CAUSE_TAG: told.cause})


@dg.schedule(name="season_schedule", job_name=_SETTINGS.season_job, cron_schedule="0 5 * * *",
             execution_timezone="UTC", default_status=dg.DefaultScheduleStatus.RUNNING)
def season_schedule(context: dg.ScheduleEvaluationContext, workspace: WorkspaceResource
                    ) -> list[dg.RunRequest] | dg.SkipReason:
    """Each programme's latest season again in the month before planting and the month after harvest, once each.

    Months are those of the programme's own calendar, so that hemispheres and two cycles a year need no rule of ours.
    """
    opened, requests, said = workspace.open(), [], []
    for name in opened.program_folders():
        try:
            program = opened.program(name)
            main = AssetStore(opened.store, name)
            told = due_by_calendar(program, main, context.scheduled_execution_time)
        except (GenomicPlatformError, OSError) as error:
            said.append(f"{name}: refused: {error}")
            continue
        requests += [_request(program, main.published()[-1], told)] if told.run_key else []
        said += [f"{name}: {told.why}"] if told.why else []
    return requests or dg.SkipReason("; ".join(said) or "no programme is before planting or after harvest")
