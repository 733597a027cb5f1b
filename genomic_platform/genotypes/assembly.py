"""Sources put into the order of a table, or of several: the same lines on other chromosomes, each variant once.

Works on variants and their row numbers alone, so that calls can stay where they are, in memory or on disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from genomic_platform.errors import Notice, Problem, counted
from genomic_platform.genotypes.readers.part import Tally
from genomic_platform.genotypes.table import table_order

_NOTICES = {
    "multiallelic": ("multi-allelic variant", "left out"),
    "one_allele": ("variant", "left out, since only one allele is named"),
    "half_calls": ("half-called genotype", "(such as 0/.) taken as missing"),
    "haploid": ("haploid call", "taken as homozygous"),
    "uncertain": ("dosage", "further than .1 from a whole number, taken as missing"),
    "recoded": ("call", "coded −1, 0, 1, taken as 0, 1, 2"),
    "no_two": ("table of dosages", "without a 2: its 1 is read as heterozygous; write 2 where presence is homozygous"),
    "placeholder_alleles": ("variant", "without alleles, written as A (counted 0) and C (counted)"),
    "unsorted": ("genotype file", "not sorted by chromosome and position; the table is"),
    "duplicate_variants": ("variant", "left out that repeat another's position and alleles"),
    "repeated_ids": ("variant", "sharing an id with another, named chromosome:position:ref:alt"),
}


@dataclass(frozen=True, eq=False)
class PartFacts:
    """A source as its reader left it, without its calls: `variants` in the source's own order."""

    file: str
    lines: tuple[str, ...]
    variants: pl.DataFrame
    tallies: dict[str, Tally]


@dataclass(frozen=True, eq=False)
class Assembled:
    """A table's variants in order, where each one's calls lie among those of all parts, and what was accepted."""

    variants: pl.DataFrame
    rows_M: np.ndarray
    notices: list[Notice]


def assemble(parts: Sequence[PartFacts]) -> Assembled:
    """Put parts together: repeated variants left out, ids made unique, sorted as the contract says."""
    tallies = {code: Tally() for code in _NOTICES}
    for part in parts:
        for code, tally in part.tallies.items():
            tallies[code].merge(tally)
        if _unsorted(part.variants):
            tallies["unsorted"].add(part.file)
    variants = pl.concat([part.variants for part in parts])
    order_M = table_order(variants)
    variants = variants[order_M]
    one = variants.select((pl.col("ref") == pl.col("alt")) & (pl.col("ref") != ".")).to_series()
    if one.any():
        tallies["one_allele"].merge(Tally(int(one.sum()), variants.filter(one)["variant_id"].head(3).to_list()))
        variants, order_M = variants.filter(~one), order_M[~one.to_numpy()]
    # unplaced markers share position 0: there only the id tells them apart
    unplaced = pl.when(pl.col("position") == 0).then("variant_id").otherwise(pl.lit("")).alias("unplaced")
    identity = ["chromosome", "position", "ref", "alt", unplaced]
    if _may_repeat(variants):
        first_M = variants.select(pl.struct(identity).is_first_distinct()).to_series()
        repeats = variants.filter(~first_M)
        tallies["duplicate_variants"].merge(Tally(repeats.height, repeats["variant_id"].head(3).to_list()))
        variants, order_M = variants.filter(first_M), order_M[first_M.to_numpy()]
    variants = _named(variants, tallies["repeated_ids"])
    notices = [Notice(code, f"{counted(tallies[code].count, what)} {taken}", tallies[code].count,
                      tuple(tallies[code].examples))
               for code, (what, taken) in _NOTICES.items() if tallies[code].count]
    return Assembled(variants, order_M, notices)


def batches_of(parts: Sequence[PartFacts]) -> list[list[PartFacts]]:
    """Parts that are one batch together: the same lines, no chromosome twice. Every other part begins a batch."""
    batches: list[list[PartFacts]] = []
    for part in parts:
        home = next((batch for batch in batches if _fits(batch, part)), None)
        if home is None:
            batches.append([part])
        else:
            home.append(part)
    return batches


def line_order(own: tuple[str, ...], wanted: tuple[str, ...]) -> np.ndarray | None:
    """Where each wanted line stands in `own`, int64 (N,); None when the order is the same."""
    if own == wanted:
        return None
    row_of = {line: row for row, line in enumerate(own)}
    return np.array([row_of[line] for line in wanted])


def any_varies(variants: pl.DataFrame) -> bool:
    """Whether any variant has both alleles among the lines; `variants` with their frequencies."""
    return bool(variants.select(((pl.col("alt_frequency") > 0) & (pl.col("alt_frequency") < 1)).any()).item())


def monomorphic(parts: Sequence[PartFacts], n_variants: int) -> Problem:
    """The problem of a table in which nothing varies."""
    return Problem(", ".join(part.file for part in parts), "at least one variant with both alleles among the lines",
                   f"{n_variants:,} variants, all of them monomorphic or without a call",
                   "check that the file holds the right lines and real genotype calls")


def _fits(batch: Sequence[PartFacts], part: PartFacts) -> bool:
    if set(batch[0].lines) != set(part.lines):
        return False
    own = set(part.variants["chromosome"].unique())
    return not any(own & set(other.variants["chromosome"].unique()) for other in batch)


def _may_repeat(variants: pl.DataFrame) -> bool:
    """Two sorted neighbours share chromosome and position."""
    same = (pl.col("position").diff() == 0) & (pl.col("chromosome") == pl.col("chromosome").shift())
    return bool(variants.select(same.any()).item())


def _named(variants: pl.DataFrame, repeated: Tally) -> pl.DataFrame:
    """Every variant with an id of its own."""
    place = pl.when(pl.col("position") > 0).then(pl.format("{}:{}", "chromosome", "position")).otherwise("variant_id")
    absent, shared = pl.col("variant_id").is_in([".", ""]), pl.col("variant_id").is_duplicated()
    if not variants.select((absent | shared).any()).item():
        return variants
    ids = variants.filter(shared & ~absent)["variant_id"]
    repeated.merge(Tally(len(ids), ids.unique(maintain_order=True).head(3).to_list()))
    named = variants.with_columns(pl.when(absent | shared).then(pl.concat_str(place, "ref", "alt", separator=":"))
                                  .otherwise("variant_id").alias("variant_id"))
    while named["variant_id"].is_duplicated().any():  # a file may have used such a name itself
        number = pl.int_range(1, pl.len() + 1).over("variant_id")
        named = named.with_columns(pl.when(number > 1).then(pl.format("{}:{}", "variant_id", number))
                                   .otherwise("variant_id").alias("variant_id"))
    return named


def _unsorted(variants: pl.DataFrame) -> bool:
    """A position goes back within its chromosome, or a chromosome comes back after another."""
    run = pl.col("chromosome").rle_id()
    goes_back = ((pl.col("position").diff() < 0) & (run.diff() == 0)).any()
    comes_back = run.n_unique() != pl.col("chromosome").n_unique()
    return bool(variants.select(goes_back | comes_back).item())
