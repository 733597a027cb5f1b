"""Genotype files into a packed table on disk, in one pass that holds a block of variants in memory.

Calls are spilled to a file as they are parsed; once every line of every file has been checked and the order is known,
they are written in it, with their statistics. Nothing is left behind by a file that is refused or a process that ends.
Axes: M variants, m of a block, B = ceil(N / 4) bytes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl

from genomic_platform.errors import InputError, Notice, Problem, ProgramError
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.assembly import (
    PartFacts,
    any_varies,
    assemble,
    batches_of,
    line_order,
    monomorphic,
)
from genomic_platform.genotypes.merging.batch_set import merge_notices, merge_report
from genomic_platform.genotypes.merging.batches import merge_batches
from genomic_platform.genotypes.parallel import in_order
from genomic_platform.genotypes.readers.part import AS_USUAL, VARIANT_SCHEMA, GenotypeSource, ReadOptions
from genomic_platform.genotypes.sources import find_sources, open_source
from genomic_platform.genotypes.table import GenotypeTable, described, table_facts
from genomic_platform.genotypes.table_file import row_group_size, write_table
from genomic_platform.schemas.genotypes import BATCH_REPORT

BATCH_REPORT_FILE = "batch_report.parquet"
#: Told how many variants have been read of which file.
Progress = Callable[[str, int], None]


def ingest(paths: Sequence[Path], out: Path, options: ReadOptions = AS_USUAL,
           progress: Progress | None = None) -> tuple[GenotypeTable, list[Notice]]:
    """Write the table of genotype files; several batches (see `read.py`) are written each and then merged in memory.

    Parameters
    ----------
    paths : see `sources.find_sources`.
    out : folder of the table, which must not exist yet; it appears whole or not at all. The report of a merge lies
        beside the table.
    progress : called after every chunk.

    Returns
    -------
    The table, opened, and what was accepted on the way.

    Raises
    ------
    InputError : every problem of every file. ProgramError : `out` exists.
    """
    with new_folder(out) as folder, ExitStack() as files:
        parts = _spilled(_opened(paths, options), folder, files, progress)
        batches = _batches(parts)
        if len(batches) == 1:
            notices = _write(folder, batches[0])
        else:
            notices = _merge(folder, batches)
    return GenotypeTable.open(out), notices


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to fill beside `out`, which takes its name at the end and is removed when anything fails."""
    if out.exists():
        raise ProgramError(f"{out} exists; expected a new folder, so that no table is lost; repair: name another, or "
                           "remove it")
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        folder.chmod(0o755)
        yield folder
        folder.rename(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@dataclass(frozen=True, eq=False)
class _Part:
    """A source that has been read: its variants, and its packed calls as they came, in a file without a name."""

    facts: PartFacts
    spill: BinaryIO

    def read(self, rows_m: np.ndarray) -> np.ndarray:
        """Calls at the given rows, uint8 (m, B); neighbours in one read."""
        n_bytes = packing.n_bytes(len(self.facts.lines))
        packed_mB = np.empty((len(rows_m), n_bytes), dtype=np.uint8)
        ends = np.flatnonzero(np.diff(rows_m, append=-2) != 1) + 1
        for start, end in pairwise([0, *ends.tolist()]):
            os.preadv(self.spill.fileno(), [packed_mB[start:end].data], int(rows_m[start]) * n_bytes)
        return packed_mB


def _opened(paths: Sequence[Path], options: ReadOptions) -> list[GenotypeSource]:
    found, problems = find_sources(paths)
    sources: list[GenotypeSource] = []
    for kind, path in found:
        try:
            sources.append(open_source(kind, path, options))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return sources


def _spilled(sources: Sequence[GenotypeSource], folder: Path, files: ExitStack,
             progress: Progress | None) -> list[_Part]:
    """Read every source to its end. Raises InputError with the problems of all of them."""
    parts: list[_Part] = []
    problems: list[Problem] = []
    for source in sources:
        spill = files.enter_context(tempfile.TemporaryFile(dir=folder))  # noqa: SIM115  `files` closes it
        frames, n_read = [pl.DataFrame(schema=VARIANT_SCHEMA)], 0
        try:
            for chunk in source.chunks:
                spill.write(np.ascontiguousarray(chunk.packed_mB).data)
                frames.append(chunk.variants)
                n_read += chunk.variants.height
                if progress:
                    progress(source.file, n_read)
        except InputError as error:
            problems += error.problems
        spill.flush()
        facts = PartFacts(source.file, source.lines, pl.concat(frames, rechunk=True), source.tallies)
        parts.append(_Part(facts, spill))
    if problems:
        raise InputError(problems)
    return parts


def _batches(parts: Sequence[_Part]) -> list[list[_Part]]:
    part_of = {id(part.facts): part for part in parts}
    return [[part_of[id(facts)] for facts in batch] for batch in batches_of([part.facts for part in parts])]


def _write(folder: Path, parts: Sequence[_Part]) -> list[Notice]:
    """The table of one batch, row group after row group; statistics and reading run ahead of writing."""
    assembled = assemble([part.facts for part in parts])
    lines, size = parts[0].facts.lines, row_group_size(len(parts[0].facts.lines))
    start_P = np.cumsum([0, *(part.facts.variants.height for part in parts)])
    orders = [line_order(part.facts.lines, lines) for part in parts]

    def block(start: int) -> tuple[pl.DataFrame, np.ndarray]:
        rows_m = assembled.rows_M[start : start + size]
        packed_mB = np.empty((len(rows_m), packing.n_bytes(len(lines))), dtype=np.uint8)
        for part, order, first, last in zip(parts, orders, start_P, start_P[1:], strict=False):
            here = (rows_m >= first) & (rows_m < last)
            if here.any():
                read = part.read(rows_m[here] - first)
                packed_mB[here] = read if order is None else packing.take_lines(read, order)
        return described(assembled.variants[start : start + size], packed_mB, len(lines)), packed_mB

    varies: list[bool] = []

    def blocks() -> Iterator[tuple[pl.DataFrame, np.ndarray]]:
        for variants, packed_mB in in_order(block, range(0, len(assembled.rows_M), size)):
            varies.append(any_varies(variants))
            yield variants, packed_mB

    write_table(folder, lines, blocks(), table_facts(assembled.variants, lines))
    if not any(varies):
        raise InputError([monomorphic([part.facts for part in parts], assembled.variants.height)])
    return assembled.notices


def _merge(folder: Path, batches: Sequence[Sequence[_Part]]) -> list[Notice]:
    with tempfile.TemporaryDirectory(dir=folder) as apart:
        notices, tables = [], {}
        for number, parts in enumerate(batches):
            place = Path(apart) / str(number)
            notices += _write(place, parts)
            tables[parts[0].facts.file] = GenotypeTable.open(place)
        merged = merge_batches(tables)
        merged.table.save(folder)
    BATCH_REPORT.write(merge_report(merged), folder / BATCH_REPORT_FILE)
    return [*notices, *merge_notices(merged)]
