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
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl

from genomic_platform.errors import InputError, Notice, Problem, ProgramError
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.assembly import Assembled, PartFacts, assemble, mismatches, monomorphic
from genomic_platform.genotypes.parallel import in_order
from genomic_platform.genotypes.readers.part import AS_USUAL, VARIANT_SCHEMA, GenotypeSource, ReadOptions
from genomic_platform.genotypes.sources import find_sources, open_source
from genomic_platform.genotypes.table import GenotypeTable, described, table_facts
from genomic_platform.genotypes.table_file import row_group_size, write_table

#: Told how many variants have been read of which file.
Progress = Callable[[str, int], None]


def ingest(paths: Sequence[Path], out: Path, options: ReadOptions = AS_USUAL,
           progress: Progress | None = None) -> tuple[GenotypeTable, list[Notice]]:
    """Write the table of one batch: files with the same lines on different chromosomes (`batches.py` merges batches).

    Parameters
    ----------
    paths : see `sources.find_sources`.
    out : folder of the table, which must not exist yet; it appears whole or not at all.
    progress : called after every chunk.

    Returns
    -------
    The table, opened, and what was accepted on the way.

    Raises
    ------
    InputError : every problem of every file. ProgramError : `out` exists.
    """
    with new_folder(out) as folder, tempfile.TemporaryFile(dir=folder) as spilled:
        sources = _opened(paths, options)
        lines = sources[0].lines
        spill = _Spill(spilled, packing.n_bytes(len(lines)))
        parts = _spill_all(sources, spill, progress)
        assembled = assemble(parts)
        _write(folder, lines, assembled, spill, parts)
    return GenotypeTable.open(out), assembled.notices


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


class _Spill:
    """Packed calls in the order they came, in a file without a name."""

    def __init__(self, file: BinaryIO, n_bytes: int) -> None:
        self.file, self.n_bytes = file, n_bytes

    def append(self, packed_mB: np.ndarray) -> None:
        self.file.write(np.ascontiguousarray(packed_mB).data)

    def read(self, rows_m: np.ndarray) -> np.ndarray:
        """Calls at the given rows, uint8 (m, B); runs of neighbours in one read each."""
        packed_mB = np.empty((len(rows_m), self.n_bytes), dtype=np.uint8)
        ends = np.flatnonzero(np.diff(rows_m, append=-1) != 1) + 1
        for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
            os.preadv(self.file.fileno(), [packed_mB[start:end].data], int(rows_m[start]) * self.n_bytes)
        return packed_mB


def _opened(paths: Sequence[Path], options: ReadOptions) -> list[GenotypeSource]:
    found, problems = find_sources(paths)
    sources: list[GenotypeSource] = []
    for kind, path in found:
        try:
            sources.append(open_source(kind, path, options))
        except InputError as error:
            problems += error.problems
    problems += [p for source in sources[1:] for p in mismatches([_facts(sources[0]), _facts(source)])]
    if problems:
        raise InputError(problems)
    return sources


def _facts(source: GenotypeSource, variants: pl.DataFrame | None = None) -> PartFacts:
    read = pl.DataFrame(schema=VARIANT_SCHEMA) if variants is None else variants
    return PartFacts(source.file, source.lines, read, source.tallies)


def _spill_all(sources: Sequence[GenotypeSource], spill: _Spill, progress: Progress | None) -> list[PartFacts]:
    parts: list[PartFacts] = []
    problems: list[Problem] = []
    first = sources[0].lines
    for source in sources:
        rows_N = None if source.lines == first else np.array([source.lines.index(line) for line in first])
        frames, n_read = [pl.DataFrame(schema=VARIANT_SCHEMA)], 0
        try:
            for chunk in source.chunks:
                spill.append(chunk.packed_mB if rows_N is None else packing.take_lines(chunk.packed_mB, rows_N))
                frames.append(chunk.variants)
                n_read += chunk.variants.height
                if progress:
                    progress(source.file, n_read)
        except InputError as error:
            problems += error.problems
        parts.append(_facts(source, pl.concat(frames, rechunk=True)))
    spill.file.flush()
    problems = problems or mismatches(parts)
    if problems:
        raise InputError(problems)
    return parts


def _write(folder: Path, lines: tuple[str, ...], assembled: Assembled, spill: _Spill,
           parts: Sequence[PartFacts]) -> None:
    size, n_lines = row_group_size(len(lines)), len(lines)

    def block(start: int) -> tuple[pl.DataFrame, np.ndarray]:
        packed_mB = spill.read(assembled.rows_M[start : start + size])
        return described(assembled.variants[start : start + size], packed_mB, n_lines), packed_mB

    varying = False

    def blocks() -> Iterator[tuple[pl.DataFrame, np.ndarray]]:
        nonlocal varying
        for variants, packed_mB in in_order(block, range(0, len(assembled.rows_M), size)):
            varying = varying or not monomorphic(parts, variants)
            yield variants, packed_mB

    write_table(folder, lines, blocks(), table_facts(assembled.variants, n_lines))
    if not varying:
        nothing = pl.DataFrame({"alt_frequency": [0.0] * assembled.variants.height})
        raise InputError(monomorphic(parts, nothing))
