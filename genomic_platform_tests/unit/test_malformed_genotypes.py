"""Genotype files that are wrong, odd or huge: each refused in its own words or read right, in memory and onto disk.

Refused means an InputError that names the file and the fault, the same from `inspect_genotypes` and from `ingest`, with
nothing left beside the files. The files are `support/malformed.py`'s.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from genomic_platform.errors import InputError
from genomic_platform.genotypes.bgzf import bgzf_members
from genomic_platform.genotypes.export import to_bed
from genomic_platform.genotypes.ingest import ingest
from genomic_platform.genotypes.read import inspect_genotypes, read_genotypes
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform_tests.support.command_line import call
from genomic_platform_tests.support.malformed import (
    GOOD,
    HAPMAP,
    LINES,
    MARKERS,
    REFUSED,
    Maker,
    file,
    record,
    vcf_text,
)
from genomic_platform_tests.support.panels import made_panel


def refused(paths: list[Path], folder: Path) -> list[str]:
    """The problems, the same in memory and onto disk; nothing is left in `folder`."""
    before = sorted(folder.rglob("*"))
    inspection = inspect_genotypes(paths)
    with pytest.raises(InputError) as memory:
        read_genotypes(paths)
    with pytest.raises(InputError) as disk:
        ingest(paths, folder / "table")
    assert sorted(folder.rglob("*")) == before
    assert tuple(inspection.problems) == memory.value.problems == disk.value.problems
    return [str(problem) for problem in disk.value.problems]


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused_in_its_own_words(tmp_path: Path, case: str) -> None:
    make, words = REFUSED[case]
    path = make(tmp_path)
    start = time.process_time()
    problems = refused([path], tmp_path)
    assert time.process_time() - start < 20  # twenty megabytes are read three times
    assert any(re.search(words, problem) for problem in problems), problems
    assert all(problem.startswith("x") and "; expected " in problem and "; repair: " in problem for problem in problems)
    assert all(len(problem) < 1000 for problem in problems)


def as_read(path: Path, folder: Path) -> tuple[GenotypeTable, dict[str, int]]:
    """The table, the same in memory and on disk, and how many cases each notice has."""
    table, notices = ingest([path], folder / "table")
    read, said = read_genotypes([path])
    assert notices == said
    assert table.variants.equals(read.variants)
    assert table.lines == read.lines
    np.testing.assert_array_equal(table.packed_MB, read.packed_MB)
    return table, {notice.code: notice.count for notice in notices}


def many_bgzip_files(folder: Path) -> Path:
    """Two bgzip files one behind the other: an end marker in the middle."""
    half = len(GOOD) // 2
    return file(b"".join([*bgzf_members([GOOD[:half].encode()]), *bgzf_members([GOOD[half:].encode()])]),
                "x.vcf.gz")(folder)


TWO = {"m1": [0, 1, 2], "m2": [2, -1, 0]}
READ: dict[str, tuple[Maker, dict[str, list[int]], dict[str, int]]] = {
    "Windows line ends": (file(GOOD.replace("\n", "\r\n")), TWO, {}),
    "some Windows line ends": (file(GOOD.replace("\n", "\r\n", 4)), TWO, {}),
    "empty lines": (file(GOOD.replace("\n1\t9", "\n\n\n1\t9") + "\n\n"), TWO, {}),
    "a byte order mark": (file(b"\xef\xbb\xbf" + GOOD.encode()), TWO, {}),
    "two gzip members": (file(gzip.compress(GOOD[:90].encode()) + gzip.compress(GOOD[90:].encode()), "x.vcf.gz"),
                         TWO, {}),
    "two bgzip files": (many_bgzip_files, TWO, {}),
    "position zero": (file(GOOD.replace("\t5\t", "\t0\t")), TWO, {}),
    "variant ids twice": (file(GOOD.replace("m2", "m1")), {"1:5:A:G": TWO["m1"], "1:9:A:G": TWO["m2"]},
                          {"repeated_ids": 2}),
    "variants twice": (file(GOOD + record("1/1 1/1 1/1", 5, "again")), TWO, {"unsorted": 1, "duplicate_variants": 1}),
    "a name in a header line that is not UTF-8": (file(GOOD.encode().replace(b"##contig", b"##Gr\xfcn")), TWO, {}),
    "HapMap with Windows line ends": (file(HAPMAP.replace("\n", "\r\n"), "x.hmp.txt"),
                                      {"m1": [0, 1, 2], "m2": [0, -1, 2]}, {}),
    "a table with Windows line ends": (file(MARKERS.replace("\n", "\r\n"), "x.csv"), TWO, {}),
    "a table without last line end": (file(MARKERS.rstrip("\n"), "x.csv"), TWO, {}),
}


@pytest.mark.parametrize("case", READ)
def test_what_is_odd_but_clear_is_read(tmp_path: Path, case: str) -> None:
    make, calls, notices = READ[case]
    table, said = as_read(make(tmp_path), tmp_path)
    assert dict(zip(table.variants["variant_id"], table.dosages().T.tolist(), strict=True)) == calls
    assert said == notices


def test_names_of_any_alphabet_are_read(tmp_path: Path) -> None:
    names = ("Grün", "水稻 1", "Ω/β|γ")
    text = GOOD.replace("\ta\tb\tc\n", "\t" + "\t".join(names) + "\n").replace("m1", "marqueur_é")
    table, said = as_read(file(text)(tmp_path), tmp_path)
    assert table.lines == names
    assert table.variants["variant_id"].to_list() == ["marqueur_é", "m2"]
    assert said == {}


def test_ten_thousand_contigs_are_read_fast(tmp_path: Path) -> None:
    names = [f"scaffold_{i}" for i in range(10_000)]
    text = vcf_text(*(record(position=k, name=f"{name}_{k}", chromosome=name) for name in names for k in (3, 7)))
    path = file(text)(tmp_path)
    as_read(path, tmp_path)  # kernels are compiled
    shutil.rmtree(tmp_path / "table")
    start = time.process_time()
    table, said = as_read(path, tmp_path)
    assert time.process_time() - start < 5  # half a second where nothing is quadratic in contigs
    assert table.variants["chromosome"].n_unique() == 10_000
    assert table.n_variants == 20_000
    assert said == {"unsorted": 1} or said == {}


@pytest.fixture
def nobody_folder() -> Iterator[Path]:
    """A folder of a user without rights; root, who may read everything, becomes that user meanwhile."""
    folder, root = Path(tempfile.mkdtemp()), os.geteuid() == 0
    if root:
        os.chown(folder, 65534, 65534)
        os.seteuid(65534)
    yield folder
    if root:
        os.seteuid(0)
    shutil.rmtree(folder)


@pytest.mark.parametrize("suffix", [".vcf", ".bed", ".bim", ".csv"])
def test_a_file_that_may_not_be_read_is_named(nobody_folder: Path, suffix: str) -> None:
    path = to_bed(made_panel(6, 8), nobody_folder / "x")[0]
    (nobody_folder / "x.vcf").write_text(GOOD)
    (nobody_folder / "x.csv").write_text(LINES)
    path.with_suffix(suffix).chmod(0)
    problems = refused([path.with_suffix(suffix).with_suffix({".bim": ".bed"}.get(suffix, suffix))], nobody_folder)
    assert problems == [f"x{suffix}: Permission denied; expected a file that may be read; "
                        "repair: have its permissions changed, or give a copy"]


def test_a_folder_that_may_not_be_entered_is_named(nobody_folder: Path) -> None:
    inner = nobody_folder / "inner"
    inner.mkdir()
    (inner / "x.vcf").write_text(GOOD)
    inner.chmod(0)
    with pytest.raises(InputError, match=r"x\.vcf: Permission denied"):
        ingest([inner / "x.vcf"], nobody_folder / "table")
    inner.chmod(0o700)


@pytest.mark.parametrize("case", ["VCF line too short", "bed too short", "a tar archive"])
def test_the_command_line_says_it_and_ends_with_2(tmp_path: Path, case: str,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    make, words = REFUSED[case]
    path = make(tmp_path)
    before = sorted(tmp_path.iterdir())
    answer = call(capsys, "genotypes", "ingest", path, "--out", tmp_path / "table")
    assert answer.code == 2
    assert re.search(words, " ".join(answer.err.split()))
    assert "Traceback" not in answer.out + answer.err
    assert sorted(tmp_path.iterdir()) == before


def test_a_faulty_file_among_good_ones_stops_all(tmp_path: Path) -> None:
    good, bad = file(GOOD, "good.vcf")(tmp_path), file(vcf_text(record(position="here")), "bad.vcf")(tmp_path)
    problems = refused([good, bad], tmp_path)
    assert len(problems) == 1
    assert problems[0].startswith("bad.vcf, line 4: POS is 'here'")
