"""Two bits a call: packing, unpacking and counting diploid ALT dosages, a byte (four calls) at a time.

Only bit work on arrays belongs here. The order is PLINK's .bed with A1 = ALT: 00 = 2 ALT alleles, 01 = missing,
10 = 1, 11 = 0, the first line in the low bits, padding 00 (https://www.cog-genomics.org/plink/1.9/formats#bed).
Axes: M variants, N lines, B = ceil(N / 4) bytes.
"""

from __future__ import annotations

import numpy as np

MISSING = -1
_CODE_OF_DOSAGE = np.array([1, 3, 2, 0], dtype=np.uint8)  # index: dosage + 1
_DOSAGE_OF_CODE = np.array([2, MISSING, 1, 0], dtype=np.int8)

_CODES_OF_BYTE = (np.arange(256, dtype=np.uint8)[:, None] >> np.array([0, 2, 4, 6], dtype=np.uint8)) & 3
_DOSAGES_OF_BYTE = _DOSAGE_OF_CODE[_CODES_OF_BYTE]
_COMPILED_FROM = 1 << 20  # bytes; fewer are looked up before a compiler is imported
_FOUR_DOSAGES = np.ascontiguousarray(_DOSAGES_OF_BYTE).view("<u4").ravel()  # one word holds four int8 dosages


def n_bytes(n_lines: int) -> int:
    """Bytes that hold one variant's calls."""
    return (n_lines + 3) // 4


def pack(dosage_MN: np.ndarray) -> np.ndarray:
    """Pack integers (M, N) in {−1, 0, 1, 2} into bytes (M, ceil(N / 4)). Raises ValueError outside that range."""
    if dosage_MN.size and (dosage_MN.min() < MISSING or dosage_MN.max() > 2):
        raise ValueError(f"dosages must be -1 (missing), 0, 1 or 2; found {dosage_MN.min()} to {dosage_MN.max()}")
    m, n = dosage_MN.shape
    codes_MN = np.zeros((m, 4 * n_bytes(n)), dtype=np.uint8)
    codes_MN[:, :n] = _CODE_OF_DOSAGE[dosage_MN.astype(np.int8, copy=False) + np.int8(1)]
    words_MB = codes_MN.view("<u4")
    return ((words_MB | words_MB >> 6 | words_MB >> 12 | words_MB >> 18) & 0xFF).astype(np.uint8)


def unpack(packed_MB: np.ndarray, n_lines: int) -> np.ndarray:
    """Dosages int8 (M, n_lines), −1 where missing."""
    words_MB = np.empty(packed_MB.shape, dtype="<u4")
    unpack_into(packed_MB, words_MB)
    return words_MB.view(np.int8)[:, :n_lines]


def unpack_into(packed_MB: np.ndarray, words_MB: np.ndarray) -> None:
    """Dosages of four calls into each word of `words_MB`, "<u4" (M, B), whose bytes they are."""
    if packed_MB.size < _COMPILED_FROM:
        np.take(_FOUR_DOSAGES, packed_MB, out=words_MB, mode="clip")  # no byte is out of range: no check
        return
    from genomic_platform.genotypes.packing_kernels import look_up

    look_up(np.ascontiguousarray(packed_MB), _FOUR_DOSAGES, words_MB)


def clear_padding(packed_MB: np.ndarray, n_lines: int) -> np.ndarray:
    """Bits past the last line made 00, whatever the writer left there; a copy where there are any."""
    if n_lines % 4 == 0:
        return packed_MB
    cleared_MB = packed_MB.copy()
    cleared_MB[:, -1] &= (1 << 2 * (n_lines % 4)) - 1
    return cleared_MB


def swapped_alleles(packed_MB: np.ndarray, n_lines: int) -> np.ndarray:
    """Calls that count the other allele, dosage 2 − x, without decoding: code 00 becomes 11 and 11 becomes 00."""
    homozygous_MB = ~(packed_MB ^ packed_MB >> 1) & 0x55  # the low bit of every call whose two bits are equal
    return clear_padding(packed_MB ^ (homozygous_MB | homozygous_MB << 1), n_lines)


def genotype_counts(packed_MB: np.ndarray, n_lines: int) -> np.ndarray:
    """Homozygous reference, heterozygous and homozygous ALT calls of each variant, int64 (3, M), from packed words."""
    from genomic_platform.genotypes.packing_kernels import count_codes

    counts_3M = np.empty((3, len(packed_MB)), dtype=np.int64)
    count_codes(np.ascontiguousarray(packed_MB), n_lines, counts_3M)
    return counts_3M


def take_lines(packed_MB: np.ndarray, rows_N: np.ndarray) -> np.ndarray:
    """Packed calls of some lines, uint8 (M, ceil(len(rows_N) / 4)), in the order of `rows_N` (indices of lines)."""
    from genomic_platform.genotypes import packing_kernels

    taken_MB = np.empty((len(packed_MB), n_bytes(len(rows_N))), dtype=np.uint8)
    packing_kernels.take_lines(np.ascontiguousarray(packed_MB), np.asarray(rows_N, dtype=np.int64), taken_MB)
    return taken_MB
