"""What is tried again: preemption, a service or the system at fault; never a bug. And when checkpoints go."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from urllib.error import URLError
from uuid import uuid4

import dagster as dg
import pytest
import sqlalchemy.exc
import urllib3.exceptions

from genomic_platform.defs.failures import as_failure, as_preemption, note_bug
from genomic_platform.defs.season_asset import FORCE_TAG
from genomic_platform.errors import OutOfDeviceMemory, StoreUnavailable
from genomic_platform_tests.dagster.small import Small


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


def tried_again(instance: dg.DagsterInstance, act: Callable[[dg.DagsterRun], object]) -> bool:
    """Whether run retries would start a run again after this."""
    run = instance.add_run(dg.DagsterRun("train_season", str(uuid4())))
    act(run)
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.tags.get("dagster/max_retries") != "0"


@pytest.mark.parametrize(("error", "expected"), [
    (ValueError("shapes (3,) and (4,) not aligned"), False), (KeyError("trait"), False), (AttributeError("x"), False),
    (ZeroDivisionError(), False), (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    (OSError(28, "No space left on device"), True), (ConnectionResetError(), True), (TimeoutError(), True),
    (URLError("refused"), True), (urllib3.exceptions.HTTPError("away"), True),
    (sqlite3.OperationalError("database is locked"), True), (sqlalchemy.exc.TimeoutError(), True),
])
def test_a_bug_is_not_tried_again_and_a_fault_of_the_surroundings_is(
        error: Exception, expected: bool, instance: dg.DagsterInstance) -> None:
    assert tried_again(instance, lambda run: note_bug(error, instance, run)) is expected


def test_errors_of_ours_say_themselves(instance: dg.DagsterInstance) -> None:
    assert not tried_again(instance, lambda run: as_failure(OutOfDeviceMemory("both batches"), instance, run))
    assert tried_again(instance, lambda run: as_failure(StoreUnavailable("away"), instance, run))


def test_preemption_asks_for_the_step_to_be_started_again() -> None:
    cause = dg.DagsterExecutionInterruptedError()
    requested = as_preemption(cause, retries=3)
    assert (requested.max_retries, requested.__cause__) == (3, cause)


def test_a_steps_checkpoints_go_when_its_result_is_sealed(
        published: Callable[[int], Small], opened: Callable[[Small], dg.DagsterInstance]) -> None:
    small = published(1)
    record = small.main.record("training_set", "2019")
    assert record is not None
    season = small.program.season("2019")
    own, other = (small.workspace.checkpoints(season, name) for name in (record.fingerprint, "of another step"))
    for folder in (own, other):
        folder.mkdir(parents=True)
    result = small.run(opened(small), "2019", assets=["training_set"], tags={FORCE_TAG: "true"})
    assert result.success
    assert not own.exists()
    assert other.exists()
