"""What a reader hands over for one source of genotypes, and the words readers share.

A source is one VCF file, or one .bed with its .bim and .fam, … It is read as a stream of chunks, so that a file larger
than memory can be written to a table. Putting sources together, dropping duplicates and naming variants belongs in
`assembly.py`. Axes: N lines, m variants of a chunk, B = ceil(N / 4) bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from genomic_platform.errors import Problem
from genomic_platform.genotypes import packing

#: Problems of one kind listed line by line; the rest are counted.
LISTED = 20

VARIANT_SCHEMA = {"variant_id": pl.String, "chromosome": pl.String, "position": pl.Int64, "ref": pl.String,
                  "alt": pl.String}


@dataclass
class Tally:
    """Cases of something accepted: how many, and the first few by name."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: str, count: int = 1) -> None:
        self.count += count
        if len(self.examples) < 3:
            self.examples.append(example)

    def merge(self, other: Tally) -> None:
        self.count += other.count
        self.examples = [*self.examples, *other.examples][:3]


@dataclass(frozen=True)
class ReadOptions:
    """Choices a person has when files are read.

    Attributes
    ----------
    multiallelic : `drop` leaves out variants with several ALT alleles and counts them; `split` makes one variant of
        each ALT allele, whose dosage counts that allele only.
    """

    multiallelic: Literal["drop", "split"] = "drop"


AS_USUAL = ReadOptions()


class Chunk(NamedTuple):
    """Some variants of a source: columns of VARIANT_SCHEMA (m rows), and their calls, uint8 (m, B)."""

    variants: pl.DataFrame
    packed_mB: np.ndarray


@dataclass(frozen=True, eq=False)
class GenotypeSource:
    """One source being read.

    Attributes
    ----------
    file : name of the source as the user gave it.
    lines : N unique line ids.
    chunks : the calls in the source's own order, once; `variant_id` is '.' where the source gives none. Raises
        InputError with every problem of the source at the end of the stream.
    tallies : what was accepted, by notice code; complete when `chunks` is.
    """

    file: str
    lines: tuple[str, ...]
    chunks: Iterator[Chunk]
    tallies: dict[str, Tally] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class GenotypePart:
    """Calls of one source read whole, in its own order: `GenotypeSource` with its chunks put together (M variants)."""

    file: str
    lines: tuple[str, ...]
    variants: pl.DataFrame
    packed_MB: np.ndarray
    tallies: dict[str, Tally]


def collect(source: GenotypeSource) -> GenotypePart:
    """Read a source to its end. Raises InputError with every problem of it."""
    chunks = list(source.chunks)
    empty = np.zeros((0, packing.n_bytes(len(source.lines))), dtype=np.uint8)
    variants = pl.concat([pl.DataFrame(schema=VARIANT_SCHEMA), *(chunk.variants for chunk in chunks)])
    return GenotypePart(source.file, source.lines, variants,
                        np.concatenate([empty, *(chunk.packed_mB for chunk in chunks)]), source.tallies)


class ProblemList:
    """Collects the problems of one file: the first LISTED of each kind, then one that counts the rest."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._listed: dict[str, list[Problem]] = {}
        self._last: dict[str, Problem] = {}
        self._count: Counter[str] = Counter()

    def add(self, kind: str, *, expected: str, found: str, repair: str, line: int | None = None,
            field: str | None = None) -> None:
        self._count[kind] += 1
        self._last[kind] = Problem(self.file, expected, found, repair, line, field)
        if self._count[kind] <= LISTED:
            self._listed.setdefault(kind, []).append(self._last[kind])

    def __bool__(self) -> bool:
        return bool(self._listed)

    def count(self, kind: str) -> int:
        return self._count[kind]

    def all(self) -> list[Problem]:
        """The listed problems, and after each kind with more of them one that says how many and where the last is."""
        problems = []
        for kind, listed in self._listed.items():
            problems += listed
            if more := self._count[kind] - len(listed):
                last = self._last[kind]
                problems.append(replace(last, field=None, found=f"the same in {more:,} more places, the last here"))
        return problems


def repeated_names(names: Sequence[str]) -> list[str]:
    """Names that occur more than once, in order of first occurrence."""
    return [name for name, n in Counter(names).items() if n > 1]
