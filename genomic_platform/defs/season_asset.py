"""How every asset of the graph runs: branch, fingerprint, reuse of published content, staging, metadata, failure.

An asset's function takes a `Season` and its inputs and returns a value; a `describe` function turns that value into
what a person sees in the UI. Everything else, the same for all, is here.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl

from genomic_platform.catalogue import codec_of
from genomic_platform.costs.work import Task, Work, kind_of
from genomic_platform.defs.failures import as_failure, as_preemption, note_bug
from genomic_platform.defs.lineage import COLUMNS, column_lineage
from genomic_platform.defs.partitions import field_season
from genomic_platform.defs.season import Season, open_season
from genomic_platform.errors import GenomicPlatformError, NotAvailable, Notice, StoreUnavailable
from genomic_platform.executors.devices import DeviceMeter
from genomic_platform.io_managers.versioned import has_step_processes
from genomic_platform.landing.files import Landing
from genomic_platform.program import ProgramFile
from genomic_platform.schemas import Column, TableContract
from genomic_platform.settings import read_settings, visible_devices
from genomic_platform.stores.assets import AssetRecord, TableCodec, fingerprint
from genomic_platform.stores.release import section_digests

OWNERS = ["team:genomic-prediction"]
FORCE_TAG = "genomic_platform/force"

Describe = Callable[[Season, Any], Mapping[str, Any]]
#: Names of assets, or which they are for a programme.
Names = tuple[str, ...] | Callable[[ProgramFile], Iterable[str]]


@dataclass(frozen=True)
class Step:
    """What an asset's result depends on, beside its function; the fields are those of `season_asset`."""

    name: str
    compute: Callable[..., Any]
    code_version: str
    inputs: tuple[str, ...] = ()
    reads: Names = ()
    settings: tuple[str, ...] = ()
    landing: tuple[str, ...] = ()
    history: Names = ()
    describe: Describe | None = None
    timeless: bool = False
    hand_decisions: bool = False
    group: str = "candidates"

    def versions(self, season: Season) -> dict[str, str]:
        """Data versions of everything the step reads: inputs, landing rows, and history at the pinned base."""
        reads, history = (names(season.program.file) if callable(names) else names
                          for names in (self.reads, self.history))
        found: dict[str, str] = {}
        for asset, label in [*((a, season.label) for a in (*self.inputs, *reads)),
                             *((a, s) for a in history for s in season.earlier)]:
            record = season.assets.record(asset, label)
            if record is None and label != season.label and not season.was_published_with(asset, label):
                continue  # the asset, or the candidate in program.toml, is younger than that release
            if record is None:
                raise NotAvailable(f"{asset} of season {label} is neither published nor made by this run; "
                                   "repair: materialise the whole season (job train_season)")
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
        with metered(context, season, self.name, self.group) as work:
            record, value, published = self._made(context, season, values, work)
            self.observe_landing(context, record.inputs)
            return dg.MaterializeResult(value=record, data_version=dg.DataVersion(record.data_version),
                                        metadata=self.metadata(season, value, published) | work.facts())

    def _made(self, context: dg.AssetExecutionContext, season: Season, values: Mapping[str, Any],
              work: Work) -> tuple[AssetRecord, Any, AssetRecord | None]:
        """Take over the value published or compute it; the record to seal, the value, and the record taken over."""
        versions = season.inputs = self.versions(season)
        season.fingerprint = work.fingerprint = fingerprint(
            code_version=self.code_version, inputs=versions, seed=season.program.file.seed,
            settings=season.program.settings_digest(*self.settings))
        codec = codec_of(self.name)
        published = None if FORCE_TAG in context.run.tags else self.published(season)
        if published:
            work.reused = True
            value = season.read(self.name, published.season)
            season.notices = [Notice(**{**n, "examples": tuple(n["examples"])}) for n in published.extra["notices"]]
            season.links = dict(published.extra["links"])
            if published.season != season.label:
                season.assets.link(self.name, season.label, published.season, codec, season.assets.ref)
            data_version = published.data_version
        else:
            with DeviceMeter(season.workspace.settings.nvidia_smi, cards_of(season)) as season.meter:
                work.device_meter = season.meter
                value = self.compute(season, **values)
            season.shown |= season.meter.facts()
            self.require_landing(season, versions)
            data_version = season.assets.write(self.name, season.label, value, codec)
        return AssetRecord(
            asset=self.name, season=season.label, data_version=data_version, fingerprint=season.fingerprint,
            code_version=self.code_version, inputs=versions,
            run_id=published.run_id if published else season.run_id,
            extra={"notices": [vars(n) | {"examples": list(n.examples)} for n in season.notices],
                   "links": season.links, "settings": section_digests(season.program, self.settings)}), value, published

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
        return shown | column_lineage(self.name, season.candidates) | season.shown | season.links | {
            "store_path": f"{season.program.name}/{season.label}/{self.name}", "fingerprint": season.fingerprint}


