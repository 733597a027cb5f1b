"""Packed calls turned to words of 64 markers per line, so that lines are compared by bit operations and counts.

A table's bytes hold four lines of one variant; here a word holds one line's 64 variants, in three planes: homozygous
REF, heterozygous, homozygous ALT. A missing call has no bit in any. What is compared belongs to whoever compares.
Axes: N lines, W = ceil(m / 64) words of a block of m variants; the first variant is the lowest bit of the first word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from genomic_platform.genotypes import packing
from genomic_platform.genotypes.table import GenotypeTable

BLOCK = 4096  # variants: at 5,000 lines the three planes of a block take 8 MB


class LineBits(NamedTuple):
    """Planes of one block of variants, uint64 (W, N) each; `start` is its first variant, `size` their number."""

    start: int
    size: int
    ref_WN: np.ndarray
    het_WN: np.ndarray
    alt_WN: np.ndarray

    @property
    def called_WN(self) -> np.ndarray:
        return self.ref_WN | self.het_WN | self.alt_WN

    def take(self, rows_K: np.ndarray) -> LineBits:
        """The planes of lines at `rows_K`, (W, K); row −1 is a line without any call."""
        absent_K = rows_K < 0
        planes = [plane_WN[:, rows_K] for plane_WN in self[2:]]
        for plane_WK in planes:
            plane_WK[:, absent_K] = 0
        return LineBits(self.start, self.size, *planes)


def line_bits(table: GenotypeTable, lines: Sequence[str] | None = None, size: int = BLOCK) -> Iterator[LineBits]:
    """Blocks of a table in its order, of all lines or those given; memory is one block, packed and in planes."""
    rows_N = None if lines is None else table.line_rows(lines)
    for start, packed_mB in table.packed_blocks(size):
        if rows_N is not None:
            packed_mB = packing.take_lines(packed_mB, rows_N)
        yield bit_planes(packed_mB, table.n_lines if rows_N is None else len(rows_N), start)


def bit_planes(packed_mB: np.ndarray, n_lines: int, start: int = 0) -> LineBits:
    """Planes of packed calls uint8 (m, B)."""
    from genomic_platform.genotypes.quality.line_bits_kernels import split_codes

    n_words = -(-len(packed_mB) // 64)
    planes = [np.empty((n_words, packed_mB.shape[1], 4), dtype=np.uint64) for _ in range(3)]
    split_codes(np.ascontiguousarray(packed_mB), *planes)
    return LineBits(start, len(packed_mB), *(plane.reshape(n_words, -1)[:, :n_lines] for plane in planes))


def count_bits(words_WK: np.ndarray) -> np.ndarray:
    """Bits set of each line, int64 (K,)."""
    return np.bitwise_count(words_WK).sum(axis=0, dtype=np.int64)


def count_markers(words_WK: np.ndarray, size: int) -> np.ndarray:
    """Lines with the bit set, of each of the block's `size` variants, int64 (m,)."""
    bytes_WK8 = np.ascontiguousarray(words_WK).astype("<u8", copy=False).view(np.uint8).reshape(*words_WK.shape, 8)
    counts = [np.unpackbits(bytes_K8, axis=-1, bitorder="little").sum(axis=0, dtype=np.int64) for bytes_K8 in bytes_WK8]
    return np.concatenate([np.zeros(0, dtype=np.int64), *counts])[:size]
