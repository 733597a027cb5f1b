"""BCF, and VCF through htslib: odd calls as stored, the fast VCF path call by call, damage said and not printed."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomic_platform.errors import InputError, MissingExtra
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.bgzf import BGZF_END, bgzf_members
from genomic_platform.genotypes.readers.bcf import open_bcf, open_with_cyvcf2
from genomic_platform.genotypes.readers.part import GenotypePart, ReadOptions, collect
from genomic_platform.genotypes.readers.vcf import open_vcf

REFERENCE = Path(__file__).parents[1] / "reference" / "genotypes"
ODD = REFERENCE / "odd_calls.bcf"
HEADER = ('##fileformat=VCFv4.3\n##contig=<ID=1>\n##FORMAT=<ID=GT,Number=1,Type=String,Description="g">\n'
          '##FORMAT=<ID=DS,Number=A,Type=Float,Description="d">\n'
          "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t")


def calls(part: GenotypePart) -> dict[str, list[int]]:
    names = part.variants.select(pl.concat_str("variant_id", "alt", separator=" ")).to_series()
    return dict(zip(names, packing.unpack(part.packed_MB, len(part.lines)).tolist(), strict=True))


def counts(part: GenotypePart) -> dict[str, int]:
    return {code: tally.count for code, tally in part.tallies.items() if tally.count}


def vcf(folder: Path, *records: str, names: str = "a b c") -> Path:
    lines = ["\t".join(["1", "5", "m1", "A", "G", ".", ".", ".", *record.split()]) for record in records]
    path = folder / "x.vcf"
    path.write_text(HEADER + "\t".join(names.split()) + "\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_odd_calls_are_read_as_written() -> None:
    part = collect(open_bcf(ODD))
    assert calls(part) == {  # by hand from odd_calls.vcf; DS within .1 of a whole number
        "at_zero G": [1, 2, -1, 0, 1, 0, 2], ". G": [1, 1, -1, 0, 2, -1, 0], "half T": [-1, -1, 0, 1, 2, -1, 1],
        "insertion CAT": [1, 0, -1, 2, 0, 1, 0], "haploid T": [0, 2, -1, 1, 2, 0, 2],
        "no_alt .": [0, 0, -1, 0, 0, 0, 0],
        "dosages C": [0, -1, -1, 2, 1, 2, 1], "marker_é G": [0, 1, 2, -1, 1, 2, 0]}
    assert counts(part) == {"multiallelic": 2, "half_calls": 2, "haploid": 3, "uncertain": 1}
    assert part.lines == ("L1", "L2", "IR_64", "Grün", "L5", "L6", "L7")
    assert part.variants["position"].to_list() == [0, 5, 20, 3, 5, 9, 7, 8]
    assert part.variants["chromosome"].to_list()[-1] == "Chr_Ä"


def test_several_alleles_are_split_when_asked() -> None:
    part = collect(open_bcf(ODD, ReadOptions("split")))
    assert {name: found for name, found in calls(part).items() if name.startswith(("three", "four"))} == {
        "three G": [1, 1, 0, 0, -1, 0, 1], "three T": [0, 1, 2, 1, -1, 0, 1],
        "four A": [0, 1, 0, 0, 2, 0, 0], "four G": [0, 1, 0, 0, 0, 2, 0], "four T": [1, 0, 2, 0, 0, 0, 0]}
    assert "multiallelic" not in counts(part)


@pytest.mark.parametrize("options", [ReadOptions("drop"), ReadOptions("split")], ids=["drop", "split"])
def test_bcf_and_both_paths_of_vcf_agree(tmp_path: Path, options: ReadOptions) -> None:
    text = (REFERENCE / "odd_calls.vcf").read_text(encoding="utf-8")
    path = tmp_path / "x.vcf"
    path.write_text("".join(line for line in text.splitlines(keepends=True) if "\tdosages\t" not in line),
                    encoding="utf-8")
    fast, slow, bcf = (collect(source) for source in (
        open_vcf(path, options), open_with_cyvcf2(path, options), open_bcf(ODD, options)))
    kept = (bcf.variants["variant_id"] != "dosages").to_numpy()
    for part, rows in ((slow, slice(None)), (bcf, kept)):
        assert part.variants[np.arange(part.variants.height)[rows]].equals(fast.variants)
        np.testing.assert_array_equal(part.packed_MB[rows], fast.packed_MB)
        assert part.lines == fast.lines
    assert counts(slow) == counts(fast)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.sampled_from(["0/0", "0|1", "1/1", "./.", ".|1", "0/.", "0", "1", ".", "2/1", "0|2", "2"]),
                         min_size=5, max_size=5), min_size=1, max_size=8), st.sampled_from(["drop", "split"]))
def test_the_fast_path_agrees_with_htslib_on_any_calls(tmp_path_factory: pytest.TempPathFactory,
                                                      rows: list[list[str]], multiallelic: str) -> None:
    path = tmp_path_factory.mktemp("calls") / "x.vcf"
    lines = ["\t".join(["1", str(k), f"m{k}", "A", "G,T" if any("2" in call for call in row) else "G", ".", ".", ".",
                        "GT", *row]) for k, row in enumerate(rows)]
    lines.append("1\t99\tlast\tA\tG\t.\t.\t.\tGT" + "\t0/1" * 5)  # one at least is biallelic
    path.write_text(HEADER + "a\tb\tc\td\te\n" + "\n".join(lines) + "\n")
    options = ReadOptions("drop" if multiallelic == "drop" else "split")
    fast, slow = collect(open_vcf(path, options)), collect(open_with_cyvcf2(path, options))
    assert fast.variants.equals(slow.variants)
    np.testing.assert_array_equal(fast.packed_MB, slow.packed_MB)
    assert counts(fast) == counts(slow)


@pytest.mark.parametrize(("record", "complaint"), [
    ("GT 0/0/1/1 0/1 0/1", "call of a at m1 is polyploid (4 alleles); expected a diploid call"),
    ("GT 0/1 0/3 0/1", "call of b at m1 is allele 3; expected one of the 2 alleles that are named"),
    ("DS 0 3.7 1", "DS of m1 is 3.7; expected a dosage from 0 to 2, of a diploid line"),
    ("DP 0 3 1", "FORMAT of m1 is DP; expected GT, or else DS"),
])
def test_what_is_no_diploid_call_is_refused_by_name(tmp_path: Path, record: str, complaint: str) -> None:
    path = vcf(tmp_path, record)
    path.write_text(path.read_text().replace("##contig", '##FORMAT=<ID=DP,Number=1,Type=Integer,Description="d">\n'
                                             "##contig", 1))
    with pytest.raises(InputError) as refused:
        collect(open_with_cyvcf2(path))
    assert complaint in str(refused.value)


def test_only_variants_of_several_alleles_are_refused(tmp_path: Path) -> None:
    path = vcf(tmp_path, "GT 0/1 1/1 0/2")
    path.write_text(path.read_text().replace("A\tG", "A\tG,T"))
    with pytest.raises(InputError, match="none; expected at least one biallelic variant"):
        collect(open_with_cyvcf2(path))


def damaged(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


RAW = gzip.decompress(ODD.read_bytes())
CUT = {
    "half of it": ODD.read_bytes()[:300],
    "without its end marker": ODD.read_bytes()[: -len(BGZF_END)],
    "a damaged block": damaged(ODD.read_bytes(), 200),
    "a record cut": b"".join(bgzf_members([RAW[:-5]])),
    "a record's length cut": b"".join(bgzf_members([RAW + b"\x07\x00\x00"])),
    "the header cut": b"".join(bgzf_members([RAW[:100]])),
    "plain and cut": RAW[:-5],
}


@pytest.mark.parametrize("case", CUT)
def test_a_truncated_bcf_is_named_and_nothing_printed(tmp_path: Path, case: str,
                                                      capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.bcf"
    path.write_bytes(CUT[case])
    with pytest.raises(InputError, match="a truncated or damaged one"):
        collect(open_bcf(path))
    assert capfd.readouterr() == ("", "")


def test_an_uncompressed_bcf_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.bcf"
    path.write_bytes(RAW)
    np.testing.assert_array_equal(collect(open_bcf(path)).packed_MB, collect(open_bcf(ODD)).packed_MB)


def test_a_file_that_htslib_refuses_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "x.bcf"
    path.write_bytes(b"".join(bgzf_members([RAW.replace(b"#CHROM\t", b"#CRHOM\t")])))
    with pytest.raises(InputError, match="a VCF or BCF that htslib reads"):
        collect(open_bcf(path))


def test_samples_named_twice_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.bcf"
    path.write_bytes(b"".join(bgzf_members([RAW.replace(b"\tL2\t", b"\tL1\t")])))
    with pytest.raises(InputError, match="sample name is given more than once: 'L1'"):
        open_bcf(path)


def test_without_cyvcf2_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cyvcf2", None)
    with pytest.raises(MissingExtra, match=r"pip install 'genomic-platform\[genotypes\]'"):
        open_bcf(ODD)


@pytest.mark.skipif(shutil.which("plink2") is None, reason="needs plink2")
def test_dosages_become_calls_as_in_plink2(tmp_path: Path) -> None:
    values = np.round(np.random.default_rng(3).uniform(0, 2, (40, 6)), 2).astype(str)  # 1.1 is within, 1.11 is not
    values[3] = ["0.1", "0.9", "1.1", "1.9", "0.11", "1.89"]
    lines = ["\t".join(["1", str(k + 1), f"m{k}", "A", "G", ".", ".", ".", "DS", *row]) for k, row in enumerate(values)]
    path = tmp_path / "x.vcf"
    path.write_text(HEADER + "a\tb\tc\td\te\tf\n" + "\n".join(lines) + "\n")
    subprocess.run(["plink2", "--vcf", path, "dosage=DS", "--hard-call-threshold", "0.1", "--make-bed", "--out",
                    tmp_path / "y"], check=True, capture_output=True)
    part = collect(open_with_cyvcf2(path))
    theirs = np.frombuffer((tmp_path / "y.bed").read_bytes()[3:], dtype=np.uint8).reshape(len(values), -1)
    np.testing.assert_array_equal(part.packed_MB, theirs)
