"""The model card of a registered version: everything an auditor asks of it, from what its release holds.

The shape is `schemas/model_card.schema.json`; headings follow Annex IV of Regulation (EU) 2024/1689 where they apply.
`card_page` lays the same content out as a page. Everything is read at the release that registered the version.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from genomic_platform.catalogue import codec_of
from genomic_platform.errors import NotAvailable
from genomic_platform.models.line_model import RUN
from genomic_platform.models.scores import correlation
from genomic_platform.program import Program
from genomic_platform.results.card_page import card_page
from genomic_platform.results.report import published_assets
from genomic_platform.stores.assets import RELEASE, AssetStore
from genomic_platform.stores.decisions import hand_decisions
from genomic_platform.workspace import Workspace

SCHEMA_VERSION = 1
_Z95 = 1.959964
_MIN_GROUP = 10
_FEW_SEASONS = 3


def model_card(program: Program, workspace: Workspace, trait: str, version: int | None = None) -> dict[str, Any]:
    """The card of version `version` of a trait's registered model; None = the champion's.

    Raises
    ------
    NotAvailable : no such trait or version, or nothing is published.
    """
    main = published_assets(program, workspace)
    versions = workspace.registry.versions(program.name)
    if trait not in versions["trait"]:
        raise NotAvailable(f"no trait {trait} in the registry; expected one of "
                           f"{', '.join(sorted(set(versions['trait'])))}")
    known = versions.filter(pl.col("trait") == trait).to_dicts()
    wanted = version or workspace.registry.aliases(program.name).get(trait, {}).get("champion")
    found = [row for row in known if row["version"] == wanted]
    if not found:
        listed = ", ".join(str(row["version"]) for row in known)
        raise NotAvailable(f"no version {version or 'with alias champion'} of {trait} in the registry; found {listed}")
    return _with_changes(program, _Releases(main), found[0], known)


def log_cards(program: Program, workspace: Workspace, season: str) -> dict[str, str]:
    """Log the card of every version that a season registered, as page and JSON, to its MLflow run.

    Returns trait and version → the page's place in MLflow's web pages.
    """
    found, releases = {}, _Releases(published_assets(program, workspace))
    versions = workspace.registry.versions(program.name)
    for row in versions.filter(pl.col("season") == season).to_dicts():
        card = _with_changes(program, releases, row, versions.filter(pl.col("trait") == row["trait"]).to_dicts())
        texts = {"html": card_page(card), "json": json.dumps(card, ensure_ascii=False, indent=1)}
        name = f"{row['trait']}.v{row['version']}"
        found[name] = workspace.registry.log_texts(row["run_id"], {f"cards/{name}.{k}": v for k, v in texts.items()})
    return found


class _Release:
    """What a commit holds of a season, each table and model read once."""

    def __init__(self, view: AssetStore, season: str) -> None:
        self.view, self.season = view, season
        self._read: dict[tuple[str, str], Any] = {}

    def read(self, asset: str, season: str | None = None) -> Any:
        key = (asset, season or self.season)
        if key not in self._read:
            self._read[key] = self.view.read(*key, codec_of(asset))
        return self._read[key]

    def history(self, asset: str) -> pl.DataFrame:
        """The table's rows of all seasons up to this one."""
        return pl.concat([self.read(asset, s) for s in self.view.published() if s <= self.season])


class _Releases:
    """Releases of a programme, each opened once for all the cards that tell of it."""

    def __init__(self, main: AssetStore) -> None:
        self.main = main
        self._opened: dict[tuple[str, str], _Release] = {}

    def of(self, row: Mapping[str, Any]) -> _Release:
        """The one that registered a version."""
        return self._opened.setdefault((row["commit"], row["season"]),
                                       _Release(self.main.at(row["commit"]), row["season"]))


