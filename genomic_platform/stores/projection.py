"""The registry and the audit log as projections of the decisions on `main`.

MLflow versions, aliases and audit lines are made from the decision tables and can be made again at any time: a kill
between a merge and its aliases is mended by the next release, decision or `publish`. Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genomic_platform.audit import Action, Finding, Head
from genomic_platform.catalogue import ASSETS
from genomic_platform.errors import NotAvailable
from genomic_platform.stores.assets import RELEASE, AssetStore
from genomic_platform.stores.decisions import hand_decisions, standing
from genomic_platform.stores.protocol import MAIN
from genomic_platform.workspace import Workspace

#: Decisions of a season that put a model in place; the others leave the champion as it was.
PROMOTING = ("initial", "refresh", "replace", "rollback")
#: What the audit log calls a decision taken by hand.
HAND_ACTIONS: dict[str, Action] = {"approve": "approval", "reject": "rejection", "rollback": "rollback"}


def project(workspace: Workspace, main: AssetStore, seasons: Sequence[str]) -> dict[tuple[str, str], int]:
    """Register the decisions of `seasons`, point `champion` and `challenger` at what stands now, and write the audit.

    Idempotent: versions are found again by their tags, audit lines by their keys. Returns the champion's version of
    each (season, trait).
    """
    registry = workspace.registry
    versions: dict[tuple[str, str], int] = {}
    noted: dict[str, dict[str, int]] = {}
    decided = [row for season in seasons for row in main.read(
        "registered_model", season, ASSETS["registered_model"]).iter_rows(named=True)]
    for row in decided:
        versions[row["season"], row["trait"]] = _champion_version(workspace, main, row)
        noted.setdefault(row["trait"], {})[row["model_version"]] = versions[row["season"], row["trait"]]
    for row in standing(main).iter_rows(named=True):
        other = row["proposed"] or row["challenger"]
        champion = _champion_version(workspace, main, row)
        noted.setdefault(row["trait"], {})[row["model_version"]] = champion
        registry.set_alias(main.program, row["trait"], "champion", champion)
        registry.set_alias(main.program, row["trait"], "challenger",
                           _version(workspace, main, row, other, row["season"], None) if other else None)
    workspace.note_versions(main.program, noted)
    for row in decided:  # last: a decision that has its line is projected whole
        _write_promotion(workspace, main, row, versions[row["season"], row["trait"]])
    _write_hand_decisions(workspace, main)
    return versions


def finish(workspace: Workspace, main: AssetStore) -> bool:
    """Project what a kill left behind: the latest season's and hand decisions without a line; whether there was any."""
    season = main.published()[-1:]
    if not _expected_lines(main, season).keys() - {entry["key"] for entry in workspace.audit.entries(main.program)}:
        return False
    project(workspace, main, season)
    return True


def _champion_version(workspace: Workspace, main: AssetStore, row: Mapping[str, str]) -> int:
    return _version(workspace, main, row, row["recipe"], row["trained_through"], row["model_version"])


def _version(workspace: Workspace, main: AssetStore, row: Mapping[str, str], recipe: str, trained: str,
             model_version: str | None) -> int:
    """The registry version of a recipe trained through a season (None = as it is now); registered when it has none."""
    view = main if model_version is None else main.holding(recipe, trained, model_version)
    fitted, released = view.record(recipe, trained), view.record(RELEASE, trained)
    if fitted is None:
        raise NotAvailable(f"{recipe} of {main.program} season {trained} does not exist on {main.ref}")
    commits = main.releases()[trained]
    return workspace.registry.register(
        program=main.program, trait=row["trait"], season=trained, run_id=fitted.extra["links"]["mlflow_run_id"],
        model_version=fitted.data_version, recipe=recipe, commit=view.ref if view.ref in commits else commits[-1],
        decision=row["decision"] if model_version else "challenger",
        tags={"fingerprint": fitted.fingerprint, "code_version": released.code_version if released else ""})


def _write_promotion(workspace: Workspace, main: AssetStore, row: Mapping[str, Any], version: int) -> None:
    """The audit line of a season's decision, when it put a model in place."""
    if row["decision"] not in PROMOTING:
        return
    released = main.record(RELEASE, row["season"])
    workspace.audit.record(
        "rollback" if row["decision"] == "rollback" else "promotion", key=promotion_key(main.program, row),
        program=main.program, who=f"run {released.run_id}" if released else "", why="; ".join(row["reasons"]),
        what={"season": row["season"], "trait": row["trait"], "decision": row["decision"], "recipe": row["recipe"],
              "trained_through": row["trained_through"], "model_version": row["model_version"],
              "registry_version": version})


def promotion_key(program: str, row: Mapping[str, Any]) -> str:
    return f"promotion:{program}:{row['season']}:{row['trait']}:{row['model_version']}"


def _write_hand_decisions(workspace: Workspace, main: AssetStore) -> None:
    """The audit lines of the decisions taken by hand."""
    for row in hand_decisions(main).iter_rows(named=True):
        workspace.audit.record(
            HAND_ACTIONS[row["action"]], key=hand_key(main.program, row), program=main.program, who=row["who"],
            why=row["reason"], what={name: row[name] for name in (
                "number", "season", "trait", "decision", "recipe", "trained_through", "model_version", "pinned")})


def hand_key(program: str, row: Mapping[str, Any]) -> str:
    return f"{row['action']}:{program}:{row['number']}"


def audit_anchor(workspace: Workspace) -> dict[str, str]:
    """What a commit keeps of the audit log, so that lines cut from its end show."""
    head = workspace.audit.head()
    return {"audit_head": head.hash, "audit_count": str(head.count)}


def verify_audit(workspace: Workspace) -> list[Finding]:
    """What is wrong with the audit log: in itself, by the heads that commits of `main` keep, by the decisions there."""
    anchors, expected = {}, {}
    log = workspace.store.log(MAIN)
    for commit in log:
        if "audit_head" in commit.metadata:
            head = Head(commit.metadata["audit_head"], int(commit.metadata["audit_count"]))
            anchors[f"commit {commit.id[:12]} ({commit.message.strip()})"] = head
    for program in sorted({c.metadata["program"] for c in log if "program" in c.metadata}):
        main = AssetStore(workspace.store, program)
        expected |= _expected_lines(main, main.published())
    return workspace.audit.verify(anchors, expected)


def _expected_lines(main: AssetStore, seasons: Sequence[str]) -> dict[str, str]:
    """Key of the audit line of every decision of these seasons and of those taken by hand, with what it stands for."""
    found, releases = {}, main.releases()
    for season in seasons:
        for commit in releases[season]:
            table = main.at(commit).read("registered_model", season, ASSETS["registered_model"])
            found |= {promotion_key(main.program, row): f"{row['decision']} of {row['trait']} in season {season}"
                      for row in table.iter_rows(named=True) if row["decision"] in PROMOTING}
    return found | {hand_key(main.program, row): f"{row['action']} of {row['trait']} after season {row['season']}"
                    for row in hand_decisions(main).iter_rows(named=True)}
