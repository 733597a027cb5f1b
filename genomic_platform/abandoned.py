"""What unpublished runs left: finding the run of a branch, and removing branches and checkpoints nobody needs."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genomic_platform.errors import NotAvailable
from genomic_platform.program import FieldSeason
from genomic_platform.stores.deciding import deciding_alone, decision_branches
from genomic_platform.workspace import Workspace

if TYPE_CHECKING:
    import dagster as dg

_RUN = "run-"
_DAY_S = 86_400.0


@dataclass(frozen=True)
class Abandoned:
    """What no run will finish: a branch's name, the season it worked on ("" if unknown), days since its run ended.

    `checkpoints` : instead of a branch the folder of a training's checkpoints, and the days since it kept the last.
    """

    branch: str
    season: str
    days: float
    checkpoints: Path | None = None

    @property
    def name(self) -> str:
        return f"checkpoints of training {self.checkpoints.name[:12]}" if self.checkpoints else self.branch


def unpublished_run(workspace: Workspace, program: str, run: str) -> tuple[str, str]:
    """(run id, season) of an unpublished run of the programme, from its id or the beginning of it.

    Raises
    ------
    NotAvailable : no such unpublished run, or several.
    """
    with _instance(workspace) as instance:
        known = {branch.removeprefix(_RUN): season for branch in workspace.store.branches() if branch.startswith(_RUN)
                 if (season := _season(instance.get_run_by_id(branch.removeprefix(_RUN)), program))}
    found = sorted(run_id for run_id in known if run_id.startswith(run))
    if len(found) != 1:
        listed = ", ".join(f"{run_id[:8]} (season {season})" for run_id, season in sorted(known.items())) or "none"
        raise NotAvailable(f"{len(found)} unpublished runs of {program} begin with {run!r}; expected one of: {listed}")
    return found[0], known[found[0]]


def abandoned(workspace: Workspace, program: str, older_than_days: float) -> list[Abandoned]:
    """Branches and checkpoints of the programme's runs that ended so many days ago and will not be retried."""
    from genomic_platform.defs.order import on_its_way

    found = []
    with _instance(workspace) as instance:
        for branch in workspace.store.branches():
            run = instance.get_run_by_id(branch.removeprefix(_RUN)) if branch.startswith(_RUN) else None
            season = _season(run, program)
            if run is None or not season or not run.is_finished:
                continue
            record = instance.get_run_record_by_id(run.run_id)
            days = (time.time() - record.end_time) / _DAY_S if record and record.end_time else 0.0
            if days >= older_than_days and not on_its_way(instance, FieldSeason(program, season)):
                found.append(Abandoned(branch, season, days))
        return found + [left for left in _checkpoints(workspace, program, older_than_days)
                        if not on_its_way(instance, FieldSeason(program, left.season))]


def _checkpoints(workspace: Workspace, program: str, older_than_days: float) -> Iterator[Abandoned]:
    """Trainings whose checkpoints nobody has written to for so many days."""
    for folder in sorted((workspace.root / "checkpoints" / program).glob("*/*")):
        days = (time.time() - max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))) / _DAY_S
        if days >= older_than_days:
            yield Abandoned("", folder.parent.name, days, folder)


def sweep(workspace: Workspace, program: str, older_than_days: float) -> list[Abandoned]:
    """Remove what is `abandoned`, and what decisions killed half-way left; returns what was removed."""
    removed = abandoned(workspace, program, older_than_days)
    with deciding_alone(workspace, program):
        left = [b for b in workspace.store.branches() if b.startswith(decision_branches(program))]
        removed += [Abandoned(branch, "", 0.0) for branch in left]
    for item in removed:
        if item.checkpoints:
            shutil.rmtree(item.checkpoints)
        else:
            workspace.store.delete_branch(item.branch)
    return removed


@contextmanager
def _instance(workspace: Workspace) -> Iterator[dg.DagsterInstance]:
    import dagster as dg

    with dg.DagsterInstance.from_config(str(workspace.dagster_home)) as instance:
        yield instance


def _season(run: dg.DagsterRun | None, program: str) -> str:
    name, _, season = (run.tags.get("dagster/partition", "") if run else "").partition(":")
    return season if name == program else ""
