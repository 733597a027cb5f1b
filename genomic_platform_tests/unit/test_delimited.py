"""Delimited files as people keep them: what is accepted, what is a problem, and the line each row is on."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import pytest

from genomic_platform.phenotypes.delimited import read_delimited, to_numbers


def written(folder: Path, content: bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("content", "codes"), [
    (b"a,b\nx,1.5\ny,2\n", []),
    (b"\xef\xbb\xbfa,b\nx,1.5\ny,2\n", ["bom"]),
    (b"a,b\r\nx,1.5\r\ny,2\r\n", ["crlf"]),
    (b"a;b\nx;1.5\ny;2\n", ["semicolon"]),
    (b"a;b\nx;1,5\ny;2\n", ["semicolon", "decimal_comma"]),
    (b"a\tb\nx\t1,5\ny\t2\n", ["tab", "decimal_comma"]),
    (b'"a","b"\n"x", "1.5"\ny,2', []),
    (b" a , b \n x , 1.5 \n\ny,2\n,\n", []),
    (b"\xef\xbb\xbf\"a\";\"b\"\r\n\"x\";\"1,5\"\r\ny;2\r\n", ["bom", "crlf", "semicolon", "decimal_comma"]),
])
def test_accepted_forms_read_alike_with_one_notice_each(tmp_path: Path, content: bytes, codes: list[str]) -> None:
    table = read_delimited(written(tmp_path, content))
    assert table.problems == ()
    assert table.columns == ("a", "b")
    assert table.cells["a"].to_list() == ["x", "y"]
    assert to_numbers(table.cells["b"]).to_list() == [1.5, 2.0]
    assert [n.code for n in table.notices] == codes


def test_line_numbers_count_blank_lines_and_newlines_inside_quotes(tmp_path: Path) -> None:
    plain = read_delimited(written(tmp_path, b"\na,b\n\nx,1\n\n\ny,2\n"))
    assert plain.lines.tolist() == [4, 7]
    quoted = read_delimited(written(tmp_path, b'a,b\n"two\nlines",1\n\nx,"3\n4\n5"\ny,2\n'))
    assert quoted.lines.tolist() == [2, 5, 8]
    assert quoted.cells["a"].to_list() == ["two\nlines", "x", "y"]


def test_ids_keep_their_commas_in_a_semicolon_file(tmp_path: Path) -> None:
    table = read_delimited(written(tmp_path, b"name;y\nline 1,2 b;3,5\nline c;4\n"))
    assert table.cells["name"].to_list() == ["line 1,2 b", "line c"]
    assert table.cells["y"].to_list() == ["3.5", "4"]


@pytest.mark.parametrize(("content", "name", "message"), [
    (None, "gone.csv", "gone.csv: no such file; expected a file"),
    (b"", "t.csv", "t.csv: an empty file"),
    (b"\xef\xbb\xbf \n\n", "t.csv", "t.csv: an empty file"),
    (b"a,b\n", "t.csv", "t.csv: only a header"),
    (b"a,b,a\n1,2,3\n", "t.csv", "t.csv, line 1: a is 2 columns of that name"),
    (b"a,,c\n1,2,3\n", "t.csv", "t.csv, line 1: column 2 without a name"),
    (b"a,b\n1,2\n1,2,3\n", "t.csv", "t.csv, line 3: 3 fields; expected 2 fields, as in the header"),
    (b'a,b\n1,2\n"1\n2",2,3\n', "t.csv", "t.csv, line 3: 3 fields"),
    (b'a,b\n1,2\n"1,2\n', "t.csv", "t.csv, line 3: a quoted field that does not end"),
    (b"a,b\nx,1\nD\xfcrr,2\n", "t.csv", "t.csv, line 3: byte 0xfc, which is not UTF-8"),
    (gzip.compress(b"a,b\n" + b"1,2\n" * 9000)[:-20], "t.csv.gz", "t.csv.gz: a truncated or damaged one"),
])
def test_problems_name_file_and_line(tmp_path: Path, content: bytes | None, name: str, message: str) -> None:
    path = tmp_path / name if content is None else written(tmp_path, content, name)
    assert str(read_delimited(path).problems[0]).startswith(message)


def test_every_ragged_row_is_named_and_sound_rows_are_kept(tmp_path: Path) -> None:
    table = read_delimited(written(tmp_path, b"a,b\n1,2\n3\n4,5,6\n7,8\n"))
    assert [p.line for p in table.problems] == [3, 4]
    assert table.cells["a"].to_list() == ["1", "7"]
    assert table.lines.tolist() == [2, 5]


def test_gzip_is_read(tmp_path: Path) -> None:
    table = read_delimited(written(tmp_path, gzip.compress(b"a,b\n1,2\n"), "t.csv.gz"))
    assert table.cells.rows() == [("1", "2")]


@pytest.mark.parametrize("text", ["nan", "NaN", "inf", "-Infinity", "1e999", "n/a", "1,5", "12 kg", "0x1f"])
def test_not_a_number(tmp_path: Path, text: str) -> None:
    table = read_delimited(written(tmp_path, f'a,b\nx,"{text}"\ny,+1e3\n'.encode()))
    assert to_numbers(table.cells["b"]).to_list() == [None, 1000.0]


def test_sixty_thousand_rows_cost_processor_time_under_two_seconds(tmp_path: Path) -> None:
    row = ",".join(["L1234", "2013", "site", "S1_2013", "main", "1", "7", "no", *["12.3456"] * 7])
    header = ",".join(f"c{k}" for k in range(15))
    path = written(tmp_path, "\n".join([header, *[row] * 60_000]).encode())
    start = time.process_time()  # processor time, so that a busy machine does not fail it
    assert read_delimited(path).cells.shape == (60_000, 15)
    assert time.process_time() - start < 2
