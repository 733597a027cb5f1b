"""How often `automatic_rollback` sends a champion back: one as good as its predecessor, and one that is worse.

    python benchmarks/setback_simulation.py [--programmes 500]

Lines in families of twenty; predictive ability about .5; the errors of two successive champions correlate .9, since one
is the refit of the other. Each programme is one trait in one season.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import polars as pl

from genomic_platform.models.gate import GateRule
from genomic_platform.models.setback import setbacks
from genomic_platform.schemas.phenotypes import LINE_MEANS
from genomic_platform.schemas.predictions import REGISTERED_MODEL, VALUES

TRAIT, SHARED = "yield", 0.9


def decided(season: str) -> pl.DataFrame:
    row = {"trait": TRAIT, "season": season, "decision": "refresh", "recipe": "genomic_blup", "challenger": None,
           "proposed": None, "trained_through": season, "model_version": season, "n_train": 1, "reasons": [""]}
    return REGISTERED_MODEL.conform(pl.DataFrame([row], schema=REGISTERED_MODEL.schema))


def values(lines: list[str], value_N: np.ndarray) -> pl.DataFrame:
    return VALUES.conform(pl.DataFrame({
        "line_id": lines, "trait": TRAIT, "environment": pl.Series([None] * len(lines), dtype=pl.String),
        "breeding_value": value_N, "breeding_value_reliability": 0.5, "genotypic_value": value_N,
        "genotypic_value_reliability": 0.5, "phenotyped": True}))


def sent_back(n: int, loss: float, seed: int) -> bool:
    """One season: whether a champion whose predictive ability is lower by `loss` is sent back."""
    rng = np.random.default_rng(seed)
    lines, family_N = [f"L{i}" for i in range(n)], np.arange(n) // 20

    def within_families() -> np.ndarray:
        return np.sqrt(0.5) * rng.normal(size=n // 20 + 1)[family_N] + np.sqrt(0.5) * rng.normal(size=n)

    truth, common = within_families(), within_families()
    observed = 0.7 * truth + np.sqrt(1 - 0.49) * rng.normal(size=n)

    def predicted(r: float) -> np.ndarray:
        error = np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * within_families()
        return r / 0.7 * truth + np.sqrt(1 - (r / 0.7) ** 2) * error

    means = LINE_MEANS.conform(pl.DataFrame({
        "line_id": lines, "season": "3", "location": "A", "environment": "A_3", "trait": TRAIT, "mean": observed,
        "centred": observed, "standard_error": 0.3, "n_records": 2}))
    families: dict[str, str | None] = {line: str(f) for line, f in zip(lines, family_N, strict=True)}
    now, before = values(lines, predicted(0.5 - loss)), values(lines, predicted(0.5))
    return bool(setbacks(decided("2"), decided("1"), now, before, means, season="3", families=families, rule=GateRule(),
                         seed=seed))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programmes", type=int, default=500)
    options = parser.parse_args(arguments)
    for n in (100, 300):
        for loss in (0.0, 0.1, 0.2, 0.3):
            share = np.mean([sent_back(n, loss, seed) for seed in range(options.programmes)])
            print(f"{n} lines, predictive ability lower by {loss:.1f}: sent back in {100 * share:.1f} % of seasons")


if __name__ == "__main__":
    main()
