"""REML with equal unknown error variances without eigenvectors: y = 1μ + g + e, Var(g) = σ²g K, Var(e) = σ²e I.

K over contrasts among lines is reduced to a tridiagonal matrix T by orthogonal reflections (4/3 n³ operations, all
traits share them); each evaluation of the likelihood and each solution is then a factorisation of T + δI, O(n).
Errors known from stage one belong to `reml`, tests of markers to `gwas`.
Axes: N lines, Q = N − 1 contrasts, T traits.
References: Golub & Van Loan 2013, Matrix Computations, section 8.3.1; Kang et al. 2008, Genetics 178:1709-1723.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from genomic_platform.models.blup import VarianceComponents
from genomic_platform.models.reml import LARGEST_LOG_RATIO, best_log_ratio


class Estimate(NamedTuple):
    """A trait's components, μ̂, V⁻¹(y − 1μ̂) and restricted log likelihood without the constant, as `blup.solve` has."""

    components: VarianceComponents
    mean: float
    dual_N: np.ndarray
    log_likelihood: float


@dataclass(frozen=True)
class ContrastTridiagonal:
    """B'KB = HTH', B an orthonormal basis (N, Q) of contrasts among lines, H a product of Q − 1 reflections.

    Attributes
    ----------
    diagonal_Q, beside_Q : T's diagonal and, one shorter, the elements beside it.
    reflectors_QQ, scale_Q : H as LAPACK keeps it.
    mean_N : column means of K.
    """

    diagonal_Q: np.ndarray
    beside_Q: np.ndarray
    reflectors_QQ: np.ndarray
    scale_Q: np.ndarray
    mean_N: np.ndarray

    def to_contrasts(self, y_NT: np.ndarray) -> np.ndarray:
        """H'B'y, shape (Q, T)."""
        first, root = _mirror(len(y_NT))
        return self._reflect(y_NT[1:] - first * (y_NT.sum(axis=0) / root + y_NT[0]) / root, "T")

    def to_lines(self, contrast_QT: np.ndarray) -> np.ndarray:
        """BHz, shape (N, T); each column sums to zero."""
        z_QT = self._reflect(contrast_QT, "N")
        first, root = _mirror(len(z_QT) + 1)
        shift_T = first * z_QT.sum(axis=0) / root
        return np.vstack([-shift_T * (1 / root + 1), z_QT - shift_T / root])

    def _reflect(self, z_QT: np.ndarray, trans: str) -> np.ndarray:
        """Hz or H'z: H leaves the first contrast as it is."""
        from scipy.linalg import get_lapack_funcs

        if len(z_QT) < 2:
            return z_QT
        # The reflectors' array has one row of zeros below, for which z gets a zero.
        below_QT = np.vstack([z_QT[1:], np.zeros((1, z_QT.shape[1]))])
        block = 64
        (ormqr,) = get_lapack_funcs(("ormqr",), dtype=np.float64)
        turned_QT, _, failed = ormqr("L", trans, self.reflectors_QQ, self.scale_Q, np.asfortranarray(below_QT),
                                      lwork=block * (z_QT.shape[1] + block + 1), overwrite_c=1)
        if failed:
            raise np.linalg.LinAlgError(f"ormqr refused argument {-failed}")
        return np.vstack([z_QT[:1], turned_QT[:-1]])


def tridiagonal_contrasts(covariance_NN: np.ndarray) -> ContrastTridiagonal:
    """Reduce the line covariance K over contrasts among lines.

    The reflection that takes 1 to the first axis is M = I − c uu', u = 1/√N + (1, 0, …, 0), c = 1 / (1 + 1/√N); B is
    M without its first column, so that B'KB is K without its first line less w_i + w_j.

    Parameters
    ----------
    covariance_NN : symmetric, positive semi-definite up to rounding: eigenvalues just below 0 are lifted to 0.
    """
    from scipy.linalg import eigvalsh_tridiagonal, get_lapack_funcs

    n = len(covariance_NN)
    first, root = _mirror(n)
    mean_N = covariance_NN.mean(axis=0)
    product_N = root * mean_N + covariance_NN[0]
    own = product_N.sum() / root + product_N[0]
    shift_Q = (first * product_N[1:] - 0.5 * first**2 * own / root) / root
    contrast_QQ = np.array(covariance_NN[1:, 1:], order="F", dtype=np.float64)
    contrast_QQ -= shift_Q[:, None]
    contrast_QQ -= shift_Q[None, :]
    sytrd, sytrd_lwork = get_lapack_funcs(("sytrd", "sytrd_lwork"), dtype=np.float64)
    reduced_QQ, diagonal_Q, beside_Q, scale_Q, _ = sytrd(
        contrast_QQ, lower=1, lwork=int(sytrd_lwork(n - 1, lower=1)[0]), overwrite_a=1)
    # Reflector i lies in column i from the second row on. Read one element further on, the same memory is the array
    # ormqr wants, if the elements above the diagonal in the first row, which become its last row, are zero.
    reduced_QQ[0, 1:] = 0.0
    flat = reduced_QQ.ravel(order="K")
    reflectors_QQ = flat[1:1 + (n - 1) * (n - 2)].reshape((n - 1, n - 2), order="F")
    smallest = eigvalsh_tridiagonal(diagonal_Q, beside_Q, select="i", select_range=(0, 0))[0]
    return ContrastTridiagonal(diagonal_Q - min(smallest, 0.0), beside_Q, reflectors_QQ, scale_Q, mean_N)


