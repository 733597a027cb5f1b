"""What a reader hands over for one source of genotypes, and the words readers share.

A source is one VCF file or one .bed with its .bim and .fam. Putting sources together, dropping duplicates and naming
variants belongs in `read.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from genomic_platform.errors import Problem

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


@dataclass(frozen=True, eq=False)
class GenotypePart:
    """Calls of one source, in its own order.

    Attributes
    ----------
    file : name of the source as the user gave it.
    lines : N unique line ids.
    variants : columns of VARIANT_SCHEMA, M rows; `variant_id` is '.' where the source gives none.
    packed_MB : uint8 (M, ceil(N / 4)).
    tallies : what was accepted, by notice code.
    """

    file: str
    lines: tuple[str, ...]
    variants: pl.DataFrame
    packed_MB: np.ndarray
    tallies: dict[str, Tally]


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
