"""The outbox of a workspace: alerts told, each cause once, and what every channel got of them.

Two files of JSON lines that only grow: `alerts.jsonl`, what was told, and `deliveries.jsonl`, each attempt to send.
An attempt is noted after the channel answered, so a kill in between sends that alert once more and never loses it.
Reference: "at least once" delivery; receivers may fold repeats by the cause.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, get_args

from genomic_platform.alerts.alert import Alert
from genomic_platform.alerts.channels import Channel, answer_of
from genomic_platform.errors import StoreUnavailable
from genomic_platform.stores.journal import append_line, whole_lines
from genomic_platform.stores.lock import exclusive

State = Literal["sent", "failed", "gave_up"]

#: Seconds to the next attempt after the first, second, … failed one; after as many and one more, nobody tries again.
WAITS_S = (60, 300, 1800, 7200, 21_600, 43_200, 86_400)
ATTEMPTS = len(WAITS_S) + 1
#: An alert older than this is not sent by a channel that never tried it: a new channel does not get the past.
FRESH = timedelta(days=7)
#: Seconds of a round after which a channel's further alerts wait for the next one.
CHANNEL_SECONDS = 5.0
_LOCK_SECONDS = 10.0
_log = logging.getLogger("genomic_platform.alerts")


@dataclass(frozen=True)
class Delivery:
    """The latest attempt to send an alert by a channel.

    `next` : when it is tried again; None once it is sent or given up. `error` : what the channel answered, or "".
    """

    cause: str
    channel: str
    state: State
    attempts: int
    time: datetime
    next: datetime | None = None
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "time": self.time.isoformat(), "next": self.next.isoformat() if self.next else None}


class Outbox:
    """The outbox in `folder`, safe for several processes. Neither telling nor delivering ever raises."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.path = self.folder / "alerts.jsonl"
        self.delivered = self.folder / "deliveries.jsonl"

    def tell(self, alert: Alert) -> bool:
        """Keep an alert, unless one of its cause is kept; gives whether it is new.

        On disk when this returns True. What the system refuses is logged and gives False: whoever tells has more
        important work than its alert.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with exclusive(self.folder / "alerts.lock", _LOCK_SECONDS):
                if any(kept.cause == alert.cause for kept in self.alerts()):
                    return False
                append_line(self.path, json.dumps(alert.to_json(), ensure_ascii=False, sort_keys=True))
        except Exception:  # an alert must not end what it is about
            _log.exception("%s: expected to keep an alert, could not; it is lost: %s", self.path, alert.title)
            return False
        return True

    def alerts(self, program: str | None = None) -> list[Alert]:
        """What was told, oldest first; with a programme, its own and those of the whole workspace."""
        found = [alert for record in _records(self.path) if (alert := _alert(record, self.path)) is not None]
        return [a for a in found if program is None or a.program in (program, None)]

    def deliveries(self) -> dict[tuple[str, str], Delivery]:
        """(cause, channel) → the latest attempt."""
        attempts = (_delivery(record) for record in _records(self.delivered))
        return {(d.cause, d.channel): d for d in attempts if d is not None}

    def deliver(self, channels: Sequence[Channel], now: datetime | None = None) -> list[Delivery]:
        """Send what is due by each channel, oldest first; gives this round's attempts.

        A channel that fails is left alone until the next round, so that a dead one costs one wait and not one an alert.
        Nothing is done while another process delivers.
        """
        if not self.path.is_file():
            return []
        done: list[Delivery] = []
        try:
            with exclusive(self.folder / "deliver.lock", 0.0):
                told, known, at = self.alerts(), self.deliveries(), now or datetime.now(UTC)
                for channel in channels:
                    done += self._send(channel, _due(channel.name, told, known, at), at)
        except StoreUnavailable:
            _log.debug("another process delivers")
        except Exception:  # what could not be sent or noted is due at the next round
            _log.exception("%s: alerts could not be delivered", self.folder)
        return done

    def _send(self, channel: Channel, due: Sequence[tuple[Alert, int]], now: datetime) -> Iterator[Delivery]:
        end = time.monotonic() + CHANNEL_SECONDS
        for alert, attempts in due:
            if time.monotonic() > end:
                return
            delivery = _attempt(channel, alert, attempts + 1, now)
            append_line(self.delivered, json.dumps(delivery.to_json(), ensure_ascii=False, sort_keys=True))
            yield delivery
            if delivery.state != "sent":
                return


def _due(channel: str, told: Sequence[Alert], known: Mapping[tuple[str, str], Delivery],
         now: datetime) -> list[tuple[Alert, int]]:
    """Alerts to try now and their attempts so far: new to the channel and fresh, or failed and their wait over."""
    pairs = [(alert, known.get((alert.cause, channel))) for alert in told]
    return [(alert, last.attempts if last else 0) for alert, last in pairs
            if (now - alert.time <= FRESH if last is None else last.next is not None and last.next <= now)]


def summary(deliveries: Sequence[Delivery]) -> str:
    """What a round did, for a log: `2 sent; slack: no answer within 5 s`."""
    sent = sum(d.state == "sent" for d in deliveries)
    return "; ".join([f"{sent} sent", *(f"{d.channel}: {d.error}" for d in deliveries if d.state != "sent")])


def _attempt(channel: Channel, alert: Alert, attempts: int, now: datetime) -> Delivery:
    error = answer_of(channel, alert)
    if not error:
        return Delivery(alert.cause, channel.name, "sent", attempts, now)
    if attempts >= ATTEMPTS:
        _log.error("alert %s was not sent by %s in %d attempts: %s; nobody tries again", alert.cause, channel.name,
                   attempts, error)
        return Delivery(alert.cause, channel.name, "gave_up", attempts, now, None, error)
    return Delivery(alert.cause, channel.name, "failed", attempts, now,
                    now + timedelta(seconds=WAITS_S[attempts - 1]), error)


def _records(path: Path) -> Iterator[Mapping[str, Any]]:
    for line in whole_lines(path)[0]:
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if isinstance(found, dict):
            yield found
        else:
            _log.warning("%s: a line is no record and is passed over: %.80s", path, line)


def _alert(record: Mapping[str, Any], path: Path) -> Alert | None:
    try:
        return Alert.from_json(record)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        _log.warning("%s: a line is no alert and is passed over: %s", path, error)
        return None


def _delivery(record: Mapping[str, Any]) -> Delivery | None:
    """The record as an attempt; None for what none is, since one line must not keep all alerts from being sent."""
    try:
        at = {name: datetime.fromisoformat(record[name]).astimezone(UTC) if record[name] else None
              for name in ("time", "next")}
        found = Delivery(**{**record, **at})
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    sound = (isinstance(found.cause, str) and isinstance(found.channel, str) and found.time is not None
             and found.state in get_args(State) and isinstance(found.attempts, int) and found.attempts > 0)
    return found if sound else None
