"""Int8 products of packed calls by the processor's own instruction (AVX-512 VNNI), a tile of 8 × 48 lines at a time.

Imported inside functions, and only where `integer_product.multiplies_int8` holds. The instruction multiplies four
unsigned by four signed bytes in each of sixteen lanes, so calls lie in quads: one 32-bit word is one line's calls c at
four variants, and the unsigned side holds c + 128.
Axes: m variants, Q = m / 4 quads, P panels of 48 lines, N lines, B = ceil(N / 4) bytes.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.extending import intrinsic

#: Lines of a panel: three vectors of sixteen words. With eight rows that is 24 sums, which fit the 32 registers.
PANEL = 48
ROWS = 8
_VECTORS = PANEL // 16
_TO_UNSIGNED = np.uint32(0x80808080)


@intrinsic
def multiply_tile(typing_context, rows, columns, n_quads, tile):
    """Σ_q rows[q, r] · columns[q, c] into int32 `tile` (ROWS, PANEL); arguments are addresses of contiguous arrays."""
    word, vector = ir.IntType(32), ir.VectorType(ir.IntType(32), 16)

    def build(context, builder, signature, arguments):
        rows_at, columns_at, n_quads, tile_at = arguments
        instruction = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), "llvm.x86.avx512.vpdpbusd.512")
        rows_at = builder.inttoptr(rows_at, word.as_pointer())
        columns_at = builder.inttoptr(columns_at, word.as_pointer())
        tile_at = builder.inttoptr(tile_at, word.as_pointer())

        def vector_at(base, index):
            return builder.bitcast(builder.gep(base, [index]), vector.as_pointer())

        before, loop, after = builder.block, builder.append_basic_block("quads"), builder.append_basic_block("after")
        index = n_quads.type
        builder.branch(loop)
        builder.position_at_end(loop)
        quad = builder.phi(index)
        sums = [[builder.phi(vector) for _ in range(_VECTORS)] for _ in range(ROWS)]
        first_column = builder.mul(quad, index(PANEL))
        column_words = []
        for v in range(_VECTORS):
            load = builder.load(vector_at(columns_at, builder.add(first_column, index(16 * v))), typ=vector)
            load.align = 4
            column_words.append(load)
        added = []
        for r in range(ROWS):
            one = builder.load(builder.gep(rows_at, [builder.add(builder.mul(quad, index(ROWS)), index(r))]), typ=word)
            single = builder.insert_element(ir.Constant(vector, ir.Undefined), one, word(0))
            spread = builder.shuffle_vector(single, single, ir.Constant(vector, [0] * 16))
            added.append([builder.call(instruction, [sums[r][v], spread, column_words[v]]) for v in range(_VECTORS)])
        following = builder.add(quad, index(1))
        quad.add_incoming(index(0), before)
        quad.add_incoming(following, loop)
        for r in range(ROWS):
            for v in range(_VECTORS):
                sums[r][v].add_incoming(ir.Constant(vector, [0] * 16), before)
                sums[r][v].add_incoming(added[r][v], loop)
        builder.cbranch(builder.icmp_signed("<", following, n_quads), loop, after)
        builder.position_at_end(after)
        for r in range(ROWS):
            for v in range(_VECTORS):
                builder.store(added[r][v], vector_at(tile_at, index(r * PANEL + 16 * v)), align=4)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp, types.intp), build


@njit(cache=True, nogil=True)
def decode_quads(packed_mB: np.ndarray, pair_mP: np.ndarray, word_PQW: np.ndarray) -> None:
    """Calls as quads, two lines a 64-bit word; `pair_mP` has what each half byte stands for, in its variant's byte."""
    for q in range(word_PQW.shape[1]):
        for b in range(packed_mB.shape[1]):
            low, high = np.uint64(0), np.uint64(0)
            for v in range(4 * q, 4 * q + 4):
                byte = packed_mB[v, b]
                low |= pair_mP[v, byte & 15]
                high |= pair_mP[v, byte >> 4]
            panel, at = divmod(2 * b, word_PQW.shape[2])
            word_PQW[panel, q, at] = low
            word_PQW[panel, q, at + 1] = high


@njit(cache=True, nogil=True)
def add_lower_products(quad_PQL: np.ndarray, first: int, last: int, scale: float, product_NN: np.ndarray) -> None:
    """Add scale × Σ (c_i + 128) c_j to `product_NN`, of lines i in panels `first` to `last` − 1 and all j up to i.

    The rows are copied in the order of the inner loop once, and stay in the second cache while column panels pass.
    """
    n_lines, n_quads = len(product_NN), quad_PQL.shape[1]
    strips = PANEL // ROWS
    row_SQR = np.empty(((last - first) * strips, n_quads, ROWS), dtype=np.uint32)
    for s in range(len(row_SQR)):
        panel, at = first + s // strips, s % strips * ROWS
        for q in range(n_quads):
            for r in range(ROWS):
                row_SQR[s, q, r] = quad_PQL[panel, q, at + r] ^ _TO_UNSIGNED
    tile_RL = np.empty((ROWS, PANEL), dtype=np.int32)
    for panel in range(last):
        column = panel * PANEL
        for s in range(len(row_SQR)):
            line = first * PANEL + s * ROWS
            if line + ROWS <= column:
                continue
            multiply_tile(row_SQR[s].ctypes.data, quad_PQL[panel].ctypes.data, n_quads,
                          tile_RL.ctypes.data)  # pyright: ignore[reportCallIssue]
            for r in range(min(ROWS, n_lines - line)):
                for c in range(min(PANEL, n_lines - column)):
                    product_NN[line + r, column + c] += scale * tile_RL[r, c]
