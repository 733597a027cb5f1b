"""Within-family predictive ability of `family_blup` beside GBLUP on generated nested-association panels.

    python benchmarks/nested_association.py [--panels 20] [--lines 5000] [--shared 0 .5 1] [--out FILE.csv]

Each panel (`genomic_platform_tests/support/nested_association.py`) has forty families of one common parent, three
seasons and three locations. A fifth of every family is held out; both recipes learn from the line means of the others,
and r within families, averaged, is taken against the held-out lines' true values and against their means. The gain is
paired by panel; its interval is Student's over panels.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.models.family_blup import FamilyBlup
from genomic_platform.models.genomic_blup import GenomicBlup
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.models.scores import within_family
from genomic_platform.phenotypes.training_means import training_means
from genomic_platform_tests.support.nested_association import NestedDesign, nested_panel

HELD_OUT = 5


def one_panel(design: NestedDesign, seed: int) -> dict[str, float]:
    """r within families of both recipes on one panel, against truth and against means, and seconds."""
    panel = nested_panel(design, seed)
    lines = panel.genotypes.lines
    means, _ = training_means(panel.line_means, genotyped=lines)
    observed_of = dict(means.select("line_id", "mean").iter_rows())
    held_out = set(lines[::HELD_OUT])
    known = TrainingSet("", means.filter(~pl.col("line_id").is_in(list(held_out))), panel.genotypes,
                        vanraden(panel.genotypes).matrix_NN, families=panel.families)
    at_N = np.array([i for i, line in enumerate(lines) if line in held_out and line in observed_of])
    families = [panel.families[lines[i]] for i in at_N]
    found: dict[str, float] = {"seed": seed}
    for recipe in (GenomicBlup(), FamilyBlup()):
        began = time.perf_counter()
        predicted_N = recipe.fit_values(known)["genotypic_value"].to_numpy()[at_N]
        found[f"{recipe.name} s"] = time.perf_counter() - began
        for against, value_N in (("truth", panel.value_N[at_N]),
                                 ("means", np.array([observed_of[lines[i]] for i in at_N]))):
            r = within_family(predicted_N, value_N, families)
            found[f"{recipe.name} {against}"] = np.nan if r is None else r
    return found


def interval(gain_R: np.ndarray) -> tuple[float, float, float]:
    """Mean and 95 % interval over panels (Student)."""
    from scipy.stats import t

    half = float(t.ppf(0.975, len(gain_R) - 1) * gain_R.std(ddof=1) / np.sqrt(len(gain_R)))
    return float(gain_R.mean()), float(gain_R.mean()) - half, float(gain_R.mean()) + half


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--panels", type=int, default=20)
    parser.add_argument("--lines", type=int, default=NestedDesign.n_lines)
    parser.add_argument("--markers", type=int, default=NestedDesign.n_markers)
    parser.add_argument("--shared", type=float, nargs="+", default=[0.0, 0.5, 1.0])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    print("| shared effects | panels | GBLUP r | family_blup r | gain, truth | gain, means |")
    print("|---|---|---|---|---|---|")
    rows = []
    for shared in options.shared:
        design = replace(NestedDesign(), n_lines=options.lines, n_markers=options.markers, shared=shared)
        for seed in range(options.panels):
            rows.append({"shared": shared, **one_panel(design, seed)})
            if options.out:
                pl.DataFrame(rows).write_csv(options.out)
        own = pl.DataFrame(rows).filter(pl.col("shared") == shared)
        gains = []
        for against in ("truth", "means"):
            mean, low, high = interval((own[f"family_blup {against}"] - own[f"genomic_blup {against}"]).to_numpy())
            gains.append(f"{mean:+.3f} ({low:+.3f} to {high:+.3f})")
        print(f"| {shared:g} | {own.height} | {own['genomic_blup truth'].mean():.3f} | "
              f"{own['family_blup truth'].mean():.3f} | {gains[0]} | {gains[1]} |", flush=True)


if __name__ == "__main__":
    main()
