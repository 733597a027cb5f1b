"""Candidates' runs told to Weights & Biases as well, when a project is set: MLflow stays the record, this is a copy.

A process of its own does it (`python -m genomic_platform.stores.wandb_mirror`, runs as JSON on its standard input), so
that nothing of the package lives on here, asks a person or holds up a season: what goes wrong, or takes too long, is a
notice. Account and mode are the package's own (WANDB_API_KEY, WANDB_MODE). Reference: docs.wandb.ai, Python SDK.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from genomic_platform.errors import GenomicPlatformError, Notice, counted
from genomic_platform.settings import mirror_environment
from genomic_platform.stores.mlflow_runs import told
from genomic_platform.workspace import Workspace

if TYPE_CHECKING:
    import wandb

FOLDER = "wandb"  # of the workspace; the package makes it
#: Kind of metric (the key's first part) → what its steps count.
AXES = {"cv1": "fold", "forward": "season", "system": "sample"}
_INIT_SECONDS, _FINISH_SECONDS, _SECONDS = 30, 60, 240


def mirror(workspace: Workspace, program: str, run_ids: Sequence[str]) -> list[Notice]:
    """Tell Weights & Biases of these MLflow runs of a programme; a notice when that failed, never an error.

    One run there for each, with the same id, in the group of the programme: scores it has are not sent again.
    """
    project = workspace.settings.wandb_project
    if not project or not run_ids:
        return []
    if importlib.util.find_spec("wandb") is None:
        return [_failed(project, "the package wandb is not installed; repair: pip install 'genomic-platform[wandb]'")]
    try:
        runs = [told(workspace.registry.read_candidate(run_id)) for run_id in dict.fromkeys(run_ids)]
    except GenomicPlatformError as error:
        return [_failed(project, str(error))]
    job = {"project": project, "program": program, "folder": str(workspace.root), "runs": runs}
    said = _run([sys.executable, "-m", __spec__.name], json.dumps(job), mirror_environment(workspace.root / FOLDER))
    return [_failed(project, f"{said}; repair: genomic-platform run DIR --force, once it works, sends "
                             f"{counted(len(runs), 'run')} again")] if said else []


def _failed(project: str, why: str) -> Notice:
    return Notice("wandb_mirror", f"Weights & Biases, project {project}: runs not mirrored: {why}")


def _run(command: list[str], told: str, environment: Mapping[str, str]) -> str:
    """What went wrong, "" for nothing. The process and all that it started are gone afterwards."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          env=dict(environment), start_new_session=True) as process:
        try:
            _, words = process.communicate(told, timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            words = f"no end after {_SECONDS} s"
        finally:
            with suppress(ProcessLookupError):  # its group: the service that the package starts, if it still runs
                os.killpg(process.pid, signal.SIGKILL)
    return "" if process.returncode == 0 else (words.splitlines() or [f"exit code {process.returncode}"])[-1]


def send(job: Mapping[str, Any]) -> None:
    """Send the runs of a job, in the process that was started for it."""
    import wandb

    settings = wandb.Settings(
        console="off", silent=True, disable_git=True, disable_code=True, save_code=False, x_disable_meta=True,
        x_disable_stats=True, x_disable_machine_info=True, x_save_requirements=False, init_timeout=_INIT_SECONDS,
        finish_timeout=_FINISH_SECONDS, finish_timeout_raises=True)
    for run in job["runs"]:
        own = {name: value for name, value in run["tags"].items() if not name.startswith("mlflow.")}
        with wandb.init(project=job["project"], dir=job["folder"], id=run["id"], name=run["name"], resume="allow",
                        group=job["program"], job_type=run["params"].get("recipe"),
                        notes=run["tags"].get("mlflow.note.content"), config={**run["params"], **own},
                        allow_val_change=True, settings=settings) as there:
            _log(there, run["points"])
            there.log({name: wandb.Html(page, inject=False) for name, page in run["pages"].items()})
    wandb.teardown()


def _log(there: wandb.Run, points: Iterable[tuple[str, float, int]]) -> None:
    """Metrics of one step become the run's summary, the others its history, by what their steps count."""
    last = {key: value for key, value, _ in points}
    news = [(key, value, step) for key, value, step in points if there.summary.get(key) != last[key]]
    there.summary.update({key: value for key, value, _ in news if key.split("/")[0] not in AXES})
    rows: dict[tuple[str, int], dict[str, float]] = {}
    for key, value, step in news:
        if axis := AXES.get(key.split("/")[0]):
            there.define_metric(key, step_metric=axis)
            rows.setdefault((axis, step), {})[key] = value
    for (axis, step), row in sorted(rows.items()):
        there.log({axis: step, **row})


def main() -> None:
    import wandb

    try:
        send(json.load(sys.stdin))
    except (wandb.Error, TimeoutError) as error:
        sys.exit(str(error).partition("\n")[0])


if __name__ == "__main__":
    main()