def _with_changes(program: Program, releases: _Releases, row: Mapping[str, Any],
                  known: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The card of a version, beside the last of an earlier season, of the same recipe where there is one."""
    before = [other for other in known if other["season"] < row["season"]]
    alike = [other for other in before if other["recipe"] == row["recipe"]]
    card = _card(program, releases, row)
    card["changes"] = _changes(card, _card(program, releases, (alike or before)[-1]) if before else None)
    return card


def _card(program: Program, releases: _Releases, row: Mapping[str, Any]) -> dict[str, Any]:
    trait, recipe, season = row["trait"], row["recipe"], row["season"]
    release = releases.of(row)
    view = release.view
    settings = tomllib.loads(view.settings(season).decode())
    candidate = release.read(recipe)
    fitted, released = view.record(recipe, season), view.record(RELEASE, season)
    assert fitted is not None
    assert released is not None
    facts = candidate.model.summary()[trait]
    values = candidate.values.filter(pl.col("trait") == trait)
    validation = _validation(release, trait, recipe)
    return {
        "schema_version": SCHEMA_VERSION,
        "general_description": {
            "name": f"{program.name}.{trait}", "version": row["version"], "crop": settings.get("crop", ""),
            "trait": trait, "unit": settings["traits"][trait].get("unit", ""), "recipe": recipe,
            "trained_through": season, "model_version": row["model_version"], "decision": row["decision"],
            "intended_use": f"Rank lines of the programme {program.name} for {trait}: lines with genotypes on the "
                            "programme's panel, of the families and environments that the training records cover.",
            "not_intended_for": "Lines of other crops or unrelated families, other panels without imputation, "
                                "environments unlike those recorded, and decisions on people."},
        "development": {
            "data": _data(release, trait, values, row["commit"], settings),
            "method": {"recipe": recipe, "seed": settings.get("seed", 1),
                       "parameters": {k: v for k, v in facts.items() if k not in ("n_train", "n_lines", "n_markers")},
                       "code_version": released.code_version, "fingerprint": fitted.fingerprint,
                       "dagster_run_id": fitted.run_id, "mlflow_run_id": row["run_id"]},
            "compute": {**candidate.cost, "scope": f"all {len(candidate.model.summary())} traits of the recipe",
                        "circumstances": _circumstances(view, program, recipe, season)}},
        "performance": {**validation, "reliability": _reliability(values)},
        "risk_management": {"limits": _limits(release, trait, recipe, values, validation)},
        "monitoring_and_control": {
            "human_oversight": "A person ranks and chooses; `rollback`, `approve` and `reject` change the champion "
                               "with a reason, and pin it.",
            "approval": settings.get("gate", {}).get("approval", "automatic"),
            "decision": {"decision": row["decision"], "by": f"run {released.run_id}", "reasons": _reasons(
                release, trait)},
            "by_hand": [{name: str(taken[name]) for name in ("time", "who", "action", "reason")}
                        for taken in hand_decisions(releases.main).filter(pl.col("trait") == trait).to_dicts()
                        if taken["model_version"] == row["model_version"]],
            "after_release": "Every season scores the values that were published before it (realised_accuracy), tests "
                             "new lines for drift (drift_report), and keeps every decision in the audit log."},
        "standards": "No harmonised standard was applied.",
        "declaration_of_conformity": "None: plant breeding is no high-risk use of Annex III."}


def _data(release: _Release, trait: str, values: pl.DataFrame, commit: str,
          settings: Mapping[str, Any]) -> dict[str, Any]:
    means = release.history("line_means").filter(pl.col("trait") == trait)
    training = release.read("training_set").filter(pl.col("trait") == trait, "genotyped")
    qc = release.read("genotype_qc").filter("kept")
    seasons = means.group_by("season").agg(pl.col("line_id").n_unique().alias("lines"), pl.col(
        "environment").n_unique().alias("environments"), pl.col("n_records").sum().alias("records")).sort("season")
    return {"commit": commit, "training_lines": training.height, "lines_with_values": values.height,
            "markers": qc.filter(pl.col("kind") == "variant").height, "seasons": seasons.to_dicts(),
            "sources": [{name: source.get(name, "unknown") for name in ("file", "title", "licence", "jurisdiction")}
                        for source in settings.get("sources", [])]}


def _validation(release: _Release, trait: str, recipe: str) -> dict[str, Any]:
    """Predictive ability of the recipe by season, environment and family, each on lines not seen, with intervals."""
    compared = release.read("model_comparison").filter(
        pl.col("trait") == trait, pl.col("recipe") == recipe)
    folds = compared.filter(pl.col("scheme") == "cv1").to_dicts()
    forward = release.history("forward_predictions").filter(pl.col("trait") == trait, pl.col("recipe") == recipe)
    realised = release.history("realised_accuracy").filter(pl.col("trait") == trait).unique("season").sort("season")
    return {
        "measure": "r, correlation of values given before with means observed after; 95 % intervals by Fisher's z",
        "folds": [{"season": f["season"], "r": _finite(f["r_mean"]), "sd": _finite(f["r_sd"]), "lines": f["n_lines"]}
                  for f in folds],
        "by_season": [_interval(f["season"], f["r_mean"], f["n_lines"]) for f in compared.filter(
            pl.col("scheme") == "forward").sort("season").to_dicts()],
        "by_environment": _groups(forward, "environment"), "by_family": _groups(forward, "family"),
        "champions_as_published": [{"season": r["season"], "r_all": _finite(r["r_all"]), "slope": _finite(r["slope"]),
                          "bias": _finite(r["bias"]), "loses_to": r["loses_to"]} for r in realised.to_dicts()]}


def _groups(forward: pl.DataFrame, by: str) -> list[dict[str, Any]]:
    """r within each environment or family of ten lines or more; lines count once in a family, by their means."""
    found = []
    for (label,), rows in forward.filter(pl.col(by).is_not_null()).group_by(by):
        own = rows.group_by("line_id").agg(pl.col("predicted", "observed").mean())
        if own.height >= _MIN_GROUP:
            found.append(_interval(
                str(label), correlation(own["predicted"].to_numpy(), own["observed"].to_numpy()), own.height))
    return sorted(found, key=lambda group: group["label"])


def _interval(label: str, r: float | None, n: int) -> dict[str, Any]:
    known = r is not None and math.isfinite(r) and abs(r) < 1 and n > 3
    half = _Z95 / math.sqrt(n - 3) if known else 0.0
    z = math.atanh(r) if known and r is not None else 0.0
    return {"label": label, "r": _finite(r), "lower": math.tanh(z - half) if known else None,
            "upper": math.tanh(z + half) if known else None, "lines": n}


def _reliability(values: pl.DataFrame) -> list[dict[str, Any]]:
    found = []
    for phenotyped, label in ((True, "lines with a record"), (False, "lines without a record")):
        own = values.filter(pl.col("phenotyped") == phenotyped)["genotypic_value_reliability"]
        if own.len():
            found.append({"label": label, "lines": own.len(), "mean": own.mean(), "lowest": own.min(),
                          "highest": own.max()})
    return found


def _limits(release: _Release, trait: str, recipe: str, values: pl.DataFrame,
            validation: Mapping[str, Any]) -> list[str]:
    """Known failures and limits, each computed from the release."""
    facts = release.read(recipe).model.summary()[trait]
    scored = validation["by_season"]
    said = [] if facts["status"] == "fitted" else [f"nothing was learned: {facts['status']}"]
    if len(scored) < _FEW_SEASONS:
        said.append(f"scored on {len(scored)} seasons it had not seen; fewer than {_FEW_SEASONS} say little of another")
    said += [f"{kind} {group['label']}: r {group['r']:.2f} on {group['lines']} lines; its interval includes zero"
             for kind, part in (("season", scored), ("environment", validation["by_environment"]),
                                ("family", validation["by_family"]))
             for group in part if group["lower"] is not None and group["lower"] <= 0]
    said += [f"season {r['season']}: the baseline {name.replace('_', ' ')} did better than the champion of then"
             for r in validation["champions_as_published"] for name in r["loses_to"]]
    without = values.filter(~pl.col("phenotyped")).height
    if without:
        said.append(f"{without} of {values.height} lines have no record and are valued from their genotype alone")
    drift = release.read("drift_report").to_dicts()
    said += [f"new lines of the season: {d['message']}" for d in drift if d["decision"] in ("new_family", "platform")]
    return said or ["none was found in the figures above"]


def _reasons(release: _Release, trait: str) -> list[str]:
    decided = release.read("registered_model").filter(pl.col("trait") == trait)
    return decided["reasons"].to_list()[0] if decided.height else []


def _circumstances(view: AssetStore, program: Program, recipe: str, season: str) -> dict[str, str]:
    path = f"{program.season(season).path}/{recipe}/model/{RUN}"
    return json.loads(view.store.open(view.ref, path).read_text(encoding="utf-8"))


def _changes(card: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is not as in the version before, by name: [then, now]."""
    if before is None:
        return {"previous_version": None, "differences": {}}
    pairs = {"recipe": ("general_description", "recipe"), "trained through": ("general_description", "trained_through"),
             "code": ("development", "method", "code_version"),
             "training lines": ("development", "data", "training_lines"), "markers": ("development", "data", "markers"),
             "seasons": ("development", "data", "seasons"),
             "heritability of the line mean": ("development", "method", "parameters", "heritability_line_mean")}
    found = {}
    for name, path in pairs.items():
        then, now = _at(before, path), _at(card, path)
        if then != now:
            found[name] = [len(then), len(now)] if isinstance(then, list) and isinstance(now, list) else [then, now]
    return {"previous_version": before["general_description"]["version"], "differences": found}


def _at(card: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    for name in path:
        card = card.get(name, {})
    return card


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
