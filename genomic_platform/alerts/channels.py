"""The ways an alert leaves the workspace: log, file, webhook, Slack-compatible webhook, e-mail.

A channel sends one alert or raises AlertNotSent; it keeps nothing. Addresses of webhooks are secrets like passwords, so
no message holds one: errors name what went wrong, never where to.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import smtplib
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP as SMTP_LINES
from email.utils import format_datetime
from http.client import HTTPException
from pathlib import Path
from threading import Thread
from typing import Any, Protocol

from genomic_platform.alerts.alert import Alert
from genomic_platform.errors import AlertNotSent
from genomic_platform.settings import Settings

#: Seconds that a server gets for each answer, and that sending an alert may take in all. Dagster ends a sensor's tick
#: after 60 s, in which three servers must have their time.
ANSWER_SECONDS = 6.0
SEND_SECONDS = 10.0
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_log = logging.getLogger("genomic_platform.alerts")


class Channel(Protocol):
    """A way to a person; `name` is what its deliveries are kept under."""

    @property
    def name(self) -> str: ...

    def send(self, alert: Alert) -> None:
        """Send one alert. Raises AlertNotSent."""
        ...


@dataclass(frozen=True)
class LogChannel:
    """Python's log `genomic_platform.alerts`, hence the log of the process that delivers."""

    name: str = "log"

    def send(self, alert: Alert) -> None:
        _log.log(_LEVELS[alert.severity], "%s", alert.text())


@dataclass(frozen=True)
class FileChannel:
    """A file of JSON lines, for what follows files."""

    path: Path
    name: str = "file"

    def send(self, alert: Alert) -> None:
        line = json.dumps(alert.to_json(), ensure_ascii=False, sort_keys=True) + "\n"
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise AlertNotSent(f"{self.path}: {error.strerror}") from error


@dataclass(frozen=True, repr=False)
class WebhookChannel:
    """A POST of JSON to an address; any answer from 200 to 299 counts as received, a redirection does not."""

    name: str
    address: str
    body: Callable[[Alert], dict[str, Any]]

    def send(self, alert: Alert) -> None:
        try:
            request = urllib.request.Request(self.address, json.dumps(self.body(alert)).encode(), {
                "Content-Type": "application/json", "User-Agent": "genomic-platform",
                "Idempotency-Key": _digest(alert)})
            with _OPENER.open(request, timeout=ANSWER_SECONDS):
                pass
        except urllib.error.HTTPError as error:
            error.close()
            raise AlertNotSent(f"the server answered {error.code}") from None
        except (OSError, HTTPException, ValueError) as error:
            raise AlertNotSent(_reason(error)) from None


@dataclass(frozen=True, repr=False)
class MailChannel:
    """A message by SMTP. `security`: starttls (refused where the server has none), ssl, or none."""

    host: str
    port: int
    security: str
    user: str
    password: str
    sender: str
    to: tuple[str, ...]
    name: str = "email"

    def send(self, alert: Alert) -> None:
        try:
            with self._connected() as server:
                if self.user:
                    server.login(self.user, self.password)
                refused = server.send_message(self._message(alert))
        except smtplib.SMTPResponseException as error:
            raise AlertNotSent(f"the server answered {error.smtp_code}"
                               + " to the login" * isinstance(error, smtplib.SMTPAuthenticationError)) from None
        except smtplib.SMTPRecipientsRefused as error:
            raise AlertNotSent(f"the server refused {', '.join(error.recipients)}") from None
        except (OSError, ValueError) as error:
            raise AlertNotSent(_reason(error)) from None
        if refused:
            _log.warning("the mail server refused %s; the other recipients were sent the alert", ", ".join(refused))

    def _connected(self) -> smtplib.SMTP:
        own = socket.gethostname() or "localhost"  # smtplib would ask the name service, without a limit of time
        if self.security == "ssl":
            return smtplib.SMTP_SSL(self.host, self.port, own, timeout=ANSWER_SECONDS,
                                    context=ssl.create_default_context())
        server = smtplib.SMTP(self.host, self.port, own, timeout=ANSWER_SECONDS)
        if self.security == "starttls":
            try:
                server.starttls(context=ssl.create_default_context())
            except BaseException:
                server.close()
                raise
        return server

    def _message(self, alert: Alert) -> EmailMessage:
        message = EmailMessage(policy=SMTP_LINES)
        message["Subject"], message["From"], message["To"] = alert.title, self.sender, ", ".join(self.to)
        message["Date"] = format_datetime(alert.time)
        message["Message-ID"] = f"<{_digest(alert)}@genomic-platform>"  # a repeat is folded by mail programs
        message.set_content(alert.text() + "\n")
        return message


def channels_of(settings: Settings) -> list[Channel]:
    """The channels that the settings name; the log always."""
    chosen: list[Channel] = [LogChannel()]
    if settings.alert_file:
        chosen.append(FileChannel(Path(settings.alert_file)))
    if address := settings.alert_webhook.get_secret_value():
        chosen.append(WebhookChannel("webhook", address, Alert.to_json))
    if address := settings.alert_slack_webhook.get_secret_value():
        chosen.append(WebhookChannel("slack", address, _slack))
    if settings.alert_smtp:
        host, _, port = settings.alert_smtp.rpartition(":")
        chosen.append(MailChannel(host, int(port), settings.alert_smtp_security, settings.alert_smtp_user,
                                  settings.alert_smtp_password.get_secret_value(), settings.alert_email_from,
                                  tuple(a.strip() for a in settings.alert_email_to.split(","))))
    return chosen


def answer_of(channel: Channel, alert: Alert) -> str:
    """Send an alert; "" when the channel took it, else what went wrong, after `SEND_SECONDS` at the latest.

    A server that answers a byte at a time keeps no caller: its thread is left behind and ends with the process.
    """
    answers: list[str] = []

    def send() -> None:
        try:
            channel.send(alert)
            answers.append("")
        except AlertNotSent as error:
            answers.append(str(error))
        except Exception as error:  # words of an unforeseen error may hold an address or a password
            answers.append(f"a fault of the channel: {type(error).__name__}")

    thread = Thread(target=send, name=f"alert-{channel.name}", daemon=True)
    thread.start()
    thread.join(SEND_SECONDS)
    return answers[0] if answers else f"no answer within {SEND_SECONDS:g} s"


def _slack(alert: Alert) -> dict[str, Any]:
    """Text as Slack and what is compatible with it want it: three signs escaped, the title in bold."""
    text = alert.text().replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    title, _, rest = text.partition("\n")
    return {"text": f"*{title}*\n{rest}"}


def _digest(alert: Alert) -> str:
    return hashlib.sha256(alert.cause.encode()).hexdigest()[:32]


def _reason(error: Exception) -> str:
    """What went wrong, without the address or anything that was sent."""
    cause = getattr(error, "reason", None) if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError) or isinstance(error.__context__, TimeoutError):  # smtplib hides its own
        return f"no answer within {ANSWER_SECONDS:g} s"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted: {cause.verify_message}"
    if isinstance(cause, smtplib.SMTPNotSupportedError):
        return "the server offers no STARTTLS or no login; repair: set alert_smtp_security"
    if isinstance(cause, smtplib.SMTPServerDisconnected):
        return "the server ended the connection"
    return (cause.strerror if isinstance(cause, OSError) else None) or type(cause).__name__


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    """A POST that is redirected would go on as a GET without its body, and count as received."""

    def redirect_request(self, req: object, fp: object, code: int, msg: str, headers: object, newurl: str) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirection)
