"""Exports read back by our readers and by bcftools, plink2 and plink1.9; forbidden names; failures leave nothing."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomic_platform.errors import InputError
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.export import to_bed, to_vcf, to_vcz
from genomic_platform.genotypes.read import read_genotypes
from genomic_platform.genotypes.readers.bcf import open_bcf, open_with_cyvcf2
from genomic_platform.genotypes.readers.part import collect
from genomic_platform.genotypes.sources import open_source, source_kind
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform_tests.support.panels import made_panel

EXPORTS: dict[str, Callable[[GenotypeTable, Path], Path]] = {
    "bed": lambda table, folder: to_bed(table, folder / "x")[0],
    "vcf": lambda table, folder: to_vcf(table, folder / "x.vcf"),
    "vcf.gz": lambda table, folder: to_vcf(table, folder / "x.vcf.gz"),
    "vcz": lambda table, folder: to_vcz(table, folder / "x.vcz"),
}
every_export = pytest.mark.parametrize("export", EXPORTS)

#: Any text but what some format forbids: blanks, control characters, comma, semicolon, <, >, quotes, U+FFFD.
characters = st.characters(min_codepoint=0x21, exclude_categories=["Cs"], exclude_characters=',;<>"#\ufffd\x7f')
names = st.text(characters, min_size=1, max_size=12).filter(lambda name: name not in (".", "0"))


@st.composite
def tables(draw: st.DrawFn) -> GenotypeTable:
    n, m = draw(st.integers(1, 9)), draw(st.integers(1, 12))
    seed = draw(st.integers(0, 2**32 - 1))
    variants = pl.DataFrame({
        "variant_id": draw(st.lists(names, min_size=m, max_size=m, unique=True)),
        "chromosome": draw(st.lists(st.sampled_from(draw(st.lists(names, min_size=1, max_size=3))), min_size=m,
                                    max_size=m)),
        "position": draw(st.lists(st.integers(0, 2**31 - 1), min_size=m, max_size=m)),
        "ref": draw(st.lists(st.sampled_from(["A", "C", "CAT", "N", "."]), min_size=m, max_size=m)),
        "alt": draw(st.lists(st.sampled_from(["G", "T", "GAT", "*", "."]), min_size=m, max_size=m)),
    })
    lines = draw(st.lists(names, min_size=n, max_size=n, unique=True))
    return GenotypeTable.from_dosages(variants, lines, np.random.default_rng(seed).integers(-1, 3, (m, n)))


def back(path: Path) -> GenotypeTable:
    kind = source_kind(path)
    assert isinstance(kind, str), kind
    part = collect(open_source(kind, path))
    return GenotypeTable.from_packed(part.variants, part.lines, part.packed_MB)


def assert_same(found: GenotypeTable, expected: GenotypeTable) -> None:
    assert found.lines == expected.lines
    assert found.variants.equals(expected.variants)
    assert found.marker_digest == expected.marker_digest
    np.testing.assert_array_equal(found.packed_MB, expected.packed_MB)


@settings(deadline=None, max_examples=60)
@given(tables())
def test_any_table_comes_back_from_every_format(tmp_path_factory: pytest.TempPathFactory, table: GenotypeTable) -> None:
    folder = tmp_path_factory.mktemp("export")
    for export in EXPORTS.values():
        assert_same(back(export(table, folder)), table)


@every_export
@pytest.mark.parametrize("n_lines", [1, 2, 3, 4, 5, 1001])
def test_a_panel_of_many_blocks_comes_back(tmp_path: Path, export: str, n_lines: int) -> None:
    panel = made_panel(n_lines, 9000 if n_lines < 10 else 2500, seed=n_lines)
    path = EXPORTS[export](panel, tmp_path)
    assert_same(back(path), panel)
    if n_lines > 1:
        table, notices = read_genotypes([path])
        assert_same(table, panel)
        assert notices == []


@every_export
def test_a_table_on_disk_is_exported_as_the_one_in_memory(tmp_path: Path, export: str) -> None:
    panel = made_panel(7, 5000)
    panel.save(tmp_path / "table")
    (tmp_path / "out").mkdir()
    assert_same(back(EXPORTS[export](GenotypeTable.open(tmp_path / "table"), tmp_path / "out")), panel)


def test_the_bed_is_the_packed_calls(tmp_path: Path) -> None:
    panel = made_panel(10, 30)
    bed, bim, fam = to_bed(panel, tmp_path / "with.dots.bed")
    assert [path.name for path in (bed, bim, fam)] == ["with.dots.bed", "with.dots.bim", "with.dots.fam"]
    assert bed.read_bytes() == b"\x6c\x1b\x01" + panel.packed_MB.tobytes()
    assert bim.read_text().splitlines()[0] == "1\tm0000\t0\t1\tC\tA"
    assert fam.read_text().splitlines()[0] == "0\tline000\t0\t0\t0\t-9"


def test_text_and_end_of_a_bgzip_vcf(tmp_path: Path) -> None:
    panel = made_panel(3000, 40)  # several members
    plain, zipped = (to_vcf(panel, tmp_path / name).read_bytes() for name in ("x.vcf", "x.vcf.gz"))
    assert gzip.decompress(zipped) == plain
    assert zipped.endswith(bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000"))
    head = plain.decode().splitlines()[:6]
    assert head[0] == "##fileformat=VCFv4.3"
    assert "##contig=<ID=1>" in head
    assert head[5].startswith("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tline000\tline001")


def odd_panel() -> GenotypeTable:
    """Positions 0, an indel, REF and ALT of one position in two records, names beyond ASCII."""
    variants = pl.DataFrame({
        "variant_id": ["m0", "m1", "Märker", "m3", "m4", "m5"], "chromosome": ["1", "1", "1", "2", "2", "unplaced"],
        "position": [0, 7, 7, 3, 2_000_000_000, 0], "ref": ["A", "C", "C", "CAT", "G", "A"],
        "alt": ["G", "T", "G", "C", "A", "C"]})
    dosage_MN = np.random.default_rng(5).integers(-1, 3, (6, 7))
    return GenotypeTable.from_dosages(variants, ["a", "IR-64", "Grün", "x_1", "d", "e", "f"], dosage_MN)


@pytest.mark.skipif(shutil.which("bcftools") is None, reason="needs bcftools")
@pytest.mark.parametrize("name", ["x.vcf", "x.vcf.gz"])
def test_bcftools_reads_the_same_calls(tmp_path: Path, name: str) -> None:
    table = odd_panel()
    path = to_vcf(table, tmp_path / name)
    rows = subprocess.run(["bcftools", "query", "-f", r"%CHROM\t%POS\t%ID\t%REF\t%ALT[\t%GT]\n", path], check=True,
                          capture_output=True, text=True).stdout.splitlines()
    dosage = {"0/0": 0, "0/1": 1, "1/1": 2, "./.": -1}
    for row, variant, dosage_N in zip(rows, table.variants.iter_rows(named=True), table.dosages().T, strict=True):
        chromosome, position, name, ref, alt, *calls = row.split("\t")
        assert (chromosome, int(position), name, ref, alt) == tuple(
            variant[c] for c in ("chromosome", "position", "variant_id", "ref", "alt"))
        assert [dosage[call] for call in calls] == dosage_N.tolist()
    subprocess.run(["bcftools", "view", "-Ob", "-o", tmp_path / "x.bcf", path], check=True, capture_output=True)
    for part in (collect(open_bcf(tmp_path / "x.bcf")), collect(open_with_cyvcf2(path))):
        assert_same(GenotypeTable.from_packed(part.variants, part.lines, part.packed_MB), table)


@pytest.mark.skipif(shutil.which("bgzip") is None, reason="needs bgzip")
def test_bgzip_finds_no_fault(tmp_path: Path) -> None:
    subprocess.run(["bgzip", "-t", to_vcf(made_panel(3000, 40), tmp_path / "x.vcf.gz")], check=True)


@pytest.mark.parametrize("program", ["plink2", "plink1.9"])
@pytest.mark.parametrize("source", ["--vcf x.vcf.gz", "--bfile x"])
def test_plink_reads_the_same_calls(tmp_path: Path, program: str, source: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    table = odd_panel()
    to_vcf(table, tmp_path / "x.vcf.gz")
    to_bed(table, tmp_path / "x")
    keep = ["--keep-allele-order", "--const-fid", "0"] if program == "plink1.9" else []
    subprocess.run([program, *source.split(), *(keep if source.startswith("--vcf") else keep[:1]), "--allow-extra-chr",
                    "--make-bed", "--out", "y"], cwd=tmp_path, check=True, capture_output=True)
    assert_same(back(tmp_path / "y.bed"), table)


FORBIDDEN = [
    ("bed", "line", "IR 64", "x.bed: line name is 'IR 64'; expected a name, without blanks and control characters"),
    ("bed", "variant_id", "m\t1", r"marker id is 'm\t1'"),
    ("bed", "chromosome", "chr 1", "chromosome is 'chr 1'"),
    ("bed", "ref", "0", "allele is '0'"),
    ("vcf", "line", "a\tb", r"x.vcf: line name is 'a\tb'; expected a name, without control characters; repair: rename"),
    ("vcf.gz", "line", "a\nb", r"line name is 'a\nb'"),
    ("vcf", "variant_id", "m 1", "marker id is 'm 1'"),
    ("vcf", "variant_id", "a;b", "marker id is 'a;b'"),
    ("vcf", "chromosome", "a,b", "chromosome is 'a,b'"),
    ("vcf", "chromosome", "#1", "chromosome is '#1'"),
    ("vcf", "alt", "G,T", "allele is 'G,T'"),
    ("vcz", "variant_id", "", "marker id is ''"),
    ("vcz", "alt", "", "allele is ''"),
    ("vcf", "line", "a\ufffd", "line name is 'a\ufffd'"),
]


@pytest.mark.parametrize(("export", "column", "name", "complaint"), FORBIDDEN)
def test_names_that_a_format_forbids_are_refused(tmp_path: Path, export: str, column: str, name: str,
                                                 complaint: str) -> None:
    panel = made_panel(3, 4)
    variants = panel.variants if column == "line" else panel.variants.with_columns(pl.lit(name).alias(column))
    lines = [name, "b", "c"] if column == "line" else panel.lines
    with pytest.raises(InputError) as refused:
        EXPORTS[export](GenotypeTable.from_packed(variants, lines, panel.packed_MB), tmp_path)
    assert complaint in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_lines_with_spaces_go_into_a_vcf(tmp_path: Path) -> None:
    panel = made_panel(3, 4)
    table = GenotypeTable.from_packed(panel.variants, ["IR 64", " b", "c "], panel.packed_MB)
    for export in ("vcf", "vcf.gz", "vcz"):
        assert_same(back(EXPORTS[export](table, tmp_path)), table)


class Broken(Exception):
    pass


@every_export
def test_a_failure_leaves_what_was_there(tmp_path: Path, export: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = made_panel(5, 300, seed=1), made_panel(5, 300, seed=2)
    path = EXPORTS[export](first, tmp_path)
    before = sorted(p.name for p in tmp_path.iterdir())

    def broken(self: GenotypeTable, size: int = 100) -> Iterator[tuple[int, np.ndarray]]:
        yield 0, self.packed_MB[:100]
        raise Broken

    with monkeypatch.context() as patch:
        patch.setattr(GenotypeTable, "packed_blocks", broken)
        with pytest.raises(Broken):
            EXPORTS[export](second, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    assert_same(back(path), first)
    EXPORTS[export](second, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    assert_same(back(path), second)


@every_export
def test_a_folder_that_is_not_there_is_named(tmp_path: Path, export: str) -> None:
    with pytest.raises(InputError, match="no folder"):
        EXPORTS[export](made_panel(3, 4), tmp_path / "none")


def test_a_vcf_is_named_like_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a name that ends in \.vcf or \.vcf\.gz"):
        to_vcf(made_panel(3, 4), tmp_path / "x.txt")


def test_a_stored_vcf_zarr_has_what_the_specification_asks_for(tmp_path: Path) -> None:
    import zarr

    panel = odd_panel()
    store = zarr.open_group(str(to_vcz(panel, tmp_path / "x.vcz")), mode="r")
    arrays = dict(store.arrays())
    assert store.attrs["vcf_zarr_version"] == "0.4"
    assert {name: array.attrs["_ARRAY_DIMENSIONS"] for name, array in arrays.items()} == {
        "contig_id": ["contigs"], "filter_id": ["filters"], "sample_id": ["samples"], "variant_contig": ["variants"],
        "variant_position": ["variants"], "variant_id": ["variants"], "variant_allele": ["variants", "alleles"],
        "variant_quality": ["variants"], "variant_filter": ["variants", "filters"],
        "call_genotype": ["variants", "samples", "ploidy"]}
    pairs_MNP = np.asarray(arrays["call_genotype"][:])
    dosage_MN = np.where(pairs_MNP[..., 0] < 0, packing.MISSING, pairs_MNP.sum(axis=2))
    np.testing.assert_array_equal(dosage_MN, panel.dosages().T)
