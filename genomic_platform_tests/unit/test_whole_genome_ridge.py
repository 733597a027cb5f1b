"""Whole-genome ridge beside GBLUP, its equal model, and beside itself: draws, boundary, files, resumption, memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import NotAvailable, ProgramError
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models import markers
from genomic_platform.models.checkpoint import Checkpoint
from genomic_platform.models.genomic_blup import FittedGenomicBlup, GenomicBlup
from genomic_platform.models.marker_fit import marker_scale
from genomic_platform.models.marker_model import FittedMarkerModel
from genomic_platform.models.protocol import FittedModel, TrainingSet
from genomic_platform.models.recipes import load_fitted, load_recipe, parameters_digest
from genomic_platform.models.trait_fit import trait_data
from genomic_platform.models.whole_genome.passes import Product, relationship_product, run
from genomic_platform.models.whole_genome.recipe import WholeGenomeRidge
from genomic_platform.models.whole_genome.trait_job import TraitJob
from genomic_platform.schemas.predictions import MARKER_EFFECTS, VALUES
from genomic_platform_tests.support.panels import made_panel, made_values, training_set

TRAITS = ["a", "b", "shared"]
DRAWS = 512


@pytest.fixture(scope="module")
def panel() -> GenotypeTable:
    return made_panel()


@pytest.fixture(scope="module")
def learnt(panel: GenotypeTable) -> TrainingSet:
    """`a` has equal weights, `b` known errors, `shared` correlated ones; `flat` is constant, `few` hopeless."""
    lines, rng = list(panel.lines), np.random.default_rng(8)
    learnt = training_set(panel, {
        "a": ([*lines[:50], "ungenotyped"], np.append(made_values(panel)[:50], 9.0), None),
        "b": (lines[:45], made_values(panel, seed=5)[:45] + 0.1 * rng.normal(size=45), rng.uniform(0.05, 0.3, 45)),
        "few": (lines[:1], np.ones(1), None), "flat": (lines[:30], np.full(30, 4.0), None),
        "shared": (lines[:45], made_values(panel, seed=6)[:45] + 0.2 * rng.normal(size=45),
                   rng.uniform(0.3, 0.5, 45))})
    loadings = pl.Series(rng.uniform(-0.3, 0.3, (learnt.means.height, 3)).tolist(), dtype=pl.List(pl.Float64))
    return replace(learnt, means=learnt.means.with_columns(
        pl.when(pl.col("trait") == "shared").then(loadings).alias("error_loadings")))


@pytest.fixture(scope="module")
def fitted(learnt: TrainingSet) -> FittedMarkerModel:
    return WholeGenomeRidge(draws=DRAWS, tolerance=1e-6).fit(learnt)


@pytest.fixture(scope="module")
def blup(learnt: TrainingSet) -> FittedGenomicBlup:
    model = GenomicBlup().fit(learnt)
    assert isinstance(model, FittedGenomicBlup)
    return model


def _values(table: pl.DataFrame, trait: str) -> dict[str, np.ndarray]:
    part = table.filter(pl.col("trait") == trait).sort("line_id")
    return {c: part[c].to_numpy() for c in part.columns if part.schema[c] == pl.Float64}


@pytest.mark.parametrize("trait", TRAITS)
def test_values_are_those_of_gblup(panel: GenotypeTable, fitted: FittedMarkerModel, blup: FittedGenomicBlup,
                                   trait: str) -> None:
    """With no more than `start_lines` lines the components are exact REML's, and so are the values."""
    found, expected = _values(fitted.predict(panel), trait), _values(blup.predict(panel), trait)
    for column in ("breeding_value", "genotypic_value"):
        assert found[column] == pytest.approx(expected[column], abs=1e-5), column
        assert expected[column].std() > 0.05, "the seed must leave values for this test to say something"
    at = fitted.traits.index(trait)
    assert fitted.effects_MT[:, at] == pytest.approx(blup.effects_MT[:, at], abs=1e-6)
    ours, theirs = fitted.summary()[trait], blup.summary()[trait]
    for quantity in ("genetic_variance", "line_residual_variance", "error_variance", "intercept",
                     "heritability_line_mean"):
        assert ours[quantity] == pytest.approx(theirs[quantity], rel=1e-4, abs=1e-5), quantity
    assert ours["convergence"] == "solved to 1e-06"


