"""The ledger's lines beside the events of the runs that wrote them; the books; what a budget stops, and what not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from genomic_platform.costs.budget import budget_state
from genomic_platform.costs.ledger import Entry, Ledger
from genomic_platform.definitions import build_definitions
from genomic_platform.defs.budget import OVER_BUDGET_TAG
from genomic_platform.errors import OverBudget
from genomic_platform.io_managers.versioned import resources_of
from genomic_platform.models.recipes import RECIPES
from genomic_platform.results.answers import predict_lines
from genomic_platform.results.report import report
from genomic_platform.results.status import status
from genomic_platform.runs import run_seasons
from genomic_platform_tests.dagster.small import Small, failures_of
from genomic_platform_tests.dagster.test_landing_sensor import Ticks

Published = Callable[[int], Small]
Opened = Callable[[Small], dg.DagsterInstance]


def ledger_of(small: Small, run_id: str | None = None) -> pl.DataFrame:
    table = Ledger(small.workspace.root).read(small.name).table
    return table if run_id is None else table.filter(pl.col("run_id") == run_id)


def test_every_step_of_a_run_has_its_line_and_shows_it(published: Published, opened: Opened) -> None:
    """A line's wall time lies within the step's by Dagster's clock, which has input and event log besides."""
    small = published(1)
    (run,) = opened(small).get_runs()
    lines = {row["asset"]: row for row in ledger_of(small, run.run_id).to_dicts()}
    steps: dict[str, float] = {}
    shown: dict[str, dict[str, object]] = {}
    for entry in opened(small).all_logs(run.run_id):
        event = entry.dagster_event
        if event is None or event.step_key is None or "." in event.step_key:
            continue
        if event.is_step_success:
            steps[event.step_key] = event.step_success_data.duration_ms / 1e3
        elif event.is_step_materialization:
            metadata = event.step_materialization_data.materialization.metadata
            shown[event.step_key] = {name: value.value for name, value in metadata.items()}
    assert set(lines) == set(small.main.records("2019"))
    assert set(lines) == {name for name in steps if "wall_s" in shown.get(name, {})}
    assert {name for name in shown if name not in lines} <= {*RECIPES, "further_candidates"}  # that fit nothing here
    for name, line in lines.items():
        assert 0 < line["wall_s"] <= steps[name], name
        assert shown[name]["wall_s"] == round(line["wall_s"], 3), name
        assert shown[name]["bytes_written"] == line["bytes_written"], name
        assert (line["program"], line["season"], line["failed"], line["reused"]) == ("small", "2019", False, False)
    assert lines["kernel"]["peak_memory_bytes"] > 2**20
    held = {o.sha256: o.size for o in small.workspace.store.list("main", "small/") if "/_records/" not in o.path}
    written = {name: line["bytes_written"] for name, line in lines.items()}
    assert written.pop("season_release") > 0  # its record, and program.toml
    assert sum(written.values()) == sum(held.values())
    assert {line["kind"] for line in lines.values()} == {"data", "training", "evaluation", "prediction", "monitoring",
                                                         "release"}


def test_what_is_taken_over_adds_nothing_and_what_fails_is_marked(published: Published, opened: Opened) -> None:
    small = published(1)
    again = small.run(opened(small), "2019", assets=["trial_records", "line_means", "kernel"])
    assert again.success
    lines = ledger_of(small, again.run_id)
    assert lines["asset"].sort().to_list() == ["kernel", "line_means", "trial_records"]
    assert (lines["reused"].all(), lines["bytes_written"].sum(), lines["repeated"].any()) == (True, 0, False)
    small.change_trials("2020", value=float("inf"))
    failing = small.run(opened(small), "2020", assets=["trial_records"])
    assert not failing.success
    assert [(r["asset"], r["failed"], r["wall_s"] > 0) for r in ledger_of(small, failing.run_id).to_dicts()] == [
        ("trial_records", True, True)]


def test_the_books_show_each_programmes_month(published: Published, opened: Opened) -> None:
    small = published(1)
    on_a_card = Entry(datetime.now(UTC), "run", "other", "2019", "kernel", "training", "f", False, False, False,
                      9.0, 9.0, 9.0, 6.0, "GPU-a", 2**20, 100)
    Ledger(small.workspace.root).append(on_a_card)  # only one of the programmes has idle cards to tell of
    (small.workspace.root / "costs" / "without_lines").mkdir()
    job = build_definitions(resources_of(str(small.workspace.root))).resolve_job_def("keep_books")
    result = job.execute_in_process(instance=opened(small))
    assert result.success
    (event,) = result.get_asset_materialization_events()
    shown = {name: value.value for name, value in event.materialization.metadata.items()}
    assert shown["dagster/row_count"] == ledger_of(small).height + 1
    assert shown["other: gpu_idle_share"] == pytest.approx(1 / 3)
    assert shown["small: band"] == "healthy"
    assert "| small |" in shown["months"]
    assert ";base64," in shown["small: by_kind"]
    assert shown["prices"] == "unpriced: price_cpu_hour, price_gpu_hour, price_gb_month"


