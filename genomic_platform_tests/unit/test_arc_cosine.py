"""The arc-cosine kernel: against wide random networks, layers by REML, average effects by numerical differentiation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import ProgramError
from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.arc_cosine import LAYERS, ArcCosine, ArcCosineCovariance, FittedArcCosine
from genomic_platform.models.genomic_blup import GenomicBlup
from genomic_platform.models.line_covariance import Lines
from genomic_platform.models.markers import centred, panel_frequencies
from genomic_platform.models.protocol import FittedModel, TrainingSet
from genomic_platform.models.recipes import load_fitted, load_recipe, parameters_digest
from genomic_platform.schemas.predictions import MARKER_EFFECTS, VALUES
from genomic_platform_tests.support.panels import made_panel, made_values, training_set


@pytest.fixture(scope="module")
def panel() -> GenotypeTable:
    return made_panel(n_lines=50, n_markers=120)


@pytest.fixture(scope="module")
def learnt(panel: GenotypeTable) -> TrainingSet:
    rng, lines = np.random.default_rng(3), list(panel.lines[:40])
    return training_set(panel, {
        "a": (lines, made_values(panel)[:40], None),
        "b": (lines, made_values(panel, seed=9)[:40], rng.uniform(0.05, 0.4, 40)), "flat": (lines, np.ones(40), None)})


@pytest.fixture(scope="module")
def fitted(learnt: TrainingSet) -> FittedArcCosine:
    model = ArcCosine(layers=2).fit(learnt)
    assert isinstance(model, FittedArcCosine)
    return model


def _column(table: pl.DataFrame, trait: str, column: str) -> np.ndarray:
    return table.filter(pl.col("trait") == trait).sort("line_id")[column].to_numpy()


def _f(model: FittedArcCosine, x_QM: np.ndarray) -> np.ndarray:
    """Two layers, plainly, of (real-valued, centred) marker scores against the training lines."""
    fit = model.fits[0]
    x_NM = centred(model.panel.dosages(), model.frequencies_M)[fit.data.rows_N]
    norm_QN = np.outer(np.linalg.norm(x_QM, axis=1), np.linalg.norm(x_NM, axis=1))
    kernel_QN = x_QM @ x_NM.T
    for _ in range(2):
        theta_QN = np.arccos(np.clip(kernel_QN / norm_QN, -1, 1))
        kernel_QN = norm_QN * (np.sin(theta_QN) + (np.pi - theta_QN) * np.cos(theta_QN)) / np.pi
    return fit.components.genetic * kernel_QN / model.scale @ fit.dual_N


def test_kernel_is_the_mean_product_of_rectified_random_projections() -> None:
    """2 E[(w'x)₊ (w'y)₊], w standard normal (Cho & Saul 2009, eq. 1): the standard error of 400,000 draws is .01."""
    x_PR = np.random.default_rng(0).normal(size=(4, 3))
    unit_SR = np.random.default_rng(1).normal(size=(400_000, 3))
    lines = Lines.panel(x_PR @ x_PR.T)
    for layers in (1, 2):
        hidden_SP = np.maximum(unit_SR @ x_PR.T, 0)
        expected_PP = 2 * hidden_SP.T @ hidden_SP / len(unit_SR)
        found_PP = ArcCosineCovariance().kernel(lines, lines.own_Q, 1.0, layers).cross_QP
        assert found_PP == pytest.approx(expected_PP, abs=0.06)
        assert np.diagonal(found_PP) == pytest.approx(lines.own_Q)
        # the next layer's inputs have the covariance this layer's outputs have
        x_PR = np.linalg.cholesky(found_PP)
        unit_SR = np.random.default_rng(2).normal(size=(400_000, 4))


def test_a_line_at_the_mean_of_every_marker_has_no_kernel() -> None:
    lines = Lines(np.array([[0.0, 0.0], [0.5, 1.0]]), np.array([0.0, 1.0]))
    kernel_QP = ArcCosineCovariance().kernel(lines, np.array([0.0, 1.0]), 1.0, 3).cross_QP
    assert kernel_QP[0].tolist() == [0.0, 0.0]
    assert kernel_QP[1] == pytest.approx([0.0, 1.0])


def test_genotypic_values_are_the_kernel_prediction(panel: GenotypeTable, fitted: FittedArcCosine) -> None:
    f_P = _f(fitted, centred(panel.dosages(), panel_frequencies(panel)))
    found = _column(fitted.predict(panel), "a", "genotypic_value")
    assert found == pytest.approx(f_P - f_P.mean(), abs=1e-5)


def test_average_effects_are_the_mean_gradient_scaled(panel: GenotypeTable, fitted: FittedArcCosine) -> None:
    """Effects ∝ the mean over training lines of the numerical derivative, with slope one of f on the index."""
    rows_N = fitted.fits[0].data.rows_N
    x_NM = centred(panel.dosages(), panel_frequencies(panel))[rows_N]
    gradient_M, h = np.empty(panel.n_variants), 1e-4
    for m in range(panel.n_variants):
        step_M = h * (np.arange(panel.n_variants) == m)
        gradient_M[m] = np.mean(_f(fitted, x_NM + step_M) - _f(fitted, x_NM - step_M)) / (2 * h)
    index_N, f_N = x_NM @ gradient_M, _f(fitted, x_NM)
    expected_M = gradient_M * np.cov(f_N, index_N)[0, 1] / np.var(index_N, ddof=1)
    # where a line meets itself θ is 0, and the kernel has a kink that differences of 1e-4 round off
    assert fitted.effects_MT[:, 0] == pytest.approx(expected_M, rel=2e-3, abs=1e-5)
    breeding_N = _column(fitted.predict(panel), "a", "breeding_value")[rows_N]
    assert np.cov(f_N, breeding_N)[0, 1] / np.var(breeding_N, ddof=1) == pytest.approx(1.0, abs=1e-4)
    assert fitted.values_from_dosages(panel.dosages())[rows_N, 0] == pytest.approx(breeding_N, abs=1e-5)


def test_values_keep_their_contract(panel: GenotypeTable, fitted: FittedArcCosine) -> None:
    assert isinstance(fitted, FittedModel)
    table = fitted.predict(panel)
    assert VALUES.faults(table) == []
    assert MARKER_EFFECTS.faults(fitted.explain()) == []
    for trait in ("a", "b"):
        reliability_P = _column(table, trait, "genotypic_value_reliability")
        assert ((reliability_P >= 0) & (reliability_P <= 1)).all()
        assert reliability_P[:40].mean() > reliability_P[40:].mean() > 0
    assert not _column(table, "flat", "genotypic_value").any()
    some = panel.select(lines=panel.lines[30:])
    whole = table.filter(pl.col("line_id").is_in(some.lines))
    for column in ("breeding_value", "genotypic_value", "genotypic_value_reliability"):
        assert fitted.predict(some)[column].to_numpy() == pytest.approx(whole[column].to_numpy(), abs=1e-4)


def test_layers_by_restricted_likelihood(learnt: TrainingSet) -> None:
    chosen = ArcCosine().fit(learnt)
    fixed = [ArcCosine(layers=layers).fit(learnt) for layers in LAYERS]
    assert chosen.fits[0].log_likelihood == pytest.approx(max(m.fits[0].log_likelihood for m in fixed))
    assert chosen.summary()["a"]["layers"] == chosen.fits[0].layers
    assert chosen.fits[0].layers in LAYERS
    with pytest.raises(ProgramError, match="layers is 0; expected at least 1"):
        ArcCosine(layers=0)


def test_interactions_that_gblup_cannot_see_are_predicted() -> None:
    wide = made_panel(n_lines=280, n_markers=12)
    x_NM = wide.dosages() - wide.dosages().mean(axis=0)
    truth_N = x_NM[:, 0] + 1.5 * (x_NM[:, 2] * x_NM[:, 3] + x_NM[:, 9] * x_NM[:, 10])
    y_N = truth_N[:200] + np.random.default_rng(4).normal(size=200)
    learnt = training_set(wide, {"epistatic": (list(wide.lines[:200]), y_N, None)})
    r, r_alone = (np.corrcoef(_column(recipe.fit(learnt).predict(wide), "epistatic", "genotypic_value")[200:],
                              truth_N[200:])[0, 1] for recipe in (ArcCosine(), GenomicBlup()))
    assert r > r_alone + 0.2


def test_lines_of_one_genotype_are_worth_nothing() -> None:
    one = made_panel(n_lines=1, n_markers=30, missing=0.0)
    same = GenotypeTable.from_dosages(one.variants, [f"line{i}" for i in range(8)], one.dosages().T.repeat(8, axis=1))
    model = load_recipe("arc_cosine").fit(training_set(same, {"y": (list(same.lines), np.arange(8.0), None)}))
    assert not vanraden(same).matrix_NN.any()
    assert model.summary()["y"]["status"] == "constant"
    assert not model.predict(same)["genotypic_value"].to_numpy().any()


def test_saved_and_read_back_is_the_same(panel: GenotypeTable, learnt: TrainingSet, fitted: FittedArcCosine,
                                         tmp_path: Path) -> None:
    fitted.save(tmp_path / "one")
    read = load_fitted(tmp_path / "one")
    some = panel.select(lines=panel.lines[35:])
    assert read.predict(some).equals(fitted.predict(some))
    read.save(tmp_path / "two")
    ArcCosine(layers=2).fit(learnt, seed=5).save(tmp_path / "three")
    assert len({parameters_digest(tmp_path / name) for name in ("one", "two", "three")}) == 1
