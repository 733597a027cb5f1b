"""Bayesian regressions on the published folds of the CIMMYT wheat lines beside BGLR's, pooled over the ten folds.

Reference: bayes/bglr_wheat.csv, written by bayes/bglr_wheat.R with BGLR 1.1.5 under R 4.2.2 (one chain a fold of 12,000
iterations, the first 2,000 thrown away); BGLR's data set `wheat` and its folds are those of the example.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from genomic_platform.genotypes.read import read_genotypes
from genomic_platform.models.bayes.recipe import BayesCPi
from genomic_platform.models.evaluate import evaluate
from genomic_platform.models.folds import published_folds
from genomic_platform.phenotypes.line_means import line_means
from genomic_platform.phenotypes.trials import read_trials

EXAMPLE = Path(__file__).parents[2] / "examples" / "wheat_cimmyt599"
BGLR = pl.read_csv(Path(__file__).parent / "bayes" / "bglr_wheat.csv")
TRAIT = "grain_yield_std"
#: What the platform allows; the recipes as they are differ from BGLR by at most .005.
TOLERANCE = 0.015
SHORT = f"{__name__}:ShortChains"


@dataclass(frozen=True)
class ShortChains(BayesCPi):
    chains: int = 2
    burn_in: int = 100
    iterations: int = 400


def _abilities(names: Sequence[str], environments: Sequence[str]) -> dict[tuple[str, str], float]:
    genotypes, _ = read_genotypes([EXAMPLE / "landing/genotypes/genotypes.vcf.gz"])
    records, _ = read_trials([EXAMPLE / "landing/trials/phenotypes.csv"], [TRAIT])
    means, _ = line_means(records, means="centred")
    folds = published_folds(pl.read_csv(EXAMPLE / "folds10.csv", infer_schema=False))
    table = evaluate(genotypes, means.filter(pl.col("environment").is_in(environments)), recipes=names, folds=folds,
                     within_environment=True, means="centred", weights="none", clones_share_fold=False)
    assert set(table["n_lines"]) == {599}
    return {(model, environment): r for model, environment, r in
            table.select("model", "environment", "r_mean").iter_rows()}


def _reference(model: str, environment: str) -> float:
    return float(BGLR.filter(model=model, environment=environment)["r"].item())


def test_short_chains_predict_as_bglr() -> None:
    """Predictions settle long before variance components do."""
    found = _abilities([SHORT], ["E1"])
    assert found[SHORT, "E1"] == pytest.approx(_reference("BayesC", "E1"), abs=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "model"), [("bayes_b", "BayesB"), ("bayes_c_pi", "BayesC"),
                                               ("bayesian_lasso", "BL")])
def test_every_environment_as_bglr(recipe: str, model: str) -> None:
    for (_, environment), r in _abilities([recipe], ["E1", "E2", "E3", "E4"]).items():
        assert r == pytest.approx(_reference(model, environment), abs=TOLERANCE), environment
