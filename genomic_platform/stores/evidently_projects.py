"""Evidently outside of this process: drawing a season's pages, and the workspace that its web server shows.

A process of its own draws (`python -m genomic_platform.drift.evidently_pages`), since Evidently takes seconds to
import and patches NumPy; it reports nothing home, and what goes wrong there is said, never raised. The workspace is one
folder, with a project a programme and two reports a season, each file put there whole: the format of evidently 0.7,
which a test holds against Evidently's own reader.
"""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path

from genomic_platform.drift.comparisons import Comparison
from genomic_platform.drift.season_pages import NAMES, SeasonPages
from genomic_platform.links import evidently_page
from genomic_platform.program import FieldSeason
from genomic_platform.settings import Settings, page_environment
from genomic_platform.workspace import Workspace

FOLDER = "evidently"  # of the workspace
ABSENT = "evidently is not installed; repair: pip install 'genomic-platform[drift]'"
OFF = "turned off; repair: evidently_pages = true in genomic_platform.toml"
NOTHING_BEFORE = "nothing to compare with: no rows before this season, or none in it"
_SECONDS = 600


def installed() -> str:
    """The version of Evidently that is installed; "" without one. Imports nothing of it."""
    try:
        return importlib.metadata.version("evidently")
    except importlib.metadata.PackageNotFoundError:
        return ""


def draw(comparisons: Sequence[Comparison], version: str, seed: int = 0) -> SeasonPages:
    """The pages of these comparisons, drawn by the installed `version`; without one, or when that fails, why not."""
    if not version:
        return SeasonPages("", ABSENT)
    shown = [c for c in comparisons if c.reference.height and c.current.height]
    if not shown:
        return SeasonPages(version, NOTHING_BEFORE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for comparison in shown:
            (folder / comparison.name).mkdir()
            comparison.save(folder / comparison.name)
        if failed := _run([sys.executable, "-W", "ignore", "-m", "genomic_platform.drift.evidently_pages", name,
                           str(seed)]):
            return SeasonPages(version, f"evidently {version} failed: {failed}; repair: genomic-platform run DIR "
                                        "--force draws the pages again")
        return SeasonPages(version, files={p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()})


def _run(command: list[str]) -> str:
    """What went wrong, "" for nothing."""
    try:
        done = subprocess.run(command, env=page_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"no end after {_SECONDS} s"
    return "" if done.returncode == 0 else (done.stderr.splitlines() or [f"exit code {done.returncode}"])[-1]


def page_links(settings: Settings, season: FieldSeason, pages: SeasonPages) -> dict[str, str]:
    """Comparison → address of its page, which is there once the season is published."""
    return {name: evidently_page(settings, str(_project_id(season.program)), str(_report_id(season, name)))
            for name in pages.snapshots()}


def add_pages(workspace: Workspace, season: FieldSeason, pages: SeasonPages) -> None:
    """Put a season's pages into the workspace in place of those it has there; what has none any more is removed.

    Raises
    ------
    OSError : the folder cannot be written.
    """
    snapshots = pages.snapshots()
    project = workspace.root / FOLDER / str(_project_id(season.program))
    if not snapshots and not project.is_dir():
        return
    (project / "snapshots").mkdir(parents=True, exist_ok=True)
    if not (project / "metadata.json").is_file():  # a person may have described it otherwise since
        metadata = {"id": project.name, "name": season.program, "description": "Drift, season by season",
                    "org_id": None, "version": "2"}
        _put(workspace.root, project / "metadata.json", json.dumps(metadata, indent=2).encode())
    for name in NAMES:
        file = project / "snapshots" / f"{_report_id(season, name)}.json"
        if name not in snapshots:
            file.unlink(missing_ok=True)
        elif not file.is_file() or file.read_bytes() != snapshots[name]:
            _put(workspace.root, file, snapshots[name])


def _put(root: Path, path: Path, content: bytes) -> None:
    """Write a file whole. It is made beside the folder that Evidently's server watches: that sees files moved in."""
    temporary = root / f".{path.name}.{uuid.uuid4().hex}"  # process ids repeat among containers
    temporary.write_bytes(content)
    temporary.replace(path)


def _project_id(program: str) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_URL, f"genomic-platform/{program}")


def _report_id(season: FieldSeason, name: str) -> uuid.UUID:
    return uuid.uuid5(_project_id(season.program), f"{season.season}/{name}")
