"""Seasons that are late by the programme's own calendar: harvested long ago, and no trial records are there.

Dates are those of the programme's months; a season is due when its harvest month has ended. Nothing here decides what
runs: that is done by the landing files' content alone.
"""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime

from genomic_platform.alerts.alert import Alert
from genomic_platform.landing.files import Landing
from genomic_platform.phenotypes.seasons import Calendar
from genomic_platform.program import Program
from genomic_platform.stores.assets import AssetStore
from genomic_platform.workspace import Workspace

_YEAR_DAYS = 365


def harvest_end(seasons: Calendar, label: str) -> date | None:
    """The last day of the label's harvest month; None where the calendar does not tell.

    The label's year is the year of planting, so a harvest month before the planting month, or a label of two years, is
    in the year after. Of several cycles in a year no month is known, so each counts as harvested when the year ends.
    Where a calendar can be read in two ways the later day is given: a season is rather told late than wrongly.
    """
    if seasons.harvest_month is None or seasons.kind in ("listed", "unordered"):
        return None
    crosses = seasons.planting_month is not None and seasons.harvest_month < seasons.planting_month
    year = int(label[:4]) + (crosses or seasons.kind == "YYYY-YY")
    month = 12 if seasons.kind == "YYYYc" else seasons.harvest_month
    return date(year, month, calendar.monthrange(year, month)[1])


def late_season(seasons: Calendar, last: str, today: date, grace_days: int) -> tuple[str, date] | None:
    """The season after `last` and the end of its harvest, when that was at least `grace_days` ago.

    None also when it has been late for a year: such a programme is at rest, or holds data of the past.
    """
    label = seasons.next(last)
    end = harvest_end(seasons, label) if label else None
    if label is None or end is None or not 0 <= (today - end).days - grace_days < _YEAR_DAYS:
        return None
    return label, end


def late_alert(program: Program, workspace: Workspace, now: datetime) -> Alert | None:
    """The alert of a programme whose next season is late; None when it is not, or nothing was published yet.

    Raises
    ------
    GenomicPlatformError, OSError : landing files or store cannot be read.
    """
    published = AssetStore(workspace.store, program.name).published()
    today, grace = now.astimezone(UTC).date(), workspace.settings.alert_late_days
    late = late_season(program.calendar, published[-1], today, grace) if published else None
    if late is None:
        return None
    label, end = late
    there = label in Landing(program).seasons
    state = "its trial records are there, but it is not published" if there else "no trial records of it are there"
    return Alert(
        cause=f"season_late:{program.name}:{label}:{'unpublished' if there else 'missing'}", kind="season_late",
        program=program.name, season=label,
        what=f"season {label}'s harvest month ended {(today - end).days} days ago ({end.isoformat()}) and {state}",
        where="the programme's season in the asset graph" if there else str(program.folder / "landing" / "trials"),
        how_sure=f"by the calendar of program.toml (harvest_month = {program.calendar.harvest_month}), whose months "
                 "`init` guesses from the latitude unless told",
        done=f"nothing; values of season {published[-1]} stay in use", time=now)
