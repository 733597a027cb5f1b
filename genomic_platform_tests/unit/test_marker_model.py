"""Bayesian recipes as models: values beside BLUP's algebra, contract, files, other lines, refusals, hopeless traits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import InputError, ProgramError
from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.bayes.priors import Expectation, Prior, spike_and_slab
from genomic_platform.models.bayes.recipe import BayesB, BayesCPi, BayesRecipe
from genomic_platform.models.blup import line_values, solve
from genomic_platform.models.marker_model import FittedMarkerModel
from genomic_platform.models.protocol import FittedModel, TrainingSet
from genomic_platform.models.recipes import load_fitted, load_recipe, parameters_digest
from genomic_platform.models.trait_fit import trait_data
from genomic_platform.schemas.predictions import MARKER_EFFECTS, VALUES
from genomic_platform_tests.support.panels import made_panel, made_values, training_set

VALUE_COLUMNS = ("breeding_value", "breeding_value_reliability", "genotypic_value", "genotypic_value_reliability")
SHORT = {"chains": 2, "burn_in": 50, "iterations": 200}


@dataclass(frozen=True)
class Ridge(BayesRecipe):
    """All effects normal with one variance, and every variance fixed at its prior mode: BLUP, known exactly."""

    name: ClassVar[str] = "ridge"

    def prior(self, known: Expectation) -> Prior:
        pinned = spike_and_slab(known._replace(df=1e9), 1, 1 - 1e-9, 0.0)
        return pinned._replace(counts_K=np.array([1e-9, 1e12]))


@pytest.fixture(scope="module")
def panel() -> GenotypeTable:
    return made_panel()


@pytest.fixture(scope="module")
def learnt(panel: GenotypeTable) -> TrainingSet:
    """`a` has equal weights, `b` known errors, `shared` correlated ones; `flat` is constant, `few` hopeless."""
    lines, rng = list(panel.lines), np.random.default_rng(8)
    learnt = training_set(panel, {
        "a": ([*lines[:50], "ungenotyped"], np.append(made_values(panel)[:50], 9.0), None),
        "b": (lines[:45], made_values(panel, seed=5)[:45], rng.uniform(0.05, 0.3, 45)),
        "few": (lines[:2], np.ones(2), None), "flat": (lines[:30], np.full(30, 4.0), None),
        "shared": (lines[:45], made_values(panel, seed=6)[:45], rng.uniform(0.3, 0.5, 45))})
    loadings = pl.Series(rng.uniform(-0.3, 0.3, (learnt.means.height, 3)).tolist(), dtype=pl.List(pl.Float64))
    return replace(learnt, means=learnt.means.with_columns(
        pl.when(pl.col("trait") == "shared").then(loadings).alias("error_loadings")))


@pytest.fixture(scope="module")
def fitted(learnt: TrainingSet) -> FittedMarkerModel:
    return BayesB(**SHORT).fit(learnt)


def _values(table: pl.DataFrame, trait: str) -> dict[str, np.ndarray]:
    part = table.filter(pl.col("trait") == trait).sort("line_id")
    return {c: part[c].to_numpy() for c in VALUE_COLUMNS}


@pytest.fixture(scope="module")
def ridge(learnt: TrainingSet) -> FittedMarkerModel:
    return Ridge(chains=2, burn_in=100, iterations=6000).fit(learnt)


@pytest.mark.parametrize("trait", ["a", "b", "shared"])
def test_normal_effects_of_fixed_variance_are_blup(panel: GenotypeTable, learnt: TrainingSet, ridge: FittedMarkerModel,
                                                   trait: str) -> None:
    """Values and reliabilities of all lines against `blup.line_values` at the components of the prior."""
    k_PP = vanraden(panel).matrix_NN
    data = next(d for d in trait_data(learnt.means, panel.lines) if d.trait == trait)
    fit = next(f for f in ridge.fits if f.trait == trait)
    genetic = _prior_genetic(panel, data.y_N, data.rows_N, ridge.scale, 0.0 if data.errors is None else float(
        data.errors.diagonal_N.mean()))
    assert fit.components.genetic == pytest.approx(genetic, rel=0.1), "the effects' mean square is near its prior's"
    components = replace(fit.components, genetic=genetic)
    solution = solve(data.y_N, k_PP[np.ix_(data.rows_N, data.rows_N)], components, data.errors)
    training_P = np.full(panel.n_lines, -1)
    training_P[data.rows_N] = np.arange(len(data.rows_N))
    expected = line_values(solution, k_PP[:, data.rows_N], np.diagonal(k_PP), training_P)
    found = _values(ridge.predict(panel), trait)
    # Monte Carlo error of 12,000 iterations (values) and of a variance over 1,200 draws (4 % of the PEV).
    assert found["breeding_value"] == pytest.approx(expected.value_Q, abs=0.03)
    assert found["genotypic_value"] == pytest.approx(expected.total_Q, abs=0.03)
    assert fit.intercept == pytest.approx(solution.mean, abs=0.03)
    scaled_Q = 1 - (1 - expected.value_reliability_Q) * genetic / fit.components.genetic
    assert found["breeding_value_reliability"] == pytest.approx(np.clip(scaled_Q, 0, 1), abs=0.1)
    assert (found["breeding_value_reliability"] - scaled_Q).mean() == pytest.approx(0, abs=0.03)
    assert (found["genotypic_value_reliability"] - expected.total_reliability_Q).mean() == pytest.approx(0, abs=0.05)


def _prior_genetic(panel: GenotypeTable, y_N: np.ndarray, rows_N: np.ndarray, scale: float, error: float) -> float:
    """σ²g of effects that together make half the variance between lines."""
    dosage_NM = panel.dosages().astype(float)
    dosage_NM = np.where(dosage_NM < 0, 2 * panel.allele_frequencies(), dosage_NM)[rows_N]
    between = max(float(np.var(y_N, ddof=1)) - error, 0.1 * float(np.var(y_N, ddof=1)))
    return 0.5 * between / float(dosage_NM.var(axis=0).sum()) * scale


def test_values_table_keeps_its_contract(panel: GenotypeTable, fitted: FittedMarkerModel) -> None:
    table = fitted.predict(panel)
    assert VALUES.faults(table) == []
    assert isinstance(fitted, FittedModel)
    assert fitted.traits == ("a", "b", "few", "flat", "shared")
    phenotyped = dict(table.group_by("trait").agg(pl.col("phenotyped").sum()).iter_rows())
    assert phenotyped == {"a": 50, "b": 45, "few": 2, "flat": 30, "shared": 45}
    for column in ("breeding_value_reliability", "genotypic_value_reliability"):
        assert table[column].is_between(0, 1).all()
    a = _values(table, "a")
    assert np.array_equal(a["genotypic_value"], a["breeding_value"]), "equal weights leave no line residual"
    assert np.corrcoef(_values(table, "b")["genotypic_value"][:45], made_values(panel, seed=5)[:45])[0, 1] > 0.5


def test_summary_says_how_the_chains_went(fitted: FittedMarkerModel) -> None:
    said = fitted.summary()["b"]
    for quantity in ("error_variance", "genetic_variance", "log_likelihood"):
        assert 0.9 < float(said[f"r_hat_{quantity}"]) < 3
        assert float(said[f"effective_size_{quantity}"]) > 1
    assert said["status"] == "fitted"
    assert (said["chains"], said["iterations"]) == (2, 200)
    assert str(said["convergence"]).startswith("chains ")
    assert said["errors"] == "known from stage one"
    assert 0 < float(said["heritability_line_mean"]) < 1
    assert 0 < float(said["markers_in_model"]) < fitted.n_markers


@pytest.mark.parametrize("recipe", ["bayes_b", "bayes_c_pi", "bayes_r", "bayesian_lasso"])
def test_hopeless_traits_are_zero_and_said(recipe: str, panel: GenotypeTable, learnt: TrainingSet) -> None:
    model = type(load_recipe(recipe))(**SHORT).fit(learnt)  # pyright: ignore[reportCallIssue]
    assert model.recipe == recipe
    for trait, status in (("few", "too few lines"), ("flat", "constant")):
        assert model.summary()[trait]["status"] == status
        assert all(not values.any() for values in _values(model.predict(panel), trait).values())


def test_markers_that_never_vary_and_weights_that_say_nothing(panel: GenotypeTable) -> None:
    same = GenotypeTable.from_dosages(panel.variants, panel.lines, np.full((panel.n_variants, panel.n_lines), 2))
    lines, y_N = list(panel.lines), made_values(panel)
    model = BayesB(**SHORT).fit(training_set(same, {"a": (lines, y_N, None)}))
    assert model.summary()["a"]["status"] == "no genetic variance found"
    assert all(not values.any() for values in _values(model.predict(same), "a").values())
    equal = BayesB(**SHORT).fit(training_set(panel, {"a": (lines, y_N, None)}))
    weightless = BayesB(**SHORT).fit(training_set(panel, {"a": (lines, y_N, np.zeros(60))}))
    assert weightless.summary()["a"]["errors"] == "equal, estimated"
    assert weightless.predict(panel).equals(equal.predict(panel))


def test_part_of_the_panel_predicts_as_the_whole(panel: GenotypeTable, fitted: FittedMarkerModel) -> None:
    found = fitted.predict(panel.select(lines=[*panel.lines[40:], *panel.lines[:5]]))
    expected = fitted.predict(panel).join(found.select("line_id", "trait"), on=["line_id", "trait"])
    assert found.equals(expected.sort("trait", "line_id"))


def test_new_lines_and_dosages_give_the_same_breeding_values(panel: GenotypeTable, fitted: FittedMarkerModel) -> None:
    other = made_panel(n_lines=12, seed=33)
    # A line of the panel's id with other genotypes takes nothing of the panel's line.
    other = GenotypeTable.from_packed(other.variants, ["line000", *(f"new{i:02d}" for i in range(11))], other.packed_MB)
    table, by_dosage_NT = fitted.predict(other), fitted.values_from_dosages(other.dosages())
    for t, trait in enumerate(fitted.traits):
        found = _values(table, trait)
        assert found["breeding_value"] == pytest.approx(by_dosage_NT[:, t], abs=1e-12)
        assert np.array_equal(found["genotypic_value"], found["breeding_value"])
    with pytest.raises(ValueError, match=r"dosages have shape \(12, 3\); expected \(lines, 200\)"):
        fitted.values_from_dosages(other.dosages()[:, :3])


def test_reliability_of_a_copy_is_near_that_of_the_line(panel: GenotypeTable, ridge: FittedMarkerModel) -> None:
    """Other lines' PEV comes from 128 of the draws, rounded to half precision: 13 % of it is Monte Carlo error."""
    copies = GenotypeTable.from_packed(panel.variants, [f"copy{i:03d}" for i in range(60)], panel.packed_MB)
    for trait in ("a", "b"):
        line, copy = _values(ridge.predict(panel), trait), _values(ridge.predict(copies), trait)
        difference = copy["breeding_value_reliability"] - line["breeding_value_reliability"]
        assert np.abs(difference).max() < 0.3
        assert difference.mean() == pytest.approx(0, abs=0.05)
    assert (copy["genotypic_value_reliability"] < line["genotypic_value_reliability"])[:45].mean() > 0.8, \
        "a line without a record has an unknown residual"