@pytest.mark.parametrize("trait", TRAITS)
def test_reliabilities_are_those_of_gblup_within_the_error_of_the_draws(
        panel: GenotypeTable, fitted: FittedMarkerModel, blup: FittedGenomicBlup, trait: str) -> None:
    """A PEV from 512 draws has a relative standard error of √(2 / 511) = 6.3 %; the worst of 60 lines is within 4."""
    found, expected = _values(fitted.predict(panel), trait), _values(blup.predict(panel), trait)
    for column in ("breeding_value_reliability", "genotypic_value_reliability"):
        allowed = 4 * np.sqrt(2 / (DRAWS - 1)) * (1 - expected[column]) + 1e-4
        assert (np.abs(found[column] - expected[column]) <= allowed).all(), column
        assert expected[column].std() > 0.01, column


def test_reliabilities_of_other_lines_are_those_of_gblup(fitted: FittedMarkerModel, blup: FittedGenomicBlup) -> None:
    """From 128 of the draws, in half precision."""
    other = made_panel(n_lines=12, seed=33)
    other = GenotypeTable.from_packed(other.variants, [f"new{i:02d}" for i in range(12)], other.packed_MB)
    for trait in TRAITS:
        found, expected = _values(fitted.predict(other), trait), _values(blup.predict(other), trait)
        assert found["breeding_value"] == pytest.approx(expected["breeding_value"], abs=1e-4)
        unexplained = 1 - expected["breeding_value_reliability"]
        assert (np.abs(found["breeding_value_reliability"] - expected["breeding_value_reliability"])
                <= 4 * np.sqrt(2 / 127) * unexplained).all()


@pytest.mark.parametrize("known", [False, True])
def test_stochastic_reml_is_exact_reml_within_its_error(known: bool) -> None:
    """From 60 of 400 lines; 128 data sets leave an error of 1 / √128 of a standard error, here allowed four times."""
    panel = made_panel(400, 500, seed=4)
    own_N = np.random.default_rng(2).uniform(0.1, 0.5, 400) if known else None
    learnt = training_set(panel, {"y": (list(panel.lines), made_values(panel, seed=7), own_N)})
    exact = GenomicBlup().fit(learnt)
    model = WholeGenomeRidge(start_lines=60).fit(learnt)
    said, expected = model.summary()["y"], exact.summary()["y"]
    assert int(said["reml_steps"]) >= 2
    assert said["convergence"] == "solved to 0.0001"
    other = "line_residual_variance" if known else "error_variance"
    errors = _standard_errors(panel, float(expected["genetic_variance"]), float(expected[other]), own_N)
    for quantity, error in zip(("genetic_variance", other), errors, strict=True):
        assert said[quantity] == pytest.approx(expected[quantity], abs=4 * error / np.sqrt(128) + 1e-3), quantity
    found, values = _values(model.predict(panel), "y"), _values(exact.predict(panel), "y")
    assert np.corrcoef(found["breeding_value"], values["breeding_value"])[0, 1] > 0.999
    assert np.corrcoef(found["genotypic_value"], values["genotypic_value"])[0, 1] > 0.999


def _standard_errors(panel: GenotypeTable, genetic: float, other: float, own_N: np.ndarray | None) -> np.ndarray:
    """Of both components, from the expected information."""
    z_NM = markers.centred(panel.dosages(), markers.panel_frequencies(panel))
    k_NN = z_NM @ z_NM.T / marker_scale(markers.panel_frequencies(panel))
    inverse_NN = np.linalg.inv(genetic * k_NN + np.diag(np.full(len(k_NN), other) + (0 if own_N is None else own_N)))
    p_NN = inverse_NN - np.outer(inverse_NN.sum(axis=0), inverse_NN.sum(axis=0)) / inverse_NN.sum()
    parts = [p_NN @ k_NN, p_NN]
    return np.sqrt(np.diag(np.linalg.inv(0.5 * np.array([[np.sum(a * b.T) for b in parts] for a in parts]))))


