"""`train_season_gpu`: the season that `train_season` publishes, made by a process a step."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from genomic_platform.definitions import build_definitions
from genomic_platform.defs.partitions import field_season
from genomic_platform.executors.cuda import StepProcesses
from genomic_platform.executors.leases import DeviceRequest
from genomic_platform.models.recipes import RECIPES
from genomic_platform.settings import child_environment, read_settings
from genomic_platform_tests.dagster.small import Small

ROOT = Path(__file__).resolve().parents[2]


def test_both_jobs_are_the_same_assets_on_two_executors(monkeypatch: pytest.MonkeyPatch) -> None:
    definitions = build_definitions()
    jobs = [definitions.resolve_job_def(name) for name in ("train_season", "train_season_gpu")]
    assert jobs[0].asset_layer.executable_asset_keys == jobs[1].asset_layer.executable_asset_keys
    assert [job.executor_def.name for job in jobs] == ["in_process", "cuda"]
    assert definitions.executor is dg.in_process_executor

    monkeypatch.setenv("GENOMIC_PLATFORM_SEASON_JOB", "train_season_gpu")
    chosen = build_definitions()
    assert isinstance(chosen.executor, dg.ExecutorDefinition)
    assert chosen.executor.name == "cuda"
    for name in ("train_season", "rollback", "approve", "reject"):
        assert chosen.resolve_job_def(name).executor_def.name == "in_process"


def test_networks_ask_for_a_card_where_the_programme_names_them(templates: dict[int, Path], tmp_path: Path) -> None:
    tags = {spec.key.to_user_string(): definition.op.tags for definition in build_definitions().assets or ()
            if isinstance(definition, dg.AssetsDefinition) for spec in definition.specs}
    asking = {name for name, own in tags.items() if DeviceRequest.from_tags(own).count}
    assert asking == {name for name, recipe in RECIPES.items() if recipe.on_a_card}
    assert "marker_network" in asking
    shutil.copytree(templates[0], tmp_path / "copy")
    small = Small(tmp_path / "copy")
    steps = StepProcesses(read_settings(), small.workspace, "fail")
    run = dg.DagsterRun("train_season_gpu", tags={"dagster/partition": small.key("2019")})
    assert steps.request(run, tags["marker_network"]) == DeviceRequest()
    small.edit_program(r"candidates = \[.*\]", 'candidates = ["genomic_blup", "marker_network"]')
    assert steps.request(run, tags["marker_network"]) == DeviceRequest(1)
    assert steps.request(run, tags["graph_network"]) == DeviceRequest()


@pytest.mark.slow
def test_a_process_a_step_publishes_the_same_season(templates: dict[int, Path], tmp_path: Path) -> None:
    shutil.copytree(templates[0], tmp_path / "copy")
    small = Small(tmp_path / "copy")
    with small.instance() as instance:
        instance.add_dynamic_partitions(field_season.name or "", [small.key("2019")])
    tags = {"dagster/partition": small.key("2019"), "program": small.name}
    told = subprocess.run(
        [sys.executable, "-m", "dagster", "job", "execute", "-m", "genomic_platform.definitions", "-j",
         "train_season_gpu", "--tags", json.dumps(tags)], cwd=ROOT, capture_output=True, text=True, check=False,
        env=child_environment(small.workspace.root) | {"PYTHONPATH": os.pathsep.join(sys.path)})
    assert told.returncode == 0, told.stderr[-4000:]
    published = Small(templates[1])
    ours, theirs = ({name: record.data_version for name, record in s.main.records("2019").items()
                     if name != "season_release"} for s in (small, published))
    assert ours == theirs
    with small.workspace.turn(small.name):
        assert not list((small.workspace.root / "leases").glob("*.json"))
    assert not list((small.workspace.root / "checkpoints").glob("*/*/*"))
