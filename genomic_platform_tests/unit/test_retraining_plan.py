"""What is done about a cause: started once, waiting, or told why not; and what the calendar asks for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from genomic_platform.catalogue import ASSETS
from genomic_platform.errors import ProgramError
from genomic_platform.program import Program, read_program
from genomic_platform.retraining.causes import Cause, causes_of
from genomic_platform.retraining.challengers import calls, kind_of
from genomic_platform.retraining.plan import answer, due_by_calendar
from genomic_platform.schemas.monitoring import ACCURACY_PROMISE, INPUT_DRIFT
from genomic_platform.schemas.predictions import DRIFT_REPORT
from genomic_platform.stores.assets import RELEASE, AssetRecord, AssetStore
from genomic_platform.stores.embedded import EmbeddedStore

NOW = datetime(2026, 9, 3, 5, tzinfo=UTC)
DRIFT = Cause("drift", "population", "new lines from another base", "p = 0.005")
LOW = Cause("accuracy", "yield", "below what was promised", "r = .1, promised .3 to .6")
TOML = """format_version = 1
name = "programme"
candidates = ["genomic_blup"]
[traits.yield]
[calendar]
seasons = "YYYY"
planting_month = 10
harvest_month = 4
"""


def program(tmp_path: Path, retraining: str = 'challengers = ["kernel"]') -> Program:
    (tmp_path / "program.toml").write_text(f"{TOML}[retraining]\n{retraining}\n")
    return read_program(tmp_path)


def released(assets: AssetStore, season: str, tables: dict[str, pl.DataFrame] | None = None, *,
             recipes: tuple[str, ...] = ("genomic_blup",), **extra: str) -> None:
    for name, table in (tables or {}).items():
        version = assets.write(name, season, table, ASSETS[name])
        assets.seal(AssetRecord(name, season, version, version, "1", "run", {}, {}))
    assets.seal(AssetRecord(RELEASE, season, "x", "x", "1", "run", dict.fromkeys([*(tables or {}), *recipes], "x"),
                            {"known_digest": "known", **extra}))


@pytest.fixture
def branch(tmp_path: Path) -> Iterator[AssetStore]:
    store = EmbeddedStore(tmp_path / "store")
    store.branch("work")
    return AssetStore(store, "programme", "work")


def test_a_cause_starts_one_run_with_the_challengers(tmp_path: Path, branch: AssetStore) -> None:
    released(branch, "2026")
    told = answer(program(tmp_path), branch, "2026", [DRIFT, LOW], now=NOW, last=None)
    assert told.cause == "drift: population (p = 0.005); yield (r = .1, promised .3 to .6)"
    assert told.run_key is not None
    assert told.run_key.startswith("programme:2026:retraining:")
    assert calls(told.cause)
    assert kind_of(told.cause) == "drift"
    again = answer(program(tmp_path), branch, "2026", [LOW, replace(DRIFT, words="other words")], now=NOW, last=None)
    assert again.run_key == told.run_key, "the same causes, in whatever words and order, are one"
    fewer = answer(program(tmp_path), branch, "2026", [DRIFT], now=NOW, last=None)
    other = answer(program(tmp_path, 'challengers = ["boosted_trees"]'), branch, "2026", [DRIFT, LOW], now=NOW,
                   last=None)
    assert len({told.run_key, fewer.run_key, other.run_key}) == 3


def test_what_was_tried_is_not_started_again(tmp_path: Path, branch: AssetStore) -> None:
    asked = program(tmp_path)
    released(branch, "2026")
    told = answer(asked, branch, "2026", [DRIFT], now=NOW, last=None)
    for cause in (told.cause, "hand: a person was first", ""):
        released(branch, "2026", recipes=("genomic_blup", "kernel"), cause=cause)
        tried = answer(asked, branch, "2026", [DRIFT], now=NOW, last=NOW)
        assert tried.run_key is None
        assert tried.why.startswith("tried kernel")
    further = program(tmp_path, 'challengers = ["kernel", "boosted_trees"]\ncooldown_days = 0')
    assert answer(further, branch, "2026", [DRIFT], now=NOW, last=NOW).run_key, "a further challenger was not tried"


def test_a_cause_waits_for_the_cooldown_and_says_until_when(tmp_path: Path, branch: AssetStore) -> None:
    asked = program(tmp_path, 'challengers = ["kernel"]\ncooldown_days = 10')
    released(branch, "2026")
    waits = answer(asked, branch, "2026", [DRIFT], now=NOW, last=NOW - timedelta(days=9))
    assert waits.run_key is None
    assert waits.again == NOW + timedelta(days=1)
    assert "waits until 2026-09-04" in waits.why
    assert answer(asked, branch, "2026", [DRIFT], now=NOW, last=NOW - timedelta(days=10)).run_key


@pytest.mark.parametrize(("section", "why"), [("", "names no challengers"),
                                              ('challengers = ["kernel"]\non = ["accuracy"]', "asks for none")])
def test_nothing_is_started_without_challengers_or_where_it_is_not_asked_for(
        tmp_path: Path, branch: AssetStore, section: str, why: str) -> None:
    released(branch, "2026")
    told = answer(program(tmp_path, section), branch, "2026", [DRIFT], now=NOW, last=None)
    assert told.run_key is None
    assert why in told.why
    assert answer(program(tmp_path, section), branch, "2026", [], now=NOW, last=None).why == ""


def test_causes_are_read_off_the_release(branch: AssetStore) -> None:
    drift = pl.DataFrame({
        "season": "2026", "decision": "new_family", "n_new_lines": 40, "n_reference_lines": 90, "n_families": 4,
        "mean_shift": .1, "fst": .08, "p_value": .005, "effective_alleles": 50.0, "max_relationship_low": 30,
        "suspect_markers": 0, "message": "new lines from another base"})
    drift = DRIFT_REPORT.conform(drift.with_columns(
        pl.lit([], dtype=c.dtype).alias(c.name) for c in DRIFT_REPORT.columns if c.name not in drift.columns))
    inputs = INPUT_DRIFT.conform(pl.DataFrame([
        {"season": "2026", "feature": name, "decision": decision, "n_new": 9, "n_reference": 18, "mean_new": 1.0,
         "mean_reference": 2.0, "effect": -1.0, "p_value": p, "p_adjusted": p, "n_outside": 0, "message": "words"}
        for name, decision, p in (("rain", "shifted", .01), ("heat", "shifted", .002), ("light", "same", .5))]))
    rows = {"season": "2026", "label": "", "n_lines": 90, "promised": .4, "lower": .3, "upper": .5,
            "n_seasons": 4, "slope": 1.0, "bias": .0, "top20_hit": .5, "gain_selected": .2, "message": "below"}
    promise = ACCURACY_PROMISE.conform(pl.DataFrame([
        rows | {"trait": "yield", "level": "season", "verdict": "below", "realised": .1},
        rows | {"trait": "height", "level": "season", "verdict": "within", "realised": .4},
        rows | {"trait": "height", "level": "family", "label": "f1", "verdict": "below", "realised": .0}]))
    released(branch, "2026", {"drift_report": drift, "input_drift": inputs, "accuracy_promise": promise})
    found = causes_of(branch, "2026")
    assert [c.name for c in found] == ["drift: population", "drift: inputs", "accuracy: yield"]
    assert found[1].words == "2 environment features shifted: heat, rain"
    assert found[1].how_sure.endswith("0.002")
    assert found[2].how_sure == "r = 0.100, promised 0.300 to 0.500"
    released(branch, "2025")
    assert causes_of(branch, "2025") == [], "older code published it without these tables"


@pytest.mark.parametrize(("today", "kind"), [
    (datetime(2026, 9, 3), "before_planting"), (datetime(2026, 5, 1), "after_harvest"),
    (datetime(2026, 10, 1), ""), (datetime(2026, 4, 30), "")])
def test_the_calendar_asks_in_the_months_before_planting_and_after_harvest(
        tmp_path: Path, branch: AssetStore, today: datetime, kind: str) -> None:
    released(branch, "2025")
    released(branch, "2026")
    told = due_by_calendar(program(tmp_path), branch, today)
    assert told.run_key == (f"programme:2026:{kind}:2026" if kind else None)
    assert kind_of(told.cause) == (kind or "season")


def test_the_month_before_january_is_december(tmp_path: Path, branch: AssetStore) -> None:
    released(branch, "2026")
    (tmp_path / "program.toml").write_text(TOML.replace("planting_month = 10", "planting_month = 1").replace(
        "harvest_month = 4", "harvest_month = 12"))
    asked = read_program(tmp_path)
    assert due_by_calendar(asked, branch, datetime(2026, 12, 5)).run_key == "programme:2026:before_planting:2026"
    assert due_by_calendar(asked, branch, datetime(2027, 1, 5)).run_key == "programme:2026:after_harvest:2027"


def test_an_ended_programme_is_left_alone(tmp_path: Path, branch: AssetStore) -> None:
    assert due_by_calendar(program(tmp_path), branch, datetime(2026, 9, 3)).run_key is None
    released(branch, "2013")
    told = due_by_calendar(program(tmp_path), branch, datetime(2026, 9, 3))
    assert told.run_key is None
    assert "2013 is the last" in told.why


def test_seasons_without_years_have_no_calendar_to_ask(tmp_path: Path, branch: AssetStore) -> None:
    released(branch, "all")
    (tmp_path / "program.toml").write_text(TOML.replace('"YYYY"', '"unordered"'))
    told = due_by_calendar(read_program(tmp_path), branch, datetime(2026, 9, 3))
    assert (told.run_key, told.why) == (None, "nothing: its seasons are not named for years")


@pytest.mark.parametrize(("section", "said"), [
    ('challengers = ["genomic_blup"]', "names candidates: genomic_blup"),
    ('challengers = ["no_such"]', "unknown recipe no_such"),
    ('challengers = ["kernel", "kernel"]', "named twice"), ('on = ["rain"]', "on.0"),
    ("cooldown_days = -1", "expected at least 0, found -1"), ("cooldown_days = 1e9", "expected at most 36500"),
    ("cooldown_days = nan", "cooldown_days")])
def test_what_is_wrong_in_the_section_is_named(tmp_path: Path, section: str, said: str) -> None:
    with pytest.raises(ProgramError, match=said):
        program(tmp_path, section)
