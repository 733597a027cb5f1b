"""One look at a Dagster instance and the programmes' calendars: what is new goes into the outbox.

What a look leaves for the next one is `Memory`, the alert sensor's cursor. A kill between telling and remembering
repeats the look; causes keep that from telling anything twice.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

import dagster as dg

from genomic_platform.alerts.alert import Alert
from genomic_platform.alerts.from_landing import landing_alert
from genomic_platform.alerts.from_runs import PATIENCE, check_alerts, run_alert, waits_for_retry, was_continued
from genomic_platform.alerts.from_sensors import is_on, sensor_alerts, tickers
from genomic_platform.alerts.late import late_alert
from genomic_platform.errors import GenomicPlatformError
from genomic_platform.workspace import Workspace

#: Runs changed so shortly before the last look are looked at again: clocks and transactions of writers differ.
OVERLAP_S = 60.0
#: A pause between two looks from which on the daemon counts as having been away.
PAUSE_S = 300.0
#: Runs of one look; the next look goes on where it ended.
_RUNS = 200
_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_log = logging.getLogger("genomic_platform.alerts")


@dataclass
class Memory:
    """What the last look left. Times are POSIX seconds.

    Attributes
    ----------
    looked : when it was. awake : since when looks have followed one another without a pause.
    since : runs changed after this are to be looked at.
    waiting : failed runs that are to be retried → since when they were seen so.
    ill : sensors and schedules that do not work → since when.
    landing : programme → the state of its files, and whether it was judged.
    day : the day on which the calendars were last looked at.
    """

    looked: float
    awake: float
    since: float
    waiting: dict[str, float] = field(default_factory=dict)
    ill: dict[str, str] = field(default_factory=dict)
    landing: dict[str, str] = field(default_factory=dict)
    day: str = ""

    @classmethod
    def of(cls, cursor: str | None, now: datetime) -> Memory:
        """What the cursor holds; without one the past is left alone, and watching begins now."""
        at = now.timestamp()
        try:
            held = cls(**json.loads(cursor or ""))
            held._require()
        except (ValueError, TypeError, AttributeError, OverflowError, OSError):
            held = cls(at, at, at - OVERLAP_S)
        if at - held.looked > PAUSE_S:
            held.awake = at
        held.looked = at
        return held

    def _require(self) -> None:
        """Raise ValueError or TypeError for what no look leaves, which would end every later look."""
        for moment in (self.looked, self.awake, self.since, *self.waiting.values()):
            datetime.fromtimestamp(moment, UTC)
        for words in (self.ill, self.landing):
            if not all(isinstance(said, str) for said in words.values()):
                raise TypeError("expected text")

    def cursor(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


def look(instance: dg.DagsterInstance, workspace: Workspace, cursor: str | None, known: Collection[str],
         now: datetime | None = None) -> tuple[list[Alert], str]:
    """Tell the workspace's outbox what is new.

    Parameters
    ----------
    known : names of the sensors and schedules to watch.

    Returns
    -------
    alerts : those that were new. cursor : for the next look.
    """
    now = now or datetime.now(UTC)
    memory = Memory.of(cursor, now)
    awake = datetime.fromtimestamp(memory.awake, UTC)
    found = _run_alerts(instance, workspace, memory, now)
    ill, memory.ill = sensor_alerts(tickers(instance, known), memory.ill, now, awake)
    found += ill + _program_alerts(workspace, memory, now)
    return [alert for alert in found if workspace.alerts.tell(alert)], memory.cursor()


def _run_alerts(instance: dg.DagsterInstance, workspace: Workspace, memory: Memory, now: datetime) -> list[Alert]:
    changed = dg.RunsFilter(statuses=_ENDED, updated_after=datetime.fromtimestamp(memory.since, UTC))
    records = instance.get_run_records(changed, limit=_RUNS, order_by="update_timestamp", ascending=True)
    if records:
        last = records[-1].update_timestamp.timestamp()
        memory.since = last if len(records) == _RUNS else max(memory.since, last - OVERLAP_S)
    alerts: list[Alert] = []
    causes_told = bool(records) and is_on(instance, "retraining_sensor")
    for run in (record.dagster_run for record in records):
        alerts += check_alerts(instance, run, workspace.settings, causes_told=causes_told)
        if run.status == dg.DagsterRunStatus.FAILURE and run.run_id not in memory.waiting:
            memory.waiting[run.run_id] = now.timestamp()
    return alerts + _failed(instance, workspace, memory, now)


def _failed(instance: dg.DagsterInstance, workspace: Workspace, memory: Memory, now: datetime) -> list[Alert]:
    """Alerts of the failed runs of which it is known by now that nothing goes on with them; the others wait on."""
    alerts: list[Alert | None] = []
    for run_id, since in list(memory.waiting.items()):
        record = instance.get_run_record_by_id(run_id)
        run = record.dagster_run if record else None
        late = now.timestamp() - max(since, memory.awake) > PATIENCE.total_seconds()
        if run is not None and waits_for_retry(instance, run) and not late:
            continue
        del memory.waiting[run_id]
        if record is not None and not was_continued(instance, record.dagster_run):
            alerts.append(run_alert(instance, record, workspace.settings,
                                    given_up=waits_for_retry(instance, record.dagster_run)))
    return [alert for alert in alerts if alert is not None]


def _program_alerts(workspace: Workspace, memory: Memory, now: datetime) -> list[Alert]:
    """Alerts of refused files, and once a day of late seasons; one programme's trouble does not hide the others."""
    alerts: list[Alert | None] = []
    today = now.date().isoformat()
    for name in workspace.program_folders():
        try:
            refused, memory.landing[name] = landing_alert(name, workspace, memory.landing.get(name, ""), now)
            alerts.append(refused)
            if memory.day != today:
                alerts.append(late_alert(workspace.program(name), workspace, now))
        except (GenomicPlatformError, OSError) as error:
            _log.warning("%s: could not be looked at: %s", name, error)
    memory.day = today
    return [alert for alert in alerts if alert is not None]
