"""The landing sensor tick by tick: what starts a run, what starts none, and that one cause starts one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pytest

from genomic_platform.defs.monitoring import sensors
from genomic_platform.defs.monitoring.sensors import landing_sensor
from genomic_platform.io_managers.versioned import resources_of
from genomic_platform.landing import mirror as mirror_module
from genomic_platform.runs import failure_reason, run_seasons
from genomic_platform_tests.dagster.small import SEASONS, Small

Published = Callable[[int], Small]
Opened = Callable[[Small], dg.DagsterInstance]


@dataclass
class Ticks:
    """Evaluates the sensor again and again, as the daemon does: with the last cursor, and no run key twice."""

    small: Small
    instance: dg.DagsterInstance
    cursor: str | None = None
    fired: set[str] = field(default_factory=set)
    asked: int = 0
    said: str = ""

    def tick(self) -> list[str]:
        """Partition keys of the runs this tick starts."""
        with dg.build_sensor_context(self.instance, cursor=self.cursor, resources=resources_of(
                str(self.small.workspace.root))) as context:
            result = landing_sensor(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        self.said = result.skip_reason.skip_message or "" if result.skip_reason else ""
        self.asked += len(result.run_requests or [])
        requests = [r for r in result.run_requests or [] if r.run_key not in self.fired]
        self.fired |= {r.run_key for r in requests if r.run_key}
        partitions = {k for d in result.dynamic_partitions_requests or [] for k in d.partition_keys}
        assert partitions >= {r.partition_key for r in requests}
        assert all(r.tags["program"] == (r.partition_key or "").partition(":")[0] for r in requests)
        return [r.partition_key or "" for r in requests]

    def ticks(self, count: int) -> list[str]:
        return [key for _ in range(count) for key in self.tick()]


@pytest.fixture
def ticking(opened: Opened) -> Callable[[Small], Ticks]:
    return lambda small: Ticks(small, opened(small))


def test_a_new_programme_waits_one_tick_then_all_seasons_run_in_order(
        published: Published, ticking: Callable[[Small], Ticks]) -> None:
    small = published(0)
    ticks = ticking(small)
    assert ticks.tick() == []
    assert "waiting for them to rest" in ticks.said
    assert ticks.tick() == [small.key(s) for s in SEASONS]
    assert ticks.ticks(5) == []


def test_published_seasons_start_nothing_also_when_the_ui_is_opened_later(
        published: Published, ticking: Callable[[Small], Ticks]) -> None:
    small = published(2)
    small.trials("2021").unlink()
    ticks = ticking(small)
    assert ticks.ticks(50) == []
    assert ticks.said == "landing files are as published"
    ticks.cursor = None
    assert ticks.ticks(3) == []


def test_a_new_season_starts_its_run_once(published: Published, ticking: Callable[[Small], Ticks]) -> None:
    small = published(2)
    held = small.folder / "held.csv"
    small.trials("2021").replace(held)
    ticks = ticking(small)
    assert ticks.ticks(3) == []
    held.replace(small.trials("2021"))
    assert [ticks.tick(), ticks.tick()] == [[], ["small:2021"]]
    assert ticks.ticks(50) == []


def test_a_changed_season_starts_itself_and_later_ones_once(published: Published,
                                                            ticking: Callable[[Small], Ticks]) -> None:
    small = published(2)
    small.trials("2021").unlink()
    ticks = ticking(small)
    assert ticks.ticks(3) == []
    small.change_trials("2019")
    assert [ticks.tick(), ticks.tick()] == [[], ["small:2019", "small:2020"]]
    assert ticks.ticks(50) == []


def test_a_thousand_ticks_of_one_cause_ask_for_one_run(published: Published, ticking: Callable[[Small], Ticks]) -> None:
    """Also without the daemon's memory of run keys; with it, a cursor lost every hundred ticks changes nothing."""
    small = published(2)
    ticks = ticking(small)
    assert ticks.ticks(1000) == ["small:2021"]
    assert ticks.asked == 1
    for _ in range(10):
        ticks.cursor = None
        assert ticks.ticks(10) == []
    assert ticks.asked == 11


