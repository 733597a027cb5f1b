"""The one place that decides whether a failure is tried again."""

from __future__ import annotations

import dagster as dg

from genomic_platform.errors import DecisionsChanged, GenomicPlatformError

#: Packages whose errors tell of a service or a disk, not of our code: trying again may help.
_SERVICES = {"lakefs", "lakefs_sdk", "mlflow", "requests", "sqlalchemy", "sqlite3", "urllib3"}


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


def note_bug(error: Exception, instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """An error nobody foresaw: unless it comes from a service or the system, the same code fails the same way again."""
    packages = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    if not isinstance(error, OSError) and not packages & _SERVICES:
        refuse_retries(instance, run)


def as_preemption(error: BaseException, retries: int) -> dg.RetryRequested:
    """A step whose own process was told to end: its run starts it again, and it goes on from its checkpoint."""
    requested = dg.RetryRequested(max_retries=retries, seconds_to_wait=1)
    requested.__cause__ = error
    return requested
