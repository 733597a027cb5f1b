"""The results of a programme: one object a season and trait, from what is published on `main`.

The shape is fixed by `schemas/report.schema.json`; a value that does not exist is null, never absent.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import polars as pl

from genomic_platform.catalogue import ASSETS
from genomic_platform.errors import NotAvailable, ProgramError
from genomic_platform.program import Program
from genomic_platform.stores.assets import RELEASE, AssetStore
from genomic_platform.stores.decisions import pinned, standing
from genomic_platform.workspace import Workspace

SCHEMA_VERSION = 1
_SCHEMAS = ("report", "evaluate", "trace", "model_card", "costs")
_SCORES = ("r_all", "r_known", "r_new", "r_within_family", "slope", "bias", "top20_hit", "n_scored", "n_known", "n_new")


def json_schema(name: str) -> dict[str, Any]:
    """The JSON Schema of what a command prints with `--json`: `report`, `evaluate`, `trace`, `costs` and others.

    Raises
    ------
    ProgramError
        Another name.
    """
    end, folder = ".schema.json", files("genomic_platform.schemas")
    known = sorted(p.name.removesuffix(end) for p in folder.iterdir() if p.name.endswith(end))
    if name not in known:
        raise ProgramError(f"no schema {name}; expected one of {', '.join(known)}")
    return json.loads((files("genomic_platform.schemas") / f"{name}.schema.json").read_text(encoding="utf-8"))


def published_assets(program: Program, workspace: Workspace) -> AssetStore:
    """The programme's assets on `main`.

    Raises
    ------
    NotAvailable
        Nothing is published yet.
    """
    main = AssetStore(workspace.store, program.name)
    if not main.published():
        raise NotAvailable(f"nothing of {program.name} is published yet; repair: genomic-platform run {program.folder}")
    return main


def report(program: Program, workspace: Workspace) -> dict[str, Any]:
    """Everything published, flat: `results[]` with one object per season scored and trait.

    Raises
    ------
    NotAvailable
        Nothing is published yet.
    """
    main = published_assets(program, workspace)
    versions = registry_versions(workspace, program.name)
    commits = main.releases()
    results: list[dict[str, Any]] = []
    for season in main.published():
        release = main.record(RELEASE, season)
        assert release is not None
        decisions = _rows(main, "registered_model", season)
        accuracy = {r["trait"]: r for r in _rows(main, "realised_accuracy", season)}
        compared = _read(main, "model_comparison", season)
        drift = _rows(main, "drift_report", season)[0]
        before = release.extra["after"]
        # what is scored are the values as first published, so the champion is the one decided then
        scored_by = {r["trait"]: r for r in _rows(main.at(commits[before][0]), "registered_model", before)} \
            if before else {}
        for decision in decisions:
            trait = decision["trait"]
            results.append({
                "program": program.name, "season": season, "trait": trait,
                "unit": program.traits[trait].unit if trait in program.traits else "",
                **_scored(accuracy.get(trait), scored_by.get(trait), versions),
                "candidate_scores": _candidate_scores(compared, trait, season),
                "decision": decision["decision"], "reasons": decision["reasons"],
                "decided_recipe": decision["recipe"], "decided_trained_through": decision["trained_through"],
                "decided_version": versions.get((trait, decision["model_version"])),
                "decided_n_train": decision["n_train"],
                "drift_decision": drift["decision"], "drift_message": drift["message"],
                "commit": commits[season][-1], "first_published_commit": commits[season][0],
                "data_version": release.data_version, "code_version": release.code_version,
            })
    return {"schema_version": SCHEMA_VERSION, "program": program.name, "seasons": main.published(),
            "champions": champions_now(main, versions), "results": results}


def champions_now(main: AssetStore, versions: dict[tuple[str, str], int]) -> list[dict[str, Any]]:
    """What stands for each trait after the latest season and the decisions by hand since.

    Parameters
    ----------
    versions : registry version by (trait, model version).
    """
    pins = pinned(main)
    kept = ("trait", "decision", "recipe", "trained_through", "n_train", "model_version", "proposed", "reasons")
    return [{name: row[name] for name in kept} | {
        "registry_version": versions.get((row["trait"], row["model_version"])), "pinned": pins.get(row["trait"])}
        for row in standing(main).iter_rows(named=True)]


def _read(main: AssetStore, asset: str, season: str) -> pl.DataFrame:
    return main.read(asset, season, ASSETS[asset])


def _rows(main: AssetStore, asset: str, season: str) -> list[dict[str, Any]]:
    return _read(main, asset, season).to_dicts()


def registry_versions(workspace: Workspace, program: str) -> dict[tuple[str, str], int]:
    """Registry version by (trait, model version), from the record that the projection keeps beside the registry."""
    return {(trait, model_version): version for trait, held in workspace.registered_versions(program).items()
            for model_version, version in held.items()}


def _scored(accuracy: dict[str, Any] | None, champion: dict[str, Any] | None,
            versions: dict[tuple[str, str], int]) -> dict[str, Any]:
    """What the season's harvest said of the champion published before it; all null in a first season."""
    found = accuracy or {}
    return {
        "trained_through": found.get("trained_through"), "champion_recipe": found.get("recipe"),
        "registry_version": versions.get((champion["trait"], champion["model_version"])) if champion else None,
        "n_train": found.get("n_train"), **{name: found.get(name) for name in _SCORES},
        "baselines": {name: found.get(f"baseline_{name}") for name in ("family_mean", "own_mean")},
        "loses_to": found.get("loses_to") or [],
    }


def _candidate_scores(compared: pl.DataFrame, trait: str, season: str) -> dict[str, dict[str, float | None]]:
    """Per recipe its fold score (where the trait was first met) and its forward score of the season."""
    own = compared.filter(pl.col("trait") == trait, pl.col("season") == season)
    scores = {(r["recipe"], r["scheme"]): r["r_mean"] for r in own.to_dicts()}
    return {recipe: {scheme: scores.get((recipe, scheme)) for scheme in ("cv1", "forward")}
            for recipe in own["recipe"].unique(maintain_order=True)}
