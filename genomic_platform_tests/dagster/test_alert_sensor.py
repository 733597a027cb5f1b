"""The alert sensor tick by tick on a real instance: what is told, what is not, and that one cause is told once.

Runs are those of small jobs that fail or check as a season's steps do; sensors' ticks are written as the daemon does.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._utils.error import SerializableErrorInfo

from genomic_platform.alerts import watch
from genomic_platform.alerts.alert import Alert
from genomic_platform.alerts.from_runs import PATIENCE
from genomic_platform.definitions import build_definitions
from genomic_platform.defs.failures import as_failure
from genomic_platform.defs.monitoring.alert_sensors import alert_sensor
from genomic_platform.errors import GenomicPlatformError, InputError, Problem, SeasonOrderError, StoreUnavailable
from genomic_platform.executors.season_queue import CONTINUES_TAG
from genomic_platform.io_managers.versioned import resources_of
from genomic_platform.landing.initialise import initialise
from genomic_platform.stores.assets import RELEASE, AssetRecord, AssetStore
from genomic_platform.workspace import Workspace
from genomic_platform_tests.dagster.small import Small
from genomic_platform_tests.support.receivers import Received, listening

URL = "http://dagster.example.org"
BAD_FILE = InputError([Problem("trials_2020.csv", "a number", "'n/a'", "leave it empty", 5, "grain_yield")])
AWAY = StoreUnavailable("lakeFS is away")
#: Tags of a run that nobody is to try again, whatever it says.
FOR_GOOD = {"dagster/max_retries": "0"}


@dataclass
class Watched:
    """A workspace with its instance, looked at tick by tick."""

    workspace: Workspace
    instance: dg.DagsterInstance
    repository: dg.RepositoryDefinition
    cursor: str | None = None
    said: str = ""

    def tick(self) -> list[Alert]:
        """What this tick tells."""
        before = len(self.workspace.alerts.alerts())
        with dg.build_sensor_context(self.instance, cursor=self.cursor, repository_def=self.repository,
                                     resources=resources_of(str(self.workspace.root))) as context:
            result = alert_sensor(context)
        assert isinstance(result, dg.SensorResult)
        assert not result.run_requests
        self.cursor = result.cursor
        self.said = result.skip_reason.skip_message or "" if result.skip_reason else ""
        return self.workspace.alerts.alerts()[before:]

    def remembered(self) -> dict[str, Any]:
        return json.loads(self.cursor or "")

    def later(self, by: timedelta) -> None:
        """Let time pass, as far as the next look knows: what it remembers moves into the past."""
        held, seconds = self.remembered(), by.total_seconds()
        waiting = {run: since - seconds for run, since in held["waiting"].items()}
        self.cursor = json.dumps(held | {"awake": held["awake"] - seconds, "waiting": waiting})

    def run(self, job: dg.JobDefinition, season: str = "2020", tags: Mapping[str, str] | None = None) -> str:
        own = {"dagster/partition": f"small:{season}", "program": "small"}
        return job.execute_in_process(instance=self.instance, raise_on_error=False, tags={**own, **(tags or {})}).run_id


@pytest.fixture(scope="module")
def repository() -> dg.RepositoryDefinition:
    return build_definitions().get_repository_def()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose instance has its tables: making them takes longer than a test."""
    workspace = Workspace(tmp_path_factory.mktemp("empty") / "workspace")
    workspace.prepare()
    with dg.DagsterInstance.from_config(str(workspace.dagster_home)) as instance:
        instance.get_runs(limit=1)
        instance.all_instigator_state()
    return workspace.root


