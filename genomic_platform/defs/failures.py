"""The one place that decides whether a failure is tried again."""

from __future__ import annotations

import dagster as dg

from genomic_platform.errors import DecisionsChanged, GenomicPlatformError


def refuse_retries(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Mark a run so that run retries leave it alone: the same input would fail the same way."""
    instance.add_run_tags(run.run_id, {"dagster/max_retries": "0"})


def as_failure(error: GenomicPlatformError, instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.Failure:
    """An error of ours as Dagster's failure: transient ones may be retried by the run, permanent ones never."""
    if not error.transient:
        refuse_retries(instance, run)
    if isinstance(error, DecisionsChanged):
        # The gate, already done, has to decide anew; steps whose inputs are the same take what they made.
        instance.add_run_tags(run.run_id, {"dagster/retry_strategy": "ALL_STEPS"})
    return dg.Failure(description=str(error), allow_retries=error.transient,
                      metadata={"error": type(error).__name__, "transient": error.transient})
