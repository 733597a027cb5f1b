"""Every setting of an installation, its default and unit, read once.

Order: command line > environment (`GENOMIC_PLATFORM_…`) > `genomic_platform.toml` > default. What belongs to one
breeding programme is not here but in its `program.toml`. No other module reads the environment.
"""

from __future__ import annotations

import os
import pwd
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails

from genomic_platform.errors import ProgramError
from genomic_platform.faults import in_words

PREFIX = "GENOMIC_PLATFORM_"
FILE = "genomic_platform.toml"
_HOST_AND_PORT = re.compile(r"[0-9A-Za-z._-]+:(?!0)\d{1,5}")
_MAILBOX = re.compile(r"[0-9A-Za-z.!#$%&'*+/=?^_`{|}~-]+@[0-9A-Za-z._-]+")
_ADDRESSES = ("lakefs_endpoint", "dagster_url", "lakefs_url", "mlflow_url", "evidently_url")


class Settings(BaseModel):
    """One installation's settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    profile: Literal["local", "compose"] = Field("local", description="local: embedded store and SQLite; compose: "
                                                                      "lakeFS, an MLflow server, Postgres")
    workspace: str = Field("", description="folder of Dagster instance, versioned store and MLflow; "
                                           "empty = .genomic_platform beside the programme")
    dagster_home: str = Field("", description="folder of the Dagster instance and its dagster.yaml; empty = in the "
                                              "workspace, generated")
    lakefs_endpoint: str = Field("", description="address of a lakeFS server; empty = the embedded store")
    lakefs_access_key_id: str = Field("", description="key of the lakeFS user")
    lakefs_secret_access_key: SecretStr = Field(SecretStr(""), description="secret of the lakeFS user")
    lakefs_repository: str = Field("genomic-platform", description="lakeFS repository of the workspace")
    mlflow_uri: str = Field("", description="address of an MLflow server; empty = SQLite in the workspace")
    dagster_url: str = Field("", description="Dagster UI as a person's browser reaches it, for links in "
                                             "alerts, reports and MLflow; empty = no links")
    lakefs_url: str = Field("", description="lakeFS UI as a person's browser reaches it, for links")
    mlflow_url: str = Field("", description="MLflow UI as a person's browser reaches it, for links; "
                                            "empty = host and mlflow_port")
    evidently_url: str = Field("", description="Evidently UI as a person's browser reaches it, for links; "
                                               "empty = host and evidently_port")
    evidently_pages: bool = Field(True, description="draw a season's drift pages, where Evidently is installed")
    wandb_project: str = Field("", description="Weights & Biases project that candidates' runs are mirrored to, in the "
                                               "account and mode of its own variables (WANDB_API_KEY, WANDB_MODE); "
                                               "empty = none")
    season_job: Literal["train_season", "train_season_gpu"] = Field(
        "train_season", description="job that sensors start for a season; backfills take its executor")
    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?)$",
                        description="what training computes on: cpu, cuda or cuda:N; "
                                    "the CUDA executor sets it for each step")
    gpu_missing: Literal["fail", "cpu"] = Field("fail", description="a step asks for a GPU that this machine does not "
                                                                    "have: fail, or compute on the CPU")
    gpu_devices: str = Field("", description="GPUs that steps may have: indices or UUIDs, by commas; empty = "
                                            "those of CUDA_VISIBLE_DEVICES, else all")
    nvidia_smi: str = Field("nvidia-smi", description="program that lists the GPUs, as nvidia-smi does")
    lease_folder: str = Field("", description="folder of the leases on GPUs, on a local disk, one for all workspaces "
                                              "of a machine; empty = in the workspace")
    step_processes: int = Field(0, ge=0, description="steps of a run that the CUDA executor runs at once, those that "
                                                     "wait for a GPU included; 0 = as many as cores")
    preemption_retries: int = Field(3, ge=0, description="times a step whose process was ended from outside is started "
                                                         "again by its run (CUDA executor)")
    sensor_seconds: int = Field(30, ge=1, description="seconds between two looks at the landing folders")
    run_retries: int = Field(3, ge=0, description="times a failed run is tried again (transient causes only)")
    price_currency: str = Field("", description="what prices and budgets are in, such as EUR")
    price_cpu_hour: float = Field(0, ge=0, description="price of an hour of one processor core at work; 0 = unpriced")
    price_gpu_hour: float = Field(0, ge=0, description="price of an hour of one leased graphics card; 0 = unpriced")
    price_gb_month: float = Field(0, ge=0, description="price of keeping 1 GB (10^9 bytes) for a month; 0 = unpriced")
    alert_late_days: int = Field(60, ge=0, description="days after a season's harvest month before its missing trial "
                                                       "records are told as an alert")
    alert_file: str = Field("", description="file that alerts are appended to as JSON lines, absolute; empty = none")
    alert_webhook: SecretStr = Field(SecretStr(""), description="address that alerts are posted to as JSON; "
                                                                "empty = none")
    alert_slack_webhook: SecretStr = Field(SecretStr(""), description="address of an incoming webhook of Slack, or of "
                                                                      "what takes the same; empty = none")
    alert_smtp: str = Field("", description="mail server for alerts, host:port; empty = none")
    alert_smtp_security: Literal["starttls", "ssl", "none"] = Field(
        "starttls", description="how the mail server is spoken to: starttls, ssl (from the first byte), none")
    alert_smtp_user: str = Field("", description="user of the mail server; empty = no login")
    alert_smtp_password: SecretStr = Field(SecretStr(""), description="password of the user of the mail server")
    alert_email_from: str = Field("", description="sender of alerts by e-mail")
    alert_email_to: str = Field("", description="recipients of alerts by e-mail, by commas")
    actor: str = Field("", description="who acts, for the audit log; empty = the user of the operating system")
    host: str = Field("127.0.0.1", description="address the web pages listen on")
    dagster_port: int = Field(3000, description="port of the Dagster web UI")
    mlflow_port: int = Field(5000, description="port of the MLflow web UI")
    evidently_port: int = Field(8000, description="port of the Evidently web UI")

    @property
    def who(self) -> str:
        """Who acts: the set `actor`, else the name of the operating system's user."""
        return self.actor or _system_user()

    @model_validator(mode="after")
    def _services(self) -> Settings:
        needed = ("lakefs_endpoint", "lakefs_access_key_id", "lakefs_secret_access_key", "mlflow_uri")
        missing = [name for name in needed if not getattr(self, name)] if self.profile == "compose" else []
        if self.lakefs_endpoint:
            missing += [name for name in needed[1:3] if not getattr(self, name) and name not in missing]
        odd = [name for name in _ADDRESSES
               if getattr(self, name) and not getattr(self, name).startswith(("http://", "https://"))]
        if odd:
            raise ValueError(f"{', '.join(odd)}: expected an address that begins with http:// or https://")
        if missing:
            asking = f"profile {self.profile}" if self.profile == "compose" else "lakefs_endpoint"
            raise ValueError(f"{asking} needs {', '.join(missing)}")
        return self

    @model_validator(mode="after")
    def _alerts(self) -> Settings:
        faults = [*self._webhook_faults(), *self._mail_faults()]
        if self.alert_file and not Path(self.alert_file).is_absolute():
            faults.append(f"alert_file is {self.alert_file!r}; expected an absolute path, since alerts are sent by "
                          "processes that start elsewhere")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _webhook_faults(self) -> Iterator[str]:
        for name in ("alert_webhook", "alert_slack_webhook"):
            address = getattr(self, name).get_secret_value()
            if address and not re.fullmatch(r"https?://[!-~]+", address):
                yield f"{name}: expected an address that begins with http:// or https:// and has no space in it"

    def _mail_faults(self) -> Iterator[str]:
        needed = ("alert_smtp", "alert_email_from", "alert_email_to")
        login = ("alert_smtp_user", "alert_smtp_password")
        given = [name for name in (*needed, *login) if _plain(getattr(self, name))]
        if given and (missing := [name for name in needed if name not in given]):
            yield f"{given[0]} needs {', '.join(missing)}"
        if len(alone := [name for name in login if name in given]) == 1:
            yield f"{alone[0]} needs {next(name for name in login if name not in alone)}"
        if "alert_smtp_user" in given and self.alert_smtp_security == "none":
            yield "alert_smtp_user needs alert_smtp_security starttls or ssl: a password is not sent in the clear"
        if self.alert_smtp and not (_HOST_AND_PORT.fullmatch(self.alert_smtp)
                                    and int(self.alert_smtp.rpartition(":")[2]) < 2 ** 16):
            yield f"alert_smtp is {self.alert_smtp!r}; expected host:port, such as mail.example.org:587"
        for name in ("alert_email_from", "alert_email_to"):
            odd = [a.strip() for a in getattr(self, name).split(",") if not _MAILBOX.fullmatch(a.strip())]
            if name in given and odd:
                yield f"{name} has {odd[0]!r}; expected an address such as breeding@example.org"
        if "," in self.alert_email_from:
            yield "alert_email_from has several addresses; expected one"

    def table(self) -> list[tuple[str, object, str]]:
        """(name, value, meaning) of every setting."""
        return [(name, getattr(self, name), info.description or "") for name, info in type(self).model_fields.items()]


