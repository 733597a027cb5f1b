"""Alerts of sensors and schedules that do not work: their last ticks failed, or a sensor has long been silent.

Read from Dagster's own record of ticks. When everything stands still, nobody looks: a daemon that is gone is seen from
outside (`dagster-daemon liveness-check`), not here.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from genomic_platform.alerts.alert import Alert

#: Failed ticks in a row: a sensor ticks again in seconds, a schedule perhaps next month.
FAILED_TICKS = {"SENSOR": 3, "SCHEDULE": 1}
#: A sensor is silent when it missed so many ticks, and for at least so long.
MISSED_TICKS, SILENCE = 20, timedelta(minutes=15)
_LOOKED_AT = 10
_log = logging.getLogger("genomic_platform.alerts")


@dataclass(frozen=True)
class Ticker:
    """A sensor or schedule that is switched on: when it last ticked, and how its latest ended ticks went, newest first.

    `every` : time between two ticks of a sensor; None for a schedule. `failed` : how many of the newest ticks failed in
    a row. `error` : what the newest failed one said.
    """

    name: str
    kind: str
    last: datetime
    every: timedelta | None
    failed: int
    error: str


def tickers(instance: dg.DagsterInstance, known: Collection[str]) -> list[Ticker]:
    """The sensors and schedules of these names that are on and have ticked.

    A code location that was renamed leaves states behind: of one name, the one that ticked last counts.
    """
    found: dict[str, Ticker] = {}
    for state in instance.all_instigator_state():
        if not state.is_running or state.name not in known:
            continue
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=_LOOKED_AT)
        if not ticks:
            continue
        ended = [t for t in ticks if t.status.value != "STARTED"]
        failed = next((n for n, t in enumerate(ended) if t.status.value != "FAILURE"), len(ended))
        seconds = getattr(state.instigator_data, "min_interval", None)
        ticker = Ticker(state.name, state.instigator_type.value, datetime.fromtimestamp(ticks[0].timestamp, UTC),
                        timedelta(seconds=seconds) if seconds else None, failed,
                        ended[0].error.message.strip() if failed and ended[0].error else "")
        if ticker.name not in found or found[ticker.name].last < ticker.last:
            found[ticker.name] = ticker
    return list(found.values())


def is_on(instance: dg.DagsterInstance, name: str) -> bool:
    """Whether the sensor is switched on; one that the daemon has not met yet is not."""
    return any(state.name == name and state.is_running for state in instance.all_instigator_state())


def ailment(ticker: Ticker, now: datetime, awake: datetime) -> str:
    """What is wrong with it, in words; "" when nothing is.

    `awake` : since when the daemon has been running without a pause, as far as is known; silence counts from there.
    """
    if ticker.failed >= FAILED_TICKS.get(ticker.kind, 1):
        times = f"its last {ticker.failed} ticks failed" if ticker.failed > 1 else "its last tick failed"
        return f"{times}: {ticker.error or 'no error was recorded'}"
    silent = now - max(ticker.last, awake)
    if ticker.every is not None and silent >= max(MISSED_TICKS * ticker.every, SILENCE):
        return (f"it has not ticked for {silent.total_seconds() / 60:.0f} minutes; expected every "
                f"{ticker.every.total_seconds():.0f} s")
    return ""


def sensor_alerts(found: Collection[Ticker], ill: Mapping[str, str], now: datetime,
                  awake: datetime) -> tuple[list[Alert], dict[str, str]]:
    """Alerts of what does not work, and the mapping to remember.

    `ill` : name → since when it has not worked, as the look before left it. An illness is told once, until it is over.
    """
    alerts, still = [], {}
    for ticker in found:
        said = ailment(ticker, now, awake)
        if not said:
            continue
        since = still[ticker.name] = ill.get(ticker.name, now.isoformat(timespec="seconds"))
        thing = ticker.kind.lower()
        alerts.append(Alert(
            cause=f"sensor_dead:{ticker.name}:{since}", kind="sensor_dead", program=None, season=None,
            what=f"{thing} {ticker.name} does not work: {said}"[:600], where=f"{thing} {ticker.name} of the Dagster "
            "instance", how_sure="certain by Dagster's record of its ticks",
            done="nothing; what it would start is not started. Its ticks in the Dagster UI say more", severity="error",
            time=now))
    return alerts, still


def unforeseen(sensor: str, program: str, error: Exception) -> Alert:
    """The alert of an error that a sensor did not foresee at one programme; it goes on with the others."""
    _log.error("%s: %s failed", program, sensor, exc_info=error)
    return Alert(cause=f"{program}:{sensor}:{type(error).__name__}: {error}", kind="sensor_dead", program=program,
                 season=None, what=f"{sensor} fails at this programme: {error!r}", where=sensor, how_sure="certain",
                 done="nothing is started for this programme; the others are looked at", severity="error")
