"""REML and GBLUP of one trait with the relationship given, beside the programs people use, in turns.

    python benchmarks/reml.py [--lines 2000 5000] [--rounds 3] [--folder DIR]
        [--fastlmm PYTHON] [--glimix PYTHON] [--rscript Rscript] [--gemma gemma]

`--fastlmm` and `--glimix` are interpreters that have fastlmm and glimix-core; rrBLUP is looked for in R's library
(R_LIBS). What is not there is skipped with a word. Every fit is a process of its own that reads the relationship and
times two fits, of which the faster counts, from there to variance components and line values: wall seconds, and
processor seconds, which on a busy machine and with one thread (OMP_NUM_THREADS=1) are the ones to compare. GEMMA's are
processor seconds on the eigendecomposition alone, as its log states them. A ratio is the median over rounds of a peer's
by ours.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from simulated_panel import simulate

TWICE = """
import sys, time, warnings, numpy as np
warnings.simplefilter("ignore")
k, y = np.load(sys.argv[1] + "/k.npy"), np.load(sys.argv[1] + "/y.npy")
{imports}
wall = processor = float("inf")
for _ in range(2):
    began, used = time.perf_counter(), time.process_time()
    {fit}
    wall, processor = min(wall, time.perf_counter() - began), min(processor, time.process_time() - used)
print(wall, processor, genetic / (genetic + error))
"""
IMPORTS = "from genomic_platform.models.tridiagonal import tridiagonal_contrasts, tridiagonal_reml"
OURS = TWICE.format(imports=IMPORTS, fit="""
    (found,) = tridiagonal_reml(y, tridiagonal_contrasts(k))
    genetic, error = found.components.genetic, found.components.error
    values = found.mean + genetic * k @ found.dual_N""")
EIGH = TWICE.format(imports="from genomic_platform.models.reml import contrast_eigen, spectral_reml", fit="""
    eigen = contrast_eigen(k)
    (found,) = spectral_reml(y, eigen)
    genetic, error = found.genetic, found.error
    along = eigen.vectors_NQ.T @ y
    values = y.mean() + eigen.vectors_NQ @ (along * genetic * eigen.values_Q / (genetic * eigen.values_Q + error))""")
TRAITS = 20
MANY = TWICE.format(
    imports=f"{IMPORTS}\nreduced = tridiagonal_contrasts(k)\n"
            f"many = np.column_stack([np.roll(y, i) for i in range({TRAITS})])",
    fit="""
    found = tridiagonal_reml(many, reduced)
    values = k @ np.column_stack([f.components.genetic * f.dual_N for f in found])
    genetic, error = found[0].components.genetic, found[0].components.error""")
FASTLMM = TWICE.format(imports="from fastlmm.inference import LMM", fit="""
    model = LMM(); model.setK(k); model.setX(np.ones((len(y), 1))); model.sety(y)
    found = model.findH2(nGridH2=10, REML=True)
    genetic, error = float(found["h2"]), 1 - float(found["h2"])""")
GLIMIX = TWICE.format(imports="from glimix_core.lmm import LMM\nfrom numpy_sugar.linalg import economic_qs", fit="""
    model = LMM(y, np.ones((len(y), 1)), economic_qs(k), restricted=True)
    model.fit(verbose=False)
    genetic, error = float(model.v0), float(model.v1)""")
RRBLUP = """
suppressMessages(library(rrBLUP))
folder <- commandArgs(TRUE)[1]
n <- as.integer(commandArgs(TRUE)[2])
k <- matrix(readBin(file.path(folder, "k.bin"), "double", n * n), n)
y <- readBin(file.path(folder, "y.bin"), "double", n)
best <- c(Inf, Inf)
for (i in 1:2) { began <- proc.time(); fit <- mixed.solve(y, K = k); took <- proc.time() - began
  best <- pmin(best, c(took[["elapsed"]], took[["user.self"]] + took[["sys.self"]])) }
cat(best, fit$Vu / (fit$Vu + fit$Ve), "\\n")
cat("BLAS of R:", extSoftVersion()[["BLAS"]], "\\n", file = stderr())
"""


@dataclass(frozen=True)
class Fit:
    """Wall and processor seconds of a fit and σ²g / (σ²g + σ²e)."""

    wall: float
    processor: float
    share: float


def ran(command: Sequence[str | Path]) -> Fit | None:
    """What a process printed, or None, with its last words on stderr."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=os.environ
                          | {"PYTHONPATH": str(Path(__file__).parents[1])})
    if done.returncode:
        print(f"{command[0]}: {done.stderr.strip()[-300:]}", file=sys.stderr)
        return None
    return Fit(*map(float, done.stdout.split()[-3:]))


