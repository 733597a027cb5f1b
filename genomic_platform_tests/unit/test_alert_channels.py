"""Channels against real servers: what arrives, what a refusal says, and that no secret is ever said."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from genomic_platform.alerts import channels
from genomic_platform.alerts.alert import Alert
from genomic_platform.alerts.channels import Channel, answer_of, channels_of
from genomic_platform.errors import ProgramError
from genomic_platform.settings import Settings, read_settings
from genomic_platform_tests.support.receivers import Mailbox, Received, certificate, listening
from genomic_platform_tests.support.served import free_port

ALERT = Alert("accuracy:rice:2013:ertrag", "accuracy", "rice", "2013", "Ertrag: r = 0.21 <below> 0.30–0.52 & falling",
              "realised_accuracy", "95 % interval of the promise", "nothing", "http://here/runs/1", "warning",
              datetime(2026, 11, 2, 12, 0, tzinfo=UTC))
MAIL = {"alert_email_from": "platform@example.org", "alert_email_to": "ana@example.org, ben@example.org"}


@pytest.fixture
def server() -> Iterator[Received]:
    with listening(Received) as running:
        yield running


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


def chosen(**given: object) -> Channel:
    """The channel that these settings add to the log."""
    log, channel = channels_of(Settings.model_validate(given))
    assert log.name == "log"
    return channel


def test_log_carries_text_and_severity(caplog: pytest.LogCaptureFixture) -> None:
    (channel,) = channels_of(Settings())
    caplog.set_level(logging.INFO)
    for severity in ("info", "warning", "error"):
        assert answer_of(channel, replace(ALERT, severity=severity)) == ""
    assert [r.levelname for r in caplog.records] == ["INFO", "WARNING", "ERROR"]
    assert "What: Ertrag: r = 0.21" in caplog.text


def test_file_gets_one_json_line_an_alert(tmp_path: Path) -> None:
    channel = chosen(alert_file=str(tmp_path / "alerts.jsonl"))
    assert [answer_of(channel, ALERT) for _ in range(2)] == ["", ""]
    lines = (tmp_path / "alerts.jsonl").read_text(encoding="utf-8").splitlines()
    assert [Alert.from_json(json.loads(line)) for line in lines] == [ALERT, ALERT]
    assert answer_of(chosen(alert_file=str(tmp_path / "no" / "file")), ALERT).endswith("No such file or directory")


def test_webhook_gets_the_json_form(server: Received) -> None:
    assert answer_of(chosen(alert_webhook=f"{server.address}/here?key=1"), ALERT) == ""
    assert server.paths == ["POST /here?key=1"]
    assert server.posts == [ALERT.to_json()]
    assert server.headers[0]["Content-Type"] == "application/json"


def test_slack_gets_readable_text_with_its_signs_escaped(server: Received) -> None:
    assert answer_of(chosen(alert_slack_webhook=server.address), ALERT) == ""
    ((key, text),) = server.posts[0].items()
    assert key == "text"
    assert text.splitlines()[:2] == ["*[warning] Accuracy below its promise: rice, season 2013*",
                                     "What: Ertrag: r = 0.21 &lt;below&gt; 0.30–0.52 &amp; falling"]


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_a_refusal_is_said_by_its_number(server: Received, status: int) -> None:
    server.status = status
    assert answer_of(chosen(alert_webhook=server.address), ALERT) == f"the server answered {status}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirection_is_not_taken_for_receipt(server: Received, status: int) -> None:
    """urllib would repeat the POST as a GET without the alert, and that would succeed."""
    server.status, server.location = status, f"{server.address}/elsewhere"
    assert answer_of(chosen(alert_webhook=server.address), ALERT) == f"the server answered {status}"
    assert server.paths == ["POST /"]


@pytest.mark.parametrize("make", [
    lambda port: {"alert_webhook": f"http://127.0.0.1:{port}/secret"},
    lambda port: {"alert_smtp": f"127.0.0.1:{port}", **MAIL}])
def test_a_dead_port_is_said(make: Callable[[int], dict[str, object]]) -> None:
    assert answer_of(chosen(**make(free_port())), ALERT) == "Connection refused"


@pytest.mark.parametrize("make", [
    lambda port: {"alert_webhook": f"http://127.0.0.1:{port}/secret"},
    lambda port: {"alert_smtp": f"127.0.0.1:{port}", **MAIL}])
def test_a_server_that_says_nothing_keeps_nobody(make: Callable[[int], dict[str, object]],
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        assert answer_of(chosen(**make(silent.getsockname()[1])), ALERT) == "no answer within 0.2 s"
        assert time.monotonic() - began < 2


def test_mail_arrives_readable_with_every_recipient(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(Mailbox) as box:
        channel = chosen(alert_smtp=box.address, alert_smtp_security="none", **MAIL)
        assert [answer_of(channel, ALERT) for _ in range(2)] == ["", ""]
    message = box.messages[0]
    assert message["Subject"] == "[warning] Accuracy below its promise: rice, season 2013"
    assert message["From"] == "platform@example.org"
    assert box.recipients[0] == ["ana@example.org", "ben@example.org"]
    assert message.get_content().replace("\r\n", "\n") == ALERT.text() + "\n"
    assert message["Date"].datetime == ALERT.time
    assert message["Message-ID"] == box.messages[1]["Message-ID"]  # mail programs fold a repeat


@pytest.mark.parametrize("security", ["starttls", "ssl"])
@pytest.mark.parametrize("login", [None, ("platform", "s3cret")])
def test_mail_is_encrypted_and_logged_in(security: str, login: tuple[str, str] | None, trusted: Path,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    user = dict(zip(("alert_smtp_user", "alert_smtp_password"), login, strict=True)) if login else {}
    with listening(partial(Mailbox, trusted, immediate=security == "ssl", login=login)) as box:
        assert answer_of(chosen(alert_smtp=box.address, alert_smtp_security=security, **user, **MAIL), ALERT) == ""
    assert box.encrypted == [True]


@pytest.mark.parametrize("security", ["starttls", "ssl"])
def test_a_certificate_nobody_trusts_gets_no_mail(security: str, trusted: Path) -> None:
    with listening(partial(Mailbox, trusted, immediate=security == "ssl")) as box:
        said = answer_of(chosen(alert_smtp=box.address, alert_smtp_security=security, **MAIL), ALERT)
    assert said.startswith("the server's certificate is not trusted: self")
    assert box.messages == []


def test_a_server_without_starttls_gets_no_mail() -> None:
    with listening(Mailbox) as box:
        assert "offers no STARTTLS" in answer_of(chosen(alert_smtp=box.address, **MAIL), ALERT)
    assert box.messages == []


def test_a_wrong_password_is_said_and_not_shown(trusted: Path, monkeypatch: pytest.MonkeyPatch,
                                                caplog: pytest.LogCaptureFixture) -> None:
    """The server repeats what it was given, as some do."""
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    with listening(partial(Mailbox, trusted, login=("platform", "s3cret"))) as box:
        channel = chosen(alert_smtp=box.address, alert_smtp_user="platform", alert_smtp_password="wr0ng", **MAIL)
        assert answer_of(channel, ALERT) == "the server answered 535 to the login"
    assert "wr0ng" not in caplog.text + repr(channel)


def test_recipients_that_are_refused_are_named(caplog: pytest.LogCaptureFixture) -> None:
    with listening(Mailbox) as box:
        channel = chosen(alert_smtp=box.address, alert_smtp_security="none", **MAIL)
        box.refused = {"ben@example.org"}
        assert answer_of(channel, ALERT) == ""
        assert "refused ben@example.org" in caplog.text
        assert box.recipients == [["ana@example.org"]]
        box.refused = {"ana@example.org", "ben@example.org"}
        assert answer_of(channel, ALERT) == "the server refused ana@example.org, ben@example.org"


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/secret", "https://user:secret@localhost:1/", "http://[secret",
                                     "http://localhost:99999/secret"])
def test_no_failure_says_a_webhooks_address(address: str) -> None:
    channel = chosen(alert_webhook=address)
    said = answer_of(channel, ALERT)
    assert said
    assert "secret" not in said + repr(channel)


@pytest.mark.parametrize(("given", "said"), [
    ({"alert_webhook": "hooks.example.org/s3cret"}, "alert_webhook: expected an address that begins with http"),
    ({"alert_slack_webhook": "https://hooks.example.org/s3cret x"}, "alert_slack_webhook: expected an address"),
    ({"alert_file": "alerts.jsonl"}, "alert_file is 'alerts.jsonl'; expected an absolute path"),
    ({"alert_smtp": "mail.example.org:587"}, "alert_smtp needs alert_email_from, alert_email_to"),
    ({"alert_email_to": "ana@example.org"}, "alert_email_to needs alert_smtp, alert_email_from"),
    ({"alert_smtp": "mail.example.org", **MAIL}, "alert_smtp is 'mail.example.org'; expected host:port"),
    ({"alert_smtp": "mail.example.org:70000", **MAIL}, "expected host:port"),
    ({"alert_smtp": "m:25", **MAIL, "alert_email_to": "ana@x.org,ben"}, "alert_email_to has 'ben'; expected"),
    ({"alert_smtp": "m:25", **MAIL, "alert_email_to": "a@x.org\nBcc: b@x.org"}, "alert_email_to has 'a@x.org"),
    ({"alert_smtp": "m:25", **MAIL, "alert_email_from": "a@x.org,b@x.org"}, "alert_email_from has several addresses"),
    ({"alert_smtp": "m:25", **MAIL, "alert_smtp_user": "me"}, "alert_smtp_user needs alert_smtp_password"),
    ({"alert_smtp": "m:25", **MAIL, "alert_smtp_password": "s3cret"}, "alert_smtp_password needs alert_smtp_user"),
    ({"alert_smtp": "m:25", **MAIL, "alert_smtp_user": "me", "alert_smtp_password": "s3cret",
      "alert_smtp_security": "none"}, "a password is not sent in the clear"),
    ({"alert_smtp_security": "tls"}, "alert_smtp_security is 'tls'"),
    ({"alert_smtp_password": ["s3cret"]}, "alert_smtp_password is not shown"),
])
def test_wrong_settings_are_said_without_their_secrets(given: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(ProgramError) as caught:
        read_settings(tmp_path, **given)
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)