@pytest.fixture
def watched(tmp_path: Path, empty: Path, repository: dg.RepositoryDefinition,
            monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    monkeypatch.setenv("GENOMIC_PLATFORM_DAGSTER_URL", URL)
    workspace = Workspace(shutil.copytree(empty, tmp_path / "workspace"))
    with dg.DagsterInstance.from_config(str(workspace.dagster_home)) as instance:
        yield Watched(workspace, instance, repository)


def failing(error: Exception) -> dg.JobDefinition:
    """A job whose one step fails as a season's step does."""

    @dg.op
    def line_means(context: dg.OpExecutionContext) -> None:
        if isinstance(error, GenomicPlatformError):
            raise as_failure(error, context.instance, context.run) from error
        raise error

    @dg.job(name="train_season")
    def job() -> None:
        line_means()

    return job


def checked(check: str = "no_platform_fault", *, blocking: bool = False, passed: bool = False,
            **numbers: Any) -> dg.JobDefinition:
    """A job of one asset and its check."""

    @dg.asset
    def drift_report() -> int:
        return 1

    @dg.asset_check(asset=drift_report, name=check, blocking=blocking)
    def checking() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=passed, metadata=numbers, severity=dg.AssetCheckSeverity.ERROR
                                   if blocking else dg.AssetCheckSeverity.WARN)

    definitions = dg.Definitions([drift_report], asset_checks=[checking],
                                 jobs=[dg.define_asset_job("train_season")])
    return definitions.resolve_job_def("train_season")


def test_what_was_before_the_first_tick_is_left_alone(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "OVERLAP_S", 0.0)
    watched.run(failing(BAD_FILE))
    assert [watched.tick() for _ in range(3)] == [[], [], []]
    assert watched.said == "nothing to tell"


@pytest.mark.parametrize("cursor", [
    None, "", "garbage", "[]", "7", '{"looked": 1}', '{"looked": null, "awake": 1, "since": 1}',
    '{"looked": 1, "awake": 1, "since": NaN}', '{"looked": 1, "awake": 1, "since": 1e99}',
    '{"looked": 1, "awake": 1, "since": 1, "waiting": []}',
    '{"looked": 1, "awake": 1, "since": 1, "landing": {"a": 1}}',
    '{"looked": 1, "awake": 1, "since": 1, "waiting": {"run": "x"}}'])
def test_a_cursor_that_no_look_left_begins_anew(cursor: str | None) -> None:
    now = datetime(2026, 11, 2, tzinfo=UTC)
    at = now.timestamp()
    assert watch.Memory.of(cursor, now) == watch.Memory(at, at, at - watch.OVERLAP_S)


def test_a_run_that_failed_for_good_is_told_once_with_its_reason_and_link(watched: Watched) -> None:
    watched.tick()
    run = watched.run(failing(BAD_FILE))
    (alert,) = watched.tick()
    assert (alert.kind, alert.severity, alert.program, alert.season) == ("run_failed", "error", "small", "2020")
    assert "trials_2020.csv, line 5: grain_yield is 'n/a'" in alert.what
    assert alert.done.startswith("not tried again")
    assert alert.link == f"{URL}/runs/{run}"
    watched.instance.add_run_tags(run, {"looked_at": "yes"})  # a change of the run shows it to the next tick again
    assert watched.tick() == []
    watched.cursor = None
    assert watched.tick() == []


def test_a_chain_of_retries_is_told_once_by_its_last_run(watched: Watched) -> None:
    """The retries and their marks are written by hand, `will_retry` is Dagster's own."""
    watched.tick()
    told: list[Alert] = []
    before = ""
    for number in range(3):
        tags = ({"dagster/retry_number": str(number)} if number else {}) | (FOR_GOOD if number == 2 else {})
        run = watched.run(failing(AWAY), tags=tags)
        if before:
            watched.instance.add_run_tags(before, {"dagster/auto_retry_run_id": run})
        told += watched.tick()
        before = run
    (alert,) = told
    assert alert.cause == f"run_failed:{before}"
    assert "lakeFS is away" in alert.what
    assert alert.done.startswith("tried again 2 times, in vain")
    assert watched.tick() == []


