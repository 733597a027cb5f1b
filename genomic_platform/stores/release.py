"""Publishing a season: merge the run's branch into `main`, and only then project the registry's aliases.

The decision table on `main` is the truth; MLflow versions and aliases are its projection and can be made again from it
at any time, so a kill between merge and alias loses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from genomic_platform.catalogue import ASSETS
from genomic_platform.errors import NotAvailable
from genomic_platform.landing.files import chain_digest
from genomic_platform.stores.assets import RELEASE, AssetRecord, AssetStore, fingerprint
from genomic_platform.stores.protocol import MAIN
from genomic_platform.version import code_version
from genomic_platform.workspace import Workspace


@dataclass(frozen=True)
class Released:
    """A published season: the commit on `main`, and the registry version of each trait's champion."""

    commit: str
    versions: Mapping[str, int]


def own_landing_digests(records: Mapping[str, AssetRecord]) -> dict[str, str]:
    """The landing digests that the season's steps read, by kind.

    Raises
    ------
    NotAvailable
        Two steps read different content of a kind: the files changed between them.
    """
    read: dict[str, set[str]] = {}
    for record in records.values():
        for name, version in record.inputs.items():
            if name.startswith("landing/"):
                read.setdefault(name.removeprefix("landing/"), set()).add(version)
    if changed := sorted(kind for kind, versions in read.items() if len(versions) > 1):
        raise NotAvailable(f"landing files ({', '.join(changed)}) changed between two steps of this run; "
                           "repair: run the season again")
    return {kind: next(iter(versions)) for kind, versions in read.items()}


def release_record(assets: AssetStore, season: str, run_id: str, settings: str) -> AssetRecord:
    """The record that makes a season published, from the records of all its assets.

    Raises
    ------
    NotAvailable
        Assets are missing, older than their inputs, or made from landing files that changed in between: a partial
        selection stays unpublished.
    """
    records = {name: r for name, r in assets.records(season).items() if name != RELEASE}
    missing = [name for name in ASSETS if name not in records]
    if missing:
        raise NotAvailable(f"season {season} is not published: this run's branch lacks {', '.join(missing)}; "
                           "repair: materialise the whole season (job train_season)")
    if outdated := [f"{name} (made from another {other})" for name, r in records.items()
                    for other, version in r.inputs.items() if other in records
                    and records[other].data_version != version]:
        raise NotAvailable(f"season {season} is not published: its assets do not belong together: "
                           f"{', '.join(outdated)}; repair: materialise the whole season (job train_season)")
    earlier = [s for s in assets.published() if s < season]
    before = assets.record(RELEASE, earlier[-1]) if earlier else None
    inputs = {name: record.data_version for name, record in sorted(records.items())}
    known = chain_digest(before.extra["known_digest"] if before else "", own_landing_digests(records))
    print_ = fingerprint(code_version=code_version(), inputs=inputs, settings=settings, seed=0)
    return AssetRecord(RELEASE, season, print_, print_, code_version(), run_id, inputs,
                       {"known_digest": known, "settings": settings, "after": earlier[-1] if earlier else None})


def publish(workspace: Workspace, assets: AssetStore, record: AssetRecord) -> Released:
    """Seal, commit and merge the run's branch, then project the aliases. Safe to repeat after a kill anywhere in it."""
    store, branch, season = workspace.store, assets.ref, record.season
    metadata = {"program": assets.program, "season": season, "run_id": record.run_id,
                "fingerprint": record.fingerprint, "code_version": record.code_version}
    assets.seal(record)
    store.commit(branch, f"{assets.program} season {season}", metadata)
    commit = store.merge(branch, MAIN, f"publish {assets.program} season {season}", metadata)
    main = assets.at(MAIN)
    versions = project(workspace, main, sorted({season, *main.published()[-2:]}))
    store.delete_branch(branch)
    return Released(commit, {trait: v for (s, trait), v in versions.items() if s == season})


def project(workspace: Workspace, main: AssetStore, seasons: Sequence[str]) -> dict[tuple[str, str], int]:
    """Register the decisions of `seasons` and point `champion` and `challenger` at the last one's.

    Idempotent: versions are found again by their tags. Returns the champion's version of each (season, trait).
    """
    registry = workspace.registry
    versions: dict[tuple[str, str], int] = {}
    noted: dict[str, dict[str, int]] = {}
    for season in seasons:
        for row in main.read("registered_model", season, ASSETS["registered_model"]).iter_rows(named=True):
            held = {"champion": _version(workspace, main, row, row["recipe"], row["trained_through"], row["decision"]),
                    "challenger": _version(workspace, main, row, row["challenger"], season, "challenger")
                    if row["challenger"] else None}
            champion = held["champion"]
            assert champion is not None
            versions[season, row["trait"]] = champion
            noted.setdefault(row["trait"], {})[row["model_version"]] = champion
            if season == seasons[-1]:
                for alias, version in held.items():
                    registry.set_alias(main.program, row["trait"], alias, version)
    workspace.note_versions(main.program, noted)
    return versions


def _version(workspace: Workspace, main: AssetStore, row: Mapping[str, str], recipe: str, trained: str,
             decision: str) -> int:
    """The registry version of a recipe trained through a season; registered when it has none."""
    fitted = main.record(recipe, trained)
    if fitted is None:
        raise NotAvailable(f"{recipe} of {main.program} season {trained} does not exist on {main.ref}")
    released = main.record(RELEASE, trained)
    return workspace.registry.register(
        program=main.program, trait=row["trait"], season=trained, run_id=fitted.extra["links"]["mlflow_run_id"],
        model_version=fitted.data_version, recipe=recipe, decision=decision, commit=main.releases()[trained][-1],
        tags={"fingerprint": fitted.fingerprint, "code_version": released.code_version if released else ""})
