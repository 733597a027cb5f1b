"""How time and memory of the genotype engine grow with lines and markers: one plot, and the table behind it.

    python benchmarks/genotypes_growth.py --folder DIR [--out docs/genotypes_growth.png] [--rounds 3]

Every command is a process of its own, start of Python included; the least of the rounds' seconds is kept. Lines grow at
10,000 markers, markers at 2,000 lines.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from genotypes import OURS, Bench, measured

LINES, AT_MARKERS = (500, 1_000, 2_000, 4_000, 8_000), 10_000
MARKERS, AT_LINES = (12_500, 25_000, 50_000, 100_000), 2_000
COLOURS = {"ingest": "#2f6f4f", "qc": "#c2703d", "grm": "#3c6997", "pca": "#8c5a9e", "prune": "#b8a13a",
           "export": "#5f7d8c"}


def work(bench: Bench, n_lines: int, n_markers: int) -> dict[str, list[str | Path]]:
    """The commands by name, on panels made before."""
    prefix, _ = bench.panel(n_lines, n_markers, vcf=True)
    bench.panel(n_lines, n_markers)
    table = bench.table(prefix)
    return {
        "ingest": [*OURS, "ingest", prefix.with_suffix(".vcf.gz"), "--quiet", "--out", bench.folder / "grown"],
        "qc": [*OURS, "qc", table, "--out", bench.folder / "qc.parquet"],
        "grm": [*OURS, "grm", table, "--out", bench.folder / "grm.npy"],
        "pca": [*OURS, "pca", table, "--out", bench.folder / "pca.parquet", "--method", "randomised"],
        "prune": [*OURS, "prune", table, "--out", bench.folder / "kept.tsv"],
        "export": [*OURS, "export", table, "--to", "bed", "--out", bench.folder / "exported" / "panel"]}


def measure(bench: Bench, sizes: Sequence[tuple[int, int]]) -> dict[str, list[tuple[float, float]]]:
    """Least seconds and largest peak MB of every command at every size."""
    found: dict[str, list[tuple[float, float]]] = {}
    for n_lines, n_markers in sizes:
        for name, command in work(bench, n_lines, n_markers).items():
            runs = []
            for _ in range(bench.rounds):
                bench.fresh("grown")
                bench.fresh("exported").mkdir()
                runs.append(measured(command))
            found.setdefault(name, []).append((min(r.seconds for r in runs), max(r.megabytes for r in runs)))
            print(f"| {name} | {n_lines:,} × {n_markers:,} | {found[name][-1][0]:.2f} | {found[name][-1][1]:,.0f} |",
                  flush=True)
    return found


def draw(path: Path, grown: dict[str, tuple[Sequence[int], dict[str, list[tuple[float, float]]]]]) -> None:
    """Seconds above, memory below; lines to the left, markers to the right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6.2), dpi=110, layout="constrained")
    axes = figure.subplots(2, len(grown), sharex="col")
    for column, (what, (sizes, found)) in enumerate(grown.items()):
        for row, unit in enumerate(("seconds", "peak MB")):
            ax = axes[row][column]
            for name, values in found.items():
                ax.plot(sizes, [v[row] for v in values], "o-", color=COLOURS[name], label=name, markersize=4)
            ax.set_xscale("log", base=2)
            ax.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=8)
            ax.set_yscale("log")
            ax.yaxis.set_major_formatter("{x:g}")
            ax.yaxis.set_minor_formatter("{x:g}")
            ax.tick_params(axis="y", which="both", labelsize=8)
            ax.set_ylabel(unit)
            ax.grid(True, color="#e4e7eb", linewidth=.6)
            ax.spines[["top", "right"]].set_visible(False)
        axes[1][column].set_xlabel(what)
    axes[0][0].legend(frameon=False, fontsize=8)
    figure.savefig(path)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/genotypes_growth.png"))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.folder, options.rounds, 1.0)
    print("| command | size | s | peak MB |\n|---|---|---|---|")
    draw(options.out, {
        f"lines, at {AT_MARKERS:,} markers": (LINES, measure(bench, [(n, AT_MARKERS) for n in LINES])),
        f"markers, at {AT_LINES:,} lines": (MARKERS, measure(bench, [(AT_LINES, m) for m in MARKERS]))})


if __name__ == "__main__":
    main()
