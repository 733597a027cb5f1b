"""A small programme's loose files, and workspaces with seasons already published to start tests from."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from genomic_platform.runs import run_seasons
from genomic_platform_tests.dagster.small import Small, loose_files


@pytest.fixture(scope="session")
def loose(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    return loose_files(tmp_path_factory.mktemp("loose"))


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory, loose: dict[str, list[Path]]) -> dict[int, Path]:
    """Workspaces with none, one and two of the three seasons published."""
    folder = tmp_path_factory.mktemp("none")
    Small.made(folder, loose)
    found = {0: folder}
    for count, season in enumerate(("2019", "2020"), start=1):
        found[count] = tmp_path_factory.mktemp(f"published_{count}") / "copy"
        shutil.copytree(found[count - 1], found[count])
        small = Small(found[count])
        small.workspace.register(small.program)
        (outcome,) = run_seasons(small.program, small.workspace, [season])
        assert outcome.published, outcome.reason
    return found


@pytest.fixture
def published(templates: dict[int, Path], tmp_path: Path) -> Callable[[int], Small]:
    """A programme of one's own with this many seasons published."""

    def copy(count: int) -> Small:
        shutil.copytree(templates[count], tmp_path / "copy")
        return Small(tmp_path / "copy")

    return copy


@pytest.fixture
def opened() -> Iterator[Callable[[Small], dg.DagsterInstance]]:
    """Opens Dagster instances and closes them after the test."""
    instances: list[dg.DagsterInstance] = []

    def open_instance(small: Small) -> dg.DagsterInstance:
        instances.append(small.instance())
        return instances[-1]

    yield open_instance
    for instance in instances:
        instance.dispose()
