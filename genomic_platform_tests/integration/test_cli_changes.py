"""A programme that changes: its program.toml, a season out of turn, a corrected past season, a replay, no order."""

from __future__ import annotations

import shutil
from pathlib import Path

import jsonschema
import pytest

from genomic_platform.catalogue import ASSETS
from genomic_platform.results.report import json_schema
from genomic_platform.stores.assets import AssetStore
from genomic_platform.workspace import Workspace
from genomic_platform_tests.support.command_line import call, json_of

YIELD, HEIGHT = "grain_yield_t_ha", "plant_height_cm"


def test_mistakes_in_program_toml_are_all_named(unpublished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = unpublished / "program.toml"
    text = path.read_text()
    for right, wrong in (('direction = "maximise"', 'direction = "upwards"'), ('weights = "errors"', 'weights = "no"'),
                         ("seed = 1", 'seed = "one"\ncolour = "red"')):
        path.write_text(path.read_text().replace(right, wrong, 1))
    answer = call(capsys, "run", unpublished)
    assert answer.code == 2
    for key in (f"traits.{YIELD}.direction: expected maximise, minimise or target(x), found 'upwards'", "seed:",
                "colour:", "line_means.weights:"):
        assert f"program.toml: {key}" in answer.err, answer.err
    path.write_text(text.replace('seasons = "YYYY"', 'seasons = "listed"\norder = ["spring", "autumn"]'))
    listed = call(capsys, "status", unpublished)
    assert listed.code == 2
    assert "program.toml: calendar: season labels must sort as text" in listed.err
    path.write_text(text + "[[[")
    assert "not valid TOML" in call(capsys, "report", unpublished).err


def test_a_changed_program_is_said(programme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = programme / "program.toml"
    text = path.read_text()
    path.write_text(text.replace("weight = 1.0", "weight = 2.5", 1))
    try:
        for command in ("run", "status"):
            answer = call(capsys, command, programme)
            assert answer.code == 0
            said = "program.toml has changed since seasons 2019, 2020 were published; `run --replay` makes the seasons"
            assert answer.said(said) == 1
    finally:
        path.write_text(text)


def test_a_season_out_of_turn_is_refused(unpublished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = call(capsys, "run", unpublished, "--season", "2020")
    assert answer.code == 1
    assert "season 2020 needs season 2019 published first" in answer.err
    assert call(capsys, "report", unpublished).code == 3


@pytest.mark.slow
def test_a_corrected_season_runs_again_with_all_later_ones(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was first published keeps being what the harvest after it is scored against."""
    before = {(r["season"], r["trait"]): r for r in json_of(call(capsys, "report", copy, "--json"))["results"]}
    main = AssetStore(Workspace.beside(copy).store, "barley")
    first = main.read("breeding_values", "2019", ASSETS["breeding_values"])
    trials = copy / "landing/trials/trials.csv"
    lines = trials.read_text().splitlines()
    lines[4:10] = [",".join([*line.split(",")[:8], "99.5", *line.split(",")[9:]]) for line in lines[4:10]]
    trials.write_text("\n".join(lines) + "\n")
    status = call(capsys, "status", copy)
    assert status.said("to run: 2019, 2020")
    run = call(capsys, "run", copy)
    assert run.code == 0, run.err
    assert run.said("2 seasons in")
    after = {(r["season"], r["trait"]): r for r in json_of(call(capsys, "report", copy, "--json"))["results"]}
    corrected = main.read("breeding_values", "2019", ASSETS["breeding_values"])
    assert not corrected.equals(first)
    assert main.at(after["2019", YIELD]["first_published_commit"]).read(
        "breeding_values", "2019", ASSETS["breeding_values"]).equals(first)
    for key in (("2020", YIELD), ("2020", HEIGHT)):
        for name in ("r_all", "r_known", "registry_version", "champion_recipe", "first_published_commit"):
            assert after[key][name] == before[key][name], name
        assert after[key]["commit"] != before[key]["commit"]
    assert call(capsys, "run", copy).said("nothing changed")


@pytest.mark.slow
def test_force_replays_and_changes_nothing(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main = AssetStore(Workspace.beside(copy).store, "barley")
    before = {(s, name): r.data_version for s in ("2019", "2020") for name, r in main.records(s).items()
              if name != "season_release"}
    assert call(capsys, "run", copy, "--force").said("2 seasons in")
    assert {(s, name): r.data_version for s in ("2019", "2020") for name, r in main.records(s).items()
            if name != "season_release"} == before


@pytest.mark.slow
def test_an_unordered_programme(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wheat: one partition, and the reference figures of the published folds within .01."""
    example = Path(__file__).parents[2] / "examples/wheat_cimmyt599"
    programme = Path(shutil.copytree(example, tmp_path / "wheat_cimmyt599"))
    run = call(capsys, "run", programme)
    assert run.code == 0, run.err
    assert run.said("season all published") == 1
    results = json_of(call(capsys, "report", programme, "--json"))["results"]
    assert {r["season"] for r in results} == {"all"}
    found = json_of(call(capsys, "evaluate", programme, "--scheme", "cv1", "--folds", programme / "folds10.csv",
                         "--models", "genomic_blup", "--json"))
    jsonschema.validate(found, json_schema("evaluate"))
    r = [row["r_mean"] for row in found["results"] if row["environment"] is not None]
    assert r == pytest.approx([0.503, 0.466, 0.376, 0.462], abs=0.01)
