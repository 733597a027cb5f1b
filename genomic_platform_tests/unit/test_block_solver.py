"""Block conjugate gradients and a step of stochastic REML, against dense algebra."""

from __future__ import annotations

import numpy as np
import pytest

from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.models.reml import bounded_step
from genomic_platform.models.whole_genome.block_solver import BlockSolver, LineSystem, orthonormal
from genomic_platform.models.whole_genome.components import next_components
from genomic_platform_tests.support.panels import made_panel, made_values


def _system(n: int, genetic: float, seed: int = 3) -> tuple[LineSystem, np.ndarray, np.ndarray]:
    """A system of unequal errors with two shared ones, K and V."""
    rng = np.random.default_rng(seed)
    k_NN = vanraden(made_panel(n, 300)).matrix_NN
    system = LineSystem(genetic, np.sqrt(rng.uniform(0.05, 1.5, n)), rng.normal(0, 0.4, (n, 2)))
    rest_NN = np.diag(system.root_N**2) + system.loadings_NB @ system.loadings_NB.T
    return system, k_NN, genetic * k_NN + rest_NN


def _solve(solver: BlockSolver, k_NN: np.ndarray, tolerance: float) -> int:
    passes = 0
    while solver.relative_L.max() > tolerance:
        solver.advance(k_NN @ solver.directions())
        passes += 1
        assert passes < 100
    return passes


@pytest.mark.parametrize("columns", [1, 7, 90], ids=["one", "few", "more columns than lines"])
def test_solutions_are_those_of_dense_algebra(columns: int) -> None:
    system, k_NN, v_NN = _system(80, 0.7)
    right_NL = np.random.default_rng(1).normal(size=(80, columns))
    right_NL[:, -1] = right_NL[:, 0]
    solver = BlockSolver(system, right_NL)
    _solve(solver, k_NN, 1e-10)
    assert solver.x_NL == pytest.approx(np.linalg.solve(v_NN, right_NL), abs=1e-7)
    assert solver.image_NL == pytest.approx(k_NN @ solver.x_NL, abs=1e-9)


def test_more_right_hand_sides_need_fewer_passes_and_a_near_start_too() -> None:
    """54, 22 and 13 passes when this was written."""
    system, k_NN, v_NN = _system(200, 5.0)
    right_NL = np.random.default_rng(1).normal(size=(200, 10))
    many = BlockSolver(system, right_NL)
    passes = _solve(many, k_NN, 1e-5)
    assert passes < _solve(BlockSolver(system, right_NL[:, :1]), k_NN, 1e-5) / 2
    near = BlockSolver(system, right_NL * 1.001, many.x_NL.copy(), many.image_NL.copy())
    assert _solve(near, k_NN, 1e-5) < 0.8 * passes
    assert near.x_NL == pytest.approx(1.001 * np.linalg.solve(v_NN, right_NL), abs=1e-4)


def test_without_genetic_variance_one_pass_for_each_shared_error_is_enough() -> None:
    system, k_NN, _ = _system(80, 0.0)
    solver = BlockSolver(system, np.random.default_rng(1).normal(size=(80, 1)))
    assert _solve(solver, k_NN, 1e-10) <= 3


def test_the_inverse_of_the_rest() -> None:
    system, _, rest_NN = _system(30, 0.0)
    inverse_NN = np.linalg.inv(rest_NN)
    x_NL = np.random.default_rng(2).normal(size=(30, 3))
    assert system.rest_inverse(x_NL) == pytest.approx(inverse_NN @ x_NL, abs=1e-10)
    assert system.rest_inverse_diagonal() == pytest.approx(np.diag(inverse_NN), abs=1e-10)


@pytest.mark.parametrize("case", ["plain", "sizes far apart", "dependent", "zero", "wide"])
def test_blocks_are_made_orthonormal(case: str) -> None:
    block_NL = np.random.default_rng(4).normal(size=(50, 60 if case == "wide" else 6))
    if case == "sizes far apart":
        block_NL *= 10.0 ** -np.arange(0, 12, 2)
    if case == "dependent":
        block_NL[:, 3] = block_NL[:, 1] + block_NL[:, 2]
    if case == "zero":
        block_NL[:, 3] = 0
    q_NK, r_KL = orthonormal(block_NL)
    assert q_NK.T @ q_NK == pytest.approx(np.eye(q_NK.shape[1]), abs=1e-12)
    assert q_NK @ r_KL == pytest.approx(block_NL, abs=1e-12)


@pytest.mark.parametrize("known", [False, True])
def test_a_step_of_stochastic_reml_is_near_that_of_exact_scoring(known: bool) -> None:
    """Gradient and expected information from 20,000 simulated data sets: each has a standard error below 1 %."""
    n, theta, rng = 40, np.array([0.5, 0.3]), np.random.default_rng(6)
    panel = made_panel(n, 300)
    k_NN, y_N = vanraden(panel).matrix_NN, 1.3 * made_values(panel, heritability=0.7)
    own_N = rng.uniform(0.1, 0.4, n) if known else np.zeros(n)
    v_NN = theta[0] * k_NN + np.diag(theta[1] + own_N)
    inverse_NN = np.linalg.inv(v_NN)
    p_NN = inverse_NN - np.outer(inverse_NN.sum(axis=0), inverse_NN.sum(axis=0)) / inverse_NN.sum()
    simulated_NS = np.linalg.cholesky(v_NN) @ rng.normal(size=(n, 20_000))
    dual_NC = p_NN @ np.column_stack([y_N, simulated_NS])
    found = next_components(theta, dual_NC, k_NN @ dual_NC, float(y_N.var()), known)
    products = [p_NN @ k_NN, p_NN]
    dual_N = p_NN @ y_N
    gradient = 0.5 * np.array([dual_N @ k_NN @ dual_N - np.trace(products[0]), dual_N @ dual_N - np.trace(products[1])])
    information_22 = 0.5 * np.array([[np.trace(a @ b) for b in products] for a in products])
    step, gain = bounded_step(information_22, gradient, theta)
    assert np.abs(step).max() > 0.05, "the seed must leave a step for this test to say something"
    assert found.theta == pytest.approx(theta + step, abs=0.03)
    assert found.gain == pytest.approx(gain, rel=0.1)
