"""PLINK 2 genotypes: a .pgen with its .pvar (or .pvar.zst) and .psam (or PLINK 1's .bim, .fam), through pgenlib.

Hard calls are read, phase is dropped, dosages count ALT. Reference: https://github.com/chrchang/plink-ng (2.0/Python,
pgen_spec); .pvar and .psam: https://www.cog-genomics.org/plink/2.0/formats
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from genomic_platform.errors import InputError, MissingExtra, Problem
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.readers.alleles import biallelic
from genomic_platform.genotypes.readers.companions import check_lines, checked_variants, missing_companions, text_rows
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
from genomic_platform.genotypes.readers.plink import read_bim, read_fam

if TYPE_CHECKING:
    from pgenlib import PgenReader

PGEN_MAGIC = b"\x6c\x1b"
_CHUNK_CELLS = 16_000_000
_PVAR_COLUMNS = {"chromosome": "#CHROM", "variant_id": "ID", "position": "POS", "ref": "REF", "alt": "ALT"}


def open_pgen(pgen: Path, options: ReadOptions = AS_USUAL) -> GenotypeSource:
    """Calls of one .pgen; lines are the IIDs. Raises InputError with every problem of its files, MissingExtra without
    pgenlib."""
    try:
        from pgenlib import PgenReader
    except ImportError as error:
        raise MissingExtra("PLINK 2 files need the package pgenlib; "
                           "repair: pip install 'genomic-platform[genotypes]'") from error
    pvar, psam = _beside(pgen, ".pvar", ".pvar.zst", ".bim"), _beside(pgen, ".psam", ".fam")
    if problems := missing_companions([pvar, psam], pgen):
        raise InputError(problems)
    variants, pvar_problems = read_bim(pvar) if pvar.suffix == ".bim" else _read_pvar(pvar)
    lines, psam_problems = read_fam(psam) if psam.suffix == ".fam" else _read_psam(psam)
    problems = pvar_problems + psam_problems
    variants = variants.with_columns(pl.col("alt").str.split(","))
    if problems or (problems := _head_problems(pgen, len(lines), variants.height)):
        raise InputError(problems)
    tallies = {"multiallelic": Tally()}
    kept, counted_k = biallelic(variants, options, tallies["multiallelic"])
    offsets = np.concatenate([[0], np.cumsum(variants["alt"].list.len().to_numpy() + 1)]).astype(np.uintp)
    try:
        source = PgenReader(str(pgen).encode(), len(lines), variants.height, None, offsets)
    except RuntimeError as error:
        raise InputError([_unreadable(pgen, str(error))]) from error
    return GenotypeSource(pgen.name, lines, _chunks(pgen, source, len(lines), kept, counted_k), tallies)


def _chunks(pgen: Path, source: PgenReader, n_lines: int, kept: pl.DataFrame, counted_k: np.ndarray) -> Iterator[Chunk]:
    if not kept.height:
        raise InputError([Problem(pgen.name, "at least one biallelic variant", "multi-allelic ones alone",
                                  "split them, or keep biallelic sites")])
    row_k = kept["row"].to_numpy().astype(np.uint32)
    size = max(1, _CHUNK_CELLS // n_lines)
    for start in range(0, kept.height, size):
        part = slice(start, start + size)
        dosage_kN = np.empty((len(row_k[part]), n_lines), dtype=np.int8)
        try:
            source.read_list(row_k[part], dosage_kN)
            for k in np.flatnonzero(counted_k[part] > 1):
                source.read(row_k[start + k], dosage_kN[k], counted_k[start + k])
        except RuntimeError as error:
            raise InputError([_unreadable(pgen, str(error))]) from error
        dosage_kN[dosage_kN < 0] = packing.MISSING
        yield Chunk(kept[part].drop("row"), packing.pack(dosage_kN))


def _beside(pgen: Path, *suffixes: str) -> Path:
    """The first file there is, else the one that is expected."""
    return next((path for path in map(pgen.with_suffix, suffixes) if path.is_file()), pgen.with_suffix(suffixes[0]))


def _read_pvar(path: Path) -> tuple[pl.DataFrame, list[Problem]]:
    """Variants of a .pvar, alleles of ALT joined by commas, and what is wrong with it."""
    problems = ProblemList(path.name)
    header, first_line, body = _after_comments(_inflated(path))
    if wrong := _columns_at_fault(header, _PVAR_COLUMNS.values()):
        problems.add("header", expected="a line #CHROM POS ID REF ALT …", found=f"a header {wrong}",
                     repair="write the files again with plink2 --make-pgen", line=first_line)
        return pl.DataFrame(schema=VARIANT_SCHEMA), problems.all()
    last = max(header.index(name) for name in _PVAR_COLUMNS.values()) + 1
    rows = text_rows(body, header[:last], problems, layout=" ".join(header), first_line=first_line + 1,
                     more=last < len(header))
    rows = rows.rename({name: column for column, name in _PVAR_COLUMNS.items()})
    return checked_variants(rows, problems), problems.all()


def _read_psam(path: Path) -> tuple[tuple[str, ...], list[Problem]]:
    problems = ProblemList(path.name)
    header, first_line, body = _after_comments(path.read_bytes().removeprefix(codecs.BOM_UTF8))
    names = [name.removeprefix("#") for name in header]
    if wrong := _columns_at_fault(names, ["IID"]):
        problems.add("header", expected="a line #IID … or #FID IID …", found=f"a header {wrong}", line=first_line,
                     repair="write the files again with plink2 --make-pgen")
        return (), problems.all()
    width = names.index("IID") + 1
    rows = text_rows(body, names[:width], problems, layout=" ".join(header), first_line=first_line + 1,
                     more=width < len(names))
    lines = tuple(rows["IID"])
    check_lines(lines, "IID", problems)
    return lines, problems.all()


def _columns_at_fault(header: Sequence[str], needed: Iterable[str]) -> str:
    if absent := [name for name in needed if name not in header]:
        return f"without {', '.join(absent)}"
    twice = repeated_names(header)
    return f"with {', '.join(twice)} more than once" if twice else ""


def _inflated(path: Path) -> bytes:
    if path.suffix != ".zst":
        return path.read_bytes().removeprefix(codecs.BOM_UTF8)
    import pyarrow as pa

    try:
        with pa.input_stream(str(path), compression="zstd") as source:
            return source.read()
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError([Problem(path.name, "a complete zstd file", f"a truncated or damaged one ({error})",
                                  "copy the file again, or write it again with plink2")]) from error


def _after_comments(text: bytes) -> tuple[list[str], int, bytes]:
    """Fields of the header line (empty when it does not start with #), its number, and the text behind it."""
    number, start = 1, 0
    while text.startswith(b"##", start):
        start = (text.find(b"\n", start) + 1) or len(text)
        number += 1
    end = text.find(b"\n", start)
    line = text[start : end if end >= 0 else None]
    fields = line.decode("utf-8", errors="replace").split() if line.startswith(b"#") else []
    return fields, number, text[end + 1 :] if end >= 0 else b""


def _head_problems(pgen: Path, n_lines: int, n_variants: int) -> list[Problem]:
    with open(pgen, "rb") as source:
        head = source.read(11)
    if not head.startswith(PGEN_MAGIC) or len(head) < 11 or head[2] < 2:
        return [Problem(pgen.name, "a PLINK 2 .pgen: bytes 6c 1b and a storage mode from 02",
                        f"bytes {head[:3].hex(' ')}", "write it again with plink2 --make-pgen")]
    found = int.from_bytes(head[7:11], "little"), int.from_bytes(head[3:7], "little")
    if found == (n_lines, n_variants):
        return []
    return [Problem(pgen.name, f"{n_lines:,} lines × {n_variants:,} variants, as .psam and .pvar say",
                    f"{found[0]:,} lines × {found[1]:,} variants", "give the .pvar and .psam that belong to it")]


def _unreadable(pgen: Path, why: str) -> Problem:
    return Problem(pgen.name, "a complete .pgen", f"one that pgenlib cannot read ({why})",
                   "copy the file again, or write it again with plink2 --make-pgen")
