"""Relationship by descent: the numerator relationship A of a pedigree, rows of it, and its sparse inverse.

Parents and selfing in, arrays out; files are `phenotypes/pedigree.py`'s, markers `relationship.py`'s, both together
`single_step.py`'s. Axes: N lines of the pedigree, parents before progeny; K lines asked for.
References: Henderson 1976, Biometrics 32:69; Quaas 1976, Biometrics 32:949; Meuwissen & Luo 1992, Genet. Sel. Evol.
24:305; Colleau 2002, Genet. Sel. Evol. 34:409.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from genomic_platform.genotypes.parallel import in_order

if TYPE_CHECKING:
    from scipy.sparse import csc_array

_BLOCK_CELLS = 4_000_000  # float64 cells of one block of columns of A: 32 MB
_NO_VARIANCE = 1e-9  # a Mendelian sampling variance below this is 0 but for rounding (a line's own is at most 2)


@dataclass(frozen=True, eq=False)
class OrderedPedigree:
    """A pedigree, parents before progeny, with what A is made of: A = T D T', T unit lower triangular.

    Attributes
    ----------
    lines : N line ids, by generation and name, so that rows in any order give the same arrays.
    parents_N2 : int64, rows of both parents, −1 = unknown.
    inbreeding_N : F, coefficients of inbreeding, 0–1; A_ii = 1 + F_i.
    mendelian_N : d, the diagonal of D: variance that a line has beyond the mean of its parents.
    """

    lines: tuple[str, ...]
    parents_N2: np.ndarray
    inbreeding_N: np.ndarray
    mendelian_N: np.ndarray

    @cached_property
    def row_of_line(self) -> dict[str, int]:
        return {line: row for row, line in enumerate(self.lines)}

    def rows(self, lines: Sequence[str]) -> np.ndarray:
        """Rows of `lines`, int64 (K,). Raises ValueError naming lines that are not in the pedigree."""
        if missing := [line for line in lines if line not in self.row_of_line]:
            raise ValueError(f"{len(missing)} lines are not in the pedigree: {', '.join(missing[:5])}")
        return np.array([self.row_of_line[line] for line in lines], dtype=np.int64)


def ordered_pedigree(records: pl.DataFrame, lines: Sequence[str] = (),
                     founder_inbreeding: float = 0.0) -> OrderedPedigree:
    """Order a pedigree and compute inbreeding and Mendelian sampling variances (Meuwissen & Luo 1992).

    With f = 1 − (1/2)^s reached in s generations of selfing after the cross p × q (1 = doubled or fully inbred)

        1 + F_i = 2 − (1 − f_i)(1 − A_pq / 2),    d_i = 1 + F_i − (A_pp + A_qq + 2 A_pq) / 4,

    which is what a pedigree with every selfed generation as a row of its own gives, since a line's relationship with
    others stays (A_pj + A_qj) / 2 while it is selfed; f = 0 is Henderson's d = 1/2 − (F_p + F_q) / 4. An unknown
    parent is unrelated to all lines: A_pq = 0. A line without parents has F = f and d = 1 + F, 2 when fully inbred.

    Parameters
    ----------
    records : columns line_id, parent_1, parent_2, inbreeding (contract PEDIGREE), rows in any order.
    lines : lines that must be there: those without a row become founders, as do parents without one.
    founder_inbreeding : F of founders that declare none; other lines that declare none were not selfed (f = 0).

    Raises
    ------
    ValueError : a line has two rows or descends from itself.
    """
    from genomic_platform.genotypes.kinship import pedigree_kernels as kernels

    names, parents_N2, declared_N = _rows(records, lines)
    order = _by_generation(names, parents_N2)
    place = np.empty(len(order) + 1, dtype=np.int64)
    place[order], place[-1] = np.arange(len(order)), -1
    parents_N2 = np.ascontiguousarray(place[parents_N2[order]])
    founder_N = (parents_N2 < 0).all(axis=1)
    selfed_N = np.where(np.isnan(declared_N[order]), np.where(founder_N, founder_inbreeding, 0.0), declared_N[order])
    _, cross_N = np.unique(np.sort(parents_N2, axis=1), axis=0, return_inverse=True)
    inbreeding_N, mendelian_N = np.empty(len(order)), np.empty(len(order))
    kernels.inbreeding(parents_N2, cross_N.reshape(-1), selfed_N, inbreeding_N, mendelian_N)
    mendelian_N[mendelian_N < _NO_VARIANCE] = 0
    return OrderedPedigree(tuple(names[i] for i in order), parents_N2, inbreeding_N, mendelian_N)


def numerator_relationship(pedigree: OrderedPedigree, lines: Sequence[str] | None = None,
                           threads: int | None = None) -> np.ndarray:
    """A between the lines asked for, float64 (K, K), symmetric, in their order (Colleau 2002).

    Columns A e_k are solved in blocks by one sweep from progeny to parents and one back, over the ancestors of the
    lines asked for alone: memory is the result and a few blocks of 32 MB.

    Parameters
    ----------
    lines : line ids; None = all of the pedigree, in its order.

    Raises
    ------
    ValueError : a line is not in the pedigree.
    """
    from genomic_platform.genotypes.kinship import pedigree_kernels as kernels

    rows_K = np.arange(len(pedigree.lines)) if lines is None else pedigree.rows(lines)
    kept_N = _with_ancestors(pedigree.parents_N2, rows_K)
    place = np.append(np.cumsum(kept_N) - 1, -1)
    parents_N2 = np.ascontiguousarray(place[pedigree.parents_N2[kept_N]])
    mendelian_N, rows_K = pedigree.mendelian_N[kept_N], place[rows_K]
    matrix_KK = np.empty((len(rows_K), len(rows_K)))
    size = max(16, _BLOCK_CELLS // max(len(mendelian_N), 1))

    def solve(start: int) -> None:
        columns = rows_K[start : start + size]
        stop = start + len(columns)
        block_NK = np.zeros((len(mendelian_N), len(columns)))
        block_NK[columns, np.arange(len(columns))] = 1
        kernels.times_relationship(parents_N2, mendelian_N, block_NK)
        square = block_NK[columns]
        matrix_KK[start:stop, start:stop] = (square + square.T) / 2
        matrix_KK[stop:, start:stop] = block_NK[rows_K[stop:]]
        matrix_KK[start:stop, stop:] = matrix_KK[stop:, start:stop].T

    for _ in in_order(solve, range(0, len(rows_K), size), threads):
        pass
    return matrix_KK


def inverse_relationship(pedigree: OrderedPedigree) -> csc_array:
    """A⁻¹ = (I − P)' D⁻¹ (I − P) of the whole pedigree, sparse (N, N); P has 1/2 at each parent (Henderson 1976).

    Raises
    ------
    ValueError : a line has no variance of its own beyond its parents', as the F1 of two fully inbred lines: A is
        singular; the lines are named.
    """
    from scipy.sparse import coo_array, csc_array, dia_array

    n = len(pedigree.lines)
    fixed = [pedigree.lines[i] for i in np.flatnonzero(pedigree.mendelian_N == 0)]
    if fixed:
        raise ValueError(f"A has no inverse: {len(fixed)} lines are determined by their parents, fully inbred lines: "
                         f"{', '.join(fixed[:5])}; use the matrix itself, or leave them out")
    child, slot = np.nonzero(pedigree.parents_N2 >= 0)
    rows = np.concatenate([np.arange(n), child])
    columns = np.concatenate([np.arange(n), pedigree.parents_N2[child, slot]])
    values = np.concatenate([np.ones(n), np.full(len(child), -0.5)])
    own_NN = csc_array(coo_array((values, (rows, columns)), shape=(n, n)))  # both parents the same line: −1
    precision_NN = dia_array((1 / pedigree.mendelian_N[None], [0]), shape=(n, n))
    return csc_array(own_NN.T @ precision_NN @ own_NN)


def _rows(records: pl.DataFrame, lines: Sequence[str]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names, rows of parents int64 (N, 2) and declared inbreeding (N,; NaN = none), with all founders added."""
    names = records["line_id"].to_list()
    row_of = {name: row for row, name in enumerate(names)}
    if len(row_of) < len(names):
        raise ValueError(f"expected one row a line; found {len(names)} rows of {len(row_of)} lines")
    columns = [records["parent_1"].to_list(), records["parent_2"].to_list()]
    for name in (*columns[0], *columns[1], *lines):
        if name is not None:
            row_of.setdefault(name, len(row_of))
    parents_N2 = np.full((len(row_of), 2), -1, dtype=np.int64)
    declared_N = np.full(len(row_of), np.nan)
    for slot, column in enumerate(columns):
        parents_N2[: len(names), slot] = [-1 if name is None else row_of[name] for name in column]
    declared_N[: len(names)] = records["inbreeding"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    return list(row_of), parents_N2, declared_N


def _by_generation(names: list[str], parents_N2: np.ndarray) -> np.ndarray:
    """Rows ordered by generation (1 + the later parent's; founders 0) and then name."""
    generation_N = np.zeros(len(names) + 1, dtype=np.int64)
    generation_N[-1] = -1
    for _ in range(len(names) + 1):
        later_N = generation_N[parents_N2].max(axis=1, initial=-1) + 1
        if (later_N == generation_N[:-1]).all():
            return np.array(sorted(range(len(names)), key=lambda i: (later_N[i], names[i])), dtype=np.int64)
        generation_N[:-1] = later_N
    deepest = names[int(np.argmax(generation_N[:-1]))]
    raise ValueError(f"the pedigree has a loop: {deepest!r} or an ancestor of it descends from itself")


def _with_ancestors(parents_N2: np.ndarray, rows_K: np.ndarray) -> np.ndarray:
    """Boolean (N,): the rows given and all rows they descend from."""
    kept = np.zeros(len(parents_N2) + 1, dtype=bool)
    kept[rows_K] = True
    frontier = rows_K
    while len(frontier):
        above = np.unique(parents_N2[frontier])
        frontier = above[(above >= 0) & ~kept[above]]
        kept[frontier] = True
    return kept[:-1]
