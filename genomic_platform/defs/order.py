"""Seasons are published in calendar order: whether a season's turn has come, and if not, whether waiting helps."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from genomic_platform.errors import NotAvailable, PredecessorRunning, SeasonOrderError
from genomic_platform.program import FieldSeason

UNFINISHED = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING,
              dg.DagsterRunStatus.STARTED]


def on_its_way(instance: dg.DagsterInstance, season: FieldSeason) -> bool:
    """Whether a run of the season is queued, running, or failed and about to be retried."""
    tags = {"dagster/partition": season.key}
    if instance.get_runs(dg.RunsFilter(tags=tags, statuses=UNFINISHED), limit=1):
        return True
    last = instance.get_runs(dg.RunsFilter(tags=tags), limit=1)
    return bool(last) and last[0].status == dg.DagsterRunStatus.FAILURE \
        and last[0].tags.get("dagster/will_retry") == "true" and "dagster/auto_retry_run_id" not in last[0].tags


def require_predecessors(instance: dg.DagsterInstance, run: dg.DagsterRun, season: FieldSeason,
                         calendar: Sequence[str], published: Sequence[str]) -> None:
    """Refuse a season while an earlier one of the calendar is unpublished.

    Raises
    ------
    NotAvailable
        The season itself has no trial records.
    PredecessorRunning
        An earlier season is on its way: a run retry puts this one behind it.
    SeasonOrderError
        None is on its way; names the first season to run.
    """
    if season.season not in calendar:
        raise NotAvailable(f"season {season.season} of {season.program} has no trial records; "
                           f"found seasons {', '.join(calendar)}; repair: put its trial file into landing/trials")
    missing = [FieldSeason(season.program, s) for s in calendar if s < season.season and s not in published]
    waiting = [s for s in missing if on_its_way(instance, s)]
    if waiting:
        raise PredecessorRunning(f"season {season.season} waits for season {waiting[0].season}, which is on its way")
    if missing:
        raise SeasonOrderError(f"season {season.season} needs season {missing[0].season} published first, as its "
                               "landing files are now; "
                               f"repair: run season {missing[0].season}, then this one again")
