"""A workspace: one folder with the Dagster instance, the versioned store, MLflow, and the programmes registered in it.

By default it is `.genomic_platform/` beside the programme folder, so that programmes side by side share one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from genomic_platform.alerts.outbox import Outbox
from genomic_platform.audit import AuditLog
from genomic_platform.errors import ProgramError
from genomic_platform.program import FieldSeason, Program, read_program
from genomic_platform.settings import Settings, read_settings

if TYPE_CHECKING:
    from genomic_platform.stores.lakefs import LakeFSStore
    from genomic_platform.stores.mlflow import ModelRegistry
    from genomic_platform.stores.protocol import VersionedStore

FOLDER = ".genomic_platform"
EMBEDDED, CACHE = "store", "cache"
#: Seconds that a step process gets to keep a checkpoint before it is killed.
GRACE_SECONDS = 30.0


class Workspace:
    """What a workspace folder holds, opened when first asked for."""

    def __init__(self, root: Path, settings: Settings | None = None) -> None:
        self.root = Path(root).resolve()
        self.settings = settings or read_settings()

    @classmethod
    def beside(cls, program_folder: Path, settings: Settings | None = None) -> Workspace:
        """The workspace a programme folder belongs to: the one set, else the folder beside it."""
        settings = settings or read_settings()
        chosen = settings.workspace or str(Path(program_folder).resolve().parent / FOLDER)
        return cls(Path(chosen), settings)

    @property
    def dagster_home(self) -> Path:
        return Path(self.settings.dagster_home) if self.settings.dagster_home else self.root / "dagster"

    @property
    def lease_folder(self) -> Path:
        """Where steps' processes keep their leases on graphics cards."""
        return Path(self.settings.lease_folder) if self.settings.lease_folder else self.root / "leases"

    def checkpoints(self, season: FieldSeason, fingerprint: str) -> Path:
        """Where the season's training with this fingerprint keeps its checkpoints, whichever run it is part of."""
        return self.root / "checkpoints" / season.path / fingerprint

    @property
    def mlflow_uri(self) -> str:
        return self.settings.mlflow_uri or f"sqlite:///{self.root / 'mlflow' / 'mlflow.db'}"

    @cached_property
    def store(self) -> VersionedStore:
        self.root.mkdir(parents=True, exist_ok=True)
        if self.settings.lakefs_endpoint:
            return lakefs_store(self.settings, self.root / CACHE)
        from genomic_platform.stores.embedded import EmbeddedStore

        return EmbeddedStore(self.root / EMBEDDED)

    @cached_property
    def registry(self) -> ModelRegistry:
        from genomic_platform.stores.mlflow import ModelRegistry

        (self.root / "mlflow" / "artifacts").mkdir(parents=True, exist_ok=True)
        return ModelRegistry(self.mlflow_uri, self.root / "mlflow" / "artifacts")

    @cached_property
    def audit(self) -> AuditLog:
        return AuditLog(self.root / "audit")

    @cached_property
    def alerts(self) -> Outbox:
        return Outbox(self.root / "alerts")

    def program_folders(self) -> dict[str, Path]:
        """Registered programmes and their folders (kept relative to the workspace, so that both can move)."""
        path = self.root / "programs.json"
        listed = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return {name: (self.root / folder).resolve() for name, folder in sorted(listed.items())}

    def program(self, name: str) -> Program:
        folders = self.program_folders()
        if name not in folders:
            raise ProgramError(f"programme {name} is not registered in {self.root}; known: "
                               f"{', '.join(folders) or 'none'}; repair: genomic-platform run DIR registers it")
        program = read_program(folders[name])
        if program.name != name:
            raise ProgramError(f"{folders[name] / 'program.toml'}: name is {program.name!r}; expected {name!r}, "
                               "the name it was registered under; a programme is not renamed")
        return program

    def programs(self) -> list[Program]:
        return [self.program(name) for name in self.program_folders()]

    def require_free(self, name: str, folder: Path) -> None:
        """Refuse a name that another folder's programme has."""
        other = self.program_folders().get(name)
        if other is not None and other != folder.resolve() and other.is_dir():
            raise ProgramError(f"programme {name} is registered from {other}; found another in {folder}; "
                               "repair: give one of them another name (init --name, or in program.toml)")

    def register(self, program: Program) -> None:
        """Add a programme; a second folder of the same name is refused."""
        self.require_free(program.name, program.folder)
        folders = self.program_folders()
        folders[program.name] = program.folder
        self.prepare()
        listed = {name: os.path.relpath(folder, self.root) for name, folder in sorted(folders.items())}
        replace_text(self.root / "programs.json", json.dumps(listed, indent=1) + "\n")

    @contextmanager
    def turn(self, program: str, timeout_s: float = 0.0, keeps: str = "") -> Iterator[None]:
        """Hold the programme alone among all processes that run its seasons; a killed holder lets go by dying.

        Step processes that an earlier holder left behind when it was killed are ended first, but for those of run
        `keeps`. Raises StoreUnavailable when another process still holds it after `timeout_s`.
        """
        from genomic_platform.executors.leases import LeaseBook
        from genomic_platform.stores.lock import exclusive

        path = self.turn_file(program)
        path.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(path, timeout_s):
            if self.lease_folder.is_dir():
                book = LeaseBook(self.lease_folder)
                book.end([a for a in book.living() if a.turn == str(path) and a.run_id != keeps], GRACE_SECONDS)
            yield

    def turn_file(self, program: str) -> Path:
        return self.root / "turns" / f"{program}.lock"

    def registered_versions(self, program: str) -> dict[str, dict[str, int]]:
        """Trait → model version → registry version, as last projected; spares a reader MLflow's start-up."""
        path = self.root / "mlflow" / f"{program}.versions.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def note_versions(self, program: str, versions: Mapping[str, Mapping[str, int]]) -> None:
        """Add to what `registered_versions` gives."""
        held = self.registered_versions(program)
        for trait, own in versions.items():
            held.setdefault(trait, {}).update(own)
        replace_text(self.root / "mlflow" / f"{program}.versions.json", json.dumps(held, sort_keys=True, indent=1))

    def prepare(self) -> None:
        """Make the folders and, unless one is set, the Dagster instance's `dagster.yaml`, never edited by hand."""
        self.root.mkdir(parents=True, exist_ok=True)
        if self.settings.dagster_home:
            return
        self.dagster_home.mkdir(parents=True, exist_ok=True)
        text = "# Generated by genomic-platform; changed settings belong in genomic_platform.toml.\n" + yaml.safe_dump(
            instance_config(self.settings), sort_keys=False)
        path = self.dagster_home / "dagster.yaml"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            replace_text(path, text)


