"""How long how much of a programme lay in the store: from the releases' contents and the times of their commits.

A content counts once, from the first commit of the programme on `main` that holds it, for as long as history is kept:
earlier releases stay readable, so their contents stay on the disk.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from genomic_platform.costs.prices import GB
from genomic_platform.stores.protocol import MAIN
from genomic_platform.workspace import Workspace

Kept = tuple[tuple[datetime, int], ...]


def kept(workspace: Workspace, program: str) -> Kept:
    """(since when, bytes) of every release of the programme: what it added to what was there."""
    return _kept(workspace, program, workspace.store.resolve(MAIN))


@lru_cache(maxsize=64)
def _kept(workspace: Workspace, program: str, commit: str) -> Kept:
    """A commit's history never changes; a sensor asks every half minute."""
    seen: set[str] = set()
    found: list[tuple[datetime, int]] = []
    for release in reversed(workspace.store.log(commit)):
        if release.metadata.get("program") != program:
            continue
        new = {o.sha256: o.size for o in workspace.store.list(release.id, f"{program}/") if o.sha256 not in seen}
        seen |= new.keys()
        found.append((release.time, sum(new.values())))
    return tuple(found)


def month_bounds(month: str) -> tuple[datetime, datetime]:
    """Begin and end of a month `YYYY-MM`, UTC."""
    year, number = map(int, month.split("-"))
    return datetime(year, number, 1, tzinfo=UTC), datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)


def gb_months(held: Kept, month: str, until: datetime) -> float:
    """GB × the part of the month that they were held, up to `until`."""
    begin, end = month_bounds(month)
    seconds = (end - begin).total_seconds()
    return sum(size / GB * max(0.0, (min(end, until) - max(begin, since)).total_seconds()) / seconds
               for since, size in held)
