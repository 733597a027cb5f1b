"""Backfills on a real daemon as the UI starts them: cancelled, their daemon killed, and downstream of one asset.

One server for the whole file. Each test has a programme of its own; what has to run first, the command line runs. Most
of the time is waiting: Dagster looks at backfills every 30 seconds, and nothing sets that.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from genomic_platform.catalogue import ASSETS
from genomic_platform.runs import run_seasons
from genomic_platform.stores.assets import RELEASE
from genomic_platform_tests.dagster.small import SEASONS, Small, downstream_of
from genomic_platform_tests.support.served import Served, serving
from genomic_platform_tests.support.waiting import HOLD, RECIPE

pytestmark = pytest.mark.slow
RECIPES = ["genomic_blup", "kernel"]
GRAPH = [*ASSETS, *RECIPES, "further_candidates", RELEASE]
SECONDS = 600.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("live")


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOLD, str(folder / "hold"))
        with serving(folder / ".genomic_platform") as running:
            yield running


@pytest.fixture
def by_hand(served: Served) -> Iterator[Served]:
    """The server with its sensor switched off, so that nothing but the test starts runs."""
    served.sensor(running=False)
    yield served
    served.sensor(running=True)


def runs_of(served: Served, key: str) -> list[dict[str, Any]]:
    return served.runs(dagster__partition=key)


def ended(served: Served, backfill: str, status: str) -> bool:
    found = served.backfill_status(backfill)
    assert found in ("REQUESTED", "CANCELING", "COMPLETING", "FAILING", status), found
    return found == status


def test_a_cancelled_backfill_is_taken_up_where_it_was(by_hand: Served, folder: Path,
                                                       loose: dict[str, list[Path]]) -> None:
    """Cancelled while 2020 is fitted. Re-executed from failure, 2020 goes on on its branch; 2021, of which Dagster asks
    first, refuses and is run by the next re-execution."""
    small = Small.made(folder, loose, "cancelled")
    small.edit_program(r"candidates = \[.*\]", f"candidates = ['{RECIPE}']")
    (folder / "hold").mkdir()
    (folder / "hold" / "2020").touch()
    keys = [small.key(s) for s in SEASONS]
    by_hand.add_partitions(keys)
    backfill = by_hand.backfill(GRAPH, keys)
    by_hand.until(lambda: [b for b in small.workspace.store.branches() for r in runs_of(by_hand, keys[1])
                           if b == f"run-{r['runId']}" and small.main.at(b).record("training_set", "2020")],
                  SECONDS, "2020 has its training set")
    by_hand.cancel(backfill)
    by_hand.until(lambda: ended(by_hand, backfill, "CANCELED"), SECONDS, "the backfill is cancelled")
    assert small.main.published() == ["2019"]
    assert {r["status"] for r in by_hand.runs(program="cancelled")} == {"SUCCESS", "CANCELED"}
    cancelled = runs_of(by_hand, keys[1])[-1]["runId"]

    (folder / "hold" / "2020").unlink()
    again = by_hand.again(backfill)
    by_hand.until(lambda: by_hand.backfill_status(again) in ("COMPLETED_FAILED", "COMPLETED_SUCCESS"), SECONDS,
                  "the season begun is finished")
    assert small.main.published()[:2] == ["2019", "2020"]
    assert small.main.records("2020")["training_set"].run_id == cancelled
    assert f"run-{cancelled}" not in small.workspace.store.branches()
    if "2021" not in small.main.published():
        by_hand.again(again)
    by_hand.until(lambda: small.main.published() == list(SEASONS), SECONDS, "the season left is run")
    assert [r["status"] for r in runs_of(by_hand, keys[0])] == ["SUCCESS"]


def test_a_backfill_survives_its_daemon_and_the_run_of_a_season_being_killed(
        served: Served, folder: Path, loose: dict[str, list[Path]]) -> None:
    small = Small.made(folder, loose, "killed", SEASONS[:2])
    keys = [small.key(s) for s in SEASONS[:2]]
    served.sensor(running=False)
    served.add_partitions(keys)
    backfill = served.backfill(GRAPH, keys)
    served.until(lambda: [r for r in runs_of(served, keys[1]) if r["status"] == "STARTED"], SECONDS, "2020 is run")
    served.kill_daemon()
    assert small.main.published() == ["2019"]
    served.sensor(running=True)
    served.start("daemon")
    served.until(lambda: ended(served, backfill, "COMPLETED_SUCCESS"), SECONDS, "the backfill goes on to its end")
    assert small.main.published() == ["2019", "2020"]
    assert [r["status"] for r in runs_of(served, keys[0])] == ["SUCCESS"]
    assert [r["status"] for r in runs_of(served, keys[1])] == ["FAILURE", "SUCCESS"]


def test_all_seasons_downstream_of_one_asset(by_hand: Served, folder: Path, loose: dict[str, list[Path]]) -> None:
    """`kernel+` over all seasons, computed anew: what lies before it is taken as published, and every season is
    published again; a season that never was says so and what to do."""
    small = Small.made(folder, loose, "downstream")
    outcomes = run_seasons(small.program, small.workspace, SEASONS[:2])
    assert all(o.published for o in outcomes), outcomes
    before = {s: small.main.records(s) for s in SEASONS[:2]}
    keys = [small.key(s) for s in SEASONS]
    by_hand.add_partitions(keys)
    chosen = downstream_of("kernel")
    by_hand.backfill(chosen, keys[:2], tags={"genomic_platform/force": "true"})
    by_hand.until(lambda: [len(small.main.releases()[s]) for s in SEASONS[:2]] == [2, 2], SECONDS,
                  "both seasons are published again")
    for season in SEASONS[:2]:
        now = small.main.records(season)
        again = {name for name in now if now[name].run_id != before[season][name].run_id}
        assert again == set(chosen) & now.keys()
        assert now["kernel"].data_version == before[season]["kernel"].data_version

    by_hand.backfill(chosen, keys[2:])
    by_hand.until(lambda: [r["status"] for r in runs_of(by_hand, keys[2])] == ["FAILURE"], SECONDS,
                  "a season that was never published refuses")
    assert runs_of(by_hand, keys[2])[0]["tags"]["dagster/max_retries"] == "0"
    assert small.main.published() == list(SEASONS[:2])
