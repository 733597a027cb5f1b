"""The genotype engine against the tools people use, in turns, as ratios.

    python benchmarks/genotypes.py [ROW …] [--rounds 5] [--folder DIR] [--scale 1.0]

Rows: ingest, ingest_growth, bed, statistics, grm, pca, prune (default: all but ingest_growth). plink2, and bgzip to
make the panels, must be on PATH; cyvcf2 and bed-reader are in the test extra. Every command is a process of its own,
timed from outside with its peak memory, ours and the peer's in turns; the ratio is the median of the rounds' ratios.
`--scale` multiplies lines and markers for a quick look.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

OURS = [Path(sys.executable).with_name("genomic-platform"), "genotypes"]
PLINK2 = ["plink2", "--threads", str(os.cpu_count())]
CYVCF2 = """
import sys, numpy, cyvcf2
reader = cyvcf2.VCF(sys.argv[1], gts012=True, threads=2)
calls, rows = [], []
for v in reader:
    calls.append(v.gt_types.astype('int8')); rows.append((v.CHROM, v.POS, v.ID, v.REF, v.ALT))
numpy.save(sys.argv[2], numpy.stack(calls))
"""
BED_READER = """
import sys, time
from bed_reader import open_bed
for _ in range(4):
    began = time.perf_counter()
    with open_bed(sys.argv[1], num_threads=2) as bed:
        calls = bed.read(dtype='int8', order='F')
        names = bed.iid, bed.sid
    print(time.perf_counter() - began)
"""
OUR_BED = """
import sys, time
from genomic_platform.genotypes.readers.plink import read_bed
for _ in range(4):
    began = time.perf_counter(); calls = read_bed(sys.argv[1]); print(time.perf_counter() - began)
"""
STATISTICS = """
import sys, time
from genomic_platform.genotypes.statistics import variant_statistics
from genomic_platform.genotypes.table import GenotypeTable
for _ in range(4):
    began = time.perf_counter()
    table = GenotypeTable.open(sys.argv[1])
    found = variant_statistics(table.packed_MB, table.n_lines)
    print(time.perf_counter() - began)
"""
PRUNE = """
import sys, time
from genomic_platform.genotypes.population.ld import prune
from genomic_platform.genotypes.table import GenotypeTable
for _ in range(4):
    began = time.perf_counter(); kept = prune(GenotypeTable.open(sys.argv[1])); print(time.perf_counter() - began)
