"""The cost ledger's lines, what is repeated, bands and shares, months, storage, budgets, and the meter beneath."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomic_platform.costs.budget import BudgetState, budget_state
from genomic_platform.costs.ledger import Books, Entry, Ledger
from genomic_platform.costs.prices import Prices
from genomic_platform.costs.storage import gb_months
from genomic_platform.costs.totals import MonthTotal, band_of, idle_share, month_total
from genomic_platform.costs.work import Task, Work
from genomic_platform.errors import OverBudget, ProgramError
from genomic_platform.executors.devices import DeviceMeter
from genomic_platform.models.metering import Meter
from genomic_platform.program import RESULT_SECTIONS, read_program
from genomic_platform.schemas.monitoring import COST_LEDGER
from genomic_platform.settings import Settings
from genomic_platform.workspace import Workspace

NOON = datetime(2026, 3, 15, 12, tzinfo=UTC)
ENTRY = Entry(NOON, "run", "rice", "2025", "kernel", "training", "f", False, False, False, 10.0, 20.0, 0.0, 0.0, "",
              2**20, 100)
PROGRAM = 'format_version = 1\nname = "rice"\n[traits.t]\nunit = "kg"\n'
WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from genomic_platform.costs.ledger import Ledger
from genomic_platform_tests.unit.test_costs import ENTRY
ledger = Ledger(Path(sys.argv[1]))
sys.stdin.read()
for number in range(300):
    ledger.append(replace(ENTRY, run_id=f"{sys.argv[2]}-{number}"))
"""


def entry(seconds: float = 0, **changes: Any) -> Entry:
    return replace(ENTRY, time=NOON + timedelta(seconds=seconds), **changes)


def books(tmp_path: Path, *entries: Entry) -> Books:
    ledger = Ledger(tmp_path)
    for own in entries:
        ledger.append(own)
    return ledger.read("rice")


def total(found: Books, prices: Prices = Prices()) -> MonthTotal:  # noqa: B008  it is frozen
    return month_total(found, (), prices, "rice", "2026-03", NOON + timedelta(hours=1))


def test_what_is_written_is_read_as_the_contract_says(tmp_path: Path) -> None:
    found = books(tmp_path, ENTRY, entry(1, gpu_busy_s=None, peak_memory_bytes=None, device="GPU-a, GPU-b"))
    assert COST_LEDGER.faults(found.table) == []
    assert found.table["time"].to_list() == [NOON, NOON + timedelta(seconds=1)]
    assert found.table.row(0, named=True) | {"repeated": False} == vars(ENTRY) | {"repeated": False}
    assert Ledger(tmp_path).read("wheat").table.equals(COST_LEDGER.empty())


def test_a_line_cut_short_loses_itself_alone(tmp_path: Path) -> None:
    books(tmp_path, ENTRY, entry(1))
    path = tmp_path / "costs" / "rice" / "2026-03.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    found = books(tmp_path, entry(2))
    assert [t.second for t in found.table["time"]] == [0, 2]
    assert found.unread == 1


@pytest.mark.parametrize("spoilt", [
    {"wall_s": "long"}, {"wall_s": None}, {"wall_s": [1]}, {"wall_s": float("nan")}, {"cpu_s": float("inf")},
    {"gpu_s": -5.0}, {"peak_memory_bytes": 2**70}, {"bytes_written": 1.5}, {"reused": "yes"}, {"failed": 1},
    {"asset": None}, {"season": 2025}, {"time": "0001-01-01T00:00:00+14:00"}, {"time": 5}], ids=str)
