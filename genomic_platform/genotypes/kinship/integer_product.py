"""Centred Z'Z, z = x − 2p, as an int8 product: several times as fast as float32 where the CPU multiplies bytes.

A call is c = s (x − 1), and where it is missing c = round(s t), t = 2p − 1; s, the steps of the variant, is the one of
`UNITS` that rounds t least. Then z = c/s − t, and centring is three rank-one terms in float64:
Z'Z = Σ c_i c_j / s² − u_i − u_j + Σt², u = Σ c t / s. Calls made are exact; only missing ones are rounded.
Axes: N lines, M variants, m variants of a block, Q quads of variants, P panels of lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np

from genomic_platform.genotypes.kinship.cross_product import half_bytes, line_sums, mirrored
from genomic_platform.genotypes.parallel import in_order
from genomic_platform.genotypes.table import GenotypeTable

#: int8 steps from one dosage to the next.
UNITS = np.array([127, 119, 109, 97])
#: Variants multiplied at once: a column panel of 98 KB and its rows stay in the second cache.
_VARIANTS = 2048
#: Row panels of one piece of work.
_GROUP = 8


@cache
def multiplies_int8() -> bool:
    """Whether the compiler may use AVX-512 VNNI's int8 dot products: this CPU has them and no setting forbids it."""
    from llvmlite.binding import get_host_cpu_features
    from numba import config

    settings = vars(config)
    told = settings["CPU_NAME"] or settings["CPU_FEATURES"] or not settings["ENABLE_AVX"]
    return not told and get_host_cpu_features().get("avx512vnni", False)


def integer_product(table: GenotypeTable, p_M: np.ndarray) -> np.ndarray:
    """Centred Z'Z, float64 (N, N), on a CPU for which `multiplies_int8` holds. `integer_error` says how exact."""
    from genomic_platform.genotypes.kinship.integer_kernels import PANEL, add_lower_products

    code_M4, unit_M, t_M = integer_coding(p_M)
    product_NN = np.zeros((table.n_lines, table.n_lines))
    panels = -(-table.n_lines // PANEL)
    groups = list(range(0, panels, _GROUP))[::-1]  # the longest rows first
    for unit, quad_PQL in in_order(_quads, integer_parts(table, code_M4, unit_M), threads=1):
        def multiply(first: int, unit: int = unit, quad_PQL: np.ndarray = quad_PQL) -> None:
            add_lower_products(quad_PQL, first, min(first + _GROUP, panels), unit**-2, product_NN)

        for _ in in_order(multiply, groups):
            pass
    unsigned_N = line_sums(table, code_M4, 128 / unit_M**2)[0]  # the kernel's rows are c + 128
    product_NN -= unsigned_N
    return centred(product_NN, table, code_M4, unit_M, t_M)


def centred(product_NN: np.ndarray, table: GenotypeTable, code_M4: np.ndarray, unit_M: np.ndarray,
            t_M: np.ndarray) -> np.ndarray:
    """Z'Z from the lower triangle of Σ c_i c_j / s², in place."""
    (u_N,) = line_sums(table, code_M4, t_M / unit_M)
    product_NN -= u_N[:, None]
    product_NN -= u_N - t_M @ t_M
    return mirrored(product_NN)


def integer_error(table: GenotypeTable, p_M: np.ndarray) -> float:
    """The largest error expected of an entry of `integer_product`, in units of Z'Z.

    Only a missing call is rounded, by e = round(s t)/s − t, so that an entry is off by Σ e (missing_i z_j + missing_j
    z_i), whose variance is s_i + s_j with s_i = Σ e² missing_i v, v the mean z² of called lines. Six standard
    deviations of the two worst lines, and what two missing calls at a marker add.
    """
    code_M4, unit_M, t_M = integer_coding(p_M)
    e2_M = (code_M4[:, 1] / unit_M - t_M) ** 2
    missing_M4 = np.broadcast_to(np.array([0, 1, 0, 0], dtype=np.int8), code_M4.shape)
    variance_N, own_N = line_sums(table, missing_M4, e2_M * _mean_square(table, p_M), e2_M)
    return float(6 * np.sqrt(2 * variance_N.max()) + own_N.max())


def integer_coding(p_M: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes int8 (M, 4), steps s (M,) and t = 2p − 1 (M,)."""
    t_M = 2 * p_M - 1
    left_SM = np.abs(np.rint(UNITS[:, None] * t_M) / UNITS[:, None] - t_M)
    unit_M = UNITS[left_SM.argmin(axis=0)]
    return np.stack([unit_M, np.rint(unit_M * t_M), 0 * unit_M, -unit_M], axis=1).astype(np.int8), unit_M, t_M


def integer_parts(table: GenotypeTable, code_M4: np.ndarray, unit_M: np.ndarray,
                  most: int = _VARIANTS) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Steps s, packed calls (m, B) and codes (m, 4) of at most `most` variants with the same steps."""
    for start, packed_mB in table.packed_blocks(len(UNITS) * most):
        here = slice(start, start + len(packed_mB))
        for unit in UNITS:
            at_m = np.flatnonzero(unit_M[here] == unit)
            for first in range(0, len(at_m), most):
                part_m = at_m[first : first + most]
                yield int(unit), packed_mB[part_m], code_M4[here][part_m]


def _quads(part: tuple[int, np.ndarray, np.ndarray]) -> tuple[int, np.ndarray]:
    """Steps and quads, uint32 (P, Q, PANEL); variants that fill the last quad count nothing."""
    from genomic_platform.genotypes.kinship.integer_kernels import PANEL, decode_quads

    unit, packed_mB, code_m4 = part
    fill = -len(packed_mB) % 4
    packed_mB, code_m4 = np.pad(packed_mB, ((0, fill), (0, 0))), np.pad(code_m4, ((0, fill), (0, 0)))
    own_byte_m1 = np.uint64(8) * (np.arange(len(code_m4), dtype=np.uint64) % 4)[:, None]
    first_mP, second_mP = half_bytes(code_m4.view(np.uint8).astype(np.uint64) << own_byte_m1)
    panels = -(-4 * packed_mB.shape[1] // PANEL)
    word_PQW = np.empty((panels, len(packed_mB) // 4, PANEL // 2), dtype=np.uint64)
    decode_quads(packed_mB, first_mP | second_mP << np.uint64(32), word_PQW)
    return unit, word_PQW.view(np.uint32)


def _mean_square(table: GenotypeTable, p_M: np.ndarray) -> np.ndarray:
    """Mean (x − 2p)² of called lines, float64 (M,); 0 where nothing was called."""
    hom_ref_M, het_M, hom_alt_M = (table.variants[c].to_numpy() for c in ("hom_ref", "heterozygous", "hom_alt"))
    square_M = hom_ref_M * (2 * p_M) ** 2 + het_M * (1 - 2 * p_M) ** 2 + hom_alt_M * (2 - 2 * p_M) ** 2
    return square_M / np.maximum(hom_ref_M + het_M + hom_alt_M, 1)
