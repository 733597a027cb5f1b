"""What starts a retraining beside new data: a release with cause for it, and the months before planting and after
harvest. One cause starts one run.
"""

from __future__ import annotations

import dagster as dg

from genomic_platform.defs.training.candidates import assets_of
from genomic_platform.errors import GenomicPlatformError
from genomic_platform.executors.season_queue import PROGRAM_TAG
from genomic_platform.io_managers.versioned import WorkspaceResource
from genomic_platform.program import Program
from genomic_platform.retraining.challengers import CAUSE_TAG, RETRAINING_TAG
from genomic_platform.retraining.look import due, look
from genomic_platform.retraining.plan import Answer
from genomic_platform.settings import read_settings
from genomic_platform.stores.assets import AssetStore

_SETTINGS = read_settings()


@dg.sensor(name="retraining_sensor", job_name=_SETTINGS.season_job, minimum_interval_seconds=_SETTINGS.sensor_seconds,
           default_status=dg.DefaultSensorStatus.RUNNING)
def retraining_sensor(context: dg.SensorEvaluationContext, workspace: WorkspaceResource) -> dg.SensorResult:
    """Looks at what a new commit on `main` published; a season with cause for it is run again with the challengers.

    What is done about a cause, or why nothing is, is told as an alert and in the tick.
    """
    found = look(context.instance, workspace.open(), context.cursor)
    requests = [_request(*start) for start in found.starts]
    return dg.SensorResult(run_requests=requests, cursor=found.cursor,
                           skip_reason=None if requests else dg.SkipReason("; ".join(found.said)))


def _request(program: Program, season: str, told: Answer) -> dg.RunRequest:
    return dg.RunRequest(run_key=told.run_key, partition_key=program.season(season).key,
                         asset_selection=assets_of(program.file),
                         tags={PROGRAM_TAG: program.name, RETRAINING_TAG: "true", CAUSE_TAG: told.cause})


@dg.schedule(name="season_schedule", job_name=_SETTINGS.season_job, cron_schedule="0 5 * * *",
             execution_timezone="UTC", default_status=dg.DefaultScheduleStatus.RUNNING)
def season_schedule(context: dg.ScheduleEvaluationContext,
                    workspace: WorkspaceResource) -> list[dg.RunRequest] | dg.SkipReason:
    """Each programme's latest season again in the month before planting and the month after harvest, once each.

    Months are those of the programme's own calendar, so that hemispheres and two cycles a year need no rule of ours.
    """
    opened, requests, said = workspace.open(), [], []
    for name in opened.program_folders():
        try:
            program = opened.program(name)
            told = due(context.instance, opened, program, context.scheduled_execution_time)
        except (GenomicPlatformError, OSError) as error:
            said.append(f"{name}: refused: {error}")
            continue
        if told.run_key:
            requests.append(_request(program, AssetStore(opened.store, name).published()[-1], told))
            continue
        said += [f"{name}: {told.why}"] if told.why else []
    return requests or dg.SkipReason("; ".join(said) or "no programme is before planting or after harvest")
