"""The landing sensor: a new season or a changed file starts a run for it; one cause starts one run."""

import json
from typing import Any

import dagster as dg

from genomic_platform.alerts.from_budget import budget_alert
from genomic_platform.alerts.from_sensors import unforeseen
from genomic_platform.costs.budget import BudgetState, budget_state
from genomic_platform.cursors import looks_of
from genomic_platform.defs.order import on_its_way
from genomic_platform.defs.partitions import field_season
from genomic_platform.defs.training.candidates import assets_of
from genomic_platform.errors import GenomicPlatformError, InputError, StoreUnavailable
from genomic_platform.executors.season_queue import PROGRAM_TAG
from genomic_platform.io_managers.versioned import WorkspaceResource
from genomic_platform.landing.files import Landing
from genomic_platform.landing.mirror import bring
from genomic_platform.landing.state import season_states
from genomic_platform.orphans import end_orphans
from genomic_platform.program import RESULT_SECTIONS, Program
from genomic_platform.settings import read_settings
from genomic_platform.stores.assets import RELEASE, AssetStore
from genomic_platform.workspace import Workspace

_SETTINGS = read_settings()
#: What one tick may spend on a programme's mirror, of Dagster's 60 seconds; the next tick goes on.
MIRROR_SECONDS = 20.0


@dg.sensor(name="landing_sensor", job_name=_SETTINGS.season_job, minimum_interval_seconds=_SETTINGS.sensor_seconds,
           default_status=dg.DefaultSensorStatus.RUNNING)
def landing_sensor(context: dg.SensorEvaluationContext, workspace: WorkspaceResource) -> dg.SensorResult:
    """Looks at every programme's landing files; acts when they were the same at two looks in a row.

    Compares landing digests with the published ones, never times. A label that does not fit the calendar starts nothing
    and is said in the tick. A programme whose seasons are being run is looked at afterwards: its files may be what that
    run reads. One whose month has cost its budget starts nothing until there is budget again. The cursor keeps each
    programme's last look and whether it was acted on.
    """
    before = looks_of(context.cursor)
    after, requests, said = {}, [], []
    opened = workspace.open()
    for name in opened.program_folders():
        if not _idle(context, opened, name):
            after[name] = before.get(name, {})
            said.append(f"{name}: its seasons are being run")
            continue
        try:
            program = opened.program(name)
            budget = budget_state(program, opened)
            brought = bring(program, opened, MIRROR_SECONDS).said()
            look, found, message = _look(program, before.get(name, {}), opened, context.instance, budget)
            message = "; ".join(filter(None, (brought, message)))
        except (GenomicPlatformError, OSError) as error:
            waits = isinstance(error, GenomicPlatformError) and error.transient
            look, found, budget = before.get(name, {}) if waits else {}, [], BudgetState()
            message = f"{'waits' if waits else 'refused'}: {error}"
        except Exception as error:  # one programme's must not keep the others from being looked at
            opened.alerts.tell(unforeseen("landing_sensor", name, error))
            look, found, budget, message = {}, [], BudgetState(), repr(error)
        after[name] = look
        requests += found
        said += [f"{name}: {message}"] if message else []
        if alert := budget_alert(name, budget):
            opened.alerts.tell(alert)
            said.append(f"{name}: {budget.message}")
    for message in said:
        context.log.info(message)
    new = [r.partition_key for r in requests if r.partition_key]
    return dg.SensorResult(
        run_requests=requests, cursor=json.dumps(after, sort_keys=True),
        skip_reason=None if requests else dg.SkipReason("; ".join(said) or "landing files are as published"),
        dynamic_partitions_requests=[field_season.build_add_request(new)] if new else [])


def _look(program: Program, before: dict[str, Any], workspace: Workspace,
          instance: dg.DagsterInstance, budget: BudgetState) -> tuple[dict[str, Any], list[dg.RunRequest], str]:
    """One programme: the look to remember, the runs it asks for, and what to say."""
    landing = Landing(program)
    signature = f"{landing.signature()} {program.settings_digest('calendar', *RESULT_SECTIONS)}"
    if signature != before.get("signature"):
        look = {"signature": signature, "acted": False} | ({"stopped": True} if before.get("stopped") else {})
        return look, [], "files are new or changed; waiting for them to rest"
    if budget.state == "stop":
        return before | {"stopped": True}, [], before.get("said", "")
    resumed = f":{budget.month}/{budget.limit}" if before.get("stopped") else ""
    if before.get("acted") and not resumed:
        return before, [], before.get("said", "")
    main = AssetStore(workspace.store, program.name)
    try:
        states = season_states(landing, main)
    except InputError as error:
        said = f"refused: {error}"
        return {"signature": signature, "acted": True, "said": said}, [], said
    odd = [s.season for s in states if not program.calendar.fits(s.season)]
    said = f"labels outside the calendar, repair them or program.toml: {', '.join(odd)}" if odd else ""
    due = [] if odd else [s for s in states if s.state != "published"]
    if waiting := [s.season for s in due if on_its_way(instance, program.season(s.season))]:
        return {"signature": signature, "acted": False}, [], f"season {', '.join(waiting)} is on its way"
    settings = program.settings_digest(*RESULT_SECTIONS)[:12]
    requests = [_request(program, s.season, f"{s.digest}:{settings}{resumed}", main) for s in due]
    after = said or (f"asked for season {', '.join(s.season for s in due)} at an earlier look" if due else "")
    return {"signature": signature, "acted": True, "said": after}, requests, said


def _request(program: Program, label: str, cause: str, main: AssetStore) -> dg.RunRequest:
    """A run of the season for these landing rows and settings in place of its present release.

    The release is part of the key, since a key never fires twice and a file may be put back to what it was. So is, in
    `cause`, the budget that let it go on: a run of the same cause may have been refused while there was none.
    """
    release, season = main.record(RELEASE, label), program.season(label)
    return dg.RunRequest(run_key=f"{season.key}:{cause}:{release.run_id if release else ''}",
                         partition_key=season.key, tags={PROGRAM_TAG: season.program},
                         asset_selection=assets_of(program.file))


def _idle(context: dg.SensorEvaluationContext, workspace: Workspace, program: str) -> bool:
    """Nobody holds the programme's turn; then a run whose process was killed must not hold the queue either."""
    try:
        with workspace.turn(program):
            ended = end_orphans(context.instance, program)
    except StoreUnavailable:
        return False
    for run_id in ended:
        context.log.info(f"{program}: the process of run {run_id} was killed; marked as failed")
    return True
