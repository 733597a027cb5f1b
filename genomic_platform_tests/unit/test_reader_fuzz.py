"""Damaged files of every format: read or refused in words, and a VCF that is read is what htslib reads of it.

What is damaged, how, and what passes is `benchmarks/fuzz_readers.py`'s, which runs many more cases. Files for the C
libraries are read in a child process. htslib itself ends the process over a record whose POS or CHROM is damaged, so
that only what lies behind these is damaged where it is the judge.
"""

from __future__ import annotations

import gzip
import importlib.util
import math
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomic_platform.errors import InputError
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.bgzf import bgzf_members
from genomic_platform.genotypes.readers.bcf import open_bcf, open_with_cyvcf2
from genomic_platform.genotypes.readers.part import GenotypePart, collect
from genomic_platform.genotypes.readers.vcf import open_vcf

_SPEC = importlib.util.spec_from_file_location("fuzz_readers", Path(__file__).parents[2] / "benchmarks/fuzz_readers.py")
assert _SPEC is not None
assert _SPEC.loader is not None
fuzz_readers = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(fuzz_readers)

IN_C = {"bcf", "pgen"}
few = settings(deadline=None, max_examples=50)
seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("name", sorted(set(fuzz_readers.FORMATS) - IN_C))
def test_a_damaged_file_is_read_or_refused_alike_in_memory_and_onto_disk(
        tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    whole = tmp_path_factory.mktemp("whole")
    main = fuzz_readers.FORMATS[name](whole).name

    @few
    @given(seeds)
    def check(seed: int) -> None:
        case, beside = tmp_path_factory.mktemp("case") / "x", tmp_path_factory.mktemp("beside")
        shutil.copytree(whole, case)
        fuzz_readers.damage(case / main, np.random.default_rng(seed))
        assert fuzz_readers.outcome(case / main, beside) in ("read", "refused")

    check()


@pytest.mark.parametrize("name", sorted(IN_C))
def test_a_damaged_file_neither_crashes_nor_hangs_a_c_library(tmp_path: Path, name: str) -> None:
    counts = fuzz_readers.fuzz(name, cases=60, seconds=math.inf, seed=2, keep=tmp_path)
    assert set(counts) == {"read", "refused"}, list(tmp_path.iterdir())


@pytest.mark.parametrize("name", sorted(fuzz_readers.FORMATS))
def test_what_is_not_damaged_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "whole").mkdir()
    assert fuzz_readers.outcome(fuzz_readers.FORMATS[name](tmp_path / "whole"), tmp_path) == "read"


def contents(part: GenotypePart) -> tuple[object, ...]:
    return part.lines, part.variants.rows(), packing.unpack(part.packed_MB, len(part.lines)).tolist()


WORDS = ["0/0", "0|1", "1/1", "./.", ".", "0", "1", "./1", "1|.", "0/2", "2", "0/1/1", "GT", "GT:DP", "DP:GT", "DP",
         "0/1:9", "A", "C", "C,G", "*", "<DEL>", "x", "PASS", "rs1", "Grün", "-1", "0/", "/1", "01/1", " 0/1", "1/1 "]


@st.composite
def edited_vcf(draw: st.DrawFn) -> list[list[str]]:
    """Records of three lines, some fields behind POS and some calls replaced by what others may have written."""
    rows = [["1", str(10 * k), f"m{k}", "A", "C", ".", ".", ".", "GT", "0/1", "1/1", "./."] for k in range(1, 7)]
    for row in draw(st.lists(st.sampled_from(rows), max_size=4)):
        row[draw(st.integers(2, 11))] = draw(st.sampled_from(WORDS))
    return rows


@settings(deadline=None, max_examples=250)
@given(edited_vcf())
def test_what_is_read_of_a_damaged_vcf_is_what_htslib_reads(tmp_path_factory: pytest.TempPathFactory,
                                                           rows: list[list[str]]) -> None:
    path = tmp_path_factory.mktemp("vcf") / "x.vcf"
    head = ('##fileformat=VCFv4.3\n##contig=<ID=1>\n##FORMAT=<ID=GT,Number=1,Type=String,Description="g">\n'
            '##FORMAT=<ID=DP,Number=1,Type=Integer,Description="d">\n##FILTER=<ID=x,Description="x">\n')
    names = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb\tc\n"
    path.write_text(head + names + "".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    read = []
    for opener in (open_vcf, open_with_cyvcf2):
        try:
            read.append(contents(collect(opener(path))))
        except InputError:
            return
    assert read[0] == read[1]


RAW = gzip.decompress(
    (Path(__file__).parents[1] / "reference/genotypes/odd_calls.bcf").read_bytes())
FIRST = 9 + struct.unpack("<I", RAW[5:9])[0]  # where the first record begins
CALLS = FIRST + 8 + struct.unpack("<I", RAW[FIRST : FIRST + 4])[0]


@pytest.mark.parametrize(("at", "value", "what"), [
    (FIRST + 8 + 4, struct.pack("<i", -7), "a position below zero"),
    (FIRST + 8 + 20, b"\x03\x00\x00", "three samples of seven"),
    (CALLS + 2, b"\x20", "calls of no type, over which htslib ends the process"),
    (CALLS + 2, b"\x27", "calls as text, over which htslib ends the process"),
    (CALLS + 2, b"\x01", "calls of no allele"),
    (CALLS + 2, b"\xf1", "calls longer than the record"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_what_htslib_does_not_check_is_refused(tmp_path: Path, at: int, value: bytes, what: str) -> None:
    path = tmp_path / "x.bcf"
    path.write_bytes(b"".join(bgzf_members([RAW[:at] + value + RAW[at + len(value) :]])))
    with pytest.raises(InputError, match="record 1 is cut or damaged"):
        collect(open_bcf(path))


@pytest.mark.parametrize(("kind", "values", "found"), [
    ("Float", "1 . 2", [1, -1, 2]), ("Integer", "1 . 2", [1, -1, 2]), ("Float", "0.05 0.5 2", [0, -1, 2]),
    ("Float", "257 1 0", "DS of m1 is 257"), ("Float", "inf 1 0", "DS of m1 is inf"),
    ("Float", "-5 1 0", "DS of m1 is -5"),
    ("Integer", "256 1 0", "DS of m1 is 256"), ("String", "0 1 2", "FORMAT of m1 is DS as text"),
])
def test_a_dosage_is_what_is_written_or_refused(tmp_path: Path, kind: str, values: str, found: list[int] | str) -> None:
    path = tmp_path / "x.vcf"
    path.write_text(f'##fileformat=VCFv4.3\n##contig=<ID=1>\n##FORMAT=<ID=DS,Number=1,Type={kind},Description="d">\n'
                    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb\tc\n"
                    "1\t5\tm1\tA\tC\t.\t.\t.\tDS\t" + values.replace(" ", "\t") + "\n")
    if isinstance(found, str):
        with pytest.raises(InputError, match=found):
            collect(open_with_cyvcf2(path))
    else:
        assert packing.unpack(collect(open_with_cyvcf2(path)).packed_MB, 3).tolist() == [found]
