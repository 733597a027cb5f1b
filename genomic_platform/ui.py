"""Serving the web pages of a workspace: Dagster's server and daemon, MLflow's, Evidently's; until interrupted."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from genomic_platform.errors import ProgramError
from genomic_platform.settings import child_environment
from genomic_platform.stores.evidently_projects import FOLDER, installed
from genomic_platform.workspace import Workspace

_START_SECONDS = 120


def serve(workspace: Workspace, say: Callable[[str], None]) -> None:
    """Start the processes, say their addresses once they answer, and stop all when one ends.

    Raises
    ------
    ProgramError
        A port is taken, or a process ends while starting; its log is named.
    """
    settings = workspace.settings
    pages = {"Dagster": (settings.dagster_port, "/server_info")}
    if not settings.mlflow_uri:
        pages["MLflow"] = (settings.mlflow_port, "/health")
    if installed():
        pages["Evidently"] = (settings.evidently_port, "/api/version")
    for name, (port, _) in pages.items():
        with socket.socket() as probe:
            if probe.connect_ex((settings.host, port)) == 0:
                raise ProgramError(f"port {port} for {name} is taken; repair: set {name.lower()}_port in "
                                   f"genomic_platform.toml or GENOMIC_PLATFORM_{name.upper()}_PORT")
    workspace.prepare()
    (workspace.root / "mlflow").mkdir(exist_ok=True)
    logs = workspace.root / "logs"
    logs.mkdir(exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # as by Ctrl-C: nothing is left running
    running = [_start(name, command, workspace, logs) for name, command in commands(workspace).items()]
    try:
        for name, (port, path) in pages.items():
            _wait(f"http://{settings.host}:{port}{path}", running, logs)
            say(f"{name:9} http://{settings.host}:{port}")
        say(f"logs      {logs}\nstop with Ctrl-C")
        while all(process.poll() is None for process in running):
            time.sleep(1)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(timeout=30)


def commands(workspace: Workspace) -> dict[str, list[str]]:
    """The command line of each process by name; of MLflow's unless a server is set, of Evidently's if installed."""
    settings, python = workspace.settings, sys.executable
    location = ["-m", "genomic_platform.definitions"]
    mlflow = {"mlflow": [
        python, "-m", "mlflow", "server", "--backend-store-uri", workspace.mlflow_uri, "--default-artifact-root",
        str(workspace.root / "mlflow" / "artifacts"), "--host", settings.host, "--port", str(settings.mlflow_port),
        "--workers", "1"]}
    evidently = {"evidently": [
        python, "-m", "evidently.cli", "ui", "--workspace", str(workspace.root / FOLDER), "--host", settings.host,
        "--port", str(settings.evidently_port)]}
    return {
        "webserver": [python, "-m", "dagster_webserver", *location, "-h", settings.host, "-p",
                      str(settings.dagster_port)],
        "daemon": [python, "-m", "dagster._daemon", "run", *location],
        **({} if settings.mlflow_uri else mlflow),
        **(evidently if installed() else {}),
    }


def _start(name: str, command: list[str], workspace: Workspace, logs: Path) -> subprocess.Popen[bytes]:
    environment = child_environment(workspace.root) | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true",
        "GIT_PYTHON_REFRESH": "quiet", "PYTHONUNBUFFERED": "1", "DO_NOT_TRACK": "1"}  # the last: Evidently
    with (logs / f"{name}.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)


def _wait(address: str, running: list[subprocess.Popen[bytes]], logs: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if ended := [p for p in running if p.poll() is not None]:
            raise ProgramError(f"{' '.join(map(str, ended[0].args[:4]))} ended while starting; see {logs}")  # type: ignore[index]
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(.5)
    raise ProgramError(f"{address} does not answer after {_START_SECONDS} s; see {logs}")
