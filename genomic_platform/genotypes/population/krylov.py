"""The largest eigenpairs of a symmetric matrix that is only known by its products: randomised block Krylov.

Pure linear algebra; what the matrix is belongs to the caller. A product with a block of vectors is a pass over the data
and dear, so the Rayleigh–Ritz step uses the blocks of all passes, and what a pass adds tells how exact the pairs are.
References: Halko, Martinsson, Shkolnisky and Tygert 2011, SIAM J. Sci. Comput. 33:2580; Musco and Musco 2015,
Adv. Neural Inf. Process. Syst. 28.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

#: Up to this many rows one product with the identity, the matrix itself, is as fast as several passes.
_DENSE_ROWS = 1000


def largest_eigenpairs(times: Callable[[np.ndarray], np.ndarray], n: int, k: int, *, tolerance: float = 1e-4,
                       oversampling: int = 12, most_passes: int = 50, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The k largest eigenvalues, descending, and their vectors (N, K).

    Parameters
    ----------
    times : the product of the matrix with float64 (N, L).
    tolerance : passes end when every residual |A v − λ v| is below this share of the pair's own λ.
    oversampling : vectors of a pass beyond k.
    most_passes : passes end after as many, whatever the residuals; also when the vectors are half as many as rows.
    """
    width = k + oversampling
    if n <= max(_DENSE_ROWS, 4 * width):
        values_N, vectors_NN = np.linalg.eigh(times(np.eye(n)))
        return values_N[::-1][:k], vectors_NN[:, ::-1][:, :k]
    most_passes = min(most_passes, n // (2 * width))
    block_NL = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, width)))[0]
    basis_NB, inner_BB = np.zeros((n, 0)), np.zeros((0, 0))
    while True:
        basis_NB = np.concatenate([basis_NB, block_NL], axis=1)
        image_NL = times(block_NL)
        inner_BL = basis_NB.T @ image_NL
        inner_BB = np.block([[inner_BB, inner_BL[:-width]], [inner_BL.T]])
        rest_NL = image_NL - basis_NB @ inner_BL
        rest_NL -= basis_NB @ (basis_NB.T @ rest_NL)  # once leaves rounding errors of the size of what it takes away
        block_NL, beyond_LL = np.linalg.qr(rest_NL)
        values_B, turn_BB = np.linalg.eigh(inner_BB)
        values_K, turn_BK = values_B[::-1][:k], turn_BB[:, ::-1][:, :k]
        residual_K = np.linalg.norm(beyond_LL @ turn_BK[-width:], axis=0)
        if (residual_K <= tolerance * np.abs(values_K)).all() or basis_NB.shape[1] >= most_passes * width:
            return values_K, basis_NB @ turn_BK
