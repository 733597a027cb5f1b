"""PLINK 1 binary genotypes: a .bed with its .bim and .fam beside it, into packed calls.

A1 of the .bim is the counted allele, so it becomes ALT and A2 REF. The text companions are checked here line by line;
the calls come through bed-reader, a block of variants at a time. PLINK text files (.ped, .map) are not read.
Reference: https://www.cog-genomics.org/plink/1.9/formats
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from genomic_platform.errors import InputError, Problem
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.readers.part import VARIANT_SCHEMA, GenotypePart, ProblemList, repeated_names

BED_MAGIC = b"\x6c\x1b"
COMPANIONS = (".bim", ".fam")
_BLOCK_CELLS = 16_000_000


def read_plink(bed: Path) -> GenotypePart:
    """Calls of one .bed; lines are the within-family ids (IID). Raises InputError with every problem of its files."""
    siblings = [bed.with_suffix(suffix) for suffix in COMPANIONS]
    problems = [Problem(path.name, f"a file beside {bed.name}", "no such file or an empty one",
                        f"put {path.name} into the same folder as {bed.name}")
                for path in siblings if not path.is_file() or path.stat().st_size == 0]
    if problems:
        raise InputError(problems + _magic_problems(bed))
    variants, bim_problems = _read_bim(siblings[0])
    lines, fam_problems = _read_fam(siblings[1])
    problems = bim_problems + fam_problems + _magic_problems(bed)
    if not problems:
        problems = _size_problems(bed, len(lines), variants.height)
    if problems:
        raise InputError(problems)
    return GenotypePart(bed.name, lines, variants, _packed_calls(bed, len(lines), variants.height), {})


def _packed_calls(bed: Path, n_lines: int, n_variants: int) -> np.ndarray:
    from bed_reader import open_bed

    packed_MB = np.empty((n_variants, packing.n_bytes(n_lines)), dtype=np.uint8)
    size = max(1, _BLOCK_CELLS // n_lines)
    with open_bed(bed, iid_count=n_lines, sid_count=n_variants, count_A1=True, num_threads=1) as source:
        for start in range(0, n_variants, size):
            dosage_NM = source.read(np.s_[:, start : start + size], dtype="int8", order="F")
            dosage_NM[dosage_NM < 0] = packing.MISSING
            packed_MB[start : start + size] = packing.pack(np.ascontiguousarray(dosage_NM.T))
    return packed_MB


def _magic_problems(bed: Path) -> list[Problem]:
    with open(bed, "rb") as source:
        head = source.read(3)
    if head == BED_MAGIC + b"\x01":
        return []
    found = "one line after another (individual-major)" if head == BED_MAGIC + b"\x00" else f"bytes {head.hex(' ')}"
    return [Problem(bed.name, "a PLINK 1 .bed: bytes 6c 1b 01, one variant after another", found,
                    "write it again with plink --make-bed")]


def _size_problems(bed: Path, n_lines: int, n_variants: int) -> list[Problem]:
    expected, found = 3 + n_variants * packing.n_bytes(n_lines), bed.stat().st_size
    if expected == found:
        return []
    return [Problem(bed.name, f"{expected:,} bytes for {n_lines:,} lines × {n_variants:,} variants",
                    f"{found:,} bytes", "copy the file again, or give the .bim and .fam that belong to it")]


def _rows(path: Path, n_columns: int, layout: str) -> tuple[list[list[str]], ProblemList]:
    """Whitespace-separated rows of the right width; other rows are problems."""
    problems, rows = ProblemList(path.name), []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        fields = line.split()
        if len(fields) == n_columns:
            rows.append(fields)
        else:
            problems.add("columns", line=number, expected=f"{n_columns} columns ({layout})",
                         found=f"{len(fields)} columns", repair=f"write the {path.suffix} file again with plink")
    return rows, problems


def _read_bim(path: Path) -> tuple[pl.DataFrame, list[Problem]]:
    rows, problems = _rows(path, 6, "chromosome, id, cM, position, A1, A2")
    named = {"0": "."}  # PLINK's sign for an allele nobody carries
    variants = []
    for number, (chromosome, name, _, position, a1, a2) in enumerate(rows, start=1):
        if position.isascii() and position.isdigit() and len(position) <= 12:
            variants.append((name, chromosome, int(position), named.get(a2, a2), named.get(a1, a1)))
        else:
            problems.add("position", line=number, field="position", expected="a whole number", found=repr(position),
                         repair="correct the position")
    return pl.DataFrame(variants, schema=VARIANT_SCHEMA, orient="row"), problems.all()


def _read_fam(path: Path) -> tuple[tuple[str, ...], list[Problem]]:
    rows, problems = _rows(path, 6, "family, line, father, mother, sex, phenotype")
    lines = tuple(fields[1] for fields in rows)
    if repeated := repeated_names(lines):
        problems.add("lines", field="line (second column)", expected="every line once",
                     found=f"given more than once: {', '.join(map(repr, repeated[:5]))} ({len(repeated)} names)",
                     repair="rename or drop the repeated lines")
    return lines, problems.all()
