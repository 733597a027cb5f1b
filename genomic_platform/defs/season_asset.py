"""How every asset of the graph runs: branch, fingerprint, reuse of published content, staging, metadata, failure.

An asset's function takes a `Season` and its inputs and returns a value; a `describe` function turns that value into
what a person sees in the UI. Everything else, the same for all, is here.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from genomic_platform.catalogue import ASSETS
from genomic_platform.defs.failures import as_failure, as_preemption, note_bug
from genomic_platform.defs.lineage import COLUMNS, column_lineage
from genomic_platform.defs.order import require_predecessors
from genomic_platform.defs.partitions import field_season
from genomic_platform.errors import GenomicPlatformError, NotAvailable, Notice, StoreUnavailable
from genomic_platform.executors.devices import DeviceMeter
from genomic_platform.executors.leases import DeviceRequest
from genomic_platform.io_managers.versioned import has_step_processes, run_branch
from genomic_platform.landing.files import Landing
from genomic_platform.landing.state import season_states
from genomic_platform.program import RECIPES, FieldSeason, Program
from genomic_platform.schemas import Column, TableContract
from genomic_platform.schemas.predictions import VALUES
from genomic_platform.settings import read_settings, visible_devices
from genomic_platform.stores.assets import AssetRecord, AssetStore, TableCodec, fingerprint
from genomic_platform.stores.decisions import hand_decisions
from genomic_platform.stores.protocol import MAIN
from genomic_platform.workspace import Workspace

OWNERS = ["team:genomic-prediction"]
FORCE_TAG = "genomic_platform/force"

Describe = Callable[["Season", Any], Mapping[str, Any]]


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
        return self.assets.read(asset, season or self.label, ASSETS[asset])

    def history(self, asset: str, own: pl.DataFrame) -> pl.DataFrame:
        """The asset's rows of all earlier published seasons, then this season's `own`."""
        return pl.concat([*(self.read(asset, s) for s in self.earlier), own])

    def champion(self, recipe: str, trained_through: str, model_version: str) -> Any:
        """A champion's model as it was decided on, which a replay may have written anew since."""
        return self.assets.holding(recipe, trained_through, model_version).read(recipe, trained_through, ASSETS[recipe])

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
        """The asset as it was when the season was first published: what a breeder saw then."""
        return self.assets.at(self.assets.releases()[season][0]).read(asset, season, ASSETS[asset])

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
        return self.workspace.checkpoints(self.fingerprint)

    @property
    def units(self) -> dict[str, str]:
        return self.program.file.units

    def run_of(self, recipe: str) -> str | None:
        """The MLflow run of this season's candidate, as the run's branch has it."""
        return _mlflow_run(self.assets, recipe, self.label)

    def first_run_of(self, recipe: str, season: str) -> str | None:
        """The MLflow run of the candidate as it was when the season was first published."""
        return _mlflow_run(self.assets.at(self.assets.releases()[season][0]), recipe, season)

    def note(self, notices: Sequence[Notice]) -> None:
        """Keep what a person should know: shown on the asset and by `status`."""
        self.notices += notices


def _mlflow_run(view: AssetStore, recipe: str, season: str) -> str | None:
    record = view.record(recipe, season)
    return record.extra["links"].get("mlflow_run_id") if record else None


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


