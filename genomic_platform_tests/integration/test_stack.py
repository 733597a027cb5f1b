"""The compose stack: its files agree with the code, and, where there is a Docker engine with the images, it works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from genomic_platform.settings import PREFIX, Settings
from genomic_platform.workspace import instance_config

ROOT = Path(__file__).parents[2]
IMAGES = ["genomic-platform:local", "postgres:15", "treeverse/lakefs:1.88.0"]
STARTED = ["postgres", "lakefs", "mlflow", "init", "code", "webserver", "daemon", "evidently"]


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def test_the_instance_is_configured_as_on_a_laptop() -> None:
    deployed = yaml.safe_load((ROOT / "deploy" / "dagster.yaml").read_text())
    local = instance_config(Settings())
    assert isinstance(local["run_monitoring"], dict)
    local["run_monitoring"] = {**local["run_monitoring"], "poll_interval_seconds": 10}
    assert {name: deployed[name] for name in local} == local


def test_run_containers_get_every_setting_of_the_services(compose: dict) -> None:
    launcher = yaml.safe_load((ROOT / "deploy" / "dagster.yaml").read_text())["run_launcher"]["config"]
    assert launcher["env_vars"] == list(compose["x-environment"])
    assert launcher["container_kwargs"]["volumes_from"] == [compose["services"]["code"]["container_name"]]
    assert launcher["network"] == compose["networks"]["default"]["name"]


def test_every_setting_given_is_one_that_exists(compose: dict) -> None:
    given = {name.removeprefix(PREFIX).lower() for name in compose["x-environment"] if name.startswith(PREFIX)}
    assert given <= set(Settings.model_fields)


def test_services_start_in_order_and_say_when_they_are_healthy(compose: dict) -> None:
    services = compose["services"]
    for name in STARTED:
        for other, how in services[name].get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other == "init" else "service_healthy"
            assert how == {"condition": wanted}
            assert other == "init" or "healthcheck" in services[other]
    assert set(services) == {*STARTED, "cli"}


def test_every_variable_is_in_the_example_and_no_port_leaves_the_machine(compose: dict) -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    known = set(re.findall(r"(?m)^([A-Z_]+)=", (ROOT / ".env.example").read_text()))
    assert set(re.findall(r"\$\{([A-Z_]+)", text)) - known == {"COMMIT", "PIP_INDEX_URL", "UV_DEFAULT_INDEX"}
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_new_secrets_are_random_and_an_old_file_is_kept(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    shutil.copy(ROOT / ".env.example", tmp_path)
    text = (tmp_path / "deploy" / "new_env.sh").read_text().replace("/var/run/docker.sock", str(tmp_path))
    (tmp_path / "deploy" / "new_env.sh").write_text(text)
    for _ in range(2):
        subprocess.run(["sh", "deploy/new_env.sh"], cwd=tmp_path, check=True)
    first = (tmp_path / ".env").read_text()
    assert not re.findall(r"(?m)^[A-Z_]+=$", first)
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    (tmp_path / ".env").unlink()
    subprocess.run(["sh", "deploy/new_env.sh"], cwd=tmp_path, check=True)
    secrets = [set(re.findall(r"(?m)^(?:\w+_PASSWORD|LAKEFS_\w+(?<!PORT))=(.+)$", t))
               for t in (first, (tmp_path / ".env").read_text())]
    assert [len(s) for s in secrets] == [4, 4]
    assert not secrets[0] & secrets[1]


# The stack itself -----------------------------------------------------------------------------------------------


def _command(*arguments: str) -> str:
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False,
                          env=os.environ | {"COMPOSE_PROJECT_NAME": "stacktest"})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def stack() -> Iterator[list[str]]:
    if shutil.which("docker") is None or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.skip("no Docker engine answers")
    if missing := [i for i in IMAGES if not _command("docker", "images", "-q", i)]:
        pytest.skip(f"images missing: {', '.join(missing)}; make stack-demo builds or pulls them")
    if _command("docker", "ps", "-aq", "--filter", "name=genomic-platform-code"):
        pytest.skip("a stack is up already; make stack-down stops it")
    v2 = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
    command = [*(["docker", "compose"] if v2 else ["docker-compose"])]
    made = not (ROOT / ".env").exists()
    subprocess.run(["sh", "deploy/new_env.sh"], cwd=ROOT, check=True)
    try:
        _command(*command, "up", "-d")
        yield command
    finally:
        _command(*command, "down", "-v")
        if made:
            (ROOT / ".env").unlink()


@pytest.mark.docker
@pytest.mark.slow
def test_a_season_runs_through_the_stack_and_starting_again_changes_nothing(stack: list[str]) -> None:
    inside = [*stack, "run", "--rm", "cli"]
    ran = _command(*inside, "genomic-platform", "run", "rice_japonica_uy", "--season", "2009")
    assert "2009  published" in ran
    again = _command(*stack, "run", "--rm", "init")
    assert "is ready" in again
    assert "made" not in again
    assert "installed" not in again
    assert "2009" in _command(*inside, "genomic-platform", "status", "rice_japonica_uy")
    assert "whole" in _command(*inside, "genomic-platform", "audit", "verify", "rice_japonica_uy")
