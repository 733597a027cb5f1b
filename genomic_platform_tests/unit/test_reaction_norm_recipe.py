"""The recipe `reaction_norm`: values by environment, new lines and environments, files, no leak of held-out lines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import ProgramError
from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.mixed.reaction_norm import fit_reaction_norm
from genomic_platform.models.mixed.reaction_norm_recipe import FittedReactionNorm, ReactionNormRecipe
from genomic_platform.models.protocol import FittedModel, TrainingSet
from genomic_platform.models.recipes import load_fitted, load_recipe, parameters_digest
from genomic_platform.phenotypes.environment_kernel import EnvironmentCovariates
from genomic_platform.schemas.phenotypes import ENVIRONMENT_FEATURES, LINE_MEANS
from genomic_platform.schemas.predictions import MARKER_EFFECTS, VALUES
from genomic_platform_tests.support.panels import made_panel, made_values, training_set

ENVIRONMENTS = ("e0", "e1", "e2", "e3")


@pytest.fixture(scope="module")
def panel() -> GenotypeTable:
    return made_panel(n_lines=50, n_markers=150)


def _features(names: tuple[str, ...]) -> pl.DataFrame:
    """Two covariates that follow from an environment's number."""
    rows = [{"environment": name, "season": "2010", "feature": feature, "value": value, "standardised": 0.0}
            for name in names for feature, value in (("rain_mm", 100.0 + 40 * np.cos(int(name[1:]))),
                                                     ("temperature_c", 20.0 + 3 * np.sin(int(name[1:]))))]
    return ENVIRONMENT_FEATURES.conform(pl.DataFrame(rows))


@pytest.fixture(scope="module")
def learnt(panel: GenotypeTable) -> TrainingSet:
    """Forty lines with records of trait `a` in four environments, three lines of `few`; ten lines without any."""
    rng, main_N, response_N = np.random.default_rng(5), made_values(panel), made_values(panel, seed=9)
    rows = [{"line_id": panel.lines[i], "season": "2010", "location": "x", "environment": name, "trait": trait,
             "mean": 5.0 + j + main_N[i] + (j - 1.5) * 0.5 * response_N[i] + 0.3 * rng.normal(),
             "centred": rng.normal(), "standard_error": None, "n_records": 2}
            for trait, n in (("a", 40), ("few", 3)) for i in range(n) for j, name in enumerate(ENVIRONMENTS)]
    records = LINE_MEANS.conform(pl.DataFrame(rows, schema_overrides={"standard_error": pl.Float64}))
    known = training_set(panel, {"a": (list(panel.lines[:40]), main_N[:40], None),
                                 "few": (list(panel.lines[:3]), main_N[:3], None)})
    return replace(known, line_means=records, environment_features=_features(ENVIRONMENTS))


@pytest.fixture(scope="module")
def fitted(learnt: TrainingSet) -> FittedReactionNorm:
    return ReactionNormRecipe().fit(learnt)


def _own(table: pl.DataFrame, environment: str | None, trait: str = "a") -> pl.DataFrame:
    at = pl.col("environment").is_null() if environment is None else pl.col("environment") == environment
    return table.filter(at, pl.col("trait") == trait).sort("line_id")


def test_values_are_those_of_the_function(panel: GenotypeTable, learnt: TrainingSet,
                                          fitted: FittedReactionNorm) -> None:
    assert isinstance(fitted, FittedModel)
    assert load_recipe("reaction_norm") == ReactionNormRecipe()
    records = learnt.line_means.filter(pl.col("trait") == "a")  # pyright: ignore[reportOptionalMemberAccess]
    kernel_EE = EnvironmentCovariates.of(_features(ENVIRONMENTS)).kernel()
    model = fit_reaction_norm(records, panel.lines, vanraden(panel).matrix_NN, ENVIRONMENTS, kernel_EE)
    table = fitted.predict(panel, learnt.environment_features)
    assert VALUES.faults(table) == []
    assert table.height == 2 * 50 * 5
    for target in (None, *ENVIRONMENTS):
        expected = model.predict(dict.fromkeys(ENVIRONMENTS, 1.0) if target is None else target).sort("line_id")
        for column in ("breeding_value", "genotypic_value", "breeding_value_reliability"):
            assert _own(table, target)[column].to_numpy() == pytest.approx(expected[column].to_numpy(), abs=1e-9)
    assert fitted.predict(panel).equals(table.filter(pl.col("environment").is_null()))
    assert _own(table, None)["phenotyped"].sum() == 40
    assert not _own(table, "e1", "few")["breeding_value"].to_numpy().any()


