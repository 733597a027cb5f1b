"""Alerts of ended runs: those that failed and are not tried again, and asset checks that did not pass.

One cause is one alert however often it shows: a chain of retries tells its last run, a check its numbers, and a fault
that is the same in every season of a day (all wait for one that failed) the first of them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from genomic_platform.alerts.alert import Alert
from genomic_platform.executors.season_queue import CONTINUES_TAG
from genomic_platform.links import dagster_run
from genomic_platform.runs import failure_reason
from genomic_platform.settings import Settings

#: A run that was to be retried and was not within this time is told as failed.
PATIENCE = timedelta(minutes=30)
_WILL_RETRY, _RETRIED_BY = "dagster/will_retry", "dagster/auto_retry_run_id"
#: Checks that find what the retraining sensor tells as a cause, with what is done about it, and how a name among the
#: check's numbers then ends: of accuracy only the season's is a cause, not an environment's or a family's.
_CAUSES = {"same_base": "", "inputs_as_before": "", "accuracy_as_promised": " season"}
#: Numbers of a check that say how sure it is, where it gives them.
_SURENESS = ("p_value", "p_adjusted", "lower", "upper", "confidence", "how_sure")
_SHOWN = 600


@dataclass(frozen=True)
class Failure:
    """Why a run failed: in words, whether the same input fails the same way again, and the check that stopped it."""

    reason: str
    permanent: bool
    by_check: bool


def waits_for_retry(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether a failed run is to be tried again and no later run has taken over yet.

    A run without the mark has just failed: Dagster sets it after the failure itself.
    """
    marked = run.tags.get(_WILL_RETRY, "true" if instance.run_retries_enabled else "false")
    return marked == "true" and not was_continued(instance, run)


def was_continued(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether another run goes on where this one failed: its retry, or the command line's second attempt."""
    return _RETRIED_BY in run.tags or bool(instance.get_runs(dg.RunsFilter(tags={CONTINUES_TAG: run.run_id}), limit=1))


def check_alerts(instance: dg.DagsterInstance, run: dg.DagsterRun, settings: Settings, *,
                 causes_told: bool = False) -> list[Alert]:
    """An alert for each asset check of an ended run that did not pass.

    `causes_told` : the retraining sensor is on, so that what it tells as a cause is not told as a check besides.
    """
    found = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION).records
    failed = [(check, record.event_log_entry.timestamp) for record in found
              if (check := record.event_log_entry.asset_check_evaluation) is not None and not check.passed]
    return [_check_alert(check, run, settings, at) for check, at in failed if not (causes_told and _is_cause(check))]


def _is_cause(check: dg.AssetCheckEvaluation) -> bool:
    end = _CAUSES.get(check.check_name)
    return end is not None and any(name.endswith(end) for name in check.metadata)


def _check_alert(check: dg.AssetCheckEvaluation, run: dg.DagsterRun, settings: Settings, timestamp: float) -> Alert:
    program, season = _season(run)
    asset = check.asset_key.to_user_string()
    numbers = {name: value.value for name, value in check.metadata.items()
               if not isinstance(value, dg.MarkdownMetadataValue)}  # plots are for the page
    shown = ", ".join(f"{name} {_word(value)}" for name, value in numbers.items())
    sure = ", ".join(f"{name} {_word(numbers[name])}" for name in _SURENESS if name in numbers)
    done = "the run ended, nothing of it is published; what was published before stays" if check.blocking else (
        "a warning stops nothing: " + ("the run went on and succeeded" if run.status == dg.DagsterRunStatus.SUCCESS else
                                       "the run ended for another reason"))
    return Alert(
        cause=f"check_failed:{program or ''}:{season or ''}:{asset}.{check.check_name}:{_digest(shown)}",
        kind="check_failed", program=program, season=season,
        what=f"check {check.check_name} of {asset} did not pass: {shown or 'it gave no numbers'}"[:_SHOWN],
        where=f"{asset}, run {run.run_id[:8]}", how_sure=sure or "certain: the check's condition does not hold",
        done=done, link=dagster_run(settings, run.run_id) or None,
        severity="error" if check.severity == dg.AssetCheckSeverity.ERROR else "warning",
        time=datetime.fromtimestamp(timestamp, UTC))


def run_alert(instance: dg.DagsterInstance, record: dg.RunRecord, settings: Settings, *,
              given_up: bool = False) -> Alert | None:
    """The alert of a failed run; None when its failed check is told already.

    `given_up` : it was to be retried, and was not.
    """
    run, ended = record.dagster_run, datetime.fromtimestamp(
        record.end_time or record.update_timestamp.timestamp(), UTC)
    failure = failure_of(instance, run)
    if failure.by_check:
        return None
    program, season = _season(run)
    cause = f"run_failed:{run.run_id}"
    if failure.permanent and program and season:
        same = _digest(failure.reason.replace(season, "", 1))
        cause = f"run_failed:{program}:{same}:{ended.date().isoformat()}"
    retried = int(run.tags.get("dagster/retry_number", "0"))
    done = (f"it was to be tried again, and was not within {PATIENCE.seconds // 60} minutes: is the daemon well?"
            if given_up else f"tried again {retried} times, in vain" if retried else "not tried again")
    return Alert(
        cause=cause, kind="run_failed", program=program, season=season, what=failure.reason[:_SHOWN],
        where=f"job {run.job_name}, run {run.run_id[:8]}", how_sure="certain: Dagster recorded the failure",
        done=f"{done}; what was published before stays", link=dagster_run(settings, run.run_id) or None,
        severity="error", time=ended)


def failure_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Failure:
    """Why a run failed."""
    records = instance.get_records_for_run(run.run_id, of_type={
        dg.DagsterEventType.ASSET_CHECK_EVALUATION, dg.DagsterEventType.STEP_FAILURE}).records
    checks = [c for r in records if (c := r.event_log_entry.asset_check_evaluation) is not None]
    by_check = any(not c.passed and c.blocking for c in checks)
    told = [event.step_failure_data.user_failure_data for r in records
            if (event := r.event_log_entry.dagster_event) is not None and event.is_step_failure]
    permanent = bool(told) and told[0] is not None and "transient" in told[0].metadata \
        and not told[0].metadata["transient"].value
    return Failure(failure_reason(instance, run.run_id), permanent, by_check)


def _season(run: dg.DagsterRun) -> tuple[str | None, str | None]:
    program, colon, season = run.tags.get("dagster/partition", "").partition(":")
    return (program, season) if colon else (run.tags.get("program"), None)


def _word(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
