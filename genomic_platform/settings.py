"""Every setting of an installation, its default and unit, read once.

Order: command line > environment (`GENOMIC_PLATFORM_…`) > `genomic_platform.toml` > default. What belongs to one
breeding programme is not here but in its `program.toml`. No other module reads the environment.
"""

from __future__ import annotations

import os
import pwd
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genomic_platform.errors import ProgramError

PREFIX = "GENOMIC_PLATFORM_"
FILE = "genomic_platform.toml"


class Settings(BaseModel):
    """One installation's settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    profile: Literal["local"] = Field("local", description="which services stand behind the graph")
    workspace: str = Field("", description="folder of Dagster instance, versioned store and MLflow; "
                                           "empty = .genomic_platform beside the programme")
    season_job: str = Field("train_season", description="job that sensors start for a season")
    sensor_seconds: int = Field(30, ge=1, description="seconds between two looks at the landing folders")
    run_retries: int = Field(3, ge=0, description="times a failed run is tried again (transient causes only)")
    actor: str = Field("", description="who acts, for the audit log; empty = the user of the operating system")
    host: str = Field("127.0.0.1", description="address the web pages listen on")
    dagster_port: int = Field(3000, description="port of the Dagster web UI")
    mlflow_port: int = Field(5000, description="port of the MLflow web UI")

    @property
    def who(self) -> str:
        """Who acts: the set `actor`, else the name of the operating system's user."""
        return self.actor or _system_user()

    def table(self) -> list[tuple[str, object, str]]:
        """(name, value, meaning) of every setting."""
        return [(name, getattr(self, name), info.description or "") for name, info in type(self).model_fields.items()]


def _system_user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user id without a name
        return f"uid {os.getuid()}"


def read_settings(folder: Path | None = None, **command_line: object) -> Settings:
    """Read the settings of an installation.

    Parameters
    ----------
    folder : where `genomic_platform.toml` may lie; the current folder by default.
    command_line : values that win over everything else; None is no value.

    Raises
    ------
    ProgramError
        Unknown names and wrong values, all of them, each with where it came from.
    """
    file = (folder or Path.cwd()) / FILE
    try:
        in_file = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except tomllib.TOMLDecodeError as error:
        raise ProgramError(f"{file}: not valid TOML: {error}") from error
    in_environment = {k.removeprefix(PREFIX).lower(): v for k, v in os.environ.items() if k.startswith(PREFIX)}
    origin = dict.fromkeys(in_file, str(file)) | {k: f"environment {PREFIX}{k.upper()}" for k in in_environment}
    given = {k: v for k, v in command_line.items() if v is not None}
    try:
        return Settings.model_validate({**in_file, **in_environment, **given})
    except ValidationError as error:
        faults = [f"{origin.get(str(e['loc'][0]), 'command line')}: setting {e['loc'][0]} is {e['input']!r}: {e['msg']}"
                  for e in error.errors()]
        raise ProgramError("\n".join(faults)) from error


def child_environment(workspace: Path) -> dict[str, str]:
    """The environment for a process that serves this workspace (web server, daemon, MLflow)."""
    return {**os.environ, "DAGSTER_HOME": str(workspace / "dagster"), PREFIX + "WORKSPACE": str(workspace)}
