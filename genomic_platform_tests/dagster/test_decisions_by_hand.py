"""Rollback, approval, rejection: what stands then on `main`, in the registry, the audit log and next season."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import polars as pl
import pytest

from genomic_platform.abandoned import abandoned, sweep, unpublished_run
from genomic_platform.definitions import build_definitions
from genomic_platform.errors import NotAvailable, ProgramError, StoreUnavailable
from genomic_platform.io_managers.versioned import resources_of
from genomic_platform.models.checkpoint import FILE as CHECKPOINT
from genomic_platform.models.checkpoint import Checkpoint
from genomic_platform.program import FieldSeason
from genomic_platform.results import answers
from genomic_platform.results.report import report
from genomic_platform.results.status import status
from genomic_platform.runs import run_seasons
from genomic_platform.stores import release
from genomic_platform.stores.deciding import approve, reject, roll_back
from genomic_platform.stores.decisions import hand_decisions, pinned, standing
from genomic_platform.stores.mlflow import ModelRegistry
from genomic_platform.stores.projection import finish, verify_audit
from genomic_platform_tests.dagster.small import Small, failures_of

Published = Callable[[int], Small]
Opened = Callable[[Small], dg.DagsterInstance]
TRAIT = "grain_yield_t_ha"
WHY = {"reason": "values of the new model do not fit the field", "who": "ana"}


def champion(small: Small) -> dict[str, Any]:
    return standing(small.main).filter(pl.col("trait") == TRAIT).row(0, named=True)


def aliases(small: Small) -> dict[str, int]:
    return small.workspace.registry.aliases(small.name)[TRAIT]


def actions(small: Small) -> list[tuple[str, str]]:
    return [(e["action"], e["what"].get("season", "")) for e in small.workspace.audit.entries(small.name)]


def agree(small: Small) -> None:
    """Registry alias, decisions on `main` and audit log say the same."""
    versions = small.workspace.registry.versions(small.name)
    named = versions.filter(pl.col("trait") == TRAIT, pl.col("version") == aliases(small)["champion"])
    assert named["model_version"].to_list() == [champion(small)["model_version"]]
    assert verify_audit(small.workspace) == []
    assert [b for b in small.workspace.store.branches() if b.startswith("decide-")] == []


def run(small: Small, season: str) -> None:
    (outcome,) = run_seasons(small.program, small.workspace, [season])
    assert outcome.published, outcome.reason


def test_rollback_is_used_at_once_and_pins_until_approval(published: Published) -> None:
    small = published(2)
    bad, before = champion(small), aliases(small)["champion"]
    assert bad["trained_through"] == "2020"
    decided = roll_back(small.workspace, small.name, TRAIT, **WHY)
    assert (decided.decision, decided.trained_through) == ("rollback", "2019")
    assert champion(small)["trained_through"] == "2019"
    assert aliases(small)["champion"] != before
    agree(small)
    (held,) = answers._champions(small.main, "2020").values()
    assert set(held.model.predict(small.main.read("genotype_panel", "2020", answers.ASSETS["genotype_panel"]))["trait"])
    values = answers.standing_values(small.main, "2020", small.program.file.units)
    as_published = small.main.read("breeding_values", "2020", answers.ASSETS["breeding_values"])
    assert values["line_id"].to_list() == as_published["line_id"].to_list()
    assert not values.equals(as_published)
    ranked = answers.ranking(small.program, small.workspace)
    best = values.sort("genotypic_value", descending=True)["line_id"][0]
    assert best in ranked["line_id"].head(3).to_list()

    run(small, "2021")
    kept = champion(small)
    assert (kept["decision"], kept["trained_through"], kept["proposed"]) == ("keep", "2019", kept["recipe"])
    assert "rolled back by ana" in kept["reasons"][0]
    assert list(pinned(small.main)) == [TRAIT]
    assert small.main.read("retraining_effect", "2021", answers.ASSETS["retraining_effect"]).is_empty(), "gone back to"
    agree(small)
    approved = approve(small.workspace, small.name, TRAIT, reason="checked in the nursery", who="ben")
    assert (approved.decision, approved.trained_through) == ("refresh", "2021")
    assert pinned(small.main) == {}
    agree(small)
    assert actions(small)[-1] == ("approval", "2021")


def test_reject_keeps_champion_and_pin(published: Published) -> None:
    small = published(2)
    roll_back(small.workspace, small.name, TRAIT, **WHY)
    with pytest.raises(NotAvailable, match="nothing waits"):
        reject(small.workspace, small.name, TRAIT, **WHY)
    run(small, "2021")
    rejected = reject(small.workspace, small.name, TRAIT, reason="still off", who="ana")
    assert (rejected.decision, rejected.trained_through) == ("rejected", "2019")
    assert list(pinned(small.main)) == [TRAIT]
    assert champion(small)["proposed"] is None
    agree(small)


def test_manual_approval_waits(published: Published) -> None:
    small = published(1)
    path = small.folder / "program.toml"
    path.write_text(path.read_text() + '\n[gate]\napproval = "manual"\n')
    run(small, "2020")
    waiting = champion(small)
    assert (waiting["decision"], waiting["trained_through"]) == ("pending", "2019")
    assert waiting["proposed"] == waiting["recipe"]
    assert "challenger" in aliases(small)
    proposed = aliases(small)["challenger"]
    approve(small.workspace, small.name, TRAIT, **WHY)
    assert champion(small)["trained_through"] == "2020"
    assert aliases(small)["champion"] == proposed
    agree(small)


def test_rollback_to_a_version_and_back_by_version(published: Published) -> None:
    small = published(2)
    now = aliases(small)["champion"]
    roll_back(small.workspace, small.name, TRAIT, **WHY)
    with pytest.raises(NotAvailable, match="no champion before"):
        roll_back(small.workspace, small.name, TRAIT, **WHY)
    roll_back(small.workspace, small.name, TRAIT, to=now, **WHY)
    assert champion(small)["trained_through"] == "2020"
    assert hand_decisions(small.main)["number"].to_list() == [1, 2]
    agree(small)


def test_refusals_name_the_repair(published: Published) -> None:
    small = published(1)
    for arguments, error, said in (
            ({"trait": TRAIT, "reason": " "}, ProgramError, "no reason given"),
            ({"trait": "oil"}, ProgramError, f"expected one of {TRAIT}"),
            ({"trait": TRAIT}, NotAvailable, "no champion before"),
            ({"trait": TRAIT, "to": 99}, NotAvailable, "no version 99 in the registry; expected one of"),
            ({"trait": TRAIT, "to": aliases(small)["champion"]}, ProgramError, "champion already")):
        with pytest.raises(error, match=said):
            roll_back(small.workspace, small.name, **{**WHY, **arguments})  # type: ignore[arg-type]
    with pytest.raises(NotAvailable, match="nothing waits for approval and no rollback pins it"):
        approve(small.workspace, small.name, TRAIT, **WHY)
    assert hand_decisions(small.main).is_empty()
    with pytest.raises(NotAvailable, match="nothing of small is published yet"):
        roll_back(published_nothing(small), small.name, TRAIT, **WHY)


def published_nothing(small: Small) -> Any:
    return Small(small.folder.parent / "elsewhere").workspace


def test_replayed_season_does_not_take_the_rolled_back_model_away(published: Published) -> None:
    small = published(2)
    roll_back(small.workspace, small.name, TRAIT, **WHY)
    target = champion(small)["model_version"]
    small.change_trials("2019")
    run(small, "2019")
    record = small.main.record("genomic_blup", "2019")
    assert record is not None
    assert record.data_version != target
    assert champion(small)["model_version"] == target
    (held,) = answers._champions(small.main, "2020").values()
    assert held.values.height


def test_run_that_a_rollback_overtook_decides_anew(published: Published, opened: Opened,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    small = published(2)
    real, calls = release._require_same_decisions, []

    def overtaken(assets: Any, season: str) -> None:
        if not calls:
            calls.append(season)
            roll_back(small.workspace, small.name, TRAIT, **WHY)
        real(assets, season)

    monkeypatch.setattr(release, "_require_same_decisions", overtaken)
    result = small.run(opened(small), "2021")
    assert "it decides anew" in failures_of(result)["season_release"]
    run_of = opened(small).get_run_by_id(result.run_id)
    assert run_of is not None
    assert run_of.tags["dagster/retry_strategy"] == "ALL_STEPS"
    assert "dagster/max_retries" not in run_of.tags
    assert small.main.published() == ["2019", "2020"]
    (outcome,) = run_seasons(small.program, small.workspace, ["2021"], continues=result.run_id)
    assert outcome.published
    assert champion(small)["trained_through"] == "2019"
    agree(small)


def test_command_line_goes_again_by_itself(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    small = published(2)
    real, calls = release._require_same_decisions, []

    def overtaken(assets: Any, season: str) -> None:
        calls.append(season)
        if len(calls) == 1:
            roll_back(small.workspace, small.name, TRAIT, **WHY)
        real(assets, season)

    monkeypatch.setattr(release, "_require_same_decisions", overtaken)
    run(small, "2021")
    assert calls == ["2021", "2021"]
    assert champion(small)["trained_through"] == "2019"
    assert small.workspace.store.branches() == ["main"]
    agree(small)


def test_registry_away_changes_nothing(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    small = published(2)
    before = small.workspace.store.resolve("main")

    def away(self: ModelRegistry) -> None:
        raise StoreUnavailable("MLflow is away")

    with monkeypatch.context() as patch:
        patch.setattr(ModelRegistry, "require_ready", away)
        with pytest.raises(StoreUnavailable, match="away"):
            roll_back(small.workspace, small.name, TRAIT, **WHY)
        (outcome,) = run_seasons(small.program, small.workspace, ["2021"])
        assert "MLflow is away" in outcome.reason
    assert small.workspace.store.resolve("main") == before
    assert {b for b in small.workspace.store.branches() if b.startswith("decide-")} == set()
    agree(small)


KILLED_AT = """
import os, signal, sys
from pathlib import Path
from genomic_platform.audit import AuditLog
from genomic_platform.stores.deciding import roll_back
from genomic_platform.stores.embedded import EmbeddedStore
from genomic_platform.stores.mlflow import ModelRegistry
from genomic_platform.workspace import Workspace

