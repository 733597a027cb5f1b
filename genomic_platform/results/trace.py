"""Where a number comes from: a line's value traced to data, code, model, and whoever put that model in place.

The shape is fixed by `schemas/trace.schema.json`. Everything is read at the commit that published the season, so that
the answer stays the same however much comes later; only decisions taken by hand since are added.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import polars as pl

from genomic_platform.catalogue import ASSETS
from genomic_platform.errors import NotAvailable
from genomic_platform.program import Program
from genomic_platform.results.report import published_assets, registry_versions
from genomic_platform.stores.assets import RELEASE, AssetRecord, AssetStore
from genomic_platform.stores.decisions import hand_decisions
from genomic_platform.workspace import Workspace

SCHEMA_VERSION = 1


def trace(program: Program, workspace: Workspace, line: str, season: str, trait: str) -> dict[str, Any]:
    """Everything behind a line's published value of a trait in a season.

    Raises
    ------
    NotAvailable : the season is not published, or has no such line or trait; near names are given.
    """
    main = published_assets(program, workspace)
    _known("season", season, main.published())
    commit = main.releases()[season][-1]
    view = main.at(commit)
    values = _read(view, "breeding_values", season)
    _known("trait", trait, values["trait"].unique().to_list())
    _known("line", line, values["line_id"].unique().to_list())
    decision = _read(view, "registered_model", season).filter(pl.col("trait") == trait).row(0, named=True)
    recipe, trained = decision["recipe"], decision["trained_through"]
    held = view.holding(recipe, trained, decision["model_version"])
    fitted, release = _record(held, recipe, trained), _record(view, RELEASE, season)
    value = values.filter(pl.col("line_id") == line, pl.col("trait") == trait).row(0, named=True)
    published = {c.id: c.time.isoformat() for c in main.store.log(main.ref)}
    return {
        "schema_version": SCHEMA_VERSION, "program": program.name, "line_id": line, "season": season, "trait": trait,
        "unit": program.traits[trait].unit if trait in program.traits else "",
        "value": {name: value[name] for name in (
            "breeding_value", "breeding_value_reliability", "genotypic_value", "genotypic_value_reliability",
            "phenotyped")} | {"rank": _rank(view, line, season)},
        "model": {"recipe": recipe, "trained_through": trained, "model_version": decision["model_version"],
                  "registry_version": registry_versions(workspace, program.name).get(
                      (trait, decision["model_version"])),
                  "mlflow_run_id": fitted.extra["links"]["mlflow_run_id"], "dagster_run_id": fitted.run_id,
                  "code_version": fitted.code_version, "fingerprint": fitted.fingerprint, "inputs": dict(fitted.inputs),
                  "commit": _training_commit(main, held, trained)},
        "learned_from": _learned_from(held, line, trained, trait, decision["n_train"]),
        "decision": {"decision": decision["decision"], "reasons": decision["reasons"],
                     "by": f"run {release.run_id}", "time": published[commit]},
        "decided_since": [{name: row[name] for name in ("who", "action", "decision", "recipe", "trained_through",
                                                        "reason")} | {"time": row["time"].isoformat("T", "seconds")}
                          for row in hand_decisions(main).to_dicts()
                          if row["trait"] == trait and row["season"] >= season],
        "release": {"commit": commit, "time": published[commit], "run_id": release.run_id,
                    "code_version": release.code_version, "fingerprint": release.fingerprint},
        "sources": tomllib.loads(view.settings(season).decode()).get("sources", []),
    }


def _known(what: str, name: str, names: Sequence[str]) -> None:
    if name not in names:
        near = get_close_matches(name, names, 5, 0.4) or sorted(names)[:5]
        raise NotAvailable(f"no {what} {name} among the published; expected one such as {', '.join(near)}")


def _read(view: AssetStore, asset: str, season: str) -> pl.DataFrame:
    return view.read(asset, season, ASSETS[asset])


def _record(view: AssetStore, asset: str, season: str) -> AssetRecord:
    record = view.record(asset, season)
    assert record is not None, "a release has a record of every asset"
    return record


def _rank(view: AssetStore, line: str, season: str) -> int | None:
    ranked = _read(view, "selection_index", season).filter(pl.col("line_id") == line)
    return int(ranked["rank"][0]) if ranked.height else None


def _training_commit(main: AssetStore, held: AssetStore, trained: str) -> str:
    """The release that holds the model: the view's own, or the newest that the view knows."""
    commits = main.releases()[trained]
    return held.ref if held.ref in commits else held.releases()[trained][-1]


def _learned_from(held: AssetStore, line: str, trained: str, trait: str, n_lines: int) -> dict[str, Any]:
    """Seasons, lines and records behind a model, and the records of the line itself."""
    seasons = [s for s in held.published() if s <= trained]
    means = pl.concat([_read(held, "line_means", s) for s in seasons]).filter(pl.col("trait") == trait)
    by_season = means.group_by("season").agg(pl.len().alias("line_means"), pl.col("n_records").sum()).sort("season")
    own = means.filter(pl.col("line_id") == line).sort("environment")
    return {"n_lines": n_lines, "seasons": by_season.to_dicts(),
            "own_records": own.select("season", "environment", "mean", "standard_error", "n_records").to_dicts()}
