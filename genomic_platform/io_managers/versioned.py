"""Steps hand tables and folders on through the run's branch of the versioned store.

`season_asset` stages a value and its digest; here the asset's record is sealed, last, and inputs are read back: from
the run's branch, whose unchanged part is the base commit pinned when the branch was made.
"""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg

from genomic_platform.catalogue import codec_of
from genomic_platform.defs.failures import as_failure
from genomic_platform.errors import GenomicPlatformError, NotAvailable
from genomic_platform.executors.season_queue import branch_owner
from genomic_platform.program import FieldSeason
from genomic_platform.stores.assets import AssetRecord, AssetStore
from genomic_platform.stores.protocol import MAIN
from genomic_platform.workspace import Workspace

#: On runs of the command line: the process, which holds the programme for all of its seasons.
PID_TAG = "genomic_platform/pid"
#: Seconds a run waits for a command line that is between two seasons, where the queue sees no run to wait for.
TURN_SECONDS = 1800.0
#: On runs whose steps are processes of their own: the run's id. Its worker then holds the programme for all of them.
WORKER_TAG = "genomic_platform/steps_of"


def run_branch(run: dg.DagsterRun) -> str:
    """The branch a run works on; a retry of the run, or one told to, continues it."""
    return f"run-{branch_owner(run)}"


@lru_cache(maxsize=8)
def _workspace(root: str) -> Workspace:
    return Workspace(Path(root))


def has_step_processes(run: dg.DagsterRun) -> bool:
    """Whether the run's steps are processes of their own; a run started again inherits the tag, but not the id."""
    return run.tags.get(WORKER_TAG) == run.run_id


class WorkspaceResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Opens the workspace at `root`; one object per process. A run holds its programme from first step to last."""

    root: str

    def open(self) -> Workspace:
        return _workspace(self.root)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Generator["WorkspaceResource", None, None]:
        key = context.run.tags.get("dagster/partition") if context.run else None
        # A run started again from the UI inherits its tags, so the tag alone does not make it the command line's.
        if (context.run is None or key is None or has_step_processes(context.run)
                or context.run.tags.get(PID_TAG) == str(os.getpid())):
            yield self
            return
        with self.open().turn(FieldSeason.from_key(key).program, TURN_SECONDS):
            yield self


class VersionedIOManager(dg.ConfigurableIOManager):  # type: ignore[type-arg]
    """Seals what a step staged, and reads a step's inputs from the same branch."""

    root: str

    def _assets(self, context: dg.InputContext | dg.OutputContext, season: FieldSeason) -> AssetStore:
        store = _workspace(self.root).store
        branch = run_branch(context.step_context.dagster_run)
        return AssetStore(store, season.program, branch if branch in store.branches() else MAIN)

    def handle_output(self, context: dg.OutputContext, obj: AssetRecord | None) -> None:
        if obj is None:
            return  # a step that made nothing, or sealed what it made
        season = FieldSeason.from_key(context.partition_key)
        self._assets(context, season).seal(obj)
        shutil.rmtree(_workspace(self.root).checkpoints(season, obj.fingerprint), ignore_errors=True)  # safe now

    def load_input(self, context: dg.InputContext) -> Any:
        season = FieldSeason.from_key(context.partition_key)
        asset = context.asset_key.path[-1]
        assets = self._assets(context, season)
        try:
            if assets.record(asset, season.season) is None:
                raise NotAvailable(f"{asset} of season {season.season} is neither published nor made "
                                   "by this run; repair: materialise the whole season (job train_season)")
            return assets.read(asset, season.season, codec_of(asset))
        except GenomicPlatformError as error:
            step = context.step_context
            raise as_failure(error, step.instance, step.dagster_run) from error


def resources_of(root: str) -> dict[str, dg.ConfigurableResource[Any] | dg.ConfigurableIOManager]:
    """The graph's resources over the workspace at `root`."""
    return {"workspace": WorkspaceResource(root=root), "versioned": VersionedIOManager(root=root)}