@dataclass(frozen=True)
class _Step:
    """What an asset's result depends on, beside its function."""

    name: str
    compute: Callable[..., Any]
    code_version: str
    inputs: tuple[str, ...]
    settings: tuple[str, ...]
    landing: tuple[str, ...]
    history: tuple[str, ...]
    describe: Describe | None
    timeless: bool
    hand_decisions: bool

    def versions(self, season: Season) -> dict[str, str]:
        """Data versions of everything the step reads: inputs, landing rows, and history at the pinned base."""
        found: dict[str, str] = {}
        for asset, label in [*((a, season.label) for a in self.inputs),
                             *((a, s) for a in self.history for s in season.earlier)]:
            record = season.assets.record(asset, label)
            if record is None:
                raise NotAvailable(f"{asset} of season {label} does not exist on this run's branch; "
                                   "repair: include it in the run")
            found[asset if label == season.label else f"{asset}@{label}"] = record.data_version
        if self.landing:
            digests = season.landing.digests(season.label)
            found |= {f"landing/{kind}": digests[kind] for kind in self.landing}
        if "pedigree" in self.landing:  # what is stale follows from lines known; the step reads the file whole
            found["pedigree file"] = season.landing.pedigree_digest()
        if self.hand_decisions and season.decisions_by_hand.height:
            found["hand_decisions"] = str(season.decisions_by_hand["number"].max())
        return found if self.timeless else found | {"season": season.label}

    def published(self, season: Season) -> AssetRecord | None:
        """An asset with this fingerprint in this season, or of a timeless step in an earlier published one."""
        for label in [season.label, *(reversed(season.earlier) if self.timeless else ())]:
            record = season.assets.record(self.name, label)
            if record is not None and record.fingerprint == season.fingerprint:
                return record
        return None

    def run(self, context: dg.AssetExecutionContext, values: Mapping[str, Any]) -> dg.MaterializeResult[AssetRecord]:
        season = open_season(context)
        versions = season.inputs = self.versions(season)
        season.fingerprint = fingerprint(code_version=self.code_version, inputs=versions, seed=season.program.file.seed,
                                         settings=season.program.settings_digest(*self.settings))
        codec = ASSETS[self.name]
        published = None if FORCE_TAG in context.run.tags else self.published(season)
        if published:
            value = season.read(self.name, published.season)
            season.notices = [Notice(**{**n, "examples": tuple(n["examples"])}) for n in published.extra["notices"]]
            season.links = dict(published.extra["links"])
            if published.season != season.label:
                season.assets.link(self.name, season.label, published.season, codec, season.assets.ref)
            data_version = published.data_version
        else:
            settings = season.workspace.settings
            cards = visible_devices() if season.device != "cpu" else ()
            with DeviceMeter(settings.nvidia_smi, cards) as season.meter:
                value = self.compute(season, **values)
            season.shown |= season.meter.facts()
            self.require_landing(season, versions)
            data_version = season.assets.write(self.name, season.label, value, codec)
        record = AssetRecord(
            asset=self.name, season=season.label, data_version=data_version, fingerprint=season.fingerprint,
            code_version=self.code_version, inputs=versions,
            run_id=published.run_id if published else season.run_id,
            extra={"notices": [vars(n) | {"examples": list(n.examples)} for n in season.notices],
                   "links": season.links})
        self.observe_landing(context, versions)
        return dg.MaterializeResult(value=record, data_version=dg.DataVersion(data_version),
                                    metadata=self.metadata(season, value, published))

    def require_landing(self, season: Season, versions: Mapping[str, str]) -> None:
        """The landing rows are still those whose digests the record will carry."""
        now = Landing(season.program).digests(season.label) if self.landing else {}
        if changed := [kind for kind in self.landing if now[kind] != versions[f"landing/{kind}"]]:
            raise StoreUnavailable(f"landing files ({', '.join(changed)}) changed while {self.name} read them; "
                                   "the run can be tried again")

    def observe_landing(self, context: dg.AssetExecutionContext, versions: Mapping[str, str]) -> None:
        for kind in self.landing:
            context.log_event(dg.AssetObservation(
                f"landing_{kind}", partition=context.partition_key,
                tags={"dagster/data_version": versions[f"landing/{kind}"]}))

    def metadata(self, season: Season, value: Any, published: AssetRecord | None) -> dict[str, Any]:
        shown: dict[str, Any] = dict(self.describe(season, value)) if self.describe else {}
        if isinstance(value, pl.DataFrame):
            shown["dagster/row_count"] = value.height
        if published:
            shown["unchanged_since"] = f"season {published.season}, run {published.run_id}"
        if season.notices:
            shown["notices"] = dg.MetadataValue.md("\n".join(f"- {n}" for n in season.notices))
        return shown | column_lineage(self.name) | season.shown | season.links | {
            "store_path": f"{season.program.name}/{season.label}/{self.name}", "fingerprint": season.fingerprint}


