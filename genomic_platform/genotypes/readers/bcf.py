"""BCF through htslib (cyvcf2), which reads VCF too: a second opinion on the fast path of `vcf.py`.

htslib prints to stderr, and may stop early without an error, when a file is damaged: the frame of every record is
walked first. A record without GT is read from DS, the expected ALT dosage. What calls mean belongs in `alleles.py`.
Reference: VCF 4.3 specification, section 6 (samtools/hts-specs).
"""

from __future__ import annotations

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
Row = tuple[str, str, int, str, list[str]]
_SCHEMA = VARIANT_SCHEMA | {"alt": pl.List(pl.String)}


def open_bcf(path: Path, options: ReadOptions = AS_USUAL) -> GenotypeSource:
    """Calls of one BCF. Raises InputError for a file that is cut or damaged, MissingExtra without cyvcf2."""
    try:
        header = _walk(path)
    except DAMAGED as error:
        raise InputError([truncated(path, str(error))]) from error
    names = header.rstrip("\n\x00").rpartition("\n")[2].split("\t")[9:]
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
    if "DS" not in keys:
        problems.add("format", field=f"FORMAT of {name}", expected="GT, or else DS", found=":".join(keys) or "empty",
                     repair="export the file with hard calls (GT)")
        return None
    if len(row[4]) > 1:
        tallies["multiallelic"].add(name)
        return None
    dosage_N, uncertain_N = whole_dosages(record.format("DS")[:, 0])
    if uncertain_N.any():
        tallies["uncertain"].add(name, int(uncertain_N.sum()))
    if dosage_N.max() > 2 or dosage_N.min() < MISSING:
        problems.add("dosage", field=f"DS of {name}", expected="a dosage from 0 to 2, of a diploid line",
                     found=str(dosage_N.max() if dosage_N.max() > 2 else dosage_N.min()),
                     repair=POLYPLOID_REPAIR)
        return None
    return np.where(dosage_N[:, None] < 0, MISSING, np.stack([dosage_N > 1, dosage_N > 0], axis=1))


def _stacked(alleles: list[np.ndarray]) -> np.ndarray:
    """Calls of several records, int16 (m, N, P) with P the highest ploidy of them."""
    ploidy = max(allele_NP.shape[1] for allele_NP in alleles)
    stacked_mNP = np.full((len(alleles), len(alleles[0]), ploidy), ABSENT, dtype=np.int16)
    for row, allele_NP in enumerate(alleles):
        stacked_mNP[row, :, : allele_NP.shape[1]] = allele_NP
    return stacked_mNP


def _walk(path: Path) -> str:
    """The header's text. Raises one of DAMAGED when blocks or records are cut, or a checksum fails."""
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
        number = 0
        while frame := source.read(8):
            number += 1
            size = sum(struct.unpack("<II", frame)) if len(frame) == 8 else 0
            if not _SMALLEST_RECORD <= size < _LARGEST_RECORD or len(source.read(size)) < size:
                raise EOFError(f"record {number:,} is cut or damaged")
    return header.decode("utf-8", errors="replace")


def _unreadable(path: Path, why: str) -> Problem:
    return Problem(path.name, "a VCF or BCF that htslib reads", f"one that it does not ({why})",
                   "write it again with bcftools view, from its source")
