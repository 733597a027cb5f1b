"""Multi-trait REML by canonical transformation against a plain likelihood, dense BLUP and single traits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from genomic_platform.errors import ProgramError
from genomic_platform.models.mixed.multi_trait import MultiTrait, fit_multi_trait
from genomic_platform.models.tridiagonal import tridiagonal_contrasts, tridiagonal_reml

G = np.array([[1.0, 0.6], [0.6, 0.8]])
R = np.array([[1.0, -0.3], [-0.3, 0.5]])


def _kernel(n: int, m: int, rng: np.random.Generator) -> np.ndarray:
    z_NM = rng.normal(size=(n, m))
    return z_NM @ z_NM.T / m


def _traits(k_NN: np.ndarray, genetic_TT: np.ndarray, error_TT: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    values, vectors = np.linalg.eigh(genetic_TT)
    root_TT = vectors * np.sqrt(np.maximum(values, 0))
    u_NT = np.linalg.cholesky(k_NN + 1e-9 * np.eye(len(k_NN))) @ rng.normal(size=(len(k_NN), len(root_TT))) @ root_TT.T
    return 4.0 + u_NT + rng.normal(size=u_NT.shape) @ np.linalg.cholesky(error_TT).T


def _plain_likelihood(y_NT: np.ndarray, k_NN: np.ndarray, genetic_TT: np.ndarray, error_TT: np.ndarray) -> float:
    n, t = y_NT.shape
    basis_NQ = np.linalg.svd(np.eye(n) - 1 / n)[0][:, : n - 1]
    v = np.kron(genetic_TT, basis_NQ.T @ k_NN @ basis_NQ) + np.kron(error_TT, np.eye(n - 1))
    y = (basis_NQ.T @ y_NT).T.ravel()
    return -0.5 * (np.linalg.slogdet(v)[1] + y @ np.linalg.solve(v, y)) - 0.5 * t * np.log(n)


def _from_cholesky(x: np.ndarray, t: int) -> np.ndarray:
    lower = np.zeros((t, t))
    lower[np.tril_indices(t)] = x
    return lower @ lower.T


def _fitted(n: int = 50, seed: int = 3, genetic_TT: np.ndarray = G) -> tuple[np.ndarray, np.ndarray, MultiTrait]:
    rng = np.random.default_rng(seed)
    k_NN = _kernel(n, 2 * n, rng)
    y_NT = _traits(k_NN, genetic_TT, R, rng) * [1.0, 100.0]  # units far apart
    return y_NT, k_NN, fit_multi_trait(y_NT, k_NN, ["a", "b"])


# The second truth has rank one and the third none: maxima at the boundary.
@pytest.mark.parametrize("genetic_TT", [G, np.outer([1.0, 0.7], [1.0, 0.7]), np.zeros((2, 2))])
@pytest.mark.parametrize("seed", [3, 4])
def test_estimates_are_the_maximum_of_the_plain_likelihood(genetic_TT: np.ndarray, seed: int) -> None:
    y_NT, k_NN, fit = _fitted(seed=seed, genetic_TT=genetic_TT)
    scale_TT = np.outer([1, 100], [1, 100])

    def deviance(x: np.ndarray) -> float:
        return -_plain_likelihood(y_NT, k_NN, scale_TT * _from_cholesky(x[:3], 2), scale_TT * _from_cholesky(x[3:], 2))

    plain = minimize(deviance, [0.7, 0.1, 0.7, 0.7, 0.1, 0.7], method="BFGS", options={"gtol": 1e-6})
    at_found = _plain_likelihood(y_NT, k_NN, fit.genetic_TT, fit.error_TT)
    assert fit.converged
    assert at_found == pytest.approx(fit.log_likelihood, abs=1e-7)
    assert at_found >= -plain.fun - 1e-4
    assert fit.genetic_TT / scale_TT == pytest.approx(_from_cholesky(plain.x[:3], 2), abs=0.02)
    assert fit.error_TT / scale_TT == pytest.approx(_from_cholesky(plain.x[3:], 2), abs=0.02)
    assert np.linalg.eigvalsh(fit.genetic_TT / scale_TT)[0] >= -1e-12


def test_values_and_reliabilities_are_those_of_the_dense_model() -> None:
    y_NT, k_NN, fit = _fitted()
    n = len(y_NT)
    v = np.kron(fit.genetic_TT, k_NN) + np.kron(fit.error_TT, np.eye(n))
    x = np.kron(np.eye(2), np.ones((n, 1)))
    inverse = np.linalg.inv(v)
    p = inverse - inverse @ x @ np.linalg.inv(x.T @ inverse @ x) @ x.T @ inverse
    y = y_NT.T.ravel()
    covariance = np.kron(fit.genetic_TT, k_NN)
    assert fit.mean_T == pytest.approx(np.linalg.solve(x.T @ inverse @ x, x.T @ inverse @ y), rel=1e-8)
    assert fit.value_NT.T.ravel() == pytest.approx(covariance @ p @ y, rel=1e-6, abs=1e-8)
    reliability = np.diagonal(covariance @ p @ covariance) / np.diagonal(covariance)
    assert fit.reliability_NT.T.ravel() == pytest.approx(reliability, abs=1e-8)
    assert fit.predict(k_NN) == pytest.approx(fit.value_NT)


def test_one_trait_is_the_model_of_line_means() -> None:
    y_NT, k_NN, _ = _fitted(n=80)
    (alone,) = tridiagonal_reml(y_NT[:, :1], tridiagonal_contrasts(k_NN))
    fit = fit_multi_trait(y_NT[:, :1], k_NN)
    assert fit.genetic_TT[0, 0] == pytest.approx(alone.components.genetic, rel=2e-3)
    assert fit.error_TT[0, 0] == pytest.approx(alone.components.error, rel=2e-3)
    assert fit.log_likelihood == pytest.approx(alone.log_likelihood, abs=1e-6)


def test_a_correlated_trait_helps_the_one_of_low_heritability() -> None:
    rng, gains = np.random.default_rng(21), []
    genetic_TT, error_TT = np.array([[1.0, 0.9], [0.9, 1.0]]), np.diag([4.0, 0.25])
    for _ in range(8):
        k_NN = _kernel(150, 100, rng)
        root_NN, root_TT = np.linalg.cholesky(k_NN + 1e-9 * np.eye(150)), np.linalg.cholesky(genetic_TT)
        u_NT = root_NN @ rng.normal(size=(150, 2)) @ root_TT.T
        y_NT = u_NT + rng.normal(size=(150, 2)) * np.sqrt(np.diag(error_TT))
        together, (alone,) = fit_multi_trait(y_NT, k_NN), tridiagonal_reml(y_NT[:, 0], tridiagonal_contrasts(k_NN))
        gains.append(np.corrcoef(together.value_NT[:, 0], u_NT[:, 0])[0, 1]
                     - np.corrcoef(k_NN @ alone.dual_N, u_NT[:, 0])[0, 1])
        assert together.genetic_correlation_TT[0, 1] > 0.5
    assert np.mean(gains) > 0.1
    assert min(gains) > 0


@pytest.mark.parametrize(("y_NT", "message"), [
    (np.array([[1.0, np.nan]] + [[float(i), i**2] for i in range(9)]), "missing of 10 lines: b in 1"),
    (np.column_stack([np.arange(10.0), np.ones(10)]), "b is the same in all lines"),
    (np.column_stack([np.arange(10.0), 3 * np.arange(10.0) + 1]), "traits a, b determine each other"),
    (np.array([[1.0, 2.0], [2.0, 1.0], [0.0, 4.0]]), "3 lines and 2 traits; expected at least 7 lines"),
])
def test_bad_input_is_named(y_NT: np.ndarray, message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        fit_multi_trait(y_NT, np.eye(len(y_NT)), ["a", "b"])
    with pytest.raises(ProgramError, match="expected one name a trait"):
        fit_multi_trait(y_NT, np.eye(2), ["a", "b"])
