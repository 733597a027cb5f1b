"""PLINK 2 files against what plink2 says of them: phase, several alleles, .zst, companions of PLINK 1, damage."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import InputError, MissingExtra
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.export import to_vcf
from genomic_platform.genotypes.readers import pgen
from genomic_platform.genotypes.readers.part import GenotypePart, ReadOptions, collect
from genomic_platform.genotypes.readers.pgen import open_pgen
from genomic_platform_tests.support.panels import made_panel

REFERENCE = Path(__file__).parents[1] / "reference" / "genotypes"
needs_plink2 = pytest.mark.skipif(shutil.which("plink2") is None, reason="needs plink2")


def plink2(folder: Path, *arguments: str) -> None:
    subprocess.run(["plink2", *arguments, "--allow-extra-chr"], cwd=folder, check=True, capture_output=True)


def dosages(part: GenotypePart) -> np.ndarray:
    return packing.unpack(part.packed_MB, len(part.lines))


def traw(path: Path) -> tuple[pl.DataFrame, np.ndarray]:
    """Variants and ALT counts of plink2 --export Av, which counts REF here."""
    table = pl.read_csv(path, separator="\t", infer_schema=False)
    counts = table[:, 6:].select((-pl.all().cast(pl.Int8, strict=False) + 2).fill_null(packing.MISSING))
    return table[:, :6], counts.to_numpy()


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    for suffix in (".pgen", ".pvar", ".psam"):
        shutil.copy(REFERENCE / f"odd_calls{suffix}", tmp_path / f"x{suffix}")
    return tmp_path / "x.pgen"


def test_odd_calls_are_those_plink2_exported() -> None:
    part = collect(open_pgen(REFERENCE / "odd_calls.pgen"))
    variants, expected_MN = traw(REFERENCE / "odd_calls.traw")
    np.testing.assert_array_equal(dosages(part), expected_MN)
    assert part.variants["variant_id"].to_list() == variants["SNP"].to_list()
    assert part.lines == ("L1", "L2", "IR_64", "Grün", "L5", "L6", "L7")
    assert (part.tallies["multiallelic"].count, part.tallies["multiallelic"].examples) == (2, ["three", "four"])


def test_several_alleles_are_split_when_asked() -> None:
    part = collect(open_pgen(REFERENCE / "odd_calls.pgen", ReadOptions("split")))
    split = part.variants["variant_id"].is_in(["three", "four"]).to_numpy()
    assert part.variants.filter(split)["alt"].to_list() == ["G", "T", "A", "G", "T"]
    assert dosages(part)[split].tolist() == [  # by hand from odd_calls.vcf
        [1, 1, 0, 0, -1, 0, 1], [0, 1, 2, 1, -1, 0, 1],
        [0, 1, 0, 0, 2, 0, 0], [0, 1, 0, 0, 0, 2, 0], [1, 0, 2, 0, 0, 0, 0]]


@needs_plink2
@pytest.mark.parametrize("made", [["--make-pgen"], ["--make-pgen", "vzs"], ["--make-bpgen"]], ids=" ".join)
@pytest.mark.parametrize("n_lines", [1, 6, 63])
def test_random_panels_come_back_from_plink2(tmp_path: Path, made: list[str], n_lines: int,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pgen, "_CHUNK_CELLS", 700)  # several chunks
    panel = made_panel(n_lines, 150, seed=n_lines, missing=0.1)
    to_vcf(panel, tmp_path / "x.vcf.gz")
    plink2(tmp_path, "--vcf", "x.vcf.gz", *made, "--out", "y")
    part = collect(open_pgen(tmp_path / "y.pgen"))
    np.testing.assert_array_equal(part.packed_MB, panel.packed_MB)
    assert part.lines == panel.lines
    assert part.variants.equals(panel.variants.select(part.variants.columns))


def spoil(suffix: str, old: str, new: str) -> Callable[[Path], object]:
    return lambda path: path.with_suffix(suffix).write_text(path.with_suffix(suffix).read_text().replace(old, new))


BAD = {
    "no .pvar": (lambda path: path.with_suffix(".pvar").unlink(), "x.pvar: no such file or an empty one"),
    "no .psam": (lambda path: path.with_suffix(".psam").unlink(), "x.psam: no such file or an empty one"),
    "no header": (spoil(".pvar", "#CHROM", "CHROM"), "x.pvar, line 4: a header without #CHROM, ID, POS"),
    "no REF": (spoil(".pvar", "REF", "RFE"), "a header without REF"),
    "no IID": (spoil(".psam", "IID", "ID"), "x.psam, line 1: a header without IID; expected a line #IID"),
    "position": (spoil(".pvar", "1\t9\t", "1\t9k\t"), "x.pvar, line 7: position is '9k'"),
    "short line": (spoil(".pvar", "1\t9\tthree", "1\tthree"), "x.pvar, line 7: 4 columns; expected 5 columns"),
    "a line less": (spoil(".pvar", "2\t9\tno_alt\tC\t.\n", ""),
                    "7 lines × 10 variants; expected 7 lines × 9 variants, as .psam and .pvar say"),
    "line twice": (spoil(".psam", "L2", "L1"), "x.psam: line (IID) is given more than once: 'L1'"),
    "magic": (lambda path: path.write_bytes(b"abc" + path.read_bytes()[3:]), "x.pgen: bytes 61 62 63"),
    "a .bed": (lambda path: path.write_bytes(b"\x6c\x1b\x01" + path.read_bytes()[3:]), "x.pgen: bytes 6c 1b 01"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-9]), "pgenlib cannot read"),
    "cut in its head": (lambda path: path.write_bytes(path.read_bytes()[:7]), "x.pgen: bytes 6c 1b 10"),
    "cut .zst": (lambda path: path.with_suffix(".pvar").rename(path.with_suffix(".pvar.zst")),
                 "x.pvar.zst: a truncated or damaged one"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_set_stops_with_its_message(odd: Path, case: str) -> None:
    damage, message = BAD[case]
    damage(odd)
    with pytest.raises(InputError) as refused:
        collect(open_pgen(odd))
    assert message in str(refused.value)


def test_without_pgenlib_the_extra_is_named(odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pgenlib", None)
    with pytest.raises(MissingExtra, match=r"pip install 'genomic-platform\[genotypes\]'"):
        open_pgen(odd)
