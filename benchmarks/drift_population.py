"""Population drift: its speed beside Evidently, and how often its decisions are right in simulated seasons.

    python benchmarks/drift_population.py time [--rounds 5] [--folder DIR]
    python benchmarks/drift_population.py simulate [--seasons 400] [--processes 2]

`time`: all markers of 2,000 + 2,000 lines against Evidently's drift preset on 100 of them, in turns, in one process;
and the whole population report of 2,000 lines x 100,000 markers in a process of its own. `simulate`: founders are
mosaics of twelve ancestors, lines inbred progeny of two founders, eight new families against twenty-four; each season
is decided on by the package's own rule (`genotype_shift`). N lines, M markers, m of a block, F families, K sources.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from genomic_platform.drift.markers import marker_shift
from genomic_platform.drift.population import genotype_shift
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.table import GenotypeTable

MARKERS, CHROMOSOMES, FOUNDERS, ANCESTORS = 2_000, 10, 30, 12
REFERENCE_FAMILIES, NEW_FAMILIES, SIZE, PARENTS = 24, 8, 12, 12
EVIDENTLY_COLUMNS = 100


@dataclass(frozen=True)
class Scenario:
    """What a season is like: new families, how many of them from another base, the share of markers swapped in the new
    lines, whether parents are the best reference lines, whether families are known."""

    name: str
    new_families: int = NEW_FAMILIES
    foreign: int = 0
    swapped: float = 0.0
    next_cycle: bool = False
    families_known: bool = True


SCENARIOS = (
    Scenario("same base, 8 new families"),
    Scenario("same base, 8, families unknown", families_known=False),
    Scenario("same base, 3 new families", new_families=3),
    Scenario("progeny of the 12 best lines", next_cycle=True),
    Scenario("1 of 8 from another base", foreign=1),
    Scenario("2 of 8 from another base", foreign=2),
    Scenario("4 of 8 from another base", foreign=4),
    Scenario("8 of 8 from another base", foreign=8),
    Scenario("8 of 8, families unknown", foreign=8, families_known=False),
    Scenario("1 % of markers swapped", swapped=0.01),
    Scenario("5 % of markers swapped", swapped=0.05),
    Scenario("5 %, families unknown", swapped=0.05, families_known=False),
    Scenario("5 %, 3 new families", swapped=0.05, new_families=3),
    Scenario("5 %, progeny of the 12 best lines", swapped=0.05, next_cycle=True),
    Scenario("5 %, 4 of 8 from another base", swapped=0.05, foreign=4),
    Scenario("5 %, 8 of 8 from another base", swapped=0.05, foreign=8),
    Scenario("20 % of markers swapped", swapped=0.2),
    Scenario("all markers swapped", swapped=1.0),
)


@dataclass(frozen=True, eq=False)
class Made:
    """A simulated season: its table, both sides, families, and the markers that were swapped."""

    table: GenotypeTable
    reference: list[str]
    new: list[str]
    families: dict[str, str]
    swapped: set[str]


def _variants(n_markers: int) -> pl.DataFrame:
    marker = np.arange(n_markers)
    return pl.DataFrame({"variant_id": [f"m{i:06d}" for i in marker], "position": marker + 1, "ref": "A", "alt": "C",
                         "chromosome": [f"{c:02d}" for c in marker * CHROMOSOMES // n_markers + 1]})


def _mosaic(rng: np.random.Generator, sources_KM: np.ndarray, n: int, rate: float) -> np.ndarray:
    """n haplotypes, each changing its source with probability `rate` a marker, and at every chromosome."""
    n_markers = sources_KM.shape[1]
    cut_NM = rng.random((n, n_markers)) < rate
    cut_NM[:, :: n_markers // CHROMOSOMES] = True
    source_NM = rng.integers(0, len(sources_KM), (n, n_markers))
    segment_NM = np.maximum.accumulate(np.where(cut_NM, np.arange(n_markers), 0), axis=1)
    return sources_KM[np.take_along_axis(source_NM, segment_NM, 1), np.arange(n_markers)]


def _families(rng: np.random.Generator, pools: Sequence[np.ndarray]) -> np.ndarray:
    """One family of inbred lines from two parents of each pool."""
    return np.concatenate([_mosaic(rng, pool[rng.choice(len(pool), 2, replace=False)], SIZE, 0.02) for pool in pools])


def _founders(rng: np.random.Generator, p_M: np.ndarray) -> np.ndarray:
    return _mosaic(rng, rng.random((ANCESTORS, len(p_M))) < p_M, FOUNDERS, 1 / 40)


def season(seed: int, scenario: Scenario) -> Made:
    """Families of a base, new families, 2 % missing calls; markers below 3 % are dropped.

    Another base is ancestors of its own at frequencies that drifted from the first's by F_ST .1 (Balding and Nichols).
    """
    rng = np.random.default_rng(seed)
    p_M = rng.beta(1, 1, MARKERS).clip(0.02, 0.98)
    base = _founders(rng, p_M)
    other = _founders(rng, rng.beta(9 * p_M, 9 * (1 - p_M))) if scenario.foreign else base
    known = _families(rng, [base] * REFERENCE_FAMILIES)
    best = known[np.argsort(-(known @ rng.normal(size=MARKERS)))[:PARENTS]]
    near = best if scenario.next_cycle else base
    new = _families(rng, [other] * scenario.foreign + [near] * (scenario.new_families - scenario.foreign))
    dosage_NM = 2 * np.concatenate([known, new]).astype(np.int8)
    swapped = rng.permutation(MARKERS)[: round(scenario.swapped * MARKERS)]
    dosage_NM[len(known) :, swapped] = 2 - dosage_NM[len(known) :, swapped]
    frequency_M = dosage_NM.mean(axis=0) / 2
    dosage_NM[rng.random(dosage_NM.shape) < 0.02] = packing.MISSING
    lines = [f"L{i:03d}" for i in range(len(dosage_NM))]
    table = GenotypeTable.from_dosages(_variants(MARKERS), lines, np.ascontiguousarray(dosage_NM.T)).select(
        (frequency_M > 0.03) & (frequency_M < 0.97))
    return Made(table, lines[: len(known)], lines[len(known) :],
                {line: f"F{i // SIZE}" for i, line in enumerate(lines)},
                {f"m{i:06d}" for i in swapped} & set(table.variants["variant_id"]))


def decided(seed: int, scenario: Scenario) -> tuple[str, float, int]:
    """Decision, share of the swapped markers that is listed, and how many others are."""
    made = season(seed, scenario)
    report, _ = genotype_shift(made.table, season="new", new_lines=made.new, reference_lines=made.reference,
                               families=made.families if scenario.families_known else {}, seed=seed)
    suspects = set(report["suspects"][0])
    return (report["decision"][0], len(suspects & made.swapped) / max(len(made.swapped), 1),
            len(suspects - made.swapped))


def row(pool: ProcessPoolExecutor, scenario: Scenario, seasons: int) -> str:
    """One row of the table: decisions in %, swapped markers listed, others listed."""
    decisions, listed, others = zip(*pool.map(partial(decided, scenario=scenario), range(seasons), chunksize=10),
                                    strict=True)
    counts = Counter(decisions)
    shares = [f"{100 * counts[name] / seasons:.1f}" for name in ("same_base", "new_family", "platform")]
    found = f"{100 * np.mean(listed):.0f} %" if scenario.swapped else "–"
    return f"| {scenario.name} | {' | '.join(shares)} | {found} | {np.mean(others):.2f} |"


def simulate(seasons: int, processes: int) -> None:
    began = time.monotonic()
    print("| new lines | same_base, % | new_family, % | platform, % | swapped markers listed | others listed, mean |")
    print("|---|---|---|---|---|---|")
    with ProcessPoolExecutor(processes) as pool:
        for scenario in SCENARIOS:
            print(row(pool, scenario, seasons), flush=True)
    print(f"\n{seasons} seasons a row, {time.monotonic() - began:.0f} s on {processes} processes")


def _panel(n_lines: int, n_markers: int, family: int) -> GenotypeTable:
    """Inbred families of `family` lines that differ in frequency, 2 % missing; a tenth of F_ST, no linkage."""
    rng = np.random.default_rng(1)
    packed_MB = np.empty((n_markers, packing.n_bytes(n_lines)), dtype=np.uint8)
    for start in range(0, n_markers, 4096):
        packed_mB = packed_MB[start : start + 4096]
        p_mF = rng.beta(1, 1, (len(packed_mB), 1)) + rng.normal(0, 0.15, (len(packed_mB), n_lines // family))
        dosage_mN = 2 * (rng.random((len(packed_mB), n_lines)) < np.repeat(p_mF, family, axis=1)).astype(np.int8)
        dosage_mN[rng.random(dosage_mN.shape) < 0.02] = packing.MISSING
        packed_mB[:] = packing.pack(dosage_mN)
    return GenotypeTable.from_packed(_variants(n_markers), [f"L{i:05d}" for i in range(n_lines)], packed_MB)


def _clocked(work: Callable[[], object]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def time_markers(rounds: int) -> None:
    """All 50,000 markers of 2,000 + 2,000 lines here, 100 of them by Evidently, in turns after one warm-up each."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    table = _panel(4_000, 50_000, 40)
    old, new = table.lines[:2_000], table.lines[2_000:]
    shown = table.select(np.linspace(0, table.n_variants - 1, EVIDENTLY_COLUMNS).astype(int))
    columns = DataDefinition(categorical_columns=shown.variants["variant_id"].to_list())
    frames = [pl.DataFrame(shown.dosages(lines=lines), columns.categorical_columns).to_pandas()
              for lines in (old, new)]

    def evidently() -> None:
        current, reference = (Dataset.from_pandas(frame, data_definition=columns) for frame in reversed(frames))
        Report([DataDriftPreset()], include_tests=True).run(current, reference).dict()

    works = {"ours": lambda: marker_shift(table, new_lines=new, reference_lines=old), "evidently": evidently}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            seconds = _clocked(work)
            if turn:
                taken[name].append(seconds)
    wall, processor = ({name: statistics.median(s[i] for s in taken[name]) for name in works} for i in (0, 1))
    print("| work | wall s | processor s |\n|---|---|---|")
    print(f"| χ², F_ST and PSI of 50,000 markers, 2,000 + 2,000 lines | {wall['ours']:.3f} | {processor['ours']:.3f} |")
    print(f"| Evidently, 100 of the markers | {wall['evidently']:.2f} | {processor['evidently']:.2f} |")
    print(f"| ratio | {wall['evidently'] / wall['ours']:.0f} | {processor['evidently'] / processor['ours']:.0f} |")


