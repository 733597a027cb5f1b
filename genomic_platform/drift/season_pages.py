"""The drift pages of a season as they are kept: what was drawn, or why nothing was, and the files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STATE = "state.json"
#: Comparisons that have a page.
NAMES = ("inputs", "lines")
#: Files with random marks and the time of drawing, which are no part of what the pages say.
PAGE_FILES = tuple(f"{name}{end}" for name in NAMES for end in (".html", ".snapshot.json"))


@dataclass(frozen=True, eq=False)
class SeasonPages:
    """What a season's folder holds.

    Attributes
    ----------
    evidently : version that drew; "" = none. said : why there are no pages; "" where there are.
    files : name → content: of each comparison `<name>.json` (see `evidently_pages.drift_page`) and, where it could be
        shown, `<name>.html` and `<name>.snapshot.json`.
    """

    evidently: str
    said: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)

    def told(self) -> dict[str, dict[str, Any]]:
        """What the `<name>.json` of each comparison holds."""
        return {name: json.loads(self.files[f"{name}.json"]) for name in NAMES if f"{name}.json" in self.files}

    def snapshots(self) -> dict[str, bytes]:
        """Comparison → its page as Evidently's workspace keeps it."""
        return {name: self.files[f"{name}.snapshot.json"] for name in NAMES if f"{name}.snapshot.json" in self.files}

    def save(self, folder: Path) -> None:
        """Keep it in a folder that exists."""
        state = {"evidently": self.evidently, "said": self.said}
        (folder / STATE).write_text(json.dumps(state, indent=1, ensure_ascii=False), encoding="utf-8")
        for name, content in self.files.items():
            (folder / name).write_bytes(content)

    @classmethod
    def load(cls, folder: Path) -> SeasonPages:
        """One that was saved."""
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        return cls(**state, files={p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.name != STATE})
