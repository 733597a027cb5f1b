"""What is written on a branch and not committed yet: one small file per path, replaced whole.

Here belong entries and their files. Whether an entry differs from the branch's head is for `embedded` to say.
Changes are made under the store's lock; reading needs none.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from genomic_platform.stores.objects import Contents


@dataclass(frozen=True)
class Staged:
    """One uncommitted write: content at `path`, or (`sha256` None) its removal."""

    path: str
    sha256: str | None
    size: int = 0


class Staging:
    """Entries below `root/<branch>/`; a file is named by its path's sha256, so that any path is a safe name."""

    def __init__(self, root: Path, contents: Contents) -> None:
        self.root = root
        self._contents = contents

    def prepare(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)

    def put(self, branch: str, entry: Staged) -> None:
        """Stage one entry in place of an earlier one of the same path."""
        (self.root / branch).mkdir(exist_ok=True)
        record = {"path": entry.path, "sha256": entry.sha256, "size": entry.size}
        self._contents.write_atomically(self._file(branch, entry.path), json.dumps(record).encode())

    def get(self, branch: str, path: str) -> Staged | None:
        return _read(self._file(branch, path))

    def entries(self, branch: str) -> dict[str, Staged]:
        """Everything staged on the branch, by path."""
        try:
            files = [*(self.root / branch).iterdir()]
        except FileNotFoundError:
            return {}
        found = map(_read, files)
        return {entry.path: entry for entry in found if entry is not None}

    def branches(self) -> list[str]:
        """Branches with a folder of entries; a removed branch's may be among them after a kill."""
        return sorted(folder.name for folder in self.root.iterdir())

    def forget(self, branch: str, paths: list[str]) -> None:
        """Drop the entries of these paths."""
        for path in paths:
            self._file(branch, path).unlink(missing_ok=True)

    def drop(self, branch: str) -> None:
        """Drop all that is staged on the branch."""
        shutil.rmtree(self.root / branch, ignore_errors=True)

    def _file(self, branch: str, path: str) -> Path:
        return self.root / branch / hashlib.sha256(path.encode()).hexdigest()


def _read(file: Path) -> Staged | None:
    try:
        return Staged(**json.loads(file.read_bytes()))
    except FileNotFoundError:
        return None  # committed or dropped by another process since its name was seen
