"""Relationship matrices and components of 20 lines × 200 markers (5 % missing) against PLINK 2 and PLINK 1.9.

Stored output, in reference/genotypes/, was made there by the commands of `COMMANDS` (PLINK v2.00a3.5, v1.90b6.26); they
run again where the programs are installed. Both programs divide by all markers called in both lines, among them those
that do not vary, unless told to impute the mean.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.genotypes.kinship.cross_product import self_product
from genomic_platform.genotypes.kinship.relationship import relationship
from genomic_platform.genotypes.population.structure import streaming_components
from genomic_platform.genotypes.table import GenotypeTable

STORED = Path(__file__).parent / "genotypes"
COMMANDS = {
    "relationship.plink2.rel": "plink2 --make-rel square --bad-freqs --out relationship.plink2",
    "relationship.plink2.cov.rel": "plink2 --make-rel square cov --bad-freqs --out relationship.plink2.cov",
    "relationship.plink2.meanimpute.rel":
        "plink2 --make-rel square meanimpute --bad-freqs --out relationship.plink2.meanimpute",
    "relationship.plink1.ibc3.rel": "plink1.9 --make-rel square ibc3 --out relationship.plink1.ibc3",
    "relationship.plink2.eigenvec": "plink2 --pca 5 approx --bad-freqs --out relationship.plink2",
}
SIX_DIGITS = 1e-5  # the programs write six significant digits of numbers up to 2.6


@pytest.fixture(scope="module", params=["stored", "run again"])
def output(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "stored":
        return STORED
    folder = tmp_path_factory.mktemp("plink")
    for command in COMMANDS.values():
        program, *arguments = command.split()
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
        subprocess.run([program, "--bfile", str(STORED / "relationship"), *arguments], cwd=folder, check=True,
                       capture_output=True)
    return folder


@pytest.fixture(scope="module")
def table() -> GenotypeTable:
    lines = [row.split()[0] for row in (STORED / "relationship.fam").read_text().splitlines()]
    rows = [row.split() for row in (STORED / "relationship.bim").read_text().splitlines()]
    variants = pl.DataFrame(rows, ["chromosome", "variant_id", "cm", "position", "alt", "ref"], orient="row")
    packed_MB = np.frombuffer((STORED / "relationship.bed").read_bytes()[3:], dtype=np.uint8).reshape(len(rows), -1)
    return GenotypeTable.from_packed(variants.with_columns(pl.col("position").cast(pl.Int64)), lines, packed_MB)


@pytest.fixture(scope="module")
def shared_NN(table: GenotypeTable) -> np.ndarray:
    """Markers called in both lines, whether they vary or not."""
    return self_product(table, np.tile([1.0, 0.0, 1.0, 1.0], (table.n_variants, 1)))


def test_vanraden_2_is_plink2_make_rel_but_for_the_markers_divided_by(
        table: GenotypeTable, shared_NN: np.ndarray, output: Path) -> None:
    found = relationship(table, "vanraden2")
    theirs_NN = np.loadtxt(output / "relationship.plink2.rel")
    np.testing.assert_allclose(found.matrix_NN * found.scale / shared_NN, theirs_NN, atol=SIX_DIGITS)
    imputed_NN = np.loadtxt(output / "relationship.plink2.meanimpute.rel")
    np.testing.assert_allclose(found.matrix_NN * found.scale / table.n_variants, imputed_NN, atol=SIX_DIGITS)


def test_vanraden_1_is_plink2_make_rel_cov_but_for_the_scale(
        table: GenotypeTable, shared_NN: np.ndarray, output: Path) -> None:
    found = relationship(table, "vanraden1")
    theirs_NN = np.loadtxt(output / "relationship.plink2.cov.rel")
    np.testing.assert_allclose(found.matrix_NN * found.scale / shared_NN, theirs_NN, atol=SIX_DIGITS)


def test_the_yang_diagonal_is_plink_ibc3(table: GenotypeTable, shared_NN: np.ndarray, output: Path) -> None:
    found_N = np.diagonal(relationship(table, "yang").matrix_NN)
    called_NM = table.dosages() >= 0
    p_M = table.allele_frequencies()
    varying_N = called_NM[:, (p_M > 0) & (p_M < 1)].sum(axis=1)
    theirs_N = np.diagonal(np.loadtxt(output / "relationship.plink1.ibc3.rel"))
    np.testing.assert_allclose(1 + (found_N - 1) * varying_N / np.diagonal(shared_NN), theirs_N, atol=SIX_DIGITS)


def test_streamed_components_are_plink2_pca_approx(table: GenotypeTable, output: Path) -> None:
    theirs = pl.read_csv(output / "relationship.plink2.eigenvec", separator="\t")
    theirs_NK = theirs.sort("IID").select(pl.col("^PC.*$")).to_numpy()
    values_K = np.loadtxt(output / "relationship.plink2.eigenval")
    found = streaming_components(table, 5)
    found_NK = found.sort("line_id", "component")["score"].to_numpy().reshape(table.n_lines, 5)
    length_K = np.linalg.norm(found_NK, axis=0)
    # six digits; PLINK divides by all markers, also those that do not vary
    p_M = table.allele_frequencies()
    np.testing.assert_allclose(length_K**2 * np.mean((p_M > 0) & (p_M < 1)), values_K, rtol=1e-4)
    np.testing.assert_allclose(np.abs(np.sum(found_NK / length_K * theirs_NK, axis=0)), 1, atol=1e-4)
