"""A season's whole drift report at size, beside Evidently alone on plain columns.

    python benchmarks/drift_report.py [--lines 2000] [--markers 100000] [--long] [--folder PANEL]

Ours: the genotype shift of all markers (`drift/population.py`, relationship given, as the asset has it), the
comparison of environments (50 features, 60 environments) and of lines, and both pages of Evidently's, at most 50
columns each. Evidently alone: its DataDriftPreset by Kolmogorov–Smirnov on as many lines × 10, 100 and, with `--long`,
1,000 columns, as a person would give it markers. Each part is a process of its own; seconds are after imports, wall and
processor; memory is the process's peak. All in one run; ratios are of processor seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

FAMILY, FOUNDERS, NEW_SHARE, COMPONENTS, TRAITS = 20, 60, .2, 10, 7
_BLOCK = 5_000


def panel(n_lines: int, n_markers: int, folder: Path, seed: int = 1) -> None:
    """Inbred families of two founders each, the last fifth of the families new; table, relationship and components."""
    from genomic_platform.genotypes.kinship.relationship import vanraden
    from genomic_platform.genotypes.table import GenotypeTable

    rng = np.random.default_rng(seed)
    family_N = np.arange(n_lines) // FAMILY
    parents_N2 = rng.integers(0, FOUNDERS, (family_N[-1] + 1, 2))[family_N]
    dosage_MN = np.empty((n_markers, n_lines), np.int8)
    for start in range(0, n_markers, _BLOCK):
        founders_mF = rng.random((min(_BLOCK, n_markers - start), FOUNDERS)) < rng.beta(1, 1, min(
            _BLOCK, n_markers - start))[:, None]
        side_mN = (rng.random((len(founders_mF), n_lines)) < .01).cumsum(axis=0) % 2  # about 50 markers a segment
        dosage_MN[start:start + _BLOCK] = 2 * founders_mF[
            np.arange(len(founders_mF))[:, None], parents_N2[np.arange(n_lines), side_mN]]
    variants = pl.DataFrame({
        "variant_id": [f"m{i}" for i in range(n_markers)], "position": np.arange(n_markers) + 1, "ref": "A", "alt": "C",
        "chromosome": [str(1 + i * 10 // n_markers) for i in range(n_markers)]})
    table = GenotypeTable.from_dosages(variants, [f"L{i:05d}" for i in range(n_lines)], dosage_MN)
    (folder / "table").mkdir(parents=True)
    table.save(folder / "table")
    np.save(folder / "relationship.npy", vanraden(table).matrix_NN)


def _measured(work: dict[str, object]) -> None:
    """Run the parts and print their seconds and this process's peak memory."""
    found = {}
    for name, do in work.items():
        began, spent = time.perf_counter(), time.process_time()
        do()  # type: ignore[operator]
        found[name] = (time.perf_counter() - began, time.process_time() - spent)
    print(json.dumps({"parts": found, "peak_mb": _peak_mb()}))


