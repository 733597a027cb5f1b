"""Alerts of landing files and programme files that are refused: what the landing sensor says in its ticks, told.

Files are judged when they were the same at two looks, each state of them once; nothing is started here.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from genomic_platform.alerts.alert import Alert
from genomic_platform.errors import InputError, ProgramError
from genomic_platform.landing.files import Landing
from genomic_platform.program import Program
from genomic_platform.workspace import Workspace

_SHOWN = 900


def refusal(program: Program) -> str:
    """Why no season of the programme can be run, in words; "" when nothing is in the way."""
    try:
        known = Landing(program).known_digests()
    except InputError as error:
        return str(error)
    odd = [label for label in known if not program.calendar.fits(label)]
    return f"season {', '.join(odd)}: outside the calendar of program.toml" if odd else ""


def landing_alert(name: str, workspace: Workspace, seen: str, now: datetime) -> tuple[Alert | None, str]:
    """The alert of a programme whose files are refused, and what to remember as `seen` at the next look.

    Parameters
    ----------
    seen : what the look before left: "" at first, `judged:…` once this state of the files was judged.

    Raises
    ------
    GenomicPlatformError, OSError : the files cannot be read now, and perhaps can at the next look.
    """
    program = None
    try:
        program = workspace.program(name)
        found = Landing(program).signature() + program.settings_digest("calendar")
    except ProgramError as error:
        found = str(error)
    state = hashlib.sha256(found.encode()).hexdigest()[:16]
    if seen != state:
        return None, seen if seen == f"judged:{state}" else state
    said = refusal(program) if program else found
    return _alert(name, workspace, said, state, now) if said else None, f"judged:{state}"


def _alert(name: str, workspace: Workspace, said: str, state: str, now: datetime) -> Alert:
    return Alert(
        cause=f"landing_refused:{name}:{state}:{now.date().isoformat()}", kind="landing_refused", program=name,
        season=None, what=said if len(said) <= _SHOWN else f"{said[:_SHOWN]} …",
        where=str(workspace.program_folders()[name]), how_sure="certain: the files were read", severity="error",
        done="no run is started until it is repaired; what was published stays. `genomic-platform status` says all",
        time=now)
