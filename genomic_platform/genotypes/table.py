"""The packed genotype table: variants, lines and two bits a call, in memory and as Parquet.

Everything that decodes calls goes through `blocks` or `dosages`, so the whole matrix is never decoded by accident.
File formats of other programs belong in `vcf.py` and `plink.py`, statistics in `qc.py` and `relationship.py`.
Axes: N lines, M variants, B = ceil(N / 4) bytes; a dosage counts ALT alleles (0, 1, 2; −1 missing).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from genomic_platform.genotypes import packing
from genomic_platform.schemas.genotypes import GENOTYPE_LINES, GENOTYPES

BLOCK = 4096
VARIANT_COLUMNS = ("variant_id", "chromosome", "position", "ref", "alt")
_TABLE_FILE, _LINES_FILE = "genotypes.parquet", "lines.parquet"


@dataclass(frozen=True, eq=False)
class GenotypeTable:
    """Diploid calls of N lines at M biallelic variants. Make one with `from_dosages`, `from_packed` or `open`.

    Attributes
    ----------
    variants : contract GENOTYPES without `genotypes`, sorted by (chromosome, position, ref, alt); M rows.
    lines : line ids in the order of the calls; unique.
    packed_MB : uint8 (M, ceil(N / 4)), read-only, PLINK .bed order with A1 = ALT (see `packing`).
    """

    variants: pl.DataFrame
    lines: tuple[str, ...]
    packed_MB: np.ndarray

    @classmethod
    def from_dosages(cls, variants: pl.DataFrame, lines: Sequence[str], dosage_MN: np.ndarray) -> GenotypeTable:
        """Pack calls, compute frequencies and call rates, and sort.

        Parameters
        ----------
        variants : columns variant_id, chromosome, position (1-based, bp), ref, alt; others are dropped.
        lines : N unique line ids.
        dosage_MN : integers (M, N): ALT alleles 0, 1, 2; −1 missing.

        Raises
        ------
        ValueError : shapes disagree, a dosage is out of range, a line is repeated or there is no line.
        """
        if dosage_MN.shape != (variants.height, len(lines)):
            raise ValueError(f"dosage_MN has shape {dosage_MN.shape}; expected {(variants.height, len(lines))}")
        return cls.from_packed(variants, lines, packing.pack(dosage_MN.astype(np.int8, casting="same_kind")))

    @classmethod
    def from_packed(cls, variants: pl.DataFrame, lines: Sequence[str], packed_MB: np.ndarray) -> GenotypeTable:
        """As `from_dosages`, from calls that are packed already (padding bits 00)."""
        n = len(lines)
        if n == 0 or len(set(lines)) != n:
            raise ValueError(f"expected at least one line and no line twice; found {n} with {len(set(lines))} names")
        if packed_MB.shape != (variants.height, packing.n_bytes(n)):
            raise ValueError(f"packed_MB has shape {packed_MB.shape}; expected {(variants.height, packing.n_bytes(n))}")
        ordered = variants.select(VARIANT_COLUMNS).with_row_index("_row").sort(GENOTYPES.sort_key, maintain_order=True)
        order_M = ordered["_row"].to_numpy()
        in_order = bool((order_M[1:] > order_M[:-1]).all())
        return cls._measured(ordered.drop("_row"), tuple(lines), packed_MB if in_order else packed_MB[order_M])

    @classmethod
    def _measured(cls, variants: pl.DataFrame, lines: tuple[str, ...], packed_MB: np.ndarray) -> GenotypeTable:
        alt_M, calls_M, _ = packing.variant_counts(packed_MB, len(lines))
        frequency_M = np.divide(alt_M, 2 * calls_M, out=np.full(len(alt_M), np.nan), where=calls_M > 0)
        described = variants.select(VARIANT_COLUMNS).with_columns(
            pl.col("position").cast(pl.Int64),
            pl.Series("alt_frequency", frequency_M, dtype=pl.Float64).fill_nan(None),
            pl.Series("call_rate", calls_M / len(lines), dtype=pl.Float64),
        )
        packed_MB = np.ascontiguousarray(packed_MB).view()
        packed_MB.flags.writeable = False
        return cls(described, lines, packed_MB)

    @classmethod
    def open(cls, folder: Path) -> GenotypeTable:
        """Read what `save` wrote. Raises StoreError when the folder holds another contract or version."""
        lines = tuple(GENOTYPE_LINES.read(folder / _LINES_FILE)["line_id"])
        table = GENOTYPES.read(folder / _TABLE_FILE)
        packed = np.frombuffer(b"".join(table["genotypes"].to_list()), dtype=np.uint8)
        return cls(table.drop("genotypes"), lines, packed.reshape(table.height, packing.n_bytes(len(lines))))

    def save(self, folder: Path) -> None:
        """Write genotypes.parquet (row groups of 4,096 variants) and lines.parquet: equal content, equal bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        calls = pl.Series("genotypes", [row_B.tobytes() for row_B in self.packed_MB], dtype=pl.Binary)
        GENOTYPES.write(self.variants.with_columns(calls), folder / _TABLE_FILE, row_group_size=BLOCK,
                        facts={"ploidy": 2, "coding_digest": self.marker_digest, "n_lines": self.n_lines})
        GENOTYPE_LINES.write(pl.DataFrame({"line_id": self.lines}, schema=GENOTYPE_LINES.schema), folder / _LINES_FILE)

    @property
    def n_lines(self) -> int:
        return len(self.lines)

    @property
    def n_variants(self) -> int:
        return self.variants.height

    @cached_property
    def marker_digest(self) -> str:
        """sha256 (hex) over variant ids, both alleles and their order: what a dosage column means."""
        rows = self.variants.select(pl.concat_str("variant_id", "ref", "alt", separator="\t")).to_series()
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()

    @cached_property
    def _row_of_line(self) -> dict[str, int]:
        return {line: i for i, line in enumerate(self.lines)}

    def line_rows(self, lines: Sequence[str]) -> np.ndarray:
        """Positions of `lines` in `self.lines`, int64. Raises ValueError naming lines that are not here."""
        missing = [line for line in lines if line not in self._row_of_line]
        if missing:
            shown = ", ".join(missing[:5])
            raise ValueError(f"{len(missing)} lines have no genotypes here: {shown}{', …' if len(missing) > 5 else ''}")
        return np.array([self._row_of_line[line] for line in lines], dtype=np.int64)

    def allele_frequencies(self) -> np.ndarray:
        """ALT frequencies among called genotypes, float64 (M,), 0–1; NaN where nothing is called."""
        return self.variants["alt_frequency"].cast(pl.Float64).fill_null(np.nan).to_numpy()

    def blocks(self, size: int = BLOCK) -> Iterator[tuple[int, np.ndarray]]:
        """Pairs (index of the first variant, int8 dosages (m, N), m ≤ `size`, −1 missing), in table order."""
        for start in range(0, self.n_variants, size):
            yield start, packing.unpack(self.packed_MB[start : start + size], self.n_lines)

    def dosages(self, variants: np.ndarray | Sequence[int] | None = None,
                lines: Sequence[str] | None = None) -> np.ndarray:
        """Decoded calls, int8 (N, M), −1 missing, in the order asked for.

        Parameters
        ----------
        variants : Boolean mask or indices; None = all.
        lines : line ids; None = all.
        """
        wanted_M = self._variant_rows(variants)
        rows_N = None if lines is None else self.line_rows(lines)
        dosage_NM = np.empty((self.n_lines if rows_N is None else len(rows_N), len(wanted_M)), dtype=np.int8)
        for start in range(0, len(wanted_M), BLOCK):
            block_MN = packing.unpack(self.packed_MB[wanted_M[start : start + BLOCK]], self.n_lines)
            dosage_NM[:, start : start + BLOCK] = (block_MN if rows_N is None else block_MN[:, rows_N]).T
        return dosage_NM

    def select(self, variants: np.ndarray | Sequence[int] | None = None,
               lines: Sequence[str] | None = None) -> GenotypeTable:
        """The table of some variants (mask or indices; they stay in table order) and some lines (in the order given).

        Frequencies and call rates are those of the lines kept. Raises ValueError for unknown or repeated lines.
        """
        wanted_M = np.unique(self._variant_rows(variants))
        packed_MB = self.packed_MB[wanted_M]
        if lines is None:
            return self._measured(self.variants[wanted_M], self.lines, packed_MB)
        rows_N = self.line_rows(lines)
        if len(rows_N) == 0 or len(np.unique(rows_N)) != len(rows_N):
            raise ValueError("expected at least one line and no line twice")
        parts = [packing.pack(packing.unpack(packed_MB[start : start + BLOCK], self.n_lines)[:, rows_N])
                 for start in range(0, len(packed_MB), BLOCK)]
        empty = np.zeros((0, packing.n_bytes(len(rows_N))), dtype=np.uint8)
        return self._measured(self.variants[wanted_M], tuple(lines), np.concatenate([empty, *parts]))

    def _variant_rows(self, variants: np.ndarray | Sequence[int] | None) -> np.ndarray:
        if variants is None:
            return np.arange(self.n_variants)
        wanted = np.asarray(variants)
        if wanted.dtype == bool:
            if wanted.shape != (self.n_variants,):
                raise ValueError(f"variant mask has shape {wanted.shape}; expected {(self.n_variants,)}")
            return np.flatnonzero(wanted)
        return wanted.astype(np.int64)
