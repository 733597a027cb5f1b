"""Published folds of the CIMMYT wheat lines: every figure of the reference mode, pooled over the ten folds.

Reference: plain two-step GBLUP and a Gaussian kernel, means centred, equal weights; Crossa et al. 2010,
Genetics 186:713-724, report .480 / .488 / .355 / .464 (BLUP) and .601 / .494 / .445 / .524 (RKHS).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from genomic_platform.genotypes.read import read_genotypes
from genomic_platform.models.evaluate import evaluate
from genomic_platform.models.folds import published_folds
from genomic_platform.models.kernel import Kernel
from genomic_platform.phenotypes.line_means import line_means
from genomic_platform.phenotypes.trials import read_trials

EXAMPLE = Path(__file__).parents[2] / "examples" / "wheat_cimmyt599"
TRAIT = "grain_yield_std"
MEDIAN_KERNEL = f"{__name__}:MedianKernel"


@dataclass(frozen=True)
class MedianKernel(Kernel):
    bandwidth: str = "median"


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, str], float]:
    genotypes, _ = read_genotypes([EXAMPLE / "landing/genotypes/genotypes.vcf.gz"])
    records, _ = read_trials([EXAMPLE / "landing/trials/phenotypes.csv"], [TRAIT])
    means, _ = line_means(records, means="centred")
    folds = published_folds(pl.read_csv(EXAMPLE / "folds10.csv", infer_schema=False))
    table = evaluate(genotypes, means, recipes=["genomic_blup", MEDIAN_KERNEL], folds=folds,
                     within_environment=True, means="centred", weights="none", clones_share_fold=False)
    assert set(table["n_lines"]) == {599}
    assert set(table["n_folds"]) == {10}
    return {(model, environment): r for model, environment, r in
            table.select("model", "environment", "r_mean").iter_rows()}


# Float32 block products move r by less than 1e-4; a reference of three digits by .0005. The platform allows .01.
@pytest.mark.parametrize(("environment", "r"), [("E1", 0.503), ("E2", 0.466), ("E3", 0.376), ("E4", 0.462)])
def test_gblup(found: dict[tuple[str, str], float], environment: str, r: float) -> None:
    assert found["genomic_blup", environment] == pytest.approx(r, abs=0.01)


@pytest.mark.parametrize(("environment", "r"), [("E1", 0.575), ("E2", 0.473), ("E3", 0.433), ("E4", 0.525)])
def test_kernel_with_median_bandwidth(found: dict[tuple[str, str], float], environment: str, r: float) -> None:
    assert found[MEDIAN_KERNEL, environment] == pytest.approx(r, abs=0.015)
