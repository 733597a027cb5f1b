"""A small generated programme of two seasons, shared by the tests of the command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from genomic_platform_tests.support.breeding import Programme
from genomic_platform_tests.support.command_line import call, init_arguments, publish, write_files

SMALL = Programme(n_lines=56, n_families=4, n_founders=6, n_seasons=2, n_markers=60, n_traits=2, advanced=6,
                  block_size=16)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_files(tmp_path_factory.mktemp("files"), SMALL)


@pytest.fixture(scope="session")
def programme(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both seasons published; tests leave it as it is."""
    return publish(files, tmp_path_factory.mktemp("published") / "barley")


@pytest.fixture
def unpublished(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert call(capsys, *init_arguments(files, tmp_path / "barley")).code == 0
    return tmp_path / "barley"


@pytest.fixture
def copy(programme: Path, tmp_path: Path) -> Path:
    """The published programme with its workspace, to be changed."""
    shutil.copytree(programme.parent, tmp_path / "copy")
    return tmp_path / "copy" / programme.name
