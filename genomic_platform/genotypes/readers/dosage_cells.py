"""What a table of dosages says, cell by cell, and which way round it lies: CSV, TSV (plain or gzip) and Parquet.

Rows are lines when the first column has a line's name (`line_id`, `sample`, …), markers when the columns before the
cells are `variant_id` (or `marker`, `snp`, …) or `chromosome` and `position`. Text goes through
`dosage_table_kernels.py`; what codes of cells mean is `dosage_table.py`'s. Axes: R rows of a block, C cells of a row.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
from polars import selectors as cs

from genomic_platform.errors import InputError, Problem
from genomic_platform.genotypes.readers.part import ProblemList
from genomic_platform.genotypes.readers.text import line_blocks

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET_MAGIC = b"PAR1"
#: Names of columns, in lower case, and what they hold.
_ROLES = {name: role for role, names in {
    "variant_id": ("variant_id", "variant", "marker", "marker_id", "marker_name", "snp", "snp_id", "snp_name", "locus",
                   "rs", "rs#"),
    "chromosome": ("chromosome", "chrom", "chr", "#chrom", "contig"),
    "position": ("position", "pos", "bp", "position_bp"),
    "ref": ("ref", "reference", "ref_allele"),
    "alt": ("alt", "alternate", "alt_allele"),
}.items() for name in names}
_LINES = {"line_id", "line", "lines", "sample", "sample_id", "genotype", "genotype_id", "gid", "germplasm",
          "germplasm_id", "accession", "individual", "iid", "taxa", "taxon", "entry", "plant"}
#: First columns that say nothing, as R and pandas write row names.
_SAYS_NOTHING = {"", "id", "name", "names", "x", "rowname", "rownames", "row.names", "index", "unnamed: 0"}
_PARQUET_CELLS, _PARQUET_COLUMNS = 8_000_000, 4096
_NO_NUMBER = ["", "na", "nan", "n/a", ".", "-"]


@dataclass(frozen=True)
class Header:
    """Column names, what a row is (None: the names do not tell), and what the columns before the cells hold."""

    names: tuple[str, ...]
    rows_are: Literal["lines", "markers"] | None
    leading: tuple[str, ...]
    separator: str = ","

    @property
    def cells(self) -> tuple[str, ...]:
        return self.names[len(self.leading) :]


@dataclass(frozen=True, eq=False)
class Block:
    """Some rows: the columns before the cells as text, codes of cells, int8 (R, C), and the line of each row.

    `cell(row, column)` is a cell as it is written; it holds until the next block is asked for.
    """

    leading: pl.DataFrame
    code_RC: np.ndarray
    line_R: np.ndarray
    cell: Callable[[int, int], str]


def read_header(path: Path) -> Header:
    """The header of a table. Raises one of DAMAGED for a damaged gzip file."""
    if _is_parquet(path):
        import pyarrow.parquet as pq

        with _readable(path):
            return _header(pq.read_schema(path).names, ",")
    for text in line_blocks(path):
        return _text_header(text)[0]
    return Header(("",), None, ("",))


def blocks(path: Path, header: Header, problems: ProblemList) -> Iterator[Block]:
    """The rows; lines of another width than the header are problems."""
    if not _is_parquet(path):
        yield from _text_blocks(path, header, problems)
        return
    with _readable(path):
        yield from _parquet_blocks(path, header)


def may_be_dosages(path: Path) -> bool:
    """A text table with a header of one of the two kinds, or with one that says nothing, and cells like dosages."""
    from genomic_platform.genotypes.readers.dosage_table_kernels import MISSING

    text = next(line_blocks(path), None)
    if text is None:
        return False
    header, start = _text_header(text)
    if header.rows_are is None and header.names[0].strip().lower() not in _SAYS_NOTHING:
        return False
    rows = b"\n".join(text[start:].tobytes().split(b"\n", 3)[:3]) + b"\n"
    block = _scanned(np.frombuffer(rows, dtype=np.uint8), header, ProblemList(path.name), 2)[0]
    written = [block.cell(r, c) for r, c in np.argwhere(block.code_RC < MISSING)]
    unlikely = sum(not _within(text, -1, 8) for text in written)
    return bool(len(header.cells) > 1 and (block.code_RC != MISSING).any() and unlikely <= 0.1 * block.code_RC.size)


def _is_parquet(path: Path) -> bool:
    with open(path, "rb") as source:
        return source.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (OSError, UnicodeDecodeError, pa.ArrowException, pl.exceptions.PolarsError) as error:
        raise InputError([Problem(path.name, "a complete Parquet file", f"a truncated or damaged one ({error})",
                                  "copy the file again, or write it again from its source")]) from error


def _header(names: Sequence[str], separator: str) -> Header:
    leading: list[str] = []
    for name in names:
        role = _ROLES.get(name.strip().lower())
        if role is None or role in leading:
            break
        leading.append(role)
    names = tuple(name.strip() for name in names)
    if "variant_id" in leading or {"chromosome", "position"} <= set(leading):
        return Header(names, "markers", tuple(leading), separator)
    return Header(names, "lines" if names[0].lower() in _LINES else None, ("line_id",), separator)


def _text_header(text: np.ndarray) -> tuple[Header, int]:
    """The header in a file's first block, and where the rows begin."""
    line = text.tobytes().partition(b"\n")[0]
    decoded = line.rstrip(b"\r").decode("utf-8", errors="replace")
    separator = "\t" if "\t" in decoded else max(",;", key=decoded.count)
    return _header(_fields(decoded, separator), separator), len(line) + 1


