"""Sources that belong together put into one table's order: the same lines, on other chromosomes, each variant once.

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

_KEY = ["chromosome", "position", "ref", "alt"]
_NOTICES = {
    "multiallelic": ("multi-allelic variant", "left out"),
    "one_allele": ("variant", "left out, since only one allele is named"),
    "half_calls": ("half-called genotype", "(such as 0/.) taken as missing"),
    "haploid": ("haploid call", "taken as homozygous"),
    "uncertain": ("dosage", "further than .1 from a whole number, taken as missing"),
    "recoded": ("call", "coded −1, 0, 1, taken as 0, 1, 2"),
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


def mismatches(parts: Sequence[PartFacts]) -> list[Problem]:
    """Parts of one batch that do not fit together: other lines, or a chromosome in two of them."""
    return [p for part in parts[1:] for p in _other_lines(parts[0], part)] + _shared_chromosomes(parts)


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
    # unplaced markers share position 0: there only the id tells them apart
    identity = [*_KEY, pl.when(pl.col("position") == 0).then("variant_id").otherwise(pl.lit("")).alias("unplaced")]
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


def monomorphic(parts: Sequence[PartFacts], variants: pl.DataFrame) -> list[Problem]:
    """The problem of a table in which nothing varies; `variants` with their frequencies."""
    if variants.select(((pl.col("alt_frequency") > 0) & (pl.col("alt_frequency") < 1)).any()).item():
        return []
    return [Problem(", ".join(part.file for part in parts), "at least one variant with both alleles among the lines",
                    f"{variants.height:,} variants, all of them monomorphic or without a call",
                    "check that the file holds the right lines and real genotype calls")]


def _other_lines(first: PartFacts, part: PartFacts) -> list[Problem]:
    absent, extra = set(first.lines) - set(part.lines), set(part.lines) - set(first.lines)
    if not absent and not extra:
        return []
    told = [f"{len(names)} {what} ({', '.join(sorted(names)[:3])}{', …' if len(names) > 3 else ''})"
            for what, names in (("are missing", absent), ("are only here", extra)) if names]
    return [Problem(part.file, f"the {len(first.lines)} lines of {first.file}, on other chromosomes",
                    f"other lines: {', '.join(told)}", "give one batch at a time, with the same lines in every file")]


def _shared_chromosomes(parts: Sequence[PartFacts]) -> list[Problem]:
    owner: dict[str, PartFacts] = {}
    problems = []
    for part in parts:
        for chromosome in part.variants["chromosome"].unique().sort():
            first = owner.setdefault(chromosome, part)
            if first is not part:
                common = first.variants.join(part.variants.filter(chromosome=chromosome), on=_KEY, how="semi").height
                problems.append(Problem(part.file, f"other chromosomes than {first.file}",
                                        f"chromosome {chromosome} too, with {common:,} variants in both",
                                        "give each chromosome in one file (bcftools concat), one batch at a time"))
    return problems


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
    return variants.with_columns(pl.when(absent | shared).then(pl.concat_str(place, "ref", "alt", separator=":"))
                                 .otherwise("variant_id").alias("variant_id"))


def _unsorted(variants: pl.DataFrame) -> bool:
    """A position goes back within its chromosome, or a chromosome comes back after another."""
    run = pl.col("chromosome").rle_id()
    goes_back = ((pl.col("position").diff() < 0) & (run.diff() == 0)).any()
    comes_back = run.n_unique() != pl.col("chromosome").n_unique()
    return bool(variants.select(goes_back | comes_back).item())
