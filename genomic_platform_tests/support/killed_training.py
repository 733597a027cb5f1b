"""Small trainings for tests that kill their process: `python -m … numpy|torch FOLDER OUT [slow]`.

Both print a line at every step, wait after it when slow, keep a checkpoint at every fifth step and on SIGTERM, and
write their final numbers to OUT.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from genomic_platform.models.checkpoint import Checkpoint

STEPS, EVERY = 60, 5


def gone(pid: int) -> bool:
    """Whether a process has ended, waited for by its parent or not."""
    status = Path(f"/proc/{pid}/status")
    return not status.exists() or "State:\tZ" in status.read_text()


def train_numpy(checkpoint: Checkpoint, step_done: Callable[[int], None]) -> np.ndarray:
    """Ridge regression by stochastic gradients with momentum: own generator, own order of the data."""
    x_NM, y_N = _data()
    kept = checkpoint.load()
    generator = np.random.default_rng(1)
    state = kept or {"step": 0, "beta_M": np.zeros(x_NM.shape[1]), "momentum_M": np.zeros(x_NM.shape[1]),
                     "generator": generator.bit_generator.state}
    generator.bit_generator.state = state["generator"]
    beta_M, momentum_M = state["beta_M"], state["momentum_M"]
    for step in range(state["step"], STEPS):
        batch = generator.choice(len(y_N), 16, replace=False)
        gradient_M = x_NM[batch].T @ (x_NM[batch] @ beta_M - y_N[batch]) / 16 + 0.01 * beta_M
        momentum_M = 0.9 * momentum_M + gradient_M
        beta_M = beta_M - 0.01 * momentum_M
        now = {"step": step + 1, "beta_M": beta_M, "momentum_M": momentum_M, "generator": generator.bit_generator.state}
        _done(checkpoint, step + 1, now, step_done)
    return beta_M


def train_torch(checkpoint: Checkpoint, step_done: Callable[[int], None]) -> np.ndarray:
    """A small network with dropout, Adam and a learning rate that falls: four states beside the parameters."""
    import torch

    torch.manual_seed(1)
    torch.set_num_threads(1)
    x, y = (torch.from_numpy(a).float() for a in _data())
    net = torch.nn.Sequential(torch.nn.Linear(x.shape[1], 8), torch.nn.GELU(), torch.nn.Dropout(0.3),
                              torch.nn.Linear(8, 1))
    adam = torch.optim.AdamW(net.parameters(), lr=0.01)
    rate = torch.optim.lr_scheduler.ExponentialLR(adam, 0.98)
    order, at = torch.randperm(len(x)), 0
    kept = checkpoint.load()
    if kept:
        net.load_state_dict(kept["net"])
        adam.load_state_dict(kept["adam"])
        rate.load_state_dict(kept["rate"])
        torch.set_rng_state(kept["rng"])
        order, at = kept["order"], kept["at"]
    for step in range(kept["step"] if kept else 0, STEPS):
        if at + 16 > len(x):
            order, at = torch.randperm(len(x)), 0
        batch, at = order[at : at + 16], at + 16
        adam.zero_grad()
        torch.nn.functional.mse_loss(net(x[batch])[:, 0], y[batch]).backward()
        adam.step()
        rate.step()
        now = {"step": step + 1, "net": net.state_dict(), "adam": adam.state_dict(), "rate": rate.state_dict(),
               "rng": torch.get_rng_state(), "order": order, "at": at}
        _done(checkpoint, step + 1, now, step_done)
    return np.concatenate([p.detach().numpy().ravel() for p in net.parameters()])


def _done(checkpoint: Checkpoint, step: int, state: dict[str, object], step_done: Callable[[int], None]) -> None:
    if step % EVERY == 0:
        checkpoint.save(state)
    step_done(step)
    checkpoint.reached(lambda: state)


def _data() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    x_NM = generator.normal(size=(80, 12))
    return x_NM, x_NM @ generator.normal(size=12) + generator.normal(size=80)


def main(kind: str, folder: str, out: str, *slow: str) -> None:
    def said(step: int) -> None:
        print(step, flush=True)
        time.sleep(0.05 if slow else 0)

    train = {"numpy": train_numpy, "torch": train_torch}[kind]
    with Checkpoint(Path(folder)) as checkpoint:
        np.save(out, train(checkpoint, said))


if __name__ == "__main__":
    main(*sys.argv[1:])