REPORT = """
import json, re, sys, time
import numpy as np, polars as pl
from genomic_platform.drift.population import genotype_shift
from genomic_platform.drift.relatives import line_trust
from genomic_platform.drift.structure_shift import population_shift
from genomic_platform.genotypes.population.structure import principal_components
from genomic_platform.genotypes.table import GenotypeTable
import genomic_platform.drift.marker_kernels, scipy.sparse.linalg, threadpoolctl
folder = sys.argv[1]
# not getrusage: its peak begins with that of the process that started this one
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
began, found = time.perf_counter(), {"imported, MB": peak()}
def took(name, since=[time.perf_counter(), time.process_time()]):
    now = [time.perf_counter(), time.process_time()]
    found[name + ", wall s"], found[name + ", processor s"] = (b - a for a, b in zip(since, now))
    since[:] = now
table, matrix_NN = GenotypeTable.open(folder), np.load(folder + "/matrix.npy")
scores = pl.read_parquet(folder + "/scores.parquet")
lines, n = list(table.lines), table.n_lines
given = dict(season="s", new_lines=lines[n * 4 // 5 :], reference_lines=lines[: n * 4 // 5],
             families={line: f"F{i // 40}" for i, line in enumerate(lines)}, relationship_NN=matrix_NN)
took("reading")
report, _ = genotype_shift(table, **given)
took("genotype_shift")
population_shift(table, scores, **given)
took("population_shift")
values = pl.DataFrame({"line_id": lines, "environment": None, "genotypic_value_reliability": .5},
                      schema_overrides={"environment": pl.String})
line_trust(values, given["reference_lines"], lines, matrix_NN)
took("line_trust")
found["all, wall s"], found["peak, MB"] = time.perf_counter() - began, peak()
found["decision"] = report["decision"][0]
print(json.dumps(found))
"""


