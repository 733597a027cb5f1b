"""Beagle: what is missing is named, what goes out and comes back is exact; the program itself where it is installed."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import GenomicPlatformError, InputError, NotAvailable
from genomic_platform.genotypes.imputing.beagle import _merged, impute_beagle, read_calls, write_calls
from genomic_platform.genotypes.imputing.imputation import impute
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform_tests.support.panels import made_panel

#: Where Debian's package `beagle` puts the program.
JAR = Path("/usr/share/beagle/beagle.jar")


def awkward_panel() -> GenotypeTable:
    """Names with spaces and colons, two variants at each position, 13 lines (not a multiple of four)."""
    panel = made_panel(13, 40, missing=0.1)
    variants = panel.variants.with_columns(chromosome=pl.Series(["chr:1"] * 20 + ["2 b"] * 20),
                                           position=pl.Series(np.arange(40) // 2 * 1000 + 1))
    return GenotypeTable.from_packed(variants, [f"my line:{i}" for i in range(13)], panel.packed_MB)


def phased(path: Path, answer: Path, calls: str = "0|1") -> None:
    """An answer as Beagle writes it: the same variants, every call phased, missing ones as `calls`."""
    text = gzip.decompress(path.read_bytes()).decode().replace("./.", calls).replace("/", "|")
    answer.write_bytes(gzip.compress(text.encode()))


def test_a_missing_jar_or_java_is_named_with_the_repair(tmp_path: Path) -> None:
    table = made_panel(10, 10)
    with pytest.raises(NotAvailable, match=r"expected the path of beagle\.jar, found none"):
        impute(table, "beagle")
    with pytest.raises(NotAvailable, match=r"no file at .*nowhere\.jar"):
        impute(table, "beagle", jar=tmp_path / "nowhere.jar")
    (tmp_path / "beagle.jar").write_bytes(b"")
    with pytest.raises(NotAvailable, match=r"no program 'no-such-java'.*repair: install a Java runtime"):
        impute(table, "beagle", jar=tmp_path / "beagle.jar", java="no-such-java")


@pytest.mark.skipif(shutil.which("java") is None, reason="java is not installed")
def test_a_program_that_fails_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "beagle.jar").write_bytes(b"not a jar")
    with pytest.raises(GenomicPlatformError, match=r"exit status 1: .*beagle\.jar"):
        impute_beagle(made_panel(10, 10), tmp_path / "beagle.jar")


def test_positions_are_needed(tmp_path: Path) -> None:
    jar, java = tmp_path / "beagle.jar", shutil.which("sh")
    jar.write_bytes(b"")
    panel = made_panel(10, 10)
    assert java
    unplaced = GenotypeTable.from_packed(panel.variants.with_columns(chromosome=pl.lit("unplaced")), panel.lines,
                                         panel.packed_MB)
    with pytest.raises(InputError, match="which Beagle needs"):
        impute_beagle(unplaced, jar, java=java)
    variants = panel.variants.with_columns(chromosome=pl.Series(["1"] * 9 + ["2"]))
    single = GenotypeTable.from_packed(variants, panel.lines, panel.packed_MB)
    with pytest.raises(ValueError, match="two positions on a chromosome; found one on 2"):
        impute_beagle(single, jar, java=java)


def test_calls_go_out_and_come_back_exactly(tmp_path: Path) -> None:
    table = awkward_panel()
    write_calls(table, tmp_path / "in.vcf.gz")
    phased(tmp_path / "in.vcf.gz", tmp_path / "out.vcf.gz")
    result = _merged(table, read_calls(tmp_path / "out.vcf.gz", table.n_variants, table.n_lines))
    before_NM, after_NM = table.dosages(), result.table.dosages()
    assert np.array_equal(after_NM, np.where(before_NM < 0, 1, before_NM))
    assert result.imputed == (before_NM < 0).sum()
    assert set(result.dosage_C) == {1}
    assert result.table.marker_digest == table.marker_digest
    assert result.table.lines == table.lines


def test_the_file_written_is_a_vcf_that_others_read_with_no_two_variants_alike(tmp_path: Path) -> None:
    from cyvcf2 import VCF

    table = awkward_panel()
    write_calls(table, tmp_path / "in.vcf.gz")
    rows = [line.split("\t") for line in gzip.decompress((tmp_path / "in.vcf.gz").read_bytes()).decode().splitlines()
            if not line.startswith("#")]
    assert len({tuple(row[:2] + row[3:5]) for row in rows}) == table.n_variants
    code_of = np.array([0, 1, -1, 2])  # cyvcf2: hom ref, het, unknown, hom alt
    read_MN = np.array([code_of[record.gt_types] for record in VCF(str(tmp_path / "in.vcf.gz"))])
    assert np.array_equal(read_MN, table.dosages().T)


def test_an_incomplete_answer_is_refused(tmp_path: Path) -> None:
    table = awkward_panel()
    write_calls(table, tmp_path / "in.vcf.gz")
    with pytest.raises(GenomicPlatformError, match=r"expected 13 calls such as 0\|1"):
        read_calls(tmp_path / "in.vcf.gz", table.n_variants, table.n_lines)
    phased(tmp_path / "in.vcf.gz", tmp_path / "out.vcf.gz")
    with pytest.raises(GenomicPlatformError, match="holds 40 of 41 variants"):
        read_calls(tmp_path / "out.vcf.gz", 41, table.n_lines)


@pytest.mark.skipif(not JAR.is_file() or shutil.which("java") is None, reason="needs Java and Debian's package beagle")
def test_beagle_completes_a_panel_and_repeats_itself() -> None:
    table = awkward_panel()
    first, second = (impute(table, "beagle", jar=JAR, seed=3, threads=1) for _ in range(2))
    assert first.table.dosages().min() >= 0
    assert np.array_equal(first.dosage_C, second.dosage_C)
    known_NM = table.dosages() >= 0
    assert np.array_equal(first.table.dosages()[known_NM], table.dosages()[known_NM])
