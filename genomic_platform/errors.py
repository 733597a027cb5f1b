"""Every error the platform raises on purpose, as one tree, and whether trying again can help.

    GenomicPlatformError
    ├── InputError             a person's file is wrong; carries every problem found in it
    ├── ProgramError           program.toml or a setting is wrong
    ├── NotAvailable           what was asked for does not exist (yet): no champion, season unpublished
    ├── SeasonOrderError       an earlier season is unpublished and none is on its way
    ├── PredecessorRunning     an earlier season is on its way: transient
    ├── DecisionsChanged       somebody decided on a champion while the run went on: transient
    ├── OverBudget             the programme's month has cost its budget; no new training
    ├── MissingExtra           an optional package is not installed
    ├── AlertNotSent           a channel did not take an alert: transient
    ├── OutOfDeviceMemory      a training does not fit the device, with a smaller batch neither
    └── StoreError             the versioned store
        ├── ObjectNotFound     no such branch, commit or path
        ├── MergeConflict      a path was changed differently on both sides
        ├── CorruptObject      stored bytes no longer match their checksum
        └── StoreUnavailable   away or busy: transient

A message names the thing, what was expected, what was found and the repair.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class GenomicPlatformError(Exception):
    """Root of the tree. `transient`: trying again may help. `exit_code`: what the command line returns."""

    transient = False
    exit_code = 1


@dataclass(frozen=True)
class Problem:
    """One fault in one input file; `line` is 1-based as an editor counts, `field` a column or header name."""

    file: str
    expected: str
    found: str
    repair: str
    line: int | None = None
    field: str | None = None

    def __str__(self) -> str:
        where = self.file + (f", line {self.line}" if self.line is not None else "")
        what = f"{self.field} is {self.found}" if self.field else self.found
        return f"{where}: {what}; expected {self.expected}; repair: {self.repair}"


@dataclass(frozen=True)
class Notice:
    """Something accepted that a person should know, said once: `count` cases, a few `examples`."""

    code: str
    message: str
    count: int = 0
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.examples:
            return self.message
        return f"{self.message} ({'for example ' * (self.count > len(self.examples))}{', '.join(self.examples)})"


def counted(n: int, singular: str, plural: str | None = None) -> str:
    """`1 line`, `1,204 lines`: a count and its noun as a message says them."""
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"


class InputError(GenomicPlatformError):
    """A person's file cannot be used; `problems` holds all of them, not only the first."""

    exit_code = 2
    shown = 50

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        lines = [str(p) for p in self.problems[: self.shown]]
        if len(self.problems) > self.shown:
            lines.append(f"… and {len(self.problems) - self.shown} more problems of the same files")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type[InputError], tuple[Sequence[Problem]]]:
        return type(self), (self.problems,)


class ProgramError(GenomicPlatformError):
    """program.toml, a setting or a command-line value is wrong."""

    exit_code = 2


class NotAvailable(GenomicPlatformError):
    """What was asked for does not exist (yet)."""

    exit_code = 3


class SeasonOrderError(GenomicPlatformError):
    """Seasons are published in calendar order, and an earlier one is missing with none on its way."""


class PredecessorRunning(GenomicPlatformError):
    """An earlier season is queued, running or about to be retried."""

    transient = True
    exit_code = 4


class DecisionsChanged(GenomicPlatformError):
    """Somebody rolled back or approved while the run went on; the run, tried again, decides anew."""

    transient = True
    exit_code = 4


class OverBudget(GenomicPlatformError):
    """The programme's month has cost its budget: no new training; predictions, reports and decisions go on."""

    exit_code = 4


class MissingExtra(GenomicPlatformError):
    """An optional package is not installed; the message names the extra to install."""

    exit_code = 2


class OutOfDeviceMemory(GenomicPlatformError):
    """A training does not fit the device's memory; the message says which batches were tried."""


class AlertNotSent(GenomicPlatformError):
    """A channel did not take an alert; the message holds neither address nor password."""

    transient = True
    exit_code = 4


class StoreError(GenomicPlatformError):
    """The versioned store refused or failed."""


class ObjectNotFound(StoreError):
    """No such branch, commit or path in the versioned store."""

    exit_code = 3


class MergeConflict(StoreError):
    """A path was changed differently on both sides of a merge; `paths` names them."""

    def __init__(self, message: str, paths: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.paths = tuple(paths)


class CorruptObject(StoreError):
    """Stored bytes no longer match the checksum they are stored under."""


class StoreUnavailable(StoreError):
    """The store is away or held by another process for too long."""

    transient = True
    exit_code = 4
