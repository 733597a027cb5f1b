"""The mixed model of one trait, y = 1μ + g + r + e, solved: mean, predictions, prediction error variances.

Var(g) = σ²g K for any line covariance K (relationship, kernel), Var(r) = σ²r I, Var(e) = σ²e I, or R = D + UU' known
from stage one. With V₀ = V − UU', X = [1 U] and Λ = diag(0, 1, …, 1), P = V₀⁻¹ − V₀⁻¹X (X'V₀⁻¹X + Λ)⁻¹ X'V₀⁻¹: errors
that lines share are covariates of variance 1 beside the mean. Components are estimated in `reml`, K is the recipes'.
Reference: Henderson 1975, Biometrics 31:423-447; Searle, Casella, McCulloch 2006, chapter 7.
Axes: N training lines, Q lines to be valued, F = 1 + number of loadings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class VarianceComponents:
    """σ²g, σ²r, σ²e of a trait, squared units of the trait.

    Attributes
    ----------
    genetic : σ²g, scale of the line covariance K.
    line_residual : σ²r, value of the line that K does not explain; 0 unless `errors_known`.
    error : σ²e; with known errors the mean diagonal of R.
    errors_known : R came from stage one, so that σ²r is identified.
    """

    genetic: float
    line_residual: float
    error: float
    errors_known: bool = False


class KnownErrors(NamedTuple):
    """R = D + UU' of N line means: own error variances D > 0 and loadings U, shape (N, B), of the errors they share."""

    own_N: np.ndarray
    loadings_NB: np.ndarray

    @property
    def diagonal_N(self) -> np.ndarray:
        return self.own_N + (self.loadings_NB**2).sum(axis=1)

    def of(self, rows: np.ndarray) -> KnownErrors:
        return KnownErrors(self.own_N[rows], self.loadings_NB[rows])


class LineValues(NamedTuple):
    """Values of Q lines, deviations from the mean, with reliabilities 0–1."""

    value_Q: np.ndarray
    value_reliability_Q: np.ndarray
    total_Q: np.ndarray
    total_reliability_Q: np.ndarray


@dataclass(frozen=True)
class MixedSolution:
    """V⁻¹ and what follows from it, for one trait at given components.

    Attributes
    ----------
    diagonal_N : D + σ²r. inverse_NN : V₀⁻¹, lower triangle, upper triangle zero, Fortran order.
    covariates_NF : X. weighted_NF : V₀⁻¹X. covariance_FF : (X'V₀⁻¹X + Λ)⁻¹.
    mean : μ̂, generalised least squares. dual_N : V⁻¹(y − 1μ̂) = Py.
    log_likelihood : restricted, without the constant.
    """

    components: VarianceComponents
    diagonal_N: np.ndarray
    inverse_NN: np.ndarray
    covariates_NF: np.ndarray
    weighted_NF: np.ndarray
    covariance_FF: np.ndarray
    mean: float
    dual_N: np.ndarray
    log_likelihood: float

    @property
    def inverse_diagonal_N(self) -> np.ndarray:
        return np.diagonal(self.inverse_NN)

    def project(self, x_N: np.ndarray) -> np.ndarray:
        """P x."""
        return (_symmetric_times(self.inverse_NN, x_N)
                - self.weighted_NF @ (self.covariance_FF @ (self.weighted_NF.T @ x_N)))


def solve(y_N: np.ndarray, covariance_NN: np.ndarray, components: VarianceComponents,
          errors: KnownErrors | None = None) -> MixedSolution:
    """Solve the mixed model at given components by one Cholesky factor and its inverse, n³ operations.

    Parameters
    ----------
    y_N : line means, trait's unit.
    covariance_NN : K of the same lines, symmetric, positive semi-definite.
    errors : R, known; None = σ²e I.

    Raises
    ------
    numpy.linalg.LinAlgError : V is not positive definite.
    """
    from scipy.linalg import get_lapack_funcs

    covariates_NF = np.ones((len(y_N), 1))
    diagonal_N = np.full(len(y_N), components.error)
    if errors is not None:
        covariates_NF = np.hstack([covariates_NF, errors.loadings_NB])
        diagonal_N = errors.own_N + components.line_residual
    v_NN = np.multiply(covariance_NN, components.genetic, order="F")
    v_NN.ravel(order="K")[:: len(y_N) + 1] += diagonal_N
    potrf, potri = get_lapack_funcs(("potrf", "potri"), (v_NN,))
    factor_NN, failed = potrf(v_NN, lower=1, clean=1, overwrite_a=1)
    if failed:
        raise np.linalg.LinAlgError(f"covariance of {len(y_N)} line means is not positive definite "
                                    f"(pivot {failed}; components {components})")
    log_determinant = 2 * float(np.log(np.diagonal(factor_NN)).sum())
    inverse_NN, _ = potri(factor_NN, lower=1, overwrite_c=1)
    weighted_NF = _symmetric_times(inverse_NN, covariates_NF)
    information_FF = covariates_NF.T @ weighted_NF + np.diag(np.r_[0.0, np.ones(covariates_NF.shape[1] - 1)])
    covariance_FF = np.linalg.inv(information_FF)
    effect_F = covariance_FF @ (weighted_NF.T @ y_N)
    dual_N = _symmetric_times(inverse_NN, y_N - covariates_NF @ effect_F)
    log_determinant += float(np.linalg.slogdet(information_FF)[1])
    mean = float(effect_F[0])
    log_likelihood = -0.5 * (log_determinant + float((y_N - mean) @ dual_N))
    return MixedSolution(components, diagonal_N, inverse_NN, covariates_NF, weighted_NF, covariance_FF, mean, dual_N,
                         log_likelihood)


