"""The Gibbs sampler against BGLR on a simulated panel: processor milliseconds per iteration, then held-out ability.

    python benchmarks/gibbs.py [--lines 2000] [--markers 10000] [--rounds 3] [--iterations 5000] [--recipes NAME …]

A fifth of the lines is held out, the last of the panel. Speed: both run one chain with one thread, in turns, each for
100 and for 300 iterations; the difference is 200 iterations without what is done once. Ability: one chain of
`--iterations`, a fifth of them thrown away, on either side, then the recipe as it is. BGLR is used where `Rscript` is
on PATH and can load it (R_LIBS); otherwise ours is timed alone. On a busy machine believe processor seconds, not wall.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from simulated_panel import simulate

from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models import markers
from genomic_platform.models.bayes import gibbs
from genomic_platform.models.bayes.recipe import BayesRecipe
from genomic_platform.models.recipes import RECIPES
from genomic_platform.models.trait_fit import TraitData

BGLR_MODELS = {"bayes_b": "BayesB", "bayes_c_pi": "BayesC", "bayesian_lasso": "BL"}
RECIPE_NAMES = [*BGLR_MODELS, "bayes_r"]
SHORT, LONG = 100, 300
QTL, HERITABILITY = 200, 0.5


@dataclass(frozen=True)
class Study:
    """A panel, its trait, and the files that BGLR reads."""

    panel: GenotypeTable
    y_P: np.ndarray
    frequencies_M: np.ndarray
    n_train: int
    folder: Path

    def held_out(self, effect_M: np.ndarray) -> float:
        value_P = markers.line_sums(self.panel, self.frequencies_M, effect_M[:, None])[:, 0]
        return float(np.corrcoef(value_P[self.n_train:], self.y_P[self.n_train:])[0, 1])


def make_study(n_lines: int, n_markers: int, seed: int, folder: Path, table: Path | None) -> Study:
    """A simulated panel with a trait of `QTL` loci; or G and y of an .npz with 4 lines in 5 for training."""
    if table is not None:
        given = np.load(table)
        dosage_MP, y_P = given["G"], given["y"]
        n_markers, n_lines = dosage_MP.shape
    else:
        dosage_MP = simulate(n_lines, n_markers, seed).dosage_MN
        rng = np.random.default_rng(seed)
        loci = np.maximum(dosage_MP[np.sort(rng.choice(n_markers, QTL, replace=False))], 0).astype(float)
        genetic_P = (rng.normal(size=QTL) / (loci.std(axis=1) + 1e-9)) @ (loci - loci.mean(axis=1)[:, None])
        y_P = genetic_P / genetic_P.std() * np.sqrt(HERITABILITY) + rng.normal(size=n_lines) * np.sqrt(1 - HERITABILITY)
    variants = pl.DataFrame({"variant_id": [f"m{i}" for i in range(n_markers)], "chromosome": "1",
                             "position": np.arange(1, n_markers + 1), "ref": "A", "alt": "C"})
    panel = GenotypeTable.from_dosages(variants, [f"L{i:05d}" for i in range(n_lines)], dosage_MP)
    study = Study(panel, y_P, markers.panel_frequencies(panel), n_lines * 4 // 5, folder)
    centred_PM = markers.centred(panel.dosages(), study.frequencies_M)
    for name, rows in (("train", slice(0, study.n_train)), ("test", slice(study.n_train, None))):
        centred_PM[rows].T.tofile(folder / f"{name}.bin")
        y_P[rows].tofile(folder / f"y_{name}.bin")
    return study


def ours(study: Study, recipe: BayesRecipe, length: gibbs.Chains) -> tuple[float, float, float]:
    """Processor seconds, wall seconds, held-out ability."""
    data = TraitData("y", np.arange(study.n_train), study.y_P[:study.n_train], None, "fitted")
    codes_MP = gibbs.marker_codes(study.panel, study.frequencies_M)
    columns = gibbs.columns_of(codes_MP, study.frequencies_M, data)
    cpu, wall = time.process_time(), time.perf_counter()
    posterior = gibbs.sample(columns, recipe.prior, length, r2=recipe.r2, df=recipe.df, seed=1, name="y")
    return time.process_time() - cpu, time.perf_counter() - wall, study.held_out(posterior.effect_M)


def bglr(study: Study, model: str, iterations: int, burn_in: int) -> tuple[float, float, float]:
    """The same of BGLR, without reading its files."""
    script = Path(__file__).with_name("gibbs_bglr.R")
    size = [study.n_train, len(study.y_P) - study.n_train, study.panel.n_variants, iterations, burn_in]
    done = subprocess.run(["Rscript", script, study.folder, model, *map(str, size)], check=True, capture_output=True,
                          text=True)
    cpu, wall, r = map(float, done.stdout.split())
    return cpu, wall, r


def bglr_here() -> bool:
    return shutil.which("Rscript") is not None and subprocess.run(
        ["Rscript", "-e", "library(BGLR)"], capture_output=True, check=False).returncode == 0


def speed(study: Study, recipe: BayesRecipe, peer: str | None, rounds: int) -> tuple[float, float | None]:
    """Least processor ms per iteration of the rounds, ours and BGLR's."""
    ours_ms, bglr_ms = [], []
    for _ in range(rounds):
        spent = [ours(study, recipe, gibbs.Chains(1, n - 60, 60))[0] for n in (SHORT, LONG)]
        ours_ms.append(1e3 * (spent[1] - spent[0]) / (LONG - SHORT))
        if peer:
            spent = [bglr(study, peer, n, n - 60)[0] for n in (SHORT, LONG)]
            bglr_ms.append(1e3 * (spent[1] - spent[0]) / (LONG - SHORT))
    return min(ours_ms), min(bglr_ms) if bglr_ms else None


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=2000)
    parser.add_argument("--markers", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--table", type=Path, help=".npz with G (markers, lines; −1 missing) and y instead")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=5000, help="for ability; 0 = speed alone")
    parser.add_argument("--recipes", nargs="+", choices=RECIPE_NAMES, default=RECIPE_NAMES)
    options = parser.parse_args(arguments)
    peer_here = bglr_here()
    print("recipe | ours ms | BGLR ms | ratio | ours r, one chain | BGLR r | the recipe's r | its wall s")
    with tempfile.TemporaryDirectory() as folder:
        study = make_study(options.lines, options.markers, options.seed, Path(folder), options.table)
        for name in options.recipes:
            recipe = RECIPES[name]()
            assert isinstance(recipe, BayesRecipe)
            peer = BGLR_MODELS.get(name) if peer_here else None
            ours(study, recipe, gibbs.Chains(1, 10, 50))  # compiles
            row = [name, *map(str, _measured(study, recipe, peer, options.rounds, options.iterations))]
            print(" | ".join(row), flush=True)


def _measured(study: Study, recipe: BayesRecipe, peer: str | None, rounds: int, iterations: int) -> list[str]:
    ours_ms, bglr_ms = speed(study, recipe, peer, rounds)
    row = [f"{ours_ms:.2f}", f"{bglr_ms:.2f}" if bglr_ms else "", f"{bglr_ms / ours_ms:.1f}" if bglr_ms else ""]
    if iterations:
        burn_in = iterations // 5
        row.append(f"{ours(study, recipe, gibbs.Chains(1, burn_in, iterations - burn_in))[2]:.4f}")
        row.append(f"{bglr(study, peer, iterations, burn_in)[2]:.4f}" if peer else "")
        _, wall, r = ours(study, recipe, gibbs.Chains(recipe.chains, recipe.burn_in, recipe.iterations))
        row += [f"{r:.4f}", f"{wall:.0f}"]
    return row


if __name__ == "__main__":
    main()