def test_effects_sum_to_breeding_values(panel: GenotypeTable, fitted: FittedMarkerModel) -> None:
    effects = fitted.explain()
    assert MARKER_EFFECTS.faults(effects) == []
    found = _values(fitted.predict(panel), "a")["breeding_value"]
    assert fitted.values_from_dosages(panel.dosages())[:, 0] == pytest.approx(found, abs=1e-9)
    everything = fitted.explain(panel.select(lines=panel.lines[:1]), top=10_000).filter(pl.col("trait") == "a")
    assert everything.columns == ["line_id", "trait", "variant_id", "dosage", "contribution"]
    assert everything["contribution"].sum() == pytest.approx(found[0], abs=1e-9)


def test_saved_and_read_back_is_the_same(panel: GenotypeTable, fitted: FittedMarkerModel, learnt: TrainingSet,
                                         tmp_path: Path) -> None:
    fitted.save(tmp_path / "one")
    BayesB(**SHORT).fit(learnt).save(tmp_path / "two")
    read = load_fitted(tmp_path / "one")
    assert type(read) is FittedMarkerModel
    assert read.predict(panel).equals(fitted.predict(panel))
    other = made_panel(n_lines=12, seed=33)
    assert read.predict(other).equals(fitted.predict(other))
    assert read.summary() == fitted.summary()
    read.save(tmp_path / "three")
    assert len({parameters_digest(tmp_path / name) for name in ("one", "two", "three")}) == 1
    BayesB(**SHORT).fit(learnt, seed=1).save(tmp_path / "four")
    assert parameters_digest(tmp_path / "one") != parameters_digest(tmp_path / "four")


