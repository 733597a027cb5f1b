"""The outbox: each cause once, sent again until it is taken or given up, whoever is killed or away.

The file is also the program of the processes it starts (see `__main__` at its end).
"""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genomic_platform.alerts import channels, outbox
from genomic_platform.alerts.alert import Alert, Kind, Severity
from genomic_platform.alerts.channels import WebhookChannel
from genomic_platform.alerts.outbox import ATTEMPTS, FRESH, WAITS_S, Outbox
from genomic_platform.errors import AlertNotSent
from genomic_platform.stores.lock import exclusive
from genomic_platform_tests.support.receivers import Received, listening

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
ALERT = Alert("drift:rice:2013", "drift", "rice", "2013", "F_ST of new lines is 0.21; expected below 0.05",
              "drift_report", "p = 0.002", "the season was published", "http://here/runs/1", "warning", NOW)


@dataclass
class Kept:
    """A channel that keeps what it is sent, and refuses while `down`."""

    name: str = "kept"
    down: bool = False
    tried: int = 0
    got: list[str] = field(default_factory=list)

    def send(self, alert: Alert) -> None:
        self.tried += 1
        if self.down:
            raise AlertNotSent("it is down")
        self.got.append(alert.cause)


@pytest.fixture
def box(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "alerts")


@pytest.fixture
def server() -> Iterator[Received]:
    with listening(Received) as running:
        yield running


def numbered(count: int) -> list[Alert]:
    return [replace(ALERT, cause=f"drift:rice:{n}") for n in range(count)]


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])  # slow on a busy machine only
@given(st.builds(
    Alert, cause=st.text(min_size=1).filter(str.strip), kind=st.sampled_from(get_args(Kind)),
    program=st.none() | st.text(), season=st.none() | st.text(), what=st.text(), where=st.text(), how_sure=st.text(),
    done=st.text(), link=st.none() | st.text(min_size=1), severity=st.sampled_from(get_args(Severity)),
    time=st.datetimes(timezones=st.just(UTC)).map(lambda t: t.replace(microsecond=0))))
def test_json_gives_the_alert_back_and_the_title_is_one_line(alert: Alert) -> None:
    held = json.loads(json.dumps(alert.to_json()))
    assert held["schema_version"] == 1
    assert Alert.from_json(held) == alert
    assert len(alert.title.splitlines()) == 1


def test_text_says_what_where_how_sure_and_what_was_done() -> None:
    assert ALERT.text().splitlines() == [
        "[warning] Drift: rice, season 2013", "What: F_ST of new lines is 0.21; expected below 0.05",
        "Where: drift_report", "How sure: p = 0.002", "Done: the season was published", "Look at: http://here/runs/1",
        "When: 2026-11-02 12:00 UTC"]
    assert "Look at" not in replace(ALERT, link=None).text()


@pytest.mark.parametrize(("wrong", "said"), [
    ({"cause": " "}, "expected a cause"), ({"kind": "noise"}, "expected one of drift, accuracy"),
    ({"severity": "fatal"}, "expected one of info"), ({"time": datetime(2026, 1, 1)}, "no time zone")])
def test_a_wrong_alert_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(ALERT, **wrong)  # type: ignore[arg-type]


def test_a_file_whose_name_is_not_utf_8_is_told_too(box: Outbox) -> None:
    assert box.tell(replace(ALERT, cause="refused: t\udcff.csv", what="t\udcff.csv: no header"))
    assert [a.what for a in box.alerts()] == ["t\\udcff.csv: no header"]
    assert not box.tell(replace(ALERT, cause="refused: t\udcff.csv"))


def test_a_cause_is_told_once(box: Outbox) -> None:
    assert box.alerts() == []
    assert box.tell(ALERT)
    assert not box.tell(replace(ALERT, what="in other words", severity="error"))
    assert Outbox(box.folder).alerts() == [ALERT]


def test_a_programme_has_its_own_alerts_and_those_of_the_workspace(box: Outbox) -> None:
    whole = replace(ALERT, cause="sensor", kind="sensor_dead", program=None)
    for alert in (ALERT, whole, replace(ALERT, cause="other", program="wheat")):
        box.tell(alert)
    assert box.alerts("rice") == [ALERT, whole]


