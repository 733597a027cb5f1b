"""INIA Uruguay japonica rice, GBLUP in the reference mode: folds of lines, seasons left out, seasons ahead.

Reference: plain two-step GBLUP, means centred, equal weights, VanRaden 1, REML (see the platform's science contract).
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from genomic_platform.genotypes.read import read_genotypes
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.evaluate import evaluate
from genomic_platform.phenotypes.line_means import line_means
from genomic_platform.phenotypes.trials import read_trials

LANDING = Path(__file__).parents[2] / "examples" / "rice_japonica_uy" / "landing"
YIELD, HEAD, CHALKY, HEIGHT = TRAITS = ("grain_yield_kg_ha", "head_rice_recovery_frac", "chalky_grain_frac",
                                        "plant_height_cm")
Study = tuple[GenotypeTable, pl.DataFrame]


@pytest.fixture(scope="module")
def study() -> Study:
    genotypes, _ = read_genotypes([LANDING / "genotypes/genotypes.vcf.gz"])
    records, _ = read_trials([LANDING / "trials/phenotypes.csv"], list(TRAITS))
    return genotypes, line_means(records, means="centred")[0]


def _by_season(study: Study, scheme: str, traits: tuple[str, ...]) -> dict[str, list[float]]:
    table = evaluate(*study, recipes=["genomic_blup"], traits=list(traits), scheme=scheme, means="centred",
                     weights="none", clones_share_fold=False)
    return {str(trait): part.sort("environment")["r_mean"].to_list()
            for (trait,), part in table.group_by("trait", maintain_order=True)}


def test_folds_of_lines(study: Study) -> None:
    table = evaluate(*study, recipes=["genomic_blup"], replicates=10, means="centred", weights="none",
                     clones_share_fold=False)
    found = dict(table.select("trait", "r_mean").iter_rows())
    assert found == pytest.approx({YIELD: 0.601, HEAD: 0.631, CHALKY: 0.677, HEIGHT: 0.599}, abs=0.01)


def test_season_left_out_known_lines(study: Study) -> None:
    found = _by_season(study, "cv0", (YIELD,))[YIELD]
    assert found == pytest.approx([0.278, 0.588, 0.470, 0.446, 0.547], abs=0.01)


def test_season_left_out_new_lines(study: Study) -> None:
    found = _by_season(study, "cv00", (YIELD,))[YIELD]
    # Within-fold r vary by .009 to .05 between replicates; 2009 has 93 lines, so about 19 a fold.
    assert found[0] == pytest.approx(0.101, abs=0.05)
    assert found[1:] == pytest.approx([0.522, 0.421, 0.347, 0.458], abs=0.03)


def test_seasons_ahead(study: Study) -> None:
    found = _by_season(study, "forward", TRAITS)
    assert found[YIELD] == pytest.approx([0.201, 0.457, 0.447, 0.547], abs=0.01)
    assert found[HEAD] == pytest.approx([0.369, 0.579, 0.467, 0.581], abs=0.01)
    assert found[CHALKY] == pytest.approx([0.390, 0.605, 0.453, 0.738], abs=0.01)
    assert found[HEIGHT] == pytest.approx([0.423, 0.666, 0.821, 0.870], abs=0.01)
    assert sum(sum(r) for r in found.values()) / 16 == pytest.approx(0.539, abs=0.01)
