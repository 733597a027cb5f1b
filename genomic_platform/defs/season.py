"""A season as a step of the graph sees it: the run's branch to read and write, and history at its pinned base."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from genomic_platform.catalogue import codec_of
from genomic_platform.defs.budget import require_budget
from genomic_platform.defs.order import require_predecessors
from genomic_platform.errors import NotAvailable, Notice
from genomic_platform.executors.devices import DeviceMeter
from genomic_platform.io_managers.versioned import run_branch
from genomic_platform.known import known_at
from genomic_platform.landing.files import Landing
from genomic_platform.landing.state import season_states
from genomic_platform.models.candidate import FittedCandidate
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.program import FieldSeason, Program
from genomic_platform.retraining.challengers import CAUSE_TAG, calls, challengers_joining
from genomic_platform.stores.assets import RELEASE, AssetStore
from genomic_platform.stores.decisions import hand_decisions
from genomic_platform.stores.protocol import MAIN
from genomic_platform.workspace import Workspace


@dataclass
class Season:
    """One season of one programme as a step sees it: the run's branch, and history at its pinned base."""

    workspace: Workspace
    program: Program
    label: str
    assets: AssetStore
    run_id: str
    notices: list[Notice] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    shown: dict[str, Any] = field(default_factory=dict)
    cause: str = ""
    fingerprint: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    meter: DeviceMeter | None = None

    @cached_property
    def landing(self) -> Landing:
        return Landing(self.program)

    @cached_property
    def earlier(self) -> list[str]:
        """Published seasons before this one, in calendar order, at the pinned base."""
        return [s for s in self.assets.published() if s < self.label]

    @property
    def previous(self) -> str | None:
        return self.earlier[-1] if self.earlier else None

    def read(self, asset: str, season: str | None = None) -> Any:
        return self.assets.read(asset, season or self.label, codec_of(asset))

    def history(self, asset: str, own: pl.DataFrame) -> pl.DataFrame:
        """The asset's rows of all earlier published seasons that have it, then this season's `own`."""
        return pl.concat([*(self.read(asset, s) for s in self.earlier if self.was_published_with(asset, s)), own])

    def was_published_with(self, asset: str, season: str) -> bool:
        """Whether the season's release at the pinned base has the asset; one made by older code may not."""
        release = self.assets.record(RELEASE, season)
        return release is not None and asset in release.inputs

    def champion(self, recipe: str, trained_through: str, model_version: str) -> Any:
        """A champion's model as it was decided on, which a replay may have written anew since."""
        return self.assets.holding(recipe, trained_through, model_version).read(
            recipe, trained_through, codec_of(recipe))

    @property
    def decisions_by_hand(self) -> pl.DataFrame:
        """Those taken before this season, as the run's branch knows them."""
        return hand_decisions(self.assets, before=self.label)

    def data_version(self, asset: str) -> str:
        record = self.assets.record(asset, self.label)
        if record is None:
            raise NotAvailable(f"{asset} of season {self.label} does not exist on this run's branch")
        return record.data_version

    def first_published(self, asset: str, season: str) -> Any:
        """The asset as it was in the season's first release that has it: what a breeder saw then.

        Raises
        ------
        NotAvailable : no release of the season has it.
        """
        return self._first_view(asset, season).read(asset, season, codec_of(asset))

    def _first_view(self, asset: str, season: str) -> AssetStore:
        """The season's first release that has the asset. Raises NotAvailable."""
        for commit in self.assets.releases()[season]:
            if (view := self.assets.at(commit)).record(asset, season):
                return view
        raise NotAvailable(f"{asset} of {self.program.name} season {season} is in none of its releases")

    @property
    def candidates(self) -> tuple[str, ...]:
        """Recipes that are fitted, compared and may become champion: those of program.toml, challengers that joined."""
        return self.program.file.candidates

    def known(self, *recipes: str) -> TrainingSet:
        """What models of these recipes may learn from at the season."""
        return self.known_at(self.label, *recipes)

    def known_at(self, season: str, *recipes: str) -> TrainingSet:
        """What they may have learnt from at an earlier season, as its release has it now."""
        return known_at(self.assets, season, recipes)

    def candidates_before(self) -> dict[str, FittedCandidate]:
        """Recipe → the candidate of the preceding season as first published, before this season's harvest.

        One that came to program.toml since, and that no release of the preceding season has, is left out.
        """
        found: dict[str, FittedCandidate] = {}
        before = self.previous
        if before is None:
            return found
        for recipe in self.candidates:
            with suppress(NotAvailable):
                found[recipe] = self.first_published(recipe, before)
        return found

    def first_met(self, training_set: pl.DataFrame) -> list[str]:
        """Traits that no decision has been taken on before this season."""
        decided = set(self.read("registered_model", self.previous)["trait"]) if self.previous else set()
        return sorted(set(training_set["trait"]) - decided)

    @property
    def device(self) -> str:
        """What the step computes on: `cpu` or `cuda`."""
        return self.workspace.settings.device

    @property
    def checkpoint(self) -> Path:
        """Folder of a long training's checkpoints: the step's, whichever run it is part of; gone once it is sealed."""
        return self.workspace.checkpoints(self.program.season(self.label), self.fingerprint)

    @property
    def units(self) -> dict[str, str]:
        return self.program.file.units

    def run_of(self, recipe: str) -> str | None:
        """The MLflow run of this season's candidate, as the run's branch has it."""
        return _mlflow_run(self.assets, recipe, self.label)

    def first_run_of(self, recipe: str, season: str) -> str | None:
        """The MLflow run of the candidate as it was first published. Raises NotAvailable."""
        return _mlflow_run(self._first_view(recipe, season), recipe, season)

    def note(self, notices: Sequence[Notice]) -> None:
        """Keep what a person should know: shown on the asset and by `status`."""
        self.notices += notices


def _mlflow_run(view: AssetStore, recipe: str, season: str) -> str | None:
    record = view.record(recipe, season)
    return record.extra["links"].get("mlflow_run_id") if record else None


def open_season(context: dg.AssetExecutionContext) -> Season:
    """The season a step works on; the first step of a run makes the branch, if its turn has come and budget is left."""
    key = FieldSeason.from_key(context.partition_key)
    workspace: Workspace = context.resources.workspace.open()
    program = workspace.program(key.program)
    branch = run_branch(context.run)
    if branch not in workspace.store.branches():
        states = season_states(Landing(program), AssetStore(workspace.store, key.program, MAIN))
        require_predecessors(context.instance, context.run, key, [s.season for s in states],
                             [s.season for s in states if s.state == "published"])
        require_budget(context.run, program, workspace)
        workspace.store.branch(branch)
    assets, cause = AssetStore(workspace.store, key.program, branch), context.run.tags.get(CAUSE_TAG, "")
    joined = challengers_joining(assets, program.file.retraining.challengers, key.season, called=calls(cause))
    return Season(workspace, program.joined_by(joined), key.season, assets, context.run.run_id, cause=cause)
