"""Several random terms against the plain restricted likelihood, Henderson's equations, one-term REML; bad input."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from genomic_platform.errors import ProgramError
from genomic_platform.models.mixed.model import MixedFit, fit_mixed
from genomic_platform.models.mixed.terms import Term, same_group
from genomic_platform.models.mixed.variance import em_step, project, reml
from genomic_platform.models.tridiagonal import tridiagonal_contrasts, tridiagonal_reml

LINES, ENVIRONMENTS = 24, 4


def _kernel(n: int, m: int, rng: np.random.Generator) -> np.ndarray:
    z_NM = rng.normal(size=(n, m))
    return z_NM @ z_NM.T / m


def _plain_likelihood(y_N: np.ndarray, x_NF: np.ndarray, v_NN: np.ndarray) -> float:
    """Restricted log likelihood by explicit contrasts (Patterson & Thompson 1971), without the constant."""
    basis_NQ = np.linalg.svd(x_NF)[0][:, np.linalg.matrix_rank(x_NF):]
    v_QQ, y_Q = basis_NQ.T @ v_NN @ basis_NQ, basis_NQ.T @ y_N
    return -0.5 * (np.linalg.slogdet(v_QQ)[1] + y_Q @ np.linalg.solve(v_QQ, y_Q))


@pytest.fixture(scope="module")
def points() -> dict[str, np.ndarray]:
    """Lines × environments with a tenth of the cells missing."""
    line_N, environment_N = np.divmod(np.arange(LINES * ENVIRONMENTS), ENVIRONMENTS)
    kept = np.sort(np.random.default_rng(1).permutation(len(line_N))[: int(0.9 * len(line_N))])
    return {"line": line_N[kept], "environment": environment_N[kept]}


@pytest.fixture(scope="module")
def terms() -> list[Term]:
    rng = np.random.default_rng(2)
    k_LL, w_EE = _kernel(LINES, 40, rng), _kernel(ENVIRONMENTS, 6, rng)
    return [Term("E", {"environment": np.eye(ENVIRONMENTS)}), Term("G", {"line": k_LL}),
            Term("G×E", {"line": k_LL, "environment": w_EE})]


def _records(terms: list[Term], points: dict[str, np.ndarray], truth: tuple[float, ...], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y_N = 10 + rng.normal(size=len(points["line"]))
    for term, variance in zip(terms, truth, strict=True):
        v_NN = variance * term.covariance(points, points)
        y_N += np.linalg.cholesky(v_NN + 1e-10 * np.eye(len(y_N))) @ rng.normal(size=len(y_N))
    return y_N


def _covariance(fit: MixedFit, error_N: np.ndarray) -> np.ndarray:
    return sum((fit.variance[t.name] * t.covariance(fit.points, fit.points) for t in fit.terms), np.diag(error_N))


@pytest.mark.parametrize("truth", [(1.0, 1.0, 0.5), (0.5, 2.0, 0.0), (0.0, 0.0, 0.0)])
@pytest.mark.parametrize("known", [False, True])
def test_components_are_the_maximum_of_the_plain_likelihood(
        terms: list[Term], points: dict[str, np.ndarray], truth: tuple[float, ...], known: bool) -> None:
    rng = np.random.default_rng(8)
    n = len(points["line"])
    weight_N, error_N = rng.uniform(0.5, 4, n), rng.uniform(0.5, 1.5, n)
    x_NF = np.column_stack([np.ones(n), rng.normal(size=n)])
    y_N = _records(terms, points, truth, 3) + x_NF[:, 1]
    fixed = {"mean": x_NF[:, 0], "covariate": x_NF[:, 1]}
    fit = fit_mixed(y_N, terms, points, fixed=fixed, error_variance_N=error_N) if known else fit_mixed(
        y_N, terms, points, fixed=fixed, weight_N=weight_N)
    parts = [t.covariance(points, points) for t in terms]

    def deviance(theta: np.ndarray) -> float:
        v_NN = sum((s * k for s, k in zip(theta[:3], parts, strict=True)), np.diag(
            error_N if known else theta[3] / weight_N))
        return -_plain_likelihood(y_N, x_NF, v_NN)

    start = [0.5] * (3 if known else 4)
    plain = minimize(deviance, start, method="L-BFGS-B", bounds=[(0, None)] * 3 + [(1e-6, None)] * (not known),
                     options={"ftol": 1e-13, "gtol": 1e-8, "maxiter": 500})
    found = [fit.variance[t.name] for t in terms] + ([] if known else [fit.error_variance])
    assert fit.converged
    assert -deviance(np.array(found)) >= -plain.fun - 1e-5
    # The likelihood is flat at its maximum: 1e-6 of it is a thousandth of a standard error, of order one here.
    assert found == pytest.approx(plain.x, abs=5e-3)
    assert {n.message for n in fit.notices if n.code == "zero_variance"} == {
        f"variance of term {name} is estimated at 0; its values are 0, reliability 0"
        for name, value in fit.variance.items() if value == 0}


def test_values_and_reliabilities_are_those_of_hendersons_equations(terms: list[Term],
                                                                    points: dict[str, np.ndarray]) -> None:
    """Equations for b, environments, lines and cells, all of them levels; PEV from the inverse of the left side."""
    y_N = _records(terms, points, (1.5, 1.0, 0.8), 13)
    fit = fit_mixed(y_N, terms, points)
    assert min(fit.variance.values()) > 0, "the seed must leave all components above 0"
    cells = {"line": np.repeat(np.arange(LINES), ENVIRONMENTS),
             "environment": np.tile(np.arange(ENVIRONMENTS), LINES)}
    designs, inverses, n = [np.ones((len(y_N), 1))], [np.zeros((1, 1))], len(y_N)
    levels = [{"environment": np.arange(ENVIRONMENTS)}, {"line": np.arange(LINES)}, cells]
    for term, own in zip(terms, levels, strict=True):
        match_NL = np.all([points[by][:, None] == own[by][None, :] for by in own], axis=0).astype(float)
        designs.append(match_NL)
        inverses.append(np.linalg.inv(fit.variance[term.name] * term.covariance(own, own)
                                      + 1e-9 * np.eye(match_NL.shape[1])))
    z_NC = np.hstack(designs)
    left_CC = z_NC.T @ z_NC / fit.error_variance
    at = 0
    for inverse in inverses:
        left_CC[at:at + len(inverse), at:at + len(inverse)] += inverse
        at += len(inverse)
    inverse_CC = np.linalg.inv(left_CC)
    solution_C = inverse_CC @ z_NC.T @ y_N / fit.error_variance
    assert fit.effect_F[0] == pytest.approx(solution_C[0], abs=1e-5)
    assert fit.effect_error_F[0] == pytest.approx(np.sqrt(inverse_CC[0, 0]), abs=1e-5)
    at = 1
    for term, own in zip(terms, levels, strict=True):
        part = slice(at, at + len(next(iter(own.values()))))
        values = fit.predict(own, [term.name])
        assert values.value_Q == pytest.approx(solution_C[part], abs=1e-4)
        prior_L = fit.variance[term.name] * term.own(own)
        assert values.reliability_Q == pytest.approx(1 - np.diagonal(inverse_CC)[part] / prior_L, abs=1e-4)
        at = part.stop
    assert n == len(fit.at.projected_N)
    total = fit.predict(cells)
    assert total.value_Q == pytest.approx(sum(fit.predict(cells, [t.name]).value_Q for t in terms))
    with pytest.raises(ProgramError, match="no term H; expected some of E, G, G×E"):
        fit.predict(cells, ["H"])


def test_one_term_is_the_model_of_line_means() -> None:
    rng = np.random.default_rng(7)
    k_LL = _kernel(80, 50, rng)
    y_N = np.linalg.cholesky(k_LL + 0.7 * np.eye(80)) @ rng.normal(size=80)
    (line_means,) = tridiagonal_reml(y_N, tridiagonal_contrasts(k_LL))
    fit = fit_mixed(y_N, [Term("G", {"line": k_LL})], {"line": np.arange(80)})
    # Stopping rules differ: 1e-5 in log δ there, 1e-7 of likelihood here.
    assert fit.variance["G"] == pytest.approx(line_means.components.genetic, rel=2e-3)
    assert fit.error_variance == pytest.approx(line_means.components.error, rel=2e-3)
    assert fit.log_likelihood == pytest.approx(line_means.log_likelihood, abs=1e-6)


def test_hadamard_of_kernels_is_the_kronecker_product_where_balanced() -> None:
    rng = np.random.default_rng(9)
    k_LL, w_EE = _kernel(6, 9, rng), _kernel(3, 4, rng)
    cells = {"line": np.repeat(np.arange(6), 3), "environment": np.tile(np.arange(3), 6)}
    term = Term("G×E", {"line": k_LL, "environment": w_EE})
    assert term.covariance(cells, cells) == pytest.approx(np.kron(k_LL, w_EE))
    assert term.own(cells) == pytest.approx(np.diagonal(np.kron(k_LL, w_EE)))
    assert same_group(["a", None, "a", None]).tolist() == [[1, 0, 1, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]]


def test_em_alone_climbs_to_the_same_maximum(terms: list[Term], points: dict[str, np.ndarray]) -> None:
    """EM never loses likelihood (Dempster et al. 1977); slow, so it only comes near."""
    y_N = _records(terms, points, (1.5, 1.0, 0.8), 13)
    covariances = [t.covariance(points, points) for t in terms] + [np.ones(len(y_N))]
    x_NF = np.ones((len(y_N), 1))
    best = reml(y_N, x_NF, covariances)
    theta_K, seen = np.full(4, 0.3), []
    for _ in range(150):
        at = project(y_N, x_NF, covariances, theta_K, None)
        seen.append(at.log_likelihood)
        gradient_K = np.array([0.5 * (at.projected_N @ (np.diag(k) if k.ndim == 1 else k) @ at.projected_N - np.trace(
            at.p_NN @ (np.diag(k) if k.ndim == 1 else k))) for k in covariances])
        theta_K = em_step(theta_K, gradient_K, covariances)
    assert np.diff(seen).min() >= -1e-9
    assert best.at.log_likelihood - seen[-1] == pytest.approx(0.0, abs=0.05)
    assert best.at.log_likelihood >= seen[-1]


def test_standard_errors_are_those_of_repeated_samples(terms: list[Term], points: dict[str, np.ndarray]) -> None:
    found, said = [], []
    for seed in range(40):
        fit = fit_mixed(_records(terms[1:2], points, (1.5,), 100 + seed), terms[1:2], points)
        found.append([fit.variance["G"], fit.error_variance])
        said.append([fit.standard_error["G"], fit.standard_error["error"]])
    # The standard deviation of 40 draws is itself uncertain by 1 / √80 = 11 %.
    assert np.nanmean(said, axis=0) == pytest.approx(np.std(found, axis=0, ddof=1), rel=0.33)


def test_collinear_fixed_effects_are_left_out_and_said() -> None:
    rng = np.random.default_rng(4)
    y_N, x_N = rng.normal(size=30), rng.normal(size=30)
    terms, points = [Term("G", {"line": _kernel(30, 20, rng)})], {"line": np.arange(30)}
    fixed = {"mean": np.ones(30), "x": x_N, "twice": 2 * x_N + 1, "nought": np.zeros(30), "other": x_N**2}
    fit = fit_mixed(y_N, terms, points, fixed=fixed)
    assert fit.fixed_names == ("mean", "x", "other")
    assert [str(n) for n in fit.notices if n.code == "collinear"] == [
        "fixed effects that others determine are left out (twice, nought)"]
    plain = fit_mixed(y_N, terms, points, fixed={k: fixed[k] for k in fit.fixed_names})
    assert plain.effect_F == pytest.approx(fit.effect_F)


def test_a_single_family_and_zero_weights_are_said() -> None:
    rng = np.random.default_rng(6)
    points = {"line": np.arange(30)}
    terms = [Term("G", {"line": _kernel(30, 20, rng)}), Term("family", {"line": same_group(["f"] * 30)})]
    y_N, weight_N = rng.normal(size=30), np.ones(30)
    weight_N[:4] = 0
    fit = fit_mixed(y_N, terms, points, weight_N=weight_N)
    codes = {notice.code: str(notice) for notice in fit.notices}
    assert codes["confounded"] == "term family cannot be told from the fixed effects; its values are 0"
    assert codes["zero_weight"] == "records of weight 0 are left out"
    assert fit.variance["family"] == 0
    assert not fit.predict(points, ["family"]).reliability_Q.any()
    nothing_left = fit_mixed(y_N, terms[1:], points, error_variance_N=np.ones(30))
    assert nothing_left.effect_F == pytest.approx([y_N.mean()])
    assert not nothing_left.predict(points).value_Q.any()
    alone = fit_mixed(y_N[4:], terms[:1], {"line": np.arange(4, 30)})
    assert fit.predict(points).value_Q == pytest.approx(alone.predict(points).value_Q, abs=1e-6)


def test_constant_records_give_zeros() -> None:
    fit = fit_mixed(np.full(20, 3.0), [Term("G", {"line": np.eye(20)})], {"line": np.arange(20)})
    assert fit.effect_F == pytest.approx([3.0])
    values = fit.predict({"line": np.arange(20)})
    assert not values.value_Q.any()
    assert not values.reliability_Q.any()
    assert fit.notices[0].code == "zero_variance"


@pytest.mark.parametrize(("change", "message"), [
    ({"y_N": np.r_[np.nan, np.ones(9)]}, "y is NaN or infinite in 1 of 10 records"),
    ({"weight_N": np.zeros(10)}, "weights go from 0 to 0; expected none below 0 and some above 0"),
    ({"error_variance_N": np.zeros(10)}, "known error variances: expected all above 0"),
    ({"weight_N": np.ones(10), "error_variance_N": np.ones(10)}, "found both"),
    ({"fixed": {"x": np.ones(9)}}, "fixed effect x has shape"),
    ({"fixed": {"mean": np.ones(10), "x": np.r_[np.inf, np.ones(9)]}}, "fixed effect x is NaN or infinite in 1"),
    ({"terms": []}, "terms are named nothing"),
    ({"terms": [Term("error", {"line": np.eye(10)})]}, "other than error"),
    ({"terms": [Term("G", {"line": np.full((10, 10), np.nan)})]}, "holds NaN"),
    ({"terms": [Term("G", {"line": np.eye(5)})]}, "expected a square one of at least 10 levels"),
    ({"terms": [Term("G", {"site": np.eye(10)})]}, "acts through 'site'; found points by line"),
    ({"terms": [Term("G", {"line": np.triu(np.ones((10, 10)))})]}, "is not symmetric"),
    ({"terms": [Term("G", {})]}, "has no kernel"),
])
def test_bad_input_is_named(change: dict, message: str) -> None:
    given = {"y_N": np.arange(10.0), "terms": [Term("G", {"line": np.eye(10)})], "points": {"line": np.arange(10)}}
    with pytest.raises(ProgramError, match=message):
        fit_mixed(**(given | change))