def test_fit_values_are_the_values_of_the_fit(learnt: TrainingSet, fitted: FittedMarkerModel,
                                              panel: GenotypeTable) -> None:
    both = BayesB(**SHORT).fit_values(learnt).join(fitted.predict(panel), on=["line_id", "trait"], suffix="_full")
    assert both.height == 5 * 60
    for column in ("breeding_value", "genotypic_value"):
        assert both[column].to_numpy() == pytest.approx(both[f"{column}_full"].to_numpy(), abs=1e-12)


def test_missing_markers_and_exchanged_alleles(panel: GenotypeTable, fitted: FittedMarkerModel) -> None:
    with pytest.raises(InputError, match=r"3 of them missing \(for example m0000, m0001, m0002\)"):
        fitted.predict(panel.select(variants=np.arange(3, panel.n_variants)))
    dosage_MN = panel.dosages().T
    exchanged = panel.variants.with_columns(ref="alt", alt="ref")
    table = GenotypeTable.from_dosages(exchanged, panel.lines, np.where(dosage_MN < 0, -1, 2 - dosage_MN))
    assert fitted.predict(table).equals(fitted.predict(panel))


@pytest.mark.parametrize(("make", "said"), [
    (lambda: BayesCPi(chains=0), "expected at least one chain"), (lambda: BayesB(iterations=30), "40 iterations after"),
    (lambda: BayesB(r2=1.0), "expected r2 between 0 and 1"), (lambda: BayesB(share=0.0), "expected a share between")])
def test_settings_that_make_no_sense_are_refused(make: Callable[[], BayesRecipe], said: str) -> None:
    with pytest.raises(ProgramError, match=said):
        make()
