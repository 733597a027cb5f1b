"""Counts, missing calls, Hardy–Weinberg and inbreeding against PLINK 1.9 and 2, stored and run again where installed.

`quality.bed` is a made-up panel: 60 lines of inbreeding 0 to 1, 240 variants with up to 30 % of calls missing, some
monomorphic or void. Stored outputs are PLINK v2.00a3.5 (9 Aug 2022) and v1.90b6.26 (2 Apr 2022) of the commands below.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.genotypes.hardy_weinberg import exact_p_values
from genomic_platform.genotypes.quality.line_quality import line_quality
from genomic_platform.genotypes.table import GenotypeTable

DATA = Path(__file__).parent / "genotypes"
PLINK2 = ("plink2", "--keep-allele-order", "--hardy", "--het", "small-sample", "--missing", "--geno-counts")
PLINK1 = ("plink1.9", "--keep-allele-order", "--hardy", "--nonfounders", "--het", "small-sample")
PRINTED = 6e-6  # PLINK 2 prints six digits
PRINTED_1 = 6e-4  # PLINK 1.9 prints four


@pytest.fixture(scope="module")
def table() -> GenotypeTable:
    bim = pl.read_csv(DATA / "quality.bim", separator="\t", has_header=False, schema={
        "chromosome": pl.String, "variant_id": pl.String, "cm": pl.Float64, "position": pl.Int64, "alt": pl.String,
        "ref": pl.String})
    lines = [row.split()[0] for row in (DATA / "quality.fam").read_text().splitlines()]
    packed_MB = np.frombuffer((DATA / "quality.bed").read_bytes()[3:], dtype=np.uint8).reshape(bim.height, -1)
    return GenotypeTable.from_packed(bim, lines, packed_MB)


@pytest.fixture(scope="module", params=["stored", "run here"])
def plink2(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return _outputs(request.param, PLINK2, "quality.plink2", tmp_path_factory)


@pytest.fixture(scope="module", params=["stored", "run here"])
def plink1(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return _outputs(request.param, PLINK1, "quality.plink1", tmp_path_factory)


def _outputs(source: str, command: tuple[str, ...], stored: str, temporary: pytest.TempPathFactory) -> str:
    """Path and beginning of the names of a run's output."""
    if source == "stored":
        return str(DATA / stored)
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    out = str(temporary.mktemp("plink") / "out")
    subprocess.run([*command, "--bfile", str(DATA / "quality"), "--out", out], check=True, capture_output=True)
    return out


def read(path: str) -> pl.DataFrame:
    rows = [line.split() for line in Path(path).read_text().splitlines()]
    return pl.DataFrame(rows[1:], schema=[name.lstrip("#") for name in rows[0]], orient="row")


def floats(column: pl.Series) -> np.ndarray:
    return column.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()


def test_counts_and_missing_calls_are_plink2s(table: GenotypeTable, plink2: str) -> None:
    counts, missing = read(f"{plink2}.gcount"), read(f"{plink2}.vmiss")
    assert table.variants["variant_id"].to_list() == counts["ID"].to_list()
    for ours, theirs in (("hom_ref", "HOM_REF_CT"), ("heterozygous", "HET_REF_ALT_CTS"),
                         ("hom_alt", "TWO_ALT_GENO_CTS")):
        assert table.variants[ours].to_list() == counts[theirs].cast(pl.Int64).to_list()
    assert np.allclose(1 - table.variants["call_rate"], floats(missing["F_MISS"]), rtol=PRINTED, atol=1e-12)
    lines = read(f"{plink2}.smiss")
    assert (table.n_variants - line_quality(table)["called"]).to_list() == lines["MISSING_CT"].cast(pl.Int64).to_list()


def test_hardy_weinberg_p_values_are_plink2s(table: GenotypeTable, plink2: str) -> None:
    theirs = floats(read(f"{plink2}.hardy")["P"])
    ours = table.variants["hwe_p_value"].fill_null(np.nan).to_numpy()
    called = table.variants["call_rate"].to_numpy() > 0
    assert np.allclose(ours[called], theirs[called], rtol=PRINTED, atol=0)
    assert (theirs < 1e-6).sum() > 50  # the panel is inbred enough for the tails to count


def test_hardy_weinberg_p_values_are_plink1s(table: GenotypeTable, plink1: str) -> None:
    rows = read(f"{plink1}.hwe").filter(pl.col("TEST").str.starts_with("ALL"))
    hom_1, het, hom_2 = (np.array(c, dtype=np.int64) for c in zip(*rows["GENO"].str.split("/").to_list(), strict=True))
    called = hom_1 + het + hom_2 > 0
    assert np.allclose(exact_p_values(hom_1, het, hom_2)[called], floats(rows["P"])[called], rtol=PRINTED_1, atol=0)


def test_inbreeding_of_lines_is_plink2s(table: GenotypeTable, plink2: str) -> None:
    theirs = read(f"{plink2}.het")
    ours = line_quality(table).filter(pl.col("called") > 0)
    theirs = theirs.filter(pl.col("IID").is_in(ours["id"].to_list()))
    assert theirs["IID"].to_list() == ours["id"].to_list()
    assert np.allclose(ours["inbreeding"], floats(theirs["F"]), rtol=PRINTED, atol=1e-5)
    assert ours["inbreeding"].min() < 0.2  # type: ignore[operator]
    assert ours["inbreeding"].max() == 1


def test_inbreeding_of_lines_is_plink1s(table: GenotypeTable, plink1: str) -> None:
    theirs = read(f"{plink1}.het")
    ours = line_quality(table).filter(pl.col("called") > 0)
    theirs = theirs.filter(pl.col("IID").is_in(ours["id"].to_list()))
    assert np.allclose(ours["inbreeding"], floats(theirs["F"]), rtol=PRINTED_1, atol=1e-4)
