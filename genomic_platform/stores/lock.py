"""The embedded store's one lock between processes: an OS lock that a killed holder releases by dying.

Only locking belongs here. The lock file is never deleted; the pid written in it is for messages, not for deciding.
Reference: flock(2).
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genomic_platform.errors import StoreError, StoreUnavailable

_POLL_S = 0.005


@contextmanager
def exclusive(path: Path, timeout_s: float) -> Iterator[None]:
    """Hold the lock file `path` alone, among threads and processes of this machine.

    Parameters
    ----------
    path : the lock file; made when missing.
    timeout_s : seconds to wait for another holder.

    Raises
    ------
    StoreError : the lock cannot be opened.
    StoreUnavailable : still held after `timeout_s`; names the holder's pid when the file tells it.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError(f"{path}: expected to open the lock, the system refused: {error.strerror}; repair: check that "
                         "the folder is there and may be written") from error
    try:
        _acquire(descriptor, path, timeout_s)
        os.pwrite(descriptor, b"%-20d\n" % os.getpid(), 0)
        try:
            yield
        finally:
            # Closing alone would leave the lock with a child forked meanwhile by another thread.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
        if time.monotonic() >= deadline:
            raise StoreUnavailable(f"{path.parent}: expected the store to be free within {timeout_s:g} s, found it "
                                   f"held by {_holder(descriptor)}; wait for that process, or end it if it hangs")
        time.sleep(_POLL_S)


def _holder(descriptor: int) -> str:
    pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    return f"process {pid}" if pid.isdigit() else "another process"
