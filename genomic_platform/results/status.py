"""What a programme has, what is stale, what failed and why."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from genomic_platform.costs.budget import BudgetState, budget_state
from genomic_platform.errors import GenomicPlatformError, InputError, Notice, ProgramError
from genomic_platform.landing.checkup import inspect_program
from genomic_platform.landing.files import KINDS, Landing
from genomic_platform.landing.mirror import bring
from genomic_platform.landing.state import SeasonState, season_states
from genomic_platform.program import Program
from genomic_platform.runs import failure_reason, settings_changed
from genomic_platform.stores.assets import RELEASE, AssetStore
from genomic_platform.stores.decisions import pinned, standing
from genomic_platform.workspace import Workspace


@dataclass(frozen=True)
class SeasonStatus:
    """One season: its state, its release and, when its last run failed, why."""

    season: str
    state: str
    commit: str = ""
    code_version: str = ""
    run_id: str = ""
    last_run: str = ""
    failure: str = ""


@dataclass
class Status:
    """The programme as a whole."""

    program: str
    folder: str
    workspace: str
    files: dict[str, list[str]]
    seasons: list[SeasonStatus] = field(default_factory=list)
    refusal: str = ""
    waiting: dict[str, str] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    budget: BudgetState = field(default_factory=BudgetState)


def status(program: Program, workspace: Workspace) -> Status:
    """Gather a programme's status; broken landing files are part of the answer, not an error."""
    mirrored = _mirrored(program, workspace)
    landing, main = Landing(program), AssetStore(workspace.store, program.name)
    found = Status(program.name, str(program.folder), str(workspace.root),
                   {kind: [p.name for p in landing.files(kind)] for kind in KINDS}, notices=mirrored)
    try:
        inspection = inspect_program(program)
        found.notices += inspection.notices
        inspection.require_sound()
    except InputError as error:
        found.refusal = str(error)
    try:
        states = season_states(landing, main)
    except InputError:
        states = [SeasonState(s, "", "published") for s in main.published()]
    runs = _last_runs(workspace, program)
    commits = main.releases()
    for state in states:
        release = main.record(RELEASE, state.season)
        run_state, run_id, failure = runs.get(state.season, ("", "", ""))
        found.seasons.append(SeasonStatus(
            state.season, state.state, commits[state.season][-1] if release else "",
            release.code_version if release else "", release.run_id if release else run_id, run_state, failure))
    found.waiting = _waiting(main)
    found.changed = settings_changed(program, workspace)
    found.notices += published_notices(main)
    try:
        found.budget = budget_state(program, workspace)
    except ProgramError as error:
        found.budget = BudgetState(message=str(error))
    return found


def _mirrored(program: Program, workspace: Workspace) -> list[Notice]:
    """Look at the mirror; what it brought, or why it could not be looked at."""
    try:
        said = bring(program, workspace).said()
    except GenomicPlatformError as error:
        said = str(error)
    return [Notice("mirror", said)] if said else []


def _waiting(main: AssetStore) -> dict[str, str]:
    """Traits that wait for a person: pinned by a rollback, or with a model to approve."""
    said = {trait: f"pinned, {why}" for trait, why in pinned(main).items()}
    for row in standing(main).iter_rows(named=True):
        if row["proposed"]:
            proposal = f"{row['proposed']} fitted through {row['season']} waits for `approve` or `reject`"
            said[row["trait"]] = "; ".join(filter(None, (said.get(row["trait"]), proposal)))
    return dict(sorted(said.items()))


def published_notices(main: AssetStore) -> list[Notice]:
    """What the published seasons' steps accepted, beyond what an inspection of the landing files says; each once.

    As the last season says it; what only an earlier season said begins with that season.
    """
    said: dict[tuple[str, str], Notice] = {}
    seasons = main.published()
    for season in reversed(seasons):
        for record in main.records(season).values():
            inspected = any(name.startswith("landing/") for name in record.inputs)
            for kept in record.extra.get("notices", []):
                if inspected and not kept["code"].startswith("weather_"):
                    continue  # windows of weather are made in the run alone
                notice = Notice(**{**kept, "examples": tuple(kept["examples"])})
                own = notice if season == seasons[-1] else replace(notice, message=f"season {season}: {notice.message}")
                said.setdefault((notice.code, notice.message), own)
    return list(said.values())


def _last_runs(workspace: Workspace, program: Program) -> dict[str, tuple[str, str, str]]:
    """Season → (state, run id, why it failed) of its latest run."""
    if not (workspace.dagster_home / "dagster.yaml").is_file():
        return {}
    import dagster as dg

    found: dict[str, tuple[str, str, str]] = {}
    with dg.DagsterInstance.from_config(str(workspace.dagster_home)) as instance:
        for run in instance.get_runs(limit=500):
            key = run.tags.get("dagster/partition", "")
            name, _, season = key.partition(":")
            if name != program.name or season in found:
                continue
            failed = run.status == dg.DagsterRunStatus.FAILURE
            reason = failure_reason(instance, run.run_id) if failed else ""
            found[season] = (run.status.value.lower(), run.run_id, reason)
    return found
