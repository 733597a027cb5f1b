"""An S3 server for tests (`moto_server` on PATH), and what a person with another client puts into it."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from genomic_platform_tests.support.served import free_port

ABSENT = "no `moto_server` on PATH to speak S3 with (pip install 'moto[server]')"

#: Moto reads who asks, and believes it.
_SIGNED = "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"


def s3_missing() -> bool:
    return shutil.which("moto_server") is None


class S3Server:
    """A running server with one bucket, `breeding`."""

    def __init__(self, log: Path) -> None:
        self.port = free_port()
        with log.open("wb") as file:
            self._process = subprocess.Popen(["moto_server", "-H", "127.0.0.1", "-p", str(self.port)], stdout=file,
                                             stderr=subprocess.STDOUT)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                return self._request("PUT", "/breeding")
            except ConnectionError:
                time.sleep(0.1)
        raise AssertionError(f"the S3 server does not answer\n{log.read_text()}")

    def address(self, prefix: str) -> str:
        return f"s3://breeding/{prefix}?endpoint_override=127.0.0.1:{self.port}&scheme=http"

    def put(self, key: str, content: bytes) -> None:
        self._request("PUT", f"/breeding/{quote(key)}", content)

    def remove(self, key: str) -> None:
        self._request("DELETE", f"/breeding/{quote(key)}")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)

    def _request(self, method: str, path: str, content: bytes = b"") -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, content, {"Authorization": _SIGNED})
        answer = connection.getresponse()
        assert answer.status < 300, (method, path, answer.status, answer.read())
        connection.close()


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    server = S3Server(folder / "s3.log")
    try:
        yield server
    finally:
        server.stop()