def tridiagonal_reml(y_NT: np.ndarray, reduced: ContrastTridiagonal) -> list[Estimate]:
    """REML and solution of T traits on the same lines; δ = σ²e / σ²g is found as `spectral_reml` finds it.

    Parameters
    ----------
    y_NT : line means, shape (N, T) or (N,) for one trait; no missing values, each trait varies.
    """
    columns_NT = y_NT.reshape(len(y_NT), -1)
    z_QT = reduced.to_contrasts(columns_NT)
    found = [_at_best(z_Q, reduced) for z_Q in z_QT.T]
    dual_NT = reduced.to_lines(np.column_stack([dual_Q for _, dual_Q, _ in found]))
    return [Estimate(components, float(y_N.mean() - components.genetic * (reduced.mean_N @ dual_N)), dual_N,
                     likelihood - 0.5 * float(np.log(len(y_N))))
            for (components, _, likelihood), y_N, dual_N in zip(found, columns_NT.T, dual_NT.T, strict=True)]


def tridiagonal_likelihood(y_NT: np.ndarray, reduced: ContrastTridiagonal) -> np.ndarray:
    """Largest restricted log likelihood of each trait, shape (T,), comparable between covariances of the same lines."""
    z_QT = reduced.to_contrasts(y_NT.reshape(len(y_NT), -1))
    return np.array([_at_best(z_Q, reduced)[2] for z_Q in z_QT.T])


def _at_best(z_Q: np.ndarray, reduced: ContrastTridiagonal) -> tuple[VarianceComponents, np.ndarray, float]:
    """Components, H'B'V⁻¹(y − 1μ̂) and the restricted log likelihood over contrasts."""
    q = len(z_Q)

    def deviance(log_ratio: float) -> float:
        """−2 × restricted log likelihood, σ²g profiled out (Kang et al. 2008, eq. 7), without the constant."""
        weighted_Q, log_determinant = _solve(z_Q, reduced, float(np.exp(log_ratio)))
        return q * float(np.log(z_Q @ weighted_Q)) + log_determinant

    log_ratio, _ = best_log_ratio(deviance)
    if log_ratio > LARGEST_LOG_RATIO:
        error = float(z_Q @ z_Q) / q
        return VarianceComponents(0.0, 0.0, error), z_Q / error, -0.5 * q * (float(np.log(error)) + 1)
    ratio = float(np.exp(log_ratio))
    weighted_Q, log_determinant = _solve(z_Q, reduced, ratio)
    genetic = float(z_Q @ weighted_Q) / q
    components = VarianceComponents(genetic, 0.0, genetic * ratio)
    return components, weighted_Q / genetic, -0.5 * (q * (float(np.log(genetic)) + 1) + log_determinant)


def _solve(z_Q: np.ndarray, reduced: ContrastTridiagonal, ratio: float) -> tuple[np.ndarray, float]:
    """(T + δI)⁻¹ z and log |T + δI|."""
    from scipy.linalg import get_lapack_funcs

    pttrf, pttrs = get_lapack_funcs(("pttrf", "pttrs"), dtype=np.float64)
    pivot_Q, factor_Q, failed = pttrf(reduced.diagonal_Q + ratio, reduced.beside_Q)
    if failed:
        raise np.linalg.LinAlgError(f"covariance of {len(z_Q) + 1} lines is not positive semi-definite")
    return pttrs(pivot_Q, factor_Q, z_Q)[0], float(np.log(pivot_Q).sum())


def _mirror(n: int) -> tuple[float, float]:
    """c and √N of the reflection M."""
    root = float(np.sqrt(n))
    return 1 / (1 + 1 / root), root
