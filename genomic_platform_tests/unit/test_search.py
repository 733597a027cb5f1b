"""Search of settings: inside the training lines only, within its budget, pruned, and resumed to the bit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, cast

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import MissingExtra, ProgramError
from genomic_platform.models.cross_validation import cross_validate, panel_values
from genomic_platform.models.evaluate import predictions
from genomic_platform.models.folds import grouped_folds, random_folds
from genomic_platform.models.networks.convolutional_network import ConvolutionalNetwork
from genomic_platform.models.networks.marker_network import MarkerNetwork
from genomic_platform.models.networks.settings import Training
from genomic_platform.models.protocol import Model, TrainingSet
from genomic_platform.models.recipes import RECIPES, SEARCH, load_fitted, load_recipe, parameters_digest
from genomic_platform.models.search.budget import Budget
from genomic_platform.models.search.fitted import FittedSearch
from genomic_platform.models.search.inner import inner_folds, kin_groups
from genomic_platform.models.search.recipe import SearchedRecipe
from genomic_platform.models.search.space import Choice, Range, Real, own_settings, with_settings
from genomic_platform.models.search.trials import COMPLETE, FIRST_FOLDS, PRUNED, STARTUP
from genomic_platform_tests.support import searched
from genomic_platform_tests.support.panels import made_panel, made_values, training_set
from genomic_platform_tests.support.searched import ENOUGH, SEED, ThinnedBlup, learnt

pytest.importorskip("optuna")

RECIPE = SearchedRecipe(ThinnedBlup(), ENOUGH)
THINNED = f"{ThinnedBlup.__module__}:ThinnedBlup"


@pytest.fixture(scope="module")
def known() -> TrainingSet:
    return learnt()


@pytest.fixture(scope="module")
def undisturbed(known: TrainingSet) -> tuple[FittedSearch, int]:
    """A whole search, and how many fits it took."""
    return fits_of(RECIPE, known, seed=SEED)


@pytest.fixture(scope="module")
def fitted(undisturbed: tuple[FittedSearch, int]) -> FittedSearch:
    return undisturbed[0]


def fits_of(recipe: SearchedRecipe, known: TrainingSet, *, seed: int = 0,
            checkpoint: Path | None = None) -> tuple[FittedSearch, int]:
    before = ThinnedBlup.fits
    return recipe.fit(known, seed=seed, checkpoint=checkpoint), ThinnedBlup.fits - before


def scored(model: FittedSearch) -> int:
    return sum(len(trial.scores) for trial in model.record.trials)


def test_the_default_is_tried_first_and_the_best_is_chosen(known: TrainingSet, fitted: FittedSearch) -> None:
    trials, said = fitted.record.trials, fitted.summary()["yield"]
    assert trials[0].settings == {"every": 12, "start": 0.0}
    best = trials[fitted.record.best]
    assert best.ability == max(t.ability for t in trials if t.state == COMPLETE) > trials[0].ability
    assert fitted.model.n_markers > 2, "two of 24 markers, the default, predict badly"
    assert said["settings_chosen"] == f"every {best.settings['every']}, start {best.settings['start']:.4g}"
    assert (said["inner_ability_default"], said["inner_ability_best"]) == (trials[0].ability, best.ability)
    assert (said["search"], said["search_trials"], said["status"]) == ("ended by trials", 10, "fitted")
    chosen = with_settings(ThinnedBlup(), best.settings)
    assert chosen.fit(known).predict(known.genotypes).equals(fitted.predict(known.genotypes))


def test_poor_trials_are_pruned_and_never_chosen(undisturbed: tuple[FittedSearch, int]) -> None:
    fitted, fits = undisturbed
    trials = fitted.record.trials
    pruned = [t for t in trials if t.state == PRUNED]
    assert pruned
    assert all(t.state == COMPLETE for t in trials[:STARTUP])
    assert {len(t.scores) for t in trials if t.state == COMPLETE} == {5}
    assert all(FIRST_FOLDS <= len(t.scores) < 5 for t in pruned)
    own = trials[0]
    for n, trial in enumerate(trials):  # the rule itself, by plain arithmetic
        for k in range(FIRST_FOLDS, 5 if n >= STARTUP else 0):
            before = [np.mean(np.array(t.scores[:k]) - own.scores[:k]) for t in trials[:n] if t.state == COMPLETE]
            if k <= len(trial.scores):
                poor = np.mean(np.array(trial.scores[:k]) - own.scores[:k]) < np.median(before)
                assert poor == (trial.state == PRUNED and k == len(trial.scores))
    assert trials[fitted.record.best].state == COMPLETE
    assert fits == scored(fitted) + 1


def test_lines_that_are_held_out_do_not_choose(known: TrainingSet) -> None:
    """Absurd values of the lines of a fold change nothing of what is predicted for them."""
    folds = dict(random_folds(known.genotypes.lines, 0))
    out = pl.col("line_id").is_in([line for line, fold in folds.items() if fold == 0])
    absurd = replace(known, means=known.means.with_columns(
        pl.when(out).then(-50 * pl.col("mean") + 7).otherwise("mean").alias("mean")))
    quick = {"searched": cast(Model, SearchedRecipe(ThinnedBlup(), Budget(3, float("inf")), folds=2))}
    first = [cross_validate(k, quick, [{line: fold for line, fold in folds.items() if fold == 0}]).drop("observed")
             for k in (known, absurd)]
    assert first[0].equals(first[1])
    taught = [cross_validate(k, quick, [{line: fold for line, fold in folds.items() if fold == 1}])["predicted"]
              for k in (known, absurd)]
    assert not taught[0].equals(taught[1]), "where they train they do count"


def test_inner_folds_part_lines_but_not_kin(known: TrainingSet) -> None:
    lines = known.genotypes.lines
    families = {line: f"family{i // 4}" for i, line in enumerate(lines)}
    of_families = replace(known, families=families)
    folds = inner_folds(of_families, 5, seed=0)
    held_out = [set(fold.held_out["line_id"]) for fold in folds]
    assert set.union(*held_out) == set(lines)
    assert sum(map(len, held_out)) == len(lines)
    assert max(map(len, held_out)) == min(map(len, held_out)) == 16
    for fold, members in zip(folds, held_out, strict=True):
        assert not members & set(fold.training_set.means["line_id"])
        assert not {families[line] for line in members} & {families[line] for line in set(lines) - members}
    assert held_out != [set(fold.held_out["line_id"]) for fold in inner_folds(of_families, 5, seed=1)]
    assert inner_folds(replace(known, means=known.means.filter(pl.col("line_id") < "line030")), 5, seed=0) == []


def test_clusters_stand_for_families_that_are_not_known(known: TrainingSet) -> None:
    """Lines 0–19 all but the same, the others unrelated; a group of most lines is no group."""
    panel, n_lines = known.genotypes, len(known.genotypes.lines)
    kin_NN = np.eye(n_lines)
    kin_NN[:20, :20] = 0.9 + 0.1 * np.eye(20)
    groups = kin_groups(replace(known, relationship_NN=kin_NN), panel.lines, 5)
    assert set(panel.lines[:20]) in [set(group) for group in groups]
    assert max(len(group) for group in groups if panel.lines[0] not in group) < 20
    same = dict.fromkeys(panel.lines, "one family")
    assert kin_groups(replace(known, families=same), panel.lines, 5) == [[line] for line in panel.lines]
    sizes = np.bincount(list(grouped_folds([["a"] * 1, ["b", "c", "d"], ["e", "f"], ["g"]], 2, 0).values()))
    assert sorted(sizes) == [3, 4]


def test_minutes_end_a_search_and_the_summary_says_so(known: TrainingSet) -> None:
    recipe = SearchedRecipe(ThinnedBlup(), Budget(20, 1e-9))
    said = recipe.fit(known).summary()["height"]
    assert (said["search_trials"], said["settings_chosen"]) == (1, "every 12, start 0")
    assert said["search"] == "ended by minutes (1e-09): a faster or slower machine may choose otherwise"
    assert recipe.fit_values(known).equals(panel_values(ThinnedBlup(), known))


def test_a_killed_search_gives_the_bytes_of_an_undisturbed_one(known: TrainingSet, tmp_path: Path,
                                                               undisturbed: tuple[FittedSearch, int]) -> None:
    """SIGKILL in two processes, each in the middle of a trial; in between, one that has no minutes left."""
    folder = tmp_path / "checkpoint"
    for last in (8, 17):
        command = [sys.executable, "-m", searched.__name__, str(folder), str(last)]
        assert subprocess.run(command, check=False).returncode == -9
        if last == 8:
            late, fits = fits_of(replace(RECIPE, budget=Budget(10, 1e-9)), known, seed=SEED, checkpoint=folder)
            assert (len(late.record.trials), late.record.ended_by, fits) == (1, "minutes", 1), "the second was cut"
    resumed, fits = fits_of(RECIPE, known, seed=SEED, checkpoint=folder)
    assert fits == undisturbed[1] - 7 - 16, "no fold twice"
    assert resumed.record.trials == undisturbed[0].record.trials
    for name, model in (("resumed", resumed), ("undisturbed", undisturbed[0])):
        model.save(tmp_path / name)
    assert parameters_digest(tmp_path / "resumed") == parameters_digest(tmp_path / "undisturbed")


def test_a_larger_budget_goes_on_and_a_smaller_one_takes_less(known: TrainingSet, fitted: FittedSearch,
                                                              tmp_path: Path) -> None:
    for trials, fits in ((3, 16), (4, 6), (2, 1)):  # five folds each, and the model
        model, found = fits_of(replace(RECIPE, budget=Budget(trials, float("inf"))), known, seed=SEED,
                               checkpoint=tmp_path)
        assert found == fits
        assert model.record.trials == fitted.record.trials[:trials]


@pytest.mark.parametrize("change", ["means", "seed", "settings", "genotypes"])
def test_another_study_is_not_gone_on_from(change: str, known: TrainingSet, tmp_path: Path) -> None:
    recipe, seed = SearchedRecipe(ThinnedBlup(), Budget(2, float("inf")), folds=2), 0
    first, _ = fits_of(recipe, known, checkpoint=tmp_path)
    same, fits = fits_of(recipe, known, checkpoint=tmp_path)
    assert (fits, same.record.trials) == (1, first.record.trials)
    if change == "means":
        known = replace(known, means=known.means.with_columns(pl.col("mean") * 1.001))
    elif change == "seed":
        seed = 1
    elif change == "settings":
        recipe = replace(recipe, recipe=ThinnedBlup(every=11))
    else:
        known = replace(known, genotypes=made_panel(n_lines=80, n_markers=24, seed=9))
    _, fits = fits_of(recipe, known, seed=seed, checkpoint=tmp_path)
    assert fits == 5


def test_every_seed_and_trial_draws_its_own_settings(known: TrainingSet, fitted: FittedSearch) -> None:
    other = replace(RECIPE, budget=Budget(2, float("inf"))).fit(known, seed=6)
    assert other.record.trials[1].settings != fitted.record.trials[1].settings
    settings = [tuple(t.settings.values()) for t in fitted.record.trials]
    assert len(set(settings)) == len(settings), "every trial has a generator of its own"


def test_too_few_lines_keep_the_default(known: TrainingSet) -> None:
    few = replace(known, means=known.means.filter(pl.col("line_id") < "line030"))
    model = RECIPE.fit(few)
    assert model.summary()["height"]["search"] == "none: too few lines"
    assert model.predict(few.genotypes).equals(ThinnedBlup().fit(few).predict(few.genotypes))


def test_saved_and_read_back(known: TrainingSet, fitted: FittedSearch, tmp_path: Path,
                             capfd: pytest.CaptureFixture[str]) -> None:
    fitted.save(tmp_path / "one")
    replace(RECIPE, budget=Budget(2, float("inf"))).fit(known)
    back = load_fitted(tmp_path / "one")
    assert isinstance(back, FittedSearch)
    assert back.summary() == fitted.summary()
    assert back.predict(known.genotypes).equals(fitted.predict(known.genotypes))
    assert back.explain(top=3).equals(fitted.explain(top=3))
    dosage_NM = known.genotypes.dosages(back.model.panel.variants["variant_id"].to_list())
    np.testing.assert_array_equal(back.values_from_dosages(dosage_NM), fitted.values_from_dosages(dosage_NM))
    assert (back.recipe, back.traits) == ("search:thinned_blup", ("height", "yield"))
    assert capfd.readouterr() == ("", ""), "Optuna keeps quiet"


def test_a_network_is_searched(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    panel = made_panel(n_lines=80, n_markers=30)
    lines = list(panel.lines)
    known = training_set(panel, {"height": (lines, made_values(panel), None)})
    network = MarkerNetwork(Training(folds=2, epochs=4, batch=64), features=16)
    model = SearchedRecipe(network, Budget(3, float("inf")), folds=2).fit(known, checkpoint=tmp_path / "checkpoint")
    assert model.record.trials[0].settings == {"training.rate": 0.003, "features": 16, "bandwidth": 0.5}
    assert len({t.settings["training.rate"] for t in model.record.trials}) == 3
    assert model.model.recipe_used == with_settings(network, model.record.trials[model.record.best].settings)
    model.save(tmp_path / "model")
    assert load_fitted(tmp_path / "model").predict(panel).equals(model.predict(panel))


@pytest.mark.parametrize("name", [name for name in RECIPES if hasattr(load_recipe(name), "space")])
def test_declared_spaces_name_settings_whose_default_they_hold(name: str) -> None:
    recipe = load_recipe(SEARCH + name)
    assert isinstance(recipe, SearchedRecipe)
    assert (recipe.name, recipe.budget) == (f"search:{name}", Budget())
    for setting, own in own_settings(recipe.recipe).items():
        declared = recipe.recipe.space[setting]
        ends = declared.options if isinstance(declared, Choice) else (declared.low, declared.high)  # type: ignore[attr-defined]
        assert declared.distribution(own) == declared.distribution(ends[0]) == declared.distribution(ends[-1])
        for end in ends:
            assert own_settings(with_settings(recipe.recipe, {setting: end}))[setting] == end


def test_settings_within_settings_are_changed_together() -> None:
    changed = with_settings(ConvolutionalNetwork(), {"training.rate": 0.01, "training.folds": 3, "window": 7})
    assert changed == ConvolutionalNetwork(Training(rate=0.01, folds=3), window=7)
    wide = Real(0.1, 1.0).distribution(3.0), Choice(("a", "b")).distribution("c")
    assert wide[0]._contains(3.0)
    assert wide[1].to_internal_repr("c") == 2.0


@pytest.mark.parametrize(("name", "said"), [
    ("search:genomic_blup", "genomic_blup declares no space of settings to search"),
    ("search:search:marker_network", "declares no space"),
    ("search:gblup", "recipe 'gblup': expected one of"),
])
def test_recipes_that_cannot_be_searched(name: str, said: str) -> None:
    with pytest.raises(ProgramError, match=said):
        load_recipe(name)


def test_a_space_that_names_no_setting() -> None:
    class Wrong(ThinnedBlup):
        space: ClassVar[Mapping[str, Range]] = {"evry": Real(0.0, 1.0)}

    with pytest.raises(ProgramError, match=r"a setting that it does not have \(.* no attribute 'evry'\)"):
        SearchedRecipe(Wrong())


@pytest.mark.parametrize("budget", [(0, 1.0), (3, 0.0), (3, float("nan"))])
def test_budgets_that_allow_nothing(budget: tuple[int, float]) -> None:
    with pytest.raises(ProgramError, match=r"expected at least 1 trial and more than 0 minutes"):
        Budget(*budget)


def test_without_optuna_the_extra_is_named(known: TrainingSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    recipe = load_recipe(SEARCH + "marker_network")
    with pytest.raises(MissingExtra, match=r"pip install 'genomic-platform\[search\]'"):
        recipe.fit(known)


def test_evaluated_beside_what_it_searches(known: TrainingSet) -> None:
    means = known.means.select(
        "line_id", "trait", "mean", season=pl.lit("2010"), environment=pl.lit("a"), location=pl.lit("a"),
        centred=pl.col("mean") - pl.col("mean").mean().over("trait"), standard_error=pl.lit(None, pl.Float64),
        n_records=pl.lit(1))
    found = predictions(known.genotypes, means, recipes=[THINNED, SEARCH + THINNED], means="centred", weights="none",
                        traits=["height"], replicates=1, budget=Budget(1, float("inf")))
    default, of_search = (found.filter(pl.col("recipe") == name).drop("recipe") for name in (THINNED, SEARCH + THINNED))
    assert default.height == 80
    assert default.equals(of_search), "one trial is the default"
