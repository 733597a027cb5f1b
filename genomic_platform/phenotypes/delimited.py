"""A person's CSV or TSV as text cells, each row with the line number an editor shows.

Delimiter, byte order mark, decimal comma, line ends and quoting are settled here, once for every landing table.
What the columns mean does not belong here. Quoting follows RFC 4180.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from genomic_platform.errors import Notice, Problem

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
_DECIMAL_COMMA = r"^[+-]?\d+,\d+([eE][+-]?\d+)?$"
#: No measurement in any unit is larger; sums of squares of larger ones would overflow further on.
LARGEST = 1e15
_GZIP_MAGIC = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Delimited:
    """One delimited file, read whole.

    Attributes
    ----------
    name : the file's name as problems show it.
    cells : one row per record, every column text, surrounding blanks removed, an empty cell null; without columns
        when the file or its header cannot be used.
    lines : 1-based line on which each row of `cells` starts.
    problems : what is wrong with the file as a delimited file; its sound rows are in `cells` all the same.
    notices : what was accepted (codes bom, crlf, semicolon, tab, decimal_comma).
    """

    name: str
    cells: pl.DataFrame = field(default_factory=pl.DataFrame)
    lines: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    problems: tuple[Problem, ...] = ()
    notices: tuple[Notice, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.cells.columns)


@dataclass
class _Rows:
    header: list[str]
    header_line: int
    cells: pl.DataFrame
    lines: np.ndarray
    problems: list[Problem]


def read_delimited(path: Path) -> Delimited:
    """Read a comma, semicolon or tab separated file (also `.gz`), never raising for what the file holds.

    Parameters
    ----------
    path : the file; UTF-8, with or without byte order mark; any line ends; fields may be quoted and hold newlines.

    Returns
    -------
    Delimited, with every problem found: missing, empty, truncated, undecodable, header only, repeated or empty
    header names, rows with another number of fields than the header.
    """
    name = path.name
    data = _bytes_of(path)
    if isinstance(data, Problem):
        return Delimited(name, problems=(data,))
    notices: list[Notice] = []
    text = _text_of(data, name, notices)
    if isinstance(text, Problem):
        return Delimited(name, problems=(text,))
    delimiter = _delimiter_of(text)
    rows = _quoted_rows(text, delimiter, name) if '"' in text else _plain_rows(text, delimiter, name)
    if unusable := _header_problems(rows, name):
        return Delimited(name, problems=(*unusable, *rows.problems), notices=tuple(notices))
    if not rows.problems and not rows.cells.height:
        rows.problems.append(Problem(name, "a header and at least one row", "only a header", "add the records"))
    if delimiter == ";" or (delimiter == "\t" and not name.lower().removesuffix(".gz").endswith((".tsv", ".tab"))):
        notices.append(Notice(DELIMITERS[delimiter], f"{name}: fields are separated by {DELIMITERS[delimiter]}s"))
    cells = _decimal_points(rows.cells, name, notices) if delimiter != "," else rows.cells
    return Delimited(name, cells, rows.lines, tuple(rows.problems), tuple(notices))


def to_numbers(cells: pl.Series) -> pl.Series:
    """Text cells as float64; null where a cell is empty or no number a field gives (`nan`, `inf`, beyond `LARGEST`)."""
    numbers = cells.cast(pl.Float64, strict=False)
    return pl.select(pl.when(numbers.abs() <= LARGEST).then(numbers)).to_series().alias(cells.name)


def problems_of(files: Sequence[Delimited]) -> list[Problem]:
    """Every problem of several files, in order."""
    return [p for f in files for p in f.problems]


def notices_of(files: Sequence[Delimited]) -> list[Notice]:
    """Every notice of several files, in order."""
    return [n for f in files for n in f.notices]


def _bytes_of(path: Path) -> bytes | Problem:
    name = path.name
    if not path.is_file():
        return Problem(name, "a file", "no such file" if not path.exists() else "not a file", "check the path")
    data = path.read_bytes()
    if data.startswith(_GZIP_MAGIC):
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as error:
            return Problem(name, "a whole gzip file", f"a truncated or damaged one ({error})", "copy the file again")
    if not data.removeprefix(_BOM).strip():
        return Problem(name, "a header and at least one row", "an empty file", "export the table again")
    return data


def _text_of(data: bytes, name: str, notices: list[Notice]) -> str | Problem:
    if data.startswith(_BOM):
        notices.append(Notice("bom", f"{name}: starts with a byte order mark, ignored"))
        data = data.removeprefix(_BOM)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return Problem(name, "UTF-8 text", f"byte 0x{data[error.start]:02x}, which is not UTF-8",
                       "save the file as CSV in UTF-8", line=data[: error.start].count(b"\n") + 1)
    if "\x00" in text:
        return Problem(name, "UTF-8 text", "a zero byte", "save the file as CSV in UTF-8",
                       line=text[: text.index("\x00")].count("\n") + 1)
    if "\r" in text:
        notices.append(Notice("crlf", f"{name}: has Windows line ends"))
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text


def _delimiter_of(text: str) -> str:
    header = next(line for line in text.split("\n") if line.strip())
    outside_quotes = "".join(header.split('"')[::2])
    return max(DELIMITERS, key=outside_quotes.count)


def _plain_rows(text: str, delimiter: str, name: str) -> _Rows:
    lines = text.split("\n")
    numbers = [i for i, line in enumerate(lines) if line.strip()]
    first, body = numbers[0], numbers[1:]
    header = [cell.strip() for cell in lines[first].split(delimiter)]
    counts = np.array([lines[i].count(delimiter) + 1 for i in body], dtype=np.int64)
    at = np.array(body, dtype=np.int64)
    good = at[counts == len(header)]
    problems = [_ragged(name, int(i) + 1, int(n), len(header))
                for i, n in zip(at[counts != len(header)], counts[counts != len(header)], strict=True)]
    sound = "\n".join(lines[i] for i in good)
    columns = [f"column_{k}" for k in range(len(header))]
    cells = pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    if sound:
        cells = pl.read_csv(io.BytesIO(sound.encode()), separator=delimiter, has_header=False, new_columns=columns,
                            infer_schema=False, quote_char=None)
    return _rows(header, first + 1, cells, good + 1, problems)


def _quoted_rows(text: str, delimiter: str, name: str) -> _Rows:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    records: list[list[str]] = []
    starts: list[int] = []
    problems: list[Problem] = []
    start = 1
    try:
        for record in reader:
            if any(cell.strip() for cell in record):
                records.append(record)
                starts.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        problems.append(Problem(name, "quotes that open and close", f"a quoted field that does not end ({error})",
                                "close or double the quotation mark", line=start))
    header, width = ([cell.strip() for cell in records[0]], len(records[0])) if records else ([], 0)
    good = [k for k in range(1, len(records)) if len(records[k]) == width]
    problems[:0] = [_ragged(name, starts[k], len(records[k]), width)
                    for k in range(1, len(records)) if len(records[k]) != width]
    cells = pl.DataFrame({f"column_{j}": pl.Series([records[k][j] for k in good], dtype=pl.String)
                          for j in range(width)})
    lines = np.array([starts[k] for k in good], dtype=np.int64)
    return _rows(header, starts[0] if starts else 1, cells, lines, problems)


def _rows(header: list[str], header_line: int, cells: pl.DataFrame, lines: np.ndarray,
          problems: list[Problem]) -> _Rows:
    """Trim every cell, make empty ones null, leave out rows without a filled cell (a spreadsheet's empty rows)."""
    trimmed = cells.with_columns(pl.all().str.strip_chars().replace("", None))
    if len(set(header)) == len(header):  # repeated names are a problem of their own, and the cells are not used
        trimmed.columns = header
    filled = trimmed.select(pl.any_horizontal(pl.all().is_not_null())).to_series().to_numpy() \
        if trimmed.height else np.zeros(0, dtype=bool)
    return _Rows(header, header_line, trimmed.filter(filled), lines[filled], problems)


def _header_problems(rows: _Rows, name: str) -> list[Problem]:
    repeated = sorted({h for h in rows.header if h and rows.header.count(h) > 1})
    problems = [Problem(name, "every column name once", f"{rows.header.count(h)} columns of that name",
                        "rename or remove one of them", line=rows.header_line, field=h) for h in repeated]
    problems += [Problem(name, "a name for every column", f"column {k + 1} without a name", "name or remove the column",
                         line=rows.header_line) for k, h in enumerate(rows.header) if not h]
    return problems


def _ragged(name: str, line: int, found: int, expected: int) -> Problem:
    return Problem(name, f"{expected} fields, as in the header", f"{found} fields",
                   "check for a missing or extra delimiter, or quote the field that contains one", line=line)


def _decimal_points(cells: pl.DataFrame, name: str, notices: list[Notice]) -> pl.DataFrame:
    """Turn `12,5` into `12.5` in columns that hold mostly numbers; ids and free text keep their commas."""
    changed: list[pl.Series] = []
    for column in cells.iter_columns():
        comma = column.str.contains(_DECIMAL_COMMA).fill_null(False)
        if not comma.any():
            continue
        numbers = int(comma.sum()) + (column.len() - to_numbers(column).null_count())
        if 2 * numbers >= column.len() - column.null_count():
            swapped = column.str.replace(",", ".", literal=True)
            changed.append(pl.select(pl.when(comma).then(swapped).otherwise(column)).to_series().alias(column.name))
    if changed:
        names = tuple(c.name for c in changed)
        notices.append(Notice("decimal_comma", f"{name}: decimal commas read as decimal points", len(names), names[:3]))
    return cells.with_columns(changed)
