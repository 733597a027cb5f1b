"""Servers that alerts are sent to: one for HTTP and one for mail, each in a thread, answering as a test says."""

from __future__ import annotations

import base64
import json
import os
import signal
import socketserver
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar, cast

S = TypeVar("S", bound=socketserver.BaseServer)


class Received(ThreadingHTTPServer):
    """An HTTP server; `status` is its answer, `wait_s` how long it waits before it, `kill` whom it kills before it."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        self.posts: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.status, self.wait_s, self.kill, self.location, self.trickle = 200, 0.0, 0, "", False
        super().__init__(("127.0.0.1", 0), _Post)

    def server_bind(self) -> None:
        """Without asking the name service for a name of 127.0.0.1."""
        socketserver.TCPServer.server_bind(self)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Post(BaseHTTPRequestHandler):
    server: Received

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.posts.append(json.loads(body))
        self.server.headers.append(dict(self.headers))
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.server.paths.append(f"{self.command} {self.path}")
        if self.server.kill:
            os.kill(self.server.kill, signal.SIGKILL)
            return
        time.sleep(self.server.wait_s)
        if self.server.trickle:
            for letter in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000:
                self.wfile.write(bytes([letter]))
                time.sleep(0.05)
        self.send_response(self.server.status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def handle(self) -> None:
        with suppress(ConnectionError, TimeoutError):  # the sender did not wait, or is gone: some tests are about it
            super().handle()


class Mailbox(socketserver.ThreadingTCPServer):
    """A mail server with as much of RFC 5321 as a sender needs; `login` is the (user, password) it asks for."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, certificate: Path | None = None, *, immediate: bool = False,
                 login: tuple[str, str] | None = None) -> None:
        self.messages: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.encrypted: list[bool] = []
        self.refused: set[str] = set()
        self.login, self.immediate, self.tls = login, immediate, None
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(certificate)
        super().__init__(("127.0.0.1", 0), _Session)

    @property
    def address(self) -> str:
        return f"localhost:{self.server_address[1]}"


class _Session(socketserver.BaseRequestHandler):
    server: Mailbox

    def handle(self) -> None:
        try:
            self._wrap(self.server.immediate)
            self._session()
        except (OSError, ValueError):
            pass  # the sender is gone, or does not trust the certificate
        finally:
            self.request.close()  # the server itself closes only what was there before encryption

    def _wrap(self, wanted: bool) -> None:
        self.encrypted = wanted and self.server.tls is not None
        if self.encrypted:
            self.request = cast(ssl.SSLContext, self.server.tls).wrap_socket(self.request, server_side=True)
        self.lines = self.request.makefile("rb")

    def say(self, text: str) -> None:
        self.request.sendall(text.encode() + b"\r\n")

    def _session(self) -> None:
        self.to: list[str] = []
        self.say("220 ready")
        while line := self.lines.readline().decode().strip():
            verb = line.split()[0].upper()
            if verb == "QUIT":
                return self.say("221 bye")
            self._command(verb, line)
        return None

    def _command(self, verb: str, line: str) -> None:
        if verb == "EHLO":
            offers = ["STARTTLS"] * (self.server.tls is not None and not self.encrypted)
            offers += ["AUTH PLAIN"] * (self.server.login is not None)
            self.say("\r\n".join([*(f"250-{o}" for o in ["localhost", *offers]), "250 8BITMIME"]))
        elif verb == "STARTTLS":
            self.say("220 go on")
            self._wrap(wanted=True)
        elif verb == "AUTH":
            given = tuple(base64.b64decode(line.split()[2]).decode().split("\0")[1:])
            self.say("235 welcome" if given == self.server.login else f"535 no such login: {line}")
        elif verb == "RCPT":
            address = line.partition("<")[2].partition(">")[0]
            known = address not in self.server.refused
            self.to += [address] * known
            self.say("250 ok" if known else f"550 {address} is not here")
        elif verb == "DATA":
            self._data()
        else:
            self.say("250 ok")

    def _data(self) -> None:
        self.say("354 go on")
        body = b""
        while (line := self.lines.readline()) != b".\r\n":
            body += line
        self.server.messages.append(cast(EmailMessage, message_from_bytes(body, policy=policy.default)))
        self.server.recipients.append(self.to)
        self.server.encrypted.append(self.encrypted)
        self.say("250 taken")


@contextmanager
def listening(make: Callable[[], S]) -> Iterator[S]:
    """The server, answering until the block ends."""
    with make() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def certificate(folder: Path) -> Path:
    """A new certificate of `localhost`, its key in the same file; whoever trusts the file trusts the server."""
    path = folder / "certificate.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", path, "-out", folder / "only.pem", "-days", "2", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + (folder / "only.pem").read_bytes())
    return path
