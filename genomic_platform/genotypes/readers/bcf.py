"""BCF through htslib (cyvcf2), which reads VCF too: a second opinion on the fast path of `vcf.py`.

htslib prints to stderr, and may stop early without an error, when a file is damaged: the frame of every record is
walked first. A record without GT is read from DS, the expected ALT dosage. What calls mean belongs in `alleles.py`.
Reference: VCF 4.3 specification, section 6 (samtools/hts-specs).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np
import polars as pl

from genomic_platform.errors import InputError, MissingExtra, Problem
from genomic_platform.genotypes.bgzf import BGZF_END
from genomic_platform.genotypes.readers.alleles import (
    ABSENT,
    MISSING,
    POLYPLOID_REPAIR,
    chunk_of_alleles,
    new_tallies,
    variant_names,
    whole_dosages,
)
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
from genomic_platform.genotypes.readers.text import DAMAGED, GZIP_MAGIC, truncated

if TYPE_CHECKING:
    from cyvcf2 import VCF, Variant

BCF_MAGIC = b"BCF\x02"
_CHUNK_CELLS, _CHUNK_RECORDS = 2_000_000, 4096
_SMALLEST_RECORD, _LARGEST_RECORD = 24, 1 << 31  # bytes
_NO_INTEGER = -(1 << 31)  # htslib's sign for a missing one
_WIDTH = {1: 1, 2: 2, 3: 4, 5: 4, 7: 1}  # bytes of a value, by its type
_GT = re.compile(r"##FORMAT=<ID=GT,[^\n]*IDX=(\d+)")
Row = tuple[str, str, int, str, list[str]]
_SCHEMA = VARIANT_SCHEMA | {"alt": pl.List(pl.String)}


def open_bcf(path: Path, options: ReadOptions = AS_USUAL) -> GenotypeSource:
    """Calls of one BCF. Raises InputError for a file that is cut or damaged, MissingExtra without cyvcf2."""
    try:
        names = _walk(path)
    except DAMAGED as error:
        raise InputError([truncated(path, str(error))]) from error
    if repeated := repeated_names(names):
        raise InputError([Problem(path.name, "every sample name once", f"given more than once: "
                                  f"{', '.join(map(repr, repeated[:5]))} ({len(repeated)} names)",
                                  "rename or drop the repeated samples (bcftools reheader -s)", field="sample name")])
    return open_with_cyvcf2(path, options)


def open_with_cyvcf2(path: Path, options: ReadOptions = AS_USUAL) -> GenotypeSource:
    """Calls of one VCF or BCF as htslib reads them. Raises InputError, MissingExtra without cyvcf2."""
    try:
        from cyvcf2 import VCF
    except ImportError as error:
        raise MissingExtra("BCF files need the package cyvcf2; "
                           "repair: pip install 'genomic-platform[genotypes]'") from error
    try:
        source = VCF(str(path))
        lines = tuple(source.samples)
    except Exception as error:  # OSError, or a bare Exception, depending on what htslib refuses
        raise InputError([_unreadable(path, str(error))]) from error
    if not lines:
        raise InputError([Problem(path.name, "one sample a line", "no sample", "export the file with genotypes")])
    return GenotypeSource(path.name, lines, *_stream(path, source, lines, options))


def _stream(path: Path, source: VCF, lines: tuple[str, ...],
            options: ReadOptions) -> tuple[Iterator[Chunk], dict[str, Tally]]:
    tallies, problems = new_tallies(), ProblemList(path.name)

    def chunks() -> Iterator[Chunk]:
        size, n_variants = max(1, min(_CHUNK_RECORDS, _CHUNK_CELLS // len(lines))), 0
        records = _records(path, source)
        while batch := list(islice(records, size)):
            found = [(row, alleles) for record, row in batch
                     if (alleles := _alleles(record, row, tallies, problems)) is not None]
            if found:
                variants = pl.DataFrame([row for row, _ in found], schema=_SCHEMA, orient="row")
                chunk = chunk_of_alleles(variants, _stacked([a for _, a in found]), lines, options, tallies, problems)
                n_variants += chunk.variants.height
                yield chunk
        if n_variants == 0 and not problems:
            problems.add("empty", expected="at least one biallelic variant", found="none",
                         repair="export the file again, multi-allelic variants split (bcftools norm -m-)")
        if problems:
            raise InputError(problems.all())

    return chunks(), tallies


def _records(path: Path, source: VCF) -> Iterator[tuple[Variant, Row]]:
    try:
        for record in source:
            yield record, (record.ID or ".", record.CHROM, record.POS, record.REF, record.ALT or ["."])
    except Exception as error:  # cyvcf2 raises nothing more precise
        raise InputError([_unreadable(path, str(error))]) from error


def _alleles(record: Variant, row: Row, tallies: dict[str, Tally],
             problems: ProblemList) -> np.ndarray | None:
    """Alleles of one record, integers (N, P), from GT or else from DS; None when it is left out or a problem."""
    keys = record.FORMAT
    if "GT" in keys:
        return record.genotype.array()[:, :-1]  # the last column says whether the call is phased
    name = variant_names(pl.DataFrame([row], schema=_SCHEMA, orient="row"))[0]
    values_NK = record.format("DS") if "DS" in keys else None
    if values_NK is None or values_NK.dtype.kind not in "fi":
        problems.add("format", field=f"FORMAT of {name}", expected="GT, or else DS, a number",
                     found=f"{':'.join(keys) or 'empty'}{' as text' * ('DS' in keys)}",
                     repair="export the file with hard calls (GT)")
        return None
    if len(row[4]) > 1:
        tallies["multiallelic"].add(name)
        return None
    value_N = np.where(values_NK[:, 0] == _NO_INTEGER, np.nan, values_NK[:, 0])
    dosage_N, uncertain_N = whole_dosages(value_N)
    if uncertain_N.any():
        tallies["uncertain"].add(name, int(uncertain_N.sum()))
    wrong_N = (dosage_N > 2) | (dosage_N < MISSING)
    if wrong_N.any():
        problems.add("dosage", field=f"DS of {name}", expected="a dosage from 0 to 2, of a diploid line",
                     found=f"{value_N[wrong_N][0]:g}", repair=POLYPLOID_REPAIR)
        return None
    return np.where(dosage_N[:, None] < 0, MISSING, np.stack([dosage_N > 1, dosage_N > 0], axis=1))


def _stacked(alleles: list[np.ndarray]) -> np.ndarray:
    """Calls of several records, int16 (m, N, P) with P the highest ploidy of them."""
    ploidy = max(allele_NP.shape[1] for allele_NP in alleles)
    stacked_mNP = np.full((len(alleles), len(alleles[0]), ploidy), ABSENT, dtype=np.int16)
    for row, allele_NP in enumerate(alleles):
        stacked_mNP[row, :, : allele_NP.shape[1]] = allele_NP
    return stacked_mNP


def _walk(path: Path) -> list[str]:
    """The samples' names. Raises one of DAMAGED when blocks or records are cut or damaged, or a checksum fails."""
    from isal import igzip

    with open(path, "rb") as raw:
        zipped = raw.read(2) == GZIP_MAGIC
        raw.seek(max(-len(BGZF_END), -path.stat().st_size), 2)
        if zipped and raw.read() != BGZF_END:
            raise EOFError("the end marker that bgzip writes is missing")
    with cast("BinaryIO", igzip.open(path, "rb")) if zipped else open(path, "rb") as source:
        head = source.read(9)
        size = struct.unpack("<I", head[5:])[0] if len(head) == 9 else 0
        header = source.read(size)
        if not head.startswith(BCF_MAGIC) or not size or len(header) < size:
            raise EOFError("the header is cut, or no BCF 2 header")
        text = header.decode("utf-8", errors="replace").rstrip("\n\x00")
        names, gt = text.rpartition("\n")[2].split("\t")[9:], _GT.search(text)
        number = 0
        while frame := source.read(8):
            number += 1
            sizes = struct.unpack("<II", frame) if len(frame) == 8 else (0, 0)
            record = source.read(sum(sizes)) if _SMALLEST_RECORD <= sum(sizes) < _LARGEST_RECORD else b""
            if not record or len(record) < sum(sizes) or not _sound(record, sizes[0], len(names), gt and int(gt[1])):
                raise EOFError(f"record {number:,} is cut or damaged")
    return names


