"""What a model cannot learn from or predict is named, by every recipe alike; what it can is shrunk to the mean.

Faults of fixed effects, kernels and weights of the mixed model are in `test_mixed`, those of covariates in
`test_environment_kernel`, leaks in `test_leaks`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import InputError, NotAvailable, ProgramError
from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.ability import summarise
from genomic_platform.models.candidate import without_values
from genomic_platform.models.evaluate import evaluate
from genomic_platform.models.folds import cell_folds, random_folds
from genomic_platform.models.mixed.variance import reml
from genomic_platform.models.protocol import FittedModel, Model, TrainingSet
from genomic_platform.models.recipes import RECIPES, load_recipe
from genomic_platform.phenotypes.training_means import training_means
from genomic_platform_tests.support.nested_association import TRAIT, NestedDesign, NestedPanel, nested_panel

SMALL = replace(NestedDesign.small(), n_lines=60, n_families=4, n_markers=120, returning=0.8)
#: Recipes that have no boundary: their prior keeps every variance above 0.
BAYESIAN = ("bayes_b", "bayes_c_pi", "bayes_r", "bayesian_lasso")
EACH = pytest.mark.parametrize("name", list(RECIPES))


@pytest.fixture(scope="module")
def panel() -> NestedPanel:
    return nested_panel(SMALL, seed=3)


@pytest.fixture(scope="module")
def known(panel: NestedPanel) -> TrainingSet:
    means, _ = training_means(panel.line_means, genotyped=panel.genotypes.lines)
    return TrainingSet("2021", means, panel.genotypes, families=panel.families, line_means=panel.line_means)


@pytest.fixture(scope="module")
def opposed(panel: NestedPanel, known: TrainingSet) -> TrainingSet:
    """Thirty pairs of copies with opposite records in one environment: no genetic variance at all."""
    dosage_MN = panel.genotypes.dosages().T[:, :30]
    lines = [f"A{i:02d}" for i in range(60)]
    y_N = np.random.default_rng(0).normal(size=30)
    y_N = np.r_[y_N, -y_N]
    table = GenotypeTable.from_dosages(panel.genotypes.variants, lines, np.hstack([dosage_MN, dosage_MN]))
    assert known.line_means is not None

    def of_lines(row: pl.DataFrame, *columns: str) -> pl.DataFrame:
        return pl.concat([row] * 60).with_columns(pl.Series("line_id", lines), *(pl.Series(c, y_N) for c in columns))

    means = of_lines(known.means.head(1).with_columns(error_variance=pl.lit(None, pl.Float64)), "mean")
    cells = of_lines(known.line_means.head(1).with_columns(standard_error=pl.lit(None, pl.Float64)), "mean", "centred")
    return TrainingSet("2021", means, table, line_means=cells)


def quick(name: str) -> Model:
    """The recipe with short chains and few passes."""
    recipe = load_recipe(name)
    if name in BAYESIAN:
        return replace(recipe, chains=1, burn_in=50, iterations=200)  # type: ignore[type-var]
    if hasattr(recipe, "training"):
        pytest.importorskip("torch")
        return replace(recipe, training=replace(recipe.training, epochs=2))  # type: ignore[type-var, attr-defined]
    return recipe


def numbers(fitted: FittedModel, table: GenotypeTable) -> np.ndarray:
    """Values and reliabilities of every line and trait."""
    return fitted.predict(table).sort("line_id", "trait").select(pl.col(pl.Float64)).to_numpy()


@pytest.mark.parametrize(("column", "value", "said"), [
    ("mean", float("nan"), "mean of grain_yield_t_ha, line L00004, is nan; expected a number; repair: correct"),
    ("mean", float("-inf"), "line L00004, is -inf; expected a number"),
    ("mean", None, "line L00004, is None; expected a number"),
    ("error_variance", float("nan"), "error_variance of .* is nan; expected a number from 0, or none"),
    ("error_variance", -1.0, "error_variance of .* is -1.0; expected a number from 0, or none")])
def test_a_mean_or_error_that_is_no_number_is_named(known: TrainingSet, column: str, value: float | None,
                                                    said: str) -> None:
    spoilt = pl.when(pl.col("line_id") == "L00004").then(pl.lit(value, pl.Float64)).otherwise(column).alias(column)
    with pytest.raises(InputError, match=said) as found:
        replace(known, means=known.means.with_columns(spoilt))
    assert len(found.value.problems) == 1


def test_records_of_environments_and_the_relationship_are_looked_at_too(known: TrainingSet) -> None:
    assert known.line_means is not None
    first = pl.int_range(pl.len()) == 0
    with pytest.raises(InputError, match=r"line means: mean of grain_yield_t_ha, line L\d+ in \w+, is nan; expected"):
        replace(known, line_means=known.line_means.with_columns(
            mean=pl.when(first).then(float("nan")).otherwise("mean")))
    k_NN = vanraden(known.genotypes).matrix_NN
    with pytest.raises(InputError, match=r"relationship is of shape \(30, 30\); expected shape \(60, 60\)"):
        replace(known, relationship_NN=k_NN[:30, :30])
    k_NN[2, 5] = k_NN[5, 2] = np.nan
    with pytest.raises(InputError, match="relationship is NaN or infinite in 2 cells"):
        replace(known, relationship_NN=k_NN)
    with pytest.raises(InputError, match="training set: no record; expected at least one"):
        replace(known, means=known.means.head(0))


@EACH
def test_no_genetic_variance_is_the_mean_with_reliability_0(name: str, opposed: TrainingSet) -> None:
    fitted = quick(name).fit(opposed)
    found = numbers(fitted, opposed.genotypes)
    assert np.isfinite(found).all()
    if name in BAYESIAN:
        assert np.abs(found[:, 0]).max() < 0.5 * opposed.means["mean"].std()  # type: ignore[operator]
    else:
        assert not found.any()


@pytest.mark.parametrize("name", ["genomic_blup", "kernel", "family_blup"])
def test_no_genetic_variance_beside_known_errors(name: str, opposed: TrainingSet) -> None:
    """What the errors leave belongs to the lines alone; breeding values stay at the mean, and a warning says why."""
    errors = opposed.means.with_columns(error_variance=pl.lit(0.3))
    fitted = quick(name).fit(replace(opposed, means=errors))
    values = fitted.predict(opposed.genotypes)
    assert not values.select("breeding_value", "breeding_value_reliability").to_numpy().any()
    assert values["genotypic_value"].std() > 0.3  # type: ignore[operator]
    (warned,) = without_values(name, fitted)
    assert str(warned) == (f"{TRAIT}: {name} gives every line the mean, breeding value 0 with reliability 0: "
                           "no genetic variance found")


def test_a_component_no_record_supports_goes_to_0() -> None:
    """K y = 0 from the start, so that average information about its component is 0 too."""
    y_N = np.r_[np.arange(1.0, 6.0), -np.arange(1.0, 6.0)]
    pairs_NN = np.kron(np.ones((2, 2)), np.eye(5))
    found = reml(y_N, np.ones((10, 1)), [pairs_NN, np.ones(10)])
    assert found.converged
    assert found.theta_K == pytest.approx([0.0, y_N @ y_N / 9], rel=1e-5)  # ends at 1e-7 of log likelihood


@EACH
def test_markers_in_another_order_with_exchanged_alleles_give_the_same_values(name: str, known: TrainingSet) -> None:
    fitted, table = quick(name).fit(known), known.genotypes
    order_M = np.random.default_rng(1).permutation(table.n_variants)
    swapped_M = np.arange(table.n_variants) % 3 == 0
    dosage_MN = table.dosages().T.copy()
    dosage_MN[swapped_M] = np.where(dosage_MN[swapped_M] < 0, -1, 2 - dosage_MN[swapped_M])
    ref, alt = (pl.Series(table.variants[c]) for c in ("ref", "alt"))
    variants = table.variants.with_columns(
        ref=pl.when(pl.Series(swapped_M)).then(alt).otherwise(ref),
        alt=pl.when(pl.Series(swapped_M)).then(ref).otherwise(alt),
        position=pl.Series(table.variants["position"].to_numpy()[order_M]))
    other = GenotypeTable.from_dosages(variants[order_M.tolist()], table.lines, dosage_MN[order_M])
    assert other.variants["variant_id"].to_list() != table.variants["variant_id"].to_list()
    np.testing.assert_array_equal(numbers(fitted, other), numbers(fitted, table))
    with pytest.raises(InputError, match=r"marker m00001 is REF T, ALT G; expected REF .*, or the two exchanged"):
        fitted.predict(GenotypeTable.from_dosages(table.variants.with_columns(
            ref=pl.when(pl.col("variant_id") == "m00001").then(pl.lit("T")).otherwise("ref"),
            alt=pl.when(pl.col("variant_id") == "m00001").then(pl.lit("G")).otherwise("alt")),
            table.lines, table.dosages().T))
    with pytest.raises(InputError, match=r"markers is 20 of them missing .*; expected all 120 markers"):
        fitted.predict(table.select(np.arange(table.n_variants) >= 20))


@EACH
def test_one_family_is_enough_to_learn_from(name: str, known: TrainingSet) -> None:
    fitted = quick(name).fit(replace(known, families=dict.fromkeys(known.genotypes.lines, "F01")))
    found = numbers(fitted, known.genotypes)
    assert np.isfinite(found).all()
    said = {row["status"] for row in fitted.summary().values()}
    assert found.any() == ("fitted" in said)
    assert found.any() or said == {"no member predicts lines held out"}


@pytest.mark.parametrize("name", ["marker_network", "convolutional_network", "graph_network"])
def test_a_graphics_card_that_is_not_there_is_said(name: str, known: TrainingSet) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("a graphics card is here")
    with pytest.raises(NotAvailable, match=r"network training: .*no CUDA device here; use cpu"):
        quick(name).fit(known, device="cuda")


def test_more_folds_than_lines_are_refused() -> None:
    with pytest.raises(ProgramError, match="5 folds of 3 lines; expected two folds at least and a line in each"):
        random_folds(["a", "b", "c"], 0)
    with pytest.raises(ProgramError, match="1 folds of 3 lines"):
        random_folds(["a", "b", "c"], 0, n_folds=1)
    assert sorted(random_folds(["a", "b", "c"], 0, n_folds=3).values()) == [0, 1, 2]
    cells = pl.DataFrame({"line_id": ["a", "b", "a"], "environment": ["x", "x", "y"]})
    by_environment = cell_folds(cells, 0).group_by("environment").agg(pl.col("fold").sort()).sort("environment")
    assert by_environment["fold"].to_list() == [[0, 1], [0]]  # a small trial fills the folds it can


def test_folds_that_name_other_lines_are_refused(panel: NestedPanel) -> None:
    with pytest.raises(ProgramError, match="lines with genotype and phenotype are in 0 of 2 folds; expected at least"):
        evaluate(panel.genotypes, panel.line_means, recipes=["genomic_blup"], folds={"x": 1, "y": 2})
    one = dict.fromkeys(panel.genotypes.lines, "1") | {"x": "2"}
    with pytest.raises(ProgramError, match="are in 1 of 2 folds"):
        evaluate(panel.genotypes, panel.line_means, recipes=["genomic_blup"], folds=one)


def test_a_correlation_that_cannot_be_had_says_why(panel: NestedPanel) -> None:
    flat = panel.line_means.with_columns(mean=pl.lit(5.0), centred=pl.lit(0.0))
    (row,) = evaluate(panel.genotypes, flat, recipes=["genomic_blup"], replicates=1).to_dicts()
    assert (row["r_mean"], row["no_r"]) == (None, "constant")
    (row,) = evaluate(panel.genotypes, panel.line_means, recipes=["genomic_blup"], replicates=1).to_dicts()
    assert row["r_mean"] is not None
    assert row["no_r"] is None


def test_two_lines_have_no_correlation() -> None:
    from genomic_platform.models.evaluate import PREDICTIONS

    made = {"recipe": "genomic_blup", "trait": TRAIT, "scheme": "cv1", "replicate": 0, "fold": 0, "known": False}
    table = pl.DataFrame([{**made, "line_id": line, "predicted": x, "observed": y}
                          for line, x, y in (("a", 1.0, 2.0), ("b", 2.0, 3.0))], schema=PREDICTIONS)
    (row,) = summarise(table).to_dicts()
    assert (row["r_mean"], row["no_r"]) == (None, "n=2")
