"""REML by tridiagonal reduction against the eigendecomposition, the Cholesky solution and a plain likelihood."""

from __future__ import annotations

import numpy as np
import pytest

from genomic_platform.models.blup import solve
from genomic_platform.models.reml import contrast_eigen, spectral_reml
from genomic_platform.models.tridiagonal import (
    ContrastTridiagonal,
    tridiagonal_contrasts,
    tridiagonal_likelihood,
    tridiagonal_reml,
)


def _relationship(n: int, m: int, rng: np.random.Generator) -> np.ndarray:
    z_NM = rng.normal(size=(n, m)) + 0.3 * rng.normal(size=(n, 1))
    return z_NM @ z_NM.T / m


def _traits(k_NN: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Heritable, hardly heritable and purely environmental line means."""
    factor_NN = np.linalg.cholesky(k_NN + 1e-9 * np.eye(len(k_NN)))
    return np.column_stack([5.0 + g * factor_NN @ rng.normal(size=len(k_NN)) + rng.normal(size=len(k_NN))
                            for g in (1.5, 0.4, 0.0)])


def _dense(reduced: ContrastTridiagonal) -> np.ndarray:
    return (np.diag(reduced.diagonal_Q) + np.diag(reduced.beside_Q, 1) + np.diag(reduced.beside_Q, -1))


@pytest.mark.parametrize("n", [3, 4, 5, 70, 150])
def test_reduction_is_orthogonal_and_rebuilds_the_covariance_of_contrasts(n: int) -> None:
    rng = np.random.default_rng(n)
    k_NN = _relationship(n, 40, rng)
    reduced = tridiagonal_contrasts(k_NN)
    basis_NQ = reduced.to_lines(np.eye(n - 1))
    assert basis_NQ.T @ basis_NQ == pytest.approx(np.eye(n - 1), abs=1e-12)
    assert basis_NQ.sum(axis=0) == pytest.approx(np.zeros(n - 1), abs=1e-12)
    assert basis_NQ.T @ k_NN @ basis_NQ == pytest.approx(_dense(reduced), abs=1e-10)
    y_NT = rng.normal(size=(n, 3))
    assert reduced.to_contrasts(y_NT) == pytest.approx(basis_NQ.T @ y_NT, abs=1e-12)


@pytest.mark.parametrize(("n", "m"), [(5, 3), (60, 200), (120, 40)])
def test_components_are_those_of_the_eigendecomposition(n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    k_NN = _relationship(n, m, rng)
    y_NT = _traits(k_NN, rng)
    found = tridiagonal_reml(y_NT, tridiagonal_contrasts(k_NN))
    for estimate, spectral in zip(found, spectral_reml(y_NT, contrast_eigen(k_NN)), strict=True):
        # Both stop within Brent's tolerance of 1e-5 in log δ, where rounding decides.
        assert estimate.components.genetic == pytest.approx(spectral.genetic, rel=1e-4, abs=1e-9)
        assert estimate.components.error == pytest.approx(spectral.error, rel=1e-4, abs=1e-9)


def test_solution_is_that_of_the_cholesky_factor() -> None:
    rng = np.random.default_rng(2)
    k_NN = _relationship(90, 60, rng)
    y_NT = _traits(k_NN, rng)
    for y_N, estimate in zip(y_NT.T, tridiagonal_reml(y_NT, tridiagonal_contrasts(k_NN)), strict=True):
        solution = solve(y_N, k_NN, estimate.components)
        assert estimate.mean == pytest.approx(solution.mean, rel=1e-9)
        assert estimate.dual_N == pytest.approx(solution.dual_N, rel=1e-7, abs=1e-9)
        assert estimate.log_likelihood == pytest.approx(solution.log_likelihood, abs=1e-8)


def test_no_genetic_variance_is_zero_not_tiny() -> None:
    rng = np.random.default_rng(5)
    k_NN = _relationship(60, 30, rng)
    y_N = np.linalg.eigh(k_NN)[1][:, :25].sum(axis=1)  # only directions in which K has no variance
    (estimate,) = tridiagonal_reml(y_N, tridiagonal_contrasts(k_NN))
    assert estimate.components.genetic == 0.0
    assert estimate.components.error == pytest.approx(y_N.var(ddof=1))
    assert estimate.dual_N == pytest.approx((y_N - y_N.mean()) / y_N.var(ddof=1))
    assert estimate.mean == pytest.approx(y_N.mean())


def test_rounding_below_zero_is_lifted() -> None:
    """A relationship of rounded products has eigenvalues a little below zero; they must not stop the search."""
    rng = np.random.default_rng(6)
    k_NN = _relationship(80, 20, rng)
    noise_NN = 2e-4 * rng.normal(size=k_NN.shape)
    rounded_NN = k_NN + noise_NN + noise_NN.T
    assert np.linalg.eigvalsh(rounded_NN)[0] < -1e-3
    y_N = _traits(k_NN, rng)[:, 0]
    (exact,), (found,) = (tridiagonal_reml(y_N, tridiagonal_contrasts(k)) for k in (k_NN, rounded_NN))
    assert found.components.genetic == pytest.approx(exact.components.genetic, rel=0.02)


def test_likelihood_ranks_covariances_as_the_plain_one_does() -> None:
    rng = np.random.default_rng(4)
    right_NN, wrong_NN = _relationship(70, 40, rng), _relationship(70, 40, rng)
    y_N = np.linalg.cholesky(right_NN + 0.5 * np.eye(70)) @ rng.normal(size=70)
    found, plain = [], []
    basis_NQ = np.linalg.svd(np.eye(70) - 1 / 70)[0][:, :69]
    for k_NN in (right_NN, wrong_NN):
        reduced = tridiagonal_contrasts(k_NN)
        c = tridiagonal_reml(y_N, reduced)[0].components
        found.append(tridiagonal_likelihood(y_N, reduced)[0])
        v_QQ = basis_NQ.T @ (c.genetic * k_NN + c.error * np.eye(70)) @ basis_NQ
        y_Q = basis_NQ.T @ y_N
        plain.append(-0.5 * (np.linalg.slogdet(v_QQ)[1] + y_Q @ np.linalg.solve(v_QQ, y_Q)))
    assert found[0] > found[1]
    assert found == pytest.approx(plain, abs=1e-8)  # the same constant left out
