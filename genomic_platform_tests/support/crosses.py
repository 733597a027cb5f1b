"""A made-up programme of known pedigree and genotypes: inbred founders, families, hybrids; and faults put into it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.schemas.pedigree import PEDIGREE

CHROMOSOMES = 10


@dataclass
class Programme:
    """True dosages int8 (M, N) of `lines`, and the pedigree that made them (contract PEDIGREE)."""

    lines: list[str]
    dosage_MN: np.ndarray
    pedigree: pl.DataFrame

    def row(self, line: str) -> int:
        return self.lines.index(line)

    def exchange(self, one: str, other: str) -> None:
        """Swap two samples."""
        rows = [self.row(one), self.row(other)]
        self.dosage_MN[:, rows] = self.dosage_MN[:, rows[::-1]]

    def mix(self, line: str, other: str) -> None:
        """Pollute a line's sample with another's: heterozygous wherever they differ."""
        own, added = self.dosage_MN[:, self.row(line)], self.dosage_MN[:, self.row(other)]
        self.dosage_MN[:, self.row(line)] = np.where(own == added, own, 1)

    def declare(self, line: str, **columns: str | None) -> None:
        """Write something else into the pedigree."""
        self.pedigree = self.pedigree.with_columns(
            pl.when(pl.col("line_id") == line).then(pl.lit(value, dtype=pl.String)).otherwise(pl.col(name)).alias(name)
            for name, value in columns.items())

    def called(self, error: float = 0.01, missing: float = 0.02, seed: int = 9) -> GenotypeTable:
        """The table a laboratory gives: a share of calls replaced by another genotype, a share missing."""
        rng = np.random.default_rng(seed)
        dosage_MN = self.dosage_MN.copy()
        wrong_MN = rng.random(dosage_MN.shape) < error
        dosage_MN[wrong_MN] = (dosage_MN[wrong_MN] + rng.integers(1, 3, wrong_MN.sum())) % 3
        dosage_MN[rng.random(dosage_MN.shape) < missing] = -1
        m = len(dosage_MN)
        variants = pl.DataFrame({"variant_id": [f"m{i:05d}" for i in range(m)], "chromosome": "1",
                                 "position": np.arange(1, m + 1), "ref": "A", "alt": "C"})
        return GenotypeTable.from_dosages(variants, self.lines, dosage_MN)


def made_programme(n_founders: int = 12, n_families: int = 8, size: int = 12, n_hybrids: int = 6, n_markers: int = 2000,
                   inbreeding: float = 1.0, seed: int = 1) -> Programme:
    """Inbred founders P00…, families of selfed lines F0-00… from crosses of them, hybrids H0… of founders."""
    rng = np.random.default_rng(seed)
    founder_MN = 2 * (rng.random((n_markers, n_founders)) < rng.uniform(0.15, 0.85, n_markers)[:, None]).astype(np.int8)
    lines, columns = [f"P{i:02d}" for i in range(n_founders)], list(founder_MN.T)
    rows: list[tuple[str, str | None, str | None, float | None]] = [(line, None, None, 1.0) for line in lines]
    selfings = 30 if inbreeding == 1 else round(-np.log2(1 - inbreeding))
    for f in range(n_families + n_hybrids):
        p, q = rng.choice(n_founders, 2, replace=False)
        parents = (f"P{p:02d}", f"P{q:02d}")
        strands = np.stack([columns[p], columns[q]]) // 2
        for k in range(size if f < n_families else 1):
            name = f"F{f}-{k:02d}" if f < n_families else f"H{f - n_families}"
            two = strands
            for _ in range(selfings if f < n_families else 0):
                two = np.stack([_gamete(two, rng), _gamete(two, rng)])
            lines.append(name)
            columns.append(two.sum(axis=0).astype(np.int8))
            rows.append((name, *parents, inbreeding if f < n_families else 0.0))
    return Programme(lines, np.stack(columns, axis=1), pl.DataFrame(rows, PEDIGREE.schema, orient="row"))


def _gamete(strands_2M: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One strand with a crossover per chromosome on average (markers in equal parts on ten chromosomes)."""
    m = strands_2M.shape[1]
    crossed = rng.random(m) < CHROMOSOMES / m
    crossed[:: -(-m // CHROMOSOMES)] = rng.random(len(crossed[:: -(-m // CHROMOSOMES)])) < 0.5
    side = np.cumsum(crossed) % 2
    return np.where(side == 0, strands_2M[0], strands_2M[1])
