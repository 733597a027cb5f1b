"""Tables and model folders of one programme in the versioned store: where they lie and how they are read and written.

A table is `<program>/<season>/<asset>.parquet`, a folder `<program>/<season>/<asset>/…`. Beside them, under
`<program>/<season>/_records/`, every asset has a record of what made it: its fingerprint, the versions of its inputs,
code version and run. The record is written last, so an asset without one does not exist.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from genomic_platform.errors import NotAvailable, ObjectNotFound
from genomic_platform.program import FieldSeason
from genomic_platform.schemas.contract import TableContract
from genomic_platform.stores.protocol import MAIN, VersionedStore

RELEASE = "season_release"


class Saved(Protocol):
    """A value that keeps itself in a folder."""

    def save(self, folder: Path) -> None: ...


@dataclass(frozen=True)
class AssetRecord:
    """What made an asset. `data_version`: digest of its content. `extra`: links and notices for a reader."""

    asset: str
    season: str
    data_version: str
    fingerprint: str
    code_version: str
    run_id: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TableCodec:
    """How a table is stored: one Parquet file held to its contract."""

    contract: TableContract

    def paths(self, prefix: str) -> str:
        return f"{prefix}.parquet"


@dataclass(frozen=True)
class FolderCodec:
    """How a value that saves itself to a folder is stored; `load` opens such a folder.

    `circumstances`: files that say how it was made, such as the cores used; not part of its data version.
    """

    load: Callable[[Path], Any]
    circumstances: tuple[str, ...] = ()

    def paths(self, prefix: str) -> str:
        return f"{prefix}/"


Codec = TableCodec | FolderCodec


class AssetStore:
    """One programme's assets as seen from one ref of the versioned store."""

    def __init__(self, store: VersionedStore, program: str, ref: str = MAIN) -> None:
        self.store, self.program, self.ref = store, program, ref

    def at(self, ref: str) -> AssetStore:
        return AssetStore(self.store, self.program, ref)

    def _prefix(self, asset: str, season: str) -> str:
        return f"{FieldSeason(self.program, season).path}/{asset}"

    def _record_path(self, asset: str, season: str) -> str:
        return f"{FieldSeason(self.program, season).path}/_records/{asset}.json"

    def record(self, asset: str, season: str) -> AssetRecord | None:
        """What made the asset, or None when the season has none."""
        try:
            path = self.store.open(self.ref, self._record_path(asset, season))
        except ObjectNotFound:
            return None
        return AssetRecord(**json.loads(path.read_text(encoding="utf-8")))

    def records(self, season: str) -> dict[str, AssetRecord]:
        """All asset records of a season by asset name."""
        folder = f"{FieldSeason(self.program, season).path}/_records/"
        found = (self.record(Path(o.path).stem, season) for o in self.store.list(self.ref, folder)
                 if o.path.endswith(".json"))
        return {r.asset: r for r in found if r is not None}

    def published(self) -> list[str]:
        """Seasons with a release at this ref, in string order (which is calendar order)."""
        end = f"/_records/{RELEASE}.json"
        paths = (o.path for o in self.store.list(self.ref, f"{self.program}/"))
        return sorted(path.split("/")[1] for path in paths if path.endswith(end))

    def releases(self) -> dict[str, list[str]]:
        """Commit ids that published each season at this ref, oldest first: a replayed season has several."""
        found: dict[str, list[str]] = {}
        for commit in reversed(self.store.log(self.ref)):
            if commit.metadata.get("program") == self.program and "season" in commit.metadata:
                found.setdefault(commit.metadata["season"], []).append(commit.id)
        return found

    def read(self, asset: str, season: str, codec: Codec) -> Any:
        """The asset's value. Raises NotAvailable when the season has none at this ref."""
        if self.record(asset, season) is None:
            raise NotAvailable(f"{asset} of {self.program} season {season} does not exist at {self.ref}")
        prefix = self._prefix(asset, season)
        if isinstance(codec, TableCodec):
            return codec.contract.read(self.store.open(self.ref, codec.paths(prefix)))
        with tempfile.TemporaryDirectory() as folder:
            for item in self.store.list(self.ref, f"{prefix}/"):
                link = Path(folder) / item.path.removeprefix(f"{prefix}/")
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(self.store.open(self.ref, item.path))
            return codec.load(Path(folder))

    def holding(self, asset: str, season: str, data_version: str) -> AssetStore:
        """The assets as seen from here, or from the newest release of the season in which the asset has this content.

        A replayed season's earlier content stays readable so. Raises NotAvailable when no release has it.
        """
        for view in (self, *(self.at(commit) for commit in reversed(self.releases().get(season, [])))):
            record = view.record(asset, season)
            if record is not None and record.data_version == data_version:
                return view
        raise NotAvailable(f"{asset} of {self.program} season {season} with content {data_version[:12]} is in no "
                           f"release that {self.ref} knows")

    def write(self, asset: str, season: str, value: pl.DataFrame | Saved, codec: Codec) -> str:
        """Stage the value on this branch; returns its data version. `seal` makes it exist."""
        prefix = self._prefix(asset, season)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if isinstance(codec, TableCodec):
                assert isinstance(value, pl.DataFrame)
                codec.contract.write(value, folder / "table.parquet")
                return self.store.write(self.ref, codec.paths(prefix), folder / "table.parquet").sha256
            value.save(folder)  # type: ignore[union-attr]
            inside = {f"{prefix}/{p.relative_to(folder).as_posix()}": p for p in folder.rglob("*") if p.is_file()}
            self._keep_only(f"{prefix}/", inside)
            written = {path: self.store.write(self.ref, path, file).sha256 for path, file in inside.items()}
            return _digest({path.removeprefix(prefix): sha for path, sha in written.items()
                            if Path(path).name not in codec.circumstances})

    def link(self, asset: str, season: str, source_season: str, codec: Codec, source_ref: str) -> None:
        """Stage another season's content of the asset here without reading it."""
        source, target = self._prefix(asset, source_season), self._prefix(asset, season)
        start = codec.paths(source)
        wanted = {codec.paths(target) + item.path.removeprefix(start): item.path
                  for item in self.store.list(source_ref, start)}
        self._keep_only(codec.paths(target), wanted)
        for path, origin in wanted.items():
            self.store.link(self.ref, path, source_ref, origin)

    def seal_settings(self, season: str, program_toml: bytes) -> None:
        """Stage `program.toml` as the season used it, beside the season's records."""
        self.store.write(self.ref, self._settings_path(season), program_toml)

    def settings(self, season: str) -> bytes:
        """`program.toml` as the season used it. Raises ObjectNotFound."""
        return self.store.open(self.ref, self._settings_path(season)).read_bytes()

    def _settings_path(self, season: str) -> str:
        return f"{FieldSeason(self.program, season).path}/_records/program.toml"

    def _keep_only(self, prefix: str, paths: Collection[str]) -> None:
        for stale in self.store.list(self.ref, prefix):
            if stale.path not in paths:
                self.store.remove(self.ref, stale.path)

    def keep_only(self, season: str, assets: Collection[str], codec: Codec) -> None:
        """Stage the removal of every asset of the season but these and its release; `codec` : of those removed."""
        for name in self.records(season).keys() - {*assets, RELEASE}:
            self._keep_only(codec.paths(self._prefix(name, season)), ())
            self.store.remove(self.ref, self._record_path(name, season))

    def seal(self, record: AssetRecord) -> None:
        """Write the asset's record: from now on it exists on this branch."""
        text = json.dumps(asdict(record), sort_keys=True, indent=1, ensure_ascii=False)
        self.store.write(self.ref, self._record_path(record.asset, record.season), text.encode())


def folder_digest(folder: Path, circumstances: Collection[str] = ()) -> str:
    """The data version that `AssetStore.write` gives a value saved in the folder."""
    return _digest({f"/{path.relative_to(folder).as_posix()}": hashlib.sha256(path.read_bytes()).hexdigest()
                    for path in folder.rglob("*") if path.is_file() and path.name not in circumstances})


def _digest(files: Mapping[str, str]) -> str:
    lines = "".join(f"{path} {sha}\n" for path, sha in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def fingerprint(*, code_version: str, inputs: Mapping[str, str], settings: str, seed: int) -> str:
    """sha256 of everything a step's result depends on; equal fingerprints need no second computation."""
    content = {"code_version": code_version, "inputs": dict(inputs), "settings": settings, "seed": seed}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