def _fields(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), []) or [""]
    except csv.Error:  # a quote that is never closed
        return line.split(separator)


def _text_blocks(path: Path, header: Header, problems: ProblemList) -> Iterator[Block]:
    first_line, start = 2, None
    for text in line_blocks(path):
        if start is None:
            text = text[_text_header(text)[1] :]
            start = 0
        block, n_lines = _scanned(text, header, problems, first_line)
        first_line += n_lines
        if len(block.line_R):
            yield block


def _scanned(text: np.ndarray, header: Header, problems: ProblemList, first_line: int) -> tuple[Block, int]:
    """Rows of whole lines, and how many lines they are."""
    from genomic_platform.genotypes.readers.dosage_table_kernels import scan

    width, n_leading = len(header.names), len(header.leading)
    most = len(text) // width + 2  # a row has a character, or its separator, for each column
    code_RC = np.empty((most, width - n_leading), dtype=np.int8)
    field_RF2 = np.empty((most, n_leading, 2), dtype=np.int64)
    where_R2 = np.empty((most, 2), dtype=np.int64)
    other_K2 = np.empty((int(np.count_nonzero(text == ord("\n"))), 2), dtype=np.int64)
    n, n_other, n_lines = scan(text, ord(header.separator), code_RC, field_RF2, where_R2, other_K2)
    for line, found in other_K2[:n_other].tolist():
        problems.add("columns", line=first_line + line, expected=f"{width} columns, as in the header",
                     found=f"{found} columns", repair="repair or remove the line")

    def cell(row: int, column: int) -> str:
        line = text[where_R2[row, 1] :].tobytes().partition(b"\n")[0].decode("utf-8", errors="replace")
        return _fields(line, header.separator)[n_leading + column].strip()

    def field(row: int, column: int) -> str:
        start, stop = field_RF2[row, column]
        return text[start:stop].tobytes().decode("utf-8", errors="replace").strip().strip('"').strip()

    leading = pl.DataFrame({role: [field(row, k) for row in range(n)] for k, role in enumerate(header.leading)},
                           schema=dict.fromkeys(header.leading, pl.String))
    return Block(leading, code_RC[:n], first_line + where_R2[:n, 0], cell), n_lines


def _parquet_blocks(path: Path, header: Header) -> Iterator[Block]:
    """Blocks of rows where these are markers; one block, read some columns at a time, where they are lines."""
    import pyarrow.parquet as pq

    n_leading, start = len(header.leading), 1
    source = pq.ParquetFile(path)
    names = source.schema_arrow.names  # as they are, with blanks

    def columns(first: int, last: int) -> pl.DataFrame:
        wanted = names[first:last]
        return _sound(source.read(columns=wanted).select(wanted))  # `m1` brings `m1.2` along

    if header.rows_are == "lines":
        code_RC = np.concatenate([_codes(columns(k, k + _PARQUET_COLUMNS))
                                  for k in range(n_leading, len(names), _PARQUET_COLUMNS)], axis=1)
        yield Block(_as_text(columns(0, n_leading), header), code_RC, np.arange(1, len(code_RC) + 1),
                    lambda row, column: str(columns(n_leading + column, n_leading + column + 1).item(row, 0)))
        return
    for batch in source.iter_batches(max(1, _PARQUET_CELLS // len(names))):
        frame = _sound(batch)
        cells = frame[:, n_leading:]
        yield Block(_as_text(frame[:, :n_leading], header), _codes(cells), np.arange(start, start + len(frame)),
                    lambda row, column, cells=cells: str(cells.item(row, column)))
        start += len(frame)


def _sound(arrow: pa.Table | pa.RecordBatch) -> pl.DataFrame:
    """Checked before Polars has it, which panics over undecodable text and the like. Raises ArrowInvalid."""
    import pyarrow as pa

    arrow.validate(full=True)
    named = pa.Table.from_arrays(arrow.columns, names=arrow.schema.names)  # without what else the schema says
    return pl.DataFrame(pl.from_arrow(named))


def _as_text(leading: pl.DataFrame, header: Header) -> pl.DataFrame:
    return leading.rename(dict(zip(leading.columns, header.leading, strict=True))).select(
        pl.all().cast(pl.String).fill_null("").str.strip_chars())


def _codes(frame: pl.DataFrame) -> np.ndarray:
    """Codes of typed columns, int8 (R, C)."""
    from genomic_platform.genotypes.readers.dosage_table_kernels import codes_of_numbers

    missing = "-9"
    named = frame.select((~cs.numeric()).cast(pl.String).str.strip_chars().str.to_lowercase()
                         .replace(dict.fromkeys(_NO_NUMBER, missing)).fill_null(missing).cast(pl.Float64, strict=False))
    numbers = frame.select(cs.numeric().cast(pl.Float64).fill_nan(None).fill_null(float(missing)))
    return codes_of_numbers(frame.with_columns(*named, *numbers).to_numpy())


def _within(text: str, low: float, high: float) -> bool:
    try:
        return low <= float(text) <= high
    except ValueError:
        return False