def test_new_lines_and_part_of_the_panel(panel: GenotypeTable, learnt: TrainingSet,
                                         fitted: FittedReactionNorm) -> None:
    renamed = GenotypeTable.from_packed(panel.variants, [f"new{i:03d}" for i in range(50)], panel.packed_MB)
    found, known = (_own(fitted.predict(table, learnt.environment_features), "e2") for table in (renamed, panel))
    # The same genotypes under another name: the same breeding value (float32 products), no line residual.
    assert found["breeding_value"].to_numpy() == pytest.approx(known["breeding_value"].to_numpy(), abs=2e-4)
    assert not found["phenotyped"].any()
    some = panel.select(lines=panel.lines[30:45])
    part = _own(fitted.predict(some, learnt.environment_features), "e2")
    assert part["genotypic_value"].to_numpy() == pytest.approx(known["genotypic_value"].to_numpy()[30:45], abs=1e-9)


def test_an_environment_without_records_is_predicted_by_its_covariates(panel: GenotypeTable,
                                                                       fitted: FittedReactionNorm) -> None:
    # 2π later e1 comes again, nearly: 7 − 2π = .717.
    table = fitted.predict(panel, _features(("e1", "e7")))
    own, twin = (_own(table, name)["breeding_value"].to_numpy() for name in ("e1", "e7"))
    assert np.corrcoef(own, twin)[0, 1] > 0.95
    assert not np.allclose(own, twin)
    blind = ReactionNormRecipe().fit(replace(fitted_on(fitted), environment_features=None))
    with pytest.raises(ProgramError, match="environment never seen: e7"):
        blind.predict(panel, _features(("e7",)))


def test_covariates_of_new_environments_are_held_within_those_of_training(panel: GenotypeTable,
                                                                          fitted: FittedReactionNorm) -> None:
    far = _features(("e7",)).with_columns(value=pl.col("value") + 1e4)
    covariates = fitted.covariates()
    assert covariates is not None
    names, a_AW = fitted.new_environments(far)
    assert names == ("e7",)
    assert a_AW[0] == pytest.approx(covariates.w_EW.max(axis=0))
    assert fitted.predict(panel, far).equals(fitted.predict(panel, far.with_columns(value=pl.col("value") + 1e6)))
    inside = _features(("e7",))
    assert fitted.new_environments(inside)[1] == pytest.approx(covariates.standardised(inside)[1])


def fitted_on(model: FittedReactionNorm) -> TrainingSet:
    """The training set of trait `a` again, from what the model keeps."""
    lines = model.records.filter(pl.col("trait") == "a")["line_id"].unique().sort().to_list()
    known = training_set(model.panel, {"a": (lines, np.zeros(len(lines)) + np.arange(len(lines)), None)})
    return replace(known, line_means=model.records, environment_features=model.features)


def test_effects_sum_to_breeding_values(panel: GenotypeTable, fitted: FittedReactionNorm) -> None:
    effects = fitted.explain()
    assert MARKER_EFFECTS.faults(effects) == []
    everything = fitted.explain(panel.select(lines=panel.lines[:1]), top=10_000).filter(pl.col("trait") == "a")
    assert everything["contribution"].sum() == pytest.approx(
        _own(fitted.predict(panel), None)["breeding_value"][0], abs=1e-4)


def test_held_out_lines_are_not_learnt_from(learnt: TrainingSet) -> None:
    held = list(learnt.genotypes.lines[:10])
    part = replace(learnt, means=learnt.means.filter(~pl.col("line_id").is_in(held)))
    model = ReactionNormRecipe().fit(part)
    assert not set(model.records["line_id"]) & set(held)
    altered = learnt.line_means.with_columns(  # pyright: ignore[reportOptionalMemberAccess]
        pl.when(pl.col("line_id").is_in(held)).then(1e6).otherwise("mean").alias("mean"))
    again = ReactionNormRecipe().fit(replace(part, line_means=LINE_MEANS.conform(altered)))
    assert again.components == model.components


def test_saved_and_read_back_is_the_same(panel: GenotypeTable, learnt: TrainingSet, fitted: FittedReactionNorm,
                                         tmp_path: Path) -> None:
    fitted.save(tmp_path / "one")
    ReactionNormRecipe().fit(learnt).save(tmp_path / "two")
    read = load_fitted(tmp_path / "one")
    assert type(read) is FittedReactionNorm
    assert parameters_digest(tmp_path / "one") == parameters_digest(tmp_path / "two")
    found, expected = (m.predict(panel, learnt.environment_features) for m in (read, fitted))
    for column in ("breeding_value", "genotypic_value_reliability"):
        assert found[column].to_numpy() == pytest.approx(expected[column].to_numpy(), abs=1e-10)
    assert read.summary() == fitted.summary()


def test_summary_and_a_training_set_without_line_means(learnt: TrainingSet, fitted: FittedReactionNorm) -> None:
    summary = fitted.summary()
    assert summary["a"]["status"] == "fitted"
    assert (summary["a"]["n_train"], summary["a"]["n_records"], summary["a"]["n_environments"]) == (40, 160, 4)
    assert 0 < float(summary["a"]["heritability_line_mean"]) < 1
    assert summary["few"]["status"] == "too few lines or constant"
    with pytest.raises(ProgramError, match="recipe reaction_norm learns from line means of environments"):
        ReactionNormRecipe().fit(replace(learnt, line_means=None))
