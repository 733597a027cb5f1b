"""Genotype files as people have them: what is read, what is accepted with a notice, what stops and with which words."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import InputError
from genomic_platform.genotypes.read import inspect_genotypes, read_batches, read_genotypes
from genomic_platform.genotypes.readers.part import ReadOptions
from genomic_platform.genotypes.table import GenotypeTable

EXAMPLES = Path(__file__).parents[2] / "examples"
HEAD = '##fileformat=VCFv4.2\n##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT"
BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def record(calls: str, *, chromosome: str = "1", position: object = 5, name: str = "m1", ref: str = "A",
           alt: str = "G", form: str = "GT") -> str:
    fields = [chromosome, str(position), name, ref, alt, ".", ".", ".", form, *calls.split()]
    return "\t".join(fields) + "\n"


def vcf(*records: str, samples: str = "a b c") -> str:
    return HEAD + "\t".join([COLUMNS, *samples.split()]) + "\n" + "".join(records)


GOOD = vcf(record("0/0 0/1 1/1"), record("1/1 ./. 0/0", position=9, name="m2"))


def bgzip(data: bytes) -> bytes:
    """Blocked gzip: members with a BC field that holds their size less one, and an empty one at the end."""
    blocks = b""
    for start in range(0, len(data), 200):
        member = bytearray(gzip.compress(data[start : start + 200], mtime=0))
        member[3] = 4
        member[10:10] = b"\x06\x00BC\x02\x00" + (len(member) + 7).to_bytes(2, "little")
        blocks += bytes(member)
    return blocks + BGZF_END


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def calls_by_variant(table: GenotypeTable) -> dict[str, list[int]]:
    return dict(zip(table.variants["variant_id"], table.dosages().T.tolist(), strict=True))


@pytest.mark.parametrize(("name", "encode"), [
    ("x.vcf", lambda text: text.encode()),
    ("x.vcf.gz", lambda text: gzip.compress(text.encode())),
    ("x.vcf.gz", lambda text: bgzip(text.encode())),
    ("content_decides.txt", lambda text: gzip.compress(text.encode())),
    ("x.vcf", lambda text: text.replace("\n", "\r\n").encode()),
    ("x.vcf", lambda text: b"\xef\xbb\xbf" + text.encode()),
    ("x.vcf", lambda text: text.rstrip("\n").encode()),
], ids=["plain", "gzip", "bgzip", "other name", "windows line ends", "byte order mark", "no last line end"])
def test_vcf_is_read_however_it_is_packed(tmp_path: Path, name: str, encode: Callable[[str], bytes]) -> None:
    table, notices = read_genotypes([put(tmp_path, name, encode(GOOD))])
    assert table.lines == ("a", "b", "c")
    assert calls_by_variant(table) == {"m1": [0, 1, 2], "m2": [2, -1, 0]}
    assert notices == []


def test_calls_are_read_from_any_layout_of_gt(tmp_path: Path) -> None:
    text = vcf(record("0|1:9 1|1:12 .:3", form="GT:DP"), record("1/0 . 0|0", position=6, name="m2"),
               record(". . 1/1:7", position=7, name="m3", form="GT:DP"))
    table, notices = read_genotypes([put(tmp_path, "x.vcf", text)])
    assert calls_by_variant(table) == {"m1": [1, 2, -1], "m2": [1, -1, 0], "m3": [-1, -1, 2]}
    assert notices == []


@pytest.mark.parametrize(("records", "code", "count", "kept"), [
    ([record("0/0 0/1 1/1"), record("0/2 0/1 1/1", position=7, name="m2", alt="G,T")], "multiallelic", 1, ["m1"]),
    ([record("0/0 0/1 1/1", position=9), record("0/1 0/1 1/1", name="m2")], "unsorted", 1, ["m2", "m1"]),
    ([record("0/0 0/1 1/1"), record("0/1 1/1 1/1", name="again")], "duplicate_variants", 1, ["m1"]),
    ([record("0/0 0/. 1/1"), record("./1:3 0/1:2 1/1:4", position=8, name="m2", form="GT:DP")], "half_calls", 2,
     ["m1", "m2"]),
    ([record("0/0 0/1 1/1"), record("0/1 1/1 1/1", position=6)], "repeated_ids", 2, ["1:5:A:G", "1:6:A:G"]),
])
def test_accepted_with_a_notice(tmp_path: Path, records: list[str], code: str, count: int, kept: list[str]) -> None:
    table, notices = read_genotypes([put(tmp_path, "x.vcf", vcf(*records))])
    assert [(n.code, n.count) for n in notices] == [(code, count)]
    assert table.variants["variant_id"].to_list() == kept


def test_half_calls_are_missing_and_the_first_duplicate_is_kept(tmp_path: Path) -> None:
    text = vcf(record("0/. 0/1 1/1"), record("1/1 1/1 1/1", name="again"), record("0/0 ./1 1/1", position=6, name="x"))
    table, _ = read_genotypes([put(tmp_path, "x.vcf", text)])
    assert calls_by_variant(table) == {"m1": [-1, 1, 2], "x": [0, -1, 2]}


def test_variants_without_an_id_are_named_by_place_and_alleles(tmp_path: Path) -> None:
    table, notices = read_genotypes([put(tmp_path, "x.vcf", vcf(record("0/0 0/1 1/1", name=".")))])
    assert table.variants["variant_id"].to_list() == ["1:5:A:G"]
    assert notices == []


def test_unplaced_variants_are_told_apart_by_id(tmp_path: Path) -> None:
    text = vcf(record("0/0 0/1 1/1", position=0), record("0/1 1/1 1/1", position=0, name="m2"),
               record("0/1 0/1 1/1", position=0, name="m2", alt="T"))
    table, _ = read_genotypes([put(tmp_path, "x.vcf", text)])
    assert sorted(table.variants["variant_id"]) == ["m1", "m2:A:G", "m2:A:T"]


BAD_VCF = {
    "not a VCF": ("line_id,season\n1,2\n", "expected a VCF (first line ##fileformat=VCF…), a PLINK .bed or .pgen"),
    "empty": ("", "an empty file"),
    "no header line": (HEAD + record("0/0 0/1 1/1"), "then a #CHROM line before the records"),
    "no samples": (HEAD + COLUMNS.removesuffix("\tFORMAT") + "\n1\t5\tm\tA\tG\t.\t.\t.\n", "without a sample"),
    "duplicated samples": (vcf(record("0/0 0/1 1/1"), samples="a b a"), "given more than once: 'a' (1 names)"),
    "no variants": (vcf(), "expected at least one variant"),
    "no GT": (vcf(record("3 4 5", form="DP"), record("3 4 5", form="DP", position=6)), "FORMAT is no record with GT"),
    "GT missing in one": (GOOD + record("3 4 5", form="DP", position=12), "x.vcf, line 6: FORMAT is 'DP'"),
    "cut line": (GOOD + "1\t12\tm3\tA\tG\t.\t.\t.\tGT\t0/0", "x.vcf, line 6: 10 columns; expected 12 tab-separated"),
    "few columns": (vcf("1\t12\tm3\n", record("0/0 0/1 1/1")), "x.vcf, line 4: 3 columns"),
    "position": (vcf(record("0/0 0/1 1/1", position="1e3")), "line 4: POS is '1e3'; expected a whole number"),
    "polyploid": (vcf(record("0/0/1/1 0/0/0/1 0/0/0/0")), "this call is polyploid (4 alleles)"),
    "unreadable call": (vcf(record("0/0 A/G 1/1")), "line 4: GT of b is 'A/G'; expected two of the alleles"),
    "allele out of range": (vcf(record("0/0 0/2 1/1")), "line 4: GT of b is '0/2'"),
    "empty call": (GOOD + "1\t12\tm3\tA\tG\t.\t.\t.\tGT\t0/0\t\t1/1\n", "line 6: GT of b is ''"),
    "only multi-allelic": (vcf(record("0/0 0/1 1/2", alt="G,T")), "all of them multi-allelic"),
    "monomorphic": (vcf(record("0/0 0/0 ./."), record("1/1 1/1 1/1", position=6, name="m2")),
                    "2 variants, all of them monomorphic or without a call"),
}


@pytest.mark.parametrize("case", BAD_VCF)
def test_a_bad_vcf_stops_with_its_message(tmp_path: Path, case: str) -> None:
    content, message = BAD_VCF[case]
    path = put(tmp_path, "x.vcf", content)
    with pytest.raises(InputError) as refused:
        read_genotypes([path])
    assert message in str(refused.value)
    assert all(p.file == "x.vcf" and p.repair and p.expected for p in refused.value.problems)
    inspection = inspect_genotypes([path])
    assert inspection.problems == list(refused.value.problems)
    assert inspection.batches == {}


def test_all_problems_of_a_file_come_in_one_report(tmp_path: Path) -> None:
    text = vcf(record("0/0 0/1 1/1", position="x"), record("0/0 0/1"), record("0/0 0/1 z/z", position=7))
    with pytest.raises(InputError) as refused:
        read_genotypes([put(tmp_path, "x.vcf", text), tmp_path / "gone.vcf"])
    assert {(p.file, p.line) for p in refused.value.problems} == {
        ("x.vcf", 4), ("x.vcf", 5), ("x.vcf", 6), ("gone.vcf", None)}


def test_many_problems_of_one_kind_are_counted(tmp_path: Path) -> None:
    text = vcf(*[record("0/0 z/1 1/1", position=i) for i in range(1, 101)])
    with pytest.raises(InputError) as refused:
        read_genotypes([put(tmp_path, "x.vcf", text)])
    assert len(refused.value.problems) == 21
    assert "the same in 80 more places, the last here" in str(refused.value)


@pytest.mark.parametrize("compress", [gzip.compress, bgzip], ids=["gzip", "bgzip"])
@pytest.mark.parametrize("kept", [0.03, 0.3, 0.6, 0.95])
def test_a_truncated_gzip_is_named(tmp_path: Path, compress: Callable[[bytes], bytes], kept: float) -> None:
    body = vcf(*[record("0/0 0/1 1/1", position=i, name=f"m{i}") for i in range(1, 400)])
    whole = compress(body.encode())
    with pytest.raises(InputError, match="a truncated or damaged one"):
        read_genotypes([put(tmp_path, "x.vcf.gz", whole[: int(kept * len(whole))])])


def test_a_bgzip_file_cut_between_blocks_is_named(tmp_path: Path) -> None:
    whole = bgzip(GOOD.encode())
    with pytest.raises(InputError, match="the end marker that bgzip writes is missing"):
        read_genotypes([put(tmp_path, "x.vcf.gz", whole[: -len(BGZF_END)])])


def test_a_damaged_gzip_is_named(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(GOOD.encode()))
    whole[-8] ^= 0xFF  # checksum
    with pytest.raises(InputError, match="a truncated or damaged one"):
        read_genotypes([put(tmp_path, "x.vcf.gz", bytes(whole))])


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.vcf: no such file"):
        read_genotypes([tmp_path / "gone.vcf"])
    with pytest.raises(InputError, match="no regular file"):
        read_genotypes([tmp_path])


def test_the_same_lines_on_other_chromosomes_are_one_batch(tmp_path: Path) -> None:
    first = put(tmp_path, "c1.vcf", GOOD)
    second = put(tmp_path, "c2.vcf", vcf(record("0/0 0/1 1/1", chromosome="2", name="n1"), samples="c a b"))
    table, notices = read_genotypes([second, first])
    assert table.lines == ("c", "a", "b")
    assert calls_by_variant(table) == {"m1": [2, 0, 1], "m2": [0, 2, -1], "n1": [0, 1, 2]}
    assert notices == []
    assert inspect_genotypes([first, second]).n_variants == 3


@pytest.mark.parametrize("second", [
    vcf(record("0/0 0/1 1/1", chromosome="2"), samples="a b d"),
    GOOD,
    vcf(record("0/0 0/1 1/1", position=99)),
], ids=["other lines", "the same variants", "the same chromosome"])
def test_files_that_are_no_parts_of_one_batch_are_batches_of_their_own(tmp_path: Path, second: str) -> None:
    files = [put(tmp_path, "first.vcf", GOOD), put(tmp_path, "second.vcf", second)]
    batches, _ = read_batches(files)
    assert list(batches) == ["first.vcf", "second.vcf"]
    assert calls_by_variant(batches["first.vcf"]) == {"m1": [0, 1, 2], "m2": [2, -1, 0]}


def test_haploid_calls_are_homozygous_and_counted(tmp_path: Path) -> None:
    text = vcf(record("0/0 1 1/1"), record("0:1 1:3 .:2", position=6, name="m2", form="GT:DP"))
    table, notices = read_genotypes([put(tmp_path, "x.vcf", text)])
    assert calls_by_variant(table) == {"m1": [0, 2, 2], "m2": [0, 2, -1]}
    assert [(n.code, n.count) for n in notices] == [("haploid", 3)]


def test_multiallelic_variants_are_split_when_asked(tmp_path: Path) -> None:
    text = vcf(record("0/0 0/1 1/1"), record("1/2 0/2 ./1", position=6, name="m2", alt="G,T"),
               record("1/1 0/0 0/1", position=7, name="m3"))
    table, notices = read_genotypes([put(tmp_path, "x.vcf", text)], options=ReadOptions(multiallelic="split"))
    assert calls_by_variant(table) == {
        "m1": [0, 1, 2], "1:6:A:G": [1, 0, -1], "1:6:A:T": [1, 1, -1], "m3": [2, 0, 1]}
    assert {n.code: n.count for n in notices} == {"half_calls": 1, "repeated_ids": 2}


@pytest.fixture
def plink(tmp_path: Path) -> Path:
    """Three variants × five lines written by bed-reader: counts of A1."""
    from bed_reader import to_bed

    counts_NM = np.array([[0, 2, 1], [1, 2, -127], [2, 0, 0], [0, 0, 0], [1, 1, 2]], dtype=np.int8)
    names = [f"L{i}" for i in range(5)]
    to_bed(tmp_path / "p.bed", counts_NM, properties={
        "fid": ["F"] * 5, "iid": names, "chromosome": ["1", "1", "2"], "sid": ["s1", "s2", "s3"],
        "bp_position": [10, 5, 7], "allele_1": ["G", "T", "C"], "allele_2": ["A", "A", "0"]}, num_threads=1)
    return tmp_path / "p.bed"


def test_plink_counts_a1_as_alt(plink: Path) -> None:
    table, notices = read_genotypes([plink, plink.with_suffix(".bim"), plink.with_suffix(".fam")])
    assert inspect_genotypes([plink.with_suffix(".fam")]).kind == "plink"
    assert table.lines == ("L0", "L1", "L2", "L3", "L4")
    assert calls_by_variant(table) == {"s1": [0, 1, 2, 0, 1], "s2": [2, 2, 0, 0, 1], "s3": [1, -1, 0, 0, 2]}
    assert table.variants.select("variant_id", "position", "ref", "alt").rows() == [
        ("s2", 5, "A", "T"), ("s1", 10, "A", "G"), ("s3", 7, ".", "C")]
    assert [n.code for n in notices] == ["unsorted"]


def test_packed_calls_are_the_bytes_of_the_bed(plink: Path) -> None:
    table, _ = read_genotypes([plink])
    body = np.frombuffer(plink.read_bytes()[3:], dtype=np.uint8).reshape(3, 2)
    np.testing.assert_array_equal(table.packed_MB, body[[1, 0, 2]])


BAD_PLINK: dict[str, tuple[Callable[[Path], object], str]] = {
    "no .bim": (lambda bed: bed.with_suffix(".bim").unlink(), "p.bim: no such file or an empty one"),
    "no .fam": (lambda bed: bed.with_suffix(".fam").unlink(), "p.fam: no such file or an empty one"),
    "empty .fam": (lambda bed: bed.with_suffix(".fam").write_text(""), "p.fam: no such file or an empty one"),
    "magic": (lambda bed: bed.write_bytes(b"abc" + bed.read_bytes()[3:]), "p.bed: bytes 61 62 63"),
    "individual-major": (lambda bed: bed.write_bytes(b"\x6c\x1b\x00" + bed.read_bytes()[3:]), "individual-major"),
    "size": (lambda bed: bed.write_bytes(bed.read_bytes()[:-1]),
             "p.bed: 8 bytes; expected 9 bytes for 5 lines × 3 variants"),
    "short .bim line": (lambda bed: bed.with_suffix(".bim").write_text("1 s1 0 10 G A\n1 s2 0\n1 s3 0 7 C A\n"),
                        "p.bim, line 2: 3 columns; expected 6 columns"),
    ".bim position": (lambda bed: bed.with_suffix(".bim").write_text("1 s1 0 x G A\n1 s2 0 1 G A\n1 s3 0 7 C A\n"),
                      "p.bim, line 1: position is 'x'"),
    "repeated line": (lambda bed: bed.with_suffix(".fam").write_text("F L0 0 0 0 -9\n" * 5),
                      "p.fam: line (second column) is given more than once: 'L0'"),
}


@pytest.mark.parametrize("case", BAD_PLINK)
def test_a_bad_plink_set_stops_with_its_message(plink: Path, case: str) -> None:
    damage, message = BAD_PLINK[case]
    damage(plink)
    with pytest.raises(InputError) as refused:
        read_genotypes([plink])
    assert message in str(refused.value)


def test_companions_without_their_bed_are_named(plink: Path) -> None:
    plink.unlink()
    with pytest.raises(InputError, match=r"p\.fam: no p\.bed; expected a \.bed file of the same name"):
        read_genotypes([plink.with_suffix(".fam")])


@pytest.mark.parametrize(("example", "shape"), [("rice_japonica_uy", (321, 44598)), ("wheat_cimmyt599", (599, 1279))])
def test_real_files_give_what_htslib_reads(example: str, shape: tuple[int, int]) -> None:
    from cyvcf2 import VCF

    path = EXAMPLES / example / "landing" / "genotypes" / "genotypes.vcf.gz"
    table, notices = read_genotypes([path])
    assert (table.n_lines, table.n_variants) == shape
    assert notices == []
    source = VCF(str(path), gts012=True, strict_gt=True)
    assert table.lines == tuple(source.samples)
    row_of = {name: i for i, name in enumerate(table.variants["variant_id"])}
    dosage_MN = np.ascontiguousarray(table.dosages().T)
    different = 0
    for variant in source:
        calls_N = np.where(variant.gt_types == 3, -1, variant.gt_types)
        different += not np.array_equal(dosage_MN[row_of[variant.ID]], calls_N)
    assert different == 0


def test_every_variant_has_an_id_of_its_own_whatever_the_file_uses(tmp_path: Path) -> None:
    text = vcf(record("0/0 0/1 1/1", name="."), record("0/1 0/1 1/1", position=7, name="1:5:A:G"),
               record("0/1 0/1 1/1", chromosome="2", position=0, name="u"),
               record("0/0 0/1 1/1", chromosome="3", position=0, name="u"))
    table, _ = read_genotypes([put(tmp_path, "x.vcf", text)])
    assert table.variants["variant_id"].n_unique() == 4


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match=r"x\.vcf: .* expected genotype files of different names"):
        read_genotypes([put(tmp_path, "x.vcf", GOOD), put(tmp_path / "other", "x.vcf", GOOD)])


def test_dosages_are_checked_before_they_are_narrowed() -> None:
    variants = pl.DataFrame({"variant_id": ["m"], "chromosome": ["1"], "position": [5], "ref": ["A"], "alt": ["C"]})
    with pytest.raises(ValueError, match="found 0 to 257"):
        GenotypeTable.from_dosages(variants, ["a", "b"], np.array([[0, 257]]))
    with pytest.raises(ValueError, match="expected integers"):
        GenotypeTable.from_dosages(variants, ["a", "b"], np.array([[0.0, 1.0]]))


def test_one_allele_named_twice_is_left_out_and_a_position_has_an_end(tmp_path: Path) -> None:
    text = vcf(record("0/0 0/1 1/1"), record("0/1 0/1 1/1", position=6, name="same", ref="T", alt="T"))
    table, notices = read_genotypes([put(tmp_path, "x.vcf", text)])
    assert table.variants["variant_id"].to_list() == ["m1"]
    assert [(n.code, n.count, n.examples) for n in notices] == [("one_allele", 1, ("same",))]
    with pytest.raises(InputError, match="POS is '99999999999'; expected a whole number below"):
        read_genotypes([put(tmp_path, "y.vcf", vcf(record("0/0 0/1 1/1", position=99999999999)))])