def cards_of(season: Season) -> tuple[str, ...]:
    """The graphics cards that the step's process holds."""
    return visible_devices() if season.device != "cpu" else ()


@contextmanager
def metered(context: dg.AssetExecutionContext, season: Season, asset: str, group: str) -> Iterator[Work]:
    """Meter a step of the season; what it took is a line of the cost ledger when it ends, failed or not."""
    work = Work(season.workspace, Task(
        context.run.run_id, season.program.name, season.label, asset, kind_of(asset, group),
        forced=FORCE_TAG in context.run.tags, cards=cards_of(season), own_process=has_step_processes(context.run)))
    try:
        with work:
            yield work
    finally:
        if work.unwritten:
            context.log.warning(work.unwritten)


def season_asset(
    *, group: str, code_version: str, kinds: set[str] | None = None, settings: tuple[str, ...] = (),
    landing: tuple[str, ...] = (), reads: Names = (), history: Names = (), describe: Describe | None = None,
    timeless: bool = False, after: tuple[str, ...] = (), hand_decisions: bool = False,
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Make an asset of the graph from `compute(season, **inputs) -> value`.

    Parameters
    ----------
    settings : sections of program.toml the result depends on.
    landing : kinds of landing files the function reads.
    reads : assets of the season that the function reads itself, where which they are depends on the programme; part
        of the fingerprint, the Dagster edges are `after`.
    history : assets whose earlier published seasons the function reads (no Dagster edge, but part of the fingerprint).
    describe : `(season, value) -> metadata` for a person.
    after : assets materialised before, beside the inputs: those `reads` may name, and those only `describe` reads.
    timeless : the result depends on the inputs alone, not on which season asks; an earlier season's equal content is
        linked. Anything else, such as the lines known at a season, has the season in its fingerprint.
    hand_decisions : the result depends on rollbacks and approvals taken since the preceding season.
    """

    def decorate(compute: Callable[..., Any]) -> dg.AssetsDefinition:
        name = compute.__name__
        inputs = tuple(inspect.signature(compute).parameters)[1:]
        step = Step(name, compute, code_version, inputs, reads, settings, landing, history, describe, timeless,
                    hand_decisions, group)
        codec = codec_of(name)
        return dg.asset(
            name=name, description=inspect.getdoc(compute), group_name=group, code_version=code_version,
            kinds={"polars" if isinstance(codec, TableCodec) else "python", *(kinds or set())}, owners=OWNERS,
            partitions_def=field_season, io_manager_key="versioned", required_resource_keys={"workspace"},
            ins={n: dg.AssetIn() for n in inputs}, deps=[*(f"landing_{kind}" for kind in landing), *after],
            metadata=column_schema(codec.contract, COLUMNS.get(name, {})) if isinstance(codec, TableCodec) else None,
        )(guarded(step.run))

    return decorate


def guarded(run: Callable[[dg.AssetExecutionContext, Mapping[str, Any]], dg.MaterializeResult]) -> Callable[..., Any]:
    """What Dagster calls: `run`, with what it raises said in the platform's words, and tried again where it helps."""

    def execute(context: dg.AssetExecutionContext, **values: Any):
        try:
            return run(context, values)
        except GenomicPlatformError as error:
            raise as_failure(error, context.instance, context.run) from error
        except dg.DagsterExecutionInterruptedError as error:
            if has_step_processes(context.run):
                raise as_preemption(error, read_settings().preemption_retries) from error
            raise  # the run itself is told to end; run retries start it again
        except Exception as error:
            note_bug(error, context.instance, context.run)
            raise

    return execute


def column_schema(contract: TableContract, origins: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Metadata of an asset with this table; `origins` : column → columns it comes from."""
    columns = [dg.TableColumn(c.name, str(c.dtype), description=_description(c, origins.get(c.name, ())),
                              constraints=dg.TableColumnConstraints(nullable=c.nullable)) for c in contract.columns]
    return {"dagster/column_schema": dg.TableSchema(columns=columns), "schema_version": contract.schema_version}


def _description(column: Column, origins: Sequence[str]) -> str:
    """Meaning, unit, and the columns it comes from: the open-source UI draws no column lineage."""
    return "".join([column.meaning, f" [{column.unit}]" if column.unit else "",
                    f" ← {', '.join(origins)}" if origins else ""])
