"""VCF text, plain or gzip or bgzip, into packed calls in one pass that checks every line and every call.

Only GT is read, the first allele of ALT is counted, records with several ALT alleles are left out and counted.
The pass is our own because a VCF library that meets an unreadable call prints to stderr and may end the process,
and because checking a call costs as much as decoding it. Reference: VCF 4.3 specification (samtools/hts-specs).
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import polars as pl

from genomic_platform.errors import InputError, Problem
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.readers.part import VARIANT_SCHEMA, GenotypePart, ProblemList, Tally, repeated_names

GZIP_MAGIC, VCF_MAGIC, BOM = b"\x1f\x8b", b"##fileformat=VCF", b"\xef\xbb\xbf"
_BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
_FIXED = 9  # columns before the first sample
_BLOCK_CELLS = 4_000_000

#: What a GT character adds: an allele, '.' (−8), anything else (64); a sum of two then says what the call is.
_ALLELE = np.full(256, 64, dtype=np.int8)
_ALLELE[list(b"01.")] = (0, 1, -8)
_SEPARATOR = np.isin(np.arange(256), list(b"/|"))
_END = np.isin(np.arange(256), list(b"\t:"))
_TAB, _DOT = 9, ord(".")


def read_vcf(path: Path) -> GenotypePart:
    """Calls of one VCF. Raises InputError with every problem of the file."""
    reader = _VcfReader(path)
    try:
        with closing(vcf_lines(path)) as lines:
            if reader.read_header(lines):
                reader.read_records(lines)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError([truncated(path, str(error)), *reader.problems.all()]) from error
    return reader.finish()


def vcf_lines(path: Path) -> Generator[tuple[int, bytes], None, None]:
    """Numbered lines without their end. Raises EOFError when a bgzip file lacks its end marker."""
    with open(path, "rb") as raw:
        head = raw.read(18)
        zipped = head.startswith(GZIP_MAGIC)
        if zipped and head[12:14] == b"BC":
            raw.seek(max(-len(_BGZF_END), -path.stat().st_size), 2)
            if raw.read() != _BGZF_END:
                raise EOFError("the end marker that bgzip writes is missing")
    with gzip.open(path, "rb") if zipped else open(path, "rb") as source:
        for number, line in enumerate(source, start=1):
            yield number, (line.removeprefix(BOM) if number == 1 else line).rstrip(b"\r\n")


def truncated(path: Path, why: str) -> Problem:
    """The problem of a compressed file that ends early or whose checksum fails."""
    return Problem(path.name, "a complete gzip or bgzip file", f"a truncated or damaged one ({why})",
                   "copy or download the file again, or compress it again from its source")


class _VcfReader:
    """State of one pass: problems and tallies, the records of the block being filled, blocks packed so far."""

    def __init__(self, path: Path) -> None:
        self.problems = ProblemList(path.name)
        self.multiallelic, self.half_calls = Tally(), Tally()
        self.lines: tuple[str, ...] = ()
        self.variants: list[pl.DataFrame] = []
        self.packed: list[np.ndarray] = []
        self.rows: list[tuple[str, str, int, str, str]] = []
        self.plain: list[tuple[int, int, bytes]] = []  # row in block, line number, GT columns of four bytes each
        self.other: list[tuple[int, int, bytes]] = []
        self.n_records = 0

    def read_header(self, lines: Iterator[tuple[int, bytes]]) -> bool:
        """Sample names from the #CHROM line; False when the file cannot be read any further."""
        for number, line in lines:
            if number == 1 and not line.startswith(VCF_MAGIC):
                break
            if line.startswith(b"##"):
                continue
            if not line.startswith(b"#CHROM"):
                break
            return self._samples(number, line)
        self.problems.add("header", expected="a VCF: ##fileformat=VCF…, then a #CHROM line before the records",
                          found="a file without that header", repair="give a VCF (.vcf, .vcf.gz) or a PLINK .bed file")
        return False

    def _samples(self, number: int, line: bytes) -> bool:
        columns = line.decode("utf-8", errors="replace").split("\t")
        self.lines = tuple(columns[_FIXED:])
        if not self.lines:
            self.problems.add("samples", line=number, field="#CHROM line", expected="FORMAT and then one column a line",
                              found=f"{len(columns)} columns without a sample",
                              repair="export the VCF with genotypes (not sites only)")
        if repeated := repeated_names(self.lines):
            shown = ", ".join(map(repr, repeated[:5]))
            self.problems.add("samples", line=number, field="sample name", expected="every sample name once",
                              found=f"given more than once: {shown} ({len(repeated)} names)",
                              repair="rename or drop the repeated samples (bcftools reheader -s, bcftools view -s)")
        if any(not name.strip() or "\ufffd" in name for name in self.lines):
            self.problems.add("samples", line=number, field="sample name", expected="names in UTF-8, none empty",
                              found="an empty name or one that is not UTF-8", repair="rename the samples")
        return bool(self.lines)

    def read_records(self, lines: Iterator[tuple[int, bytes]]) -> None:
        block = max(64, min(4096, _BLOCK_CELLS // len(self.lines)))
        for number, line in lines:
            if line:
                self.n_records += 1
                self._record(number, line.split(b"\t", _FIXED))
                if len(self.rows) >= block:
                    self._pack()
        self._pack()

    def _record(self, number: int, fields: list[bytes]) -> None:
        n_columns = len(fields) if len(fields) <= _FIXED else _FIXED + 1 + fields[_FIXED].count(b"\t")
        if n_columns != _FIXED + len(self.lines):
            self.problems.add("columns", line=number, expected=f"{_FIXED + len(self.lines)} tab-separated columns",
                              found=f"{n_columns} columns", repair="the line is cut or damaged: export the file again")
            return
        chromosome, position, name, ref, alt = (f.decode("utf-8", errors="replace") for f in fields[:5])
        form, calls = fields[8], fields[_FIXED]
        if not (position.isascii() and position.isdigit() and len(position) <= 12):
            self.problems.add("position", line=number, field="POS", expected="a whole number", found=repr(position),
                              repair="correct the position")
        if form != b"GT" and not form.startswith(b"GT:"):
            self.problems.add("format", line=number, field="FORMAT", expected="GT as the first FORMAT key",
                              found=repr(form.decode(errors="replace")), repair="export the VCF with GT (hard calls)")
        elif "," in alt:
            self.multiallelic.add(name if name != "." else f"{chromosome}:{position}")
        elif not self.problems:
            same_width = form == b"GT" and len(calls) == 4 * len(self.lines) - 1
            (self.plain if same_width else self.other).append((len(self.rows), number, calls))
            self.rows.append((name, chromosome, int(position), ref, alt))

    def _pack(self) -> None:
        dosage_MN = np.full((len(self.rows), len(self.lines)), packing.MISSING, dtype=np.int8)
        if self.plain:
            self._decode_plain(dosage_MN)
        for row, number, calls in self.other:
            dosage_MN[row] = self._decode_line(row, number, calls)
        self.variants.append(pl.DataFrame(self.rows, schema=VARIANT_SCHEMA, orient="row"))
        self.packed.append(packing.pack(dosage_MN))
        self.rows, self.plain, self.other = [], [], []

    def _decode_plain(self, dosage_MN: np.ndarray) -> None:
        text = b"".join(calls + b"\t" for _, _, calls in self.plain)
        chars_MN4 = np.frombuffer(text, dtype=np.uint8).reshape(len(self.plain), len(self.lines), 4)
        sum_MN = _ALLELE[chars_MN4[:, :, 0]] + _ALLELE[chars_MN4[:, :, 2]]
        regular_M = (_SEPARATOR[chars_MN4[:, :, 1]].all(axis=1) & (chars_MN4[:, :, 3] == _TAB).all(axis=1)
                     & (sum_MN <= 2).all(axis=1) & (sum_MN >= -16).all(axis=1))
        for i in np.flatnonzero(~regular_M):
            row, number, calls = self.plain[i]
            dosage_MN[row] = self._decode_line(row, number, calls)
        half_M = ((sum_MN < 0) & (sum_MN > -16)).sum(axis=1)
        rows_M = np.array([row for row, _, _ in self.plain])
        for i in np.flatnonzero(regular_M & (half_M > 0)):
            self.half_calls.add(self._variant_name(int(rows_M[i])), int(half_M[i]))
        dosage_MN[rows_M[regular_M]] = np.where(sum_MN < 0, packing.MISSING, sum_MN)[regular_M]

    def _decode_line(self, row: int, number: int, calls: bytes) -> np.ndarray:
        """One record whose calls differ in width or carry more than GT: int8 (N,)."""
        chars = np.frombuffer(calls + b"\t" * 4, dtype=np.uint8)
        start_N = np.concatenate([[0], np.flatnonzero(chars[: len(calls)] == _TAB) + 1])
        first_N, second_N, third_N, fourth_N = (chars[start_N + k] for k in range(4))
        sum_N = _ALLELE[first_N] + _ALLELE[third_N]
        diploid_N = _SEPARATOR[second_N] & _END[fourth_N] & (sum_N <= 2) & (sum_N >= -16)
        absent_N = (first_N == _DOT) & _END[second_N]
        if not (diploid_N | absent_N).all():
            self._refuse_call(number, calls, int(np.flatnonzero(~(diploid_N | absent_N))[0]))
        half = int((diploid_N & (sum_N < 0) & (sum_N > -16)).sum())
        if half:
            self.half_calls.add(self._variant_name(row), half)
        return np.where(diploid_N & (sum_N >= 0), sum_N, packing.MISSING).astype(np.int8)

    def _refuse_call(self, number: int, calls: bytes, sample: int) -> None:
        call = calls.split(b"\t")[sample].split(b":")[0].decode(errors="replace")
        alleles = call.replace("|", "/").split("/")
        where = {"line": number, "field": f"GT of {self.lines[sample]}", "found": repr(call)}
        if all(a == "." or a.isdigit() for a in alleles) and len(alleles) != 2:
            ploidy = "haploid" if len(alleles) == 1 else f"polyploid ({len(alleles)} alleles)"
            self.problems.add("ploidy", expected="a diploid call such as 0/1",
                              repair=f"only diploid genotypes are read; this call is {ploidy}: recode it as diploid, "
                                     "or leave the chromosome out", **where)
        else:
            self.problems.add("call", expected="two of the alleles 0, 1 or '.', as in 0/1",
                              repair="correct the call, or set it to ./.", **where)

    def _variant_name(self, row: int) -> str:
        name, chromosome, position, _, _ = self.rows[row]
        return name if name != "." else f"{chromosome}:{position}"

    def finish(self) -> GenotypePart:
        """The part, or InputError with every problem found."""
        if self.lines and self.n_records == 0:
            self.problems.add("empty", expected="at least one variant", found="a VCF without a record",
                              repair="export the VCF again; check region or filter options")
        if self.n_records and self.problems.count("format") == self.n_records:
            raise InputError([Problem(self.problems.file, "GT in FORMAT", "no record with GT",
                                      "export the VCF with hard genotype calls (GT)", field="FORMAT")])
        if self.problems:
            raise InputError(self.problems.all())
        if not self.multiallelic.count < self.n_records:
            raise InputError([Problem(self.problems.file, "at least one biallelic variant",
                                      f"{self.n_records:,} variants, all of them multi-allelic",
                                      "split them (bcftools norm -m-) or keep biallelic sites")])
        tallies = {"multiallelic": self.multiallelic, "half_calls": self.half_calls}
        return GenotypePart(self.problems.file, self.lines, pl.concat(self.variants), np.concatenate(self.packed),
                            tallies)