@pytest.mark.parametrize("start_lines", [40, 1000], ids=["stochastic", "exact"])
@pytest.mark.parametrize("known", [False, True])
def test_no_genetic_variance_shrinks_to_the_mean(start_lines: int, known: bool) -> None:
    panel = made_panel(150, 300, seed=3)
    y_N = np.random.default_rng(4).normal(size=150)
    own_N = np.random.default_rng(5).uniform(0.1, 0.3, 150) if known else None
    learnt = training_set(panel, {"y": (list(panel.lines), y_N, own_N)})
    model = WholeGenomeRidge(start_lines=start_lines, draws=DRAWS).fit(learnt)
    assert model.summary()["y"]["status"] == "no genetic variance found"
    found, expected = _values(model.predict(panel), "y"), _values(GenomicBlup().fit(learnt).predict(panel), "y")
    assert not found["breeding_value"].any()
    assert not found["breeding_value_reliability"].any()
    assert not model.effects_MT.any()
    assert found["genotypic_value"].any() == known, "a line residual is identified by known errors"
    assert np.abs(found["genotypic_value"] - expected["genotypic_value"]).max() < 0.05
    assert np.abs(found["genotypic_value_reliability"] - expected["genotypic_value_reliability"]).max() < 0.05
    other = GenotypeTable.from_packed(panel.variants, [f"new{i}" for i in range(150)], panel.packed_MB)
    assert all(not values.any() for values in _values(model.predict(other), "y").values())


def test_hopeless_traits_are_zero_and_said(panel: GenotypeTable, fitted: FittedMarkerModel) -> None:
    for trait, status in (("few", "too few lines"), ("flat", "constant")):
        assert fitted.summary()[trait]["status"] == status
        assert all(not values.any() for values in _values(fitted.predict(panel), trait).values())


def test_markers_that_never_vary_and_weights_that_say_nothing(panel: GenotypeTable) -> None:
    same = GenotypeTable.from_dosages(panel.variants, panel.lines, np.full((panel.n_variants, panel.n_lines), 2))
    lines, y_N = list(panel.lines), made_values(panel)
    model = WholeGenomeRidge().fit(training_set(same, {"a": (lines, y_N, None)}))
    assert model.summary()["a"]["status"] == "no genetic variance found"
    assert all(not values.any() for values in _values(model.predict(same), "a").values())
    equal = WholeGenomeRidge().fit(training_set(panel, {"a": (lines, y_N, None)}))
    weightless = WholeGenomeRidge().fit(training_set(panel, {"a": (lines, y_N, np.zeros(60))}))
    assert weightless.summary()["a"]["errors"] == "equal, estimated"
    assert weightless.predict(panel).equals(equal.predict(panel))


def test_contract_files_and_seeds(panel: GenotypeTable, learnt: TrainingSet, tmp_path: Path) -> None:
    recipe = load_recipe("whole_genome_ridge")
    fitted = recipe.fit(learnt)
    assert isinstance(fitted, FittedModel)
    assert VALUES.faults(fitted.predict(panel)) == []
    assert MARKER_EFFECTS.faults(fitted.explain()) == []
    fitted.save(tmp_path / "one")
    recipe.fit(learnt).save(tmp_path / "two")
    recipe.fit(learnt, seed=1).save(tmp_path / "three")
    digests = [parameters_digest(tmp_path / name) for name in ("one", "two", "three")]
    assert digests[0] == digests[1] != digests[2]
    read = load_fitted(tmp_path / "one")
    assert read.predict(panel).equals(fitted.predict(panel))
    assert read.summary() == fitted.summary()


def test_fit_values_are_the_values_of_the_fit(learnt: TrainingSet, fitted: FittedMarkerModel,
                                              panel: GenotypeTable) -> None:
    both = WholeGenomeRidge(tolerance=1e-6).fit_values(learnt) \
        .join(fitted.predict(panel), on=["line_id", "trait"], suffix="_full")
    assert both.height == 5 * 60
    for column in ("breeding_value", "genotypic_value"):
        assert both[column].to_numpy() == pytest.approx(both[f"{column}_full"].to_numpy(), abs=1e-5)


