"""A small breeding programme in a workspace of its own, and running seasons of it in this process."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from genomic_platform.catalogue import ASSETS
from genomic_platform.definitions import build_definitions
from genomic_platform.defs.partitions import field_season
from genomic_platform.io_managers.versioned import resources_of
from genomic_platform.landing.initialise import initialise
from genomic_platform.program import Program, read_program
from genomic_platform.stores.assets import AssetStore
from genomic_platform.stores.protocol import MAIN
from genomic_platform.workspace import Workspace
from genomic_platform_tests.support.breeding import Programme, simulate, write_landing

SEASONS = ("2019", "2020", "2021")
SMALL = Programme(n_lines=90, n_families=6, n_markers=120, n_traits=1, replicates=1, block_size=40, advanced=12)


def loose_files(folder: Path, programme: Programme = SMALL) -> dict[str, list[Path]]:
    """The generated landing files with one trial file a season."""
    landing = write_landing(simulate(programme, seed=3), folder)
    trials = pl.read_csv(landing.trials, infer_schema_length=None, schema_overrides={"season": pl.String})
    files = [folder / f"trials_{season}.csv" for season in SEASONS]
    for season, file in zip(SEASONS, files, strict=True):
        trials.filter(pl.col("season") == season).write_csv(file)
    return {"genotypes": [landing.genotypes], "trials": files, "environments": [landing.environments],
            "lines": [landing.lines]}


class Small:
    """The programme in `folder/<name>`, its workspace, and its Dagster instance."""

    def __init__(self, folder: Path, name: str = "small") -> None:
        self.folder = folder / name
        self.workspace = Workspace.beside(self.folder)
        self.name = name

    @classmethod
    def made(cls, folder: Path, loose: Mapping[str, Sequence[Path]], name: str = "small",
             seasons: Sequence[str] = SEASONS) -> Small:
        """A new programme, registered, with the trial files of these seasons."""
        kept = {kind: [f for f in files if kind != "trials" or f.stem[-4:] in seasons] for kind, files in loose.items()}
        small = cls(folder, name)
        small.workspace.register(initialise(small.folder, kept, name=name).program)
        return small

    @property
    def program(self) -> Program:
        return read_program(self.folder)

    @property
    def main(self) -> AssetStore:
        return AssetStore(self.workspace.store, self.name)

    def trials(self, season: str) -> Path:
        return self.folder / "landing" / "trials" / f"trials_{season}.csv"

    def key(self, season: str) -> str:
        return f"{self.name}:{season}"

    def change_trials(self, season: str, *, value: float = 77.0) -> None:
        """Set the first record of the season to another value."""
        table = pl.read_csv(self.trials(season), infer_schema_length=0)
        trait = next(c for c in table.columns if c == "grain_yield_t_ha")
        first = pl.int_range(pl.len()) == 0
        table.with_columns(pl.when(first).then(pl.lit(str(value))).otherwise(trait).alias(trait)).write_csv(
            self.trials(season))

    def edit_program(self, pattern: str, replacement: str) -> None:
        path = self.folder / "program.toml"
        text, changed = re.subn(pattern, replacement, path.read_text(encoding="utf-8"))
        assert changed, f"{pattern} is not in {path}"
        path.write_text(text, encoding="utf-8")

    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self.workspace.dagster_home))

    def run(self, instance: dg.DagsterInstance, season: str, *, assets: Sequence[str] | None = None,
            tags: Mapping[str, str] | None = None) -> dg.ExecuteInProcessResult:
        """One run of the season's job, or of some of its assets, as the UI's run worker would do it."""
        instance.add_dynamic_partitions(field_season.name or "", [self.key(season)])
        job = build_definitions(resources_of(str(self.workspace.root))).resolve_job_def("train_season")
        return job.execute_in_process(
            instance=instance, partition_key=self.key(season), raise_on_error=False,
            tags={"program": self.name, **(tags or {})},
            asset_selection=[dg.AssetKey(a) for a in assets] if assets else None)


def downstream_of(asset: str) -> list[str]:
    """The asset and everything after it, as the asset graph's `kernel+` selects."""
    graph = build_definitions().resolve_asset_graph()
    return sorted(key.path[-1] for key in dg.AssetSelection.assets(asset).downstream().resolve(graph))


def with_challengers(small: Small, *challengers: str, more: str = "") -> Small:
    """The programme with these recipes as challengers; `more`: further lines of program.toml."""
    path = small.folder / "program.toml"
    path.write_text(path.read_text() + f"\n[retraining]\nchallengers = [{', '.join(map(repr, challengers))}]\n{more}")
    return small


def plant_drift(small: Small) -> None:
    """Release the last season once more, its drift report saying that new lines come from another base."""
    store, branch = small.workspace.store, "planted"
    store.branch(branch)
    assets = small.main.at(branch)
    season = assets.published()[-1]
    table = assets.read("drift_report", season, ASSETS["drift_report"]).with_columns(
        pl.lit("new_family").alias("decision"), pl.lit(0.005).alias("p_value"), pl.lit(0.08).alias("fst"),
        pl.lit("new lines from another base").alias("message"))
    record = assets.record("drift_report", season)
    assert record is not None
    assets.seal(replace(record, data_version=assets.write("drift_report", season, table, ASSETS["drift_report"])))
    metadata = {"program": small.name, "season": season}
    store.commit(branch, "a season with drift", metadata)
    store.merge(branch, MAIN, "a season with drift", metadata)


def metadata_of(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    """The metadata an asset was materialised with."""
    event = next(e for e in result.get_asset_materialization_events()
                 if e.asset_key is not None and e.asset_key.path[-1] == asset)
    return {k: v.value for k, v in event.materialization.metadata.items()}


def failures_of(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """Failed steps and what they say."""
    found = {}
    for event in result.all_events:
        if event.is_step_failure and event.step_key:
            data = event.step_failure_data
            error = data.error
            found[event.step_key] = (data.user_failure_data.description if data.user_failure_data else None) or (
                error.to_string() if error else "")
    return found
