"""Settings: their order and their faults. Workspace: programmes registered, names kept apart."""

from pathlib import Path

import pytest
import yaml

from genomic_platform.errors import ProgramError
from genomic_platform.program import read_program
from genomic_platform.settings import Settings, read_settings
from genomic_platform.workspace import Workspace

PROGRAM = 'format_version = 1\nname = "{}"\n[traits.t]\nunit = "kg"\n'


def test_order_command_line_environment_file_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings(tmp_path).dagster_port == 3000
    (tmp_path / "genomic_platform.toml").write_text("dagster_port = 3001\nmlflow_port = 5001\n")
    monkeypatch.setenv("GENOMIC_PLATFORM_DAGSTER_PORT", "3002")
    found = read_settings(tmp_path)
    assert (found.dagster_port, found.mlflow_port) == (3002, 5001)
    assert read_settings(tmp_path, dagster_port=3003).dagster_port == 3003


def test_every_fault_says_where_it_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "genomic_platform.toml").write_text('dagster_prt = 1\nmlflow_port = "x"\n')
    monkeypatch.setenv("GENOMIC_PLATFORM_SENSOR_SECONDS", "0")
    with pytest.raises(ProgramError) as caught:
        read_settings(tmp_path)
    lines = sorted(str(caught.value).splitlines())
    assert len(lines) == 3
    assert lines[0].startswith(str(tmp_path / "genomic_platform.toml"))
    assert lines[2].startswith("environment GENOMIC_PLATFORM_SENSOR_SECONDS")


@pytest.mark.parametrize(("given", "complaint"), [
    ({"profile": "compose"},
     "profile compose needs lakefs_endpoint, lakefs_access_key_id, lakefs_secret_access_key, mlflow_uri"),
    ({"lakefs_endpoint": "http://lakefs:8000"}, "lakefs_endpoint needs lakefs_access_key_id, lakefs_secret_access_key"),
    ({"lakefs_endpoint": "lakefs:8000", "lakefs_access_key_id": "a", "lakefs_secret_access_key": "b"},
     "lakefs_endpoint: expected an address that begins with http"),
])
def test_services_are_named_whole_or_not_at_all(tmp_path: Path, given: dict[str, str], complaint: str) -> None:
    (tmp_path / "genomic_platform.toml").write_text("".join(f'{k} = "{v}"\n' for k, v in given.items()))
    with pytest.raises(ProgramError, match=complaint):
        read_settings(tmp_path)


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    found = read_settings(tmp_path, lakefs_endpoint="http://x", lakefs_access_key_id="a", lakefs_secret_access_key="s3")
    assert "s3" not in str(found.table())
    assert "s3" not in repr(found)


def test_every_setting_is_explained() -> None:
    assert all(meaning for _, _, meaning in Settings().table())


def make(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "program.toml").write_text(PROGRAM.format(name))
    return folder


def test_programmes_are_found_again_after_a_move(tmp_path: Path) -> None:
    folder = make(tmp_path / "here" / "rice", "rice_a")
    Workspace.beside(folder, Settings()).register(read_program(folder))
    (tmp_path / "here").rename(tmp_path / "there")
    moved = Workspace.beside(tmp_path / "there" / "rice", Settings())
    assert moved.program("rice_a").folder == (tmp_path / "there" / "rice").resolve()


def test_two_folders_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one", "rice_a"), make(tmp_path / "two", "rice_a")
    workspace = Workspace(tmp_path / "ws", Settings())
    workspace.register(read_program(one))
    with pytest.raises(ProgramError, match="another name"):
        workspace.register(read_program(two))
    with pytest.raises(ProgramError, match="not registered"):
        workspace.program("wheat")


def test_generated_instance_configuration(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws", Settings(run_retries=5))
    workspace.prepare()
    config = yaml.safe_load((workspace.dagster_home / "dagster.yaml").read_text())
    assert config["telemetry"] == {"enabled": False}
    assert config["run_retries"] == {"enabled": True, "max_retries": 5}
    limits = {limit["key"]: limit["limit"] for limit in config["concurrency"]["runs"]["tag_concurrency_limits"]}
    assert limits == {"program": 1, "dagster/backfill": 1}
