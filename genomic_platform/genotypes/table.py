"""The packed genotype table: variants with their statistics, lines, and two bits a call, in memory or on disk.

Everything that decodes calls goes through `blocks` or `dosages`, so the whole matrix is never decoded by accident.
Files of other programs belong in `readers/` and `export/`, the file of the table itself in `table_file.py`.
Axes: N lines, M variants, m of a block, B = ceil(N / 4) bytes; a dosage counts ALT alleles (0, 1, 2; −1 missing).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl

from genomic_platform.genotypes import packing
from genomic_platform.genotypes.parallel import in_order
from genomic_platform.genotypes.regions import variants_in
from genomic_platform.genotypes.statistics import variant_statistics
from genomic_platform.genotypes.table_file import (
    TABLE_FILE,
    CallsOnDisk,
    lines_digest,
    read_lines_file,
    row_group_size,
    write_table,
)
from genomic_platform.schemas.genotypes import GENOTYPES

if TYPE_CHECKING:
    import torch

BLOCK = 4096
#: A table on disk whose packed calls take at most this much is read into memory once; a larger one is streamed.
KEPT_BYTES = 256_000_000
VARIANT_COLUMNS = ("variant_id", "chromosome", "position", "ref", "alt")

#: Boolean mask (M,), indices, variant ids, or a region such as `chr1:1,000-2,000`; None = all.
Variants: TypeAlias = np.ndarray | Sequence[int] | Sequence[str] | str | None


@dataclass(frozen=True, eq=False)
class GenotypeTable:
    """Diploid calls of N lines at M biallelic variants. Make one with `from_dosages`, `from_packed` or `open`.

    Attributes
    ----------
    variants : contract GENOTYPES without `genotypes`, sorted by (chromosome, position, ref, alt); M rows.
    lines : line ids in the order of the calls; unique.
    calls : uint8 (M, ceil(N / 4)), read-only, PLINK .bed order with A1 = ALT (see `packing`); or the open file.

    Examples
    --------
    >>> table = GenotypeTable.open("panel")                                     # doctest: +SKIP
    >>> table.variants.filter(pl.col("call_rate") < 0.9)                        # doctest: +SKIP
    >>> table.dosages("chr03:1-2,000,000", lines=["Line_7", "Line_9"])          # doctest: +SKIP
    """

    variants: pl.DataFrame
    lines: tuple[str, ...]
    calls: np.ndarray | CallsOnDisk

    @classmethod
    def from_dosages(cls, variants: pl.DataFrame, lines: Sequence[str], dosage_MN: np.ndarray) -> GenotypeTable:
        """Pack calls, compute statistics, and sort.

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
        if dosage_MN.dtype.kind not in "iu":
            raise ValueError(f"dosage_MN has type {dosage_MN.dtype}; expected integers")
        return cls.from_packed(variants, lines, packing.pack(dosage_MN))

    @classmethod
    def from_packed(cls, variants: pl.DataFrame, lines: Sequence[str], packed_MB: np.ndarray) -> GenotypeTable:
        """As `from_dosages`, from calls that are packed already (padding bits 00)."""
        n = len(lines)
        if n == 0 or len(set(lines)) != n:
            raise ValueError(f"expected at least one line and no line twice; found {n} with {len(set(lines))} names")
        if packed_MB.shape != (variants.height, packing.n_bytes(n)):
            raise ValueError(f"packed_MB has shape {packed_MB.shape}; expected {(variants.height, packing.n_bytes(n))}")
        order_M = table_order(variants)
        if (order_M[1:] > order_M[:-1]).all():
            return cls._measured(variants, tuple(lines), packed_MB)
        return cls._measured(variants[order_M], tuple(lines), packed_MB[order_M])

    @classmethod
    def _measured(cls, variants: pl.DataFrame, lines: tuple[str, ...], packed_MB: np.ndarray) -> GenotypeTable:
        packed_MB = np.ascontiguousarray(packed_MB).view()
        packed_MB.flags.writeable = False
        return cls(described(variants, packed_MB, len(lines)), lines, packed_MB)

    @classmethod
    def open(cls, folder: Path | str) -> GenotypeTable:
        """A table on disk, whose calls are read when they are asked for.

        Raises StoreError when the folder holds another contract or version.
        """
        lines = read_lines_file(Path(folder))
        calls = CallsOnDisk(Path(folder) / TABLE_FILE, lines)
        return cls(calls.variants(), lines, calls)

    def save(self, folder: Path) -> None:
        """Write genotypes.parquet (row groups of neighbours) and lines.parquet: equal content, equal bytes."""
        size = row_group_size(self.n_lines)
        blocks = ((self.variants[start : start + size], self._rows(start, start + size))
                  for start in range(0, self.n_variants, size))
        write_table(folder, self.lines, blocks, table_facts(self.variants, self.lines))

    @property
    def n_lines(self) -> int:
        return len(self.lines)

    @property
    def n_variants(self) -> int:
        return self.variants.height

    @cached_property
    def packed_MB(self) -> np.ndarray:
        """All packed calls in memory, uint8 (M, B); `packed_blocks` streams them."""
        return self.calls.all() if isinstance(self.calls, CallsOnDisk) else self.calls

    @property
    def _streamed(self) -> CallsOnDisk | None:
        """The file, when its calls are too many to keep in memory and have not been read yet."""
        calls = self.calls
        if not isinstance(calls, CallsOnDisk) or calls.size <= KEPT_BYTES or "packed_MB" in self.__dict__:
            return None
        return calls

    @cached_property
    def marker_digest(self) -> str:
        """sha256 (hex) over variant ids, both alleles and their order: what a dosage column means."""
        return marker_digest(self.variants)

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

    def packed_blocks(self, size: int = BLOCK) -> Iterator[tuple[int, np.ndarray]]:
        """Pairs (index of the first variant, uint8 (m, B), m ≤ `size`), in table order; of large tables streamed."""
        if self._streamed is not None:
            yield from self._streamed.blocks(size)
            return
        for start in range(0, self.n_variants, size):
            yield start, self.packed_MB[start : start + size]

    def blocks(self, size: int = BLOCK) -> Iterator[tuple[int, np.ndarray]]:
        """Pairs (index of the first variant, int8 dosages (m, N), m ≤ `size`, −1 missing), in table order."""
        for start, packed_mB in self.packed_blocks(size):
            yield start, packing.unpack(packed_mB, self.n_lines)

    def dosages(self, variants: Variants = None, lines: Sequence[str] | None = None,
                dtype: type[np.int8] | type[np.float32] = np.int8) -> np.ndarray:
        """Decoded calls (N, M) in the order asked for: int8 with −1 missing, or float32 with NaN.

        The array is laid out variant by variant (Fortran order), as the calls are.

        Parameters
        ----------
        variants : see `Variants`.
        lines : line ids; None = all.
        """
        wanted_M = self.variant_rows(variants)
        rows_N = None if lines is None else self.line_rows(lines)
        dosage_MN = np.empty((len(wanted_M), self.n_lines if rows_N is None else len(rows_N)), dtype=dtype)

        def decode(start: int) -> None:
            packed_mB = self._rows_at(wanted_M[start : start + BLOCK])
            block_mN = packing.unpack(packed_mB if rows_N is None else packing.take_lines(packed_mB, rows_N),
                                      dosage_MN.shape[1])
            out_mN = dosage_MN[start : start + BLOCK]
            out_mN[:] = block_mN
            if dtype is np.float32:
                out_mN[block_mN < 0] = np.nan

        threads = None if self._streamed is None else 1
        for _ in in_order(decode, range(0, len(wanted_M), BLOCK), threads):
            pass
        return dosage_MN.T

    def to_torch(self, variants: Variants = None, lines: Sequence[str] | None = None,
                 device: str = "cpu") -> torch.Tensor:
        """Decoded calls as a tensor int8 (N, M), −1 missing: packed calls go to the device and are unpacked there."""
        from genomic_platform.genotypes.device import to_device_dosages

        packed_MB = self._rows_at(self.variant_rows(variants))
        if lines is not None:
            packed_MB = packing.take_lines(packed_MB, self.line_rows(lines))
        return to_device_dosages(packed_MB, self.n_lines if lines is None else len(lines), device).T

    def select(self, variants: Variants = None, lines: Sequence[str] | None = None) -> GenotypeTable:
        """The table of some variants (see `Variants`; they stay in table order) and some lines (in the order given).

        Statistics are those of the lines kept; a variant named twice is taken once. Raises ValueError for unknown
        variants, and for unknown or repeated lines.
        """
        wanted_M = np.unique(self.variant_rows(variants))
        packed_MB = self._rows_at(wanted_M)
        if lines is None:
            packed_MB = np.ascontiguousarray(packed_MB).view()
            packed_MB.flags.writeable = False
            return GenotypeTable(self.variants[wanted_M], self.lines, packed_MB)
        rows_N = self.line_rows(lines)
        if len(rows_N) == 0 or len(np.unique(rows_N)) != len(rows_N):
            raise ValueError("expected at least one line and no line twice")
        return self._measured(self.variants[wanted_M], tuple(lines), packing.take_lines(packed_MB, rows_N))

    def variant_rows(self, variants: Variants) -> np.ndarray:
        """Indices of the variants asked for, int64. Raises ValueError for a mask of the wrong length or unknown ids."""
        if variants is None:
            return np.arange(self.n_variants)
        if isinstance(variants, str):
            return variants_in(self.variants, variants)
        wanted = np.asarray(variants)
        if wanted.dtype == bool:
            if wanted.shape != (self.n_variants,):
                raise ValueError(f"variant mask has shape {wanted.shape}; expected {(self.n_variants,)}")
            return np.flatnonzero(wanted)
        if wanted.dtype.kind not in "UO":
            if wanted.size and not (wanted.min() >= 0 and wanted.max() < self.n_variants):
                raise ValueError(f"variant indices run from {wanted.min()} to {wanted.max()}; expected 0 to "
                                 f"{self.n_variants - 1}")
            return wanted.astype(np.int64)
        row_of = dict(zip(self.variants["variant_id"], range(self.n_variants), strict=True))
        if missing := [name for name in wanted.tolist() if name not in row_of]:
            raise ValueError(f"{len(missing)} variants are not in the table: {', '.join(missing[:5])}")
        return np.array([row_of[name] for name in wanted.tolist()], dtype=np.int64)

    def _rows(self, start: int, stop: int) -> np.ndarray:
        return self._rows_at(np.arange(start, min(stop, self.n_variants)))

    def _rows_at(self, wanted_M: np.ndarray) -> np.ndarray:
        """Packed calls at indices in any order; a contiguous run of a table in memory is a view."""
        if self._streamed is not None:
            distinct_K, place_M = np.unique(wanted_M, return_inverse=True)
            rows_KB = self._streamed.rows(distinct_K)
            return rows_KB if len(distinct_K) == len(wanted_M) and (place_M[1:] > place_M[:-1]).all() \
                else rows_KB[place_M]
        if len(wanted_M) and wanted_M[-1] - wanted_M[0] + 1 == len(wanted_M) and (np.diff(wanted_M) == 1).all():
            return self.packed_MB[wanted_M[0] : wanted_M[-1] + 1]
        return self.packed_MB[wanted_M]


