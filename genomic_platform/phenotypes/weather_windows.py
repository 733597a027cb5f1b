"""Named windows of a season, by days after planting and by thermal time, and which of an environment's days they hold.

What is summed over a window belongs in `weather_features`. A window is half-open: its start belongs to it, its end to
the next. Axis: D days from planting to the last day known, one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genomic_platform.errors import ProgramError

CLOCKS = {"days": "days after planting", "thermal": "°C d since planting", "season": "planting to harvest"}


@dataclass(frozen=True)
class Window:
    """A part of the season.

    Attributes
    ----------
    name : begins every feature of the window.
    clock : `days` (after planting; the day of planting is day 0), `thermal` (growing degree-days accumulated before the
        day) or `season` (planting to harvest, both included; no start and end).
    start, end : on that clock, 0 ≤ start < end.
    """

    name: str
    clock: str
    start: float = 0.0
    end: float = np.inf

    def __post_init__(self) -> None:
        if self.clock not in CLOCKS:
            raise ProgramError(f"window {self.name}: clock is '{self.clock}'; expected one of {', '.join(CLOCKS)}")
        if not 0 <= self.start < self.end or (self.clock != "season" and not np.isfinite(self.end)):
            raise ProgramError(f"window {self.name}: from {self.start:g} to {self.end:g} {CLOCKS[self.clock]}; "
                               "expected 0 ≤ start < end")


@dataclass(frozen=True)
class Crop:
    """Temperatures at which the crop's clock runs and it suffers; the defaults are maize's.

    Attributes
    ----------
    base_c, ceiling_c : thermal time counts between them, °C (10 and 30: McMaster & Wilhelm 1997, on maize).
    heat_c : a day whose maximum is above it is a heat day, °C (30: Lobell et al. 2011, Nature Climate Change 1:42-45).
    frost_c : a day whose minimum is below it is a frost day, °C (0: index FD of Zhang et al. 2011).
    wet_mm : a day with less rain is a dry day, mm (1: index CDD of Zhang et al. 2011, WIREs Climate Change 2:851-870).
    """

    base_c: float = 10.0
    ceiling_c: float = 30.0
    heat_c: float = 30.0
    frost_c: float = 0.0
    wet_mm: float = 1.0

    def __post_init__(self) -> None:
        if not self.base_c < self.ceiling_c:
            raise ProgramError(f"thermal time from {self.base_c:g} to {self.ceiling_c:g} °C; expected base < ceiling")


#: The whole season, four months after planting, and thermal time in four parts up to 1,200 °C d.
WINDOWS = (
    Window("season", "season"),
    *(Window(f"days_{start}_{start + 30}", "days", start, start + 30) for start in range(0, 120, 30)),
    *(Window(f"thermal_{start}_{start + 300}", "thermal", start, start + 300) for start in range(0, 1200, 300)),
)


@dataclass(frozen=True)
class Span:
    """Days `first` to `last` − 1 of an environment that a window holds; none, and why, where it cannot be told.

    `why` : `""` (complete) | `incomplete` (its end lies after the last day known, and the crop may still stand) |
    `harvested` (the harvest came first) | `gap` (thermal time is unknown on a day before its end).
    """

    first: int = 0
    last: int = 0
    why: str = ""


def span_of(window: Window, thermal_D: np.ndarray, harvested: bool) -> Span:
    """Which days a window holds.

    Parameters
    ----------
    thermal_D : thermal time of each day from planting to the last day known, °C d; NaN = unknown.
    harvested : the last day is the day of harvest.
    """
    late = "harvested" if harvested else "incomplete"
    if window.clock == "season":
        return Span(0, len(thermal_D)) if harvested else Span(why=late)
    if window.clock == "days":
        return Span(int(window.start), int(window.end)) if window.end <= len(thermal_D) else Span(why=late)
    after_D = np.cumsum(thermal_D)
    if not np.nanmax(after_D, initial=0.0) >= window.end:
        return Span(why="gap" if np.isnan(after_D).any() else late)
    before_D = np.concatenate([[0.0], after_D[:-1]])
    held_D = (before_D >= window.start) & (before_D < window.end)
    return Span(int(held_D.argmax()), int(held_D.argmax() + held_D.sum()))


def require_distinct(windows: Sequence[Window]) -> None:
    """Raises ProgramError where two windows have one name: their features would overwrite each other."""
    names = [w.name for w in windows]
    if repeated := sorted({n for n in names if names.count(n) > 1}):
        raise ProgramError(f"windows named twice: {', '.join(repeated)}; expected one name a window")