def test_a_chain_that_succeeds_in_the_end_is_not_told(watched: Watched) -> None:
    watched.tick()
    first = watched.run(failing(AWAY))
    assert watched.tick() == []
    second = watched.run(checked(passed=True), tags={"dagster/retry_number": "1"})
    watched.instance.add_run_tags(first, {"dagster/auto_retry_run_id": second})
    watched.later(timedelta(hours=2))
    assert watched.tick() == []


def test_a_retry_that_never_comes_is_told_but_not_for_a_daemons_sleep(watched: Watched) -> None:
    watched.tick()
    watched.run(failing(AWAY))
    assert watched.tick() == []
    watched.later(PATIENCE + timedelta(minutes=1))
    held = watched.remembered()
    watched.cursor = json.dumps(held | {"looked": held["looked"] - watch.PAUSE_S - 1})
    assert watched.tick() == []
    watched.later(PATIENCE + timedelta(minutes=1))
    (alert,) = watched.tick()
    assert "is the daemon well?" in alert.done


def test_a_run_that_the_command_line_went_on_with_is_not_told(watched: Watched) -> None:
    watched.tick()
    first = watched.run(failing(RuntimeError("decisions changed")), tags=FOR_GOOD)
    watched.run(checked(passed=True), tags={CONTINUES_TAG: first})
    assert watched.tick() == []


def test_seasons_that_wait_for_one_that_failed_are_told_once(watched: Watched) -> None:
    watched.tick()
    watched.run(failing(BAD_FILE), "2020")
    for season in ("2021", "2022"):
        watched.run(failing(SeasonOrderError(f"season {season} needs season 2020 published first")), season)
    assert [a.season for a in watched.tick()] == ["2020", "2021"]


def test_a_failed_blocking_check_is_told_instead_of_its_run(watched: Watched) -> None:
    watched.tick()
    watched.run(checked(blocking=True, decision="platform", suspect_markers=12, p_value=0.00123456), tags=FOR_GOOD)
    (alert,) = watched.tick()
    assert (alert.kind, alert.severity, alert.season) == ("check_failed", "error", "2020")
    assert alert.what == ("check no_platform_fault of drift_report did not pass: decision platform, "
                          "p_value 0.001235, suspect_markers 12")
    assert alert.how_sure == "p_value 0.001235"
    assert "nothing of it is published" in alert.done
    assert (alert.link or "").startswith(f"{URL}/runs/")


def test_a_warning_is_told_once_for_the_same_numbers_of_a_season(watched: Watched) -> None:
    watched.tick()
    watched.run(checked(suspect_markers=12))
    (alert,) = watched.tick()
    assert (alert.severity, alert.how_sure) == ("warning", "certain: the check's condition does not hold")
    assert "succeeded" in alert.done
    watched.run(checked(suspect_markers=12))
    assert watched.tick() == []
    watched.run(checked(suspect_markers=13))
    watched.run(checked(suspect_markers=12), "2021")
    watched.run(checked(suspect_markers=12, passed=True), "2022")
    assert [a.season for a in watched.tick()] == ["2020", "2021"]