@pytest.fixture
def spent(published: Published, monkeypatch: pytest.MonkeyPatch) -> Small:
    """A programme that has spent its month's budget on its first season, with a second to train."""
    monkeypatch.setenv("GENOMIC_PLATFORM_PRICE_CPU_HOUR", "3600")
    monkeypatch.setenv("GENOMIC_PLATFORM_PRICE_CURRENCY", "EUR")
    small = published(1)
    small.trials("2021").unlink()
    small.edit_program(r"\A", '[budget]\nmonthly = 0.001\ncurrency = "EUR"\n\n')
    text = (small.folder / "program.toml").read_text()
    section, _, rest = text.partition("\n\n")
    (small.folder / "program.toml").write_text(f"{rest}\n{section}\n")
    assert budget_state(small.program, small.workspace).state == "stop"
    return small


def test_a_spent_budget_stops_training(spent: Small, opened: Opened) -> None:
    with pytest.raises(OverBudget, match="no new training begins"):
        run_seasons(spent.program, spent.workspace, ["2020"])
    instance = opened(spent)
    backfill = spent.run(instance, "2020", assets=["trial_records", "kernel"])
    assert not backfill.success
    assert "run --over-budget" in failures_of(backfill)["trial_records"]
    run = instance.get_run_by_id(backfill.run_id)
    assert run is not None
    assert run.tags["dagster/max_retries"] == "0"
    assert ledger_of(spent, run.run_id).is_empty()


def test_a_spent_budget_stops_no_predictions_reports_or_preparing_of_data(spent: Small, opened: Opened) -> None:
    genotypes = next((spent.folder / "landing" / "genotypes").iterdir())
    assert predict_lines(spent.program, spent.workspace, [genotypes]).height
    assert report(spent.program, spent.workspace)["results"]
    assert "spent in" in status(spent.program, spent.workspace).budget.message
    assert spent.run(opened(spent), "2020", assets=["trial_records"]).success


def test_a_person_may_go_over_the_budget_and_is_named(spent: Small, opened: Opened) -> None:
    """The line means of 2019 are not asked for, so the run fails soon; that it began is what counts."""
    over = spent.run(opened(spent), "2020", assets=["trial_records", "kernel"], tags={OVER_BUDGET_TAG: "ann"})
    assert "kernel" in failures_of(over)
    assert "trial_records" not in failures_of(over)
    entry = spent.workspace.audit.entries("small")[-1]
    assert (entry["action"], entry["who"], entry["what"]["run"]) == ("over budget", "ann", over.run_id)
    assert (entry["what"]["season"], entry["what"]["budget"], entry["what"]["currency"]) == ("2020", 0.001, "EUR")


def test_the_sensor_waits_for_budget_and_then_goes_on(spent: Small, opened: Opened) -> None:
    ticks = Ticks(spent, opened(spent))
    assert ticks.ticks(4) == []
    assert "small: " in ticks.said
    assert "no new training begins" in ticks.said
    spent.edit_program(r"monthly = 0.001", "monthly = 1e9")
    assert ticks.ticks(2) == ["small:2020"]
    assert ticks.ticks(3) == []


def test_runs_refused_for_want_of_budget_are_asked_for_again(spent: Small, opened: Opened) -> None:
    """Asked for before the budget was spent: the same cause must fire a second time, once."""
    spent.edit_program(r"monthly = 0.001", "monthly = 1e9")
    ticks = Ticks(spent, opened(spent))
    assert ticks.ticks(2) == ["small:2020"]
    spent.edit_program(r"monthly = 1e9", "monthly = 0.001")
    assert ticks.ticks(3) == []
    spent.edit_program(r"monthly = 0.001", "monthly = 1e9")
    assert ticks.ticks(3) == ["small:2020"]


@pytest.mark.slow
def test_the_command_line_goes_over_the_budget_when_told(spent: Small, tmp_path: Path) -> None:
    (outcome,) = run_seasons(spent.program, spent.workspace, ["2020"], over_budget=True)
    assert outcome.published, outcome.reason
    entries = [e for e in spent.workspace.audit.entries("small") if e["action"] == "over budget"]
    assert [(e["who"], e["what"]["run"]) for e in entries] == [(spent.workspace.settings.who, outcome.run_id)]
