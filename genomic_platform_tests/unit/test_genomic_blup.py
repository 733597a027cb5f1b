"""GBLUP against Henderson's mixed-model equations, its files, new lines and refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import InputError, NotAvailable, ProgramError
from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.genomic_blup import FittedGenomicBlup, GenomicBlup
from genomic_platform.models.protocol import FittedModel, TrainingSet
from genomic_platform.models.recipes import RECIPES, load_fitted, load_recipe, parameters_digest
from genomic_platform.schemas.predictions import MARKER_EFFECTS, VALUES
from genomic_platform_tests.support.panels import made_panel, made_values, training_set


@pytest.fixture(scope="module")
def panel() -> GenotypeTable:
    return made_panel()


@pytest.fixture(scope="module")
def learnt(panel: GenotypeTable) -> TrainingSet:
    lines = list(panel.lines)
    y_N, rng = made_values(panel), np.random.default_rng(8)
    # The last ten lines are unphenotyped; `b` is weighted, `shared` too and its errors are correlated, `flat` is
    # constant, `few` hopeless.
    learnt = training_set(panel, {
        "a": ([*lines[:50], "ungenotyped"], np.append(y_N[:50], 9.0), None),
        "b": (lines[:45], made_values(panel, seed=5)[:45] + 0.1 * rng.normal(size=45), rng.uniform(0.05, 0.3, 45)),
        "few": (lines[:2], y_N[:2], None), "flat": (lines[:30], np.full(30, 4.0), None),
        "shared": (lines[:45], made_values(panel, seed=6)[:45] + 0.2 * rng.normal(size=45),
                   rng.uniform(0.3, 0.5, 45))})
    loadings = pl.Series(rng.uniform(-0.3, 0.3, (learnt.means.height, 3)).tolist(), dtype=pl.List(pl.Float64))
    return replace(learnt, means=learnt.means.with_columns(
        pl.when(pl.col("trait") == "shared").then(loadings).alias("error_loadings")))


@pytest.fixture(scope="module")
def fitted(learnt: TrainingSet) -> FittedGenomicBlup:
    model = GenomicBlup().fit(learnt)
    assert isinstance(model, FittedGenomicBlup)
    return model


def _values(table: pl.DataFrame, trait: str) -> dict[str, np.ndarray]:
    part = table.filter(pl.col("trait") == trait).sort("line_id")
    return {c: part[c].to_numpy() for c in part.columns if part.schema[c] == pl.Float64}


@pytest.mark.parametrize("trait", ["a", "b", "shared"])
def test_values_and_reliabilities_are_those_of_hendersons_equations(
        panel: GenotypeTable, learnt: TrainingSet, fitted: FittedGenomicBlup, trait: str) -> None:
    """Equations for μ, g of all 60 lines and r of the trained ones, solved densely; PEV from the inverse."""
    k_PP = vanraden(panel).matrix_NN
    fit = next(f for f in fitted.fits if f.trait == trait)
    c, rows, y_N = fit.components, fit.data.rows_N, fit.data.y_N
    n, p = len(rows), len(k_PP)
    error_NN = c.error * np.eye(n)
    if fit.data.errors is not None:
        error_NN = np.diag(fit.data.errors.own_N) + fit.data.errors.loadings_NB @ fit.data.errors.loadings_NB.T
    error_inverse_NN = np.linalg.inv(error_NN)
    residual = max(c.line_residual, 1e-9)
    x_NC = np.hstack([np.ones((n, 1)), np.eye(p)[rows], np.eye(n)])
    # A small ridge makes the relationship invertible (its rows sum to zero) and moves values by far less than 1e-3.
    k_inverse_PP = np.linalg.inv(c.genetic * (k_PP + 1e-6 * np.eye(p)))
    left_CC = x_NC.T @ error_inverse_NN @ x_NC
    left_CC[1:p + 1, 1:p + 1] += k_inverse_PP
    left_CC[p + 1:, p + 1:] += np.eye(n) / residual
    inverse_CC = np.linalg.inv(left_CC)
    solution_C = inverse_CC @ (x_NC.T @ error_inverse_NN @ y_N)
    g_P, pev_P = solution_C[1:p + 1], np.diagonal(inverse_CC)[1:p + 1]
    variance_P = c.genetic * np.diagonal(k_PP)
    found = _values(fitted.predict(panel), trait)
    assert found["breeding_value"] == pytest.approx(g_P, abs=1e-3)
    assert found["breeding_value_reliability"] == pytest.approx(1 - pev_P / variance_P, abs=1e-3)
    total_P = np.diag(inverse_CC)[1:p + 1].copy()
    g_rows, r_rows = 1 + rows, p + 1 + np.arange(n)
    total_P[rows] += np.diag(inverse_CC)[r_rows] + 2 * inverse_CC[g_rows, r_rows]
    expected = 1 - total_P / (variance_P + c.line_residual)
    expected[np.setdiff1d(np.arange(p), rows)] -= c.line_residual / (
        variance_P + c.line_residual)[np.setdiff1d(np.arange(p), rows)]
    assert found["genotypic_value_reliability"] == pytest.approx(expected, abs=1e-3)
    if trait != "a":
        assert c.errors_known
        assert c.line_residual > 0, "the seed must leave a line residual for this test to say something"
    else:
        assert found["genotypic_value"] == pytest.approx(found["breeding_value"], abs=1e-12)


def test_values_table_keeps_its_contract(panel: GenotypeTable, fitted: FittedGenomicBlup) -> None:
    table = fitted.predict(panel)
    assert VALUES.faults(table) == []
    assert table.height == 5 * 60
    assert isinstance(fitted, FittedModel)
    phenotyped = dict(table.group_by("trait").agg(pl.col("phenotyped").sum()).iter_rows())
    assert phenotyped == {"a": 50, "b": 45, "few": 2, "flat": 30, "shared": 45}
    for column in ("breeding_value_reliability", "genotypic_value_reliability"):
        assert table[column].is_between(0, 1).all()


def test_hopeless_traits_are_zero_and_said(panel: GenotypeTable, fitted: FittedGenomicBlup) -> None:
    for trait, status in (("few", "too few lines"), ("flat", "constant")):
        assert fitted.summary()[trait]["status"] == status
        assert all(not values.any() for values in _values(fitted.predict(panel), trait).values())
    assert fitted.summary()["a"]["n_train"] == 50
    assert 0 < float(fitted.summary()["a"]["heritability_line_mean"]) < 1


def test_part_of_the_panel_predicts_as_the_whole(panel: GenotypeTable, fitted: FittedGenomicBlup) -> None:
    some = panel.select(lines=[*panel.lines[40:], *panel.lines[:5]])
    found = fitted.predict(some)
    expected = fitted.predict(panel).join(found.select("line_id", "trait"), on=["line_id", "trait"])
    assert found.equals(expected.sort("trait", "line_id")), "nothing is computed for lines and calls of the training"
    changed = GenotypeTable.from_packed(some.variants, ["new", *some.lines[1:]], some.packed_MB)
    found = fitted.predict(changed).filter(pl.col("line_id") != "new")
    expected = expected.filter(pl.col("line_id") != some.lines[0])
    for column in ("breeding_value", "breeding_value_reliability", "genotypic_value", "genotypic_value_reliability"):
        # Float32 block products of the relationship.
        assert found[column].to_numpy() == pytest.approx(
            expected.sort("trait", "line_id")[column].to_numpy(), abs=2e-5)


def test_new_lines_and_dosages_give_the_same_breeding_values(panel: GenotypeTable, fitted: FittedGenomicBlup) -> None:
    other = made_panel(n_lines=12, seed=33)
    other = GenotypeTable.from_packed(other.variants, [f"new{i}" for i in range(12)], other.packed_MB)
    table = fitted.predict(other)
    by_dosage_NT = fitted.values_from_dosages(other.dosages())
    assert fitted.traits == ("a", "b", "few", "flat", "shared")
    assert fitted.n_markers == panel.n_variants
    order = np.argsort(other.lines)
    for t, trait in enumerate(fitted.traits):
        assert _values(table, trait)["breeding_value"] == pytest.approx(by_dosage_NT[order, t], abs=2e-5)
    assert not table["phenotyped"].any()


def test_effects_sum_to_breeding_values(panel: GenotypeTable, fitted: FittedGenomicBlup) -> None:
    effects = fitted.explain()
    assert MARKER_EFFECTS.faults(effects) == []
    found = _values(fitted.predict(panel), "a")["breeding_value"]
    assert fitted.values_from_dosages(panel.dosages())[:, 0] == pytest.approx(found, abs=2e-5)
    top = fitted.explain(panel.select(lines=panel.lines[:2]), top=3)
    assert top.columns == ["line_id", "trait", "variant_id", "dosage", "contribution"]
    assert top.filter((pl.col("trait") == "a") & (pl.col("line_id") == panel.lines[0])).height <= 3
    everything = fitted.explain(panel.select(lines=panel.lines[:1]), top=10_000).filter(pl.col("trait") == "a")
    assert everything["contribution"].sum() == pytest.approx(found[0], abs=2e-5)


def test_saved_and_read_back_is_the_same(panel: GenotypeTable, fitted: FittedGenomicBlup, learnt: TrainingSet,
                                         tmp_path: Path) -> None:
    fitted.save(tmp_path / "one")
    GenomicBlup().fit(learnt).save(tmp_path / "two")
    read = load_fitted(tmp_path / "one")
    assert type(read) is FittedGenomicBlup
    assert read.predict(panel).equals(fitted.predict(panel))
    some = panel.select(lines=panel.lines[45:55])
    assert read.predict(some).equals(fitted.predict(some))
    assert read.summary() == fitted.summary()
    read.save(tmp_path / "three")
    assert len({parameters_digest(tmp_path / name) for name in ("one", "two", "three")}) == 1
    (tmp_path / "two" / "run.json").write_text("{}\n")
    assert parameters_digest(tmp_path / "one") == parameters_digest(tmp_path / "two")


def test_fit_values_are_the_values_of_the_fit(learnt: TrainingSet, panel: GenotypeTable,
                                              fitted: FittedGenomicBlup) -> None:
    quick = GenomicBlup().fit_values(learnt)
    full = fitted.predict(panel)
    both = quick.join(full, on=["line_id", "trait"], suffix="_full")
    assert both.height == full.height
    for column in ("breeding_value", "genotypic_value"):
        assert both[column].to_numpy() == pytest.approx(both[f"{column}_full"].to_numpy(), abs=1e-6)


def test_missing_markers_and_other_alleles_are_all_named(panel: GenotypeTable, fitted: FittedGenomicBlup) -> None:
    other = panel.select(variants=np.arange(3, panel.n_variants))
    renamed = other.variants.with_columns(
        alt=pl.when(pl.col("variant_id") == "m0011").then(pl.lit("G")).otherwise("alt"))
    other = GenotypeTable.from_packed(renamed, other.lines, other.packed_MB)
    with pytest.raises(InputError) as caught:
        fitted.predict(other)
    said = str(caught.value)
    assert len(caught.value.problems) == 2
    assert "3 of them missing (for example m0000, m0001, m0002)" in said
    assert "marker m0011 is REF A, ALT G; expected REF A, ALT C as in the training panel" in said


def test_markers_that_count_the_other_allele_are_recoded(panel: GenotypeTable, fitted: FittedGenomicBlup) -> None:
    swapped_M = np.arange(panel.n_variants) % 3 == 0
    dosage_MN = panel.dosages().T.copy()
    dosage_MN[swapped_M] = np.where(dosage_MN[swapped_M] < 0, -1, 2 - dosage_MN[swapped_M])
    exchanged = panel.variants.with_columns(
        ref=pl.Series(np.where(swapped_M, panel.variants["alt"], panel.variants["ref"]).astype(str)),
        alt=pl.Series(np.where(swapped_M, panel.variants["ref"], panel.variants["alt"]).astype(str)))
    assert fitted.predict(GenotypeTable.from_dosages(exchanged, panel.lines, dosage_MN)).equals(fitted.predict(panel))


def test_more_markers_in_another_order_are_matched(panel: GenotypeTable, learnt: TrainingSet) -> None:
    kept = panel.select(variants=np.arange(0, panel.n_variants, 2))
    model = GenomicBlup().fit(TrainingSet(learnt.season, learnt.means, kept))
    moved = panel.variants.with_columns(position=pl.lit(1000) - pl.col("position"))
    elsewhere = GenotypeTable.from_packed(moved, panel.lines, panel.packed_MB)
    assert model.predict(elsewhere).equals(model.predict(kept))


def test_recipes_by_name(tmp_path: Path) -> None:
    assert load_recipe("genomic_blup").name == "genomic_blup"
    assert load_recipe("genomic_platform.models.genomic_blup:GenomicBlup").code_version
    for name, said in (("gblup", f"expected one of {', '.join(sorted(RECIPES))} or package.module:Class"),
                       ("no_such_package.models:Mine", "cannot be imported"),
                       ("genomic_platform.models.genomic_blup:Missing", "has no class Missing"),
                       ("pathlib:Path", "missing code_version, fit")):
        with pytest.raises(ProgramError, match=said):
            load_recipe(name)
    with pytest.raises(NotAvailable, match=r"no model\.json"):
        load_fitted(tmp_path)