def test_more_runs_than_one_look_takes_are_told_by_the_next(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_RUNS", 1)
    watched.tick()
    runs = [watched.run(failing(RuntimeError("bug")), tags=FOR_GOOD) for _ in range(2)]
    assert [len(watched.tick()) for _ in range(3)] == [1, 1, 0]
    assert sorted(a.cause for a in watched.workspace.alerts.alerts()) == sorted(f"run_failed:{run}" for run in runs)


@dataclass
class Ticker:
    """A sensor or schedule as the daemon records it."""

    instance: dg.DagsterInstance
    name: str = "landing_sensor"
    kind: InstigatorType = InstigatorType.SENSOR
    location: str = "here"

    def __post_init__(self) -> None:
        place = ManagedGrpcPythonEnvCodeLocationOrigin(
            LoadableTargetOrigin(module_name="genomic_platform.definitions"), self.location)
        data = SensorInstigatorData(min_interval=30) if self.kind == InstigatorType.SENSOR else \
            ScheduleInstigatorData("0 0 * * 0", start_timestamp=0.0)
        self.state = self.instance.add_instigator_state(InstigatorState(
            RemoteInstigatorOrigin(RemoteRepositoryOrigin(place, "__repository__"), self.name), self.kind,
            InstigatorStatus.RUNNING, data))

    def ticked(self, status: TickStatus, ago: timedelta = timedelta()) -> None:
        error = SerializableErrorInfo("OSError: no space left", [], "OSError") if status == TickStatus.FAILURE else None
        self.instance.create_tick(TickData(
            self.state.instigator_origin_id, self.name, self.kind, status,
            (datetime.now(UTC) - ago).timestamp(), run_ids=[], error=error, selector_id=self.state.selector_id))


@pytest.mark.parametrize(("status", "told"), [
    (InstigatorStatus.RUNNING, {"accuracy_as_promised"}),
    (InstigatorStatus.STOPPED, {"accuracy_as_promised", "same_base"})])
def test_what_the_retraining_sensor_tells_is_not_told_as_a_check_while_it_is_on(
        watched: Watched, status: InstigatorStatus, told: set[str]) -> None:
    watched.tick()
    sensor = Ticker(watched.instance, "retraining_sensor")
    watched.instance.update_instigator_state(sensor.state.with_status(status))
    watched.run(checked("same_base", decision="new_family"))
    watched.run(checked("accuracy_as_promised", **{"grain_yield environment LOC1": "below"}))
    assert {a.what.split()[1] for a in watched.tick()} == told


@pytest.mark.parametrize(("kind", "needed"), [(InstigatorType.SENSOR, 3), (InstigatorType.SCHEDULE, 1)])
def test_failing_ticks_are_told_once_until_they_are_over(watched: Watched, kind: InstigatorType, needed: int) -> None:
    ticker = Ticker(watched.instance, kind=kind)
    ticker.ticked(TickStatus.SKIPPED)
    for _ in range(needed - 1):
        ticker.ticked(TickStatus.FAILURE)
        assert watched.tick() == []
    ticker.ticked(TickStatus.FAILURE)
    ticker.ticked(TickStatus.STARTED)
    (alert,) = watched.tick()
    assert (alert.kind, alert.program, alert.severity) == ("sensor_dead", None, "error")
    assert f"{kind.value.lower()} landing_sensor does not work: its last" in alert.what
    assert "OSError: no space left" in alert.what
    ticker.ticked(TickStatus.FAILURE)
    assert watched.tick() == []
    ticker.ticked(TickStatus.SUCCESS)
    assert watched.tick() == []
    assert watched.remembered()["ill"] == {}


def test_a_silent_sensor_is_told_unless_the_daemon_slept(watched: Watched) -> None:
    Ticker(watched.instance).ticked(TickStatus.SUCCESS, timedelta(hours=3))
    assert watched.tick() == []  # the daemon has just started
    watched.later(timedelta(minutes=14))
    assert watched.tick() == []
    watched.later(timedelta(minutes=2))
    (alert,) = watched.tick()
    assert "landing_sensor does not work: it has not ticked for 16 minutes; expected every 30 s" in alert.what
    assert watched.tick() == []


def test_sensors_that_are_off_unknown_or_of_a_location_of_the_past_are_not_told(watched: Watched) -> None:
    old = timedelta(hours=3)
    off = Ticker(watched.instance, "alert_sensor")
    off.ticked(TickStatus.FAILURE, old)
    watched.instance.update_instigator_state(off.state.with_status(InstigatorStatus.STOPPED))
    Ticker(watched.instance, "gone_sensor").ticked(TickStatus.SUCCESS, old)
    Ticker(watched.instance, location="before").ticked(TickStatus.SUCCESS, old)
    Ticker(watched.instance, location="now").ticked(TickStatus.SUCCESS)
    watched.tick()
    watched.later(timedelta(hours=1))
    assert watched.tick() == []


@pytest.fixture
def harvested(watched: Watched, loose: dict[str, list[Path]], tmp_path: Path) -> Small:
    """A programme of 2019 to 2021, planted in April and harvested in October, whose first two seasons have a release.

    The releases are records alone, all that a reader of what is published looks for.
    """
    small = Small(tmp_path)
    small.workspace = watched.workspace
    watched.workspace.register(initialise(small.folder, loose, name="small").program)
    small.edit_program(r"planting_month = \d+", "planting_month = 4")
    small.edit_program(r"harvest_month = \d+", "harvest_month = 10")
    store = watched.workspace.store
    store.branch("by-hand")
    for season in ("2019", "2020"):
        AssetStore(store, "small", "by-hand").seal(AssetRecord(RELEASE, season, "1", "1", "1", "run"))
    store.commit("by-hand", "releases")
    store.merge("by-hand")
    return small


def on(day: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the calendars be looked at as on this day."""
    real = watch.late_alert
    monkeypatch.setattr(watch, "late_alert", lambda program, workspace, _: real(
        program, workspace, datetime.fromisoformat(f"{day}T00:00:00+00:00")))


def test_a_late_season_is_told_once_and_says_whether_its_records_are_there(
        watched: Watched, harvested: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as early:
        on("2021-12-29", early)
        assert watched.tick() == []
    on("2021-12-30", monkeypatch)
    assert watched.tick() == []  # calendars are looked at once a day
    watched.cursor = None
    (there,) = watched.tick()
    assert "its trial records are there, but it is not published" in there.what
    harvested.trials("2021").unlink()
    watched.cursor = None
    (missing,) = watched.tick()
    assert (missing.kind, missing.program, missing.season) == ("season_late", "small", "2021")
    assert missing.what == ("season 2021's harvest month ended 60 days ago (2021-10-31) and no trial records of it "
                            "are there")
    watched.cursor = None
    assert watched.tick() == []


def test_a_programme_that_cannot_be_read_does_not_hide_the_others(
        watched: Watched, harvested: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = watched.workspace.root / "programs.json"
    listed.write_text(json.dumps({"absent": "nowhere", **json.loads(listed.read_text())}))
    on("2022-01-15", monkeypatch)
    assert [(a.kind, a.program) for a in watched.tick()] == [("season_late", harvested.name)]
    assert [(a.kind, a.program) for a in watched.tick()] == [("landing_refused", "absent")]
    assert watched.tick() == []


def test_refused_files_are_told_once_they_rest_and_again_when_they_are_others(watched: Watched,
                                                                               harvested: Small) -> None:
    good = harvested.trials("2020").read_bytes()
    assert [watched.tick() for _ in range(3)] == [[], [], []]
    harvested.trials("2020").write_bytes(b"half a fi")
    assert watched.tick() == []
    (alert,) = watched.tick()
    assert (alert.kind, alert.program, alert.severity) == ("landing_refused", "small", "error")
    assert "trials_2020.csv" in alert.what
    assert watched.tick() == []
    harvested.trials("2020").write_bytes(b"half a file, longer")
    assert [len(watched.tick()) for _ in range(3)] == [0, 1, 0]
    harvested.trials("2020").write_bytes(good)
    assert [watched.tick() for _ in range(3)] == [[], [], []]
    harvested.edit_program('first = "2019"', 'first = "2020"')
    watched.tick()
    (odd,) = watched.tick()
    assert odd.what == "season 2019: outside the calendar of program.toml"


def test_a_tick_sends_what_is_new_and_survives_a_dead_channel(watched: Watched,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(Received) as server:
        server.status = 500
        monkeypatch.setenv("GENOMIC_PLATFORM_ALERT_WEBHOOK", server.address)
        watched.tick()
        watched.run(failing(BAD_FILE))
        (alert,) = watched.tick()
        assert watched.said == "1 new; 1 sent; webhook: the server answered 500"
        assert [p["cause"] for p in server.posts] == [alert.cause]
        assert watched.tick() == []
        assert len(server.posts) == 1
