"""The genotype table as PLINK 1 binary files: the packed calls are the bytes of the .bed, with A1 = ALT.

Reference: https://www.cog-genomics.org/plink/1.9/formats
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from genomic_platform.genotypes.export.files import check_names, folder_beside
from genomic_platform.genotypes.table import GenotypeTable

_MAGIC = b"\x6c\x1b\x01"
_BLANK = (r"[\x00-\x20]", "blanks and control characters")
_FORBIDDEN = {"line name": _BLANK, "marker id": _BLANK, "chromosome": _BLANK,
              "allele": (r"[\x00-\x20]|^0$", "blanks and control characters, and not 0, PLINK's sign for no allele")}


def to_bed(table: GenotypeTable, prefix: Path) -> tuple[Path, Path, Path]:
    """Write `prefix`.bed, .bim and .fam; family 0, sex, parents and phenotype unknown, 0 cM.

    Parameters
    ----------
    prefix : path without suffix (a suffix .bed is taken off).

    Returns
    -------
    The paths of the .bed, .bim and .fam.

    Raises
    ------
    InputError : a name holds a blank, which PLINK cannot have.
    """
    stem = prefix.name.removesuffix(".bed")
    check_names(table, f"{stem}.bed", _FORBIDDEN)
    bed, bim, fam = (prefix.with_name(stem + suffix) for suffix in (".bed", ".bim", ".fam"))
    with folder_beside(bed) as folder:
        with open(folder / bed.name, "wb") as target:
            target.write(_MAGIC)
            for _, packed_mB in table.packed_blocks():
                target.write(packed_mB.tobytes())
        zero, alleles = pl.lit("0"), pl.col("ref", "alt").replace(".", "0")
        _write(table.variants.with_columns(alleles).select(
            "chromosome", "variant_id", zero.alias("cm"), "position", "alt", "ref"), folder / bim.name)
        _write(pl.DataFrame({"line_id": table.lines}).select(
            zero.alias("family"), "line_id", zero.alias("father"), zero.alias("mother"), zero.alias("sex"),
            pl.lit("-9").alias("phenotype")), folder / fam.name)
        bed.unlink(missing_ok=True)  # a mixture of two sets is never a whole one
        for path in (bim, fam, bed):
            (folder / path.name).replace(path)
    return bed, bim, fam


def _write(rows: pl.DataFrame, path: Path) -> None:
    rows.write_csv(path, include_header=False, separator="\t", quote_style="never")
