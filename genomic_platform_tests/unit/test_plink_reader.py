"""PLINK 1 files: the bytes of the .bed are the calls, text companions of any layout, each faulty line by its number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bed_reader import open_bed, to_bed

from genomic_platform.errors import InputError
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.readers import plink
from genomic_platform.genotypes.readers.part import collect
from genomic_platform.genotypes.readers.plink import open_plink

GENERATOR = np.random.default_rng(11)


def written(folder: Path, n_lines: int, n_variants: int) -> Path:
    counts_NM = GENERATOR.choice(np.array([0, 1, 2, -127], dtype=np.int8), (n_lines, n_variants))
    to_bed(folder / "p.bed", counts_NM, properties={
        "iid": [f"L{i}" for i in range(n_lines)], "sid": [f"s{i}" for i in range(n_variants)],
        "chromosome": ["1"] * n_variants, "bp_position": list(range(n_variants)), "allele_1": ["G"] * n_variants,
        "allele_2": ["A"] * n_variants}, num_threads=1)
    return folder / "p.bed"


@pytest.mark.parametrize("n_lines", range(1, 10))
def test_calls_are_those_of_bed_reader(tmp_path: Path, n_lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plink, "_CHUNK_BYTES", 40)  # several chunks
    bed = written(tmp_path, n_lines, 57)
    part = collect(open_plink(bed))
    with open_bed(bed, num_threads=1) as source:
        counts_NM = source.read(dtype="int8")
    expected_MN = np.where(counts_NM < 0, packing.MISSING, counts_NM).T
    np.testing.assert_array_equal(packing.unpack(part.packed_MB, n_lines), expected_MN)
    assert part.variants.height == 57


def test_what_a_writer_left_behind_the_last_line_is_cleared(tmp_path: Path) -> None:
    bed = written(tmp_path, 5, 3)
    body = bytearray(bed.read_bytes())
    body[4] |= 0b11111100  # past the fifth line of the first variant
    bed.write_bytes(body)
    part = collect(open_plink(bed))
    assert part.packed_MB[0, 1] & 0b11111100 == 0


@pytest.mark.parametrize("change", [
    lambda text: text.replace("\t", " "),
    lambda text: text.replace("\t", "   "),
    lambda text: text.replace("\n", "\r\n"),
    lambda text: text.removesuffix("\n"),
    lambda text: "\ufeff" + text,
    lambda text: text.replace("\t", " \t", 1),
], ids=["spaces", "several spaces", "windows line ends", "no last line end", "byte order mark", "both in one line"])
def test_companions_are_read_whatever_separates_their_columns(tmp_path: Path, change: Callable[[str], str]) -> None:
    bed = written(tmp_path, 4, 6)
    expected = collect(open_plink(bed))
    for suffix in (".bim", ".fam"):
        path = bed.with_suffix(suffix)
        path.write_bytes(change(path.read_text()).encode())
    part = collect(open_plink(bed))
    assert part.variants.equals(expected.variants)
    assert part.lines == expected.lines == ("L0", "L1", "L2", "L3")


def test_spaces_of_unicode_belong_to_names(tmp_path: Path) -> None:
    bed = written(tmp_path, 4, 6)
    fam = bed.with_suffix(".fam")
    for separator in ("\t", " "):
        fam.write_text("".join(separator.join(["0", f"IR\u00a0{i}\u2028é", "0", "0", "0", "-9"]) + "\n"
                               for i in range(4)), encoding="utf-8")
        assert open_plink(bed).lines == tuple(f"IR\u00a0{i}\u2028é" for i in range(4))


def test_every_faulty_line_of_both_companions_is_named(tmp_path: Path) -> None:
    bed = written(tmp_path, 4, 6)
    bed.with_suffix(".bim").write_text("1 s0 0 0 G A\n\n1 s1 0 x G A\n1 s2 0 2 G A T\n1 s3 0 -4 G A\n")
    bed.with_suffix(".fam").write_text("F L0 0 0 0 -9\nF L1 0 0\nF L0 0 0 0 -9\n")
    with pytest.raises(InputError) as refused:
        open_plink(bed)
    assert [(p.file, p.line, p.found) for p in refused.value.problems] == [
        ("p.bim", 2, "0 columns"), ("p.bim", 4, "7 columns"), ("p.bim", 3, "'x'"), ("p.bim", 5, "'-4'"),
        ("p.fam", 2, "4 columns"), ("p.fam", None, "given more than once: 'L0' (1 names)")]
