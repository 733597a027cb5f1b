"""HapMap text (`.hmp.txt`, plain or gzip) as a stream of packed calls, every line and every call checked.

Eleven columns come before the lines: `rs#`, `alleles` (`A/C`), `chrom`, `pos`, … A call is one letter (IUPAC: `R` is
A and G) or two (`AG`); `N` is missing. The first allele named is REF, the second ALT. Variants with more alleles, or
without a second, are left out and counted. Reference: TASSEL user manual, "HapMap".
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import closing
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl

from genomic_platform.errors import InputError
from genomic_platform.genotypes import packing
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
from genomic_platform.genotypes.readers.text import DAMAGED, numbered_lines, truncated

_FIXED = 11
_CHUNK_CELLS = 4_000_000
_WHOLE = re.compile("[0-9]{1,12}")
_HETEROZYGOTES = {frozenset("AC"): "M", frozenset("AG"): "R", frozenset("AT"): "W", frozenset("CG"): "S",
                  frozenset("CT"): "Y", frozenset("GT"): "K", frozenset("+-"): "0"}
_WRONG = np.int8(64)
_TAB = 9


def open_hapmap(path: Path, options: ReadOptions = AS_USUAL) -> GenotypeSource:
    """Calls of one HapMap file. Raises InputError when its header is wrong; its chunks raise every problem of a row."""
    reader = _Reader(path)
    rows = numbered_lines(path)
    try:
        reader.header(next(rows, (1, b""))[1].decode("utf-8", errors="replace").split("\t"))
    except DAMAGED as error:
        raise InputError([truncated(path, str(error))]) from error
    tallies = {"multiallelic": reader.multiallelic, "one_allele": reader.one_allele}
    return GenotypeSource(path.name, reader.lines, reader.chunks(rows), tallies)


class _Reader:
    """State of one pass: problems, tallies, the rows of the chunk being filled."""

    def __init__(self, path: Path) -> None:
        self.path, self.problems = path, ProblemList(path.name)
        self.multiallelic, self.one_allele = Tally(), Tally()
        self.lines: tuple[str, ...] = ()
        self.rows: list[tuple[str, str, int, str, str]] = []
        self.dosages: list[np.ndarray] = []

    def header(self, columns: list[str]) -> None:
        """The lines' names. Raises InputError where there are none."""
        self.lines = tuple(name.strip() for name in columns[_FIXED:])
        if not self.lines:
            self.problems.add("header", line=1, expected="eleven columns (rs#, alleles, chrom, …), then one a line",
                              found=f"{len(columns)} columns", repair="export the file again, separated by tabs")
            raise InputError(self.problems.all())
        if repeated := repeated_names(self.lines):
            self.problems.add("names", line=1, field="line name", expected="every name once",
                              found=f"given more than once: {', '.join(map(repr, repeated[:5]))}",
                              repair="rename or drop the repeated lines")
        if any(not name or "\ufffd" in name for name in self.lines):
            self.problems.add("names", line=1, field="line name", expected="names in UTF-8, none empty",
                              found="an empty name or one that is not UTF-8", repair="rename the lines")

    def chunks(self, rows: Generator[tuple[int, bytes]]) -> Iterator[Chunk]:
        n_variants, size = 0, max(1, _CHUNK_CELLS // len(self.lines))
        with closing(rows):
            try:
                for number, row in rows:
                    if row:
                        self._record(number, row)
                    if len(self.rows) >= size:
                        n_variants += len(self.rows)
                        yield self._chunk()
            except DAMAGED as error:
                raise InputError([truncated(self.path, str(error)), *self.problems.all()]) from error
        if n_variants + len(self.rows) == 0 and not self.problems:
            self.problems.add("records", expected="at least one variant with two alleles", found="none",
                              repair="export the file with genotypes")
        if self.problems:
            raise InputError(self.problems.all())
        if self.rows:
            yield self._chunk()

    def _chunk(self) -> Chunk:
        chunk = Chunk(pl.DataFrame(self.rows, schema=VARIANT_SCHEMA, orient="row"),
                      packing.pack(np.stack(self.dosages)))
        self.rows, self.dosages = [], []
        return chunk

    def _record(self, number: int, row: bytes) -> None:
        columns = row.split(b"\t", _FIXED)
        name, alleles, chromosome, position = (c.decode("utf-8", errors="replace") for c in (columns + [b""] * 4)[:4])
        calls = columns[_FIXED:]
        if not calls or calls[0].count(b"\t") + 1 != len(self.lines):
            found = 0 if not calls else calls[0].count(b"\t") + 1
            self.problems.add("fields", line=number, expected=f"{len(self.lines)} calls after eleven columns",
                              found=f"{found} calls", repair="repair or remove the line")
            return
        if not _WHOLE.fullmatch(position.strip()):
            self.problems.add("position", line=number, field="pos", expected="a whole number of base pairs",
                              found=repr(position), repair="repair the position, or 0 where it is not known")
            return
        named = [a for a in alleles.upper().split("/") if a not in ("", "N", "NA")]
        if len(named) != 2 or len(set(named)) != 2:
            (self.multiallelic if len(named) > 2 else self.one_allele).add(name)
            return
        dosages = self._dosages(number, calls[0].upper(), *named)
        if dosages is not None:
            self.rows.append((name.strip() or ".", chromosome.strip() or "0", int(position), named[0], named[1]))
            self.dosages.append(dosages)

    def _dosages(self, number: int, text: bytes, ref: str, alt: str) -> np.ndarray | None:
        """ALT counts (N,), None when a call is wrong."""
        bytes_ = np.frombuffer(text, dtype=np.uint8)
        if len(bytes_) == 2 * len(self.lines) - 1 and (bytes_[1::2] == _TAB).all():  # one letter a call: the usual file
            dosage_N = _dosage_of_letter(ref, alt)[bytes_[::2]]
        else:
            distinct, place_N = np.unique(np.array(text.split(b"\t")), return_inverse=True)
            found = [_dosage(call.decode("latin-1"), ref, alt) for call in distinct]
            dosage_N = np.array(found, dtype=np.int8)[place_N]
        wrong = np.flatnonzero(dosage_N == _WRONG)
        if not wrong.size:
            return dosage_N
        expected = f"{ref}, {alt}, both, a IUPAC letter of them, or N"
        first = text.split(b"\t")[wrong[0]].decode("latin-1")
        found = f"{first!r} of {self.lines[wrong[0]]}" + (f" and {wrong.size - 1} more" if wrong.size > 1 else "")
        self.problems.add("calls", line=number, field="call", expected=expected, found=found,
                          repair="repair the calls, or write N where they are not known")
        return None


@lru_cache(maxsize=64)
def _dosage_of_letter(ref: str, alt: str) -> np.ndarray:
    return np.array([_dosage(chr(code), ref, alt) for code in range(256)], dtype=np.int8)


def _dosage(call: str, ref: str, alt: str) -> int:
    """ALT alleles in a call of one or two letters; −1 missing, `_WRONG` anything else."""
    call = call.strip()
    if call in ("N", "NN", ".", "", "./."):
        return packing.MISSING
    if call == _HETEROZYGOTES.get(frozenset((ref, alt))):
        return 1
    pair = call if len(call) == 2 else call * 2 if len(call) == 1 else ""
    if not pair or any(letter not in (ref, alt) for letter in pair):
        return int(_WRONG)
    return sum(letter == alt for letter in pair)