"""


@dataclass(frozen=True)
class Measured:
    """Seconds and peak memory of one command; `seconds` may be what the command itself printed last."""

    seconds: float
    megabytes: float


def measured(command: Sequence[str | Path], own_clock: bool = False) -> Measured:
    """Run a command to its end. `own_clock`: the least of the seconds it printed (a warm process' own)."""
    began = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    if status:
        raise SystemExit(f"{command}: failed\n{process.stderr.read() if process.stderr else ''}")
    if own_clock:
        seconds = min(map(float, printed.split()))
    return Measured(seconds, usage.ru_maxrss / 1e3)


def compared(row: str, work: str, rounds: int, commands: dict[str, Callable[[], Measured]]) -> None:
    """Measure commands in turns and print one line for each, the first being ours."""
    runs: dict[str, list[Measured]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            runs[name].append(command())
    ours = next(iter(runs.values()))
    for name, found in runs.items():
        ratio = statistics.median(b.seconds / a.seconds for a, b in zip(ours, found, strict=True))
        print(f"| {row} | {work} | {name} | {statistics.median(r.seconds for r in found):.3f} "
              f"| {max(r.megabytes for r in found):,.0f} | {ratio:.2f} |", flush=True)


class Bench:
    """The panels in a folder, made once, and a place for what the commands write."""

    def __init__(self, folder: Path, rounds: int, scale: float) -> None:
        self.folder, self.rounds, self.scale = folder, rounds, scale

    def panel(self, n_lines: int, n_markers: int, *, vcf: bool = False) -> tuple[Path, str]:
        n_lines, n_markers = int(self.scale * n_lines), int(self.scale * n_markers)
        prefix = self.folder / f"p{n_lines}x{n_markers}"
        wanted = prefix.with_suffix(".vcf.gz" if vcf else ".bed")
        if not wanted.exists():  # by a process of its own: a child's peak memory begins with that of its parent
            subprocess.run([sys.executable, Path(__file__).with_name("simulated_panel.py"), prefix, str(n_lines),
                            str(n_markers), "--vcf" if vcf else "--bed"], check=True)
        return prefix, f"{n_lines:,} × {n_markers:,}"

    def table(self, prefix: Path) -> Path:
        table = prefix.with_suffix(".table")
        if not table.exists():
            measured([*OURS, "ingest", prefix.with_suffix(".bed"), "--out", table, "--quiet"])
        return table

    def fresh(self, name: str) -> Path:
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        return path

    def ingest(self) -> None:
        for n_markers in (50_000, 500_000):
            self._ingest(n_markers, self.rounds if n_markers == 50_000 else max(3, self.rounds // 2))

    def ingest_growth(self) -> None:
        for n_markers in (50_000, 100_000, 200_000, 500_000, 1_000_000):
            self._ingest(n_markers, 3, cyvcf2=False)

    def _ingest(self, n_markers: int, rounds: int, cyvcf2: bool = True) -> None:
        prefix, size = self.panel(2_000, n_markers, vcf=True)
        vcf, out = prefix.with_suffix(".vcf.gz"), self.folder / "out"
        commands = {
            "ours": lambda: measured([*OURS, "ingest", vcf, "--out", self.fresh("table"), "--quiet"]),
            "plink2 --make-pgen": lambda: measured([*PLINK2, "--vcf", vcf, "--make-pgen", "--out", out])}
        if cyvcf2:
            commands["cyvcf2"] = lambda: measured([sys.executable, "-c", CYVCF2, vcf, out.with_suffix(".npy")])
        compared("VCF.gz → packed table", size, rounds, commands)

    def bed(self) -> None:
        prefix, size = self.panel(5_000, 50_000)
        bed = prefix.with_suffix(".bed")
        compared(".bed → dosages in memory, warm", size, self.rounds, {
            "ours": lambda: measured([sys.executable, "-c", OUR_BED, bed], own_clock=True),
            "bed-reader": lambda: measured([sys.executable, "-c", BED_READER, bed], own_clock=True)})

    def statistics(self) -> None:
        prefix, size = self.panel(2_000, 50_000)
        table, out = self.table(prefix), self.folder / "out"
        compared("counts, frequencies, missingness, heterozygosity, HWE; ours warm", size, self.rounds, {
            "ours": lambda: measured([sys.executable, "-c", STATISTICS, table], own_clock=True),
            "plink2 --freq": lambda: measured([*PLINK2, "--bfile", prefix, "--freq", "--out", out]),
            "plink2 --freq --missing --hardy": lambda: measured(
                [*PLINK2, "--bfile", prefix, "--freq", "--missing", "variant-only", "--hardy", "--out", out])})

    def grm(self) -> None:
        prefix, size = self.panel(5_000, 50_000)
        table, out, npy = self.table(prefix), self.folder / "out", self.folder / "grm.npy"
        compared("relationship matrix, file to file", size, self.rounds, {
            **{f"ours, {engine}": lambda engine=engine: measured(
                [*OURS, "grm", table, "--out", npy, "--engine", engine]) for engine in ("auto", "float32")},
            "plink2 --make-rel": lambda: measured([*PLINK2, "--bfile", prefix, "--make-rel", "bin4", "--out", out])})

    def pca(self) -> None:
        prefix, size = self.panel(20_000, 50_000)
        table, out = self.table(prefix), self.folder / "out"
        compared("20 principal components", size, max(1, self.rounds // 2), {
            "ours": lambda: measured([*OURS, "pca", table, "--components", "20", "--out", self.folder / "pca.parquet"]),
            "plink2 --pca 20 approx": lambda: measured([*PLINK2, "--bfile", prefix, "--pca", "20", "approx", "--out",
                                                        out])})

    def prune(self) -> None:
        for n_markers in (50_000, 500_000):
            self._prune(n_markers)

    def _prune(self, n_markers: int) -> None:
        prefix, size = self.panel(5_000, n_markers)
        table, out = self.table(prefix), self.folder / "out"
        compared("LD pruning 50 5 0.2; plink2 whole process", size, self.rounds, {
            "ours, warm": lambda: measured([sys.executable, "-c", PRUNE, table], own_clock=True),
            "ours, whole process": lambda: measured([*OURS, "prune", table, "--out", self.folder / "kept.tsv"]),
            "plink2 --indep-pairwise": lambda: measured(
                [*PLINK2, "--bfile", prefix, "--indep-pairwise", "50", "5", "0.2", "--out", out])})


ROWS = ("ingest", "bed", "statistics", "grm", "pca", "prune")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", default=ROWS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(options.folder or Path(temporary), options.rounds, options.scale)
        bench.folder.mkdir(parents=True, exist_ok=True)
        print(f"numpy {np.__version__}, {os.cpu_count()} cores\n\n"
              "| work | size | command | median s | peak MB | × ours |\n|---|---|---|---|---|---|")
        for row in options.rows:
            getattr(bench, row)()


if __name__ == "__main__":
    main()
