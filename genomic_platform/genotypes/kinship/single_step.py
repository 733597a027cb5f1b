"""Relationship of all lines when only some are genotyped: H, the pedigree's A with what markers say worked in.

A comes from `pedigree.py`, G from `relationship.py`; what models do with H belongs in `models/`.
Axes: N lines, G genotyped lines; 1 = not genotyped, 2 = genotyped where the papers' blocks are meant.
References: Legarra, Aguilar & Misztal 2009, J. Dairy Sci. 92:4656; Aguilar et al. 2010, J. Dairy Sci. 93:743;
Christensen & Lund 2010, Genet. Sel. Evol. 42:2; Vitezica et al. 2011, Genet. Res. 93:357; Christensen et al. 2012,
Animal 6:1565.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from genomic_platform.genotypes.kinship.pedigree import OrderedPedigree, inverse_relationship, numerator_relationship

if TYPE_CHECKING:
    from scipy.sparse import csc_array

BLEND = 0.05
_BLOCK_CELLS = 4_000_000  # float64 cells of one block of rows of H: 32 MB
_SINGULAR = 1e-8  # smallest squared pivot of A22, of its largest, that is not taken as 0


@dataclass(frozen=True, eq=False)
class SingleStep:
    """H and how G was brought to A's scale: G* = (1 − blend)(shift + slope · G) + blend · A22.

    Attributes
    ----------
    lines : N line ids in the order of the matrix.
    matrix_NN : float64 (N, N), symmetric; positive definite where A and G* are.
    shift, slope : 0 and 1 without tuning.
    blend : share of A22 in G*.
    """

    lines: tuple[str, ...]
    matrix_NN: np.ndarray
    shift: float
    slope: float
    blend: float


def single_step(pedigree: OrderedPedigree, genotyped: Sequence[str], genomic_GG: np.ndarray,
                lines: Sequence[str] | None = None, *, blend: float = BLEND, tune: bool = True) -> SingleStep:
    """H of the lines asked for, informed by all genotyped lines whether asked for or not (Legarra et al. 2009, eq. 4).

    Parameters
    ----------
    pedigree : must hold every line (`ordered_pedigree(records, lines)` takes lines without a row as founders).
    genotyped : G line ids in the order of `genomic_GG`.
    genomic_GG : relationship from markers, float64 (G, G).
    lines : line ids; None = the whole pedigree in its order.
    blend : share of A22 in G*, 0–1: the part of the variance that markers miss. G of fewer markers than lines, or
        centred by its own lines, is singular without.
    tune : bring G to the mean diagonal and mean off-diagonal of A22 first (see `tuning`).

    Raises
    ------
    ValueError : a line is not in the pedigree or listed twice, shapes disagree, or G cannot be tuned.
    """
    wanted = pedigree.lines if lines is None else tuple(lines)
    if len(set(wanted)) < len(wanted):
        raise ValueError("expected no line twice among the lines asked for")
    place = {line: row for row, line in enumerate(dict.fromkeys((*wanted, *genotyped)))}
    rows_G = np.array([place[line] for line in genotyped], dtype=np.int64)
    h_NN, shift, slope = blended_matrix(numerator_relationship(pedigree, list(place)), rows_G, genomic_GG, blend=blend,
                                        tune=tune)
    return SingleStep(wanted, h_NN[: len(wanted), : len(wanted)], shift, slope, blend)


def blended_matrix(pedigree_NN: np.ndarray, rows_G: np.ndarray, genomic_GG: np.ndarray, *, blend: float = BLEND,
                   tune: bool = True) -> tuple[np.ndarray, float, float]:
    """H from a ready A (overwritten, and returned) and G, with shift and slope.

        H = A + C (G* − A22) C',   C = A·2 A22⁻¹  (C is the identity for genotyped lines, so that H22 = G*)

    Where lines are determined by others (the F1 of two inbred lines, with both parents genotyped) A22 is singular and
    its Moore–Penrose inverse serves: C remains a regression on the genotyped lines, H non-negative definite.

    Parameters
    ----------
    pedigree_NN : A, float64 (N, N).
    rows_G : rows of the genotyped lines in A, in the order of `genomic_GG`.
    """
    if len(np.unique(rows_G)) != len(rows_G):
        raise ValueError("expected no genotyped line twice")
    own_GG = pedigree_NN[np.ix_(rows_G, rows_G)]
    adjusted_GG, shift, slope = adjusted(genomic_GG, own_GG, blend, tune)
    regression_NG = pedigree_regression(pedigree_NN[:, rows_G], own_GG)
    regression_NG[rows_G] = np.eye(len(rows_G))
    change_GN = (adjusted_GG - own_GG) @ regression_NG.T
    size = max(16, _BLOCK_CELLS // max(len(pedigree_NN), 1))
    for start in range(0, len(pedigree_NN), size):
        rest = slice(start, None)  # the upper part alone: its mirror image makes H exactly symmetric
        pedigree_NN[start : start + size, rest] += regression_NG[start : start + size] @ change_GN[:, rest]
    for start in range(0, len(pedigree_NN), size):
        stop = start + size
        square = pedigree_NN[start:stop, start:stop]
        pedigree_NN[start:stop, start:stop] = (square + square.T) / 2
        pedigree_NN[stop:, start:stop] = pedigree_NN[start:stop, stop:].T
    pedigree_NN[np.ix_(rows_G, rows_G)] = adjusted_GG
    return pedigree_NN, shift, slope


def single_step_inverse(pedigree: OrderedPedigree, genotyped: Sequence[str], genomic_GG: np.ndarray, *,
                        blend: float = BLEND, tune: bool = True) -> csc_array:
    """H⁻¹ = A⁻¹ + [0 0; 0 G*⁻¹ − A22⁻¹] of the whole pedigree, sparse (N, N) (Aguilar et al. 2010, eq. 3).

    Raises
    ------
    ValueError : A or G* is singular (lines determined by others; few markers unblended), besides `single_step`'s.
    """
    from scipy.linalg import LinAlgError, cho_factor, cho_solve
    from scipy.sparse import coo_array, csc_array

    inverse_NN = inverse_relationship(pedigree)
    own_GG = numerator_relationship(pedigree, genotyped)
    adjusted_GG, _, _ = adjusted(genomic_GG, own_GG, blend, tune)
    try:
        identity_GG = np.eye(len(own_GG))
        change_GG = cho_solve(cho_factor(adjusted_GG), identity_GG) - cho_solve(cho_factor(own_GG), identity_GG)
    except LinAlgError as error:
        raise ValueError(f"G* has no inverse ({error}); expected a positive definite one: blend more of A into it than "
                         f"{blend:g}, or use `single_step`") from error
    rows_G = pedigree.rows(genotyped)
    block = coo_array(((change_GG + change_GG.T).ravel() / 2, (np.repeat(rows_G, len(rows_G)),
                                                              np.tile(rows_G, len(rows_G)))), shape=inverse_NN.shape)
    return csc_array(inverse_NN + block)


def adjusted(genomic_GG: np.ndarray, own_GG: np.ndarray, blend: float = BLEND,
             tune: bool = True) -> tuple[np.ndarray, float, float]:
    """G* = (1 − blend)(shift + slope · G) + blend · A22, shift and slope; tuned first, so that blending keeps it."""
    if genomic_GG.shape != own_GG.shape:
        raise ValueError(f"G has shape {genomic_GG.shape}; expected {own_GG.shape}, one row for each genotyped line")
    if not 0 <= blend <= 1:
        raise ValueError(f"blend must be between 0 and 1; found {blend:g}")
    shift, slope = tuning(genomic_GG, own_GG) if tune else (0.0, 1.0)
    return (1 - blend) * (shift + slope * genomic_GG) + blend * own_GG, shift, slope


def tuning(genomic_GG: np.ndarray, own_GG: np.ndarray) -> tuple[float, float]:
    """shift and slope that give G the mean diagonal and mean off-diagonal of A22.

    G counts from the genotyped lines' own frequencies, A from the founders: shift is the relationship that selection
    and drift have built up since (Vitezica et al. 2011), slope the variance they have cost (Christensen et al. 2012).

    Raises
    ------
    ValueError : fewer than two lines, or G's diagonal does not stand out from the rest.
    """
    if len(genomic_GG) < 2:
        raise ValueError("tuning needs at least two genotyped lines; pass tune=False")
    (g_diagonal, g_rest), (a_diagonal, a_rest) = _means(genomic_GG), _means(own_GG)
    if g_diagonal <= g_rest or a_diagonal <= a_rest:
        raise ValueError(f"G cannot be tuned to A: mean diagonals {g_diagonal:g} and {a_diagonal:g}, off-diagonals "
                         f"{g_rest:g} and {a_rest:g}; expected larger diagonals; pass tune=False")
    slope = (a_diagonal - a_rest) / (g_diagonal - g_rest)
    return a_rest - slope * g_rest, slope


def _means(matrix_GG: np.ndarray) -> tuple[float, float]:
    n, diagonal = len(matrix_GG), float(np.trace(matrix_GG))
    return diagonal / n, (float(matrix_GG.sum()) - diagonal) / (n * (n - 1))


def pedigree_regression(cross_NG: np.ndarray, own_GG: np.ndarray) -> np.ndarray:
    """A·2 A22⁻¹, float64 (N, G), from A·2 and A22; by the Moore–Penrose inverse where A22 is singular."""
    from scipy.linalg import LinAlgError, cho_solve, cholesky, pinvh

    try:
        factor_GG = cholesky(own_GG)
        pivot_G = np.diagonal(factor_GG) ** 2
        if len(pivot_G) and pivot_G.min() > _SINGULAR * pivot_G.max():
            return np.ascontiguousarray(cho_solve((factor_GG, False), cross_NG.T).T)
    except LinAlgError:
        pass
    return cross_NG @ pinvh(own_GG, rtol=_SINGULAR)
