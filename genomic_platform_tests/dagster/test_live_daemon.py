"""The real daemon and web server: files dropped into landing, backfills as the UI starts them, and the command line.

One server for the whole file, since it takes as long to start as a season to run. Each test has a programme of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from genomic_platform.catalogue import ASSETS
from genomic_platform.defs.training.candidates import CANDIDATE_ASSETS
from genomic_platform.retraining.challengers import CAUSE_TAG
from genomic_platform.settings import PREFIX
from genomic_platform.stores.assets import RELEASE
from genomic_platform_tests.dagster.small import SEASONS, Small, plant_drift, with_challengers
from genomic_platform_tests.support.served import Served, serving

pytestmark = pytest.mark.slow
GRAPH = [*ASSETS, *CANDIDATE_ASSETS, RELEASE]
SECONDS = 240.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("live")


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    with serving(folder / ".genomic_platform") as running:
        yield running


@pytest.fixture
def by_hand(served: Served) -> Iterator[Served]:
    """The server with its sensor switched off, so that nothing but the test starts runs."""
    served.sensor(running=False)
    yield served
    served.sensor(running=True)


def command_line(small: Small, *arguments: str) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
    program = Path(sys.executable).with_name("genomic-platform")
    return subprocess.Popen([program, *arguments, str(small.folder)], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, env=environment)


def only_first_seasons(small: Small, folder: Path, count: int) -> None:
    """Move the trial files of later seasons out of landing."""
    for season in SEASONS[count:]:
        small.trials(season).replace(folder / small.trials(season).name)


def test_a_file_dropped_into_landing_ends_in_a_ranking_and_a_reasoned_decision(
        served: Served, folder: Path, loose: dict[str, list[Path]]) -> None:
    """Nobody lends a hand. Then its release gives cause for retraining, once, and the challenger is answered too."""
    small = with_challengers(Small.made(folder, loose, "dropped", SEASONS[:1]), "family_blup")
    served.until(lambda: small.main.published() == ["2019"], SECONDS, "a new programme's season is published")
    shutil.copyfile(loose["trials"][1], small.trials("2020"))
    served.until(lambda: small.main.published() == ["2019", "2020"], SECONDS, "the dropped season is published")
    runs = served.runs(program="dropped")
    assert [r["tags"]["dagster/partition"] for r in runs] == ["dropped:2019", "dropped:2020"]
    harvested = set(small.main.read("line_means", "2020", ASSETS["line_means"])["line_id"])
    assert harvested <= set(small.main.read("selection_index", "2020", ASSETS["selection_index"])["line_id"])
    (decided,) = small.main.read("registered_model", "2020", ASSETS["registered_model"]).to_dicts()
    assert decided["challenger"]
    assert decided["reasons"]
    time.sleep(6)
    assert len(served.runs(program="dropped")) == 2
    plant_drift(small)
    served.until(lambda: small.main.records("2020")[RELEASE].extra["cause"], SECONDS, "it is tried again")
    assert "family_blup" in small.main.records("2020")
    time.sleep(6)
    causes = [r["tags"].get(CAUSE_TAG) for r in served.runs(program="dropped")]
    assert causes == [None, None, "drift: population (p = 0.005, F_ST 0.080)"]


def test_backfill_survives_a_season_that_fails_once(by_hand: Served, folder: Path,
                                                    loose: dict[str, list[Path]]) -> None:
    """MLflow's folder is away when 2020 is fitted: 2021, whose turn comes meanwhile, goes behind the retry of 2020."""
    small = Small.made(folder, loose, "failing_once")
    artifacts = small.workspace.root / "mlflow" / "artifacts" / "failing_once"
    keys = [small.key(s) for s in SEASONS]
    by_hand.add_partitions(keys)
    backfill = by_hand.backfill(GRAPH, keys)
    by_hand.until(lambda: small.main.published() == ["2019"], SECONDS, "2019 is published")
    artifacts.rename(artifacts.with_name("away"))
    artifacts.write_text("in the way")
    by_hand.until(lambda: [r for r in by_hand.runs(dagster__partition=keys[1]) if r["status"] == "FAILURE"], SECONDS,
                  "2020 fails")
    artifacts.unlink()
    artifacts.with_name("away").rename(artifacts)
    by_hand.until(lambda: by_hand.backfill_status(backfill) == "COMPLETED_SUCCESS", SECONDS, "the backfill succeeds")
    assert small.main.published() == list(SEASONS)
    runs = by_hand.runs(dagster__backfill=backfill)
    assert {r["tags"]["program"] for r in runs} == {"failing_once"}
    working = sorted((r["startTime"], r["endTime"]) for r in runs if r["startTime"])
    assert all(after[0] >= before[1] - 0.5 for before, after in pairwise(working))
    retried = [r for r in runs if r["parentRunId"] and r["tags"]["dagster/partition"] == keys[1]]
    assert [r["status"] for r in retried] == ["SUCCESS"]


