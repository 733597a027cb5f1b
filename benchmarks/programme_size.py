"""Wall time and peak memory of a whole programme at size: `genomic-platform init` and `run` as a person types them.

The programme is generated: 5,500 lines in 40 families × 4,300 markers × 7 traits × about 60,000 plot records in
12 environments of 3 seasons. How to run it and what it gave: README.md beside this file.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from genomic_platform_tests.support.breeding import Landing, Programme, simulate, write_landing

LIMIT_SECONDS, LIMIT_GB = 600.0, 8.0


@dataclass(frozen=True)
class Command:
    """One command as it went: wall and processor seconds, peak resident memory of its process."""

    name: str
    seconds: float
    cpu_seconds: float
    peak_gb: float


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="programme_size_") as temporary:
        root = options.folder or Path(temporary)
        began = time.monotonic()
        landing, size = _generate(root / "files", options.lines, options.seed)
        print(f"generated in {time.monotonic() - began:.0f} s: {size}", flush=True)
        programme = root / "large"
        shutil.rmtree(programme, ignore_errors=True)
        shutil.rmtree(root / ".genomic_platform", ignore_errors=True)
        commands = [
            _timed("init", programme, "--genotypes", landing.genotypes, "--trials", landing.trials, "--lines",
                   landing.lines, "--environments", landing.environments),
            _timed("run", programme), _timed("run", programme), _timed("report", programme)]
        steps = _steps(root / ".genomic_platform")
        stored_gb = sum(p.stat().st_size for p in (root / ".genomic_platform").rglob("*") if p.is_file()) / 1e9
    _print(commands, steps, stored_gb)
    first = commands[:2]
    if sum(c.seconds for c in first) > LIMIT_SECONDS or max(c.peak_gb for c in first) > LIMIT_GB:
        sys.exit(f"over the limit of {LIMIT_SECONDS:.0f} s and {LIMIT_GB:.0f} GB for init and the first run")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the generated large programme end to end and measure it.")
    parser.add_argument("--lines", type=int, help="fewer lines, for a quick look (families shrink with them)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keep files, programme and workspace here")
    return parser.parse_args()


def _generate(folder: Path, lines: int | None, seed: int) -> tuple[Landing, str]:
    programme = Programme.large()
    if lines:
        programme = replace(programme, n_lines=lines, advanced=programme.advanced * lines // programme.n_lines)
    simulated = simulate(programme, seed)
    landing = write_landing(simulated, folder)
    return landing, (f"{programme.n_lines:,} lines in {programme.n_families} families × {programme.n_markers:,} "
                     f"markers × {programme.n_traits} traits × {simulated.trials.height:,} plots in "
                     f"{len(simulated.truth.environments)} environments of {programme.n_seasons} seasons")


def _timed(*words: object) -> Command:
    """Run `genomic-platform …`, showing what it says, and measure its process."""
    arguments = [str(Path(sys.executable).with_name("genomic-platform")), *map(str, words)]
    began = time.monotonic()
    process = subprocess.Popen(arguments)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(arguments)} ended with exit code {process.returncode}")
    return Command(str(words[0]), time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6)


def _steps(workspace: Path) -> pl.DataFrame:
    """Seconds of every step by season, slowest first, from the runs' Dagster events."""
    import dagster as dg

    rows = []
    with dg.DagsterInstance.from_config(str(workspace / "dagster")) as instance:
        for run in instance.get_runs():
            season = run.tags["dagster/partition"].rpartition(":")[2]
            rows += [{"step": s.step_key, "season": season, "seconds": s.end_time - s.start_time}
                     for s in instance.get_run_step_stats(run.run_id) if s.start_time and s.end_time]
    return pl.DataFrame(rows).pivot("season", index="step", values="seconds", sort_columns=True) \
        .with_columns(pl.sum_horizontal(pl.exclude("step")).alias("all")).sort("all", descending=True)


def _print(commands: list[Command], steps: pl.DataFrame, stored_gb: float) -> None:
    print("\n| command | wall s | processor s | peak GB |\n|---|---|---|---|")
    for c in commands:
        print(f"| `{c.name}` | {c.seconds:.1f} | {c.cpu_seconds:.1f} | {c.peak_gb:.2f} |")
    print(f"\nworkspace on disk: {stored_gb:.2f} GB\n\n| {' | '.join(steps.columns)} |\n|{'---|' * steps.width}")
    for step, *seconds in steps.iter_rows():
        print(f"| {step} | {' | '.join('' if s is None else f'{s:.1f}' for s in seconds)} |")


if __name__ == "__main__":
    main()
