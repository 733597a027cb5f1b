"""Season labels: which ones a programme's calendar allows, their order, and the label that follows.

Science contract: `YYYY`, `YYYY-YY`, `YYYY` plus a cycle letter, or labels listed in order; labels of which none
begins with a digit have no order and share one partition. Nothing here reads files or clocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from genomic_platform.errors import ProgramError

LABEL = re.compile(r"[0-9A-Za-z-]{1,16}")
#: The one partition of a programme whose seasons have no order.
ALL = "all"
KINDS = ("YYYY", "YYYY-YY", "YYYYc", "listed", "unordered")
_YEAR = r"(?:1[89]|20|21)\d\d"
_PATTERNS = {"YYYY": re.compile(_YEAR), "YYYY-YY": re.compile(rf"({_YEAR})-(\d\d)"),
             "YYYYc": re.compile(rf"({_YEAR})([A-Za-z])")}


@dataclass(frozen=True)
class Calendar:
    """A programme's calendar.

    Attributes
    ----------
    kind : YYYY | YYYY-YY | YYYYc | listed | unordered.
    order : kind listed: the labels in calendar order, which must be their order as strings too.
    first : earliest label that belongs to the programme; None = any.
    planting_month, harvest_month : 1–12, may cross New Year; None = not known.
    cycles : kind YYYYc: the cycle letters of a year, in order.

    Raises
    ------
    ProgramError : unknown kind, a month outside 1–12, listed labels out of string order, a label outside the grammar.
    """

    kind: str
    order: tuple[str, ...] = ()
    first: str | None = None
    planting_month: int | None = None
    harvest_month: int | None = None
    cycles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ProgramError(f"calendar kind is {self.kind!r}; expected one of {', '.join(KINDS)}")
        for name, month in (("planting_month", self.planting_month), ("harvest_month", self.harvest_month)):
            if month is not None and not 1 <= month <= 12:
                raise ProgramError(f"calendar {name} is {month}; expected 1 to 12")
        if self.kind == "listed":
            self._check_order()

    def _check_order(self) -> None:
        if not self.order:
            raise ProgramError("calendar order is empty; expected the season labels in order")
        for label in self.order:
            if not LABEL.fullmatch(label):
                raise ProgramError(f"season label {label!r}: expected 1 to 16 letters, digits or hyphens")
        for earlier, later in zip(self.order, self.order[1:], strict=False):
            if not earlier < later:
                raise ProgramError(f"season labels must sort as text in calendar order; {earlier!r} is listed before "
                                   f"{later!r} but sorts after it; repair: number them: 01-{earlier}, 02-{later}")

    def fits(self, label: str) -> bool:
        """Whether the label belongs to this calendar (right form, not before `first`)."""
        if not LABEL.fullmatch(label):
            return False
        if self.kind == "listed":
            return label in self.order
        if self.kind == "unordered":
            return True
        if _kind_of(label) != self.kind or (self.first is not None and label < self.first):
            return False
        return self.kind != "YYYYc" or not self.cycles or label[4] in self.cycles

    def next(self, label: str) -> str | None:
        """The label after `label`; None when there is none to know (end of a list, no order, does not fit)."""
        if self.kind == "unordered" or not self.fits(label):
            return None
        if self.kind == "listed":
            at = self.order.index(label) + 1
            return self.order[at] if at < len(self.order) else None
        year = int(label[:4]) + 1
        if self.kind == "YYYY":
            return str(year)
        if self.kind == "YYYY-YY":
            return f"{year}-{(year + 1) % 100:02d}"
        cycles = self.cycles or ("A", "B")
        at = cycles.index(label[4]) + 1 if label[4] in cycles else len(cycles)
        return f"{label[:4]}{cycles[at]}" if at < len(cycles) else f"{year}{cycles[0]}"

    def ordinal(self, label: str) -> int:
        """A whole number that grows along the calendar and does not depend on which seasons there are.

        The year (of planting), a year and the cycle's place in the alphabet (2013B → 201302), the place in a listed
        order from 1; 0 where seasons have no order.
        """
        if self.kind == "listed":
            return self.order.index(label) + 1
        if self.kind == "unordered":
            return 0
        year = int(label[:4])
        return year if self.kind != "YYYYc" else 100 * year + ord(label[4].lower()) - ord("a") + 1

    def sort(self, labels: Iterable[str]) -> tuple[str, ...]:
        """The distinct labels in calendar order, which is their order as strings."""
        return tuple(sorted(set(labels)))

    def partition(self, label: str) -> str:
        """The partition a season's records belong to: the season itself, or `all` where seasons have no order."""
        return ALL if self.kind == "unordered" else label

    def partitions(self, labels: Iterable[str]) -> tuple[str, ...]:
        """The distinct partitions of the labels in calendar order."""
        return self.sort(self.partition(label) for label in labels)


