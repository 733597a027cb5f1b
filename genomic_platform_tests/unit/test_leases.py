"""Who gets which card, and that a lease ends with its process, whatever ended it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from genomic_platform.errors import ProgramError
from genomic_platform.executors.devices import Device, DeviceMeter, ListingFailed, list_devices
from genomic_platform.executors.leases import Busy, DeviceRequest, HeldLease, Impossible, Lease, LeaseBook, choose
from genomic_platform.settings import Settings
from genomic_platform.workspace import Workspace
from genomic_platform_tests.support.killed_training import gone

CARDS = [Device(0, "GPU-a", "Card", 16_384, 1_024, 10), Device(1, "GPU-b", "Card", 16_384, 0, 0),
         Device(2, "GPU-c", "Large card", 81_920, 0, 0)]
ONE = DeviceRequest(1)
SHARED = DeviceRequest(1, 6_144, shared=True)


def lease(*devices: str, memory_mib: int = 0, shared: bool = False) -> Lease:
    return Lease("run", "step", "", devices, memory_mib, shared)


def refusal(outcome: object) -> str:
    assert isinstance(outcome, Busy | Impossible)
    return outcome.reason


@pytest.mark.parametrize(("request_", "leases", "expected"), [
    (ONE, [], ("GPU-c",)),  # most room first
    (ONE, [lease("GPU-c")], ("GPU-b",)),
    (DeviceRequest(2), [lease("GPU-c")], ("GPU-b", "GPU-a")),
    (DeviceRequest(1, 16_000), [lease("GPU-c")], ("GPU-b",)),
    (SHARED, [lease("GPU-c"), lease("GPU-b", memory_mib=6_144, shared=True)], ("GPU-a",)),
    (SHARED, [lease("GPU-a"), lease("GPU-c"), lease("GPU-b", memory_mib=6_144, shared=True)], ("GPU-b",)),
])
def test_free_cards_are_given(request_: DeviceRequest, leases: list[Lease], expected: tuple[str, ...]) -> None:
    assert choose(request_, CARDS, leases) == expected


@pytest.mark.parametrize(("request_", "leases", "kind", "said"), [
    (DeviceRequest(4), [], Impossible, "asks for 4 GPUs; this machine has GPU-a with 16.0 GiB, GPU-b"),
    (DeviceRequest(1, 100_000), [], Impossible, "97.6562 GiB free"),
    (ONE, [lease("GPU-a", "GPU-b", "GPU-c")], Busy, "GPU-a: held by step step of run run; GPU-b: held"),
    (ONE, [lease("GPU-a", "GPU-b"), lease("GPU-c", memory_mib=1, shared=True)], Busy, "GPU-c: held by step"),
    (SHARED, [lease("GPU-a", "GPU-b", "GPU-c")], Busy, "held by step"),
    (SHARED, [lease("GPU-a", "GPU-c"), *[lease("GPU-b", memory_mib=6_144, shared=True)] * 2], Busy,
     "GPU-b: 4.0 of 16.0 GiB are free"),
])
def test_taken_cards_are_waited_for_and_missing_ones_are_not(
        request_: DeviceRequest, leases: list[Lease], kind: type, said: str) -> None:
    outcome = choose(request_, CARDS, leases)
    assert isinstance(outcome, kind)
    assert said in refusal(outcome)


def test_memory_in_use_by_others_counts() -> None:
    busy = [replace(CARDS[0], used_mib=15_000)]
    assert "1.4 of 16.0 GiB are free" in refusal(choose(DeviceRequest(1, 2_048), busy, []))
    assert choose(DeviceRequest(1, 1_024), busy, []) == ("GPU-a",)
    # what a sharer has asked for and not taken yet is no room, what it has taken is not counted twice
    sharer = lease("GPU-a", memory_mib=10_240, shared=True)
    assert choose(SHARED, [CARDS[0]], [sharer]) == ("GPU-a",)
    assert choose(SHARED, [replace(CARDS[0], used_mib=10_240)], [sharer]) == ("GPU-a",)
    assert isinstance(choose(SHARED, [replace(CARDS[0], used_mib=10_241)], [sharer]), Busy)


def test_requests_are_tags_and_tags_are_checked() -> None:
    for request in (DeviceRequest(2, 10_240), SHARED, ONE, DeviceRequest()):
        assert DeviceRequest.from_tags(request.tags()) == request
    with pytest.raises(ProgramError, match="genomic_platform/gpus is 'two'"):
        DeviceRequest.from_tags({"genomic_platform/gpus": "two"})
    with pytest.raises(ProgramError, match="shared card needs"):
        DeviceRequest.from_tags({"genomic_platform/gpus": "1", "genomic_platform/gpu_shared": "true"})


def started(book: LeaseBook, request: DeviceRequest, code: str, turn: str = "") -> tuple[subprocess.Popen[str], Lease]:
    """A process with a lease, once it has printed a line."""
    held = book.take(request, CARDS, run_id="run", step_key="step", turn=turn)
    assert isinstance(held, HeldLease)
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               pass_fds=(held.descriptor,), start_new_session=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process, held.handed_to(process.pid)


SLEEPS = "import time; print(flush=True); time.sleep(600)"


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, None])
def test_a_lease_ends_with_its_process(tmp_path: Path, ending: signal.Signals | None) -> None:
    book = LeaseBook(tmp_path)
    until_closed = "import sys; print(flush=True); sys.stdin.read()"
    process, held = started(book, DeviceRequest(3), SLEEPS if ending else until_closed)
    assert book.living() == [held]
    assert book.of_step("run", "step") == held
    assert held.pid == process.pid
    assert isinstance(book.take(ONE, CARDS, run_id="other", step_key="step"), Busy)
    if ending:
        os.kill(process.pid, ending)
    process.communicate()
    assert book.living() == []
    assert not list(tmp_path.glob("*.json"))
    assert isinstance(book.take(ONE, CARDS, run_id="other", step_key="step"), HeldLease)


def test_a_lease_ends_when_its_process_was_never_started(tmp_path: Path) -> None:
    """The worker was killed between taking the lease and starting the step."""
    code = ("from pathlib import Path; import os, sys\n"
            "from genomic_platform.executors.leases import DeviceRequest, LeaseBook\n"
            "held = LeaseBook(Path(sys.argv[1])).take(DeviceRequest(), [], run_id='r', step_key='s')\n"
            "print(held.lease.run_id, flush=True); os.kill(os.getpid(), 9)")
    told = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (-signal.SIGKILL, "r\n")
    assert LeaseBook(tmp_path).living() == []


def test_who_does_not_end_when_asked_is_killed_with_all_it_started(tmp_path: Path) -> None:
    book = LeaseBook(tmp_path)
    stubborn = ("import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
                "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
                "print(child.pid, flush=True); time.sleep(600)")
    held = book.take(ONE, CARDS, run_id="run", step_key="step")
    assert isinstance(held, HeldLease)
    process = subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE, text=True,
                               pass_fds=(held.descriptor,), start_new_session=True)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.stdout.close()
    began = time.monotonic()
    book.end([held.handed_to(process.pid)], grace_s=0.3)
    assert time.monotonic() - began >= 0.3
    assert process.wait(timeout=10) == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while not gone(child):
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.05)
    assert book.living() == []


def test_a_process_of_another_container_is_left_alone(tmp_path: Path) -> None:
    """There its pid is somebody else."""
    book = LeaseBook(tmp_path)
    process, held = started(book, ONE, SLEEPS)
    began = time.monotonic()
    book.end([replace(held, namespace="pid:[1]")], grace_s=30.0)
    assert time.monotonic() - began < 10
    assert process.poll() is None
    book.end([held], grace_s=30.0)
    process.communicate()
    assert process.returncode == -signal.SIGTERM


def test_whoever_takes_a_programmes_turn_ends_what_a_killed_holder_left(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, Settings())
    book = LeaseBook(workspace.lease_folder)
    turns = {"wheat": str(workspace.turn_file("wheat")), "rice": str(workspace.turn_file("rice"))}
    left = {name: started(book, DeviceRequest(), SLEEPS, turn) for name, turn in turns.items()}
    with workspace.turn("wheat", keeps="run"):  # its run is resumed
        assert {a.turn for a in book.living()} == set(turns.values())
    with workspace.turn("wheat"):
        assert book.living() == [left["rice"][1]]
    for process, _ in left.values():
        process.kill()
        process.communicate()
    assert left["wheat"][0].returncode == -signal.SIGTERM


def made_up(folder: Path, body: str) -> str:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return str(program)


def test_cards_are_read_as_nvidia_smi_prints_them(tmp_path: Path) -> None:
    program = made_up(tmp_path, "echo '0, GPU-a, NVIDIA H100 80GB HBM3, 81559, 4, 0'\n"
                                "echo '1, GPU-b, NVIDIA H100 80GB HBM3, 81559, 60000, [N/A]'")
    found = list_devices(program)
    assert found == [Device(0, "GPU-a", "NVIDIA H100 80GB HBM3", 81_559, 4, 0),
                     Device(1, "GPU-b", "NVIDIA H100 80GB HBM3", 81_559, 60_000, None)]
    assert str(found[0]) == "GPU-a (NVIDIA H100 80GB HBM3, 79.6 of 79.6 GiB free)"
    assert [d.uuid for d in list_devices(program, ["1"])] == ["GPU-b"]
    assert [d.uuid for d in list_devices(program, ["GPU-a", "7"])] == ["GPU-a"]


def test_no_driver_is_no_card_and_a_driver_without_answer_is_not(tmp_path: Path) -> None:
    assert list_devices(str(tmp_path / "nowhere")) == []
    with pytest.raises(ListingFailed, match="code 15: Unable to determine the device handle"):
        list_devices(made_up(tmp_path, "echo 'Unable to determine the device handle for GPU0: Unknown Error'; exit 15"))
    with pytest.raises(ListingFailed, match="not enough values"):
        list_devices(made_up(tmp_path, "echo something else"))


def test_a_meter_keeps_the_most_memory_and_the_mean_utilisation(tmp_path: Path) -> None:
    count = tmp_path / "count"
    program = made_up(tmp_path, f"echo x >> {count}; n=$(wc -l < {count}); [ $n -gt 3 ] && n=1\n"
                                'echo "0, GPU-a, Card, 16384, $((n * 1000)), 40"\n'
                                'echo "1, GPU-b, Card, 16384, 9000, 99"')
    with DeviceMeter(program, ["GPU-a"], every_s=0.02) as meter:
        for _ in range(500):
            if count.exists() and len(count.read_text().splitlines()) >= 5:
                break
            time.sleep(0.02)
    assert meter.facts() == {"device": "GPU-a (Card)", "device_peak_memory_mib": 3000,
                             "device_mean_utilisation_percent": 40.0}
    with DeviceMeter(program, []) as nothing:
        pass
    assert nothing.facts() == {}
