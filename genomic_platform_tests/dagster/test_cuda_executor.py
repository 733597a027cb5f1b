"""The CUDA executor with real workers and step processes on made-up cards: what goes wrong, goes wrong for real."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from genomic_platform.models.checkpoint import Checkpoint
from genomic_platform_tests.support import device_job
from genomic_platform_tests.support.device_job import POOL, Machine
from genomic_platform_tests.support.killed_training import EVERY, gone, train_numpy

pytestmark = pytest.mark.slow
CONFIG = "telemetry: {enabled: false}\nconcurrency: {pools: {granularity: op}}\n"
Kind = dg.DagsterEventType


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    home = tmp_path_factory.mktemp("home")
    (home / "dagster.yaml").write_text(CONFIG)
    with dg.DagsterInstance.from_config(str(home)) as opened:
        opened.event_log_storage.set_concurrency_slots(POOL, 1)
        yield opened


@pytest.fixture
def machine(tmp_path: Path, instance: dg.DagsterInstance) -> Iterator[Machine]:
    made = Machine(tmp_path, instance)
    made.set_cards(["GPU-a", "GPU-b"])
    yield made
    made.clear()


def intervals(machine: Machine, runs: list[str], step: str | None = None) -> dict[str, list[tuple[float, float]]]:
    """By card, or of one step by its name, when steps were at work."""
    found: dict[str, list[tuple[float, float]]] = {}
    for run in runs:
        by_step = {(a["step"], a["what"]): a for a in machine.seen(run)}
        for (name, what), start in by_step.items():
            if what == "start" and ((step is None and start["devices"]) or name == step):
                found.setdefault(step or start["devices"], []).append((start["time"], by_step[name, "end"]["time"]))
    return {key: sorted(value) for key, value in found.items()}


def test_two_runs_share_two_cards_and_a_pool(machine: Machine) -> None:
    """Four steps want a card at once, two get one; the others wait, say why, and follow on the same cards."""
    runs = [machine.start(device_job.sharing, max_concurrent=3) for _ in range(2)]
    assert [machine.finished(run) for run in runs] == [dg.DagsterRunStatus.SUCCESS] * 2
    on_cards = intervals(machine, runs)
    assert set(on_cards) == {"GPU-a", "GPU-b"}
    assert sum(len(times) for times in on_cards.values()) == 4
    pool = intervals(machine, runs, "in_pool")
    for times in (*on_cards.values(), *pool.values()):
        assert all(after[0] > before[1] for before, after in pairwise(times))
    assert {a["device"] for run in runs for a in machine.seen(run, "in_pool")} == {"cpu"}
    assert {a["device"] for run in runs for a in machine.seen(run, "first_on_gpu")} == {"cuda"}

    steps = [(run, step) for run in runs for step in ("first_on_gpu", "second_on_gpu")]
    waited = [e.message for run, step in steps for e in machine.said(run, step, Kind.ENGINE_EVENT) if "waits" in
              (e.message or "")]
    assert waited
    assert all("asks for 1 GPU with 4 GiB free; GPU-" in (m or "") and "held by step" in (m or "") for m in waited)
    (starting,) = machine.said(runs[0], "first_on_gpu", Kind.STEP_WORKER_STARTING)
    card = machine.seen(runs[0], "first_on_gpu")[0]["devices"]
    assert f"on {card} (Made-up card, 12.0 of 16.0 GiB free)" in (starting.message or "")
    assert set(starting.engine_event_data.metadata) == {"device", "waited_seconds"}
    machine.until(lambda: not machine.book.living(), "all leases are given back")


def test_what_is_tried_again_and_what_is_not(machine: Machine) -> None:
    run = machine.start(device_job.faults, max_concurrent=5)
    assert machine.finished(run) == dg.DagsterRunStatus.FAILURE
    steps = ("killed_once", "killed_always", "crashes", "wants_three")
    attempts = {step: len(machine.seen(run, step)) for step in steps}
    assert attempts == {"killed_once": 2, "killed_always": 2, "crashes": 1, "wants_three": 0}
    assert machine.said(run, "killed_once", Kind.STEP_SUCCESS)
    (again,) = machine.said(run, "killed_always", Kind.STEP_UP_FOR_RETRY)
    assert "SIGKILL" in str(again.step_retry_data.error)
    failed = {}
    for step in ("killed_always", "crashes", "too_large", "wants_three"):
        (event,) = machine.said(run, step, Kind.STEP_FAILURE)
        data = event.step_failure_data
        failed[step] = str(data.user_failure_data.description if data.user_failure_data else data.error)
    assert "SIGKILL" in failed["killed_always"]
    assert "SIGSEGV" in failed["crashes"]
    assert "this machine has GPU-a with 16.0 GiB, GPU-b with 16.0 GiB" in failed["wants_three"]
    assert [a["what"] for a in machine.seen(run, "too_large")] == ["batch 64", "batch 32"]
    assert "batch of 64" in failed["too_large"]
    assert "batch of 32" in failed["too_large"]
    assert machine.run(run).tags["dagster/max_retries"] == "0"


def test_a_killed_worker_is_resumed_and_finds_its_step_at_work(machine: Machine) -> None:
    run = machine.create(device_job.long)
    worker = machine.worker(run)
    (start,) = machine.until(lambda: machine.seen(run), "the step is at work")
    worker.kill()
    worker.wait()
    (lease,) = machine.book.living()
    assert (lease.pid, lease.devices) == (start["pid"], (start["devices"],))
    machine.worker(run, resume=True)
    machine.until(lambda: machine.said(run, "until_told", Kind.ENGINE_EVENT), "the new worker looks after the step")
    (machine.folder / "go").touch()
    assert machine.finished(run) == dg.DagsterRunStatus.SUCCESS
    assert [a["what"] for a in machine.seen(run)] == ["start", "end"]
    machine.until(lambda: not machine.book.living(), "all leases are given back")


def test_a_run_given_up_lets_go_of_its_card_and_so_does_a_cancelled_one(machine: Machine) -> None:
    machine.set_cards(["GPU-only"])
    given_up = machine.create(device_job.long)
    worker = machine.worker(given_up)
    (left,) = machine.until(lambda: machine.seen(given_up), "the step is at work")
    worker.kill()
    worker.wait()
    machine.instance.report_run_failed(machine.run(given_up), "its worker was killed")  # as run monitoring does

    run = machine.create(device_job.long)
    worker = machine.worker(run)
    (start,) = machine.until(lambda: machine.seen(run), "the next run's step has the card")
    assert start["devices"] == left["devices"] == "GPU-only"
    machine.until(lambda: gone(left["pid"]), "the process of the run given up is gone")
    machine.instance.report_run_canceling(machine.run(run))
    worker.terminate()
    assert machine.finished(run) == dg.DagsterRunStatus.CANCELED
    worker.wait()
    machine.until(lambda: not machine.book.living(), "all leases are given back")
    machine.until(lambda: gone(start["pid"]), "the step's process is gone")


def test_a_step_whose_card_disappears_goes_to_another(machine: Machine) -> None:
    run = machine.start(device_job.long)
    (start,) = machine.until(lambda: machine.seen(run), "the step is at work")
    (other,) = {"GPU-a", "GPU-b"} - {start["devices"]}
    machine.set_cards([other])
    machine.until(lambda: len(machine.seen(run)) == 2, "the step starts again")
    (machine.folder / "go").touch()
    assert machine.finished(run) == dg.DagsterRunStatus.SUCCESS
    assert [(a["what"], a["devices"]) for a in machine.seen(run)] == [
        ("start", start["devices"]), ("start", other), ("end", other)]
    (again,) = machine.said(run, "until_told", Kind.STEP_UP_FOR_RETRY)
    assert f"its device {start['devices']} is gone" in str(again.step_retry_data.error)


def test_a_training_told_to_end_and_one_killed_give_the_bits_of_an_undisturbed_one(machine: Machine) -> None:
    machine.settings |= {"PREEMPTION_RETRIES": "3", "GPU_DEVICES": "GPU-b"}
    run = machine.start(device_job.training)
    for step, number in ((12, signal.SIGTERM), (33, signal.SIGKILL)):
        machine.until(lambda step=step: machine.seen(run) and machine.seen(run)[-1]["what"] >= step, "it trains")
        os.kill(machine.seen(run)[-1]["pid"], number)
    assert machine.finished(run) == dg.DagsterRunStatus.SUCCESS
    assert {a["devices"] for a in machine.seen(run)} == {"GPU-b"}
    by_process: dict[int, list[int]] = {}
    for line in machine.seen(run):
        by_process.setdefault(line["pid"], []).append(line["what"])
    told, killed, last = by_process.values()
    assert killed[0] == told[-1] + 1  # saved on the signal
    assert last[0] % EVERY == 1  # gone back to the last save
    assert last[0] <= killed[-1] + 1
    undisturbed = train_numpy(Checkpoint(None), lambda step: None)
    np.testing.assert_array_equal(np.load(machine.folder / "trained.npy"), undisturbed)


def test_without_the_cards_a_step_computes_on_the_cpu_only_when_told_so(machine: Machine) -> None:
    """That it fails otherwise is `wants_three` above."""
    run = machine.start(device_job.missing, gpu_missing="cpu")
    assert machine.finished(run) == dg.DagsterRunStatus.SUCCESS
    (seen,) = machine.seen(run)
    assert (seen["devices"], seen["device"]) == ("", "cpu")
    (starting,) = machine.said(run, "wants_three", Kind.STEP_WORKER_STARTING)
    assert "gpu_missing lets it compute on the CPU" in str(starting.engine_event_data.metadata["why_cpu"].value)
