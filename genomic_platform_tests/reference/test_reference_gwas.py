"""Association against GEMMA 0.98.5 (Zhou & Stephens 2012, Nat. Genet. 44:821), stored, run again where installed.

The panel (`gwas.geno.txt`: 120 inbred lines of families, 300 markers, 2 % missing; GEMMA puts the mean for missing
calls, as we do), trait and covariate were made once; K is VanRaden 1. Commands, in the folder of the files:

    gemma -g gwas.geno.txt -p gwas.pheno.txt -k K.txt -lmm 1 -maf 0 -miss 1 -r2 1 -o gwas.gemma
    gemma … -c gwas.covariates.txt -o gwas.gemma.covariates
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.read import read_genotypes
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.gwas import gwas, weighted_contrasts
from genomic_platform.models.reml import spectral_reml

STORED = Path(__file__).parent / "genotypes"
CASES = {"gwas.gemma": False, "gwas.gemma.covariates": True}


@pytest.fixture(scope="module")
def panel() -> GenotypeTable:
    rows = [line.split() for line in (STORED / "gwas.geno.txt").read_text().splitlines()]
    dosage_MN = np.array([[-1 if cell == "NA" else int(cell) for cell in row[3:]] for row in rows], dtype=np.int8)
    variants = pl.DataFrame({"variant_id": [row[0] for row in rows], "chromosome": "1",
                             "position": np.arange(1, len(rows) + 1), "ref": [row[2] for row in rows],
                             "alt": [row[1] for row in rows]})
    return GenotypeTable.from_dosages(variants, [f"line{i}" for i in range(dosage_MN.shape[1])], dosage_MN)


def trait() -> np.ndarray:
    return np.loadtxt(STORED / "gwas.pheno.txt")


def covariates(used: bool) -> np.ndarray | None:
    return np.loadtxt(STORED / "gwas.covariates.txt")[:, 1:] if used else None


def answer(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, separator="\t")


@pytest.mark.parametrize(("name", "with_covariates"), CASES.items())
def test_tests_agree_with_gemma_as_far_as_its_own_variance_ratio_for_each_marker_lets_them(
        panel: GenotypeTable, name: str, with_covariates: bool) -> None:
    """GEMMA estimates the variance ratio anew with each marker, we once (EMMAX): a marker that takes variance from K,
    one with a small p-value, differs by up to a third of its standard error. The next test shows that nothing else
    does.
    """
    theirs = answer(STORED / f"{name}.assoc.txt")
    ours = gwas(panel, list(panel.lines), trait(), covariates_NC=covariates(with_covariates))
    assert theirs["rs"].to_list() == ours["variant_id"].to_list()
    apart_M = (ours["effect"] - theirs["beta"]).abs().to_numpy() / theirs["se"].to_numpy()
    assert np.median(apart_M) < 0.01
    assert np.quantile(apart_M, 0.95) < 0.1
    assert apart_M.max() < 0.4
    error_M = np.abs((ours["standard_error"] / theirs["se"]).to_numpy() - 1)
    assert np.median(error_M) < 0.005
    assert error_M.max() < 0.06
    log_p_M2 = -np.log10(np.column_stack([ours["p_value"].to_numpy(), theirs["p_wald"].to_numpy()]))
    assert np.corrcoef(log_p_M2.T)[0, 1] > 0.99
    assert ours.sort("p_value")["variant_id"][0] == theirs.sort("p_wald")["rs"][0]


@pytest.mark.parametrize(("name", "with_covariates"), CASES.items())
def test_with_the_variance_ratio_estimated_for_each_marker_the_figures_are_gemmas(
        panel: GenotypeTable, name: str, with_covariates: bool) -> None:
    """Our contrasts and REML with the marker among the fixed effects: what is left is GEMMA's rounding and stopping."""
    theirs = answer(STORED / f"{name}.assoc.txt")
    k_NN, y_N = vanraden(panel).matrix_NN, trait()
    x_NF = np.ones((panel.n_lines, 1)) if not with_covariates else np.loadtxt(STORED / "gwas.covariates.txt")
    for m in range(0, panel.n_variants, 20):
        marker_N = panel.dosages([m])[:, 0].astype(float)
        marker_N[marker_N < 0] = marker_N[marker_N >= 0].mean()
        x_NG = np.column_stack([marker_N, x_NF])
        c = spectral_reml(y_N, weighted_contrasts(k_NN, np.ones(len(y_N)), x_NG))[0]
        inverse_NN = np.linalg.inv(k_NN * c.genetic + np.eye(len(y_N)) * c.error)
        covariance_GG = np.linalg.inv(x_NG.T @ inverse_NN @ x_NG)
        effect = (covariance_GG @ x_NG.T @ inverse_NN @ y_N)[0]
        their = theirs.row(m, named=True)
        # Six printed digits; a ratio known to 1e-3 moves an effect by far less than a hundredth of its error.
        assert effect == pytest.approx(their["beta"], abs=1e-3 * their["se"])
        assert np.sqrt(covariance_GG[0, 0]) == pytest.approx(their["se"], rel=1e-3)
        assert c.genetic / c.error == pytest.approx(their["l_remle"], rel=0.01)


def test_plant_height_in_rice_has_its_strongest_marker_on_chromosome_1() -> None:
    """What this panel gave when the test was written, kept against change; no gene's position is asserted, since the
    source of the panel does not name its assembly."""
    landing = Path(__file__).parents[2] / "examples" / "rice_japonica_uy" / "landing"
    genotypes, _ = read_genotypes([landing / "genotypes/genotypes.vcf.gz"])
    height = pl.col("plant_height_cm")
    means = (pl.read_csv(landing / "trials/phenotypes.csv").with_columns(height - height.mean().over("season"))
             .group_by("line_id").agg(height.mean(), n=pl.len()).sort("line_id"))
    found = gwas(genotypes, means["line_id"].to_list(), means["plant_height_cm"].to_numpy(), means["n"].to_numpy())
    best = found.sort("p_value").row(0, named=True)
    assert best["chromosome"] == "chr01"
    assert best["p_bonferroni"] < 1e-9


@pytest.mark.skipif(shutil.which("gemma") is None, reason="gemma is not installed (Debian package gemma)")
@pytest.mark.parametrize(("name", "with_covariates"), CASES.items())
def test_gemma_still_says_what_is_stored(panel: GenotypeTable, tmp_path: Path, name: str,
                                         with_covariates: bool) -> None:
    run_gemma(panel, tmp_path, name, with_covariates)
    again, stored = answer(tmp_path / "output" / f"{name}.assoc.txt"), answer(STORED / f"{name}.assoc.txt")
    assert again["rs"].equals(stored["rs"])
    for column in ("beta", "se", "p_wald"):
        np.testing.assert_allclose(again[column].to_numpy(), stored[column].to_numpy(), rtol=1e-4)


def run_gemma(panel: GenotypeTable, folder: Path, name: str, with_covariates: bool) -> None:
    np.savetxt(folder / "K.txt", vanraden(panel).matrix_NN, fmt="%.12g", delimiter="\t")
    command = ["gemma", "-g", str(STORED / "gwas.geno.txt"), "-p", str(STORED / "gwas.pheno.txt"), "-k", "K.txt",
               "-lmm", "1", "-maf", "0", "-miss", "1", "-r2", "1", "-o", name]
    if with_covariates:
        command += ["-c", str(STORED / "gwas.covariates.txt")]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
