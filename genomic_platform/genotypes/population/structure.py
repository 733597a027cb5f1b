"""Population structure: principal components of a relationship matrix, or of the calls without that matrix.

Of a matrix, exact, by the largest eigenpairs only: of large ones by Lanczos steps, each a product with the matrix. Of
many lines straight from packed calls, by a few passes over them. Plots belong to whoever shows them.
References: Patterson, Price and Reich 2006, PLoS Genet. 2:e190; Halko et al. 2011, SIAM J. Sci. Comput. 33:2580.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np
import polars as pl

from genomic_platform.genotypes import device as torch_engine
from genomic_platform.genotypes.kinship import codings
from genomic_platform.genotypes.kinship.cross_product import gram_times, line_sums
from genomic_platform.genotypes.population.krylov import largest_eigenpairs
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.schemas.genotypes import POPULATION_STRUCTURE

#: Above this many lines reducing the whole matrix to tridiagonal form costs more than some dozens of products.
_DENSE_LINES = 500


def principal_components(matrix_NN: np.ndarray, lines: Sequence[str], n_components: int = 10) -> pl.DataFrame:
    """Scores of the largest components (contract POPULATION_STRUCTURE).

    The matrix is centred on both sides first; one made with the allele frequencies of the same lines already is.
    Each component's sign makes its largest absolute score positive.

    Parameters
    ----------
    matrix_NN : symmetric relationship (N, N).
    lines : N line ids in its order.
    n_components : at most N are given.
    """
    n = len(lines)
    mean_N = matrix_NN.mean(axis=0)
    centred_NN = matrix_NN - mean_N[:, None] - mean_N[None, :] + mean_N.mean()
    values_K, vectors_NK = _largest(centred_NN, min(n_components, n))
    return _scores(lines, values_K[::-1], vectors_NK[:, ::-1], float(np.trace(centred_NN)))


def streaming_components(table: GenotypeTable, n_components: int = 10, *,
                         scaling: Literal["standardised", "vanraden1"] = "standardised", device: str = "cpu",
                         tolerance: float = 1e-4, seed: int = 0) -> pl.DataFrame:
    """Scores of the largest components (contract POPULATION_STRUCTURE) from packed calls, in memory that grows with N.

    Each pass multiplies all calls with a few dozen vectors; passes end when every component is an eigenpair of the
    relationship within `tolerance` (see `krylov`). Missing calls stand at their variant's mean.

    Parameters
    ----------
    scaling : `standardised`, the relationship `vanraden2`, as PLINK 2's `--pca approx` (eigenvalues too; its scores are
        unit vectors); `vanraden1`, that relationship.
    device : `cpu`, or `cuda` to compute on a graphics card.
    tolerance : largest residual of a pair, as a share of its eigenvalue.
    """
    p_M = np.nan_to_num(table.allele_frequencies())
    value_M4 = codings.standardised(p_M) if scaling == "standardised" else codings.additive(p_M)
    variance_M = 2 * p_M * (1 - p_M)
    scale = float(np.count_nonzero(variance_M) if scaling == "standardised" else variance_M.sum())
    if scale <= 0:
        raise ValueError("no marker varies: components need at least one polymorphic marker")
    product = gram_times if device == "cpu" else partial(torch_engine.gram_times, device=device)
    values_K, vectors_NK = largest_eigenpairs(
        lambda block_NL: product(table, value_M4, block_NL) / scale, table.n_lines,
        min(n_components, table.n_lines), tolerance=tolerance, seed=seed)
    return _scores(table.lines, values_K, vectors_NK, float(line_sums(table, value_M4**2).sum()) / scale)


def _scores(lines: Sequence[str], values_K: np.ndarray, vectors_NK: np.ndarray, total: float) -> pl.DataFrame:
    """Contract POPULATION_STRUCTURE of eigenpairs, largest first; `total` is the sum of all eigenvalues."""
    n, k = vectors_NK.shape
    values_K = np.maximum(values_K, 0)
    largest_K = vectors_NK[np.abs(vectors_NK).argmax(axis=0), np.arange(k)]
    score_NK = vectors_NK * np.where(largest_K < 0, -1, 1) * np.sqrt(values_K)
    share_K = values_K / total if total > 0 else np.zeros(k)
    return POPULATION_STRUCTURE.conform(pl.DataFrame({
        "line_id": np.repeat(np.array(lines, dtype=object), k).tolist(),
        "component": np.tile(np.arange(1, k + 1), n),
        "score": score_NK.ravel(),
        "variance_share": np.tile(share_K, n),
    }))


def _largest(matrix_NN: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k largest eigenvalues, ascending, and their vectors, to machine precision; the same bytes every time."""
    from scipy.linalg import eigh
    from scipy.sparse.linalg import eigsh

    n = len(matrix_NN)
    if n <= _DENSE_LINES:
        return eigh(matrix_NN, subset_by_index=(n - k, n - 1))
    values_K, vectors_NK = eigsh(matrix_NN, k, which="LA", v0=np.random.default_rng(0).standard_normal(n))
    order = np.argsort(values_K)
    return values_K[order], vectors_NK[:, order]
