"""`genomic-platform alerts`: what it lists, its JSON, and the test of the channels."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import jsonschema
import pytest

from genomic_platform.alerts.alert import Alert, Kind, Severity
from genomic_platform.alerts.channels import channels_of
from genomic_platform.program import read_program
from genomic_platform.results.report import json_schema
from genomic_platform.workspace import Workspace
from genomic_platform_tests.support.command_line import call, json_of
from genomic_platform_tests.support.receivers import Received, listening

ALERT = Alert("drift:rice", "drift", "rice_a", "2013", "F_ST of new lines is 0.21", "drift_report", "p = 0.002",
              "the season was published", None, "warning", datetime.now(UTC).replace(microsecond=0))


@pytest.fixture
def rice(tmp_path: Path) -> Path:
    """A programme that is registered and no more."""
    folder = tmp_path / "rice_a"
    folder.mkdir()
    (folder / "program.toml").write_text('format_version = 1\nname = "rice_a"\n[traits.t]\nunit = "kg"\n')
    Workspace.beside(folder).register(read_program(folder))
    return folder


def test_alerts_are_listed_with_what_became_of_them(rice: Path, capsys: pytest.CaptureFixture[str],
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(capsys, "alerts", rice).said("0 alerts; channels: log")
    with listening(Received) as server:
        monkeypatch.setenv("GENOMIC_PLATFORM_ALERT_SLACK_WEBHOOK", f"{server.address}/secret")
        server.status = 503
        workspace = Workspace.beside(rice)
        for number in range(3):
            workspace.alerts.tell(replace(ALERT, cause=f"drift:{number}"))
        workspace.alerts.tell(replace(ALERT, cause="wheat", program="wheat"))
        workspace.alerts.deliver(channels_of(workspace.settings))
        shown = call(capsys, "alerts", rice)
        assert shown.said("3 alerts; channels: log, slack")
        assert shown.said("Sent: log; slack not yet, tried 1 time: the server answered 503") == 1
        assert shown.said("Sent: log; slack not tried") == 2
        assert shown.said("wheat") == shown.said("secret") == 0
        found = json_of(call(capsys, "alerts", rice, "--json", "--last", 2))
    jsonschema.validate(found, json_schema("alerts"))
    assert [a["cause"] for a in found["alerts"]] == ["drift:1", "drift:2"]
    assert [(d["channel"], d["state"]) for d in found["alerts"][0]["deliveries"]] == [("log", "sent")]


def test_schema_knows_every_kind_and_severity() -> None:
    shape = json_schema("alerts")["properties"]["alerts"]["items"]["properties"]
    assert (shape["kind"]["enum"], shape["severity"]["enum"]) == (list(get_args(Kind)), list(get_args(Severity)))
    assert set(shape) - {"deliveries"} == set(ALERT.to_json())


def test_a_test_alert_goes_through_every_channel_and_is_not_kept(
        rice: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENOMIC_PLATFORM_ALERT_FILE", str(tmp_path / "alerts.jsonl"))
    with listening(Received) as server:
        monkeypatch.setenv("GENOMIC_PLATFORM_ALERT_WEBHOOK", server.address)
        answered = call(capsys, "alerts", rice, "--send-test")
        assert (answered.code, answered.said("took it")) == (0, 3)
        assert (server.posts[0]["kind"], server.posts[0]["program"]) == ("test", "rice_a")
        server.status = 404
        refused = call(capsys, "alerts", rice, "--send-test")
    assert (refused.code, refused.said("took it")) == (4, 2)
    assert refused.said("webhook the server answered 404")
    assert refused.said("webhook did not take the test alert")
    assert call(capsys, "alerts", rice).said("0 alerts")
