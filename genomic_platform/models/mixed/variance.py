"""Variance components of several random terms by restricted maximum likelihood.

y = Xb + Σ u_k + e, V = Σ σ²_k K_k + σ²_e D (or + R, known). Average-information steps (Gilmour, Thompson & Cullis 1995,
Biometrics 51:1440-1450; Johnson & Thompson 1995, J. Dairy Sci. 78:449-456) after one EM step, halved while they lose
likelihood, and EM where no AI step gains (Dempster, Laird & Rubin 1977, J. R. Stat. Soc. B 39:1-38).
What is made of the components belongs to `model`. Axes: N records, F fixed effects, K components.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genomic_platform.models.reml import unsupported

MAX_ITERATIONS = 200
MAX_HALVINGS = 8
#: Log likelihood that a step must promise to be taken: less moves no estimate by more than a thousandth of its standard
#: error.
MIN_GAIN = 1e-7
#: A component below this share of the variance of a record is 0, if the likelihood does not want it larger.
NEGLIGIBLE = 1e-9


@dataclass(frozen=True, eq=False)
class Projection:
    """At given components: P = V⁻¹ − V⁻¹X(X'V⁻¹X)⁻¹X'V⁻¹ and what comes with it.

    Attributes
    ----------
    projected_N : Py. effect_F : b̂, generalised least squares. effect_FF : its covariance (X'V⁻¹X)⁻¹.
    log_likelihood : restricted, without the constant.
    """

    p_NN: np.ndarray
    projected_N: np.ndarray
    effect_F: np.ndarray
    effect_FF: np.ndarray
    log_likelihood: float


@dataclass(frozen=True, eq=False)
class Components:
    """REML estimates.

    Attributes
    ----------
    theta_K : variance components in the order of the covariances. at : the model at them.
    information_KK : average information; its inverse approximates the covariance of the estimates.
    converged : False where the iterations ran out.
    """

    theta_K: np.ndarray
    at: Projection
    information_KK: np.ndarray
    converged: bool

    @property
    def standard_error_K(self) -> np.ndarray:
        """Of components above 0; NaN at the boundary."""
        error_K = np.full(len(self.theta_K), np.nan)
        free = np.flatnonzero(self.theta_K > 0)
        if free.size:
            inverse = np.linalg.pinv(self.information_KK[np.ix_(free, free)])
            error_K[free] = np.sqrt(np.maximum(np.diagonal(inverse), 0.0))
        return error_K


def reml(y_N: np.ndarray, fixed_NF: np.ndarray, covariances: Sequence[np.ndarray],
         known_N: np.ndarray | None = None, start_K: np.ndarray | None = None) -> Components:
    """Components of V = Σ θ_k K_k + diag(known), each θ_k ≥ 0.

    Parameters
    ----------
    y_N : records, finite. fixed_NF : X, independent columns.
    covariances : K_k, each of shape (N, N), or (N,) for a diagonal one, such as that of the errors, 1 / weights.
    known_N : error variances taken as known; None = 0, and then one of the covariances must have full rank.
    start_K : where to begin; None = equal shares of the variance about the fixed effects.

    Raises
    ------
    numpy.linalg.LinAlgError : V is not positive definite anywhere on the way.
    """
    theta_K = _equal_shares(y_N, fixed_NF, covariances, known_N) if start_K is None else np.array(start_K, float)
    at = project(y_N, fixed_NF, covariances, theta_K, known_N)
    least_K = NEGLIGIBLE * float(np.var(y_N)) / _sizes(covariances)
    for iteration in range(MAX_ITERATIONS):
        gradient_K, information_KK = _derivatives(at, covariances)
        if iteration == 0 and start_K is None:
            theta_K = em_step(theta_K, gradient_K, covariances)
            at = project(y_N, fixed_NF, covariances, theta_K, known_N)
            continue
        theta_K = np.where((theta_K < least_K) & (gradient_K <= 0), 0.0, theta_K)
        step_K = bounded_step(theta_K, gradient_K, information_KK)
        if gradient_K @ step_K - 0.5 * step_K @ information_KK @ step_K < MIN_GAIN:
            return Components(theta_K, at, information_KK, True)
        moved = _ascended(y_N, fixed_NF, covariances, known_N, at, theta_K, step_K)
        if moved is None:
            candidate_K = em_step(theta_K, gradient_K, covariances)
            moved = candidate_K, project(y_N, fixed_NF, covariances, candidate_K, known_N)
            if moved[1].log_likelihood - at.log_likelihood < MIN_GAIN:
                return Components(theta_K, at, information_KK, True)
        theta_K, at = moved
    return Components(theta_K, at, _derivatives(at, covariances)[1], False)


def project(y_N: np.ndarray, fixed_NF: np.ndarray, covariances: Sequence[np.ndarray], theta_K: np.ndarray,
            known_N: np.ndarray | None) -> Projection:
    """The model at given components, by one Cholesky factor and its inverse, n³ operations."""
    from scipy.linalg import cho_factor, get_lapack_funcs

    v_NN = np.zeros((len(y_N), len(y_N)), order="F")
    diagonal_N = v_NN.ravel(order="K")[:: len(y_N) + 1]
    diagonal_N += 0.0 if known_N is None else known_N
    for theta, covariance in zip(theta_K, covariances, strict=True):
        if covariance.ndim == 1:
            diagonal_N += theta * covariance
        elif theta > 0:
            v_NN += theta * covariance
    factor_NN = cho_factor(v_NN, lower=True, overwrite_a=True, check_finite=False)[0]
    log_determinant = 2 * float(np.log(np.diagonal(factor_NN)).sum())
    (potri,) = get_lapack_funcs(("potri",), (factor_NN,))
    p_NN = np.tril(potri(factor_NN, lower=1, overwrite_c=1)[0])
    p_NN += np.tril(p_NN, -1).T
    weighted_NF = p_NN @ fixed_NF
    effect_FF = np.linalg.inv(fixed_NF.T @ weighted_NF)
    effect_F = effect_FF @ (weighted_NF.T @ y_N)
    p_NN -= weighted_NF @ effect_FF @ weighted_NF.T
    projected_N = p_NN @ y_N
    log_determinant -= float(np.linalg.slogdet(effect_FF)[1])
    return Projection(p_NN, projected_N, effect_F, effect_FF, -0.5 * (log_determinant + float(y_N @ projected_N)))


def em_step(theta_K: np.ndarray, gradient_K: np.ndarray, covariances: Sequence[np.ndarray]) -> np.ndarray:
    """θ + 2θ² gradient / N: the EM step with as many effects as records; it gains likelihood and stays positive."""
    return theta_K + 2 * theta_K**2 * gradient_K / len(covariances[0])


def bounded_step(theta_K: np.ndarray, gradient_K: np.ndarray, information_KK: np.ndarray) -> np.ndarray:
    """AI⁻¹ × gradient over the components that may move; one that would pass 0 goes to 0 and the others adapt."""
    none_K = unsupported(theta_K, gradient_K, information_KK)
    free_K = ((theta_K > 0) | (gradient_K > 0)) & ~none_K
    step_K = np.where(none_K, -theta_K, 0.0)
    for _ in range(len(theta_K)):
        rest_K = gradient_K - information_KK @ np.where(free_K, 0.0, step_K)
        at = np.flatnonzero(free_K)
        step_K[at] = np.linalg.lstsq(information_KK[np.ix_(at, at)], rest_K[at], rcond=None)[0]
        outward_K = free_K & (theta_K + step_K < 0)
        if not outward_K.any():
            break
        step_K[outward_K] = -theta_K[outward_K]
        free_K &= ~outward_K
    return np.maximum(step_K, -theta_K)


def _ascended(y_N: np.ndarray, fixed_NF: np.ndarray, covariances: Sequence[np.ndarray], known_N: np.ndarray | None,
              at: Projection, theta_K: np.ndarray, step_K: np.ndarray) -> tuple[np.ndarray, Projection] | None:
    """The step, halved until the likelihood does not fall; None where no such step was found."""
    for halving in range(MAX_HALVINGS):
        candidate_K = np.maximum(theta_K + step_K * 0.5**halving, 0.0)
        try:
            tried = project(y_N, fixed_NF, covariances, candidate_K, known_N)
        except np.linalg.LinAlgError:  # no error variance left and a singular K: a shorter step keeps some
            continue
        if tried.log_likelihood >= at.log_likelihood:
            return candidate_K, tried
    return None


def _derivatives(at: Projection, covariances: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Gradient −½ [tr PK_k − y'PK_kPy] and average information ½ y'PK_kPK_lPy."""
    product_NK = np.column_stack([_times(k, at.projected_N) for k in covariances])
    trace_K = np.array([np.diagonal(at.p_NN) @ k if k.ndim == 1 else np.vdot(at.p_NN, k) for k in covariances])
    return (-0.5 * (trace_K - product_NK.T @ at.projected_N), 0.5 * product_NK.T @ at.p_NN @ product_NK)


def _times(covariance: np.ndarray, x_N: np.ndarray) -> np.ndarray:
    return covariance * x_N if covariance.ndim == 1 else covariance @ x_N


def _sizes(covariances: Sequence[np.ndarray]) -> np.ndarray:
    """Mean variance of a record in units of each component; 1 where it is 0."""
    mean_K = np.array([float((k if k.ndim == 1 else np.diagonal(k)).mean()) for k in covariances])
    return np.where(mean_K > 0, mean_K, 1.0)


def _equal_shares(y_N: np.ndarray, fixed_NF: np.ndarray, covariances: Sequence[np.ndarray],
                  known_N: np.ndarray | None) -> np.ndarray:
    rest_N = y_N - fixed_NF @ np.linalg.lstsq(fixed_NF, y_N, rcond=None)[0]
    variance = float(rest_N @ rest_N) / max(len(y_N) - fixed_NF.shape[1], 1)
    known = 0.0 if known_N is None else float(known_N.mean())
    return max(variance - known, 0.1 * variance) / len(covariances) / _sizes(covariances)