def test_a_season_on_its_way_is_not_started_again(published: Published, ticking: Callable[[Small], Ticks]) -> None:
    """A backfill has queued it; the sensor asks for it when that was cancelled."""
    small = published(2)
    ticks = ticking(small)
    queued = ticks.instance.add_run(dg.DagsterRun(
        "train_season", "00000000-0000-0000-0000-000000000002", status=dg.DagsterRunStatus.NOT_STARTED,
        tags={"program": "small", "dagster/partition": "small:2021"}))
    assert ticks.ticks(5) == []
    assert "season 2021 is on its way" in ticks.said
    ticks.instance.report_run_canceled(queued)
    assert ticks.ticks(5) == ["small:2021"]
    assert ticks.asked == 1


def test_a_file_touched_again_and_again_starts_nothing(published: Published, ticking: Callable[[Small], Ticks]) -> None:
    """At every look, so that it never rests; then at every third, so that it does, and is as published."""
    small = published(2)
    small.trials("2021").unlink()
    ticks = ticking(small)
    for every in (1, 3):
        for second in range(20):
            os.utime(small.trials("2019"), (second, second))
            assert ticks.ticks(every) == []
    assert ticks.said == "landing files are as published"
    assert ticks.asked == 0


def test_a_file_put_back_before_it_rested_starts_nothing(published: Published,
                                                         ticking: Callable[[Small], Ticks]) -> None:
    small = published(2)
    small.trials("2021").unlink()
    original = small.trials("2019").read_text()
    ticks = ticking(small)
    assert ticks.ticks(3) == []
    for _ in range(5):
        small.change_trials("2019")
        assert ticks.tick() == []
        small.trials("2019").write_text(original)
        assert ticks.ticks(3) == []
    assert ticks.asked == 0


@pytest.mark.slow
def test_a_file_put_back_to_what_it_was_starts_its_runs_again(published: Published,
                                                              ticking: Callable[[Small], Ticks]) -> None:
    """A key never fires twice, so it must not name the landing rows alone."""
    small = published(1)
    for later in SEASONS[1:]:
        small.trials(later).unlink()
    original = small.trials("2019").read_text()
    ticks = ticking(small)
    for text in ("changed", "original", "changed"):
        small.trials("2019").write_text(original)
        if text == "changed":
            small.change_trials("2019")
        assert ticks.ticks(3) == ["small:2019"], text
        (outcome,) = run_seasons(small.program, small.workspace, ["2019"])
        assert outcome.published, outcome.reason
        assert ticks.ticks(3) == []


def test_a_file_touched_but_not_changed_starts_nothing(published: Published,
                                                       ticking: Callable[[Small], Ticks]) -> None:
    small = published(1)
    for later in SEASONS[1:]:
        small.trials(later).unlink()
    ticks = ticking(small)
    assert ticks.ticks(3) == []
    shutil.copyfile(small.trials("2019"), small.folder / "same")
    (small.folder / "same").replace(small.trials("2019"))
    assert ticks.ticks(5) == []


def test_a_growing_file_is_not_taken(published: Published, ticking: Callable[[Small], Ticks]) -> None:
    small = published(1)
    small.trials("2021").unlink()
    whole = small.trials("2020").read_text().splitlines(keepends=True)
    small.trials("2020").unlink()
    ticks = ticking(small)
    assert ticks.ticks(3) == []
    for part in range(10, len(whole), 10):
        small.trials("2020").write_text("".join(whole[:part]))
        assert ticks.tick() == []
    small.trials("2020").write_text("".join(whole))
    assert [ticks.tick(), ticks.tick()] == [[], ["small:2020"]]


def test_a_label_outside_the_calendar_starts_nothing_until_it_is_repaired(
        published: Published, ticking: Callable[[Small], Ticks]) -> None:
    small = published(0)
    small.edit_program(r'first = "2019"', 'first = "2020"')
    ticks = ticking(small)
    assert ticks.ticks(5) == []
    assert "labels outside the calendar" in ticks.said
    assert "2019" in ticks.said
    small.edit_program(r'first = "2020"', 'first = "2019"')
    assert ticks.ticks(3) == [small.key(s) for s in SEASONS]


def test_a_bad_file_is_refused_and_another_programme_runs_all_the_same(
        published: Published, ticking: Callable[[Small], Ticks], loose: dict[str, list[Path]]) -> None:
    small = published(0)
    good = small.trials("2020").read_bytes()
    small.trials("2020").write_bytes(b"")
    Small.made(small.folder.parent, loose, "another", SEASONS[:1])
    ticks = ticking(small)
    assert ticks.ticks(2) == ["another:2019"]
    assert ticks.ticks(10) == []
    assert "small: refused" in ticks.said
    assert "trials_2020.csv" in ticks.said
    small.trials("2020").write_bytes(good)
    assert ticks.ticks(3) == [small.key(s) for s in SEASONS]


