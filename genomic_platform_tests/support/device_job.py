"""Jobs of small steps on the CUDA executor, run by real workers on cards that a stand-in for nvidia-smi lists.

Steps write what they saw to a file, and wait for or kill themselves as a test wants it.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
from dagster._core.instance import DagsterInstance
from dagster._grpc.types import ExecuteRunArgs, ResumeRunArgs

from genomic_platform.defs.failures import as_failure, as_preemption
from genomic_platform.errors import OutOfDeviceMemory
from genomic_platform.executors.cuda import cuda_executor
from genomic_platform.executors.leases import DeviceRequest, LeaseBook
from genomic_platform.models.checkpoint import Checkpoint
from genomic_platform.models.device_memory import with_smaller_batch
from genomic_platform.settings import PREFIX
from genomic_platform_tests.support.killed_training import train_numpy

FOLDER = "DEVICE_JOB_FOLDER"
ONE, ALL = DeviceRequest(1, 4096).tags(), DeviceRequest(3).tags()
POOL = "one_at_a_time"


def _folder() -> Path:
    return Path(os.environ[FOLDER])


def _seen(context: dg.OpExecutionContext, **more: object) -> None:
    line = {"run": context.run_id, "step": context.op.name, "pid": os.getpid(), "time": time.time(),
            "devices": os.environ["CUDA_VISIBLE_DEVICES"], "device": os.environ[PREFIX + "DEVICE"], **more}
    with (_folder() / "seen.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def _works(context: dg.OpExecutionContext) -> None:
    _seen(context, what="start")
    time.sleep(0.7)
    _seen(context, what="end")


@dg.op(tags=ONE)
def first_on_gpu(context: dg.OpExecutionContext) -> None:
    _works(context)


@dg.op(tags=ONE)
def second_on_gpu(context: dg.OpExecutionContext) -> None:
    _works(context)


@dg.op(pool=POOL)
def in_pool(context: dg.OpExecutionContext) -> None:
    _works(context)


@dg.op(tags=ONE)
def until_told(context: dg.OpExecutionContext) -> None:
    _seen(context, what="start")
    while not (_folder() / "go").exists():
        time.sleep(0.05)
    _seen(context, what="end")


@dg.op
def killed_once(context: dg.OpExecutionContext) -> None:
    _seen(context, what="start")
    if context.retry_number == 0:
        os.kill(os.getpid(), signal.SIGKILL)


@dg.op
def killed_always(context: dg.OpExecutionContext) -> None:
    _seen(context, what="start")
    os.kill(os.getpid(), signal.SIGKILL)


@dg.op
def crashes(context: dg.OpExecutionContext) -> None:
    _seen(context, what="start")
    os.kill(os.getpid(), signal.SIGSEGV)


@dg.op(tags=ONE)
def too_large(context: dg.OpExecutionContext) -> None:
    def work(batch: int) -> None:
        _seen(context, what=f"batch {batch}")
        bytearray(1 << 60)

    try:
        with_smaller_batch(work, 64)
    except OutOfDeviceMemory as error:
        raise as_failure(error, context.instance, context.run) from error


@dg.op(tags=ONE)
def trains(context: dg.OpExecutionContext) -> None:
    """As an asset of a season does it."""
    def said(step: int) -> None:
        _seen(context, what=step)
        time.sleep(0.05)

    try:
        with Checkpoint(_folder() / "checkpoint") as checkpoint:
            np.save(_folder() / "trained.npy", train_numpy(checkpoint, said))
    except dg.DagsterExecutionInterruptedError as error:
        raise as_preemption(error, 3) from error


@dg.op(tags=ALL)
def wants_three(context: dg.OpExecutionContext) -> None:
    _seen(context, what="start")


@dg.job(executor_def=cuda_executor)
def sharing() -> None:
    first_on_gpu()
    second_on_gpu()
    in_pool()


@dg.job(executor_def=cuda_executor)
def faults() -> None:
    killed_once()
    killed_always()
    crashes()
    too_large()
    wants_three()


@dg.job(executor_def=cuda_executor)
def long() -> None:
    until_told()


@dg.job(executor_def=cuda_executor)
def training() -> None:
    trains()


@dg.job(executor_def=cuda_executor)
def missing() -> None:
    wants_three()


@dataclass
class Machine:
    """A folder with a Dagster instance, made-up cards, and the workers started on it."""

    folder: Path
    instance: DagsterInstance
    settings: dict[str, str] = field(default_factory=dict)
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def book(self) -> LeaseBook:
        return LeaseBook(self.folder / "leases")

    def set_cards(self, uuids: Sequence[str]) -> None:
        """Let nvidia-smi list these cards of 16 GiB, a quarter in use."""
        rows = "".join(f"{i}, {uuid}, Made-up card, 16384, 4096, 50\n" for i, uuid in enumerate(uuids))
        program = self.folder / "nvidia-smi"
        temporary = program.with_suffix(".new")
        temporary.write_text(f"#!/bin/sh\ncat <<'END'\n{rows}END\n")
        temporary.chmod(0o755)
        temporary.replace(program)

    def environment(self) -> dict[str, str]:
        own = {"NVIDIA_SMI": self.folder / "nvidia-smi", "LEASE_FOLDER": self.folder / "leases",
               "WORKSPACE": self.folder / "workspace", "PREEMPTION_RETRIES": 1, **self.settings}
        return {**os.environ, FOLDER: str(self.folder), **{PREFIX + k: str(v) for k, v in own.items()}}

    def create(self, job: dg.JobDefinition, **config: Any) -> str:
        code = dg.reconstructable(job)  # type: ignore[arg-type]
        run = self.instance.create_run_for_job(
            code.get_definition(), run_config={"execution": {"config": config}},
            job_code_origin=code.get_python_origin())
        return run.run_id

    def worker(self, run_id: str, *, resume: bool = False) -> subprocess.Popen[bytes]:
        """A run worker as the launcher starts it."""
        run = self.run(run_id)
        assert run.job_code_origin is not None
        args = (ResumeRunArgs if resume else ExecuteRunArgs)(
            job_origin=run.job_code_origin, run_id=run_id, instance_ref=self.instance.get_ref(),
            set_exit_code_on_failure=None)
        command = [sys.executable, "-m", "dagster", *args.get_command_args()[1:]]
        with (self.folder / "workers.log").open("ab") as log:
            self.workers.append(subprocess.Popen(command, env=self.environment(), stdout=log, stderr=log))
        return self.workers[-1]

    def run(self, run_id: str) -> dg.DagsterRun:
        found = self.instance.get_run_by_id(run_id)
        assert found is not None
        return found

    def start(self, job: dg.JobDefinition, **config: Any) -> str:
        run_id = self.create(job, **config)
        self.worker(run_id)
        return run_id

    def finished(self, run_id: str) -> dg.DagsterRunStatus:
        self.until(lambda: self.run(run_id).is_finished, f"run {run_id} ends")
        return self.run(run_id).status

    def seen(self, run_id: str, step: str = "") -> list[dict[str, Any]]:
        path = self.folder / "seen.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [a for a in lines if a["run"] == run_id and step in ("", a["step"])]

    def said(self, run_id: str, step: str, kind: dg.DagsterEventType) -> list[dg.DagsterEvent]:
        records = self.instance.get_records_for_run(run_id, of_type=kind).records
        events = (r.event_log_entry.dagster_event for r in records)
        return [e for e in events if e is not None and e.step_key == step]

    def until(self, happened: Callable[[], Any], what: str, seconds: float = 120.0) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := happened():
                return found
            time.sleep(0.1)
        raise AssertionError(f"{what}: not within {seconds:g} s\n" +
                             (self.folder / "workers.log").read_text(errors="replace")[-4000:])

    def clear(self) -> None:
        """End what a failed test left."""
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait()
        self.book.end(self.book.living(), 0.0)