def test_backfill_ends_at_a_season_that_fails_for_good(by_hand: Served, folder: Path,
                                                       loose: dict[str, list[Path]]) -> None:
    """Nobody grown in 2020 has genotypes: its run is not tried again, 2021 refuses naming it, 2019 stays published."""
    small = Small.made(folder, loose, "failing_ever")
    text = small.trials("2020").read_text().splitlines()
    small.trials("2020").write_text("\n".join([text[0], *(f"ungenotyped_{line}" for line in text[1:])]) + "\n")
    keys = [small.key(s) for s in SEASONS]
    by_hand.add_partitions(keys)
    backfill = by_hand.backfill(GRAPH, keys)
    by_hand.until(lambda: by_hand.backfill_status(backfill) == "COMPLETED_FAILED", SECONDS, "the backfill ends")
    assert small.main.published() == ["2019"]
    failed = by_hand.runs(dagster__partition=keys[1])
    assert [(r["status"], r["tags"]["dagster/max_retries"]) for r in failed] == [("FAILURE", "0")]
    later = by_hand.runs(dagster__partition=keys[2])
    assert [r["status"] for r in later] == ["FAILURE"] * len(later)
    told = by_hand.until(lambda: [a for a in small.workspace.alerts.alerts("failing_ever") if a.kind == "check_failed"],
                         SECONDS, "the failed season is told")
    assert [a.season for a in told] == ["2020"]
    assert told[0].what.startswith("check lines_with_genotypes of genotype_panel did not pass: ")
    shown = command_line(small, "status").communicate()[0]
    assert "2021 needs season 2020" in " ".join(shown.split()), shown


def test_command_line_and_daemon_exclude_each_other(by_hand: Served, folder: Path,
                                                    loose: dict[str, list[Path]]) -> None:
    small = Small.made(folder, loose, "both", SEASONS[:1])
    by_hand.add_partitions([small.key("2019")])
    first = by_hand.launch(small.key("2019"))
    by_hand.until(lambda: [r for r in by_hand.runs(program="both") if r["status"] == "STARTED"], SECONDS, "it starts")
    refused = command_line(small, "run")
    shown = refused.communicate(timeout=120)[0]
    assert refused.returncode == 4, shown
    assert first[:8] in shown
    by_hand.until(lambda: small.main.published() == ["2019"], SECONDS, "the run publishes")
    by_hand.until(lambda: by_hand.runs(program="both")[0]["status"] == "SUCCESS", SECONDS, "the run ends")

    running = command_line(small, "run", "--force")
    by_hand.until(lambda: len(by_hand.runs(program="both")) == 2, SECONDS, "the command line's run is recorded")
    behind = by_hand.launch(small.key("2019"))
    os.kill(running.pid, signal.SIGSTOP)
    time.sleep(8)
    waiting = next(r for r in by_hand.runs(program="both") if r["runId"] == behind)
    assert waiting["status"] == "QUEUED"
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    by_hand.sensor(running=True)
    done = by_hand.until(lambda: [r for r in by_hand.runs(program="both") if r["runId"] == behind
                                  and r["status"] == "SUCCESS"], SECONDS, "the queued run goes on after the kill")
    killed = by_hand.runs(program="both")[1]
    assert (killed["status"], killed["tags"]["dagster/max_retries"]) == ("FAILURE", "0")
    assert len(done) == 1
