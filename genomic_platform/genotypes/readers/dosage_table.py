"""Tables of dosages, CSV, TSV or Parquet, a line a row or a marker a row: the header tells which (`dosage_cells.py`).

Cells: 0, 1, 2 ALT alleles, or −1, 0, 1 in all of a table; nothing, NA, -, . and −9 are missing, −1 too in a table with
a 2. What is not known of a marker is written as the examples have it (`unplaced`, A and C), at position 0.
Axes: R rows of a block, C cells of a row, M markers, N lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from genomic_platform.errors import InputError
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.readers.dosage_cells import Block, Header, blocks, may_be_dosages, read_header
from genomic_platform.genotypes.readers.part import (
    AS_USUAL,
    VARIANT_SCHEMA,
    Chunk,
    GenotypeSource,
    ProblemList,
    ReadOptions,
    Tally,
    repeated_names,
)
from genomic_platform.genotypes.readers.text import DAMAGED, truncated

REF, ALT, UNPLACED = "A", "C", "unplaced"
_CHUNK = 4096
_UNKNOWN = ["", "NA", "na", "NaN", "."]
_OFFSET = 5  # the lowest code is −5
#: Dosage by code + 5 (WRONG, HIGH, UNCERTAIN, MINUS_ONE, MISSING, 0, 1, 2), as counts of ALT and as −1, 0, 1.
_COUNTS = np.array([-1, -1, -1, -1, -1, 0, 1, 2], dtype=np.int8)
_CENTRED = np.array([-1, -1, -1, 0, -1, 1, 2, -1], dtype=np.int8)


def looks_like_dosages(path: Path) -> bool:
    """A table that `open_dosage_table` reads, or refuses for its header alone; trial and line tables are none."""
    try:
        return may_be_dosages(path)
    except DAMAGED:
        return False


def open_dosage_table(path: Path, options: ReadOptions = AS_USUAL) -> GenotypeSource:
    """Calls of one table. Where rows are lines, all of it is read at once (a byte a call).

    Raises
    ------
    InputError : its header is wrong; its cells, at once where rows are lines, else at the end of its chunks.
    """
    problems = ProblemList(path.name)
    tallies = {code: Tally() for code in ("uncertain", "recoded", "no_two", "placeholder_alleles")}
    try:
        header = read_header(path)
        _check_header(header, problems)
        if header.rows_are == "markers":
            return GenotypeSource(path.name, header.cells, _marker_rows(path, header, problems, tallies), tallies)
        return _line_rows(path, header, problems, tallies)
    except DAMAGED as error:
        raise InputError([truncated(path, str(error))]) from error


def _check_header(header: Header, problems: ProblemList) -> None:
    if header.rows_are is None:
        problems.add("header", line=1, field="first column", found=repr(header.names[0]), repair="name it so",
                     expected="line_id where rows are lines, or variant_id where rows are markers")
    elif not header.cells:
        problems.add("header", line=1, found=f"{len(header.names)} columns", repair="export the table again",
                     expected=f"columns of calls behind {', '.join(header.names)}, separated by commas or tabs")
    _check_names(header.cells, "line" if header.rows_are == "markers" else "marker", problems)
    if problems:
        raise InputError(problems.all())


def _check_names(names: Sequence[str], kind: str, problems: ProblemList) -> None:
    if repeated := repeated_names(names):
        problems.add(f"{kind} twice", field=f"{kind} name", expected="every name once",
                     found=f"given more than once: {', '.join(map(repr, repeated[:5]))} ({len(repeated)} names)",
                     repair=f"rename or drop the repeated {kind}s")
    if any(not name or "\ufffd" in name for name in names):
        problems.add(f"{kind} name", field=f"{kind} name", expected="names in UTF-8, none empty",
                     found="an empty name or one that is not UTF-8", repair=f"rename the {kind}s")


def _line_rows(path: Path, header: Header, problems: ProblemList, tallies: dict[str, Tally]) -> GenotypeSource:
    lines: list[str] = []
    codes: list[np.ndarray] = []
    for block in blocks(path, header, problems):
        names = block.leading["line_id"].to_list()
        lines += names
        codes.append(block.code_RC.copy())  # the block's own has room to spare
        _check_cells(block, names, header.cells, problems, tallies)
    _check_names(lines, "line", problems)
    if not lines:
        problems.add("empty", expected="at least one row", found="none", repair="export the table again")
    if problems:
        raise InputError(problems.all())
    dosage_of_code = _coding(path, codes, tallies)
    tallies["placeholder_alleles"].merge(Tally(len(header.cells), list(header.cells[:3])))

    def chunks() -> Iterator[Chunk]:
        for start in range(0, len(header.cells), _CHUNK):
            names = header.cells[start : start + _CHUNK]
            code_NM = np.concatenate([code_RC[:, start : start + _CHUNK] for code_RC in codes])
            variants = pl.DataFrame({"variant_id": names}).with_columns(
                chromosome=pl.lit(UNPLACED), position=pl.lit(0, pl.Int64), ref=pl.lit(REF), alt=pl.lit(ALT))
            yield Chunk(variants, packing.pack(np.ascontiguousarray(_dosages(code_NM, dosage_of_code, tallies).T)))

    return GenotypeSource(path.name, tuple(lines), chunks(), tallies)


def _marker_rows(path: Path, header: Header, problems: ProblemList, tallies: dict[str, Tally]) -> Iterator[Chunk]:
    try:
        dosage_of_code = _coding(path, (b.code_RC for b in blocks(path, header, ProblemList(path.name))), tallies)
        names: list[pl.Series] = []
        for block in blocks(path, header, problems):
            variants = _variants(block, problems, tallies["placeholder_alleles"])
            names.append(variants["variant_id"])
            _check_cells(block, variants["variant_id"].to_list(), header.cells, problems, tallies)
            yield Chunk(variants, packing.pack(_dosages(block.code_RC, dosage_of_code, tallies)))
    except DAMAGED as error:
        raise InputError([truncated(path, str(error)), *problems.all()]) from error
    if not names:
        problems.add("empty", expected="at least one row", found="none", repair="export the table again")
    else:
        name_M = pl.concat(names)
        _check_names(name_M.filter(name_M.is_duplicated() & (name_M != ".")).to_list(), "marker", problems)
    if problems:
        raise InputError(problems.all())


def _coding(path: Path, codes: Iterable[np.ndarray], tallies: dict[str, Tally]) -> np.ndarray:
    """Dosage by code: −1 is a value where the table has one and no 2."""
    from genomic_platform.genotypes.readers.dosage_table_kernels import MINUS_ONE

    centred = False
    for code_RC in codes:
        if (code_RC == 2).any():
            return _COUNTS
        centred = centred or bool((code_RC == MINUS_ONE).any())
    if not centred:
        tallies["no_two"].add(path.name)
    return _CENTRED if centred else _COUNTS


def _dosages(code_RC: np.ndarray, dosage_of_code: np.ndarray, tallies: dict[str, Tally]) -> np.ndarray:
    dosage_RC = dosage_of_code[code_RC + np.int8(_OFFSET)]
    if dosage_of_code is _CENTRED:
        tallies["recoded"].count += int(np.count_nonzero(dosage_RC >= 0))
    return dosage_RC


def _check_cells(block: Block, rows: Sequence[str], columns: Sequence[str], problems: ProblemList,
                 tallies: dict[str, Tally]) -> None:
    """Cells that are no dosage of a diploid are problems; fractions that are no whole dosage are counted."""
    from genomic_platform.genotypes.readers.dosage_table_kernels import HIGH, UNCERTAIN, WRONG

    if block.code_RC.min(initial=0) > UNCERTAIN:
        return
    for row in np.flatnonzero((block.code_RC == UNCERTAIN).any(axis=1)).tolist():
        tallies["uncertain"].add(rows[row], int(np.count_nonzero(block.code_RC[row] == UNCERTAIN)))
    for kind, code in (("ploidy", HIGH), ("cell", WRONG)):
        for row, column in np.argwhere(block.code_RC == code).tolist():
            problems.add(kind, line=int(block.line_R[row]), field=columns[column], found=repr(block.cell(row, column)),
                         expected="0, 1, 2 or -1, 0, 1, and NA or nothing where a call is missing",
                         repair="correct the cell, or take the column out" if code == WRONG else
                         "only diploid genotypes are read; above 2 they are polyploid: recode them as diploid")


def _variants(block: Block, problems: ProblemList, placeholders: Tally) -> pl.DataFrame:
    """VARIANT_SCHEMA of a block whose rows are markers."""
    known = block.leading.with_columns(pl.all().replace(_UNKNOWN, [None] * len(_UNKNOWN)))
    known = known.with_columns(pl.lit(None, pl.String).alias(c) for c in VARIANT_SCHEMA if c not in known.columns)
    position = known["position"].cast(pl.Float64, strict=False)  # R writes 1e+06
    wrong = known["position"].is_not_null() & ~((position >= 0) & (position == position.floor()) & (position < 1e12)
                                                ).fill_null(False)
    for row in wrong.arg_true():
        problems.add("position", line=int(block.line_R[row]), field="position", found=repr(known["position"][row]),
                     expected="a whole number", repair="correct the position, or leave it empty")
    named = known.with_columns(position=pl.when(wrong).then(0).otherwise(position).fill_null(0).cast(pl.Int64),
                               variant_id=pl.col("variant_id").fill_null("."),
                               chromosome=pl.col("chromosome").fill_null(UNPLACED))
    without = named["ref"].is_null() | named["alt"].is_null()
    placeholders.merge(Tally(int(without.sum()), named["variant_id"].filter(without).head(3).to_list()))
    return named.with_columns(ref=pl.when(without).then(pl.lit(REF)).otherwise("ref"),
                              alt=pl.when(without).then(pl.lit(ALT)).otherwise("alt")).select(*VARIANT_SCHEMA)
