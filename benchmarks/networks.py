"""Network training with the whole table on the device, against a plain Dataset + DataLoader loop, in turns.

    python benchmarks/networks.py [--lines 1600] [--markers 10000] [--features 256] [--rounds 5] [--device cpu]
                                  [--threads 2] [--compile] [--clock wall]

The same module, loss and optimiser on both sides; only how lines reach it, and the precision, differ. A round trains
one pass over all lines by each way; the seconds shown are the least of the rounds, `× loader` is the median of the
rounds' ratios. `of limit` compares with the two matrix products a step cannot do without (forward, and gradient of the
first layer) at the same batch and precision, in the same round. `--clock cpu` counts processor seconds: with
one thread it compares ways on a machine that others keep busy.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from genomic_platform.genotypes import packing
from genomic_platform.models.networks.branches import DenseBranch
from genomic_platform.models.networks.feeds import DenseFeed, Feed, PackedFeed, batches
from genomic_platform.models.networks.inner_folds import InnerTargets
from genomic_platform.models.networks.settings import Training
from genomic_platform.models.networks.training import Trainer


@dataclass(frozen=True)
class Data:
    """Calls of N lines at M markers and what is learnt from them."""

    dosage_NM: np.ndarray
    frequencies_M: np.ndarray
    y_N: np.ndarray

    @classmethod
    def simulated(cls, n_lines: int, n_markers: int) -> Data:
        rng = np.random.default_rng(3)
        frequencies_M = rng.uniform(0.05, 0.95, n_markers)
        dosage_NM = rng.binomial(2, frequencies_M, (n_lines, n_markers)).astype(np.int8)
        dosage_NM[rng.random(dosage_NM.shape, dtype=np.float32) < 0.02] = packing.MISSING
        return cls(dosage_NM, frequencies_M, rng.normal(size=n_lines))

    @property
    def scale(self) -> float:
        return float(2 * np.sum(self.frequencies_M * (1 - self.frequencies_M)))

    @property
    def targets(self) -> InnerTargets:
        n = len(self.y_N)
        return InnerTargets(np.arange(n), np.full(n, -1), np.ones(1), self.y_N[:, None, None], np.ones((n, 1)))

    def standardised(self) -> np.ndarray:
        x_NM = np.where(self.dosage_NM < 0, 0.0, self.dosage_NM - 2 * self.frequencies_M) / np.sqrt(self.scale)
        return x_NM.astype(np.float32)


class Lines(Dataset):
    """What is usually written: one line decoded and standardised at a time."""

    def __init__(self, data: Data) -> None:
        self.data, self.unit = data, np.float32(1 / np.sqrt(data.scale))
        self.mean_M = (2 * data.frequencies_M).astype(np.float32)

    def __len__(self) -> int:
        return len(self.data.y_N)

    def __getitem__(self, line: int) -> tuple[torch.Tensor, torch.Tensor]:
        dosage_M = torch.from_numpy(self.data.dosage_NM[line])
        x_M = torch.where(dosage_M < 0, 0.0, (dosage_M.float() - torch.from_numpy(self.mean_M)) * float(self.unit))
        return x_M, torch.tensor(self.data.y_N[line], dtype=torch.float32)


def made_trainer(data: Data, feed: Feed, features: int, settings: Training) -> Trainer:
    generator = torch.Generator().manual_seed(0)
    return Trainer(DenseBranch(len(data.frequencies_M), 1, features, 1, 1.0, generator), feed, data.targets, settings,
                   generator)


def by_loader(data: Data, features: int, batch: int, device: torch.device) -> Callable[[], None]:
    trainer = made_trainer(data, DenseFeed(np.zeros((1, len(data.frequencies_M))), device), features, Training())
    loader = DataLoader(Lines(data), batch_size=batch, shuffle=True, generator=torch.Generator().manual_seed(0))

    def one_pass() -> None:
        for x_BM, y_B in loader:
            f_BAT = trainer.module(x_BM.to(device))
            loss = 0.5 * (y_B.to(device)[:, None, None] - f_BAT).square().sum()
            trainer.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            trainer.optimiser.step()

    return one_pass


def by_table(data: Data, feed: Feed, features: int, settings: Training) -> Callable[[], None]:
    trainer = made_trainer(data, feed, features, settings)
    generator = torch.Generator().manual_seed(0)

    def one_pass() -> None:
        for rows_B in batches(trainer.feed, settings.batch, torch.randperm(feed.n_lines, generator=generator)):
            trainer.step(rows_B)

    return one_pass


def by_products(data: Data, features: int, batch: int, device: torch.device, dtype: torch.dtype) -> Callable[[], None]:
    """The matrix products of a pass alone."""
    x_BM = torch.randn(batch, len(data.frequencies_M), device=device).to(dtype)
    weight_MF = torch.randn(len(data.frequencies_M), features, device=device).to(dtype)
    slope_BF = torch.randn(batch, features, device=device).to(dtype)

    def one_pass() -> None:
        for _ in range(len(data.y_N) // batch):
            torch.mm(x_BM, weight_MF)
            torch.mm(x_BM.t(), slope_BF)

    return one_pass


def ways(data: Data, options: argparse.Namespace, device: torch.device) -> dict[str, Callable[[], None]]:
    decoded = DenseFeed(data.standardised(), device)
    packed = PackedFeed(packing.pack(data.dosage_NM), data.frequencies_M, data.scale, device)
    n, features = len(data.y_N), options.features
    found = {f"DataLoader, batch {b}": by_loader(data, features, b, device) for b in (32, 400)}
    for b in (32, 400, n):
        found[f"table, batch {b}"] = by_table(data, decoded, features, Training(batch=b))
        found[f"products, batch {b}"] = by_products(data, features, b, device, torch.float32)
    found["table packed, batch 400"] = by_table(data, packed, features, Training(batch=400))
    for b in (400, n):
        found[f"table bf16, batch {b}"] = by_table(data, decoded, features, Training(batch=b, bf16=True))
        found[f"products bf16, batch {b}"] = by_products(data, features, b, device, torch.bfloat16)
    if options.compile:
        found["table compiled, batch 400"] = by_table(data, decoded, features, Training(batch=400, compile=True))
    return found


def seconds(work: Callable[[], None], device: torch.device, clock: Callable[[], float]) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - began


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("lines", 1600), ("markers", 10_000), ("features", 256), ("rounds", 5), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    data = Data.simulated(options.lines, options.markers)
    found = ways(data, options, device)
    runs: dict[str, list[float]] = {name: [] for name in found}
    for work in found.values():
        seconds(work, device, clock)  # warm, compiled, allocated
    for _ in range(options.rounds):
        for name, work in found.items():
            runs[name].append(seconds(work, device, clock))
    print(f"torch {torch.__version__}, {options.threads} threads, {device}, {options.clock} clock; "
          f"{options.lines:,} × {options.markers:,}, {options.features} features\n\n"
          "| way | least s a pass | lines/s | × loader, batch 32 | of limit |\n|---|---|---|---|---|")
    for name, found_s in runs.items():
        loader = statistics.median(a / b for a, b in zip(runs["DataLoader, batch 32"], found_s, strict=True))
        limit = runs.get(name.replace("table", "products"), []) if name.startswith("table") else []
        share = f"{100 * min(limit) / min(found_s):.0f} %" if limit else ""
        print(f"| {name} | {min(found_s):.3f} | {options.lines / min(found_s):,.0f} | {loader:.1f} | {share} |")


if __name__ == "__main__":
    main()
