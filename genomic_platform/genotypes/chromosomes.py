"""Chromosomes of a table as runs of its rows, and which variants have a place on one.

Work that looks along a chromosome takes its calls from here, one chromosome at a time. Regions as a person writes them
are `regions.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl

from genomic_platform.errors import InputError, Problem, counted
from genomic_platform.genotypes.regions import chromosome_key
from genomic_platform.genotypes.table import GenotypeTable

#: Names, as `chromosome_key` gives them, under which sources keep variants that they could not place.
UNPLACED = frozenset({"", ".", "0", "na", "un", "unknown", "unplaced", "unanchored", "unmapped"})



class Chromosome(NamedTuple):
    """Variants `start` to `stop` (excluded) of a table."""

    name: str
    start: int
    stop: int


def chromosomes(variants: pl.DataFrame) -> list[Chromosome]:
    """The chromosomes of variants in table order."""
    run = variants["chromosome"].rle().struct.unnest()
    stop = run["len"].cum_sum()
    return [Chromosome(*row) for row in zip(run["value"], stop - run["len"], stop, strict=True)]


def placed(variants: pl.DataFrame) -> np.ndarray:
    """Variants on a named chromosome at a known position, Boolean (M,)."""
    known = ~chromosome_key().is_in(list(UNPLACED)) & (pl.col("position") > 0)
    return variants.select(known).to_series().to_numpy()


def require_placed(variants: pl.DataFrame, purpose: str, repair: str = "") -> None:
    """Raises InputError when a variant has no place: `purpose` needs one. `repair` is a way out besides the usual."""
    lost = np.flatnonzero(~placed(variants))
    if not len(lost):
        return
    name, chromosome, position = variants.select("variant_id", "chromosome", "position").row(int(lost[0]))
    raise InputError([Problem(
        "genotype table", f"a chromosome and a position for every variant, which {purpose} needs",
        f"{counted(len(lost), 'variant')} of {variants.height:,} without (the first is {name}, chromosome "
        f"{chromosome!r}, position {position})",
        f"read the genotypes from a file that has positions, or keep the variants that `placed` marks{repair}")])


def packed_chromosomes(table: GenotypeTable) -> Iterator[tuple[Chromosome, np.ndarray]]:
    """Each chromosome with its packed calls, uint8 (m, B): a table on disk is read once, from front to back."""
    runs = iter(chromosomes(table.variants))
    run, parts, have = next(runs, None), [], 0
    for start, packed_mB in table.packed_blocks():
        while run is not None and len(packed_mB):
            part_mB = packed_mB[: run.stop - start]
            parts.append(part_mB)
            start, packed_mB, have = start + len(part_mB), packed_mB[len(part_mB) :], have + len(part_mB)
            if have == run.stop - run.start:
                yield run, parts[0] if len(parts) == 1 else np.concatenate(parts)
                run, parts, have = next(runs, None), [], 0
