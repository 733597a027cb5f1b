"""What to do about the causes a season gives, and what the calendar asks for: one answer to one cause.

Every candidate has been trained on the season's data by the run that found a cause. What a retraining adds is the
programme's challengers, so without any there is nothing to start, and the alert says so. A cause is answered once: its
name, the season's data and the challengers make the run's key. The next season is new evidence, and a cause of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from genomic_platform.program import Program
from genomic_platform.retraining.causes import Cause
from genomic_platform.stores.assets import RELEASE, AssetStore

#: A programme whose last season is older has ended, or is an example: its calendar starts nothing.
MAX_AGE_YEARS = 2


@dataclass(frozen=True)
class Answer:
    """What is done about a season's causes.

    Attributes
    ----------
    cause : what goes into the run's tag and the release; empty when there is none. run_key : of the run; None = no run
    is started. why : what is done or not, in words. again : when to look again though nothing changed.
    """

    cause: str
    run_key: str | None
    why: str
    again: datetime | None = None


def answer(program: Program, main: AssetStore, season: str, causes: Sequence[Cause], *, now: datetime,
           last: datetime | None) -> Answer:
    """What to do about the causes of a published season.

    Parameters
    ----------
    last : when the programme's last such retraining began; None = never.
    """
    section = program.file.retraining
    calling = [cause for cause in causes if cause.kind in section.on]
    if not calling:
        return Answer("", None, "no retraining: program.toml asks for none on this cause" if causes else "")
    cause = f"{calling[0].kind}: " + "; ".join(f"{c.subject} ({c.how_sure})" for c in calling)
    if not section.challengers:
        return Answer(cause, None, "no retraining: the candidates have learnt from this season already, and "
                      "[retraining] of program.toml names no challengers to try beside them")
    release = main.record(RELEASE, season)
    if release is None or set(section.challengers) <= set(release.inputs):  # by whichever cause they were called
        return Answer(cause, None, f"tried {', '.join(section.challengers)}: see the season's decisions")
    if last is not None and now < (free := last + timedelta(days=section.cooldown_days)):
        return Answer(cause, None, f"waits until {free:%Y-%m-%d %H:%M} UTC: less than {section.cooldown_days:g} days "
                      "since the last retraining (cooldown_days)", free)
    names = ", ".join(sorted(c.name for c in calling))
    asked = hashlib.sha256(f"{names} {section.challengers} {release.extra['known_digest']}".encode()).hexdigest()
    return Answer(cause, f"{program.season(season).key}:retraining:{asked[:12]}",
                  f"retraining with {', '.join(section.challengers)} beside the candidates")


def due_by_calendar(program: Program, main: AssetStore, today: datetime) -> Answer:
    """What the calendar asks for today: in the month before planting and in the month after harvest, once each a year.

    The run is of the latest published season. Steps whose data, settings and code are as they were are reused.
    """
    calendar, published = program.calendar, main.published()
    kind = next((kind for kind, month in (("before_planting", _shifted(calendar.planting_month, -1)),
                                          ("after_harvest", _shifted(calendar.harvest_month, 1)))
                 if month == today.month and kind in program.file.retraining.on), None)
    if kind is None or not published:
        return Answer("", None, "")
    if calendar.kind in ("listed", "unordered"):
        return Answer("", None, "nothing: its seasons are not named for years")
    if today.year - int(published[-1][:4]) > MAX_AGE_YEARS:
        return Answer("", None, f"nothing: season {published[-1]} is the last, and it is not of these years")
    words = kind.replace("_", " ")
    return Answer(f"{kind}: {today:%B %Y}", f"{program.season(published[-1]).key}:{kind}:{today:%Y}",
                  f"season {published[-1]} again, {words}")


def _shifted(month: int | None, by: int) -> int | None:
    return None if month is None else (month - 1 + by) % 12 + 1


