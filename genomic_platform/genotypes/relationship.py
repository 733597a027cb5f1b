"""Who is related to whom, from markers: VanRaden's relationship, squared distances, identity by state.

All of it is streamed over blocks of variants by matrix products, so memory is the packed table, one decoded block
and the N × N result. What models do with a relationship belongs in `models/`.
Axes: N lines, M markers, m markers of a block; z = dosage − 2p, and a missing call counts as 2p, so that z = 0.
Reference: VanRaden 2008, J. Dairy Sci. 91:4414, method 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from genomic_platform.genotypes.table import GenotypeTable

_BLOCK_CELLS = 8_000_000  # float32 cells of one centred block: 32 MB


@dataclass(frozen=True, eq=False)
class Relationship:
    """A genomic relationship matrix and what it was centred and scaled by.

    Attributes
    ----------
    matrix_NN : float64 (N, N), symmetric, in the order of the table's lines.
    scale : 2 Σ p (1 − p) over markers.
    frequencies_M : float64 (M,), the ALT frequencies p used; 0 where nothing was called.
    """

    matrix_NN: np.ndarray
    scale: float
    frequencies_M: np.ndarray


def vanraden(table: GenotypeTable, frequencies_M: np.ndarray | None = None) -> Relationship:
    """VanRaden 2008, method 1: G = Z Z' / 2 Σ p (1 − p), with z = dosage − 2p and missing calls at 2p.

    Block products are float32, summed in float64: the error stays below 1e-6 of the mean diagonal.

    Parameters
    ----------
    table : N lines, M markers.
    frequencies_M : ALT frequencies of the base; None = those of all lines of `table`.

    Raises
    ------
    ValueError : no marker varies (scale 0), or the frequencies do not fit the markers.
    """
    p_M = _frequencies(table, frequencies_M)
    scale = float(2 * np.sum(p_M * (1 - p_M)))
    if scale <= 0:
        raise ValueError("no marker varies: a relationship needs at least one polymorphic marker")
    product_NN = np.zeros((table.n_lines, table.n_lines))
    for z_mN in _centred_blocks(table, p_M):
        product_NN += z_mN.T @ z_mN
    product_NN /= scale
    return Relationship(product_NN, scale, p_M)


def cross_relationship(new: GenotypeTable, panel: GenotypeTable, frequencies_M: np.ndarray,
                       scale: float) -> np.ndarray:
    """Relationship of new lines with a panel's, float64 (N_new, N_panel), centred and scaled as the panel was.

    Raises ValueError when the two tables do not hold the same markers and alleles in the same order.
    """
    return _cross_product(new, panel, _frequencies(panel, frequencies_M)) / scale


def squared_distances(table: GenotypeTable, other: GenotypeTable | None = None,
                      frequencies_M: np.ndarray | None = None) -> np.ndarray:
    """Squared Euclidean marker distances Σ (z_i − z_j)², float64 (N, N) or (N, N_other), with missing calls at 2p.

    Parameters
    ----------
    table, other : the same markers in the same order; `other` None = distances within `table`, diagonal 0.
    frequencies_M : ALT frequencies p at which missing calls stand; None = those of `table`.
    """
    p_M = _frequencies(table, frequencies_M)
    if other is None:
        product_NN = np.zeros((table.n_lines, table.n_lines))
        for z_mN in _centred_blocks(table, p_M):
            product_NN += z_mN.T @ z_mN
        left_N = right_N = np.diagonal(product_NN).copy()
    else:
        product_NN = _cross_product(table, other, p_M)
        left_N, right_N = (sum((np.einsum("mn,mn->n", z_mN, z_mN, dtype=np.float64)
                                for z_mN in _centred_blocks(t, p_M)), np.zeros(t.n_lines)) for t in (table, other))
    product_NN *= -2
    product_NN += left_N[:, None]
    product_NN += right_N[None, :]
    return np.maximum(product_NN, 0, out=product_NN)


def identity_by_state(table: GenotypeTable) -> np.ndarray:
    """IBS = 1 − mean |x_i − x_j| / 2 over markers called in both, float64 (N, N), 0–1; 0 where none is shared.

    With a = [x ≥ 1] and b = [x = 2], |x_i − x_j| = |a_i − a_j| + |b_i − b_j|, which is matrix products of 0 and 1:
    exact in float32 within a block.
    """
    n = table.n_lines
    difference_NN, shared_NN = np.zeros((n, n)), np.zeros((n, n))
    for _, block_mN in table.blocks(_block_size(n)):
        thresholds_mN = np.concatenate([block_mN >= 1, block_mN >= 2]).astype(np.float32)
        alleles_N = np.maximum(block_mN, 0).astype(np.float32)
        called_mN = (block_mN >= 0).astype(np.float32)
        difference_NN -= 2 * (thresholds_mN.T @ thresholds_mN)
        if called_mN.all():
            row_N = alleles_N.sum(axis=0, dtype=np.float64)
            difference_NN += row_N[:, None] + row_N[None, :]
            shared_NN += len(block_mN)
        else:
            one_sided_NN = alleles_N.T @ called_mN
            difference_NN += one_sided_NN
            difference_NN += one_sided_NN.T
            shared_NN += called_mN.T @ called_mN
    return np.where(shared_NN > 0, 1 - difference_NN / (2 * np.maximum(shared_NN, 1)), 0.0)


def close_pairs(table: GenotypeTable, threshold: float = 0.99) -> pl.DataFrame:
    """Pairs of lines with IBS > `threshold`: columns line_1, line_2 (in table order), ibs; closest first."""
    ibs_NN = identity_by_state(table)
    first_P, second_P = np.nonzero(np.triu(ibs_NN > threshold, k=1))
    lines = np.array(table.lines, dtype=object)
    pairs = {"line_1": lines[first_P].tolist(), "line_2": lines[second_P].tolist(), "ibs": ibs_NN[first_P, second_P]}
    schema = {"line_1": pl.String, "line_2": pl.String, "ibs": pl.Float64}
    return pl.DataFrame(pairs, schema=schema).sort("ibs", descending=True, maintain_order=True)


def identical_lines(table: GenotypeTable, threshold: float = 0.99) -> list[set[str]]:
    """Groups of two or more lines linked by IBS > `threshold` (clones, duplicates), in table order of their first."""
    from scipy.sparse.csgraph import connected_components

    n_groups, group_N = connected_components(identity_by_state(table) > threshold, directed=False)
    if n_groups == table.n_lines:
        return []
    groups: dict[int, set[str]] = {}
    for line, group in zip(table.lines, group_N.tolist(), strict=True):
        groups.setdefault(group, set()).add(line)
    return [members for members in groups.values() if len(members) > 1]


def _frequencies(table: GenotypeTable, frequencies_M: np.ndarray | None) -> np.ndarray:
    p_M = table.allele_frequencies() if frequencies_M is None else np.asarray(frequencies_M, dtype=np.float64)
    if p_M.shape != (table.n_variants,):
        raise ValueError(f"frequencies_M has shape {p_M.shape}; expected {(table.n_variants,)}, one for each marker")
    return np.nan_to_num(p_M, nan=0.0)


def _block_size(n_lines: int) -> int:
    return max(256, min(4096, _BLOCK_CELLS // max(n_lines, 1)))


def _centred_blocks(table: GenotypeTable, p_M: np.ndarray, size: int | None = None) -> Iterator[np.ndarray]:
    twice_p_M = (2 * p_M).astype(np.float32)
    for start, block_mN in table.blocks(size or _block_size(table.n_lines)):
        z_mN = block_mN - twice_p_M[start : start + len(block_mN), None]
        z_mN[block_mN < 0] = 0
        yield z_mN


def _cross_product(left: GenotypeTable, right: GenotypeTable, p_M: np.ndarray) -> np.ndarray:
    if left.marker_digest != right.marker_digest:
        raise ValueError(f"the two tables hold different markers, alleles or orders of them ({left.n_variants} and "
                         f"{right.n_variants} markers); select the same markers in both first")
    size = min(_block_size(left.n_lines), _block_size(right.n_lines))
    product_NN = np.zeros((left.n_lines, right.n_lines))
    for left_mN, right_mN in zip(_centred_blocks(left, p_M, size), _centred_blocks(right, p_M, size), strict=True):
        product_NN += left_mN.T @ right_mN
    return product_NN
