"""The reaction norm of rice yield against the R package regress 1.3-22 (Clifford & McCullagh), stored output.

1,151 line means of five seasons, terms environment, line (VanRaden 1), line residual, line × environment; made
with R 4.2.2:

    python -c "from genomic_platform_tests.reference.test_reference_mixed import export; export('FOLDER')"
    Rscript genomic_platform_tests/reference/mixed/regress.R FOLDER > mixed/rice_yield.regress.tsv
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.read import read_genotypes
from genomic_platform.models.mixed.reaction_norm import ReactionNorm, fit_reaction_norm
from genomic_platform.phenotypes.line_means import line_means
from genomic_platform.phenotypes.trials import read_trials

LANDING = Path(__file__).parents[2] / "examples" / "rice_japonica_uy" / "landing"
STORED = Path(__file__).parent / "mixed" / "rice_yield.regress.tsv"
YIELD = "grain_yield_kg_ha"


def _rice() -> tuple[pl.DataFrame, tuple[str, ...], np.ndarray]:
    genotypes, _ = read_genotypes([LANDING / "genotypes/genotypes.vcf.gz"])
    records, _ = read_trials([LANDING / "trials/phenotypes.csv"], [YIELD])
    return line_means(records, means="centred")[0], genotypes.lines, vanraden(genotypes).matrix_NN


def export(folder: str) -> None:
    """Write the records and K as regress.R reads them."""
    means, lines, k_LL = _rice()
    environments = means["environment"].unique().sort().to_list()
    pl.DataFrame({"line": [lines.index(name) for name in means["line_id"]],
                  "environment": [environments.index(name) for name in means["environment"]],
                  "y": means["mean"]}).write_csv(Path(folder) / "records.csv")
    np.savetxt(Path(folder) / "k.csv", k_LL, delimiter=",", fmt="%.12g")


@pytest.fixture(scope="module")
def fitted() -> ReactionNorm:
    return fit_reaction_norm(*_rice())


@pytest.fixture(scope="module")
def stored() -> dict[str, tuple[float, ...]]:
    rows = [line.split("\t") for line in STORED.read_text().splitlines()[1:]]
    return {row[0]: tuple(float(cell) for cell in row[1:] if cell) for row in rows}


def test_components_and_their_standard_errors(fitted: ReactionNorm, stored: dict[str, tuple[float, ...]]) -> None:
    found = {**fitted.fit.variance, "error": fitted.fit.error_variance}
    for name, variance in found.items():
        # Both stop where the likelihood is flat; 1e-3 is a hundredth of the standard errors.
        assert variance == pytest.approx(stored[name][0], rel=1e-3)
        # Theirs is by the expected information, ours by the average information.
        assert fitted.fit.standard_error[name] == pytest.approx(stored[name][1], rel=0.1)


def test_mean_and_values_of_lines(fitted: ReactionNorm, stored: dict[str, tuple[float, ...]]) -> None:
    assert fitted.fit.effect_F[0] == pytest.approx(stored["mean"][0], rel=1e-6)
    assert fitted.fit.effect_error_F[0] == pytest.approx(stored["mean"][1], rel=1e-3)
    g_L = fitted.fit.predict({"line": np.arange(10)}, ["line"]).value_Q
    assert g_L == pytest.approx([stored[f"G of line {i}"][0] for i in range(10)], rel=2e-3, abs=0.1)
    n = len(fitted.fit.at.projected_N)
    # Theirs has + ½ log |X'X| = ½ log N, ours not.
    assert fitted.fit.log_likelihood + 0.5 * np.log(n) == pytest.approx(stored["log_likelihood"][0], abs=1e-3)
