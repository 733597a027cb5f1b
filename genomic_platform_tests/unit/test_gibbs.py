"""The Gibbs sampler against posteriors known exactly, against a plain sampler in double precision, and its diagnostics.

A standard error of a Monte Carlo mean is √(variance / effective size); chains may differ by five of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product

import numpy as np
import pytest

from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models import markers
from genomic_platform.models.bayes import gibbs, priors
from genomic_platform.models.bayes.diagnostics import effective_size, r_hat
from genomic_platform.models.bayes.gibbs import UNIT, Chains, Posterior, columns_of, marker_codes, sample
from genomic_platform.models.bayes.priors import COMMON, LASSO, OWN, Expectation, Prior
from genomic_platform.models.blup import KnownErrors
from genomic_platform.models.trait_fit import TraitData
from genomic_platform_tests.support.panels import made_panel, made_values

#: Degrees of freedom and prior counts that leave a variance or a share no room to move.
PINNED = 1e9
PRIORS: dict[str, Callable[[Expectation], Prior]] = {
    "bayes_b": partial(priors.spike_and_slab, family=OWN, share=0.5, counts=10.0),
    "bayes_c_pi": partial(priors.spike_and_slab, family=COMMON, share=0.5, counts=10.0),
    "bayes_r": priors.scale_mixture, "bayesian_lasso": priors.lasso}


def _trait(panel: GenotypeTable, n_train: int, errors: KnownErrors | None = None) -> TraitData:
    return TraitData("y", np.arange(n_train), made_values(panel)[:n_train], errors, "fitted")


def _sampled(panel: GenotypeTable, data: TraitData, make_prior: Callable[[Expectation], Prior], length: Chains,
             seed: int = 1) -> Posterior:
    frequencies_M = markers.panel_frequencies(panel)
    columns = columns_of(marker_codes(panel, frequencies_M), frequencies_M, data)
    return sample(columns, make_prior, length, r2=0.5, df=5.0, seed=seed, name=data.trait)


def _pinned(ratio_K: list[float], share_K: list[float], effect_variance: float, error_variance: float) -> Prior:
    """Everything but components and effects fixed; `effect_variance` per ALT allele."""
    return Prior(COMMON, np.array(ratio_K), PINNED * np.array(share_K), PINNED, PINNED * effect_variance / UNIT**2, 0.0,
                 0.0, PINNED, PINNED * error_variance, effect_variance / UNIT**2, 1.0)


@pytest.mark.parametrize("errors", ["equal", "known", "shared"])
def test_a_mixture_is_that_of_all_its_models_enumerated(errors: str) -> None:
    """Three components of five markers: 243 models, each with its likelihood and its BLUP of the effects."""
    panel = made_panel(30, 5, seed=4, missing=0.0)
    rng = np.random.default_rng(5)
    known = None
    if errors != "equal":
        known = KnownErrors(rng.uniform(0.1, 1.5, 26), rng.normal(0, 0.5, (26, 2 if errors == "shared" else 0)))
    data = _trait(panel, 26, known)
    ratio_K, share_K, variance, error = [0.0, 0.1, 1.0], [0.5, 0.3, 0.2], 0.2, 0.5
    x_NM = markers.centred(panel.dosages(), markers.panel_frequencies(panel))[:26]
    error_NN = error * np.eye(26)
    if known is not None:
        error_NN += np.diag(known.own_N) + known.loadings_NB @ known.loadings_NB.T
    weights, effects = [], []
    one_N = np.ones(26)
    for chosen in product(range(3), repeat=5):
        effect_MM = variance * np.diag(np.array(ratio_K)[list(chosen)])
        inverse_NN = np.linalg.inv(x_NM @ effect_MM @ x_NM.T + error_NN)
        weighted_N = inverse_NN @ one_N
        dual_N = inverse_NN @ data.y_N - weighted_N * (weighted_N @ data.y_N) / (one_N @ weighted_N)
        weights.append(np.prod(np.array(share_K)[list(chosen)]) * np.exp(-0.5 * data.y_N @ dual_N) * np.sqrt(
            np.linalg.det(inverse_NN) / (one_N @ weighted_N)))
        effects.append(effect_MM @ x_NM.T @ dual_N)
    expected_M = np.average(effects, axis=0, weights=weights)
    found = _sampled(panel, data, lambda _: _pinned(ratio_K, share_K, variance, error), Chains(4, 100, 8000))
    assert found.effect_M == pytest.approx(expected_M, abs=0.006), "Monte Carlo error of 32,000 iterations: .001"
    assert found.draws_SM.mean(axis=0) == pytest.approx(expected_M, abs=0.03), "of 3,200 draws: .006"
    assert np.abs(expected_M).max() > 0.05, "the seed must leave effects for this test to say something"


def _plain(x_NM: np.ndarray, y_N: np.ndarray, p: Prior, n_iterations: int, seed: int) -> dict[str, np.ndarray]:
    """One plain chain: indicators given effects (Kuo & Mallick's way, as in BGLR), one marker after the other."""
    rng, (n, m) = np.random.default_rng(seed), x_NM.shape
    effect_M, component_M, own_M = np.zeros(m), np.zeros(m, int), np.full(m, p.own)
    common, share_K = p.common, p.counts_K / p.counts_K.sum()
    error = p.error_scale / (p.error_df + 2)
    scale = 2 / p.own if p.family == LASSO else p.scale
    mean, trace = float(y_N.mean()), {"error": [], "genetic": [], "effect": []}
    for _ in range(n_iterations):
        for j in range(m):
            rest_N = y_N - mean - x_NM @ effect_M + x_NM[:, j] * effect_M[j]
            right, square = x_NM[:, j] @ rest_N / error, x_NM[:, j] @ x_NM[:, j] / error
            variance_K = common * own_M[j] * p.ratio_K
            precision_K = square + np.divide(1, variance_K, out=np.full(len(variance_K), np.inf), where=variance_K > 0)
            log_K = np.log(share_K) + 0.5 * right**2 / precision_K - 0.5 * np.log1p(variance_K * square)
            k = rng.choice(len(log_K), p=np.exp(log_K - log_K.max()) / np.exp(log_K - log_K.max()).sum())
            component_M[j] = k
            effect_M[j] = rng.normal(right / precision_K[k], precision_K[k] ** -0.5)
        mean = rng.normal((y_N - x_NM @ effect_M).mean(), np.sqrt(error / n))
        ratio_M = p.ratio_K[component_M]
        if p.family == OWN:
            own_M = (scale + effect_M**2) / rng.chisquare(p.df + (ratio_M > 0))
            scale = rng.gamma(p.shape + m * p.df / 2, 1 / (p.rate + (1 / own_M).sum() / 2))
        elif p.family == LASSO:
            own_M = 1 / rng.wald(np.sqrt(scale * error) / np.abs(effect_M), scale)
            scale = rng.gamma(p.shape + m, 1 / (p.rate + own_M.sum() / 2))
        else:
            squares = (effect_M[ratio_M > 0] ** 2 / ratio_M[ratio_M > 0]).sum()
            common = (p.scale + squares) / rng.chisquare(p.df + (ratio_M > 0).sum())
        share_K = rng.dirichlet(p.counts_K + np.bincount(component_M, minlength=len(p.ratio_K)))
        residual_N = y_N - mean - x_NM @ effect_M
        lasso = (effect_M**2 / own_M).sum() if p.family == LASSO else 0.0
        error = (p.error_scale + residual_N @ residual_N + lasso) / rng.chisquare(
            p.error_df + n + (m if p.family == LASSO else 0))
        common = error if p.family == LASSO else common
        trace["error"].append(error)
        trace["genetic"].append((x_NM @ effect_M).var())
        trace["effect"].append(effect_M.copy())
    return {name: np.array(values)[n_iterations // 10 :] for name, values in trace.items()}


@pytest.mark.parametrize("recipe", PRIORS)
def test_posteriors_are_those_of_a_plain_sampler(recipe: str) -> None:
    panel = made_panel(40, 8, seed=3, missing=0.0)
    data = _trait(panel, 40)
    found = _sampled(panel, data, PRIORS[recipe], Chains(4, 500, 5000))
    x_NM = markers.centred(panel.dosages(), markers.panel_frequencies(panel))
    x_NM = x_NM - x_NM.mean(axis=0)
    known = priors.expectation(data.y_N, 0.0, float((x_NM**2).sum()) / 40, 8, 0.5, 5.0)
    plain = _plain(x_NM, data.y_N, PRIORS[recipe](known), 1200, seed=9)
    for name, quantity in (("error", "error_variance"), ("genetic", "genetic_variance")):
        ours_CI, theirs_CI = found.trace_QCI[quantity], plain[name][None]
        error = np.sqrt(ours_CI.var() / effective_size(ours_CI) + theirs_CI.var() / effective_size(theirs_CI))
        assert ours_CI.mean() == pytest.approx(theirs_CI.mean(), abs=5 * error)
    error_M = [np.sqrt(effects.var() / effective_size(effects[None])) for effects in plain["effect"].T]
    assert (np.abs(found.effect_M - plain["effect"].mean(axis=0)) <= 6 * np.array(error_M)).all()
    assert max(r_hat(found.trace_QCI[q]) for q in ("error_variance", "genetic_variance")) < 1.02


def test_equal_seeds_equal_bits_whatever_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = made_panel(40, 60)
    data = _trait(panel, 40)
    two = _sampled(panel, data, PRIORS["bayes_b"], Chains(3, 20, 60))
    monkeypatch.setattr(gibbs, "available_cores", lambda: 1)
    one = _sampled(panel, data, PRIORS["bayes_b"], Chains(3, 20, 60))
    assert np.array_equal(one.effect_M, two.effect_M)
    assert np.array_equal(one.draws_SM, two.draws_SM)
    assert not np.array_equal(one.effect_M, _sampled(panel, data, PRIORS["bayes_b"], Chains(3, 20, 60), 2).effect_M)


def test_single_precision_residual_does_not_drift() -> None:
    """The residual carried through a refresh's iterations equals y − Σ z b computed in double precision."""
    from genomic_platform.models.bayes import gibbs_kernels as kernels

    panel, rng = made_panel(50, 300), np.random.default_rng(1)
    frequencies_M = markers.panel_frequencies(panel)
    columns = columns_of(marker_codes(panel, frequencies_M), frequencies_M, _trait(panel, 50))
    prior = PRIORS["bayesian_lasso"](priors.expectation(
        columns.y_N, 0.0, columns.square_M.sum() / 50, 300, 0.5, 5.0))
    state = gibbs._start(columns, prior)
    residual_N, weight_N = columns.y_N.astype(np.float32), np.full(50, 2.0, np.float32)
    for _ in range(gibbs.REFRESH):
        kernels._sweep(columns, prior, state, residual_N, weight_N, np.zeros(300), rng)
    # Rounding of 15,000 updates, each 6e-8 of the residual and of the shift of uncentred columns.
    assert residual_N == pytest.approx(columns.y_N - columns.z_MN.T @ state.effect_M, abs=1e-4)


def test_diagnostics_of_chains_whose_worth_is_known() -> None:
    rng = np.random.default_rng(3)
    noise_CI = rng.normal(size=(4, 4000))
    assert r_hat(noise_CI) < 1.005
    assert effective_size(noise_CI) == pytest.approx(16_000, rel=0.1)
    chain_CI = np.empty_like(noise_CI)
    chain_CI[:, 0] = noise_CI[:, 0] / np.sqrt(1 - 0.8**2)
    for i in range(1, 4000):
        chain_CI[:, i] = 0.8 * chain_CI[:, i - 1] + noise_CI[:, i]
    # A first-order autoregression is worth (1 − ρ) / (1 + ρ) of its length.
    assert effective_size(chain_CI) == pytest.approx(16_000 * 0.2 / 1.8, rel=0.15)
    assert r_hat(noise_CI + np.arange(4)[:, None]) > 1.5, "chains in different places"
    assert r_hat(noise_CI * np.array([1, 1, 1, 4])[:, None]) > 1.1, "chains of different spread: the folded draws"
    assert r_hat(noise_CI + np.linspace(-2, 2, 4000)) > 1.2, "chains that drift: the halves"
    assert r_hat(np.ones((2, 10))) == 1.0
    with pytest.raises(ValueError, match="3 draws a chain; expected at least four"):
        r_hat(np.zeros((2, 3)))