step, folder, trait = sys.argv[1:]
owner = {"set_alias": ModelRegistry, "record": AuditLog}.get(step, EmbeddedStore)
setattr(owner, step, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
roll_back(Workspace.beside(Path(folder)), Path(folder).name, trait, reason="off in the field", who="ana")
"""


@pytest.mark.parametrize("step", ["write", "commit", "merge", "delete_branch", "set_alias", "record"])
def test_killed_decision_is_whole_or_nothing(published: Published, step: str) -> None:
    """kill -9 where the step would begin."""
    small = published(2)
    before = champion(small)["model_version"]
    ended = subprocess.run([sys.executable, "-c", KILLED_AT, step, str(small.folder), TRAIT], check=False)
    assert ended.returncode == -signal.SIGKILL
    taken = champion(small)["model_version"] != before
    assert taken == (step in ("delete_branch", "set_alias", "record"))
    if taken:  # what a person sees who tries again
        assert finish(small.workspace, small.main)
        assert not finish(small.workspace, small.main)
    else:
        roll_back(small.workspace, small.name, TRAIT, **WHY)
    left = [b for b in small.workspace.store.branches() if b.startswith("decide-")]
    assert [item.branch for item in sweep(small.workspace, small.name, 0)] == left
    agree(small)
    assert hand_decisions(small.main).height == 1


def test_audit_log_without_the_newest_lines_is_found(published: Published, tmp_path: Path) -> None:
    small = published(2)
    roll_back(small.workspace, small.name, TRAIT, **WHY)
    log = small.workspace.audit.path
    *lines, last = log.read_text().splitlines()
    log.write_text("".join(f"{line}\n" for line in lines))
    assert '"rollback"' in last
    (finding,) = verify_audit(small.workspace)
    assert f"rollback of {TRAIT} after season 2020" in finding.message


def job(small: Small, instance: dg.DagsterInstance, name: str, **config: object) -> dg.ExecuteInProcessResult:
    """Run one of the jobs as the UI's launchpad does."""
    found = build_definitions(resources_of(str(small.workspace.root))).resolve_job_def(name)
    (op,) = found.graph.node_dict
    given = {"program": small.name, "trait": TRAIT, "reason": "off in the field", "who": "ana", **config}
    return found.execute_in_process(instance=instance, raise_on_error=False,
                                    run_config={"ops": {op: {"config": given}}})


def test_jobs_of_the_ui_decide(published: Published, opened: Opened) -> None:
    small = published(2)
    instance = opened(small)
    rolled = job(small, instance, "rollback")
    assert rolled.success
    assert champion(small)["trained_through"] == "2019"
    assert "program" not in (instance.get_run_by_id(rolled.run_id) or rolled.dagster_run).tags
    refused = job(small, instance, "reject")
    assert failures_of(refused) == {"reject_what_waits": f"{TRAIT}: nothing waits for approval"}
    assert job(small, instance, "approve").success
    assert pinned(small.main) == {}
    agree(small)


def test_report_and_status_show_what_waits(published: Published) -> None:
    small = published(2)
    roll_back(small.workspace, small.name, TRAIT, **WHY)
    (now,) = report(small.program, small.workspace)["champions"]
    assert (now["decision"], now["trained_through"]) == ("rollback", "2019")
    assert "rolled back by ana" in now["pinned"]
    assert now["registry_version"] == aliases(small)["champion"]
    assert "pinned, rolled back by ana" in status(small.program, small.workspace).waiting[TRAIT]


def test_unpublished_run_is_finished_or_swept(published: Published, opened: Opened) -> None:
    small = published(1)
    instance = opened(small)
    run_id = small.run(instance, "2020", assets=["trial_records", "line_means"]).run_id
    assert unpublished_run(small.workspace, small.name, run_id[:6]) == (run_id, "2020")
    with pytest.raises(NotAvailable, match=f"expected one of: {run_id[:8]} \\(season 2020\\)"):
        unpublished_run(small.workspace, small.name, "nothing")
    assert abandoned(small.workspace, small.name, 1.0) == []
    assert [a.branch for a in abandoned(small.workspace, small.name, 0.0)] == [f"run-{run_id}"]
    made = small.main.at(f"run-{run_id}").record("line_means", "2020")
    (outcome,) = run_seasons(small.program, small.workspace, ["2020"], continues=run_id)
    assert outcome.published, outcome.reason
    assert made is not None
    assert small.main.record("line_means", "2020") == made
    other = small.run(instance, "2021", assets=["trial_records"]).run_id
    assert [a.branch for a in sweep(small.workspace, small.name, 0.0)] == [f"run-{other}"]
    assert small.workspace.store.branches() == ["main"]


def test_checkpoints_that_no_run_came_back_to_are_swept(published: Published, opened: Opened) -> None:
    """Of two trainings the older one goes, unless its season is under way; another programme's stay."""
    small = published(1)
    instance = opened(small)
    elsewhere = FieldSeason("another", "2020")
    old, fresh, other = (small.workspace.checkpoints(season, name) for season, name in (
        (small.program.season("2020"), "old"), (small.program.season("2020"), "fresh"), (elsewhere, "old")))
    for folder, days in ((old, 8), (fresh, 0), (other, 8)):
        Checkpoint(folder / "trait").save({"epoch": 3})
        for path in (folder / "trait" / CHECKPOINT, folder / "trait", folder):
            os.utime(path, (time.time() - days * 86_400,) * 2)
    waiting = dg.DagsterRun(job_name="train_season", run_id=str(uuid4()), status=dg.DagsterRunStatus.STARTED,
                            tags={"dagster/partition": small.key("2020")})
    instance.add_run(waiting)
    assert sweep(small.workspace, small.name, 7.0) == []
    instance.report_run_canceled(waiting)
    (found,) = abandoned(small.workspace, small.name, 7.0)
    assert (found.checkpoints, found.season, round(found.days)) == (old, "2020", 8)
    assert found.name == "checkpoints of training old"
    assert [item.checkpoints for item in sweep(small.workspace, small.name, 7.0)] == [old]
    assert [folder.exists() for folder in (old, fresh, other)] == [False, True, True]


def test_a_season_under_way_is_not_swept(published: Published, opened: Opened) -> None:
    small = published(1)
    instance = opened(small)
    run_id = small.run(instance, "2020", assets=["trial_records"]).run_id
    waiting = dg.DagsterRun(job_name="train_season", run_id=str(uuid4()), status=dg.DagsterRunStatus.STARTED,
                            tags={"dagster/partition": small.key("2020")})
    instance.add_run(waiting)
    small.workspace.store.branch(f"run-{waiting.run_id}")
    assert sweep(small.workspace, small.name, 0.0) == []
    assert set(small.workspace.store.branches()) == {"main", f"run-{run_id}", f"run-{waiting.run_id}"}
