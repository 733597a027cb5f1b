"""Deciding on champions by hand, between seasons: roll back, approve, reject.

A decision is a row of `hand_decisions` on `main`, committed through a short branch; aliases and audit lines follow from
it. It takes no programme's turn, so that a bad champion goes while a training run is in progress.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl

from genomic_platform.catalogue import ASSETS, CANDIDATE
from genomic_platform.errors import NotAvailable, ProgramError
from genomic_platform.schemas.predictions import HAND_DECISIONS
from genomic_platform.stores.assets import AssetStore
from genomic_platform.stores.decisions import hand_decisions, hand_decisions_path, pinned, standing
from genomic_platform.stores.lock import exclusive
from genomic_platform.stores.projection import audit_anchor, finish, project
from genomic_platform.stores.protocol import MAIN
from genomic_platform.workspace import Workspace

_LOCK_SECONDS = 60.0


@dataclass(frozen=True)
class Decided:
    """A decision taken: what stands now for the trait (a row of REGISTERED_MODEL), and its commit on `main`."""

    trait: str
    decision: str
    recipe: str
    trained_through: str
    version: int | None
    commit: str


def roll_back(workspace: Workspace, program: str, trait: str, *, reason: str, who: str,
              to: int | None = None) -> Decided:
    """Put an earlier model back as the trait's champion and pin it until somebody approves a change.

    Parameters
    ----------
    to : registry version; None = the champion before the present one.

    Raises
    ------
    NotAvailable : nothing published, no earlier champion, no such version, or its model is in no release.
    ProgramError : no reason given, no such trait, or the version is champion already.
    """
    with _deciding(workspace, program, trait, reason) as (main, now):
        target = _earlier_champion(main, now) if to is None else _version_row(workspace, program, trait, to)
        if target["model_version"] == now["model_version"]:
            raise ProgramError(f"{trait}: version {to} is champion already; expected another; `report` shows them")
        fitted = main.holding(target["recipe"], target["trained_through"], target["model_version"])
        model = fitted.read(target["recipe"], target["trained_through"], CANDIDATE).model
        row = {**target, "n_train": int(model.summary()[trait]["n_train"])}
        return _commit(workspace, main, row, trait=trait, action="rollback", decision="rollback", pin=True,
                       reason=reason, who=who)


def approve(workspace: Workspace, program: str, trait: str, *, reason: str, who: str) -> Decided:
    """Make the model that waits for approval champion; with none waiting, lift the pin of a rollback.

    Raises
    ------
    NotAvailable : nothing waits and nothing is pinned. ProgramError : no reason given, no such trait.
    """
    with _deciding(workspace, program, trait, reason) as (main, now):
        if now["proposed"] is None and trait not in pinned(main):
            raise NotAvailable(f"{trait}: nothing waits for approval and no rollback pins it")
        if now["proposed"] is None:
            return _commit(workspace, main, now, trait=trait, action="approve", decision="keep", pin=False,
                           reason=reason, who=who)
        record = main.record(now["proposed"], now["season"])
        assert record is not None, "a release holds every candidate"
        model = main.read(now["proposed"], now["season"], CANDIDATE).model
        row = {"recipe": now["proposed"], "trained_through": now["season"], "model_version": record.data_version,
               "n_train": int(model.summary()[trait]["n_train"])}
        decision = "refresh" if row["recipe"] == now["recipe"] else "replace"
        return _commit(workspace, main, row, trait=trait, action="approve", decision=decision, pin=False,
                       reason=reason, who=who)


def reject(workspace: Workspace, program: str, trait: str, *, reason: str, who: str) -> Decided:
    """Turn down the model that waits for approval: the champion stays, and so does a pin.

    Raises
    ------
    NotAvailable : nothing waits. ProgramError : no reason given, no such trait.
    """
    with _deciding(workspace, program, trait, reason) as (main, now):
        if now["proposed"] is None:
            raise NotAvailable(f"{trait}: nothing waits for approval")
        return _commit(workspace, main, now, trait=trait, action="reject", decision="rejected",
                       pin=trait in pinned(main), reason=reason, who=who)


@contextmanager
def _deciding(workspace: Workspace, program: str, trait: str,
              reason: str) -> Iterator[tuple[AssetStore, dict[str, Any]]]:
    """`main` and the trait's standing, held alone among those who decide on the programme."""
    if not reason.strip():
        raise ProgramError("no reason given; expected why, in words: the audit log keeps it")
    with deciding_alone(workspace, program):
        main = AssetStore(workspace.store, program)
        now = {row["trait"]: row for row in standing(main).iter_rows(named=True)}
        if not now:
            raise NotAvailable(f"nothing of {program} is published yet, so there is no champion to decide on")
        finish(workspace, main)
        if trait not in now:
            raise ProgramError(f"unknown trait {trait}; expected one of {', '.join(sorted(now))}")
        workspace.registry.require_ready()
        yield main, now[trait]


