"""The Gaussian kernel: distances, bandwidth, prediction, average effects checked by numerical differentiation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import ProgramError
from genomic_platform.genotypes.kinship.relationship import squared_distances, vanraden
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.kernel import FittedKernel, Kernel, median_squared_distance
from genomic_platform.models.markers import centred, panel_frequencies
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.models.recipes import load_fitted, parameters_digest
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


@pytest.fixture(scope="module")
def fitted(learnt: TrainingSet) -> FittedKernel:
    model = Kernel(bandwidth="median").fit(learnt)
    assert isinstance(model, FittedKernel)
    return model


def _column(table: pl.DataFrame, trait: str, column: str) -> np.ndarray:
    return table.filter(pl.col("trait") == trait).sort("line_id")[column].to_numpy()


def _f(model: FittedKernel, trait: int, x_QM: np.ndarray) -> np.ndarray:
    """The prediction as a plain function of (real-valued, centred) marker scores."""
    fit = model.fits[trait]
    x_NM = centred(model.panel.dosages(), model.frequencies_M)[fit.data.rows_N]
    d2_QN = ((x_QM[:, None, :] - x_NM[None]) ** 2).sum(axis=2)
    return fit.components.genetic * np.exp(-d2_QN / fit.bandwidth) @ fit.dual_N


def test_bandwidth_is_the_median_over_pairs(panel: GenotypeTable, fitted: FittedKernel) -> None:
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
    kernel_PP = np.exp(-squared_distances(panel) / fit.bandwidth)
    rows_N, c = fit.data.rows_N, fit.components
    v_NN = c.genetic * kernel_PP[np.ix_(rows_N, rows_N)] + c.error * np.eye(40)
    weight_N = np.linalg.solve(v_NN, np.ones(40))
    mean = weight_N @ fit.data.y_N / weight_N.sum()
    plain_P = mean + c.genetic * kernel_PP[:, rows_N] @ np.linalg.solve(v_NN, fit.data.y_N - mean)
    quick = Kernel(bandwidth="median").fit_values(learnt).filter(pl.col("trait") == "a").sort("line_id")
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


def test_bandwidth_by_restricted_likelihood(learnt: TrainingSet) -> None:
    by_reml, by_default = Kernel(bandwidth="reml").fit(learnt), Kernel().fit(learnt)
    median = Kernel(bandwidth="median").fit(learnt)
    for chosen, default, middle in zip(by_reml.fits, by_default.fits, median.fits, strict=True):
        assert chosen.bandwidth == default.bandwidth
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