def _peak_mb() -> float:
    """Of this program alone; `ru_maxrss` would begin with the memory of the process that started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def ours(folder: Path) -> None:
    """The drift report in this process."""
    import evidently.presets  # noqa: F401

    from genomic_platform.drift.comparisons import lines_compared
    from genomic_platform.drift.evidently_pages import drift_page
    from genomic_platform.drift.population import genotype_shift
    from genomic_platform.genotypes.kinship.relationship_table import relationship_table
    from genomic_platform.genotypes.table import GenotypeTable
    from genomic_platform_tests.support.drifting import environments

    table, matrix_NN = GenotypeTable.open(folder / "table"), np.load(folder / "relationship.npy")
    lines, rng = list(table.lines), np.random.default_rng(1)
    known = round(len(lines) * (1 - NEW_SHARE)) // FAMILY * FAMILY
    families = {line: f"F{i // FAMILY}" for i, line in enumerate(lines)}
    traits = [f"trait_{t}" for t in range(TRAITS)]
    values = pl.concat([pl.DataFrame({"line_id": lines, "trait": trait, "genotypic_value": rng.normal(size=len(lines)),
                                      "genotypic_value_reliability": rng.random(len(lines))}) for trait in traits])
    values = values.with_columns(environment=pl.lit(None, pl.String), breeding_value="genotypic_value",
                                 phenotyped=pl.lit(True))
    structure = pl.DataFrame({"line_id": lines * COMPONENTS, "component": np.repeat(
        np.arange(COMPONENTS) + 1, len(lines)), "score": rng.normal(size=len(lines) * COMPONENTS)})
    harvest = values.select("line_id", "trait", observed=pl.col("genotypic_value") * .5)
    records = pl.DataFrame({"line_id": lines, "family": list(families.values())})
    relationship = relationship_table(lines, matrix_NN)
    pages = Path(tempfile.mkdtemp())

    def lines_page() -> None:
        drift_page(lines_compared(values, structure, relationship, records, season="2024", trained_before=lines[:known],
                                  promised=values, harvest=harvest), pages)

    _measured({
        "genotype shift": lambda: genotype_shift(
            table, season="2024", new_lines=lines[known:], reference_lines=lines[:known], families=families,
            relationship_NN=matrix_NN),
        "environments, their page": lambda: drift_page(environments(), pages), "lines, their page": lines_page})


def evidently_alone(n_lines: int, n_columns: int) -> None:
    """Evidently's own drift report of plain columns, saved as a page."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    rng, names = np.random.default_rng(1), [f"m{i}" for i in range(n_columns)]
    known = round(n_lines * (1 - NEW_SHARE))
    table = pl.DataFrame(rng.normal(size=(n_lines, n_columns)), schema=names).to_pandas()

    def report() -> None:
        definition = DataDefinition(numerical_columns=names)
        reference, current = (Dataset.from_pandas(t, data_definition=definition)
                              for t in (table.iloc[:known], table.iloc[known:]))
        Report([DataDriftPreset(num_method="ks")]).run(current, reference).save_html(
            str(Path(tempfile.mkdtemp()) / "page.html"))

    _measured({f"Evidently alone, {n_columns} columns": report})


def _in_a_process(arguments: Sequence[str]) -> dict[str, object]:
    done = subprocess.run([sys.executable, "-W", "ignore", __file__, *arguments], stdout=subprocess.PIPE, check=True,
                          text=True, env={**os.environ, "DO_NOT_TRACK": "1"})
    return json.loads(done.stdout.splitlines()[-1])


def _table(results: Sequence[dict[str, object]]) -> None:
    whole = sum(processor for _, processor in results[0]["parts"].values())  # type: ignore[attr-defined]
    print("| work | s | processor s | peak MB | × the drift report |\n|---|---|---|---|---|")
    for result in results:
        parts: dict[str, list[float]] = result["parts"]  # type: ignore[assignment]
        if len(parts) > 1:
            parts = parts | {"**the drift report**": [sum(p[k] for p in parts.values()) for k in (0, 1)]}
        for name, (wall, processor) in parts.items():
            print(f"| {name} | {wall:.2f} | {processor:.2f} | {result['peak_mb']:.0f} | {processor / whole:.2f} |")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=2000)
    parser.add_argument("--markers", type=int, default=100_000)
    parser.add_argument("--long", action="store_true", help="Evidently alone on 1,000 columns as well")
    parser.add_argument("--folder", type=Path, help="keep the panel there, or take it from there")
    parser.add_argument("--part", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.part:
        warnings.simplefilter("ignore")
        ours(options.folder) if options.part == ["ours"] else evidently_alone(options.lines, int(options.part[0]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name) / "panel"
        if not folder.is_dir():
            panel(options.lines, options.markers, folder)
        parts = ["ours", "10", "100", *(["1000"] if options.long else [])]
        _table([_in_a_process(["--lines", str(options.lines), "--folder", str(folder), "--part", part])
                for part in parts])


if __name__ == "__main__":
    main()
