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
_FOUR_DOSAGES = np.ascontiguousarray(_DOSAGES_OF_BYTE).view("<u4").ravel()  # one word holds four int8 dosages
_ALT_ALLELES = np.maximum(_DOSAGES_OF_BYTE, 0).sum(axis=1).astype(np.uint8)
_CALLS = (_DOSAGES_OF_BYTE >= 0).sum(axis=1).astype(np.uint8)
_HETEROZYGOTES = (_DOSAGES_OF_BYTE == 1).sum(axis=1).astype(np.uint8)
_COUNT_BLOCK = 4096


def n_bytes(n_lines: int) -> int:
    """Bytes that hold one variant's calls."""
    return (n_lines + 3) // 4


def pack(dosage_MN: np.ndarray) -> np.ndarray:
    """Pack int8 dosages (M, N) in {−1, 0, 1, 2} into bytes (M, ceil(N / 4)). Raises ValueError outside that range."""
    if dosage_MN.size and (dosage_MN.min() < MISSING or dosage_MN.max() > 2):
        raise ValueError(f"dosages must be -1 (missing), 0, 1 or 2; found {dosage_MN.min()} to {dosage_MN.max()}")
    m, n = dosage_MN.shape
    codes_MN = np.zeros((m, 4 * n_bytes(n)), dtype=np.uint8)
    codes_MN[:, :n] = _CODE_OF_DOSAGE[dosage_MN + np.int8(1)]
    words_MB = codes_MN.view("<u4")
    return ((words_MB | words_MB >> 6 | words_MB >> 12 | words_MB >> 18) & 0xFF).astype(np.uint8)


def unpack(packed_MB: np.ndarray, n_lines: int) -> np.ndarray:
    """Dosages int8 (M, n_lines), −1 where missing."""
    words_MB = _FOUR_DOSAGES[packed_MB]
    return np.ascontiguousarray(words_MB).view(np.int8).reshape(packed_MB.shape[0], -1)[:, :n_lines]


def clear_padding(packed_MB: np.ndarray, n_lines: int) -> np.ndarray:
    """A copy whose bits past the last line are 00, whatever the writer left there."""
    cleared_MB = packed_MB.copy()
    if n_lines % 4:
        cleared_MB[:, -1] &= (1 << 2 * (n_lines % 4)) - 1
    return cleared_MB


def variant_counts(packed_MB: np.ndarray, n_lines: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per variant: ALT alleles, called lines and heterozygotes, each int64 (M,)."""
    padding = 4 * packed_MB.shape[1] - n_lines  # padding reads as dosage 2
    parts = []
    for start in range(0, packed_MB.shape[0], _COUNT_BLOCK):
        block_MB = packed_MB[start : start + _COUNT_BLOCK]
        parts.append([table[block_MB].sum(axis=1, dtype=np.int64) for table in (_ALT_ALLELES, _CALLS, _HETEROZYGOTES)])
    alt_M, calls_M, het_M = (np.concatenate([np.zeros(0, np.int64), *(p[k] for p in parts)]) for k in range(3))
    return alt_M - 2 * padding, calls_M - padding, het_M