def odd_labels(labels: Iterable[str]) -> dict[str, str]:
    """The labels that keep the others from being one calendar, each with what was expected; empty when none does."""
    distinct = sorted(set(labels))
    odd = {x: "1 to 16 letters, digits or hyphens" for x in distinct if not LABEL.fullmatch(x)}
    usual = _usual_kind(x for x in distinct if x not in odd)
    if usual is None:
        return odd
    shown = {"YYYY": "a year such as 2013, as the other seasons", "unordered": "a name, as the other seasons",
             "YYYY-YY": "two years such as 2013-14, as the other seasons",
             "YYYYc": "a year and a cycle letter such as 2013A, as the other seasons",
             "other": "a year (2013), two years (2013-14), a year and a cycle letter (2013A), or labels listed in "
                      "order in program.toml"}
    return odd | {x: shown[usual] for x in distinct if x not in odd and (usual == "other" or _kind_of(x) != usual)}


def guess_calendar(labels: Iterable[str], latitude: float | None = None) -> Calendar:
    """The calendar the labels follow.

    Parameters
    ----------
    labels : season labels, any order, repeats allowed.
    latitude : degrees north; decides the guessed months (planting in spring, harvest in autumn of the hemisphere).

    Raises
    ------
    ProgramError : no label, or a mixture; the message names each odd label and what was expected.
    """
    distinct = sorted(set(labels))
    if not distinct:
        raise ProgramError("no season label found; expected at least one season")
    if odd := odd_labels(distinct):
        raise ProgramError("; ".join(f"season {x!r}: expected {expected}" for x, expected in odd.items()))
    planting, harvest = (None, None) if latitude is None else (4, 10) if latitude >= 0 else (10, 4)
    kind = _kind_of(distinct[0])
    if kind == "unordered":
        return Calendar(kind)
    cycles = tuple(sorted({x[4] for x in distinct})) if kind == "YYYYc" else ()
    return Calendar(kind, first=distinct[0], planting_month=planting, harvest_month=harvest,
                    cycles=cycles)


def _kind_of(label: str) -> str:
    if _PATTERNS["YYYY"].fullmatch(label):
        return "YYYY"
    if (two := _PATTERNS["YYYY-YY"].fullmatch(label)) and int(two[2]) == (int(two[1]) + 1) % 100:
        return "YYYY-YY"
    if _PATTERNS["YYYYc"].fullmatch(label):
        return "YYYYc"
    return "other" if label[:1].isdigit() else "unordered"


def _usual_kind(labels: Iterable[str]) -> str | None:
    """The kind most labels have; a form of year wins a tie, since a slip spoils a year and seldom makes one."""
    kinds = [_kind_of(x) for x in labels]
    rank = {"YYYY": 3, "YYYY-YY": 2, "YYYYc": 1, "unordered": 0, "other": -1}
    return max(kinds, key=lambda kind: (kinds.count(kind), rank[kind])) if kinds else None