def line_values(solution: MixedSolution, cross_QN: np.ndarray, own_Q: np.ndarray, training_Q: np.ndarray) -> LineValues:
    """BLUP of g and of g + r for Q lines, with reliability 1 − PEV / variance, the fixed mean's error included.

    Parameters
    ----------
    cross_QN : K between the lines and the training lines. own_Q : K of each line with itself.
    training_Q : the line's index among the training lines, −1 for a line that is none of them. A training line's row
        of `cross_QN` must be its row of the K solved with; its prediction error variance then follows from the
        diagonal of V₀⁻¹ (σ²g K = V₀ − D − σ²r I) without a product.

    Notes
    -----
    PEV(g) = σ²g K_qq − c'Pc with c = Cov(y, g_q) (Henderson 1975, eq. 15); g + r likewise with c + σ²r at the line.
    """
    c = solution.components
    trained_Q = training_Q >= 0
    at_Q = np.where(trained_Q, training_Q, 0)
    quadratic_Q, own_weight_Q, through_QF = _forms(solution, cross_QN, own_Q, training_Q)
    value_Q = c.genetic * (cross_QN @ solution.dual_N)
    reduction_Q = quadratic_Q - _quadratic(through_QF, solution.covariance_FF)
    residual = c.line_residual if c.errors_known else 0.0
    residual_Q = np.where(trained_Q, residual, 0.0)
    total_quadratic_Q = (quadratic_Q + 2 * residual_Q * own_weight_Q
                         + residual_Q**2 * solution.inverse_diagonal_N[at_Q])
    total_through_QF = through_QF + residual_Q[:, None] * solution.weighted_NF[at_Q]
    total_reduction_Q = total_quadratic_Q - _quadratic(total_through_QF, solution.covariance_FF)
    return LineValues(
        value_Q, _reliability(reduction_Q, c.genetic * own_Q),
        value_Q + residual_Q * solution.dual_N[at_Q],
        _reliability(total_reduction_Q, c.genetic * own_Q + residual))


def _forms(solution: MixedSolution, cross_QN: np.ndarray, own_Q: np.ndarray,
           training_Q: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """c'V₀⁻¹c, the training line's own element of V₀⁻¹c, and c'V₀⁻¹X, for c = σ²g × a row of `cross_QN`."""
    genetic = solution.components.genetic
    quick_Q = training_Q >= 0
    at_N, d_N = solution.inverse_diagonal_N, solution.diagonal_N
    quadratic_Q, own_weight_Q = np.zeros(len(own_Q)), np.zeros(len(own_Q))
    through_QF = np.zeros((len(own_Q), solution.weighted_NF.shape[1]))
    i = training_Q[quick_Q]
    quadratic_Q[quick_Q] = genetic * own_Q[quick_Q] - d_N[i] + d_N[i] ** 2 * at_N[i]
    own_weight_Q[quick_Q] = 1 - d_N[i] * at_N[i]
    through_QF[quick_Q] = solution.covariates_NF[i] - d_N[i, None] * solution.weighted_NF[i]
    if not quick_Q.all():
        c_NS = genetic * cross_QN[~quick_Q].T
        weights_NS = _symmetric_times(solution.inverse_NN, c_NS)
        quadratic_Q[~quick_Q] = np.einsum("ns,ns->s", c_NS, weights_NS)
        through_QF[~quick_Q] = c_NS.T @ solution.weighted_NF
    return quadratic_Q, own_weight_Q, through_QF


def _quadratic(x_QF: np.ndarray, a_FF: np.ndarray) -> np.ndarray:
    return np.einsum("qf,qf->q", x_QF @ a_FF, x_QF)


def _reliability(reduction_Q: np.ndarray, variance_Q: np.ndarray) -> np.ndarray:
    """Reduction of variance by the data as a share of the variance, 0–1; 0 where there is no variance."""
    share_Q = np.divide(reduction_Q, variance_Q, out=np.zeros_like(reduction_Q), where=variance_Q > 0)
    return np.clip(share_Q, 0.0, 1.0)


def _symmetric_times(lower_NN: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A x for a symmetric A of which the lower triangle is stored; `x` has shape (N,) or (N, S)."""
    from scipy.linalg import get_blas_funcs

    symv, symm = get_blas_funcs(("symv", "symm"), (lower_NN,))
    if x.ndim == 1:
        return symv(1.0, lower_NN, x, lower=1)
    return symm(1.0, lower_NN, np.asfortranarray(x), side=0, lower=1)