def test_a_programme_that_went_away_does_not_stop_the_others(
        published: Published, ticking: Callable[[Small], Ticks], loose: dict[str, list[Path]]) -> None:
    small = published(0)
    Small.made(small.folder.parent, loose, "another", SEASONS[:1])
    shutil.rmtree(small.folder)
    ticks = ticking(small)
    assert ticks.ticks(2) == ["another:2019"]
    ticks.tick()
    assert "small: refused" in ticks.said
    assert set(json.loads(ticks.cursor or "")) == {"another", "small"}


@pytest.mark.parametrize("cursor", ["garbage", "[]", "7", '{"small": "old"}', '{"small": {"acted": 3}}'])
def test_a_cursor_that_cannot_be_read_counts_as_none(published: Published, ticking: Callable[[Small], Ticks],
                                                     cursor: str) -> None:
    ticks = ticking(published(2))
    ticks.cursor = cursor
    assert ticks.ticks(3) == ["small:2021"]
    assert set(json.loads(ticks.cursor or "")) == {"small"}


def test_a_mirror_is_looked_at_first_and_one_that_is_away_starts_nothing(
        published: Published, ticking: Callable[[Small], Ticks], tmp_path: Path) -> None:
    small, mirror = published(2), tmp_path / "mirror"
    (mirror / "trials").mkdir(parents=True)
    small.trials("2021").replace(mirror / "2021.part")
    with (small.folder / "program.toml").open("a", encoding="utf-8") as file:
        file.write(f'\n[landing]\nmirror = "{mirror.as_uri()}"\n')
    ticks = ticking(small)
    assert ticks.ticks(3) == []
    (mirror / "2021.part").rename(mirror / "trials" / "trials_2021.csv")
    mirror.rename(tmp_path / "away")
    assert ticks.ticks(3) == []
    assert "small: refused: nothing is at" in ticks.said
    (tmp_path / "away").rename(mirror)
    assert ticks.tick() == []
    assert "brought trials/trials_2021.csv from the mirror" in ticks.said
    assert ticks.tick() == ["small:2021"]
    (mirror / "trials" / "trials_2021.csv").unlink()
    assert ticks.ticks(3) == []
    assert "no longer in the mirror, the local copy stays" in ticks.said
    assert ticks.asked == 1


def test_a_tick_that_could_not_look_keeps_what_it_knew(published: Published, ticking: Callable[[Small], Ticks],
                                                       tmp_path: Path) -> None:
    """Of a mirror whose files take longer than a tick has, nothing is started before all are here."""
    small, mirror = published(2), tmp_path / "mirror"
    (mirror / "trials").mkdir(parents=True)
    with (small.folder / "program.toml").open("a", encoding="utf-8") as file:
        file.write(f'\n[landing]\nmirror = "{mirror.as_uri()}"\n')
    small.trials("2021").replace(mirror / "trials" / "trials_2021.csv")
    ticks = ticking(small)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sensors, "MIRROR_SECONDS", 0.0)
        patched.setattr(mirror_module, "_CHUNK", 1000)
        for part in range(3):
            assert ticks.tick() == []
            assert "waits: 0 of 1 new or changed files" in ticks.said, part
    assert [ticks.tick(), ticks.tick()] == [[], ["small:2021"]]


def test_a_tick_ends_runs_whose_process_was_killed(published: Published, ticking: Callable[[Small], Ticks],
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    from genomic_platform import orphans
    from genomic_platform.io_managers.versioned import PID_TAG

    monkeypatch.setattr(orphans, "END_SECONDS", 0.0)
    ticks = ticking(published(0))
    killed = ticks.instance.add_run(dg.DagsterRun(
        "train_season", "00000000-0000-0000-0000-000000000001", status=dg.DagsterRunStatus.STARTED,
        tags={"program": "small", PID_TAG: "1"}))
    with ticks.small.workspace.turn("small"):
        ticks.tick()
        assert [r.run_id for r in ticks.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))] == [
            killed.run_id]
    ticks.tick()
    assert [r.status for r in ticks.instance.get_runs()] == [dg.DagsterRunStatus.FAILURE]
    assert failure_reason(ticks.instance, killed.run_id).endswith("the process of this run was killed")