def test_a_line_of_what_no_step_costs_loses_itself_alone(tmp_path: Path, spoilt: dict[str, Any]) -> None:
    """A budget is read from these lines, and a sensor that cannot read it starts nothing for any programme."""
    books(tmp_path, ENTRY, entry(1))
    path = tmp_path / "costs" / "rice" / "2026-03.jsonl"
    first, second = path.read_text().splitlines()
    path.write_text("\n".join([first, json.dumps(json.loads(second) | spoilt), "7", "[]", "null", "{}", ""]))
    found = books(tmp_path, entry(2))
    assert [t.second for t in found.table["time"]] == [0, 2]
    assert found.unread == 5


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with five lines."""
    root = tmp_path_factory.mktemp("five")
    books(root, *(entry(i) for i in range(5)))
    (root / "whole").write_bytes((root / "costs" / "rice" / "2026-03.jsonl").read_bytes())
    return root


@settings(deadline=None, max_examples=40)
@given(cut=st.integers(min_value=0, max_value=2_500))
def test_wherever_the_file_ends_whole_lines_are_read(five: Path, cut: int) -> None:
    kept = (five / "whole").read_bytes()[:cut]
    (five / "costs" / "rice" / "2026-03.jsonl").write_bytes(kept)
    found = Ledger(five).read("rice")
    whole = kept.count(b"\n")
    assert found.table.height - whole in (0, 1)  # 1: only its line end is missing
    assert found.table.height + found.unread == whole + (not kept.endswith(b"\n") and kept != b"")


def test_two_processes_write_at_once_and_no_line_is_lost(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name], stdin=subprocess.PIPE)
               for name in "ab"]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.close()
    assert [writer.wait(60) for writer in writers] == [0, 0]
    found = Ledger(tmp_path).read("rice")
    assert set(found.table["run_id"]) == {f"{name}-{number}" for name in "ab" for number in range(300)}
    assert found.unread == 0


def test_a_month_begins_at_midnight_utc(tmp_path: Path) -> None:
    east = timezone(timedelta(hours=2))
    found = books(tmp_path, replace(ENTRY, time=datetime(2026, 3, 1, 1, 59, 59, 999999, tzinfo=east)),
                  replace(ENTRY, time=datetime(2026, 3, 1, 2, tzinfo=east)),
                  replace(ENTRY, time=datetime(2026, 3, 31, 23, 59, 59, 999999, tzinfo=UTC)),
                  replace(ENTRY, time=datetime(2026, 4, 1, tzinfo=UTC)))
    assert Ledger(tmp_path).months("rice") == ["2026-02", "2026-03", "2026-04"]
    assert [month_total(found, (), Prices(), "rice", m, NOON).steps for m in ("2026-02", "2026-03", "2026-04")] == [
        1, 2, 1]


def test_repeated_is_what_had_been_computed_from_equal_inputs(tmp_path: Path) -> None:
    lines = {"first, broken off": entry(0, failed=True), "first": entry(1), "again": entry(2),
             "taken over": entry(3, reused=True), "forced": entry(4, forced=True),
             "of another asset": entry(5, asset="genomic_blup"), "from other inputs": entry(6, fingerprint="g"),
             "before its inputs were known": entry(7, fingerprint="", failed=True),
             "and again": entry(8, fingerprint="", failed=True), "again, broken off": entry(9, failed=True)}
    found = books(tmp_path, *lines.values())
    repeated = dict(zip(lines, found.table["repeated"], strict=True))
    assert {name for name, value in repeated.items() if value} == {"again", "again, broken off"}


@pytest.mark.parametrize(("share", "band"), [
    (0.0, "healthy"), (0.0499, "healthy"), (0.05, "watch"), (0.1499, "watch"), (0.15, "warning"), (0.30, "warning"),
    (0.3001, "critical"), (1.0, "critical")])
def test_bands_at_their_edges(share: float, band: str) -> None:
    assert band_of(share) == band


def test_shares_are_of_wall_time_until_computing_has_a_price(tmp_path: Path) -> None:
    """40 s of training on a card; of 60 s of evaluation, 20 s were computed before, 10 s on purpose."""
    found = books(
        tmp_path, entry(0, wall_s=40, cpu_s=3600, gpu_s=3600),
        *(entry(i, asset="model_comparison", kind="evaluation", cpu_s=3600, wall_s=wall, forced=forced)
          for i, (wall, forced) in enumerate([(30, False), (20, False), (10, True)], start=1)))
    unpriced = total(found)
    assert (unpriced.share_of, unpriced.cost) == ("wall time", None)
    assert unpriced.evaluation_share == pytest.approx(0.6)
    assert (unpriced.repeated_share, unpriced.band) == (pytest.approx(0.2), "warning")
    evaluation, training = unpriced.kinds
    assert (evaluation.kind, evaluation.steps, evaluation.forced_share) == ("evaluation", 3, pytest.approx(0.1))
    assert evaluation.share + training.share == pytest.approx(1)
    priced = total(found, Prices("EUR", cpu_hour=1, gpu_hour=6))
    assert (priced.share_of, priced.cost) == ("cost", pytest.approx(4 + 6))
    assert priced.evaluation_share == pytest.approx(3 / 10)
    assert (priced.repeated_share, priced.band) == (pytest.approx(1 / 10), "watch")


def test_a_month_without_work_has_no_band(tmp_path: Path) -> None:
    empty = total(Ledger(tmp_path).read("rice"))
    assert (empty.steps, empty.band, empty.evaluation_share, empty.gpu_idle_share) == (0, None, None, None)
    assert empty.peak_memory_bytes is None


def test_idle_is_leased_and_not_busy(tmp_path: Path) -> None:
    found = books(tmp_path, ENTRY, entry(1, gpu_s=80, gpu_busy_s=60), entry(2, gpu_s=20, gpu_busy_s=0),
                  entry(3, gpu_s=1000, gpu_busy_s=None)).table
    assert idle_share(found) == pytest.approx(1 - 60 / 100)  # the driver of the last card told nothing
    assert idle_share(found.filter(pl.col("gpu_s") == 0)) is None
    assert idle_share(found.filter(pl.col("gpu_busy_s").is_null())) is None
    assert idle_share(found.filter(pl.col("gpu_s") == 80).with_columns(gpu_busy_s=80.5)) == 0


def test_storage_counts_from_when_it_came(tmp_path: Path) -> None:
    """1 GB all of April (30 days), 2 GB from its 16th day on."""
    held = ((datetime(2026, 3, 20, tzinfo=UTC), 10**9), (datetime(2026, 4, 16, tzinfo=UTC), 2 * 10**9))
    may = datetime(2026, 5, 2, tzinfo=UTC)
    assert gb_months(held, "2026-04", may) == pytest.approx(1 + 2 * 0.5)
    assert gb_months(held, "2026-04", datetime(2026, 4, 16, tzinfo=UTC)) == pytest.approx(0.5)
    assert gb_months(held, "2026-02", may) == 0
    december = ((datetime(2026, 12, 1, tzinfo=UTC), 10**9),)
    assert gb_months(december, "2026-12", datetime(2027, 1, 1, tzinfo=UTC)) == pytest.approx(1)


@pytest.fixture
def programme(tmp_path: Path) -> Path:
    """One that has spent 90 s of processor time this month (UTC) and much more the month before."""
    (tmp_path / "rice").mkdir()
    ledger = Ledger(tmp_path / ".genomic_platform")
    ledger.append(replace(ENTRY, cpu_s=90))
    ledger.append(replace(ENTRY, cpu_s=9000, time=datetime(2026, 2, 28, 23, 59, tzinfo=UTC)))
    return tmp_path / "rice"


def state_of(folder: Path, budget: str, **given: Any) -> BudgetState:
    (folder / "program.toml").write_text(PROGRAM + budget)
    priced = Settings.model_validate({"price_cpu_hour": 40, "price_currency": "EUR", **given})
    return budget_state(read_program(folder), Workspace.beside(folder, priced), NOON)


@pytest.mark.parametrize(("monthly", "state"), [(1.26, "ok"), (1.25, "warn"), (1.01, "warn"), (1.0, "stop"),
                                                (0.5, "stop")])
def test_a_budget_warns_at_80_and_stops_at_100_per_cent(programme: Path, monthly: float, state: str) -> None:
    found = state_of(programme, f'[budget]\nmonthly = {monthly}\ncurrency = "EUR"\n')
    assert (found.state, found.month, found.spent, found.limit) == (state, "2026-03", pytest.approx(1.0), monthly)
    assert ("--over-budget" in found.message) == (state == "stop")
    if state == "stop":
        with pytest.raises(OverBudget, match="no new training begins"):
            found.require()
    else:
        found.require()


def test_without_a_budget_or_prices_nothing_is_held_against_anything(programme: Path) -> None:
    assert state_of(programme, "").message == ""
    for currency in ("", 'currency = "USD"\n'):
        unpriced = state_of(programme, f"[budget]\nmonthly = 1\n{currency}", price_cpu_hour=0)
        assert unpriced.state == "none"
        assert "nothing is priced" in unpriced.message


def test_storage_is_part_of_what_is_spent(programme: Path) -> None:
    """A release of 2 kB lies in the store since before the month of the clock; the price makes it dear."""
    workspace = Workspace.beside(programme, Settings())
    workspace.store.branch("run")
    workspace.store.write("run", "rice/2025/kernel/a", b"a" * 1500)
    workspace.store.write("run", "rice/2025/kernel/same", b"a" * 1500)
    workspace.store.write("run", "rice/2025/kernel/b", b"b" * 500)
    workspace.store.write("run", "wheat/2025/kernel/c", b"c" * 4000)
    workspace.store.commit("run", "season", {"program": "rice"})
    workspace.store.merge("run", message="publish", metadata={"program": "rice"})
    (programme / "program.toml").write_text(PROGRAM + "[budget]\nmonthly = 1e9\n")
    later = datetime(2100, 1, 1, tzinfo=UTC) - timedelta(seconds=1)
    dear = Workspace.beside(programme, Settings.model_validate({"price_gb_month": 1e6}))
    spent = budget_state(read_program(programme), dear, later).spent
    assert spent == pytest.approx(2000 / 1e9 * 1e6)


def test_currencies_must_be_one(programme: Path) -> None:
    with pytest.raises(ProgramError, match="currency is USD; expected that of the prices, EUR"):
        state_of(programme, '[budget]\nmonthly = 1\ncurrency = "USD"\n')


def test_no_result_depends_on_a_budget(programme: Path) -> None:
    assert "budget" not in RESULT_SECTIONS
    (programme / "program.toml").write_text(PROGRAM)
    without = read_program(programme).settings_digest(*RESULT_SECTIONS)
    (programme / "program.toml").write_text(PROGRAM + "[budget]\nmonthly = 1\n")
    assert read_program(programme).settings_digest(*RESULT_SECTIONS) == without


def work(tmp_path: Path, **task: Any) -> Work:
    return Work(Workspace(tmp_path, Settings()), Task("run", "rice", "2025", "kernel", "training", **task))


def test_work_is_told_as_it_is_written_and_a_failure_costs_too(tmp_path: Path) -> None:
    with work(tmp_path) as done:
        done.fingerprint = "f"
        done._workspace.store.branch("b")
        done._workspace.store.write("b", "x", b"1234567")
        done._workspace.store.write("b", "y", b"1234567")
        facts = done.facts()
    with pytest.raises(KeyboardInterrupt), work(tmp_path):
        raise KeyboardInterrupt
    first, second = Ledger(tmp_path).read("rice").table.to_dicts()
    assert (first["failed"], second["failed"]) == (False, True)
    assert (first["bytes_written"], second["bytes_written"]) == (7, 0)
    assert facts == {"wall_s": round(first["wall_s"], 3), "cpu_s": round(first["cpu_s"], 3), "bytes_written": 7,
                     "peak_memory_mib": round(first["peak_memory_bytes"] / 2**20, 1)}


def test_work_is_not_lost_for_want_of_its_books(tmp_path: Path) -> None:
    (tmp_path / "costs").write_text("a file is in the way")
    with work(tmp_path) as done:
        pass
    assert "what kernel cost is not in the ledger" in done.unwritten


def test_leased_cards_count_times_their_number_and_reuse_leaves_them_idle(tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '0, GPU-a, Card, 16384, 100, 50'\necho '1, GPU-b, Card, 16384, 100, 100'\n")
    program.chmod(0o755)
    with work(tmp_path, cards=("GPU-b", "GPU-a")) as done:
        with DeviceMeter(str(program), ["GPU-a", "GPU-b"], every_s=0.02) as done.device_meter:
            _ = np.linalg.eigvalsh(np.eye(200))
        facts = done.facts()
    with work(tmp_path, cards=("GPU-a",)) as reused:
        reused.reused = True
    first, second = Ledger(tmp_path).read("rice").table.to_dicts()
    assert first["device"] == "GPU-a, GPU-b"
    assert first["gpu_s"] == 2 * first["wall_s"]
    assert first["gpu_busy_s"] == pytest.approx(0.75 * 2 * done.device_meter._wall_s)  # 50 and 100 % while computing
    assert first["gpu_busy_s"] < 0.75 * first["gpu_s"]
    assert facts["gpu_busy_s"] == round(first["gpu_busy_s"], 3)
    assert (second["gpu_busy_s"], second["gpu_s"] > 0) == (0.0, True)


def test_a_process_of_its_own_has_its_cards_since_it_began(tmp_path: Path) -> None:
    """Two works of one process share its lease: none of the time stands in two lines."""
    program = f"""
import time
began = time.time()
from pathlib import Path
from genomic_platform_tests.unit.test_costs import Ledger, work
root = Path({str(tmp_path)!r})
for _ in range(2):
    with work(root, cards=("GPU-a",), own_process=True):
        time.sleep(.05)
leased = Ledger(root).read("rice").table["gpu_s"].to_list()
print(leased[0] - (time.time() - began), leased[1])
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    before_python, second = map(float, told.stdout.split())
    assert before_python > -0.5  # the first has the imports too, and the start of Python before our clock
    assert 0.05 <= second < 2


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells a process's peak memory")
def test_a_meter_within_anothers_work_hides_no_peak() -> None:
    outer = Meter()
    large = np.ones(25_000_000)  # 191 MiB
    seen = outer.cost()["peak_memory_mib"]
    del large
    inner = Meter()
    small = inner.cost()["peak_memory_mib"]
    assert seen > small + 100
    assert outer.cost()["peak_memory_mib"] >= seen - 1  # the kernel counts pages in batches
