"""A candidate's run in MLflow: once per candidate and season, with its data, folds and seasons; its copy elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl
import pytest

from genomic_platform.catalogue import ASSETS, CANDIDATE
from genomic_platform.defs.season_asset import FORCE_TAG
from genomic_platform.stores import wandb_mirror
from genomic_platform_tests.dagster.small import Small, failures_of, metadata_of
from genomic_platform_tests.support.wandb_file import OfflineRun, read_offline

if TYPE_CHECKING:
    from mlflow.entities import Run

Published = Callable[[int], Small]
Opened = Callable[[Small], dg.DagsterInstance]
TRAIT = "grain_yield_t_ha"


def runs_of(small: Small) -> dict[str, Run]:
    """By name; two runs of a name would be a fault."""
    with small.workspace.registry._speaking() as client:
        experiment = client.get_experiment_by_name(small.name)
        assert experiment is not None
        found = client.search_runs([experiment.experiment_id])
    assert len({run.info.run_name for run in found}) == len(found)
    return {run.info.run_name or "": run for run in found}


def steps(small: Small, run: Run, key: str) -> dict[int, float]:
    with small.workspace.registry._speaking() as client:
        history = client.get_metric_history(run.info.run_id, key)
    assert len({m.step for m in history}) == len(history), f"{key} has a step twice"
    return {m.step: m.value for m in history}


def compared(small: Small, season: str, scheme: str) -> dict[str, float]:
    """Recipe → r_mean of the season's comparison."""
    table = small.main.read("model_comparison", season, ASSETS["model_comparison"])
    return dict(table.filter(pl.col("scheme") == scheme).select("recipe", "r_mean").iter_rows())


