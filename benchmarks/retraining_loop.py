"""The loop, live: a new season's file dropped into landing, until its ranking is published and nothing more happens.

    python benchmarks/retraining_loop.py [--season 2013] [--sensor-seconds 30] [--challengers arc_cosine]

A copy of the rice example has all seasons but the last published by the command line. Then the real web server and
daemon run, the last season's trial file is dropped, and nobody touches anything. Printed: seconds until the run
begins, until the season is published, and how many runs the file started in all, with the decisions they came to.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import polars as pl

from genomic_platform.catalogue import ASSETS
from genomic_platform.program import read_program
from genomic_platform.results.history import history
from genomic_platform.runs import run_seasons, stale_seasons
from genomic_platform.stores.assets import AssetStore
from genomic_platform.workspace import Workspace
from genomic_platform_tests.support.served import Served, serving

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "rice_japonica_uy"
#: Seconds without a run of the programme under way after which the loop has come to rest, in looks of the sensors.
QUIET_LOOKS = 4


def prepare(folder: Path, season: str, challengers: list[str]) -> tuple[Path, Path]:
    """A copy of the example without the season's trial rows; its folder, and the file with these rows."""
    program = folder / EXAMPLE.name
    shutil.copytree(EXAMPLE, program)
    whole = program / "landing" / "trials" / "phenotypes.csv"
    rows = pl.read_csv(whole, infer_schema_length=0)
    dropped = folder / f"trials_{season}.csv"
    rows.filter(pl.col("season") == season).write_csv(dropped)
    rows.filter(pl.col("season") < season).write_csv(whole)
    with (program / "program.toml").open("a") as file:
        file.write(f"\n[retraining]\nchallengers = [{', '.join(map(repr, challengers))}]\n")
    return program, dropped


def measure(folder: Path, season: str, sensor_seconds: int, challengers: list[str]) -> None:
    program_folder, dropped = prepare(folder, season, challengers)
    program, workspace = read_program(program_folder), Workspace.beside(program_folder)
    workspace.register(program)
    for outcome in run_seasons(program, workspace, stale_seasons(program, workspace)):
        print(f"season {outcome.season} published by the command line in {outcome.seconds:.1f} s", flush=True)
    main = AssetStore(workspace.store, program.name)
    with serving(workspace.root, sensor_seconds) as served:
        time.sleep(2 * sensor_seconds)  # the sensors' first looks
        began = time.time()
        shutil.copyfile(dropped, program_folder / "landing" / "trials" / dropped.name)
        served.until(lambda: season in main.published(), 1_200, "the dropped season is published")
        published = time.time()
        at_rest(served, program.name, QUIET_LOOKS * sensor_seconds)
        runs = served.runs(program=program.name)
    mine = [run for run in runs if run["startTime"] and run["startTime"] >= began]
    print(f"\n{dropped.name}: first run begins after {mine[0]['startTime'] - began:.1f} s, published after "
          f"{published - began:.1f} s (sensors look every {sensor_seconds} s); {len(mine)} runs in all")
    for entry in history(program.name, workspace)[-len(mine):]:
        print(f"- {entry.kind}: {entry.trigger}\n  {entry.done}\n  {entry.helped}")
    ranked = main.read("selection_index", season, ASSETS["selection_index"])
    print(f"{ranked.height} lines ranked, the best {', '.join(ranked['line_id'].head(3))}")


def at_rest(served: Served, program: str, seconds: float) -> None:
    """Until no run of the programme has been under way for so long."""
    quiet = time.monotonic()
    while time.monotonic() - quiet < seconds:
        if any(run["status"] not in ("SUCCESS", "FAILURE", "CANCELED") for run in served.runs(program=program)):
            quiet = time.monotonic()
        time.sleep(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--season", default="2013")
    parser.add_argument("--sensor-seconds", type=int, default=30)
    parser.add_argument("--challengers", nargs="*", default=["arc_cosine"])
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), chosen.season, chosen.sensor_seconds, chosen.challengers)
