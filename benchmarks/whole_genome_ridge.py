"""`whole_genome_ridge` from packed calls: time, passes, peak memory as lines and markers grow; a peer where it fits.

    python benchmarks/whole_genome_ridge.py [--sizes 12500x12500 25000x25000 25000x50000 50000x50000] [--draws 128]
    python benchmarks/whole_genome_ridge.py --passes                          # one pass of each size, no fit
    python benchmarks/whole_genome_ridge.py --peer [--sizes 12500x12500]      # one solution beside scikit-learn's
    python benchmarks/whole_genome_ridge.py --device cuda --lines 100000      # × 50,000 markers, on a card

The largest panel is simulated a chromosome at a time (`simulated_panel`), 1,000 loci, half of the variance genetic; the
others are parts of it. A twentieth of the lines has no record. Each size runs in a process of its own, whose largest
resident memory is told, beside what it was before the fit, packed calls included.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from simulated_panel import CHROMOSOMES, simulate

from genomic_platform.genotypes.packing import pack
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models import markers
from genomic_platform.models.checkpoint import Checkpoint
from genomic_platform.models.marker_fit import marker_scale
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.models.trait_fit import trait_data
from genomic_platform.models.whole_genome.passes import relationship_product, run
from genomic_platform.models.whole_genome.recipe import WholeGenomeRidge
from genomic_platform.models.whole_genome.trait_job import FEWEST, TraitJob
from genomic_platform.schemas.phenotypes import TRAINING_SET

SIZES = ("12500x12500", "25000x25000", "25000x50000", "50000x50000")
LOCI, HERITABILITY, HELD_OUT = 1_000, 0.5, 20
PEER_TOLERANCE = 1e-4


def make(n_lines: int, n_markers: int, folder: Path, seed: int = 1) -> None:
    """A packed table, true values and line means, chromosome by chromosome."""
    rng, per, packed, genetic_N = np.random.default_rng(seed), -(-n_markers // CHROMOSOMES), [], np.zeros(n_lines)
    for c in range(CHROMOSOMES):
        dosage_mN = simulate(n_lines, min(per, n_markers - c * per), seed + c).dosage_MN
        loci = np.maximum(dosage_mN[rng.choice(len(dosage_mN), LOCI // CHROMOSOMES, replace=False)], 0).astype(float)
        genetic_N += (rng.normal(size=len(loci)) / (loci.std(axis=1) + 1e-9)) @ (loci - loci.mean(axis=1)[:, None])
        packed.append(np.concatenate([pack(dosage_mN[at:at + 1024]) for at in range(0, len(dosage_mN), 1024)]))
    variants = pl.DataFrame({"variant_id": [f"m{i:07d}" for i in range(n_markers)], "chromosome": "1",
                             "position": np.arange(1, n_markers + 1), "ref": "A", "alt": "C"})
    GenotypeTable.from_packed(variants, [f"L{i:07d}" for i in range(n_lines)], np.concatenate(packed)).save(folder)
    genetic_N *= np.sqrt(HERITABILITY) / genetic_N.std()
    np.save(folder / "genetic_N.npy", genetic_N)
    np.save(folder / "y_N.npy", genetic_N + rng.normal(size=n_lines) * np.sqrt(1 - HERITABILITY))


def part(whole: Path, n_lines: int, n_markers: int, folder: Path) -> None:
    """The first lines and evenly spaced markers of a panel, as a panel of its own."""
    table = GenotypeTable.open(whole)
    kept_M = np.linspace(0, table.n_variants - 1, n_markers).astype(np.int64)
    table.select(variants=kept_M).select(lines=table.lines[:n_lines]).save(folder)
    for name in ("genetic_N.npy", "y_N.npy"):
        np.save(folder / name, np.load(whole / name)[:n_lines])


def opened(folder: Path) -> tuple[TrainingSet, np.ndarray]:
    """The training set, packed calls in memory, and the true values."""
    table = GenotypeTable.open(folder)
    _ = table.packed_MB
    n_train = table.n_lines - table.n_lines // HELD_OUT
    means = pl.DataFrame({"line_id": table.lines[:n_train], "trait": "y", "mean": np.load(folder / "y_N.npy")[:n_train],
                          "error_variance": None, "error_loadings": None, "n_environments": 1, "n_records": 1,
                          "first_season": "1", "last_season": "1", "genotyped": True},
                         schema_overrides={"error_variance": pl.Float64, "error_loadings": pl.List(pl.Float64)})
    return TrainingSet("1", TRAINING_SET.conform(means), table), np.load(folder / "genetic_N.npy")


def peak() -> float:
    """Largest resident memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def fit_one(folder: Path, draws: int, device: str) -> dict[str, float | str]:
    """One fit: what it took and what it found."""
    learnt, genetic_N = opened(folder)
    few = learnt.genotypes.select(np.arange(200)).select(lines=learnt.genotypes.lines[:500])
    WholeGenomeRidge(draws=32).fit(TrainingSet("1", learnt.means, few))  # compiles
    before, began, cpu = peak(), time.perf_counter(), time.process_time()
    fitted = WholeGenomeRidge(draws=draws).fit(learnt, device=device)
    taken, used = time.perf_counter() - began, time.process_time() - cpu
    said, held_out = fitted.summary()["y"], slice(-(len(genetic_N) // HELD_OUT), None)
    r = np.corrcoef(fitted.panel_values_4PT[0, held_out, 0], genetic_N[held_out])[0, 1]
    return {"wall_s": taken, "cpu_s": used, "passes": said["passes"], "reml_steps": said["reml_steps"],
            "h2": said["heritability_line_mean"], "r": float(r), "packed_MB": learnt.genotypes.packed_MB.nbytes / 1e6,
            "before_MB": before, "peak_MB": peak(), "said": said["convergence"]}


def passes_one(folder: Path) -> dict[str, float | str]:
    """One pass over the packed calls for as many columns as REML and the draws have, 34 and 130."""
    learnt, _ = opened(folder)
    panel, p_M, before = learnt.genotypes, markers.panel_frequencies(learnt.genotypes), peak()
    product, rng = relationship_product(panel, p_M, marker_scale(p_M), "cpu"), np.random.default_rng(1)
    few = panel.select(np.arange(64))
    relationship_product(few, p_M[:64], 1.0, "cpu")(np.ones((panel.n_lines, 2)))  # compiles
    found: dict[str, float | str] = {"before_MB": before}
    for columns in (FEWEST + 2, 130):
        right_PL = rng.standard_normal((panel.n_lines, columns))
        began, cpu = time.perf_counter(), time.process_time()
        product(right_PL)
        used = time.process_time() - cpu
        rate = 4 * panel.n_lines * panel.n_variants * columns / used / 1e9
        found |= {f"cpu_s_{columns}": used, f"wall_s_{columns}": time.perf_counter() - began, f"gflop_{columns}": rate}
    return found | {"packed_MB": panel.packed_MB.nbytes / 1e6, "peak_MB": peak()}


def compare_one(folder: Path, rounds: int) -> dict[str, float | str]:
    """One ridge solution at a known ratio: ours from packed calls, scikit-learn's from float32, in turns."""
    from sklearn.linear_model import Ridge

    learnt, _ = opened(folder)
    panel, (data,) = learnt.genotypes, trait_data(learnt.means, learnt.genotypes.lines)
    p_M = markers.panel_frequencies(panel)
    scale = marker_scale(p_M)
    theta = np.array([0.25, HERITABILITY])
    z_NM = markers.centred(panel.dosages(dtype=np.int8).astype(np.float32), p_M.astype(np.float32)).astype(np.float32)
    z_NM = np.ascontiguousarray(z_NM[data.rows_N])
    product, none_PS = relationship_product(panel, p_M, scale, "cpu"), np.zeros((panel.n_lines, 0), np.float32)
    ours_s, peer_s, found, passes = [], [], {}, 0
    for _ in range(rounds):
        began = time.process_time()
        job = TraitJob(data, theta, True, none_PS, 0, PEER_TOLERANCE, 1)
        run([job], product, panel.n_lines, Checkpoint(None), "")
        solved, weights_P1 = job.solved(), np.zeros((panel.n_lines, 1), np.float32)
        weights_P1[data.rows_N, 0], passes = solved.dual_NC[:, 0], solved.passes
        found["ours"] = theta[0] / scale * markers.marker_sums(panel, p_M, weights_P1)[:, 0]
        ours_s.append(time.process_time() - began)
        began = time.process_time()
        ridge = Ridge(alpha=theta[1] * scale / theta[0], solver="sparse_cg", tol=PEER_TOLERANCE).fit(z_NM, data.y_N)
        found["peer"] = ridge.coef_
        peer_s.append(time.process_time() - began)
    values = [z_NM @ effect_M.astype(np.float32) for effect_M in found.values()]
    return {"ours_cpu_s": min(ours_s), "sparse_cg_cpu_s": min(peer_s), "ratio": min(peer_s) / min(ours_s),
            "passes": passes, "r_values": float(np.corrcoef(values)[0, 1]),
            "packed_MB": panel.packed_MB.nbytes / 1e6, "float32_MB": z_NM.nbytes / 1e6}


def prepared(folder: Path, size: str, largest: Sequence[int]) -> Path:
    """The folder of a panel of this size, made if it is not there: a part of the largest, which is simulated."""
    whole, wanted = folder / f"{largest[0]}x{largest[1]}", folder / size
    if not (whole / "y_N.npy").is_file():
        make(largest[0], largest[1], whole)
    if not (wanted / "y_N.npy").is_file():
        n_lines, n_markers = map(int, size.split("x"))
        part(whole, n_lines, n_markers, wanted)
    return wanted


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="lines × markers, as 12500x12500")
    parser.add_argument("--lines", type=int, help="one size, instead of --sizes")
    parser.add_argument("--markers", type=int, default=50_000, help="beside --lines")
    parser.add_argument("--draws", type=int, default=128)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--passes", action="store_true", help="one product with all calls instead of a fit")
    parser.add_argument("--peer", action="store_true", help="one solution beside scikit-learn's sparse_cg")
    parser.add_argument("--rounds", type=int, default=3, help="of --peer")
    parser.add_argument("--folder", type=Path, help="keep panels here, and use those that are there")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one is not None:
        one = (partial(compare_one, rounds=options.rounds) if options.peer else passes_one if options.passes
               else partial(fit_one, draws=options.draws, device=options.device))
        print(json.dumps(one(options.one)))
        return
    sizes = [f"{options.lines}x{options.markers}"] if options.lines else options.sizes
    largest = [max(int(size.split("x")[axis]) for size in sizes) for axis in (0, 1)]
    with tempfile.TemporaryDirectory() as temporary:
        for size in sizes:
            folder = prepared(options.folder or Path(temporary), size, largest)
            passed = ["--draws", str(options.draws), "--device", options.device, "--rounds", str(options.rounds)]
            done = subprocess.run([sys.executable, __file__, "--one", folder, *passed, *["--peer"] * options.peer,
                                   *["--passes"] * options.passes], check=True, stdout=subprocess.PIPE,
                                  text=True)
            told = json.loads(done.stdout)
            print(size, *(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in told.items()),
                  sep=" | ", flush=True)


if __name__ == "__main__":
    main()