def _sound(record: bytes, calls: int, n_lines: int, gt: int | None) -> bool:
    """What htslib does not check, or ends the process over: position, number of lines, how values are stored.

    Parameters
    ----------
    calls : where the values of the lines begin.
    gt : number of the key GT, None where the header does not say.
    """
    position, n_lines_and_keys = struct.unpack_from("<i12xI", record, 4)
    if position < -1 or n_lines_and_keys & 0xFFFFFF != n_lines:
        return False
    try:
        for _ in range(n_lines_and_keys >> 24):
            key, at = _number(record, calls)
            kind, n = record[at] & 15, record[at] >> 4
            n, at = _number(record, at + 1) if n == 15 else (n, at + 1)
            if key == gt and not (n and kind in (1, 2, 3)):
                return False
            calls = at + n * _WIDTH[kind] * n_lines
    except (IndexError, KeyError):
        return False
    return calls <= len(record)


def _number(record: bytes, at: int) -> tuple[int, int]:
    """A number with its type before it, and where it ends."""
    end = at + 1 + _WIDTH[record[at] & 15]
    return int.from_bytes(record[at + 1 : end], "little"), end


def _unreadable(path: Path, why: str) -> Problem:
    return Problem(path.name, "a VCF or BCF that htslib reads", f"one that it does not ({why})",
                   "write it again with bcftools view, from its source")
