"""Publishing a season: merge the run's branch into `main`, and only then project what was decided.

The decision tables on `main` are the truth, so a kill after the merge loses nothing: see `projection`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from genomic_platform.catalogue import ASSETS, CANDIDATE
from genomic_platform.errors import DecisionsChanged, NotAvailable
from genomic_platform.landing.files import chain_digest
from genomic_platform.links import dagster_run
from genomic_platform.program import Program
from genomic_platform.stores.assets import RELEASE, AssetRecord, AssetStore, fingerprint
from genomic_platform.stores.decisions import hand_decisions
from genomic_platform.stores.projection import audit_anchor, project
from genomic_platform.stores.protocol import MAIN, RUN_BUTTON
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


def release_record(assets: AssetStore, season: str, candidates: Collection[str], run_id: str,
                   settings: str, cause: str = "") -> AssetRecord:
    """The record that makes a season published, from the records of all its assets.

    What it held of a recipe that is no candidate any more is removed from the branch; earlier releases keep it.

    Raises
    ------
    NotAvailable
        Assets are missing, older than their inputs, or made from landing files that changed in between: a partial
        selection stays unpublished.
    """
    expected = (*ASSETS, *candidates)
    assets.keep_only(season, expected, CANDIDATE)
    records = {name: r for name, r in assets.records(season).items() if name != RELEASE}
    missing = [name for name in expected if name not in records]
    if missing:
        raise NotAvailable(f"season {season} is not published: this run's branch lacks {', '.join(missing)}; "
                           "repair: materialise the whole season (job train_season)")
    if outdated := _outdated(assets, records):
        raise NotAvailable(f"season {season} is not published: its assets do not belong together: "
                           f"{', '.join(outdated)}; repair: materialise the whole season (job train_season)")
    earlier = [s for s in assets.published() if s < season]
    before = assets.record(RELEASE, earlier[-1]) if earlier else None
    inputs = {name: record.data_version for name, record in sorted(records.items())}
    known = chain_digest(before.extra["known_digest"] if before else "", own_landing_digests(records))
    print_ = fingerprint(code_version=code_version(), inputs=inputs, settings=settings, seed=0)
    return AssetRecord(RELEASE, season, print_, print_, code_version(), run_id, inputs,
                       {"known_digest": known, "settings": settings, "after": earlier[-1] if earlier else None,
                        "cause": cause})


def section_digests(program: Program, sections: Iterable[str]) -> dict[str, str]:
    """Digest of each of these sections of program.toml, and of the seed, which every step depends on."""
    return {section: program.settings_digest(section) for section in (*sections, "seed")}


def require_settings(assets: AssetStore, season: str, program: Program) -> None:
    """Refuse assets that an earlier program.toml made and this run did not make anew: a partial selection.

    Raises NotAvailable. Records of older code do not say what made them.
    """
    stale: dict[str, list[str]] = {}
    for name, record in assets.records(season).items():
        made_with = record.extra.get("settings", {}) if name != RELEASE else {}
        for section, digest in section_digests(program, made_with).items():
            if made_with and made_with[section] != digest:
                stale.setdefault(section, []).append(name)
    if stale:
        told = "; ".join(f"{section} ({', '.join(names)})" for section, names in sorted(stale.items()))
        raise NotAvailable(f"season {season} is not published: program.toml has changed since assets that this run did "
                           f"not make: {told}; repair: materialise the whole season (job train_season)")


def _outdated(assets: AssetStore, records: Mapping[str, AssetRecord]) -> list[str]:
    """Assets made from other content than this branch has, of the season or, as `asset@season`, of an earlier one."""
    found, known = [], dict(records)
    for name, record in records.items():
        for read, version in record.inputs.items():
            asset, at, label = read.partition("@")
            if at and read not in known and (earlier := assets.record(asset, label)):
                known[read] = earlier
            now = known.get(read)
            if now is not None and now.data_version != version:
                found.append(f"{name} (made from another {asset}{f' of season {label}' if at else ''})")
    return found


def publish(workspace: Workspace, assets: AssetStore, record: AssetRecord) -> Released:
    """Seal, commit and merge the run's branch, then project the decisions. Safe to repeat after a kill anywhere in it.

    Raises
    ------
    DecisionsChanged : somebody decided on a champion since the branch was made; the branch knows of it now.
    StoreUnavailable : the registry does not answer; nothing was published.
    """
    store, branch, season = workspace.store, assets.ref, record.season
    _require_same_decisions(assets, season)
    workspace.registry.require_ready()
    metadata = {"program": assets.program, "season": season, "run_id": record.run_id,
                "fingerprint": record.fingerprint, "code_version": record.code_version, "checks": "passed",
                **audit_anchor(workspace)}
    if page := dagster_run(workspace.settings, record.run_id):
        metadata[RUN_BUTTON] = page
    assets.seal(record)
    store.commit(branch, f"{assets.program} season {season}", metadata)
    commit = store.merge(branch, MAIN, f"publish {assets.program} season {season}", metadata)
    main = assets.at(MAIN)
    versions = project(workspace, main, sorted({season, *main.published()[-2:]}))
    store.delete_branch(branch)
    return Released(commit, {trait: v for (s, trait), v in versions.items() if s == season})


def _require_same_decisions(assets: AssetStore, season: str) -> None:
    """The run's branch knows every decision taken by hand; else it is brought up to date, and the run goes again."""
    main = assets.at(MAIN)
    if hand_decisions(main, before=season).equals(hand_decisions(assets, before=season)):
        return
    metadata = {"program": assets.program}
    assets.store.commit(assets.ref, f"{assets.program} season {season}, before decisions by hand", metadata)
    assets.store.merge(MAIN, assets.ref, "decisions taken by hand meanwhile", metadata)
    raise DecisionsChanged(f"season {season}: a champion of {assets.program} was rolled back or approved while this "
                           "run went on; nothing was published; repair: run the season again, it decides anew")
