"""Work on a graphics card against the same work on the machine's CPU, and as a share of what the card can do.

    python benchmarks/gpu.py [relationship] [--lines 20000] [--markers 50000] [--rounds 3] [--device cuda]
    python benchmarks/gpu.py --device cpu --lines 1000 --markers 4000      # a rehearsal without a card

Device and CPU work in turns on the same made-up calls. The matrix rate is that of one large plain product of the same
type on the same device in the same run. The product of the N lines counts N² M multiplications and additions, half of
the full square, as only one triangle is computed.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from genomic_platform.executors.devices import DeviceMeter, list_devices
from genomic_platform.genotypes.kinship.relationship import Engine, relationship
from genomic_platform.genotypes.packing import pack
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.settings import read_settings

_BLOCK, _SQUARE, _PRODUCTS = 1000, 8192, 10
WORK = ("relationship",)


def made_up(n_lines: int, n_markers: int, seed: int = 1) -> GenotypeTable:
    """Unlinked markers with 2 % of the calls missing, packed block by block."""
    rng = np.random.default_rng(seed)
    blocks = []
    for start in range(0, n_markers, _BLOCK):
        m = min(_BLOCK, n_markers - start)
        dosage_mN = rng.binomial(2, rng.uniform(0.05, 0.95, (m, 1)), (m, n_lines)).astype(np.int8)
        dosage_mN[rng.random(dosage_mN.shape, dtype=np.float32) < 0.02] = -1
        blocks.append(pack(dosage_mN))
    variants = pl.DataFrame({"variant_id": [f"m{i}" for i in range(n_markers)], "chromosome": ["1"] * n_markers,
                             "position": np.arange(1, n_markers + 1), "ref": ["A"] * n_markers,
                             "alt": ["C"] * n_markers})
    return GenotypeTable.from_packed(variants, [f"L{i}" for i in range(n_lines)], np.concatenate(blocks))


def seconds(work: Callable[[], object], device: str) -> float:
    """Wall seconds until the device has done it."""
    began = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: str) -> None:
    if device != "cpu":
        import torch

        torch.cuda.synchronize()


def matrix_rate(engine: Engine, device: str) -> float:
    """Multiplications and additions a second of a plain product: int8 summed in int32, or float32 (no TF32)."""
    import torch

    size = _SQUARE if device != "cpu" else 2048
    whole = engine == "int8"
    kind = torch.int8 if whole else torch.float32
    left = torch.ones((size, size), dtype=kind, device=device)
    multiply = getattr(torch, "_int_mm") if whole else torch.matmul  # noqa: B009 (no public name)
    right = left.t().contiguous().t()
    multiply(left, right)
    taken = min(seconds(lambda: multiply(left, right), device) for _ in range(_PRODUCTS))
    return 2.0 * size**3 / taken


def compare_relationship(table: GenotypeTable, device: str, rounds: int) -> None:
    """VanRaden 1 of all lines: device and CPU in turns, float32 and int8."""
    operations = float(table.n_lines) ** 2 * table.n_variants
    for engine in ("float32", "int8"):
        rate = matrix_rate(engine, device)
        on_device = relationship(table, engine=engine, device=device)  # the first call starts the device
        on_cpu = relationship(table, engine=engine)
        apart = np.abs(on_device.matrix_NN - on_cpu.matrix_NN).max() / on_cpu.matrix_NN.diagonal().mean()
        pairs = [(seconds(lambda engine=engine: relationship(table, engine=engine, device=device), device),
                  seconds(lambda engine=engine: relationship(table, engine=engine), "cpu")) for _ in range(rounds)]
        own, cpu = (min(times) for times in zip(*pairs, strict=True))
        print(f"relationship {table.n_lines:,} × {table.n_variants:,} {engine}: {device} {own:.2f} s, "
              f"{operations / own / 1e12:.2f} of {rate / 1e12:.2f} T operations/s ({operations / own / rate:.0%}); "
              f"cpu {cpu:.2f} s, ratio {cpu / own:.1f}; largest difference {apart:.1e} of the mean diagonal")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", nargs="*", help=f"of {', '.join(WORK)}; all by default")
    parser.add_argument("--lines", type=int, default=20_000)
    parser.add_argument("--markers", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args(arguments)
    if unknown := set(options.work) - set(WORK):
        parser.error(f"unknown work {', '.join(sorted(unknown))}; expected {', '.join(WORK)}")
    import torch

    if options.device != "cpu" and not torch.cuda.is_available():
        raise SystemExit("torch finds no CUDA device here; --device cpu rehearses the script and measures no card")
    program = read_settings().nvidia_smi
    cards = list_devices(program)[:1] if options.device != "cpu" else []
    print(f"torch {torch.__version__}, {cards[0] if cards else 'no card'}, {os.cpu_count()} cores")
    table = made_up(options.lines, options.markers)
    with DeviceMeter(program, [c.uuid for c in cards]) as meter:
        if "relationship" in (options.work or WORK):
            compare_relationship(table, options.device, options.rounds)
    if cards:
        print(", ".join(f"{name} {value}" for name, value in meter.facts().items()))


if __name__ == "__main__":
    main()