def compare_again(small: Small, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """Season 2020's comparison, forced; its inputs are those published."""
    return small.run(instance, "2020", assets=["model_comparison"], tags={FORCE_TAG: "true"})


def test_a_run_holds_folds_and_the_season_that_came(published: Published) -> None:
    small = published(2)
    runs = runs_of(small)
    assert set(runs) == {f"{season} {recipe}" for season in ("2019", "2020") for recipe in ("genomic_blup", "kernel")}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    for recipe, r in compared(small, "2019", "cv1").items():
        folds = steps(small, runs[f"2019 {recipe}"], f"cv1/{TRAIT}/r_fold")
        assert 10 < len(folds) <= 25  # five divisions into five folds; one that predicts all lines alike has no r
        divisions = [[folds[step] for step in range(5 * i, 5 * i + 5) if step in folds] for i in range(5)]
        assert mean([mean(division) for division in divisions if division]) == pytest.approx(r)
        assert steps(small, runs[f"2019 {recipe}"], f"cv1/{TRAIT}/r") == {0: pytest.approx(r)}
        assert not any(key.startswith("cv1") for key in runs[f"2020 {recipe}"].data.metrics)
    for recipe, r in compared(small, "2020", "forward").items():
        assert steps(small, runs[f"2019 {recipe}"], f"forward/{TRAIT}/r") == {2020: pytest.approx(r)}
        assert f"forward/{TRAIT}/r" not in runs[f"2020 {recipe}"].data.metrics


def test_a_run_says_what_it_was_fitted_on_and_what_it_took(published: Published) -> None:
    small = published(2)
    run = runs_of(small)["2019 kernel"]
    data = {one.dataset.name: one.dataset.digest for one in run.inputs.dataset_inputs}
    records = small.main.records("2019")
    assert data == {name: records[name].data_version[:36] for name in (
        "training_set", "genotype_panel", "genotype_qc", "relationship_matrix", "environment_features")}
    model = small.main.read("kernel", "2019", CANDIDATE)
    assert run.data.metrics[f"fit/{TRAIT}/heritability_line_mean"] == model.model.summary()[TRAIT][
        "heritability_line_mean"]
    assert {name: run.data.metrics[f"cost/{name}"] for name in model.cost} == model.cost
    assert model.cost["peak_memory_mib"] > 10
    wanted = {"recipe": "kernel", "trained_through": "2019", "seed": "1", "device": "cpu", f"unit/{TRAIT}": "t/ha",
              "lines": str(model.model.panel.n_lines), "setting/bandwidth": "auto"}
    assert wanted.items() <= run.data.params.items()
    assert run.data.tags["genomic_platform.fingerprint"] == records["kernel"].fingerprint
    pages = small.workspace.registry.read_candidate(run.info.run_id).pages
    assert {path: page.count("<svg") for path, page in pages.items()} == {
        "plots/fit.html": 2, "plots/folds.html": 1, "plots/forward.html": 1}


def test_a_comparison_made_again_adds_nothing(published: Published, opened: Opened) -> None:
    small = published(2)
    before = {name: run.data.metrics for name, run in runs_of(small).items()}
    result = compare_again(small, opened(small))
    assert result.success, failures_of(result)
    assert "unchanged_since" not in metadata_of(result, "model_comparison")
    runs = runs_of(small)
    assert {name: run.data.metrics for name, run in runs.items()} == before
    for run in runs.values():
        for key in run.data.metrics:
            steps(small, run, key)


@pytest.mark.slow
def test_a_season_forced_has_the_same_runs(published: Published, opened: Opened) -> None:
    small = published(2)
    before = runs_of(small)
    result = small.run(opened(small), "2020", tags={FORCE_TAG: "true"})
    assert result.success, failures_of(result)
    after = runs_of(small)
    assert {name: run.info.run_id for name, run in after.items()} == {n: run.info.run_id for n, run in before.items()}
    assert {name: run.data.metrics for name, run in after.items()} == {n: run.data.metrics for n, run in before.items()}


@pytest.fixture
def mirrored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The setting is there, the account is not; gives the current folder, which is to stay empty."""
    monkeypatch.setenv("GENOMIC_PLATFORM_WANDB_PROJECT", "breeding")
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(str(Path(p).resolve()) for p in sys.path))
    monkeypatch.chdir(here)
    return here


def offline_runs(small: Small) -> dict[str, OfflineRun]:
    found = [read_offline(file) for file in (small.workspace.root / "wandb").glob("offline-run-*/*.wandb")]
    return {run.name: run for run in found}


def test_runs_are_mirrored_offline(published: Published, opened: Opened, mirrored: Path,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="no wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    small = published(2)
    result = compare_again(small, opened(small))
    assert result.success, failures_of(result)
    assert "notices" not in metadata_of(result, "model_comparison")
    runs, copies = runs_of(small), offline_runs(small)
    assert set(copies) == set(runs)
    for name, run in runs.items():
        copy = copies[name]
        assert (copy.id, copy.project, copy.group, copy.exit_code) == (run.info.run_id, "breeding", small.name, 0)
        assert run.data.params.items() <= copy.config.items()
        own = {key: value for key, value in run.data.metrics.items() if not key.startswith("system/")}
        assert {key: copy.summary.get(key) for key in own} == own
        assert any(key.startswith("plots/fit.html") for key in copy.summary)
    history = copies["2019 kernel"].history
    folds = {row["fold"]: row[f"cv1/{TRAIT}/r_fold"] for row in history if "fold" in row}
    assert folds == steps(small, runs["2019 kernel"], f"cv1/{TRAIT}/r_fold")
    assert [row["season"] for row in history if "season" in row] == [2020]
    assert not list(mirrored.iterdir())
    assert not (mirrored.parent / "home").exists()


def test_a_mirror_that_fails_fails_nothing(published: Published, opened: Opened, mirrored: Path) -> None:
    pytest.importorskip("wandb", reason="no wandb")
    small = published(2)
    result = compare_again(small, opened(small))
    assert result.success, failures_of(result)
    said = metadata_of(result, "model_comparison")["notices"]
    assert "Weights & Biases, project breeding: runs not mirrored" in said
    assert "No API key configured" in said
    assert not list(mirrored.iterdir())


def test_a_missing_package_is_named(published: Published, mirrored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = published(1)
    monkeypatch.setitem(sys.modules, "wandb", None)
    (notice,) = wandb_mirror.mirror(small.workspace, small.name, [runs_of(small)["2019 kernel"].info.run_id])
    assert "pip install 'genomic-platform[wandb]'" in str(notice)


def test_nothing_of_a_mirror_that_hangs_lives_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb_mirror, "_SECONDS", 2)
    script = ("import pathlib, subprocess, sys, time; child = subprocess.Popen(['sleep', '60']);"
              "pathlib.Path(sys.argv[1]).write_text(str(child.pid)); time.sleep(60)")
    said = wandb_mirror._run([sys.executable, "-c", script, str(tmp_path / "pid")], "", dict(os.environ))
    assert said == "no end after 2 s"
    pid = int((tmp_path / "pid").read_text())
    for _ in range(50):
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
        if not state or state.startswith("Z"):
            break
        time.sleep(0.1)
    assert not state or state.startswith("Z")
