"""VCF text, plain or gzip or bgzip, into packed calls in one pass that checks every line and every call.

Only GT is read, dosages count ALT. The pass is our own because a VCF library that meets an unreadable call prints to
stderr and may end the process, and because checking a call costs as much as decoding it: the loops are in
`vcf_kernels.py`; here is what they found in words. Reference: VCF 4.3 specification (samtools/hts-specs).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import polars as pl

from genomic_platform.errors import InputError, Problem
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
from genomic_platform.genotypes.readers.text import DAMAGED, line_blocks, truncated

VCF_MAGIC = b"##fileformat=VCF"
_FIXED = 9  # columns before the first sample
_LINE = ord("\n")
_LAST_POSITION = 2**31 - 1  # of the specification


def open_vcf(path: Path, options: ReadOptions = AS_USUAL) -> GenotypeSource:
    """A VCF, its header read. Raises InputError for a wrong header, at the end of its chunks for everything else."""
    reader = _VcfReader(path, options)
    blocks = line_blocks(path)
    try:
        rest = reader.read_header(blocks)
    except DAMAGED as error:
        raise InputError([truncated(path, str(error)), *reader.problems.all()]) from error
    return GenotypeSource(path.name, reader.lines, reader.chunks(chain([rest], blocks)), reader.tallies)


class _VcfReader:
    """State of one pass: problems and tallies, how many lines and records are behind."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self.path, self.options = path, options
        self.problems = ProblemList(path.name)
        self.tallies = {code: Tally() for code in ("multiallelic", "half_calls", "haploid")}
        self.lines: tuple[str, ...] = ()
        self.n_lines_read = self.n_records = self.n_variants = 0

    def read_header(self, blocks: Iterator[np.ndarray]) -> np.ndarray:
        """Sample names from the #CHROM line; what follows it in its block."""
        for text in blocks:
            block, start = text.tobytes(), 0
            while start < len(block):
                end = block.index(b"\n", start)
                line = block[start:end].rstrip(b"\r")
                start = end + 1
                self.n_lines_read += 1
                if self.n_lines_read == 1 and not line.startswith(VCF_MAGIC):
                    raise self._no_header()
                if line.startswith(b"#CHROM"):
                    self._samples(line)
                    return text[start:]
                if not line.startswith(b"##"):
                    raise self._no_header()
        raise self._no_header()

    def _no_header(self) -> InputError:
        return InputError([Problem(self.path.name, "a VCF: ##fileformat=VCF…, then a #CHROM line before the records",
                                   "a file without that header", "give a VCF (.vcf, .vcf.gz) or a PLINK .bed file")])

    def _samples(self, line: bytes) -> None:
        columns = line.decode("utf-8", errors="replace").split("\t")
        self.lines = tuple(columns[_FIXED:])
        where = {"line": self.n_lines_read}
        if not self.lines:
            self.problems.add("samples", **where, field="#CHROM line", expected="FORMAT and then one column a line",
                              found=f"{len(columns)} columns without a sample",
                              repair="export the VCF with genotypes (not sites only)")
        if repeated := repeated_names(self.lines):
            shown = ", ".join(map(repr, repeated[:5]))
            self.problems.add("samples", **where, field="sample name", expected="every sample name once",
                              found=f"given more than once: {shown} ({len(repeated)} names)",
                              repair="rename or drop the repeated samples (bcftools reheader -s, bcftools view -s)")
        if any(not name.strip(" ") or "\ufffd" in name for name in self.lines):
            self.problems.add("samples", **where, field="sample name", expected="names in UTF-8, none empty",
                              found="an empty name or one that is not UTF-8", repair="rename the samples")
        if not self.lines:
            raise InputError(self.problems.all())

    def chunks(self, blocks: Iterator[np.ndarray]) -> Iterator[Chunk]:
        """The calls, a block of text at a time; InputError with every problem at the end."""
        try:
            for text in blocks:
                if len(text):
                    chunk = self._chunk(text)
                    if chunk.variants.height:
                        self.n_variants += chunk.variants.height
                        yield chunk
        except DAMAGED as error:
            raise InputError([truncated(self.path, str(error)), *self.problems.all()]) from error
        self._finish()

    def _chunk(self, text: np.ndarray, most: int = 0) -> Chunk:
        """The calls of a block of whole lines; `most` records are in it (0: as many as well-formed ones can be)."""
        from genomic_platform.genotypes.readers import vcf_kernels as kernels

        most = most or len(text) // (2 * (_FIXED + len(self.lines))) + 1
        fields_RF = np.empty((most, kernels.N_FIELDS + 1), dtype=np.int64)
        position_R = np.empty(most, dtype=np.int64)
        record_RK = np.empty((most, 8), dtype=np.int64)
        packed_RB = np.empty((most, packing.n_bytes(len(self.lines))), dtype=np.uint8)
        n, n_lines = kernels.scan(text, len(self.lines), fields_RF, position_R, record_RK, packed_RB)
        if n < 0:  # lines that are cut: more of them than whole ones would be
            return self._chunk(text, int(np.count_nonzero(text == _LINE)))
        record_RK, fields_RF, position_R = record_RK[:n], fields_RF[:n], position_R[:n]
        status_R = record_RK[:, kernels.STATUS]
        self.n_records += n
        packed_R = (status_R == kernels.PACKED) & (position_R >= 0) & ~_lacking(fields_RF)
        position_R[position_R > _LAST_POSITION] = -1
        packed_R &= position_R >= 0
        usual = slice(None) if packed_R.all() else packed_R
        chunk = Chunk(_variants(text, fields_RF[usual], position_R[usual]), packed_RB[:n][usual])
        special_R = ~packed_R | (record_RK[:, kernels.HALF] > 0) | (record_RK[:, kernels.HAPLOID] > 0)
        split = {int(r): alleles for r in np.flatnonzero(special_R)
                 if (alleles := self._special(text, fields_RF[r], int(position_R[r]), record_RK[r])) is not None}
        self.n_lines_read += n_lines
        return _put_in(chunk, np.flatnonzero(packed_R), split) if split else chunk

    def _special(self, text: np.ndarray, field_F: np.ndarray, position: int, record_K: np.ndarray) -> Chunk | None:
        """A record that is not simply packed: counted, said as a problem, or split into the chunk returned."""
        from genomic_platform.genotypes.readers import vcf_kernels as kernels

        status, line = int(record_K[kernels.STATUS]), self.n_lines_read + int(record_K[kernels.LINE]) + 1
        if status == kernels.COLUMNS:
            self.problems.add("columns", line=line, expected=f"{_FIXED + len(self.lines)} tab-separated columns",
                              found=f"{record_K[kernels.N_COLUMNS]} columns",
                              repair="the line is cut or damaged: export the file again")
            return None
        fields = text[field_F[0] : field_F[_FIXED] - 1].tobytes().decode("utf-8", errors="replace").split("\t")
        chromosome, written, name, ref, alt = fields[:5]
        shown = name if name != "." else f"{chromosome}:{written}"
        for field, found in (("CHROM", chromosome), ("REF", ref), ("ALT", alt)):
            if not found:
                self.problems.add("empty field", line=line, field=field, expected="text", found="empty",
                                  repair="write what is missing, '.' for no ALT")
        if position < 0:
            self.problems.add("position", line=line, field="POS", expected="a whole number below 2,147,483,648",
                              found=repr(written), repair="correct the position")
        if status == kernels.FORMAT:
            self.problems.add("format", line=line, field="FORMAT", expected="GT as the first FORMAT key",
                              found=repr(fields[8]), repair="export the VCF with GT (hard calls)")
        elif status in (kernels.PLOIDY, kernels.CALL):
            self._refuse_call(line, text, record_K)
        elif status == kernels.PACKED:
            self._tally(shown, record_K)
        elif self.options.multiallelic == "drop":
            self.tallies["multiallelic"].add(shown)
        elif position >= 0:
            rows = [(name, chromosome, position, ref, allele) for allele in alt.split(",")]
            return self._split(text, pl.DataFrame(rows, schema=VARIANT_SCHEMA, orient="row"), shown, line, record_K)
        return None

    def _tally(self, shown: str, record_K: np.ndarray) -> None:
        from genomic_platform.genotypes.readers import vcf_kernels as kernels

        for code, column in (("half_calls", kernels.HALF), ("haploid", kernels.HAPLOID)):
            if record_K[column]:
                self.tallies[code].add(shown, int(record_K[column]))

    def _split(self, text: np.ndarray, rows: pl.DataFrame, shown: str, line: int, record_K: np.ndarray) -> Chunk | None:
        """One variant for each ALT allele of a record, its dosage counting that allele alone."""
        from genomic_platform.genotypes.readers import vcf_kernels as kernels

        codes_N = np.zeros(4 * packing.n_bytes(len(self.lines)), dtype=np.uint8)
        packed_AB = np.empty((rows.height, len(codes_N) // 4), dtype=np.uint8)
        start, end = int(record_K[kernels.CALLS]), int(record_K[kernels.END])
        for k in range(rows.height):
            kernels.decode_calls(text, start, end, len(self.lines), k + 1, rows.height + 1, codes_N, record_K)
            if record_K[kernels.STATUS] != kernels.PACKED:
                self._refuse_call(line, text, record_K)
                return None
            kernels.pack_codes(codes_N, packed_AB[k])
        self._tally(shown, record_K)
        return Chunk(rows, packed_AB)

    def _refuse_call(self, line: int, text: np.ndarray, record_K: np.ndarray) -> None:
        from genomic_platform.genotypes.readers import vcf_kernels as kernels

        sample = int(record_K[kernels.SAMPLE])
        calls = text[record_K[kernels.CALLS] : record_K[kernels.END]].tobytes()
        call = calls.split(b"\t")[sample].split(b":")[0].decode(errors="replace")
        where = {"line": line, "field": f"GT of {self.lines[sample]}", "found": repr(call)}
        if record_K[kernels.STATUS] == kernels.PLOIDY:
            n_alleles = len(call.replace("|", "/").split("/"))
            self.problems.add("ploidy", expected="a diploid call such as 0/1",
                              repair=f"haploid and diploid genotypes are read; this call is polyploid ({n_alleles} "
                                     "alleles): recode it as diploid, or leave the chromosome out", **where)
        else:
            self.problems.add("call", expected="two of the alleles 0, 1 or '.', as in 0/1",
                              repair="correct the call, or set it to ./.", **where)

    def _finish(self) -> None:
        """Raises InputError with every problem found."""
        if self.n_records == 0:
            self.problems.add("empty", expected="at least one variant", found="a VCF without a record",
                              repair="export the VCF again; check region or filter options")
        if self.n_records and self.problems.count("format") == self.n_records:
            raise InputError([Problem(self.path.name, "GT in FORMAT", "no record with GT",
                                      "export the VCF with hard genotype calls (GT)", field="FORMAT")])
        if self.problems:
            raise InputError(self.problems.all())
        if self.n_variants == 0:
            raise InputError([Problem(self.path.name, "at least one biallelic variant",
                                      f"{self.n_records:,} variants, all of them multi-allelic",
                                      "split them (bcftools norm -m-) or keep biallelic sites")])


def _put_in(chunk: Chunk, record_R: np.ndarray, split: dict[int, Chunk]) -> Chunk:
    """The chunk of the records `record_R` with others put in where they stood in the file."""
    order = np.concatenate([record_R, *(np.full(c.variants.height, r) for r, c in split.items())])
    rows = np.argsort(order, kind="stable")
    return Chunk(pl.concat([chunk.variants, *(c.variants for c in split.values())])[rows],
                 np.concatenate([chunk.packed_mB, *(c.packed_mB for c in split.values())])[rows])


def _lacking(fields_RF: np.ndarray) -> np.ndarray:
    """Whether CHROM, REF or ALT of a record is empty, bool (R,)."""
    return (np.diff(fields_RF[:, :6])[:, [0, 3, 4]] == 1).any(axis=1)


def _variants(text: np.ndarray, fields_RF: np.ndarray, position_R: np.ndarray) -> pl.DataFrame:
    """Columns of VARIANT_SCHEMA from where the fields of each record begin."""
    import pyarrow as pa

    from genomic_platform.genotypes.readers.vcf_kernels import gather

    names, columns = ("chromosome", "variant_id", "ref", "alt"), np.array([0, 2, 3, 4])
    start_RC, length_RC = fields_RF[:, columns], fields_RF[:, columns + 1] - 1 - fields_RF[:, columns]
    offset_CR = np.zeros((len(columns), len(start_RC) + 1), dtype=np.int64)
    np.cumsum(length_RC, axis=0, out=offset_CR[:, 1:].T)
    strings = {}
    for c, name in enumerate(names):
        characters = np.empty(offset_CR[c, -1], dtype=np.uint8)
        if gather(text, start_RC[:, c], offset_CR[c], characters):
            buffers = pa.py_buffer(offset_CR[c]), pa.py_buffer(characters)
            strings[name] = pl.from_arrow(pa.LargeStringArray.from_buffers(len(start_RC), *buffers))
        else:
            raw, ends = characters.tobytes(), offset_CR[c].tolist()
            strings[name] = [raw[a:b].decode("utf-8", errors="replace") for a, b in pairwise(ends)]
    return pl.DataFrame({name: strings.get(name, position_R) for name in VARIANT_SCHEMA}, schema=VARIANT_SCHEMA)
