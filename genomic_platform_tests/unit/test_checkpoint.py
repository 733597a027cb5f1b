"""Checkpoints: whole at any moment, and a killed training, resumed, gives an undisturbed one's numbers to the bit."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from genomic_platform.models.checkpoint import FILE, Checkpoint
from genomic_platform_tests.support import killed_training
from genomic_platform_tests.support.killed_training import EVERY, STEPS

torch = pytest.importorskip("torch")


def process(kind: str, folder: Path, out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", killed_training.__name__, kind, str(folder), str(out), "slow"],
                            stdout=subprocess.PIPE, text=True)


def until_step(running: subprocess.Popen[str], step: int) -> int:
    """Read the training's lines up to this step; gives the last step read."""
    assert running.stdout is not None
    for line in running.stdout:
        if int(line) >= step:
            return int(line)
    raise AssertionError(f"the training ended before step {step}")


def rest(running: subprocess.Popen[str]) -> list[int]:
    return [int(line) for line in running.communicate(timeout=60)[0].split()]


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_a_killed_training_gives_the_bits_of_an_undisturbed_one(kind: str, tmp_path: Path) -> None:
    """Told to end (SIGTERM, saved at the very step); killed (SIGKILL, back to the last save); then let be.

    With torch, which takes seconds to import, it is only told to end.
    """
    folder, out = tmp_path / "checkpoint", tmp_path / "killed.npy"
    first = process(kind, folder, out)
    until_step(first, 12)
    first.terminate()
    told = rest(first)
    assert first.returncode == -signal.SIGTERM
    reached = Checkpoint(folder).load()
    assert reached is not None
    assert reached["step"] == (told[-1] if told else 12)
    assert reached["step"] < STEPS

    if kind == "numpy":
        second = process(kind, folder, out)
        assert until_step(second, 0) == reached["step"] + 1
        until_step(second, 33)
        second.kill()
        second.communicate()
        kept = Checkpoint(folder).load()
        assert kept is not None
        assert kept["step"] % EVERY == 0
        assert 30 <= kept["step"] < STEPS
    assert not out.exists()

    train = getattr(killed_training, f"train_{kind}")
    resumed = train(Checkpoint(folder), lambda step: None)
    undisturbed = train(Checkpoint(None), lambda step: None)
    np.testing.assert_array_equal(resumed, undisturbed)


def test_every_kind_of_state_comes_back_as_it_was(tmp_path: Path) -> None:
    generator = np.random.default_rng(0).bit_generator.state  # integers of 128 bits
    state = {"none": None, "tuple": (1, 2.5, "x"), 3: [True, float("inf")], "float": 0.1 + 0.2, "generator": generator,
             "scalar": np.float32(0.1), "array": np.arange(6, dtype=np.int8).reshape(2, 3), "empty": np.zeros((0, 4)),
             "bf16": torch.tensor([[1.1, 2.2]], dtype=torch.bfloat16), "point": torch.tensor(3, dtype=torch.int64),
             "parameter": torch.nn.Parameter(torch.ones(2))}
    Checkpoint(tmp_path).save(state)
    found = Checkpoint(tmp_path).load()
    assert found is not None
    assert list(found) == list(state)
    for key in ("none", "tuple", 3, "float", "generator"):
        assert found[key] == state[key]
        assert type(found[key]) is type(state[key])
    assert type(found["scalar"]) is np.float32
    for key in ("scalar", "array", "empty"):
        np.testing.assert_array_equal(found[key], state[key])
        assert found[key].dtype == state[key].dtype
    for key in ("bf16", "point", "parameter"):
        assert torch.equal(found[key], state[key].detach())
        assert found[key].dtype == state[key].dtype


def test_what_cannot_be_kept_is_named(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="holds a Adam"):
        Checkpoint(tmp_path).save({"optimiser": torch.optim.Adam([torch.ones(1)])})
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b[:200] + b"\xff" * 20 + b[220:],
                                    lambda b: b""])
def test_a_damaged_checkpoint_is_no_checkpoint(damage, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save({"x": np.arange(1000.0)})
    (tmp_path / FILE).write_bytes(damage((tmp_path / FILE).read_bytes()))
    assert checkpoint.load() is None
    assert "starts from the beginning" in caplog.text


def test_a_failed_write_leaves_the_former_state(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save({"step": 1})
    with pytest.raises(TypeError):
        checkpoint.save({"step": object()})
    assert checkpoint.load() == {"step": 1}


def test_time_and_signal_decide_when_it_is_saved(tmp_path: Path) -> None:
    calls: list[int] = []

    def state() -> dict[str, int]:
        calls.append(1)
        return {"step": len(calls)}

    with Checkpoint(tmp_path, every_s=3600) as checkpoint:
        checkpoint.reached(state)
        assert calls == []
    with Checkpoint(tmp_path, every_s=0) as checkpoint:
        checkpoint.reached(state)
        assert calls == [1]

    handed: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda s, f: handed.append(s))
    try:
        with Checkpoint(tmp_path, every_s=3600) as checkpoint:
            signal.raise_signal(signal.SIGTERM)
            assert handed == []
            checkpoint.reached(state)
            assert checkpoint.load() == {"step": 2}
            assert handed == [signal.SIGTERM]
        with Checkpoint(tmp_path, every_s=3600):
            signal.raise_signal(signal.SIGTERM)  # after the last point: not lost
        assert handed == [signal.SIGTERM] * 2
        with Checkpoint(None):
            signal.raise_signal(signal.SIGTERM)  # nothing to keep: at once
            assert len(handed) == 3
    finally:
        signal.signal(signal.SIGTERM, before)
