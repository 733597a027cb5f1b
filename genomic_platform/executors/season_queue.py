"""The run queue of an instance: every run of a season carries its programme as a tag, whoever started it.

Jobs, sensors and the command line set the tag themselves; a run or backfill started in the UI has only its partition.
Named in the generated `dagster.yaml`, whose tag limit then lets one season of a programme run at a time.
Reference: docs.dagster.io, "Run attribution", which subclasses the coordinator in this way.
"""

from __future__ import annotations

import dagster as dg
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext

PROGRAM_TAG = "program"


class SeasonQueue(QueuedRunCoordinator):  # type: ignore[type-arg]
    """Dagster's queue, which first adds the programme's tag to a run of one of its seasons."""

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        run = context.dagster_run
        program, colon, _ = run.tags.get("dagster/partition", "").partition(":")
        if colon and PROGRAM_TAG not in run.tags:
            self._instance.add_run_tags(run.run_id, {PROGRAM_TAG: program})
        return super().submit_run(context)