def test_two_processes_telling_the_same_causes_at_once_tell_each_once(box: Outbox) -> None:
    command = [sys.executable, __file__, "tell", str(box.folder)]
    telling = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    new = [int(p.communicate(timeout=120)[0]) for p in telling]
    assert sum(new) == 40
    assert [a.cause for a in box.alerts()] == [f"drift:rice:{n}" for n in range(40)]


def test_half_a_line_of_a_killed_teller_and_a_spoilt_one_hide_no_other(box: Outbox) -> None:
    box.tell(ALERT)
    with box.path.open("a") as file:
        file.write('{"cause": 1}\n[]\nnot json\n{"cause": "half')
    assert box.tell(replace(ALERT, cause="next"))
    assert [a.cause for a in box.alerts()] == [ALERT.cause, "next"]


@pytest.mark.parametrize("spoilt", [
    {"next": "2026-11-02T11:00:00"}, {"attempts": "many"}, {"attempts": -3}, {"cause": [1]}, {"state": "perhaps"},
    {"time": None}, {"time": "0001-01-01T00:00:00+14:00"}], ids=str)
def test_a_spoilt_delivery_keeps_no_alert_from_being_sent(box: Outbox, spoilt: dict[str, object]) -> None:
    for alert in numbered(2):
        box.tell(alert)
    box.deliver([Kept(down=True)], NOW)
    record = json.loads(box.delivered.read_text())
    box.delivered.write_text(json.dumps(record | spoilt) + "\n")
    kept = Kept()
    assert [d.state for d in box.deliver([kept], NOW + timedelta(hours=1))] == ["sent", "sent"]
    assert kept.got == ["drift:rice:0", "drift:rice:1"]


@pytest.mark.parametrize("spoilt", [{"program": 5}, {"season": [1]}, {"what": None}, {"time": "2026-11-02T11:00:00"}],
                         ids=str)
def test_a_line_that_is_no_alert_is_passed_over(box: Outbox, spoilt: dict[str, object]) -> None:
    box.tell(ALERT)
    with box.path.open("a") as file:
        file.write(json.dumps(ALERT.to_json() | {"cause": "spoilt"} | spoilt) + "\n")
    assert [a.cause for a in box.alerts()] == [ALERT.cause]


