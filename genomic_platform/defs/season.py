"""A season as a step of the graph sees it: the run's branch to read and write, and history at its pinned base."""

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from genomic_platform.catalogue import codec_of
from genomic_platform.defs.order import require_predecessors
from genomic_platform.errors import NotAvailable, Notice
from genomic_platform.io_managers.versioned import run_branch
from genomic_platform.known import known_at
from genomic_platform.landing.files import Landing
from genomic_platform.landing.state import season_states
from genomic_platform.models.candidate import without_values
from genomic_platform.models.protocol import FittedModel, TrainingSet
from genomic_platform.program import FieldSeason, Program
from genomic_platform.stores.assets import AssetStore
from genomic_platform.stores.decisions import hand_decisions
from genomic_platform.stores.protocol import MAIN
from genomic_platform.version import code_version
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
    fingerprint: str = ""

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
        """The asset's rows of all earlier published seasons, then this season's `own`."""
        return pl.concat([*(self.read(asset, s) for s in self.earlier), own])

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
        for commit in self.assets.releases()[season]:
            if (view := self.assets.at(commit)).record(asset, season):
                return view.read(asset, season, codec_of(asset))
        raise NotAvailable(f"{asset} of {self.program.name} season {season} is in none of its releases")

    @property
    def candidates(self) -> tuple[str, ...]:
        """Recipes of program.toml that are fitted, compared and may become champion."""
        return self.program.file.candidates

    def known(self, *recipes: str) -> TrainingSet:
        """What models of these recipes may learn from at the season."""
        return known_at(self.assets, self.label, recipes)

    def values_before(self) -> dict[str, pl.DataFrame]:
        """Candidate → the values it gave before this season's harvest (contract VALUES), as first published.

        A candidate that came to program.toml since, and that no release of the preceding season has, is left out.
        """
        found: dict[str, pl.DataFrame] = {}
        before = self.previous
        if before is None:
            return found
        for recipe in self.candidates:
            with suppress(NotAvailable):
                found[recipe] = self.first_published(recipe, before).values
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

    def log_candidate(self, recipe: str, model: FittedModel) -> None:
        """One MLflow run a candidate and season, found by the step's fingerprint; notes traits without values."""
        self.note(without_values(recipe, model))
        facts = {f"{trait}.{name}": value for trait, row in model.summary().items() for name, value in row.items()}
        metrics = {k: float(v) for k, v in facts.items() if isinstance(v, int | float)}
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder))
            self.links["mlflow_run_id"] = self.workspace.registry.log_candidate(
                program=self.program.name, season=self.label, recipe=recipe, fingerprint=self.fingerprint,
                params={k: str(v) for k, v in facts.items() if k not in metrics} | {"seed": self.program.file.seed},
                metrics=metrics, tags={"code_version": code_version(), "dagster_run_id": self.run_id},
                folder=Path(folder))

    def note(self, notices: Sequence[Notice]) -> None:
        """Keep what a person should know: shown on the asset and by `status`."""
        self.notices += notices


def open_season(context: dg.AssetExecutionContext) -> Season:
    """The season a step works on; the first step of a run makes the branch, if the season's turn has come."""
    key = FieldSeason.from_key(context.partition_key)
    workspace: Workspace = context.resources.workspace.open()
    program = workspace.program(key.program)
    branch = run_branch(context.run)
    if branch not in workspace.store.branches():
        states = season_states(Landing(program), AssetStore(workspace.store, key.program, MAIN))
        require_predecessors(context.instance, context.run, key, [s.season for s in states],
                             [s.season for s in states if s.state == "published"])
        workspace.store.branch(branch)
    return Season(workspace, program, key.season, AssetStore(workspace.store, key.program, branch), context.run.run_id)