def described(variants: pl.DataFrame, packed_MB: np.ndarray, n_lines: int) -> pl.DataFrame:
    """The contract's columns of variants, with statistics computed from their calls."""
    return variants.select(VARIANT_COLUMNS).with_columns(
        pl.col("position").cast(pl.Int64)).hstack(variant_statistics(packed_MB, n_lines))


def table_facts(variants: pl.DataFrame, lines: tuple[str, ...]) -> dict[str, str | int]:
    """What the footer says of the whole table."""
    return {"ploidy": 2, "coding_digest": marker_digest(variants), "n_lines": len(lines),
            "lines_digest": lines_digest(lines)}


def marker_digest(variants: pl.DataFrame) -> str:
    """sha256 (hex) over variant ids, both alleles and their order."""
    rows = variants.select(pl.concat_str("variant_id", "ref", "alt", separator="\t").str.join("\n")).item()
    return hashlib.sha256((rows or "").encode()).hexdigest()


def table_order(variants: pl.DataFrame) -> np.ndarray:
    """Indices that sort variants by the contract's key; equal keys keep their order.

    Files are usually sorted by position within chromosomes that only come in another order: then runs are moved.
    """
    runs = variants.select(pl.col("chromosome").rle().struct.unnest())
    position_M = variants["position"].to_numpy()
    start_R = np.cumsum([0, *runs["len"]]).tolist()
    rising_M = position_M[1:] > position_M[:-1]
    rising_M[np.array(start_R[1:-1], dtype=np.int64) - 1] = True
    if runs["value"].n_unique() == runs.height and rising_M.all():
        order_R = runs["value"].arg_sort().to_list()
        return np.concatenate([np.arange(0), *(np.arange(start_R[r], start_R[r + 1]) for r in order_R)])
    return variants.select(pl.arg_sort_by(GENOTYPES.sort_key, maintain_order=True)).to_series().to_numpy()