def lakefs_store(settings: Settings, cache: Path) -> LakeFSStore:
    """The store on the lakeFS server that the settings name."""
    from genomic_platform.stores.lakefs import LakeFSStore

    return LakeFSStore(settings.lakefs_endpoint, settings.lakefs_access_key_id,
                       settings.lakefs_secret_access_key.get_secret_value(), settings.lakefs_repository, cache)


def instance_config(settings: Settings) -> dict[str, object]:
    """The Dagster instance's configuration.

    One season of a programme at a time: the queue puts the `program` tag on whatever the UI starts; rollback and other
    small jobs carry neither tag. Retries put a season behind the predecessor it waits for.
    """
    one_each = [{"key": key, "value": {"applyLimitPerUniqueValue": True}, "limit": 1}
                for key in ("program", "dagster/backfill")]
    return {
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},
        "run_coordinator": {"module": "genomic_platform.executors.season_queue", "class": "SeasonQueue"},
        "concurrency": {
            "runs": {"max_concurrent_runs": 4, "tag_concurrency_limits": one_each},
            "pools": {"granularity": "op"},
        },
        "run_retries": {"enabled": True, "max_retries": settings.run_retries},
        "run_monitoring": {"enabled": True, "start_timeout_seconds": 180, "poll_interval_seconds": 30},
        "retention": {
            "schedule": {"purge_after_days": 90},
            "sensor": {"purge_after_days": {"skipped": 7, "failure": 30, "success": -1}},
        },
    }


def replace_text(path: Path, text: str) -> None:
    """Write a small file so that a reader sees the old or the new content, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
