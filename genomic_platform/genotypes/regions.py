"""Regions of the genome as a person writes them: `chr1`, `chr1:1,000-2,000`, several joined by `;`."""

from __future__ import annotations

import re

import numpy as np
import polars as pl

from genomic_platform.errors import NotAvailable

_REGION = re.compile(r"(?P<chromosome>.+?)(:(?P<first>\d[\d,]*)(-(?P<last>(\d[\d,]*)?))?)?$")


def chromosome_key() -> pl.Expr:
    """What tells chromosomes apart however they are written: `1` for chr01, Chr1 and chromosome_1; lower case."""
    return (pl.col("chromosome").str.to_lowercase().str.replace(r"^(chromosome|chrom|chr)[_ ]?", "")
            .str.replace(r"^0+([0-9])", "$1"))


def variants_in(variants: pl.DataFrame, regions: str) -> np.ndarray:
    """Indices of the variants inside, int64, ascending; both ends belong to a region (`chr1:5-` has no upper end).

    Raises NotAvailable naming a chromosome that the table does not hold.
    """
    known = set(variants["chromosome"].unique())
    inside = pl.lit(False)
    for region in filter(None, (part.strip() for part in regions.split(";"))):
        found = _REGION.fullmatch(region)
        assert found is not None  # anything but an empty text is at least a chromosome
        chromosome, first, last = found.group("chromosome", "first", "last")
        if region in known:  # a name may hold a colon itself
            chromosome, first = region, None
        if chromosome not in known:  # `chr1` may be written `1` here
            chromosome = _same(chromosome, known) or chromosome
        if chromosome not in known:
            shown = ", ".join(sorted(known)[:5]) + (", …" if len(known) > 5 else "")
            raise NotAvailable(f"region {region!r}: no chromosome {chromosome!r} here; expected one of {shown}")
        here = pl.col("chromosome") == chromosome
        if first:
            low = int(first.replace(",", ""))
            high = low if last is None else int(last.replace(",", "") or 2**62)
            here &= pl.col("position").is_between(low, high)
        inside |= here
    return np.flatnonzero(variants.select(inside).to_series().to_numpy())


def _same(chromosome: str, known: set[str]) -> str | None:
    """The one known chromosome that differs only in how it is written."""
    keys = pl.DataFrame({"chromosome": [chromosome, *known]}).select(chromosome_key()).to_series().to_list()
    found = [name for name, key in zip(known, keys[1:], strict=True) if key == keys[0]]
    return found[0] if len(found) == 1 else None
