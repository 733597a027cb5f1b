"""Made-up genotyping platforms: one truth, several batches that write it down each in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from genomic_platform.genotypes.table import GenotypeTable

COMPLEMENT = {"A": "T", "C": "G", "G": "C", "T": "A"}
_PAIRS = [(a, b) for a in "ACGT" for b in "ACGT" if a != b]


@dataclass(frozen=True)
class Truth:
    """Markers with real alleles (M rows) and the dosages of their ALT, int8 (M, N), nothing missing."""

    variants: pl.DataFrame
    lines: tuple[str, ...]
    dosage_MN: np.ndarray

    def of(self, marker: str, line: str) -> int:
        return int(self.dosage_MN[int(marker.removeprefix("m")), int(line.removeprefix("L"))])


def made_truth(n_lines: int = 120, n_markers: int = 1000, seed: int = 1) -> Truth:
    """Nearly inbred lines of one pool; every kind of single-base change, a sixth of them palindromic each."""
    rng = np.random.default_rng(seed)
    frequency_M = rng.beta(1.2, 1.2, n_markers)
    dosage_MN = 2 * (rng.random((n_markers, n_lines)) < frequency_M[:, None]).astype(np.int8)
    dosage_MN[rng.random(dosage_MN.shape) < 0.03] = 1
    pairs = [_PAIRS[i] for i in rng.integers(0, len(_PAIRS), n_markers)]
    variants = pl.DataFrame({"variant_id": [f"m{i}" for i in range(n_markers)],
                             "chromosome": [f"chr{1 + i % 3:02d}" for i in range(n_markers)],
                             "position": 1000 + 10 * np.arange(n_markers),
                             "ref": [a for a, _ in pairs], "alt": [b for _, b in pairs]})
    return Truth(variants, tuple(f"L{i}" for i in range(n_lines)), dosage_MN)


def batch_of(truth: Truth, markers: Sequence[int], lines: Sequence[int], *, seed: int = 0, missing: float = 0.02,
             swapped: Sequence[int] = (), flipped: Sequence[int] = (), names: dict[int, str] | None = None,
             chromosome: str | None = None, miscoded: Sequence[int] = ()) -> GenotypeTable:
    """Some lines at some markers, as a platform writes them.

    `swapped` markers have REF and ALT exchanged, `flipped` ones are on the other strand, `miscoded` ones count the
    other allele than they say; `names` gives other ids; `chromosome` is a pattern such as `{}` for other names.
    """
    rng = np.random.default_rng(seed)
    rows, dosage_mN = [], truth.dosage_MN[np.ix_(markers, lines)].copy()
    for row, i in enumerate(markers):
        name, chromosome_name, position, ref, alt = truth.variants.row(i)
        if i in flipped:
            ref, alt = COMPLEMENT[ref], COMPLEMENT[alt]
        if i in swapped:
            ref, alt = alt, ref
        if (i in swapped) != (i in miscoded):
            dosage_mN[row] = 2 - dosage_mN[row]
        if chromosome is not None:
            chromosome_name = chromosome.format(int(chromosome_name.removeprefix("chr")))
        rows.append(((names or {}).get(i, name), chromosome_name, position, ref, alt))
    dosage_mN[rng.random(dosage_mN.shape) < missing] = -1
    schema = ["variant_id", "chromosome", "position", "ref", "alt"]
    return GenotypeTable.from_dosages(pl.DataFrame(rows, schema=schema, orient="row"), [truth.lines[j] for j in lines],
                                      dosage_mN)


def with_calls(table: GenotypeTable, line: str, call_M: np.ndarray) -> GenotypeTable:
    """The table with other calls of one line."""
    dosage_MN = table.dosages().T.copy()
    dosage_MN[:, table.lines.index(line)] = call_M
    return GenotypeTable.from_dosages(table.variants, table.lines, dosage_MN)
