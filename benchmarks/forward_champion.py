"""How well the champion predicts that the gate really chose: a programme replayed, season by season.

    python benchmarks/forward_champion.py PROGRAMME [--candidates NAME…] [--modes reference default]

PROGRAMME is a folder with program.toml and landing/ (examples/rice_japonica_uy); it is copied, and `genomic-platform
run` goes through its seasons in a workspace of its own, once a mode. A season's r is that of the values published at
the season before, by the recipe that was champion then; beside it the r of every candidate, chosen or not.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

MODES = {"reference": ("centred", "none"), "default": ("blue", "errors")}


def replayed(programme: Path, mode: str, candidates: Sequence[str] | None) -> dict[str, Any]:
    """The report on a copy of the programme after all its seasons, as `report --json` gives it."""
    with tempfile.TemporaryDirectory() as folder:
        copy, workspace = Path(folder) / programme.name, Path(folder) / "workspace"
        workspace.mkdir()
        shutil.copytree(programme, copy, ignore=shutil.ignore_patterns(".genomic_platform"))
        said = (copy / "program.toml").read_text(encoding="utf-8")
        for key, value in zip(("means", "weights"), MODES[mode], strict=True):
            said = re.sub(rf"(?m)^{key} *=.*$", f'{key} = "{value}"', said)
        if candidates:
            said = re.sub(r"(?m)^candidates *=.*$", f"candidates = {json.dumps(list(candidates))}", said)
        (copy / "program.toml").write_text(said, encoding="utf-8")
        environment = os.environ | {"GENOMIC_PLATFORM_WORKSPACE": str(workspace)}
        command = [sys.executable, "-c", "from genomic_platform.cli import main; main()"]
        subprocess.run([*command, "run", str(copy)], env=environment, check=True, stdout=subprocess.DEVNULL)
        found = subprocess.run([*command, "report", str(copy), "--json"], env=environment, check=True,
                               stdout=subprocess.PIPE)
        return json.loads(found.stdout)


def scored(report: dict[str, Any]) -> pl.DataFrame:
    """trait, season, champion (recipe), r of the champion, and a column a candidate: its forward r."""
    return pl.DataFrame([{
        "trait": row["trait"], "season": row["season"], "champion": row["champion_recipe"], "r": row["r_all"],
        **{name: scores["forward"] for name, scores in row["candidate_scores"].items()},
    } for row in report["results"] if row["trained_through"] is not None]).sort("trait", "season")


def table(found: pl.DataFrame) -> list[str]:
    """One row a trait: the champion's mean r, each season's with its recipe, and every candidate's mean."""
    seasons, recipes = sorted(set(found["season"])), found.columns[4:]
    head = ["trait", *seasons, "champion", *(f"`{name}`" for name in recipes)]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for (trait,), own in found.group_by("trait", maintain_order=True):
        cells = {row["season"]: f"{row['champion']} {row['r']:.3f}" for row in own.iter_rows(named=True)}
        means = [f"{own[column].mean():.3f}" for column in ("r", *recipes)]
        lines.append(f"| {trait} | {' | '.join(cells[season] for season in seasons)} | {' | '.join(means)} |")
    by_season = [f"{found.filter(pl.col('season') == season)['r'].mean():.3f}" for season in seasons]
    means = [f"{found[column].mean():.3f}" for column in ("r", *recipes)]
    return [*lines, f"| mean | {' | '.join(by_season)} | {' | '.join(means)} |"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programme", type=Path)
    parser.add_argument("--candidates", nargs="+")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    options = parser.parse_args()
    for mode in options.modes:
        print(f"\n{mode} mode\n", *table(scored(replayed(options.programme, mode, options.candidates))), sep="\n")


if __name__ == "__main__":
    main()
