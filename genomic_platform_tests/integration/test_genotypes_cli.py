"""The `genotypes` commands on real data: a table in, numbers out, nothing of a programme needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform_tests.support.command_line import call

WHEAT = Path(__file__).parents[2] / "examples/wheat_cimmyt599/landing/genotypes/genotypes.vcf.gz"
RICE = Path(__file__).parents[2] / "examples/rice_japonica_uy/landing/genotypes/genotypes.vcf.gz"


@pytest.fixture(scope="module")
def wheat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from genomic_platform.genotypes.ingest import ingest

    folder = tmp_path_factory.mktemp("wheat") / "table"
    ingest([WHEAT], folder)
    return folder


def test_ingest_says_what_it_read_and_keeps_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = call(capsys, "genotypes", "ingest", WHEAT, "--out", tmp_path / "table")
    assert answer.code == 0
    assert answer.said("599 lines × 1,279 variants") == 1
    again = call(capsys, "genotypes", "ingest", WHEAT, "--out", tmp_path / "table")
    assert again.code == 2
    assert again.said("exists; expected a new folder") == 1


def test_a_wrong_file_is_refused_in_words_and_leaves_nothing(tmp_path: Path,
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.vcf").write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\n"
                                    "1\t5\tm\tA\tC\t.\t.\t.\tGT\tx/y\n")
    answer = call(capsys, "genotypes", "ingest", tmp_path / "x.vcf", "--out", tmp_path / "table")
    assert answer.code == 2
    assert answer.said("x.vcf, line 3: GT of a is 'x/y'") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["x.vcf"]


def test_tables_print_or_go_to_a_file(wheat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = call(capsys, "genotypes", "freq", wheat)
    assert printed.code == 0
    for suffix in ("tsv", "csv", "parquet"):
        assert call(capsys, "genotypes", "freq", wheat, "--out", tmp_path / f"freq.{suffix}").code == 0
    table = pl.read_parquet(tmp_path / "freq.parquet")
    assert table.height == 1279
    assert printed.out.count("\n") == 1280
    assert pl.read_csv(tmp_path / "freq.tsv", separator="\t")["hom_alt"].to_list() == table["hom_alt"].to_list()
    assert call(capsys, "genotypes", "info", wheat).said("599 lines × 1,279 variants") == 1


def test_regions_and_lines_choose_a_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "genotypes", "ingest", RICE, "--out", tmp_path / "rice").code == 0
    table = GenotypeTable.open(tmp_path / "rice")
    (tmp_path / "some.txt").write_text("\n".join(table.lines[:7]))
    answer = call(capsys, "genotypes", "freq", tmp_path / "rice", "--region", "chr03:1-2,000,000", "--lines",
                  tmp_path / "some.txt", "--out", tmp_path / "some.parquet")
    assert answer.code == 0
    some = pl.read_parquet(tmp_path / "some.parquet")
    assert some.height == table.variants.filter(pl.col("chromosome") == "chr03", pl.col("position") <= 2_000_000).height
    assert (some["hom_ref"] + some["heterozygous"] + some["hom_alt"]).max() == 7
    unknown = call(capsys, "genotypes", "info", tmp_path / "rice", "--lines", "nobody")
    assert (unknown.code, unknown.said("nobody is not in")) == (2, 1)
    elsewhere = call(capsys, "genotypes", "info", tmp_path / "rice", "--region", "chr77")
    assert (elsewhere.code, elsewhere.said("no chromosome 'chr77' here")) == (3, 1)
    assert call(capsys, "genotypes", "prune", tmp_path / "rice", "--out", tmp_path / "pruned").code == 0
    pruned = GenotypeTable.open(tmp_path / "pruned")
    assert 0 < pruned.n_variants < table.n_variants
    assert pruned.lines == table.lines


@pytest.mark.parametrize("method", ["vanraden1", "vanraden2", "yang", "dominance", "gaussian"])
def test_relationships_go_to_a_file(wheat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                    method: str) -> None:
    assert call(capsys, "genotypes", "grm", wheat, "--method", method, "--out", tmp_path / "g.npy").code == 0
    matrix_NN = np.load(tmp_path / "g.npy")
    assert (tmp_path / "g.id").read_text().split() == list(GenotypeTable.open(wheat).lines)
    np.testing.assert_allclose(matrix_NN, matrix_NN.T)
    if method == "vanraden1":  # float32 on disk, and products by whichever engine is faster here
        np.testing.assert_allclose(matrix_NN, vanraden(GenotypeTable.open(wheat)).matrix_NN, atol=1e-5)


def test_components_are_the_same_by_either_method(wheat: Path, tmp_path: Path,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    scores = {}
    for method in ("exact", "randomised"):
        out = tmp_path / f"{method}.parquet"
        assert call(capsys, "genotypes", "pca", wheat, "--components", "3", "--method", method, "--out", out).code == 0
        scores[method] = pl.read_parquet(out)["score"].to_numpy()
    # the randomised method stops at residuals of 1e-4 of an eigenvalue
    np.testing.assert_allclose(scores["exact"], scores["randomised"], atol=1e-2)


def test_the_quality_page_is_one_file(wheat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = call(capsys, "genotypes", "qc", wheat, "--out", tmp_path / "qc.tsv", "--page", tmp_path / "qc.html",
                  "--min-allele-frequency", "0.1")
    assert answer.code == 0
    page = (tmp_path / "qc.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "<script" not in page
    removed = pl.read_csv(tmp_path / "qc.tsv", separator="\t", infer_schema_length=None).filter(~pl.col("kept"))
    assert removed.height > 0
    assert removed["reason"].str.contains("minor allele frequency").all()


def test_exports_read_back_as_the_same_table(wheat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for to, name, read in (("bed", "x", "x.bed"), ("vcf", "x.vcf.gz", "x.vcf.gz"), ("vcz", "x.vcz", "x.vcz")):
        assert call(capsys, "genotypes", "export", wheat, "--to", to, "--out", tmp_path / name).code == 0
        assert call(capsys, "genotypes", "ingest", tmp_path / read, "--out", tmp_path / f"from_{to}").code == 0
        again, table = GenotypeTable.open(tmp_path / f"from_{to}"), GenotypeTable.open(wheat)
        assert again.marker_digest == table.marker_digest
        np.testing.assert_array_equal(again.packed_MB, table.packed_MB)


def test_a_folder_that_is_no_table_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = call(capsys, "genotypes", "info", tmp_path)
    assert answer.code == 2
    assert answer.said("is no packed table; expected a folder with genotypes.parquet") == 1


@pytest.mark.parametrize(("arguments", "code", "message"), [
    (["info", "--region", "unplaced:5-1"], 2, "holds no variant"),
    (["info", "--lines", "775", "775"], 2, "expected at least one line, and none twice"),
    (["grm", "--out", "g.npy", "--method", "yang", "--engine", "int8"], 2, "int8 products are for"),
    (["grm", "--out", "nowhere/g.npy"], 2, "nowhere is not a folder"),
    (["grm", "--out", "g.npz"], 2, "expected a name that ends in .npy"),
    (["prune", "--window-bp", "100"], 2, "a chromosome and a position for every variant"),
    (["report"], 2, "no batches were merged into it; expected some; repair: ingest all files at once"),
])
def test_what_cannot_be_done_is_said_and_is_no_fault(wheat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                     monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int,
                                                     message: str) -> None:
    monkeypatch.chdir(tmp_path)
    answer = call(capsys, "genotypes", arguments[0], wheat, *arguments[1:])
    assert (answer.code, answer.said(message)) == (code, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_chromosome_is_found_however_it_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, "genotypes", "ingest", RICE, "--out", tmp_path / "rice")
    for name in ("chr03", "3", "Chr3", "chromosome_03"):
        assert call(capsys, "genotypes", "info", tmp_path / "rice", "--region", name).said("4,543 variants") == 1


def test_a_table_under_other_lines_is_refused(wheat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = GenotypeTable.open(wheat)
    table.save(tmp_path / "one")
    table.select(None, table.lines[::-1]).save(tmp_path / "two")
    (tmp_path / "one" / "lines.parquet").write_bytes((tmp_path / "two" / "lines.parquet").read_bytes())
    answer = call(capsys, "genotypes", "info", tmp_path / "one")
    assert answer.code == 2
    assert answer.said("expected the 599 lines that it was written with, in their order") == 1


def test_an_export_writes_over_nothing(wheat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("mine")
    answer = call(capsys, "genotypes", "export", wheat, "--to", "vcz", "--out", tmp_path / "precious")
    assert (answer.code, answer.said("exists; expected a new name")) == (2, 1)
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "mine"
