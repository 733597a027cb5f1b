"""A real lakeFS server for tests: the one that LAKECTL_SERVER_ENDPOINT_URL names, else a `lakefs` binary on PATH."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from genomic_platform.stores.lakefs import LakeFSStore
from genomic_platform.stores.lakefs_setup import prepare_repository
from genomic_platform_tests.support.served import free_port

KEY, SECRET = "AKIAIOSFOLKFSSAMPLES", "test-secret-of-a-throw-away-server"
ABSENT = "no lakeFS server: set LAKECTL_SERVER_ENDPOINT_URL and its credentials, or put `lakefs` on PATH"


class Server:
    """A server's address and credentials; `own` ones, with a folder, can be killed and started again."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self.endpoint = os.environ.get("LAKECTL_SERVER_ENDPOINT_URL", "")
        self.key = os.environ.get("LAKECTL_CREDENTIALS_ACCESS_KEY_ID", KEY)
        self.secret = os.environ.get("LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY", SECRET)
        if folder is not None:
            self.key, self.secret, self.port = KEY, SECRET, free_port()
            self.endpoint = f"http://127.0.0.1:{self.port}"
            self.start()

    def start(self) -> None:
        assert self.folder is not None
        environment = {
            **os.environ, "LAKEFS_DATABASE_TYPE": "local", "LAKEFS_DATABASE_LOCAL_PATH": str(self.folder / "kv"),
            "LAKEFS_BLOCKSTORE_TYPE": "local", "LAKEFS_BLOCKSTORE_LOCAL_PATH": str(self.folder / "blocks"),
            "LAKEFS_AUTH_ENCRYPT_SECRET_KEY": "test", "LAKEFS_STATS_ENABLED": "false",
            "LAKEFS_LISTEN_ADDRESS": f"127.0.0.1:{self.port}", "LAKEFS_LOGGING_LEVEL": "ERROR",
            "LAKEFS_INSTALLATION_USER_NAME": "test", "LAKEFS_INSTALLATION_ACCESS_KEY_ID": KEY,
            "LAKEFS_INSTALLATION_SECRET_ACCESS_KEY": SECRET, "HOME": str(self.folder)}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(["lakefs", "run"], env=environment, stdout=log, stderr=log)
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{self.endpoint}/_health", timeout=1).close()
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise AssertionError((self.folder / "server.log").read_text()[-2000:])

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def store(self, cache: Path, repository: str = "", actions: Sequence[Path] = (),
              waits_s: Sequence[float] = (0.1, 0.2, 0.4)) -> LakeFSStore:
        """A store in a repository of this name, made when missing; by default in a new one."""
        repository = repository or f"test-{uuid4().hex[:20]}"
        store = LakeFSStore(self.endpoint, self.key, self.secret, repository, cache, waits_s)
        prepare_repository(store, f"local://{repository}", actions, protect=False)
        return store


def server_missing() -> bool:
    """Neither a server is named nor can one be started."""
    return not os.environ.get("LAKECTL_SERVER_ENDPOINT_URL") and shutil.which("lakefs") is None