def _plain(value: str | SecretStr) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProgramError(f"{file}: not valid TOML: {error}") from error
    in_environment = {k.removeprefix(PREFIX).lower(): v for k, v in os.environ.items() if k.startswith(PREFIX)}
    origin = dict.fromkeys(in_file, str(file)) | {k: f"environment {PREFIX}{k.upper()}" for k in in_environment}
    given = {k: v for k, v in command_line.items() if v is not None}
    try:
        return Settings.model_validate({**in_file, **in_environment, **given})
    except ValidationError as error:
        faults = [f"{_place(e, origin)}: {in_words(e, Settings)}" for e in error.errors()]
        raise ProgramError("\n".join(faults)) from error


def _place(error: ErrorDetails, origin: dict[str, str]) -> str:
    """Which setting is wrong, where it was set and to what; a rule for several has no place."""
    if not error["loc"]:
        return "settings"
    name = str(error["loc"][0])
    return f"{origin.get(name, 'command line')}: setting {name} is {_shown(error)}"


def _shown(error: ErrorDetails) -> str:
    """The value of a wrong setting, but for one that is kept secret."""
    field = Settings.model_fields.get(str(error["loc"][0]))
    return "not shown" if field is not None and field.annotation is SecretStr else repr(error["input"])


def child_environment(workspace: Path) -> dict[str, str]:
    """The environment for a process that serves this workspace (web server, daemon, MLflow)."""
    return {**os.environ, "DAGSTER_HOME": str(workspace / "dagster"), PREFIX + "WORKSPACE": str(workspace)}


def step_environment(device: str, visible: str) -> dict[str, str]:
    """The environment for the process of one step that computes on `device` and sees these GPUs only."""
    return {**os.environ, "CUDA_VISIBLE_DEVICES": visible, PREFIX + "DEVICE": device}


def mirror_environment(folder: Path) -> dict[str, str]:
    """The environment for the process that speaks to Weights & Biases: its files in `folder` unless set otherwise."""
    return {"WANDB_CACHE_DIR": str(folder / "cache"), "WANDB_DATA_DIR": str(folder / "data"),
            "WANDB_CONFIG_DIR": str(folder / "config"), "WANDB_ERROR_REPORTING": "false", **os.environ}


def page_environment() -> dict[str, str]:
    """The environment for a process that draws Evidently's pages: it reports nothing home."""
    return {**os.environ, "DO_NOT_TRACK": "1"}


def visible_devices() -> tuple[str, ...]:
    """The GPUs this process was given by `step_environment`, or by whoever set CUDA_VISIBLE_DEVICES."""
    return tuple(filter(None, os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")))
