"""Candidates beyond the first two: built-in recipes by name and a programme's own class, from fit to champion."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from genomic_platform.catalogue import ASSETS, CANDIDATE
from genomic_platform.errors import ProgramError
from genomic_platform.known import known_at
from genomic_platform.results.answers import export, predict_lines, ranking
from genomic_platform.results.report import report
from genomic_platform.results.reproduce import reproduce
from genomic_platform.runs import run_seasons
from genomic_platform_tests.dagster.small import Small, metadata_of

Published = Callable[[int], Small]
TRAIT = "grain_yield_t_ha"
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "own_model"
OWN = "ridge_of_markers:RidgeOfMarkers"


def named(small: Small, *candidates: str) -> Small:
    small.edit_program(r"candidates = \[.*\]", f"candidates = [{', '.join(repr(c) for c in candidates)}]")
    return small


def run(small: Small, *seasons: str) -> None:
    for outcome in run_seasons(small.program, small.workspace, seasons):
        assert outcome.published, outcome.reason


@pytest.fixture
def own_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE))


def test_a_candidate_that_joins_is_compared_on_seasons_it_had_not_seen(published: Published) -> None:
    small = published(2)
    before = {r: small.main.records("2019")[r].run_id for r in ("genomic_blup", "kernel")}
    run(named(small, "genomic_blup", "kernel", "family_blup", "reaction_norm"), "2019", "2020")
    compared = small.main.read("model_comparison", "2020", ASSETS["model_comparison"])
    for recipe in ("genomic_blup", "kernel", "family_blup", "reaction_norm"):
        own = compared.filter(pl.col("recipe") == recipe)
        assert set(own.select("scheme", "season").iter_rows()) == {("cv1", "2019"), ("forward", "2020")}
        assert own["n_lines"].n_unique() == compared["n_lines"].n_unique()
    assert {r: small.main.records("2019")[r].run_id for r in before} == before, "a candidate that joins refits no other"


def test_a_recipe_is_given_what_it_declares_and_one_s_own_everything(published: Published) -> None:
    main = published(2).main
    records = main.read("line_records", "2020", ASSETS["line_records"])
    for recipes, given in ((["kernel"], ()), (["family_blup"], ("families",)), (["genomic_blup"], ("pedigree",)),
                           (["reaction_norm", "kernel"], ("line_means",)),
                           (["my.module:Model"], ("pedigree", "families", "line_means"))):
        known = known_at(main, "2020", recipes)
        assert {name for name in ("pedigree", "families", "line_means") if getattr(known, name) is not None} == {*given}
        if known.families is not None:
            assert known.families == dict(records.select("line_id", "family").iter_rows())
        if known.line_means is not None:
            assert set(known.line_means["season"]) == {"2019", "2020"}
    assert known_at(main, "2019", ["reaction_norm"]).line_means["season"].unique().to_list() == ["2019"]  # type: ignore[index]


def test_a_candidate_that_leaves_is_gone_from_the_season_and_kept_in_its_release(published: Published) -> None:
    small = published(1)
    first = small.main.releases()["2019"][0]
    champion = small.main.read("registered_model", "2019", ASSETS["registered_model"])["recipe"][0]
    other = ({"genomic_blup", "kernel"} - {champion}).pop()
    run(named(small, champion), "2019")
    assert small.main.record(other, "2019") is None
    assert not list(small.workspace.store.list("main", f"small/2019/{other}/"))
    assert small.main.at(first).read(other, "2019", CANDIDATE).values.height
    assert set(report(small.program, small.workspace)["results"][0]["candidate_scores"]) == {champion}


@pytest.mark.usefixtures("own_model")
def test_a_programme_s_own_class_becomes_champion_and_answers(published: Published) -> None:
    small = published(0)
    run(named(small, OWN), "2019", "2020")
    (decision,) = small.main.read("registered_model", "2020", ASSETS["registered_model"]).to_dicts()
    assert (decision["recipe"], decision["decision"]) == (OWN, "refresh")
    assert ranking(small.program, small.workspace).height
    assert set(export(small.program, small.workspace, OWN)["trait"]) == {TRAIT}
    shown = predict_lines(small.program, small.workspace, list((small.folder / "landing" / "genotypes").iterdir()))
    assert shown["breeding_value"].is_finite().all()
    version = small.workspace.registry.aliases("small")[TRAIT]["champion"]
    assert reproduce(small.program, small.workspace, TRAIT, version).identical
    run(small, "2020")
    assert small.main.records("2020")[OWN].run_id != small.main.records("2020")["season_release"].run_id


def test_a_recipe_that_values_environments_is_champion(published: Published) -> None:
    """Its candidate holds values in each environment as well; what is ranked and scored is the mean over them."""
    small = published(0)
    run(named(small, "reaction_norm"), "2019", "2020")
    fitted = small.main.read("reaction_norm", "2019", CANDIDATE)
    assert fitted.values["environment"].n_unique() > 1
    ranked = small.main.read("selection_index", "2020", ASSETS["selection_index"])
    panel = small.main.read("genotype_panel", "2020", ASSETS["genotype_panel"])
    assert sorted(ranked["line_id"]) == sorted(panel.lines)
    (scored,) = small.main.read("realised_accuracy", "2020", ASSETS["realised_accuracy"]).to_dicts()
    harvested = small.main.read("line_means", "2020", ASSETS["line_means"])["line_id"].n_unique()
    assert 0 < scored["n_scored"] <= harvested


@pytest.mark.usefixtures("own_model")
def test_a_season_started_whole_says_which_recipes_are_no_candidates(
        published: Published, opened: Callable[[Small], object]) -> None:
    small = named(published(0), "genomic_blup", OWN)
    result = small.run(opened(small), "2019")  # type: ignore[arg-type]
    assert result.success
    assert metadata_of(result, "kernel")["state"] == (
        f"not fitted: no candidate of small in this run (candidates: genomic_blup, {OWN})")
    assert metadata_of(result, "further_candidates")["candidates"] == OWN
    assert {"genomic_blup", OWN} <= set(small.main.records("2019"))
    assert "kernel" not in small.main.records("2019")


def test_a_module_that_is_not_there_is_named_before_anything_runs(published: Published) -> None:
    small = named(published(0), "genomic_blup", "no_such_module:Model")
    with pytest.raises(ProgramError, match="recipe 'no_such_module:Model': module no_such_module cannot be imported"):
        run_seasons(small.program, small.workspace, ["2019"])


@pytest.mark.parametrize(("change", "said"), [
    (('"genetic_sd": float', '"spread": float'), f"summary() of {TRAIT} lacks genetic_sd; repair"),
    (('"breeding_value": Z_QM @ effects_M', '"breeding_value": Z_QM @ effects_M * np.nan'),
     "values: breeding_value has 41 cells that are no finite number; repair")])
def test_a_model_that_gives_what_nobody_can_use_is_refused_with_what_is_wrong(
        published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str],
        said: str) -> None:
    monkeypatch.delitem(sys.modules, "says_too_little", raising=False)
    source = (EXAMPLE / "ridge_of_markers.py").read_text()
    assert change[0] in source
    (tmp_path / "says_too_little.py").write_text(source.replace(*change))
    monkeypatch.syspath_prepend(str(tmp_path))
    small = named(published(0), "says_too_little:RidgeOfMarkers")
    (outcome,) = run_seasons(small.program, small.workspace, ["2019"])
    assert not outcome.published
    assert f"recipe 'says_too_little:RidgeOfMarkers': {said}" in outcome.reason


@pytest.mark.parametrize(("candidates", "said"), [
    (("gblup",), "unknown recipe gblup; expected some of genomic_blup, kernel"),
    (("kernel", "kernel"), "named twice"), ((), "at least one candidate")])
def test_candidates_that_cannot_be_are_refused(published: Published, candidates: tuple[str, ...], said: str) -> None:
    with pytest.raises(ProgramError, match=said):
        _ = named(published(0), *candidates).program
