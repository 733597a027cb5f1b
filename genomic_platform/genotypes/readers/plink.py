"""PLINK 1 binary genotypes: a .bed with its .bim and .fam beside it.

A1 of the .bim is the counted allele, so it becomes ALT and A2 REF; then the bytes of the .bed are packed calls as they
stand, and reading is a copy. PLINK text files (.ped, .map) are not read.
Reference: https://www.cog-genomics.org/plink/1.9/formats
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from genomic_platform.errors import InputError, Problem
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.readers.companions import check_lines, checked_variants, missing_companions, text_rows
from genomic_platform.genotypes.readers.part import (
    AS_USUAL,
    Chunk,
    GenotypeSource,
    ProblemList,
    ReadOptions,
)

BED_MAGIC = b"\x6c\x1b"
COMPANIONS = (".bim", ".fam")
_HEAD = 3  # bytes before the first variant
_CHUNK_BYTES = 1 << 24


def open_plink(bed: Path, options: ReadOptions = AS_USUAL) -> GenotypeSource:
    """Calls of one .bed; lines are the within-family ids (IID).

    Raises
    ------
    InputError : every problem of the three files.
    """
    bim, fam = (bed.with_suffix(suffix) for suffix in COMPANIONS)
    if problems := missing_companions([bim, fam], bed):
        raise InputError(problems + _magic_problems(bed))
    variants, bim_problems = read_bim(bim)
    lines, fam_problems = read_fam(fam)
    problems = bim_problems + fam_problems + _magic_problems(bed)
    if problems or (problems := _size_problems(bed, len(lines), variants.height)):
        raise InputError(problems)
    return GenotypeSource(bed.name, lines, _chunks(bed, len(lines), variants))


def _chunks(bed: Path, n_lines: int, variants: pl.DataFrame) -> Iterator[Chunk]:
    width = packing.n_bytes(n_lines)
    size = max(1, _CHUNK_BYTES // width)
    for start in range(0, variants.height, size):
        part = variants[start : start + size]
        packed = np.fromfile(bed, dtype=np.uint8, count=part.height * width, offset=_HEAD + start * width)
        yield Chunk(part, packing.clear_padding(packed.reshape(-1, width), n_lines))


def read_bed(bed: Path | str) -> np.ndarray:
    """Calls of a .bed in memory: int8 (M, N), dosages of A1, −1 missing, a row a variant as in the file.

    Raises InputError with every problem of the .bed, .bim and .fam.
    """
    source = open_plink(Path(bed))
    chunks = list(source.chunks)
    words_MB = np.empty((sum(len(c.packed_mB) for c in chunks), packing.n_bytes(len(source.lines))), dtype="<u4")
    start = 0
    for chunk in chunks:
        packing.unpack_into(chunk.packed_mB, words_MB[start : start + len(chunk.packed_mB)])
        start += len(chunk.packed_mB)
    return words_MB.view(np.int8)[:, : len(source.lines)]


def _magic_problems(bed: Path) -> list[Problem]:
    with open(bed, "rb") as source:
        head = source.read(_HEAD)
    if head == BED_MAGIC + b"\x01":
        return []
    found = "one line after another (individual-major)" if head == BED_MAGIC + b"\x00" else f"bytes {head.hex(' ')}"
    return [Problem(bed.name, "a PLINK 1 .bed: bytes 6c 1b 01, one variant after another", found,
                    "write it again with plink --make-bed")]


def _size_problems(bed: Path, n_lines: int, n_variants: int) -> list[Problem]:
    expected, found = _HEAD + n_variants * packing.n_bytes(n_lines), bed.stat().st_size
    if expected == found:
        return []
    return [Problem(bed.name, f"{expected:,} bytes for {n_lines:,} lines × {n_variants:,} variants",
                    f"{found:,} bytes", "copy the file again, or give the .bim and .fam that belong to it")]


def read_bim(path: Path) -> tuple[pl.DataFrame, list[Problem]]:
    """VARIANT_SCHEMA of a .bim, and what is wrong with it."""
    problems = ProblemList(path.name)
    rows = text_rows(path.read_bytes().removeprefix(codecs.BOM_UTF8),
                     ["chromosome", "variant_id", "centimorgan", "position", "alt", "ref"], problems,
                     layout="chromosome, id, cM, position, A1, A2")
    named = rows.with_columns(pl.col("ref", "alt").replace("0", "."))  # PLINK's sign for an allele nobody carries
    return checked_variants(named, problems), problems.all()


def read_fam(path: Path) -> tuple[tuple[str, ...], list[Problem]]:
    """Line names of a .fam, and what is wrong with it."""
    problems = ProblemList(path.name)
    rows = text_rows(path.read_bytes().removeprefix(codecs.BOM_UTF8),
                     ["family", "line_id", "father", "mother", "sex", "phenotype"], problems,
                     layout="family, line, father, mother, sex, phenotype")
    lines = tuple(rows["line_id"])
    check_lines(lines, "second column", problems)
    return lines, problems.all()
