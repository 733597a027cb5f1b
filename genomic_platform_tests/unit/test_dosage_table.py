"""Tables of dosages: which way round they lie, every way of writing a cell, what is assumed, each fault in words."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomic_platform.errors import InputError
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.readers import dosage_cells
from genomic_platform.genotypes.readers.dosage_table import looks_like_dosages, open_dosage_table
from genomic_platform.genotypes.readers.part import GenotypePart, collect
from genomic_platform.genotypes.sources import source_kind

LINES = "line_id,m1,m2,m3\nL1,0,1,2\nL2,NA,2,0\n"
MARKERS = "marker,chrom,pos,ref,alt,L1,L2\nm1,1,5,A,G,0,NA\nm2,1,9,T,C,1,2\nm3,2,1,A,AT,2,0\n"


def read(folder: Path, text: str | bytes, name: str = "x.csv") -> GenotypePart:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return collect(open_dosage_table(path))


def calls(part: GenotypePart) -> dict[str, list[int]]:
    return dict(zip(part.variants["variant_id"], packing.unpack(part.packed_MB, len(part.lines)).tolist(), strict=True))


def counts(part: GenotypePart) -> dict[str, int]:
    return {code: tally.count for code, tally in part.tallies.items() if tally.count}


@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.csv.gz", "semicolon.csv", "windows.csv", "quoted.csv",
                                  "bom.csv"])
def test_both_ways_round_give_the_same_calls(tmp_path: Path, name: str) -> None:
    for text, kind in ((LINES, "lines"), (MARKERS, "markers")):
        content = {"x.tsv": text.replace(",", "\t"), "semicolon.csv": text.replace(",", ";"),
                   "bom.csv": "\ufeff" + text, "windows.csv": text.replace("\n", "\r\n"),
                   "x.csv.gz": gzip.compress(text.encode()),
                   "quoted.csv": '"' + text.strip().replace(",", '","').replace("\n", '"\n"') + '"'}.get(name, text)
        part = read(tmp_path, content, name)
        assert part.lines == ("L1", "L2")
        assert calls(part) == {"m1": [0, -1], "m2": [1, 2], "m3": [2, 0]}
        assert source_kind(tmp_path / name) == "dosages"
        known = kind == "markers"
        assert part.variants["chromosome"].to_list() == (["1", "1", "2"] if known else ["unplaced"] * 3)
        assert part.variants["position"].to_list() == ([5, 9, 1] if known else [0, 0, 0])
        assert part.variants["alt"].to_list() == (["G", "C", "AT"] if known else ["C", "C", "C"])
        assert counts(part) == ({} if known else {"placeholder_alleles": 3})


@pytest.mark.parametrize("dtype", [pl.Int8, pl.Float64, pl.Float32, pl.String])
def test_parquet_of_any_type_gives_the_same_calls(tmp_path: Path, dtype: pl.DataType,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dosage_cells, "_PARQUET_COLUMNS", 2)
    monkeypatch.setattr(dosage_cells, "_PARQUET_CELLS", 10)
    for text in (LINES, MARKERS):
        table = pl.read_csv(text.encode(), null_values=["NA"])
        cells = [c for c in table.columns if c in ("m1", "m2", "m3", "L1", "L2")]
        path = tmp_path / "x.parquet"
        table.with_columns(pl.col(cells).cast(dtype)).write_parquet(path)
        part = collect(open_dosage_table(path))
        assert part.lines == ("L1", "L2")
        assert calls(part) == {"m1": [0, -1], "m2": [1, 2], "m3": [2, 0]}
        assert source_kind(path) == "dosages"


@pytest.mark.parametrize(("cell", "dosage"), [
    ("2", 2), (" 1 ", 1), ("1.0", 1), ("0.94", 1), ("1.1", 1), ("2.1", 2), ("+1", 1), ("1e0", 1), ("4.44e-16", 0),
    (".95", 1), ("1.", 1), ("-0.02", 0), ("", -1), (" ", -1), ("NA", -1), ("nan", -1), ("n/a", -1), (".", -1),
    ("-", -1), ("-9", -1), ("-9.0", -1),
    ("-1", -1), ("-1.00", -1), ('"2"', 2), ('""', -1), ("0.5", -1), ("1.11", -1), ("2.3", -1)])
def test_every_way_of_writing_a_cell(tmp_path: Path, cell: str, dosage: int) -> None:
    assert calls(read(tmp_path, f"line_id,m1,m2\na,{cell},2\n"))["m1"] == [dosage]


def test_fractions_far_from_a_whole_number_are_missing_and_counted(tmp_path: Path) -> None:
    part = read(tmp_path, "line_id,m1,m2,m3\na,0.5,1.2,2\nb,0,0.05,1.5\n")
    assert counts(part) == {"uncertain": 3, "placeholder_alleles": 3}
    assert calls(part) == {"m1": [-1, 0], "m2": [-1, 0], "m3": [2, -1]}


@pytest.mark.parametrize("text", ["line_id,m1,m2\na,-1,0\nb,1,NA\n", "snp,a,b\nm1,-1,1\nm2,-0.0,NA\n"])
def test_minus_one_is_a_value_where_no_cell_is_two(tmp_path: Path, text: str) -> None:
    part = read(tmp_path, text)
    assert calls(part) == {"m1": [0, 2], "m2": [1, -1]}
    assert counts(part)["recoded"] == 3


def test_minus_one_is_missing_where_a_cell_is_two(tmp_path: Path) -> None:
    assert calls(read(tmp_path, "snp,a,b\nm1,-1,1\nm2,0,2\n")) == {"m1": [-1, 1], "m2": [0, 2]}


def test_the_coding_is_that_of_the_whole_table(tmp_path: Path) -> None:
    rows = "".join(f"m{k},-1,1\n" for k in range(500_000))  # several blocks of text, the 2 in the last
    part = read(tmp_path, "snp,a,b\n" + rows + "last,0,2\n")
    assert part.variants.height == 500_001
    assert (packing.unpack(part.packed_MB[:-1], 2) == [-1, 1]).all()


def test_a_table_without_a_two_says_so(tmp_path: Path) -> None:
    assert counts(read(tmp_path, "line_id,m1,m2\na,0,1\nb,1,NA\n")) == {"no_two": 1, "placeholder_alleles": 2}


def test_what_is_not_known_of_a_marker_is_written_as_such(tmp_path: Path) -> None:
    text = "snp;chr;pos;ref;alt;a\nm1;1;1e+05;A;G;0\nm2;NA;;;;1\n;3;7.0;A;;2\n"  # 1e+05: as R writes it
    part = read(tmp_path, text)
    assert part.variants.rows() == [("m1", "1", 100_000, "A", "G"), ("m2", "unplaced", 0, "A", "C"),
                                    (".", "3", 7, "A", "C")]
    assert counts(part) == {"placeholder_alleles": 2}


def test_place_alone_names_markers(tmp_path: Path) -> None:
    part = read(tmp_path, "chrom,pos,a,b\n1,5,0,2\n1,6,1,0\n")
    assert part.variants.select("variant_id", "chromosome", "position").rows() == [(".", "1", 5), (".", "1", 6)]


@pytest.mark.parametrize(("text", "complaint"), [
    ("id,m1,m2\na,0,1\n", "line 1: first column is 'id'; expected line_id where rows are lines, or variant_id where"),
    (",m1,m2\na,0,1\n", "line 1: first column is ''; expected line_id"),
    ("line_id\na\n", "line 1: 1 columns; expected columns of calls behind line_id"),
    ("line_id,m1,m2,m1\na,0,1,2\n", "marker name is given more than once: 'm1'"),
    ("snp,a,b,a\nm1,0,1,2\n", "line name is given more than once: 'a'"),
    ("line_id,m1,m2\na,0,1\na,2,1\n", "line name is given more than once: 'a'"),
    ("snp,a,b\nm1,0,1\nm1,2,1\n", "marker name is given more than once: 'm1'"),
    ("line_id,m1,\na,0,1\n", "marker name is an empty name"),
    ("line_id,m1,m2\n,0,1\n", "line name is an empty name"),
    ("line_id,m1,m2\na,0,1\nb,0\nc,0,1,2\n", "line 3: 2 columns; expected 3 columns, as in the header"),
    ("line_id,m1,m2\na,0,1\nb,0,AG\n", "line 3: m2 is 'AG'; expected 0, 1, 2 or -1, 0, 1"),
    ("line_id,m1,m2\na,0,1\nb,0,1e\n", "line 3: m2 is '1e'"),
    ("line_id,m1,m2\na,0,1\nb,0,-2\n", "line 3: m2 is '-2'"),
    ("line_id,m1,m2\na,0,1\n\nb,4,3.0\n", "line 4: m1 is '4'; expected 0, 1, 2"),
    ("line_id,m1,m2\na,0,1\n\nb,4,3.0\n", "above 2 they are polyploid"),
    ("snp,pos,a,b\nm1,x,0,1\nm2,-5,0,1\nm3,1.5,0,1\n", "line 2: position is 'x'; expected a whole number"),
    ("line_id,m1\n", "none; expected at least one row"),
    ("snp,a,b\n", "none; expected at least one row"),
])
def test_each_fault_has_its_words(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(InputError) as refused:
        read(tmp_path, text)
    assert complaint in str(refused.value)


def test_all_faults_come_in_one_report(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        read(tmp_path, "snp,pos,a,b\nm1,x,0,1\nm2,5,7,z\nm3,1\nm2,7,0,1\n")
    assert {(p.line, p.field) for p in refused.value.problems} == {
        (2, "position"), (3, "a"), (3, "b"), (4, None), (None, "marker name")}


def test_a_faulty_parquet_table_names_its_cells(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pl.DataFrame({"line_id": ["a", "b"], "m1": ["0", "AG"], "m2": [4, 1]}).write_parquet(path)
    with pytest.raises(InputError) as refused:
        collect(open_dosage_table(path))
    assert [(p.field, p.found, p.line) for p in refused.value.problems] == [("m2", "'4'", 1), ("m1", "'AG'", 2)]


@pytest.mark.parametrize("cut", [lambda data: data[:-30], lambda data: data[:4] + bytes(60) + data[64:]])
def test_a_damaged_parquet_file_is_named(tmp_path: Path, cut: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "x.parquet"
    pl.read_csv(LINES.encode(), null_values=["NA"]).write_parquet(path)
    path.write_bytes(cut(path.read_bytes()))
    with pytest.raises(InputError, match="a truncated or damaged one"):
        collect(open_dosage_table(path))


@pytest.mark.parametrize("kept", [0.2, 0.7])
def test_a_truncated_gzip_is_named(tmp_path: Path, kept: float) -> None:
    generator = np.random.default_rng(1)
    rows = "".join(f"m{k},{a},{b}\n" for k, (a, b) in enumerate(generator.integers(0, 3, (9000, 2))))
    for header in ("snp,a,b\n", "line_id,m1,m2\n"):
        whole = gzip.compress((header + rows).encode())
        with pytest.raises(InputError, match="a truncated or damaged one"):
            read(tmp_path, whole[: int(kept * len(whole))], "x.csv.gz")


@pytest.mark.parametrize(("text", "expected"), [
    (LINES, True), (MARKERS, True), ("id,m1,m2\na,0,1\n", True), ("line_id,m1,m2\na,0,4\n", True),
    ("line_id,season,location,yield\na,2013,X,3.1\n", False), ("line_id,synonyms,role\na,,check\n", False),
    ("environment,rain_mm,heat\nE1,1,2\n", False), ("season,a,b\n2013,1,2\n", False), ("line_id,family\na,\n", False),
    ("line_id\na\n", False), ("", False), ("\n", False), ("line_id,m1,m2\n", False)])
def test_tables_of_dosages_are_told_from_other_tables(tmp_path: Path, text: str, expected: bool) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    assert looks_like_dosages(path) == expected


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 9), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_any_table_comes_back_both_ways_round(tmp_path_factory: pytest.TempPathFactory, n: int, m: int,
                                              seed: int) -> None:
    folder = tmp_path_factory.mktemp("table")
    dosage_NM = np.random.default_rng(seed).integers(-1, 3, (n, m))
    dosage_NM[0, 0] = 2  # else −1 may be a value
    lines, markers = [f"L{i}" for i in range(n)], [f"m{i}" for i in range(m)]
    for first, names, rows, cells in (("line_id", markers, lines, dosage_NM), ("snp", lines, markers, dosage_NM.T)):
        text = "\n".join([",".join([first, *names])] + [",".join([row, *map(str, row_cells)])
                                                        for row, row_cells in zip(rows, cells, strict=True)])
        part = read(folder, text)
        assert part.lines == tuple(lines)
        np.testing.assert_array_equal(packing.unpack(part.packed_MB, n), dosage_NM.T)


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=120), st.sampled_from([b"line_id,m1,m2\n", b"snp,a,b\n", b"snp\tpos\ta\n", b""]))
def test_any_bytes_are_read_or_refused_in_words(tmp_path_factory: pytest.TempPathFactory, data: bytes,
                                                header: bytes) -> None:
    path = tmp_path_factory.mktemp("bytes") / "x.csv"
    path.write_bytes(header + data)
    looks_like_dosages(path)
    with suppress(InputError):
        collect(open_dosage_table(path))