@contextmanager
def deciding_alone(workspace: Workspace, program: str) -> Iterator[None]:
    """Hold the programme's decisions among all processes; seasons may run meanwhile."""
    folder = workspace.root / "turns"
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder / f"{program}.decisions.lock", _LOCK_SECONDS):
        yield


def _earlier_champion(main: AssetStore, now: Mapping[str, Any]) -> dict[str, Any]:
    """The champion before the one that stands, by season."""
    history: list[dict[str, Any]] = []
    for season in main.published():
        rows = main.read("registered_model", season, ASSETS["registered_model"])
        history += rows.filter(pl.col("trait") == now["trait"]).to_dicts()
    versions = [row["model_version"] for row in history]
    present = versions.index(now["model_version"]) if now["model_version"] in versions else len(versions)
    for row in reversed(history[:present]):
        if row["model_version"] != now["model_version"]:
            return row
    raise NotAvailable(f"{now['trait']}: there is no champion before {now['recipe']} trained through "
                       f"{now['trained_through']}; repair: name a registered version with --to")


def decision_branches(program: str) -> str:
    """What the names of the short branches begin with."""
    return f"decide-{program}-"


def _version_row(workspace: Workspace, program: str, trait: str, version: int) -> dict[str, Any]:
    known = workspace.registry.versions(program).filter(pl.col("trait") == trait)
    found = known.filter(pl.col("version") == version).to_dicts()
    if not found:
        listed = ", ".join(f"{r['version']} ({r['recipe']} through {r['season']})" for r in known.to_dicts())
        raise NotAvailable(f"{trait}: no version {version} in the registry; expected one of {listed}")
    return {"recipe": found[0]["recipe"], "trained_through": found[0]["season"],
            "model_version": found[0]["model_version"]}


def _commit(workspace: Workspace, main: AssetStore, champion: Mapping[str, Any], *, trait: str, action: str,
            decision: str, pin: bool, reason: str, who: str) -> Decided:
    """Append the decision on `main`, then let the registry and the audit log follow."""
    taken = hand_decisions(main)
    last = main.published()[-1]
    row = {"number": taken.height + 1, "time": datetime.now(UTC), "who": who, "trait": trait, "season": last,
           "action": action, "decision": decision, "pinned": pin, "reason": reason.strip(),
           **{name: champion[name] for name in ("recipe", "trained_through", "model_version", "n_train")}}
    table = pl.concat([taken, HAND_DECISIONS.conform(pl.DataFrame([row], schema=HAND_DECISIONS.schema))])
    commit = _publish(workspace, main, table, {"program": main.program, "decision": action, "trait": trait, "who": who,
                                               **audit_anchor(workspace)})
    project(workspace, main, main.published()[-2:])
    version = workspace.registered_versions(main.program).get(trait, {}).get(row["model_version"])
    return Decided(trait, decision, row["recipe"], row["trained_through"], version, commit)


def _publish(workspace: Workspace, main: AssetStore, table: pl.DataFrame, metadata: Mapping[str, str]) -> str:
    store, branch = workspace.store, f"{decision_branches(main.program)}{uuid4().hex}"
    said = f"{metadata['decision']} {main.program} {metadata['trait']}"
    store.branch(branch)
    with tempfile.TemporaryDirectory() as folder:
        HAND_DECISIONS.write(table, Path(folder) / "table.parquet")
        store.write(branch, hand_decisions_path(main.program), Path(folder) / "table.parquet")
    store.commit(branch, said, metadata)
    commit = store.merge(branch, MAIN, said, metadata)
    store.delete_branch(branch)
    return commit
