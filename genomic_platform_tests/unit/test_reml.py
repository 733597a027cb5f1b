"""REML against a plain likelihood maximised by a general optimiser, at the boundary, and on known components."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from genomic_platform.models import reml
from genomic_platform.models.blup import KnownErrors, VarianceComponents, solve
from genomic_platform.models.reml import (
    contrast_eigen,
    reml_known_errors,
    spectral_reml,
)
from genomic_platform.models.trait_fit import TraitData, fit_traits


def _relationship(n: int, m: int, rng: np.random.Generator) -> np.ndarray:
    dosage_NM = 2.0 * (rng.random((n, m)) < rng.uniform(0.2, 0.8, m))
    z_NM = dosage_NM - dosage_NM.mean(axis=0)
    return z_NM @ z_NM.T / (2 * (dosage_NM.mean(axis=0) / 2 * (1 - dosage_NM.mean(axis=0) / 2)).sum())


def _draw(k_NN: np.ndarray, genetic: float, d_N: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    v_NN = genetic * k_NN + np.diag(d_N)
    return 3.0 + np.linalg.cholesky(v_NN) @ rng.normal(size=len(k_NN))


def _plain_likelihood(y_N: np.ndarray, v_NN: np.ndarray) -> float:
    """Restricted log likelihood by explicit contrasts of the data (Patterson & Thompson 1971), constant left out."""
    n = len(y_N)
    basis_NQ = np.linalg.svd(np.eye(n) - 1 / n)[0][:, : n - 1]
    v_QQ, y_Q = basis_NQ.T @ v_NN @ basis_NQ, basis_NQ.T @ y_N
    return -0.5 * (np.linalg.slogdet(v_QQ)[1] + y_Q @ np.linalg.solve(v_QQ, y_Q))


def test_spectral_reml_is_the_maximum_of_the_plain_likelihood() -> None:
    rng = np.random.default_rng(3)
    k_NN = _relationship(90, 60, rng)
    y_NT = np.column_stack([_draw(k_NN, g, np.full(90, e), rng) for g, e in ((1.0, 1.0), (0.3, 2.0))])
    for t, found in enumerate(spectral_reml(y_NT, contrast_eigen(k_NN))):
        plain = minimize(lambda x, y_N=y_NT[:, t]: -_plain_likelihood(
            y_N, np.exp(x[0]) * k_NN + np.exp(x[1]) * np.eye(90)), [0.0, 0.0], method="Nelder-Mead",
            options={"xatol": 1e-6, "fatol": 1e-9, "maxiter": 2000})
        # Brent stops at 1e-5 in log δ.
        assert [found.genetic, found.error] == pytest.approx(np.exp(plain.x), rel=1e-3)


@pytest.mark.parametrize("shared", [0, 3])
@pytest.mark.parametrize("truth", [(1.0, 0.5), (1.0, 0.0), (0.0, 1.0)])
def test_known_errors_reml_is_the_maximum_of_the_plain_likelihood(truth: tuple[float, float], shared: int) -> None:
    rng = np.random.default_rng(7)
    k_NN = _relationship(80, 50, rng)
    error_N = rng.uniform(0.2, 1.5, 80)
    loadings_NB = rng.normal(size=(80, shared))
    y_N = _draw(k_NN, truth[0], truth[1] + error_N, rng) + loadings_NB @ rng.normal(size=shared)
    r_NN = np.diag(error_N) + loadings_NB @ loadings_NB.T
    start = spectral_reml(y_N, contrast_eigen(k_NN))[0]
    solution = reml_known_errors(y_N, k_NN, KnownErrors(error_N, loadings_NB), start)
    plain = minimize(lambda x: -_plain_likelihood(y_N, x[0] * k_NN + x[1] * np.eye(80) + r_NN),
                     [0.5, 0.5], method="L-BFGS-B", bounds=[(0, None), (0, None)], options={"ftol": 1e-12})
    c = solution.components
    at_found = _plain_likelihood(y_N, c.genetic * k_NN + c.line_residual * np.eye(80) + r_NN)
    assert at_found >= -plain.fun - 1e-6
    assert [c.genetic, c.line_residual] == pytest.approx(plain.x, abs=2e-3)
    assert c.genetic >= 0
    assert c.line_residual >= 0


def test_known_components_are_recovered_on_average() -> None:
    rng = np.random.default_rng(11)
    k_NN = _relationship(200, 80, rng)
    eigen, found = contrast_eigen(k_NN), []
    for _ in range(20):
        error_N = rng.uniform(0.3, 1.0, 200)
        y_N = _draw(k_NN, 1.0, 0.5 + error_N, rng)
        c = reml_known_errors(y_N, k_NN, KnownErrors(error_N, np.zeros((200, 0))),
                              spectral_reml(y_N, eigen)[0]).components
        found.append([c.genetic, c.line_residual])
    mean, error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(20)
    assert np.all(np.abs(mean - [1.0, 0.5]) < 3 * error)


def test_many_lines_reach_the_maximum_from_a_part_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above 1,000 lines: components by way of a part of the lines lose next to nothing of the likelihood of all."""
    rng = np.random.default_rng(12)
    n = 1_150
    k_NN = _relationship(n, 300, rng)
    errors = KnownErrors(rng.uniform(0.3, 1.0, n), 0.3 * rng.normal(size=(n, 4)))
    y_N = _draw(k_NN, 1.0, 0.4 + errors.own_N, rng) + errors.loadings_NB @ rng.normal(size=4)
    data = TraitData("y", np.arange(n), y_N, errors, "fitted")
    (quick,) = [solved.fit for solved in fit_traits(k_NN, [data])]
    monkeypatch.setattr(reml, "MANY_LINES", n)
    whole = reml_known_errors(y_N, k_NN, errors, quick.components)
    assert whole.log_likelihood - quick.log_likelihood == pytest.approx(0.0, abs=2 * reml.MIN_GAIN)
    assert [quick.components.genetic, quick.components.line_residual] == pytest.approx(
        [whole.components.genetic, whole.components.line_residual], rel=0.05)


def test_no_genetic_variance_is_zero_not_tiny() -> None:
    rng = np.random.default_rng(5)
    k_NN = _relationship(60, 30, rng)
    residual_N = np.linalg.eigh(k_NN)[1][:, :25].sum(axis=1)  # only directions in which K has no variance
    c = spectral_reml(residual_N, contrast_eigen(k_NN))[0]
    assert c.genetic == 0.0
    assert c.error > 0


def test_solution_is_generalised_least_squares() -> None:
    rng = np.random.default_rng(6)
    k_NN = _relationship(40, 30, rng)
    y_N = rng.normal(size=40) + 5
    components = VarianceComponents(1.2, 0.0, 0.8)
    solution = solve(y_N, k_NN, components)
    inverse_NN = np.linalg.inv(1.2 * k_NN + 0.8 * np.eye(40))
    assert solution.mean == pytest.approx(inverse_NN.sum(axis=0) @ y_N / inverse_NN.sum())
    assert solution.dual_N == pytest.approx(inverse_NN @ (y_N - solution.mean))
    assert solution.log_likelihood == pytest.approx(
        _plain_likelihood(y_N, 1.2 * k_NN + 0.8 * np.eye(40)) - 0.5 * np.log(40), abs=1e-8)
