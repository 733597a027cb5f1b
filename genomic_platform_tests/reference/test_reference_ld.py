"""Pruning, r² and F_ST against plink 1.9 and plink 2: their stored output, and the programs themselves where present.

The panel (`genotypes/ld.bed`) has 130 simulated lines (inbreeding .5, 3 % missing, a third of the variants complete)
and 900 variants on three chromosomes, among them monomorphic, uncalled, all-heterozygous and repeated ones and one
alone far from the others. Stored with PLINK v2.00a3.5 and v1.90b6.26 by the commands in OUTPUTS, each with
`--bfile ld --allow-no-sex`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.genotypes.population.differentiation import fst, fst_by_variant
from genomic_platform.genotypes.population.ld import prune, r2_pairs
from genomic_platform.genotypes.table import GenotypeTable

REFERENCE = Path(__file__).parent / "genotypes"
_FST = "--pheno ld.groups.tsv --fst group report-variants cols=+nobs vcols=chrom,pos,nobs,fstfrac,fst method="
OUTPUTS = {
    "ld.plink2.variants.prune.in": "plink2 --indep-pairwise 50 5 0.2",
    "ld.plink1.variants.prune.in": "plink1.9 --indep-pairwise 50 5 0.2",
    "ld.plink2.kb.prune.in": "plink2 --indep-pairwise 100kb 1 0.3",
    "ld.plink1.kb.prune.in": "plink1.9 --indep-pairwise 100kb 1 0.3",
    "ld.plink1.ld": "plink1.9 --r2 --ld-window 16 --ld-window-kb 100000 --ld-window-r2 0.5",
    "ld.plink2.hudson.fst.summary": f"plink2 {_FST}hudson",
    "ld.plink2.hudson.north.south.fst.var": f"plink2 {_FST}hudson",
    "ld.plink2.wc.fst.summary": f"plink2 {_FST}wc",
    "ld.plink2.wc.north.south.fst.var": f"plink2 {_FST}wc",
}
#: plink writes six significant digits.
DIGITS = 1e-6

Output = Callable[[str], list[list[str]]]


@pytest.fixture(params=["stored", "run again"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Output:
    """The rows of one of OUTPUTS, each split at white space."""
    def read(name: str) -> list[list[str]]:
        path = REFERENCE / name
        if request.param == "run again":
            program, *arguments = OUTPUTS[name].split()
            if shutil.which(program) is None:
                pytest.skip(f"{program} is not installed")
            subprocess.run([program, "--bfile", "ld", "--allow-no-sex", *arguments, "--out", tmp_path / "new"],
                           cwd=REFERENCE, check=True, capture_output=True)
            suffix = re.sub(r"ld\.plink[12]\.((variants|kb|hudson|wc)\.)?", "", name)
            path = tmp_path / f"new.{suffix}"
        return [line.split() for line in path.read_text().splitlines()]
    return read


@pytest.fixture(scope="module")
def panel() -> GenotypeTable:
    names = ["chromosome", "variant_id", "centimorgan", "position", "alt", "ref"]
    variants = pl.read_csv(REFERENCE / "ld.bim", separator="\t", has_header=False, new_columns=names,
                           schema_overrides={"chromosome": pl.String})
    lines = [line.split()[1] for line in (REFERENCE / "ld.fam").read_text().splitlines()]
    packed = np.frombuffer((REFERENCE / "ld.bed").read_bytes()[3:], dtype=np.uint8)
    return GenotypeTable.from_packed(variants, lines, packed.reshape(variants.height, -1))


@pytest.fixture(scope="module")
def groups() -> dict[str, str]:
    rows = [line.split() for line in (REFERENCE / "ld.groups.tsv").read_text().splitlines()[1:]]
    return {line: group for line, group in rows if group != "NONE"}


def _kept(panel: GenotypeTable, mask_M: np.ndarray) -> list[str]:
    return panel.variants["variant_id"].filter(mask_M).to_list()


@pytest.mark.parametrize("program", ["plink1", "plink2"])
def test_windows_of_variants_keep_the_variants_that_plink_keeps(panel: GenotypeTable, output: Output, program: str):
    assert _kept(panel, prune(panel, 50, 5, 0.2)) == [row[0] for row in output(f"ld.{program}.variants.prune.in")]


def test_windows_of_base_pairs_keep_the_variants_that_plink2_keeps(panel: GenotypeTable, output: Output):
    assert _kept(panel, prune(panel, window_bp=100_000, max_r2=0.3)) == [
        row[0] for row in output("ld.plink2.kb.prune.in")]


def test_plink1_differs_by_a_variant_without_variance_that_no_window_compares(panel: GenotypeTable, output: Output):
    kept = set(_kept(panel, prune(panel, window_bp=100_000, max_r2=0.3)))
    assert kept ^ {row[0] for row in output("ld.plink1.kb.prune.in")} == {"S299"}


def test_r2_of_neighbours_is_that_of_plink(panel: GenotypeTable, output: Output):
    header, *rows = output("ld.plink1.ld")
    wanted = {(row[header.index("SNP_A")], row[header.index("SNP_B")]): float(row[header.index("R2")]) for row in rows}
    pairs = r2_pairs(panel, window_variants=15, min_r2=0.5)
    found = {(first, second): r2 for first, second, r2 in pairs.select("variant_1", "variant_2", "r2").iter_rows()}
    assert list(found) == list(wanted)
    np.testing.assert_allclose(list(found.values()), list(wanted.values()), atol=DIGITS)


@pytest.mark.parametrize(("method", "name"), [("hudson", "hudson"), ("weir_cockerham", "wc")])
def test_fst_between_groups_is_that_of_plink2(panel: GenotypeTable, groups: dict[str, str], output: Output, method: str,
                                              name: str):
    _, *rows = output(f"ld.plink2.{name}.fst.summary")
    pairs = fst(panel, groups, method).filter(pl.col("chromosome").is_null() & pl.col("group_1").is_not_null())
    assert pairs.select("group_1", "group_2").rows() == [(row[0], row[1]) for row in rows]
    assert pairs["n_variants"].to_list() == [int(row[2]) for row in rows]
    np.testing.assert_allclose(pairs["fst"], [float(row[3]) for row in rows], atol=DIGITS)


@pytest.mark.parametrize(("method", "name"), [("hudson", "hudson"), ("weir_cockerham", "wc")])
def test_fst_of_each_variant_is_that_of_plink2(panel: GenotypeTable, groups: dict[str, str], output: Output,
                                               method: str, name: str):
    two = {line: group for line, group in groups.items() if group != "west"}
    header, *rows = output(f"ld.plink2.{name}.north.south.fst.var")
    found = fst_by_variant(panel, two, method)
    assert found["variant_id"].to_list() == [row[header.index("ID")] for row in rows]
    np.testing.assert_allclose(found["fst"].fill_null(np.nan), [float(row[-1]) for row in rows], atol=DIGITS)