def test_telling_and_delivering_never_raise(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    blocked = Outbox(tmp_path / "file" / "alerts")
    assert not blocked.tell(ALERT)
    assert "could not; it is lost: [warning] Drift" in caplog.text
    assert blocked.deliver([Kept()]) == []
    box = Outbox(tmp_path / "alerts")
    box.tell(ALERT)
    box.delivered.mkdir()
    assert box.deliver([Kept()], NOW) == []
    assert "could not be delivered" in caplog.text


def test_an_alert_is_sent_once_by_each_channel(box: Outbox) -> None:
    one, two = Kept("one"), Kept("two")
    box.tell(ALERT)
    assert [(d.channel, d.state, d.attempts) for d in box.deliver([one, two], NOW)] == [
        ("one", "sent", 1), ("two", "sent", 1)]
    box.tell(replace(ALERT, cause="next"))
    box.deliver([one], NOW)
    assert box.deliver([one], NOW) == []
    box.deliver([two], NOW + timedelta(days=1))
    assert one.got == two.got == [ALERT.cause, "next"]


def test_what_is_not_taken_is_tried_again_with_growing_waits_and_given_up(
        box: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    channel, now, at = Kept(down=True), NOW, []
    box.tell(ALERT)
    while (ALERT.cause, "kept") not in (known := box.deliveries()) or known[ALERT.cause, "kept"].next:
        at += [(now - NOW).total_seconds()] * len(box.deliver([channel], now))
        now += timedelta(seconds=60)
    assert channel.tried == ATTEMPTS
    assert [b - a for a, b in pairwise(at)] == list(WAITS_S)
    last = box.deliveries()[ALERT.cause, "kept"]
    assert (last.state, last.attempts, last.error) == ("gave_up", ATTEMPTS, "it is down")
    assert "nobody tries again" in caplog.text
    channel.down = False
    assert box.deliver([channel], now + timedelta(days=30)) == []


def test_a_dead_channel_costs_one_attempt_a_round_and_holds_no_other_up(box: Outbox) -> None:
    dead, well = Kept("dead", down=True), Kept("well")
    for alert in numbered(5):
        box.tell(alert)
    box.deliver([dead, well], NOW)
    assert (dead.tried, len(well.got)) == (1, 5)
    dead.down = False
    box.deliver([dead, well], NOW + timedelta(seconds=1))
    assert (len(dead.got), len(well.got)) == (4, 5)  # the one that failed still waits
    box.deliver([dead, well], NOW + timedelta(seconds=61))
    assert sorted(dead.got) == sorted(well.got)


def test_a_slow_channel_leaves_the_rest_for_the_next_round(box: Outbox, server: Received,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "CHANNEL_SECONDS", 0.3)
    server.wait_s = 0.2
    slow, well = WebhookChannel("slow", server.address, Alert.to_json), Kept("well")
    for alert in numbered(6):
        box.tell(alert)
    began = time.monotonic()
    box.deliver([slow, well], NOW)
    assert time.monotonic() - began < 2  # six at once would take less only if none waited
    assert 1 <= len(server.posts) < 6
    assert len(well.got) == 6
    server.wait_s = 0.0
    box.deliver([slow], NOW)
    assert [p["cause"] for p in server.posts] == [f"drift:rice:{n}" for n in range(6)]


def test_a_server_that_trickles_keeps_nobody(box: Outbox, server: Received, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time for the socket, so that only the limit on the whole helps."""
    monkeypatch.setattr(channels, "SEND_SECONDS", 0.3)
    server.trickle = True
    box.tell(ALERT)
    began = time.monotonic()
    (delivery,) = box.deliver([WebhookChannel("webhook", server.address, Alert.to_json)], NOW)
    assert time.monotonic() - began < 2
    assert (delivery.state, delivery.error) == ("failed", "no answer within 0.3 s")
    server.trickle = False


def test_a_new_channel_does_not_get_the_past(box: Outbox) -> None:
    box.tell(replace(ALERT, cause="old", time=NOW - FRESH - timedelta(seconds=1)))
    box.tell(ALERT)
    late = Kept("new")
    box.deliver([late], NOW)
    assert late.got == [ALERT.cause]


def test_an_alert_that_failed_once_is_tried_on_however_old(box: Outbox) -> None:
    channel = Kept(down=True)
    box.tell(ALERT)
    box.deliver([channel], NOW)
    channel.down = False
    box.deliver([channel], NOW + 3 * FRESH)
    assert channel.got == [ALERT.cause]


def test_nothing_is_sent_while_another_process_delivers(box: Outbox) -> None:
    channel = Kept()
    box.tell(ALERT)
    with exclusive(box.folder / "deliver.lock", 0.0):
        assert box.deliver([channel], NOW) == []
    assert channel.tried == 0


def test_a_fault_of_a_channel_is_a_failed_delivery_that_holds_none_of_its_words(
        box: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Kept):
        def send(self, alert: Alert) -> None:
            raise RuntimeError("https://hooks.example.org/secret")

    box.tell(ALERT)
    caplog.set_level(logging.DEBUG)
    (delivery,) = box.deliver([Broken()], NOW)
    assert delivery.error == "a fault of the channel: RuntimeError"
    assert "secret" not in caplog.text + box.delivered.read_text()


def test_a_kill_between_sending_and_noting_it_sends_once_more_and_loses_nothing(box: Outbox, server: Received) -> None:
    for alert in numbered(2):
        box.tell(alert)
    sending = subprocess.Popen([sys.executable, __file__, "deliver", str(box.folder), server.address])
    server.kill = sending.pid
    assert sending.wait(60) == -signal.SIGKILL
    assert len(server.posts) == 1
    assert box.deliveries() == {}
    server.kill = 0
    channel = WebhookChannel("webhook", server.address, Alert.to_json)
    for _ in range(2):
        box.deliver([channel], NOW)
    assert [p["cause"] for p in server.posts] == ["drift:rice:0", "drift:rice:0", "drift:rice:1"]
    repeats = [h["Idempotency-Key"] for h in server.headers]
    assert repeats[0] == repeats[1] != repeats[2]


if __name__ == "__main__":
    own = Outbox(Path(sys.argv[2]))
    if sys.argv[1] == "tell":
        print(sum(own.tell(alert) for alert in numbered(40)))
    else:
        own.deliver([WebhookChannel("webhook", sys.argv[3], Alert.to_json)], NOW)