def time_report(folder: Path, rounds: int) -> None:
    """The report of 2,000 lines x 100,000 markers in processes of their own."""
    from genomic_platform.genotypes.kinship.relationship import vanraden
    from genomic_platform.genotypes.population.structure import principal_components

    table = _panel(2_000, 100_000, 40)
    table.save(folder)
    matrix_NN = vanraden(table).matrix_NN
    np.save(folder / "matrix.npy", matrix_NN)
    principal_components(matrix_NN, table.lines).write_parquet(folder / "scores.parquet")
    told = [json.loads(subprocess.run([sys.executable, "-c", REPORT, str(folder)], capture_output=True, text=True,
                                      check=True, env=os.environ).stdout) for _ in range(rounds + 1)][1:]
    print("\n| 2,000 lines x 100,000 markers | median |\n|---|---|")
    for name in told[0]:
        values = [t[name] for t in told]
        print(f"| {name} | {values[0] if isinstance(values[0], str) else round(statistics.median(values), 2)} |")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["time", "simulate"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seasons", type=int, default=400)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args(arguments)
    if options.part == "simulate":
        simulate(options.seasons, options.processes)
        return
    time_markers(options.rounds)
    with tempfile.TemporaryDirectory() as temporary:
        time_report(options.folder or Path(temporary), options.rounds)


if __name__ == "__main__":
    main()