def season_asset(
    *, group: str, code_version: str, kinds: set[str] | None = None, settings: tuple[str, ...] = (),
    landing: tuple[str, ...] = (), history: tuple[str, ...] = (), describe: Describe | None = None,
    timeless: bool = False, shown_with: tuple[str, ...] = (), hand_decisions: bool = False,
    gpu: DeviceRequest | None = None,
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Make an asset of the graph from `compute(season, **inputs) -> value`.

    Parameters
    ----------
    settings : sections of program.toml the result depends on.
    landing : kinds of landing files the function reads.
    history : assets whose earlier published seasons the function reads (no Dagster edge, but part of the fingerprint).
    describe : `(season, value) -> metadata` for a person.
    shown_with : assets that only `describe` reads: no part of the fingerprint, but materialised before.
    timeless : the result depends on the inputs alone, not on which season asks; an earlier season's equal content is
        linked. Anything else, such as the lines known at a season, has the season in its fingerprint.
    hand_decisions : the result depends on rollbacks and approvals taken since the preceding season.
    gpu : graphics cards that the step asks the CUDA executor for; another executor runs it on the CPU.
    """

    def decorate(compute: Callable[..., Any]) -> dg.AssetsDefinition:
        name = compute.__name__
        inputs = tuple(inspect.signature(compute).parameters)[1:]
        step = _Step(name, compute, code_version, inputs, settings, landing, history, describe, timeless,
                     hand_decisions)
        codec = ASSETS[name]
        shown_as = codec.contract if isinstance(codec, TableCodec) else VALUES if name in RECIPES else None

        def execute(context: dg.AssetExecutionContext, **values: Any):
            try:
                return step.run(context, values)
            except GenomicPlatformError as error:
                raise as_failure(error, context.instance, context.run) from error
            except dg.DagsterExecutionInterruptedError as error:
                if has_step_processes(context.run):
                    raise as_preemption(error, read_settings().preemption_retries) from error
                raise  # the run itself is told to end; run retries start it again
            except Exception as error:
                note_bug(error, context.instance, context.run)
                raise

        return dg.asset(
            name=name, description=inspect.getdoc(compute), group_name=group, code_version=code_version,
            kinds={"polars" if isinstance(codec, TableCodec) else "python", *(kinds or set())}, owners=OWNERS,
            partitions_def=field_season, io_manager_key="versioned", required_resource_keys={"workspace"},
            op_tags=gpu.tags() if gpu else None,
            ins={n: dg.AssetIn() for n in inputs}, deps=[*(f"landing_{kind}" for kind in landing), *shown_with],
            metadata=_column_schema(name, shown_as) if shown_as else None,
        )(execute)

    return decorate


def _column_schema(asset: str, contract: TableContract) -> dict[str, Any]:
    origins = COLUMNS.get(asset, {})
    columns = [dg.TableColumn(c.name, str(c.dtype), description=_description(c, origins.get(c.name, ())),
                              constraints=dg.TableColumnConstraints(nullable=c.nullable)) for c in contract.columns]
    return {"dagster/column_schema": dg.TableSchema(columns=columns), "schema_version": contract.schema_version}


def _description(column: Column, origins: Sequence[str]) -> str:
    """Meaning, unit, and the columns it comes from: the open-source UI draws no column lineage."""
    return "".join([column.meaning, f" [{column.unit}]" if column.unit else "",
                    f" ← {', '.join(origins)}" if origins else ""])
