"""The streaming engine: products over variants, Z'Z and Z'Z·Q, from packed calls in bounded memory.

What a call counts as is a coding, value_M4 (see `codings`), and one decoder serves every engine: float32 here, int8 and
graphics cards in `device.py`. What is multiplied and why belongs in `relationship.py` and
`population/structure.py`.
Memory: the result, three decoded blocks (`BLOCK_BYTES` each; `gram_times` holds tiles) and one band of products.
Axes: N lines, M variants, m variants of a block, B = ceil(N / 4) bytes, L right-hand sides; Z is (M, N).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from genomic_platform.genotypes.parallel import available_cores, in_order
from genomic_platform.genotypes.table import GenotypeTable

BLOCK_BYTES = 64_000_000
#: Lines whose products with all lines before them are computed at once, so that only one triangle is.
BAND = 1024
#: Bytes of a decoded tile that stays in a core's share of the cache between its two products.
_TILE_BYTES = 8_000_000
#: Variants of a block: a longer float32 sum loses digits.
FLOAT32_VARIANTS = 2048
_CROSS_VARIANTS = 512  # of few lines BLAS sums one after the other
_PAIR_TYPE = {np.dtype(np.int8): np.uint16, np.dtype(np.float32): np.uint64}


def self_product(table: GenotypeTable, value_M4: np.ndarray) -> np.ndarray:
    """Z'Z, float64 (N, N), exactly symmetric: products of blocks in float32, summed in float64.

    The error of an entry is below 1e-6 of the mean diagonal for the codings of `codings`.
    """
    product_NN = np.zeros((table.n_lines, table.n_lines))
    for _, z_mN in decoded_blocks(table, value_M4):
        for start, stop in bands(table.n_lines):
            band_mR = z_mN[:, start:stop]
            product_NN[start:stop, :start] += band_mR.T @ z_mN[:, :start]
            product_NN[start:stop, start:stop] += band_mR.T @ band_mR  # numpy computes one triangle of A'A
    return mirrored(product_NN)


def cross_product(left: GenotypeTable, right: GenotypeTable, value_M4: np.ndarray,
                  right_value_M4: np.ndarray | None = None) -> np.ndarray:
    """Z_left'Z_right, float64 (N_left, N_right), of the same markers, coded alike unless `right_value_M4` is given.

    Raises ValueError when the two tables do not hold the same markers and alleles in the same order.
    """
    if left.marker_digest != right.marker_digest:
        raise ValueError(f"the two tables hold different markers, alleles or orders of them ({left.n_variants} and "
                         f"{right.n_variants} markers); select the same markers in both first")
    size = min(_CROSS_VARIANTS, block_size(max(left.n_lines, right.n_lines)))
    lefts = decoded_blocks(left, value_M4, size)
    rights = decoded_blocks(right, value_M4 if right_value_M4 is None else right_value_M4, size)
    product_NN = np.zeros((left.n_lines, right.n_lines))
    for (_, left_mN), (_, right_mN) in zip(lefts, rights, strict=True):
        product_NN += left_mN.T @ right_mN
    return product_NN


def line_sums(table: GenotypeTable, value_M4: np.ndarray, *weights_M: np.ndarray) -> np.ndarray:
    """Σ_m w z of every line for each of the weights, float64 (W, N); without weights Σ_m z, (N,)."""
    from genomic_platform.genotypes.kinship.product_kernels import add_line_sums

    if not weights_M:
        return line_sums(table, value_M4, np.ones(len(value_M4)))[0]
    value_M4 = _decodable(value_M4)

    def work(block: tuple[int, np.ndarray]) -> np.ndarray:
        start, packed_mB = block
        here = slice(start, start + len(packed_mB))
        z_mN, block_WN = decoded(packed_mB, value_M4[here], table.n_lines), np.zeros((len(weights_M), table.n_lines))
        for sum_N, weight_M in zip(block_WN, weights_M, strict=True):
            add_line_sums(z_mN, weight_M[here], sum_N)
        return block_WN

    sums_WN = np.zeros((len(weights_M), table.n_lines))
    for block_WN in in_order(work, table.packed_blocks(block_size(table.n_lines, 4 * available_cores()))):
        sums_WN += block_WN
    return sums_WN


def gram_times(table: GenotypeTable, value_M4: np.ndarray, right_NL: np.ndarray) -> np.ndarray:
    """Z'(Z right), float64 (N, L), in one pass over the calls: tiles are multiplied twice while they are in cache."""
    from threadpoolctl import threadpool_limits

    n, value_M4 = table.n_lines, value_M4.astype(np.float32)
    right_NL = right_NL.astype(np.float32)
    # With fewer variants than columns, adding to the result costs more than the products.
    wide = min(right_NL.shape[1], BLOCK_BYTES // (4 * n))
    tile = max(16, _TILE_BYTES // (4 * n), wide)

    def work(block: tuple[int, np.ndarray]) -> np.ndarray:
        start, packed_mB = block
        sum_LN = np.zeros((right_NL.shape[1], n), dtype=np.float32)
        for at in range(0, len(packed_mB), tile):
            z_mN = decoded(packed_mB[at : at + tile], value_M4[start + at : start + at + tile], n)
            sum_LN += (z_mN @ right_NL).T @ z_mN
        return sum_LN

    total_LN = np.zeros((right_NL.shape[1], n))
    with threadpool_limits(1, "blas"):  # a thread for each block, rather than all of them on one thin product
        for sum_LN in in_order(work, table.packed_blocks(8 * tile)):
            total_LN += sum_LN
    return total_LN.T


def decoded(packed_mB: np.ndarray, value_m4: np.ndarray, n_lines: int) -> np.ndarray:
    """The numbers that calls stand for, (m, n_lines), of the dtype of `value_m4` (int8 or float32)."""
    from genomic_platform.genotypes.kinship.product_kernels import decode_pairs

    pair_mP2 = np.stack(half_bytes(value_m4), axis=2)
    z_mN = np.empty((len(packed_mB), 4 * packed_mB.shape[1]), dtype=value_m4.dtype)
    word = _PAIR_TYPE[value_m4.dtype]
    decode_pairs(packed_mB, pair_mP2.view(word)[:, :, 0], z_mN.view(word))
    return z_mN[:, :n_lines]


def _decodable(value_M4: np.ndarray) -> np.ndarray:
    return value_M4 if value_M4.dtype == np.int8 else value_M4.astype(np.float32)


def half_bytes(value_m4: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the first and the second line of each of the 16 half bytes stand for, (m, 16) both."""
    half_byte_P = np.arange(16)
    return value_m4[:, half_byte_P & 3], value_m4[:, half_byte_P >> 2]


def decoded_blocks(table: GenotypeTable, value_M4: np.ndarray,
                   size: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """Pairs (index of the first variant, `decoded` block (m, N)); the next block is decoded meanwhile."""
    value_M4 = _decodable(value_M4)

    def work(block: tuple[int, np.ndarray]) -> tuple[int, np.ndarray]:
        start, packed_mB = block
        return start, decoded(packed_mB, value_M4[start : start + len(packed_mB)], table.n_lines)

    size = size or block_size(table.n_lines)
    yield from in_order(work, table.packed_blocks(size), threads=1)


def block_size(n_lines: int, itemsize: int = 4, most: int = FLOAT32_VARIANTS) -> int:
    """Variants of a decoded block of at most `BLOCK_BYTES`, at most `most`."""
    return max(64, min(most, BLOCK_BYTES // (itemsize * max(n_lines, 1))))


def bands(n_lines: int) -> Iterator[tuple[int, int]]:
    """First and last line + 1 of each band."""
    for start in range(0, n_lines, BAND):
        yield start, min(start + BAND, n_lines)


def mirrored(lower_NN: np.ndarray) -> np.ndarray:
    """Copy the triangle below the diagonal to the one above, in place."""
    for start, stop in bands(len(lower_NN)):
        own_RR = lower_NN[start:stop, start:stop]
        own_RR[:] = np.tril(own_RR) + np.tril(own_RR, -1).T
        for before, until in bands(start):
            lower_NN[before:until, start:stop] = lower_NN[start:stop, before:until].T
    return lower_NN
