"""Drift pages: named for a breeder, at most fifty columns, the platform's verdicts; no network; kept and served."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from genomic_platform import ui
from genomic_platform.drift.comparisons import (
    GROUP,
    Comparison,
    chosen,
    environments_compared,
    feature_words,
    lines_compared,
)
from genomic_platform.drift.evidently_pages import MOST_COLUMNS
from genomic_platform.drift.season_pages import SeasonPages
from genomic_platform.genotypes.kinship.relationship_table import relationship_table
from genomic_platform.program import FieldSeason
from genomic_platform.schemas.phenotypes import LINE_RECORDS
from genomic_platform.schemas.predictions import VALUES
from genomic_platform.settings import Settings, page_environment
from genomic_platform.stores.evidently_projects import ABSENT, NOTHING_BEFORE, add_pages, draw, installed, page_links
from genomic_platform.workspace import Workspace
from genomic_platform_tests.support.drifting import WARMER, environments, features, odd_lines
from genomic_platform_tests.support.served import free_port

SEASON = FieldSeason("maize", "2024")
NEEDS_EVIDENTLY = pytest.mark.skipif(not installed(), reason="evidently is not installed")
#: Run by every Python process that finds it: a connection is written down and refused.
NO_NETWORK = """
import socket
def refuse(self, address):
    with open({file!r}, "a") as file:
        print(address, file=file)
    raise OSError("no network")
