"""Files of lines that only grow: appending one for good, and reading whole ones after a writer was killed.

What a line means belongs to whoever keeps the file; so does the lock that writers hold.
"""

from __future__ import annotations

import os
from pathlib import Path


def append_line(path: Path, line: str) -> None:
    """Write a line behind the last line end, on disk when this returns: a killed writer's part of a line is replaced.

    The caller holds the file's lock. Raises OSError when the system refuses.
    """
    with path.open("r+b" if path.exists() else "x+b") as file:
        file.truncate(file.read().rfind(b"\n") + 1)
        file.seek(0, os.SEEK_END)
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def whole_lines(path: Path) -> tuple[list[str], str]:
    """Whole lines, and what follows the last line end; nothing where there is no file."""
    text = path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""
    *whole, torn = text.split("\n")
    return whole, torn
