"""The real Dagster web server and daemon on a workspace, on free ports, and what a browser would ask of them."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from genomic_platform.settings import PREFIX, Settings, child_environment
from genomic_platform.ui import commands
from genomic_platform.workspace import Workspace

REPOSITORY = {"repositoryLocationName": "genomic_platform.definitions", "repositoryName": "__repository__"}
_RUNS = """query($filter: RunsFilter) { runsOrError(filter: $filter) { ... on Runs { results {
  runId status startTime endTime parentRunId tags { key value } } } } }"""
_LAUNCH = """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
_BACKFILL = """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
  ... on PartitionBackfill { status error { message } } } }"""
_CANCEL = """mutation($id: String!) { cancelPartitionBackfill(backfillId: $id) {
  __typename ... on PythonError { message } } }"""
_AGAIN = """mutation($id: String!) {
  reexecutePartitionBackfill(reexecutionParams: {parentRunId: $id, strategy: FROM_FAILURE}) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
_EXECUTE = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
_ADD = """mutation($repository: RepositorySelector!, $key: String!) {
  addDynamicPartition(repositorySelector: $repository, partitionsDefName: "field_season", partitionKey: $key) {
  __typename } }"""
_SENSOR = """mutation($selector: SensorSelector!) { %s(sensorSelector: $selector) { __typename } }"""
_STOP = """mutation($id: String!) { stopSensor(id: $id) { __typename } }"""
_LAST_TICK = """query($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) {
  ... on Sensor { sensorState { ticks(limit: 1) { status } } } } }"""
_SENSOR_ID = """query($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) {
  ... on Sensor { id sensorState { id } } } }"""


#: The daemon, `python -m dagster._daemon`, with its backfills and retries looked at every three seconds and not every
#: thirty, which nothing sets: a test would spend its time waiting.
_OFTEN = """import dagster._daemon.controller as controller
controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 3
from dagster._daemon.cli import main
main()"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Served:
    """A workspace with its web server and daemon running."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.address = f"http://{workspace.settings.host}:{workspace.settings.dagster_port}"

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.address}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        return next(iter(answer["data"].values()))

    def runs(self, **tags: str) -> list[dict[str, Any]]:
        """Runs with these tags, oldest first, each with its tags as a mapping."""
        wanted = {"tags": [{"key": k.replace("__", "/"), "value": v} for k, v in tags.items()]}
        found = self.ask(_RUNS, filter=wanted)["results"]
        return [{**run, "tags": {t["key"]: t["value"] for t in run["tags"]}} for run in reversed(found)]

    def add_partitions(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.ask(_ADD, repository=REPOSITORY, key=key)

    def backfill(self, assets: Sequence[str], keys: Sequence[str], tags: Mapping[str, str] | None = None) -> str:
        """Start a backfill as the asset graph's button does; gives its id."""
        answer = self.ask(_LAUNCH, params={
            "assetSelection": [{"path": [a]} for a in assets], "partitionNames": list(keys),
            "tags": [{"key": k, "value": v} for k, v in (tags or {}).items()]})
        assert answer["__typename"] == "LaunchBackfillSuccess", answer
        return answer["backfillId"]

    def backfill_status(self, backfill: str) -> str:
        return self.ask(_BACKFILL, id=backfill)["status"]

    def cancel(self, backfill: str) -> None:
        answer = self.ask(_CANCEL, id=backfill)
        assert answer["__typename"] == "CancelBackfillSuccess", answer

    def again(self, backfill: str) -> str:
        """Re-execute an ended backfill from failure, as its page's button does; gives the new one's id."""
        answer = self.ask(_AGAIN, id=backfill)
        assert answer["__typename"] == "LaunchBackfillSuccess", answer
        return answer["backfillId"]

    def start(self, name: str) -> None:
        """Start the process `webserver` or `daemon` of the workspace."""
        root = self.workspace.root
        environment = child_environment(root) | {PREFIX + "SENSOR_SECONDS": str(self.workspace.settings.sensor_seconds),
                                                   "PYTHONUNBUFFERED": "1"}
        command = commands(self.workspace)[name]
        if name == "daemon":
            command = [command[0], "-c", _OFTEN, *command[3:]]
        with (root / "logs" / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)

    def kill_daemon(self) -> None:
        """Kill the daemon and all it started, the process of a run too, as a machine that goes down does."""
        daemon = psutil.Process(self.processes["daemon"].pid)
        for process in [daemon, *daemon.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.processes["daemon"].wait()

    def launch(self, key: str) -> str:
        """Start one season of the job as the launchpad does, with nothing but its partition; gives the run's id."""
        answer = self.ask(_EXECUTE, params={
            "selector": {**REPOSITORY, "jobName": "train_season"}, "mode": "default",
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": key}]}})
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return answer["run"]["runId"]

    def sensor(self, *, running: bool) -> None:
        selector = {**REPOSITORY, "sensorName": "landing_sensor"}
        if running:
            answer = self.ask(_SENSOR % "startSensor", selector=selector)
        else:
            answer = self.ask(_STOP, id=self.ask(_SENSOR_ID, selector=selector)["sensorState"]["id"])
        assert "Error" not in answer["__typename"], answer
        if not running:  # a tick that has begun still starts what it finds
            self.until(lambda: all(tick["status"] != "STARTED" for tick in self.ask(_LAST_TICK, selector=selector)[
                "sensorState"]["ticks"]), 120, "the sensor's last tick has ended")

    def until(self, happened: Callable[[], Any], seconds: float, what: str) -> Any:
        """Wait until something is true; gives it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := happened():
                return found
            time.sleep(0.2)
        logs = "\n".join(f"{p.name}: {p.read_text(errors='replace')[-3000:]}"
                         for p in (self.workspace.root / "logs").iterdir())
        raise AssertionError(f"{what}: not within {seconds:g} s\n{logs}")


@contextmanager
def serving(root: Path, sensor_seconds: int = 2) -> Iterator[Served]:
    """Web server and daemon on the workspace at `root`, its sensors looking so often."""
    workspace = Workspace(root, Settings(workspace=str(root), dagster_port=free_port(), sensor_seconds=sensor_seconds))
    workspace.prepare()
    (root / "logs").mkdir(exist_ok=True)
    served = Served(workspace)
    for name in ("webserver", "daemon"):
        served.start(name)
    try:
        served.until(lambda: _answers(f"{served.address}/server_info"), 120, "the web server answers")
        selector = {**REPOSITORY, "sensorName": "landing_sensor"}
        served.until(lambda: "sensorState" in served.ask(_SENSOR_ID, selector=selector), 120, "definitions are loaded")
        yield served
    finally:
        for process in served.processes.values():
            process.terminate()
        for process in served.processes.values():
            process.wait(timeout=60)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False
