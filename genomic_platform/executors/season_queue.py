"""The run queue of an instance: every run of a season carries its programme as a tag, whoever started it.

Jobs, sensors and the command line set the tag themselves; a run or backfill started in the UI has only its partition.
Named in the generated `dagster.yaml`, whose tag limit then lets one season of a programme run at a time. Here too a
backfill that is taken up again finds the branches of the one before.
Reference: docs.dagster.io, "Run attribution", which subclasses the coordinator in this way.
"""

from __future__ import annotations

import dagster as dg
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext
from dagster._core.storage.tags import PARENT_BACKFILL_ID_TAG

PROGRAM_TAG = "program"
#: On runs that continue the branch of another: its id.
CONTINUES_TAG = "genomic_platform/continues"


class SeasonQueue(QueuedRunCoordinator):  # type: ignore[type-arg]
    """Dagster's queue, which first tags a run of a season: its programme, and the run whose branch it goes on with."""

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        run = context.dagster_run
        program, colon, _ = run.tags.get("dagster/partition", "").partition(":")
        tags = {PROGRAM_TAG: program} if colon and PROGRAM_TAG not in run.tags else {}
        if CONTINUES_TAG not in run.tags and run.parent_run_id is None and (before := self._left_by_backfill(run)):
            tags[CONTINUES_TAG] = before
        if tags:
            self._instance.add_run_tags(run.run_id, tags)
        return super().submit_run(context)

    def _left_by_backfill(self, run: dg.DagsterRun) -> str | None:
        """Id of the run whose branch has the season's other assets, for a run with the rest of them.

        A backfill asks for a season in several runs when its seasons do not lack the same assets; so does one
        re-executed from failure, which leaves out what the cancelled or failed one came to.
        """
        for tag in ("dagster/backfill", PARENT_BACKFILL_ID_TAG):
            if backfill := run.tags.get(tag):
                wanted = {"dagster/backfill": backfill, "dagster/partition": run.tags.get("dagster/partition", "")}
                found = self._instance.get_runs(dg.RunsFilter(tags=wanted), limit=2)
                if before := [other for other in found if other.run_id != run.run_id]:
                    return branch_owner(before[0])
        return None


def branch_owner(run: dg.DagsterRun) -> str:
    """Id of the run whose branch this run works on: a retry, or a run told to, continues another's."""
    return run.tags.get(CONTINUES_TAG) or run.root_run_id or run.run_id