def gemma(program: str, folder: Path) -> Fit | None:
    """GEMMA's null model: seconds on the eigendecomposition and the share of variance it reports."""
    prefix = [program, "-g", folder / "g.txt", "-p", folder / "y.txt", "-k", folder / "k.txt", "-lmm", "1", "-notsnp"]
    done = subprocess.run([*map(str, prefix), "-outdir", str(folder), "-o", "gemma"], capture_output=True, text=True)
    log = folder / "gemma.log.txt"
    if done.returncode or not log.exists():
        print(f"gemma: {(done.stderr or done.stdout).strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    said = log.read_text()
    minutes = re.search(r"eigen-decomposition = ([\d.e-]+) min", said)
    share = re.search(r"pve estimate in the null model = ([\d.e-]+)", said)
    return Fit(float("nan"), 60 * float(minutes[1]), float(share[1])) if minutes and share else None


def write_trait(folder: Path, n_lines: int, n_markers: int, for_gemma: bool) -> None:
    """K (VanRaden 1) and a trait of heritability .5 from 200 markers, as every program wants them."""
    rng = np.random.default_rng(n_lines)
    dosage_MN = np.maximum(simulate(n_lines, n_markers, seed=n_lines).dosage_MN, 0).astype(np.float64)
    dosage_MN -= dosage_MN.mean(axis=1, keepdims=True)
    k_NN = dosage_MN.T @ dosage_MN / float(dosage_MN.var(axis=1).sum())
    causal = rng.choice(n_markers, 200, replace=False)
    value_N = rng.normal(size=200) @ dosage_MN[causal]
    y_N = 10 + value_N / value_N.std() + rng.normal(size=n_lines)
    for name, array in (("k", k_NN), ("y", y_N)):
        np.save(folder / f"{name}.npy", array)
        array.tofile(folder / f"{name}.bin")
    if for_gemma:
        np.savetxt(folder / "k.txt", k_NN, fmt="%.10g")
        np.savetxt(folder / "y.txt", y_N)
        (folder / "g.txt").write_text("".join(f"S{m},A,C," + ",".join(f"{x:.3f}" for x in row) + "\n"
                                              for m, row in enumerate(dosage_MN[:5] - dosage_MN[:5].min())))


def fits(folder: Path, n: int, options: argparse.Namespace) -> dict[str, Callable[[], Fit | None]]:
    """Every fit that can be run here, ours first."""
    (folder / "rrblup.R").write_text(RRBLUP)
    wanted: dict[str, tuple[str | None, Sequence[str | Path]]] = {
        "tridiagonal (ours)": (sys.executable, ["-c", OURS, folder]),
        "numpy eigh": (sys.executable, ["-c", EIGH, folder]),
        "rrBLUP": (shutil.which(options.rscript), [folder / "rrblup.R", folder, str(n)]),
        "fastlmm": (options.fastlmm, ["-c", FASTLMM, folder]), "glimix-core": (options.glimix, ["-c", GLIMIX, folder])}
    for name, (program, _) in wanted.items():
        if program is None:
            print(f"{name}: not here, skipped", file=sys.stderr)
    found: dict[str, Callable[[], Fit | None]] = {
        name: lambda command=[program, *rest]: ran(command) for name, (program, rest) in wanted.items() if program}
    if program := shutil.which(options.gemma):
        found["GEMMA, its eigendecomposition"] = lambda: gemma(program, folder)
    return found


def compare(folder: Path, n: int, options: argparse.Namespace) -> None:
    write_trait(folder, n, options.markers, shutil.which(options.gemma) is not None)
    runs: dict[str, list[Fit]] = {}
    commands = fits(folder, n, options)
    for _ in range(options.rounds):
        for name, command in list(commands.items()):
            if fit := command():
                runs.setdefault(name, []).append(fit)
                print(f"{n:,} lines, {name}: {fit.wall:.3f} wall, {fit.processor:.3f} processor s", file=sys.stderr)
            else:
                del commands[name]
    ours = runs["tridiagonal (ours)"]
    for name, found in runs.items():
        wall, processor = (statistics.median(getattr(b, which) / getattr(a, which)
                                             for a, b in zip(ours, found, strict=True))
                           for which in ("wall", "processor"))
        print(f"| {n:,} | {name} | {min(f.wall for f in found):.3f} | {wall:.2f} | "
              f"{min(f.processor for f in found):.3f} | {processor:.2f} | {found[0].share:.4f} |", flush=True)
    eigh = min(f.processor for f in runs["numpy eigh"])
    if many := ran([sys.executable, "-c", MANY, folder]):
        each = many.processor / TRAITS
        print(f"{n:,} lines, each further trait (ours): {each:.4f} processor s, {100 * each / eigh:.2f} % of numpy "
              f"eigh\n", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, nargs="+", default=[2_000, 5_000])
    parser.add_argument("--markers", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--fastlmm")
    parser.add_argument("--glimix")
    parser.add_argument("--rscript", default="Rscript")
    parser.add_argument("--gemma", default="gemma")
    options = parser.parse_args(arguments)
    print(f"numpy {np.__version__}, {os.environ.get('OMP_NUM_THREADS', os.cpu_count())} BLAS threads\n\n"
          "| lines | program | least wall s | × ours | least processor s | × ours | σ²g share |\n"
          "|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        for n in options.lines:
            compare(Path(temporary), n, options)


if __name__ == "__main__":
    main()