def _jobs(panel: GenotypeTable, learnt: TrainingSet) -> tuple[list[TraitJob], Product]:
    p_M = markers.panel_frequencies(panel)
    scale, rng = marker_scale(p_M), np.random.default_rng(0)
    genetic_PS = markers.line_sums(panel, p_M, rng.standard_normal((panel.n_variants, 40), dtype=np.float32))
    jobs = [TraitJob(d, np.array([0.1, 0.9]), False, genetic_PS / np.float32(np.sqrt(scale)), 40, 1e-5, 1)
            for d in trait_data(learnt.means, panel.lines) if d.status == "fitted"]
    return jobs, relationship_product(panel, p_M, scale, "cpu")


@pytest.mark.parametrize("stopped_at", [2, 9])
def test_stopped_and_resumed_gives_the_bits_of_an_undisturbed_one(panel: GenotypeTable, learnt: TrainingSet,
                                                                  tmp_path: Path, stopped_at: int) -> None:
    whole, product = _jobs(panel, learnt)
    run(whole, product, panel.n_lines, Checkpoint(None), "key")
    left = stopped_at

    def interrupted(right_PL: np.ndarray) -> np.ndarray:
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        return product(right_PL)

    with pytest.raises(KeyboardInterrupt):
        run(_jobs(panel, learnt)[0], interrupted, panel.n_lines, Checkpoint(tmp_path, every_s=0), "key")
    passes = 0

    def counted(right_PL: np.ndarray) -> np.ndarray:
        nonlocal passes
        passes += 1
        return product(right_PL)

    resumed = _jobs(panel, learnt)[0]
    run(resumed, counted, panel.n_lines, Checkpoint(tmp_path), "key")
    assert passes == max(job.solved().passes for job in whole) - stopped_at
    for one, other in zip(whole, resumed, strict=True):
        assert np.array_equal(one.solved().dual_NC, other.solved().dual_NC)
        assert np.array_equal(one.theta, other.theta)
    run(_jobs(panel, learnt)[0], counted, panel.n_lines, Checkpoint(tmp_path), "of another seed")
    assert passes == 2 * max(job.solved().passes for job in whole) - stopped_at, "begins anew"


def test_a_checkpoint_of_a_fit_is_gone_on_from(panel: GenotypeTable, learnt: TrainingSet, tmp_path: Path) -> None:
    recipe = WholeGenomeRidge(start_lines=20, checkpoint_seconds=0.0)
    first = recipe.fit(learnt, checkpoint=tmp_path)
    again = recipe.fit(learnt, checkpoint=tmp_path)
    assert again.predict(panel).equals(first.predict(panel))
    assert again.predict(panel).equals(recipe.fit(learnt).predict(panel))
    assert not again.predict(panel).equals(recipe.fit(learnt, seed=3, checkpoint=tmp_path).predict(panel))


def test_memory_grows_with_lines_not_with_their_square() -> None:
    """5,000 lines: a relationship in float32 would take 100 MB, and the fit needs less than half of that in all."""
    panel = made_panel(5_000, 150, seed=9)
    learnt = training_set(panel, {"y": (list(panel.lines), made_values(panel), None)})
    recipe = WholeGenomeRidge(draws=32, start_lines=200)
    recipe.fit(training_set(panel, {"y": (list(panel.lines[:300]), made_values(panel)[:300], None)}))  # compiles
    tracemalloc.start()
    recipe.fit(learnt)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


def test_a_card_that_is_not_there_is_said(learnt: TrainingSet) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("a CUDA device is here")
    with pytest.raises(NotAvailable, match=r"whole-genome regression: device is 'cuda', but torch finds no CUDA"):
        WholeGenomeRidge().fit(learnt, device="cuda")


@pytest.mark.parametrize("make", [lambda: WholeGenomeRidge(draws=5), lambda: WholeGenomeRidge(tolerance=1e-9),
                                  lambda: WholeGenomeRidge(start_lines=2)])
def test_settings_that_make_no_sense_are_refused(make: Callable[[], WholeGenomeRidge]) -> None:
    with pytest.raises(ProgramError, match="expected at least 32 draws and 5 lines"):
        make()
