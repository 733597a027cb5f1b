"""The genotype table as VCF 4.3, plain or bgzip: GT alone, every call of three characters, so text is looked up.

Reference: VCF 4.3 specification (samtools/hts-specs). Axes: m variants of a block, B = ceil(N / 4) bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from genomic_platform import __version__
from genomic_platform.errors import InputError, Problem
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.bgzf import bgzf_members
from genomic_platform.genotypes.export.files import check_names, folder_beside
from genomic_platform.genotypes.table import GenotypeTable

_ZIPPED = (".vcf.gz", ".vcf.bgz")
_BLOCK_BYTES = 8_000_000
_CALLS = np.frombuffer(b"\t./.\t0/0\t0/1\t1/1", dtype=np.uint8).reshape(4, 4)  # index: dosage + 1
_FORBIDDEN = {
    "line name": (r"[\x00-\x1f]", "control characters"),
    "marker id": (r"[\x00-\x20;]", "blanks, control characters and semicolons"),
    "chromosome": (r"[\x00-\x20,<>\"]|^#", "blanks, commas, angle brackets, quotes and a leading #"),
    "allele": (r"[\x00-\x20,]", "blanks and commas"),
}


def to_vcf(table: GenotypeTable, path: Path) -> Path:
    """Write a VCF; bgzip where the name ends in .vcf.gz.

    Raises
    ------
    InputError : the name is no VCF's, or a name in the table holds what VCF cannot have.
    """
    if not path.name.endswith((".vcf", *_ZIPPED)):
        raise InputError([Problem(path.name, "a name that ends in .vcf or .vcf.gz", f"{path.name!r}", "rename it")])
    check_names(table, path.name, _FORBIDDEN)
    with folder_beside(path) as folder:
        text = _text(table)
        with open(folder / path.name, "wb") as target:
            target.writelines(bgzf_members(text) if path.name.endswith(_ZIPPED) else text)
        (folder / path.name).replace(path)
    return path


def _text(table: GenotypeTable) -> Iterator[bytes]:
    """The file in blocks, its header first."""
    contigs = "".join(f"##contig=<ID={name}>\n" for name in table.variants["chromosome"].unique(maintain_order=True))
    columns = "\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *table.lines])
    yield (f"##fileformat=VCFv4.3\n##source=genomic-platform {__version__}\n"
           '##FILTER=<ID=PASS,Description="All filters passed">\n'
           f'{contigs}##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n{columns}\n').encode()
    call_of_byte = _CALLS[packing.unpack(np.arange(256, dtype=np.uint8)[:, None], 4) + 1].reshape(256, 16)
    start_of_record = pl.format("{}\t{}\t{}\t{}\t{}\t.\t.\t.\tGT", "chromosome", "position", "variant_id", "ref", "alt")
    size = max(1, _BLOCK_BYTES // (4 * table.n_lines))
    for start, packed_mB in table.packed_blocks(size):
        records = table.variants[start : start + len(packed_mB)].select(start_of_record).to_series()
        calls_mC = np.take(call_of_byte, packed_mB, axis=0).reshape(len(packed_mB), -1)[:, : 4 * table.n_lines]
        yield b"".join(part for record, calls_C in zip(records, calls_mC, strict=True)
                       for part in (record.encode(), calls_C, b"\n"))
