"""Fixtures of several rooms of tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from genomic_platform_tests.support.lakefs_server import ABSENT, Server, server_missing

#: Evidently takes seconds a season; what tests it turns it on.
os.environ.setdefault("GENOMIC_PLATFORM_EVIDENTLY_PAGES", "false")


@pytest.fixture(scope="session", autouse=True)
def _interrupts_as_in_the_foreground() -> None:
    """A shell starts background jobs with SIGINT ignored; Dagster then ignores SIGTERM too, and so does every child."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def lakefs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A lakeFS server; one is started, on a free port, unless the environment names one."""
    if server_missing():
        pytest.skip(ABSENT)
    if os.environ.get("LAKECTL_SERVER_ENDPOINT_URL"):
        yield Server()
        return
    server = Server(tmp_path_factory.mktemp("lakefs"))
    yield server
    server.kill()


@pytest.fixture
def killable_server(tmp_path: Path) -> Iterator[Server]:
    """A lakeFS server of the test's own, to be killed and started again."""
    folder = tmp_path / "lakefs"
    folder.mkdir()
    try:
        server = Server(folder)
    except FileNotFoundError:
        pytest.skip("no `lakefs` on PATH to start and kill")
    yield server
    server.kill()
