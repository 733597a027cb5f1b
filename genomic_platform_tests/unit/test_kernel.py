"""The Gaussian kernel: distances, bandwidths, prediction, average effects checked by numerical differentiation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import ProgramError
from genomic_platform.genotypes.kinship.relationship import squared_distances, vanraden
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.blup import solve
from genomic_platform.models.kernel import BANDWIDTHS, FittedKernel, Kernel, median_squared_distance
from genomic_platform.models.markers import centred, panel_frequencies
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.models.recipes import load_fitted, parameters_digest
from genomic_platform.models.reml import contrast_eigen, spectral_reml
from genomic_platform_tests.support.panels import made_panel, made_values, training_set


@pytest.fixture(scope="module")
def panel() -> GenotypeTable:
    return made_panel(n_lines=50, n_markers=120)


@pytest.fixture(scope="module")
def learnt(panel: GenotypeTable) -> TrainingSet:
    rng = np.random.default_rng(3)
    return training_set(panel, {
        "a": (list(panel.lines[:40]), made_values(panel)[:40], None),
        "b": (list(panel.lines[:40]), made_values(panel, seed=9)[:40], rng.uniform(0.05, 0.4, 40))})


@pytest.fixture(scope="module", params=["median", "auto"])
def fitted(request: pytest.FixtureRequest, learnt: TrainingSet) -> FittedKernel:
    """One bandwidth, and an average over several."""
    model = Kernel(bandwidth=request.param).fit(learnt)
    assert isinstance(model, FittedKernel)
    return model


def _column(table: pl.DataFrame, trait: str, column: str) -> np.ndarray:
    return table.filter(pl.col("trait") == trait).sort("line_id")[column].to_numpy()


def _f(model: FittedKernel, trait: int, x_QM: np.ndarray) -> np.ndarray:
    """The prediction as a plain function of (real-valued, centred) marker scores."""
    fit = model.fits[trait]
    x_NM = centred(model.panel.dosages(), model.frequencies_M)[fit.data.rows_N]
    d2_QN = ((x_QM[:, None, :] - x_NM[None]) ** 2).sum(axis=2)
    return fit.components.genetic * _kernel(d2_QN, model, trait) @ fit.dual_N


def _kernel(d2: np.ndarray, model: FittedKernel, trait: int) -> np.ndarray:
    fit = model.fits[trait]
    bandwidths = fit.bandwidths if model.settings["bandwidth"] == "auto" else ((fit.bandwidth, 1.0),)
    return sum((weight * np.exp(-d2 / theta) for theta, weight in bandwidths), start=np.zeros_like(d2))


def test_bandwidth_is_the_median_over_pairs(panel: GenotypeTable, learnt: TrainingSet) -> None:
    fitted = Kernel(bandwidth="median").fit(learnt)
    relationship = vanraden(panel)
    pairs = squared_distances(panel)[np.triu_indices(50, k=1)]
    assert median_squared_distance(relationship.matrix_NN, relationship.scale) == pytest.approx(np.median(pairs),
                                                                                              rel=1e-5)
    assert fitted.fits[0].bandwidth == pytest.approx(np.median(pairs), rel=1e-5)


def test_genotypic_values_are_the_kernel_prediction(panel: GenotypeTable, fitted: FittedKernel) -> None:
    f_P = _f(fitted, 0, centred(panel.dosages(), panel_frequencies(panel)))
    found = _column(fitted.predict(panel), "a", "genotypic_value")
    assert found == pytest.approx(f_P - f_P.mean(), abs=1e-5)


def test_average_effects_are_the_mean_gradient_scaled(panel: GenotypeTable, fitted: FittedKernel) -> None:
    """Effects ∝ the mean over training lines of the numerical derivative, with slope one of f on the index."""
    rows_N = fitted.fits[0].data.rows_N
    x_NM = centred(panel.dosages(), panel_frequencies(panel))[rows_N]
    gradient_M, h = np.empty(panel.n_variants), 1e-4
    for m in range(panel.n_variants):
        up_NM, down_NM = x_NM.copy(), x_NM.copy()
        up_NM[:, m] += h
        down_NM[:, m] -= h
        gradient_M[m] = np.mean(_f(fitted, 0, up_NM) - _f(fitted, 0, down_NM)) / (2 * h)
    index_N, f_N = x_NM @ gradient_M, _f(fitted, 0, x_NM)
    expected_M = gradient_M * np.cov(f_N, index_N)[0, 1] / np.var(index_N, ddof=1)
    assert fitted.effects_MT[:, 0] == pytest.approx(expected_M, rel=1e-3, abs=1e-6)
    table = fitted.predict(panel)
    breeding_N = _column(table, "a", "breeding_value")[rows_N]
    assert np.cov(f_N, breeding_N)[0, 1] / np.var(breeding_N, ddof=1) == pytest.approx(1.0, abs=1e-4)
    share = np.corrcoef(f_N, breeding_N)[0, 1] ** 2
    assert _column(table, "a", "breeding_value_reliability") == pytest.approx(
        share * _column(table, "a", "genotypic_value_reliability"), abs=1e-4)
    assert fitted.values_from_dosages(panel.dosages())[rows_N, 0] == pytest.approx(breeding_N, abs=1e-5)


def test_centring_the_kernel_changes_no_prediction(panel: GenotypeTable, learnt: TrainingSet,
                                                   fitted: FittedKernel) -> None:
    fit = fitted.fits[0]
    kernel_PP = _kernel(squared_distances(panel), fitted, 0)
    rows_N, c = fit.data.rows_N, fit.components
    v_NN = c.genetic * kernel_PP[np.ix_(rows_N, rows_N)] + c.error * np.eye(40)
    weight_N = np.linalg.solve(v_NN, np.ones(40))
    mean = weight_N @ fit.data.y_N / weight_N.sum()
    plain_P = mean + c.genetic * kernel_PP[:, rows_N] @ np.linalg.solve(v_NN, fit.data.y_N - mean)
    quick = Kernel(bandwidth=fitted.settings["bandwidth"]).fit_values(learnt)
    quick = quick.filter(pl.col("trait") == "a").sort("line_id")
    assert (quick["intercept"] + quick["genotypic_value"]).to_numpy() == pytest.approx(plain_P, abs=1e-4)


def test_reliabilities_and_residual(panel: GenotypeTable, fitted: FittedKernel) -> None:
    table = fitted.predict(panel)
    for trait in ("a", "b"):
        reliability_P = _column(table, trait, "genotypic_value_reliability")
        assert (reliability_P >= 0).all()
        assert (reliability_P <= 1).all()
        assert reliability_P[:40].mean() > reliability_P[40:].mean()
    assert fitted.fits[1].components.errors_known
    some = panel.select(lines=panel.lines[30:])
    whole = table.filter(pl.col("line_id").is_in(some.lines))
    found = fitted.predict(some)
    for column in ("breeding_value", "genotypic_value", "genotypic_value_reliability"):
        assert found[column].to_numpy() == pytest.approx(whole[column].to_numpy(), abs=1e-4)


def _likelihood(y_N: np.ndarray, kernel_NN: np.ndarray) -> float:
    """Largest restricted log likelihood with equal errors, by eigenvectors and a Cholesky factor."""
    (components,) = spectral_reml(y_N, contrast_eigen(kernel_NN))
    return solve(y_N, kernel_NN, components).log_likelihood


def test_bandwidths_are_averaged_by_restricted_likelihood(panel: GenotypeTable, learnt: TrainingSet) -> None:
    """Weights against the likelihoods of a plain spectral decomposition of each kernel."""
    d2_PP = squared_distances(panel)
    median = np.median(d2_PP[np.triu_indices(50, k=1)])
    for fit in Kernel().fit(learnt).fits:
        d2_NN = d2_PP[np.ix_(fit.data.rows_N, fit.data.rows_N)]
        likelihood_H = np.array([_likelihood(fit.data.y_N, np.exp(-d2_NN / (h * median))) for h in BANDWIDTHS])
        posterior_H = np.exp(likelihood_H - likelihood_H.max())
        posterior_H[posterior_H < 0.01 * posterior_H.sum()] = 0.0
        centre_NN = np.eye(len(d2_NN)) - 1 / len(d2_NN)
        weight_H = posterior_H / [np.trace(centre_NN @ np.exp(-d2_NN / (h * median)) @ centre_NN) for h in BANDWIDTHS]
        expected = {h: w for h, w in zip(BANDWIDTHS, weight_H / weight_H.sum(), strict=True) if w}
        assert len(expected) > 1
        found = dict(fit.bandwidths)
        assert list(found) == pytest.approx([h * median for h in expected], rel=1e-5)
        assert list(found.values()) == pytest.approx(list(expected.values()), abs=1e-4)
        assert np.log(fit.bandwidth) == pytest.approx(sum(w * np.log(theta) for theta, w in fit.bandwidths))


def test_bandwidth_by_restricted_likelihood(learnt: TrainingSet) -> None:
    by_reml, median = Kernel(bandwidth="reml").fit(learnt), Kernel(bandwidth="median").fit(learnt)
    for chosen, averaged, middle in zip(by_reml.fits, Kernel().fit(learnt).fits, median.fits, strict=True):
        assert not chosen.bandwidths
        assert chosen.bandwidth in dict(averaged.bandwidths)
        assert chosen.bandwidth / middle.bandwidth in (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
    assert by_reml.fits[0].log_likelihood >= median.fits[0].log_likelihood - 1e-6
    with pytest.raises(ProgramError, match="expected auto, median or reml"):
        Kernel(bandwidth="wide")


def test_saved_and_read_back_is_the_same(panel: GenotypeTable, fitted: FittedKernel, tmp_path: Path) -> None:
    fitted.save(tmp_path / "one")
    read = load_fitted(tmp_path / "one")
    some = panel.select(lines=panel.lines[35:])
    assert read.predict(some).equals(fitted.predict(some))
    read.save(tmp_path / "two")
    assert parameters_digest(tmp_path / "one") == parameters_digest(tmp_path / "two")


def test_a_model_saved_with_one_bandwidth_is_read(panel: GenotypeTable, learnt: TrainingSet, tmp_path: Path) -> None:
    """As versions before the average wrote them."""
    fitted = Kernel(bandwidth="median").fit(learnt)
    fitted.save(tmp_path)
    assert all("bandwidths" not in trait for trait in json.loads((tmp_path / "model.json").read_text())["traits"])
    some = panel.select(lines=panel.lines[35:])
    assert load_fitted(tmp_path).predict(some).equals(fitted.predict(some))


def test_training_lines_of_one_genotype_tell_no_bandwidth(panel: GenotypeTable) -> None:
    """All training lines alike, others of the panel not: the intercept is all there is to learn."""
    dosage_NM = panel.dosages()
    dosage_NM[:20] = dosage_NM[0]
    alike = GenotypeTable.from_dosages(panel.variants, panel.lines, dosage_NM.T)
    learnt = training_set(alike, {"a": (list(panel.lines[:20]), made_values(panel)[:20], None)})
    values = Kernel().fit_values(learnt)
    assert values["genotypic_value"].to_numpy() == pytest.approx(0.0, abs=1e-9)
    assert values["intercept"].to_numpy() == pytest.approx(made_values(panel)[:20].mean())
