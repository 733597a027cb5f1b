"""Compiled loops over packed calls: counting codes a word at a time, taking lines out of packed rows.

Imported inside functions only, since importing the compiler takes longer than most of the work. `packing.py` says what
the codes are. Axes: M variants, N lines, B = ceil(N / 4) bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numba.core.extending import intrinsic

_LOW_BITS = np.uint64(0x5555555555555555)
_LOW_BITS_OF_BYTE = np.uint8(0x55)


if TYPE_CHECKING:
    def popcount(word: np.integer | int) -> int:
        """Bits set in a word."""
        ...
else:
    @intrinsic
    def popcount(typing_context, word):
        """Bits set in a word: the processor's instruction, a vector of words at a time where it has one."""
        def build(context, builder, signature, arguments):
            return builder.ctpop(arguments[0])
        return word(word), build


@njit(cache=True, nogil=True)
def count_codes(packed_MB: np.ndarray, n_lines: int, counts_3M: np.ndarray) -> None:
    """Homozygous reference, heterozygous and homozygous ALT calls of each variant, into int64 (3, M)."""
    n_variants, n_bytes = packed_MB.shape
    whole = n_bytes // 8 * 8
    for v in range(n_variants):
        low, high, both = np.uint64(0), np.uint64(0), np.uint64(0)
        for word in packed_MB[v, :whole].view(np.uint64):
            low_bits, high_bits = word & _LOW_BITS, (word >> np.uint64(1)) & _LOW_BITS
            low += popcount(low_bits)
            high += popcount(high_bits)
            both += popcount(low_bits & high_bits)
        for byte in packed_MB[v, whole:]:
            low_byte, high_byte = byte & _LOW_BITS_OF_BYTE, (byte >> np.uint8(1)) & _LOW_BITS_OF_BYTE
            low += np.uint64(popcount(np.uint8(low_byte)))
            high += np.uint64(popcount(np.uint8(high_byte)))
            both += np.uint64(popcount(np.uint8(low_byte & high_byte)))
        counts_3M[0, v] = both
        counts_3M[1, v] = high - both
        counts_3M[2, v] = n_lines - low - (high - both)


@njit(cache=True, nogil=True)
def look_up(packed_MB: np.ndarray, table: np.ndarray, words_MB: np.ndarray) -> None:
    """`table[byte]` of every byte."""
    for v in range(packed_MB.shape[0]):
        for b in range(packed_MB.shape[1]):
            words_MB[v, b] = table[packed_MB[v, b]]


@njit(cache=True, nogil=True)
def take_lines(packed_MB: np.ndarray, rows_N: np.ndarray, taken_MB: np.ndarray) -> None:
    """Calls of the lines at `rows_N`, in that order, packed into `taken_MB` (M, ceil(len(rows_N) / 4))."""
    n_lines = len(rows_N)
    for v in range(packed_MB.shape[0]):
        for b in range(taken_MB.shape[1]):
            byte = np.uint8(0)
            for k in range(min(4, n_lines - 4 * b)):
                row = rows_N[4 * b + k]
                code = (packed_MB[v, row >> 2] >> np.uint8(2 * (row & 3))) & np.uint8(3)
                byte |= np.uint8(code << np.uint8(2 * k))
            taken_MB[v, b] = byte
