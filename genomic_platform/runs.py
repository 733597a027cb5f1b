"""Running seasons from the command line: the Dagster job that the UI starts, in this process, recorded all the same."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from genomic_platform.errors import DecisionsChanged, NotAvailable, PredecessorRunning, StoreUnavailable
from genomic_platform.landing.files import Landing
from genomic_platform.landing.state import season_states
from genomic_platform.program import RESULT_SECTIONS, FieldSeason, Program
from genomic_platform.stores.assets import RELEASE, AssetStore
from genomic_platform.version import code_version
from genomic_platform.workspace import Workspace

if TYPE_CHECKING:
    import dagster as dg

LOCATION_TAG = (".dagster/repository", "__repository__@genomic_platform.definitions")

Progress = Callable[[str, str, float], None]
"""Called with (season, step, seconds since the season began)."""


@dataclass(frozen=True)
class SeasonRun:
    """One season's run: its id, whether it was published, and if not, why."""

    season: str
    run_id: str
    published: bool
    seconds: float
    reason: str = ""
    decisions_changed: bool = False


def stale_seasons(program: Program, workspace: Workspace, chosen: Sequence[str] | None = None,
                  force: bool = False, replay: bool = False) -> list[str]:
    """Seasons to run, in calendar order: new or changed ones; with `replay` those published by another program.toml
    or other code too, with `force` all; `chosen` narrows either.

    Raises
    ------
    NotAvailable
        A chosen season has no trial records.
    """
    main = AssetStore(workspace.store, program.name)
    states = season_states(Landing(program), main)
    settings = program.settings_digest(*RESULT_SECTIONS)
    before = {label for label in main.published() if replay and (found := main.record(RELEASE, label)) is not None
              and (found.extra["settings"] != settings or found.code_version != code_version())}
    if unknown := sorted(set(chosen or ()) - {s.season for s in states}):
        raise NotAvailable(f"no trial records of season {', '.join(unknown)}; found "
                           f"{', '.join(s.season for s in states)}")
    return [s.season for s in states if (force or s.state != "published" or s.season in before)
            and (not chosen or s.season in chosen)]


def settings_changed(program: Program, workspace: Workspace) -> list[str]:
    """What differs from the last release beside the data: program.toml or the code. Never starts a run by itself."""
    main = AssetStore(workspace.store, program.name)
    releases = [r for s in main.published() if (r := main.record(RELEASE, s)) is not None]
    settings, code = program.settings_digest(*RESULT_SECTIONS), code_version()
    said = []
    if releases and not workspace.settings.mlflow_uri and not (workspace.root / "mlflow" / "mlflow.db").is_file():
        said.append("the model registry (folder mlflow of the workspace) is missing")
    if before := [r.season for r in releases if r.extra["settings"] != settings]:
        said.append(f"program.toml has changed since {_seasons(before)} published")
    if before := [r for r in releases if r.code_version != code]:
        versions = ", ".join(dict.fromkeys(r.code_version for r in before))
        said.append(f"{_seasons([r.season for r in before])} published by code {versions}, this is {code}")
    return said


def _seasons(labels: Sequence[str]) -> str:
    return f"season {labels[0]} was" if len(labels) == 1 else f"seasons {', '.join(labels)} were"


def run_seasons(program: Program, workspace: Workspace, seasons: Sequence[str], *, force: bool = False,
                continues: str | None = None, cause: str = "", over_budget: bool = False,
                progress: Progress = lambda season, step, seconds: None) -> list[SeasonRun]:
    """Run seasons in order, stopping after the first that is not published.

    Parameters
    ----------
    force : compute every step anew. continues : id of an unpublished run of the (only) season, whose branch goes on.
    cause : why the run is started beside new data; kept with the release, and may call challengers.
    over_budget : train although the month's budget is spent; who acts goes to the audit log.

    Raises
    ------
    PredecessorRunning
        Another run of the programme is in progress.
    ProgramError
        A candidate cannot be loaded.
    OverBudget
        The month has cost the programme's budget.
    """
    import dagster as dg

    from genomic_platform.costs.budget import budget_state
    from genomic_platform.definitions import build_definitions
    from genomic_platform.defs.budget import OVER_BUDGET_TAG
    from genomic_platform.defs.partitions import field_season
    from genomic_platform.defs.training.candidates import assets_of
    from genomic_platform.io_managers.versioned import resources_of
    from genomic_platform.models.recipes import load_recipe

    for recipe in program.file.recipes:
        load_recipe(recipe)
    if not over_budget and not continues:
        budget_state(program, workspace).require()
    own = {OVER_BUDGET_TAG: workspace.settings.who} if over_budget else {}
    outcomes: list[SeasonRun] = []
    with (dg.DagsterInstance.from_config(str(workspace.dagster_home)) as instance,
          _alone(instance, workspace, program.name)):
        keys = [program.season(s) for s in seasons]
        instance.add_dynamic_partitions(field_season.name or "", [k.key for k in keys])
        reporter = _Reporter(progress)
        definitions = build_definitions(resources_of(str(workspace.root)), {"console": reporter.logger()})
        job = definitions.resolve_job_def("train_season")
        chosen = assets_of(program.file)
        for key in keys:
            tags = own | _tags(instance, key, force=force, continues=continues, cause=cause)
            outcomes.append(_run(job, chosen, instance, key, reporter, tags))
            if outcomes[-1].decisions_changed:
                tags = own | _tags(instance, key, continues=continues or outcomes[-1].run_id, cause=cause)
                outcomes[-1] = _run(job, chosen, instance, key, reporter, tags)
            if not outcomes[-1].published:
                break
    return outcomes


