"""Population structure: principal components of a relationship matrix.

Exact, by the largest eigenpairs only: of large matrices by Lanczos steps, each a product with the matrix. Plots belong
to whoever shows them.
Reference: Patterson, Price and Reich 2006, PLoS Genet. 2:e190.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

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
    k = min(n_components, n)
    values_K, vectors_NK = _largest(centred_NN, k)
    values_K, vectors_NK = np.maximum(values_K[::-1], 0), vectors_NK[:, ::-1]
    largest_K = vectors_NK[np.abs(vectors_NK).argmax(axis=0), np.arange(k)]
    score_NK = vectors_NK * np.where(largest_K < 0, -1, 1) * np.sqrt(values_K)
    total = float(np.trace(centred_NN))
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
