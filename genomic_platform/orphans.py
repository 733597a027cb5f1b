"""Runs whose process is gone: which are still alive, and marking the others as failed so that nobody waits for them.

Whoever runs a programme's seasons holds its turn (`Workspace.turn`), so a run that is started while the turn is free
has no process. The command line asks before it starts, the landing sensor at every tick.
"""

from __future__ import annotations

import time

import dagster as dg

from genomic_platform.executors.season_queue import PROGRAM_TAG
from genomic_platform.io_managers.versioned import PID_TAG

#: Seconds a launched run may need until it says that it started: a process and its imports.
START_SECONDS = 120.0
#: Seconds from then to taking the programme's turn, which is the next thing a run does.
TURN_SECONDS = 30.0
#: Seconds between letting go of the turn and being recorded as ended.
END_SECONDS = 1.0
_WAITING = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED]
_WORKING = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_QUEUE_DAEMON = "QUEUED_RUN_COORDINATOR"


def end_orphans(instance: dg.DagsterInstance, program: str) -> list[str]:
    """Mark runs without a process as failed; a launched one is then retried. Gives their ids.

    The caller holds the programme's turn.
    """
    if not _orphans(instance, program):
        return []
    time.sleep(END_SECONDS)
    ended = _orphans(instance, program)
    for run in ended:
        instance.report_run_failed(run, "the process of this run was killed")
    return [run.run_id for run in ended]


def _orphans(instance: dg.DagsterInstance, program: str) -> list[dg.DagsterRun]:
    wanted = dg.RunsFilter(tags={PROGRAM_TAG: program}, statuses=[*_WAITING, *_WORKING])
    return [record.dagster_run for record in instance.get_run_records(wanted)
            if (PID_TAG in record.dagster_run.tags and record.dagster_run.parent_run_id is None) or (
                record.dagster_run.status in _WORKING
                and time.time() - record.update_timestamp.timestamp() > _grace(record.dagster_run.status))]


def _grace(status: dg.DagsterRunStatus) -> float:
    return START_SECONDS if status == dg.DagsterRunStatus.STARTING else TURN_SECONDS


def living_runs(instance: dg.DagsterInstance, program: str) -> list[dg.DagsterRun]:
    """Unfinished runs of the programme; queued ones count only while a daemon is there to start them."""
    daemon = instance.get_daemon_statuses([_QUEUE_DAEMON])[_QUEUE_DAEMON]
    statuses = [*_WORKING, *(_WAITING if daemon.healthy else [])]
    return list(instance.get_runs(dg.RunsFilter(tags={PROGRAM_TAG: program}, statuses=statuses)))