@contextmanager
def _alone(instance: dg.DagsterInstance, workspace: Workspace, program: str) -> Iterator[None]:
    """Hold the programme for this command line; refuse while a run of it goes on or is about to."""
    from genomic_platform.orphans import end_orphans, living_runs

    try:
        with workspace.turn(program):
            end_orphans(instance, program)
            if living := living_runs(instance, program):
                raise PredecessorRunning(_in_progress(program, living))
            yield
    except StoreUnavailable as error:
        raise PredecessorRunning(_in_progress(program, living_runs(instance, program))) from error


def _in_progress(program: str, runs: Sequence[dg.DagsterRun]) -> str:
    if not runs:
        return f"another command line runs seasons of {program}; wait for it to end"
    season = FieldSeason.from_key(runs[0].tags["dagster/partition"]).season
    return (f"run {runs[0].run_id[:8]} of {program} season {season} ({runs[0].status.value.lower()}) is in progress; "
            "wait for it, or cancel it in the Dagster UI")


def _tags(instance: dg.DagsterInstance, key: FieldSeason, *, force: bool = False, continues: str | None = None,
          cause: str = "") -> dict[str, str]:
    """Tags of a run of the season. A run that continues another has its cause."""
    from genomic_platform.defs.season_asset import FORCE_TAG
    from genomic_platform.executors.season_queue import CONTINUES_TAG
    from genomic_platform.io_managers.versioned import PID_TAG
    from genomic_platform.retraining.challengers import CAUSE_TAG, RETRAINING_TAG

    begun = instance.get_run_by_id(continues) if continues else None
    cause = cause or (begun.tags.get(CAUSE_TAG, "") if begun else "")
    return {"program": key.program, PID_TAG: str(os.getpid()), "dagster/max_retries": "0",
            LOCATION_TAG[0]: LOCATION_TAG[1]} | ({FORCE_TAG: "true"} if force else {}) | (
        {CONTINUES_TAG: continues} if continues else {}) | (
        {CAUSE_TAG: cause, RETRAINING_TAG: "true"} if cause else {})


def _run(job: dg.JobDefinition, chosen: Sequence[dg.AssetKey], instance: dg.DagsterInstance, key: FieldSeason,
         reporter: _Reporter, tags: Mapping[str, str]) -> SeasonRun:
    reporter.start(key.season)
    result = job.execute_in_process(instance=instance, partition_key=key.key, raise_on_error=False, tags=dict(tags),
                                    asset_selection=chosen, run_config={"loggers": {"console": {}}})
    errors = {str(e.step_failure_data.user_failure_data.metadata["error"].value) for e in result.all_events
              if e.is_step_failure and e.step_failure_data.user_failure_data
              and "error" in e.step_failure_data.user_failure_data.metadata}
    return SeasonRun(key.season, result.run_id, result.success, reporter.elapsed(),
                     "" if result.success else failure_reason(instance, result.run_id),
                     DecisionsChanged.__name__ in errors)


def failure_reason(instance: dg.DagsterInstance, run_id: str) -> str:
    """Why a run failed, in the words of its first failed step or blocking check."""
    import dagster as dg

    for record in instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION).records:
        evaluation = record.event_log_entry.asset_check_evaluation
        if evaluation and not evaluation.passed and evaluation.blocking:
            shown = ", ".join(f"{k} {v.value}" for k, v in evaluation.metadata.items())
            return f"check {evaluation.check_name} of {evaluation.asset_key.to_user_string()} failed: {shown}"
    for record in instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records:
        event = record.event_log_entry.dagster_event
        data = event.step_failure_data if event else None
        if event is not None and data is not None:
            told = data.user_failure_data.description if data.user_failure_data else None
            error = data.error.cause or data.error if data.error else None
            return f"step {event.step_key}: {told or (error.message.strip() if error else 'failed')}"
    for record in instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.RUN_FAILURE).records:
        if said := record.event_log_entry.message:  # such as that its process was killed
            return f"the run ended before any step failed: {said}"
    return "the run ended before any step failed; see its log"


class _Reporter:
    """Turns the job's log records into progress, and keeps Dagster's own console quiet."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.season, self.began = progress, "", time.monotonic()

    def start(self, season: str) -> None:
        self.season, self.began = season, time.monotonic()

    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def logger(self) -> dg.LoggerDefinition:
        import dagster as dg

        reporter = self

        class Handler(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                event = getattr(record, "dagster_meta", {}).get("dagster_event")
                if event is not None and event.event_type_value == "STEP_START":
                    reporter.progress(reporter.season, event.step_key, reporter.elapsed())

        def make(_: dg.InitLoggerContext) -> logging.Logger:
            logger = logging.Logger("genomic_platform.progress", level=logging.DEBUG)
            logger.addHandler(Handler())
            return logger

        return dg.LoggerDefinition(make)