socket.socket.connect = refuse
open({file!r} + "_watched", "w").close()
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> SeasonPages:
    """Both pages, drawn by a process that is denied a network."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(NO_NETWORK.format(file=str(folder / "connections")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{folder}:{Path(ui.__file__).parents[1]}")
        drawn = draw([environments(), odd_lines()], installed())
    assert [p.name for p in folder.glob("connections*")] == ["connections_watched"], "it asked the network"
    assert not drawn.said
    return drawn


def test_features_are_named_for_a_breeder() -> None:
    assert feature_words("season_temperature_mean_c") == "temperature mean, whole season (°C)"
    assert feature_words("vegetative_temperature_mean_c") == "temperature mean, vegetative window (°C)"
    assert feature_words("days_0_30_rain_mm") == "rain, days 0–30 after planting (mm)"
    assert feature_words("thermal_0_300_thermal_time_c_d") == "thermal time, 0–300 °C d after planting (°C d)"
    assert feature_words("grain_filling_dry_spell_days") == "dry spell days, grain filling window"
    assert feature_words("soil_ph") == "soil ph"
    assert feature_words("rain_mm") == "rain (mm)"


def test_fifty_columns_are_chosen_by_rank_and_never_by_what_moved() -> None:
    comparison = environments()
    kept, left_out = chosen(comparison, MOST_COLUMNS)
    names = list(kept.columns)
    assert len(names) == MOST_COLUMNS
    assert names[0] == "soil_ph"
    assert all(name.startswith("season_") for name in names[1:16])
    assert len(left_out) == len(comparison.columns) - MOST_COLUMNS
    assert set(left_out.values()) == {"after the first 50"}
    other, _ = chosen(environments_compared(features(seed=2), "2024"), MOST_COLUMNS)
    assert list(other.columns) == names


def test_environments_are_rows_of_the_inputs_and_only_the_season_is_current() -> None:
    comparison = environments()
    assert (comparison.current.height, comparison.reference.height) == (12, 48)
    assert GROUP not in comparison.columns


@pytest.fixture
def lines() -> Comparison:
    """Six lines, L0 to L3 learned from; L5 has no family; a harvest of L0 and L4."""
    names = [f"L{i}" for i in range(6)]
    matrix_NN = np.eye(6) * 2 + .5
    matrix_NN[4, 1] = matrix_NN[1, 4] = 2
    values = VALUES.conform(pl.DataFrame([
        {"line_id": n, "trait": t, "environment": None, "breeding_value": float(i), "genotypic_value": 10.0 + i,
         "breeding_value_reliability": .4, "genotypic_value_reliability": .5, "phenotyped": i < 4}
        for t in ("yield", "height") for i, n in enumerate(names)], schema=VALUES.schema))
    records = LINE_RECORDS.conform(pl.DataFrame([
        {"line_id": n, "family": f"F{i // 2}" if i < 5 else None, "role": "candidate"} for i, n in enumerate(names)],
        schema=LINE_RECORDS.schema))
    components = pl.DataFrame([{"line_id": n, "component": c, "score": float(i * c)} for i, n in enumerate(names)
                               for c in (1, 2, 11)])
    harvest = pl.DataFrame({"line_id": ["L0", "L4"], "trait": ["yield"] * 2, "observed": [12.0, 3.5]})
    return lines_compared(
        values, components, relationship_table(names, matrix_NN), records, season="2024",
        trained_before={"L0", "L1", "L2", "L3"}, promised=values, harvest=harvest)


def test_lines_are_compared_by_what_a_breeder_knows(lines: Comparison) -> None:
    assert list(lines.columns.values()) == [
        "closest relationship to the training set",
        "height: predicted value", "height: reliability of the predicted value",
        "yield: predicted value", "yield: reliability of the predicted value",
        "yield: residual of the harvest (observed − predicted before it)",
        "first genetic component", "second genetic component"]
    residual = next(c for c in lines.columns if "residual" in c)
    assert lines.reference[residual].to_list() == [2.0, None, None, None]  # 12 − 10, genotypic: has a record
    assert lines.current[residual].to_list() == [-.5, None]  # 3.5 − 4, breeding value: has none
    assert lines.current["closest"].to_list() == pytest.approx([2 / 2.5, .5 / 2.5])
    assert lines.reference["closest"].to_list() == pytest.approx([.2] * 4)


@NEEDS_EVIDENTLY
def test_the_page_says_the_platforms_verdict(pages: SeasonPages) -> None:
    told = pages.told()["inputs"]
    moved = [c["column"] for c in told["columns"] if c["verdict"] == "moved"]
    assert moved == [feature_words(WARMER)]
    assert len(told["columns"]) == MOST_COLUMNS
    page = pages.files["inputs.html"].decode()
    assert "What is decided about drift, the platform decides, not this page." in page
    assert "Input drift: 1 of 2 features shifted: temperature mean, whole season" in page
    assert "1 of 50 columns moved" in page
    assert "Dataset Drift is" not in page  # Evidently's verdict on all columns together
    scores = {m["config"]["column"]: m["value"] for m in _metrics(pages, "inputs") if "column" in m["config"]}
    assert scores[feature_words(WARMER)] == pytest.approx(
        next(c["p_adjusted"] for c in told["columns"] if c["column"] == feature_words(WARMER)))


@NEEDS_EVIDENTLY
def test_too_few_families_give_a_page_without_verdicts(pages: SeasonPages) -> None:
    told = pages.told()["lines"]
    assert {c["verdict"] for c in told["columns"]} == {"too_few"}
    assert [c["column"] for c in told["columns"]] == ["grain_yield_kg_ha: predicted value", "odd", "huge",
                                                      "whole numbers"]
    assert told["left_out"] == {**dict.fromkeys(("constant", "rounded", "one value"), "one value throughout"),
                                "empty now": "no value on one of the sides"}
    assert "Too few rows to tell" in pages.files["lines.html"].decode()


@NEEDS_EVIDENTLY
def test_pages_are_kept_and_read_back(pages: SeasonPages, tmp_path: Path) -> None:
    pages.save(tmp_path)
    assert vars(SeasonPages.load(tmp_path)) == vars(pages)


def test_without_evidently_it_is_said(tmp_path: Path) -> None:
    absent = draw([environments()], "")
    assert absent.said == ABSENT
    absent.save(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["state.json"]
    assert SeasonPages.load(tmp_path).said == ABSENT


def test_a_first_season_has_nothing_to_compare_with() -> None:
    first = environments_compared(features().filter(pl.col("season") == "2024"), "2024")
    assert draw([first], "any").said == NOTHING_BEFORE


def test_a_failure_of_evidently_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    assert draw([environments()], "0.7").said.startswith("evidently 0.7 failed: exit code 1; repair:")


def test_nothing_is_reported_home() -> None:
    assert page_environment()["DO_NOT_TRACK"]


def _metrics(pages: SeasonPages, name: str) -> list[dict[str, Any]]:
    results = json.loads(pages.snapshots()[name])["metric_results"].values()
    return [{"config": r["metric_value_location"]["metric"]["params"], "value": r.get("value")} for r in results]


def test_ui_serves_evidently_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(tmp_path, Settings(evidently_port=8123))
    monkeypatch.setattr(ui, "installed", lambda: "0.7.23")
    command = ui.commands(workspace)["evidently"]
    assert command[1:5] == ["-m", "evidently.cli", "ui", "--workspace"]
    assert command[5:] == [str(tmp_path / "evidently"), "--host", "127.0.0.1", "--port", "8123"]
    monkeypatch.setattr(ui, "installed", lambda: "")
    assert set(ui.commands(workspace)) == {"webserver", "daemon", "mlflow"}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Workspace]:
    """A workspace whose Evidently pages are served, as `genomic-platform ui` serves them."""
    workspace = Workspace(tmp_path, Settings(evidently_port=free_port()))
    process = subprocess.Popen(ui.commands(workspace)["evidently"], env=page_environment(), stderr=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL)
    try:
        _until(lambda: _ask(workspace, "/api/version")["application"] == "Evidently UI")
        yield workspace
    finally:
        process.terminate()
        process.wait(timeout=30)


def _ask(workspace: Workspace, path: str) -> Any:
    address = f"http://127.0.0.1:{workspace.settings.evidently_port}{path}"
    with urllib.request.urlopen(address, timeout=10) as answer:
        return json.load(answer)


def _until(happened: Callable[[], bool], seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if happened():
                return
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(.1)
    raise AssertionError(f"not within {seconds:g} s")


@NEEDS_EVIDENTLY
def test_evidentlys_own_server_shows_the_pages_once_and_as_they_are_now(served: Workspace, pages: SeasonPages) -> None:
    for _ in range(2):
        add_pages(served, SEASON, pages)
    _until(lambda: [p["name"] for p in _ask(served, "/api/projects")] == ["maize"])
    project = _ask(served, "/api/projects")[0]["id"]
    links = page_links(served.settings, SEASON, pages)
    assert set(links) == {"inputs", "lines"}
    assert all(link.split("/")[2:5] == [f"127.0.0.1:{served.settings.evidently_port}", "projects", project]
               for link in links.values())
    _until(lambda: len(_ask(served, f"/api/projects/{project}/reports")) == 2)
    reports = {r["id"]: r for r in _ask(served, f"/api/projects/{project}/reports")}
    assert set(reports) == {link.rsplit("/", 1)[1] for link in links.values()}
    assert sorted(r["tags"] for r in reports.values()) == [["inputs", "2024"], ["lines", "2024"]]
    assert "1 of 50 columns moved" in json.dumps(_ask(served, f"/api/projects/{project}/{links['inputs'][-36:]}/data"))
    add_pages(served, SEASON, SeasonPages("", ABSENT))
    _until(lambda: not _ask(served, f"/api/projects/{project}/reports"))
