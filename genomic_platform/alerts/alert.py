"""One alert: what happened, where, how sure that is, what was done about it; as JSON and as text.

Nothing here sends or keeps. The JSON form is a contract with whoever receives it: fields are added, never renamed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, get_args

SCHEMA_VERSION = 1
Kind = Literal["drift", "accuracy", "check_failed", "run_failed", "sensor_dead", "season_late", "landing_refused",
               "budget", "test"]
Severity = Literal["info", "warning", "error"]
#: What a kind is called where a person reads it.
TITLES: dict[str, str] = {
    "drift": "Drift", "accuracy": "Accuracy below its promise", "check_failed": "A check failed",
    "run_failed": "A run failed", "sensor_dead": "A sensor or schedule does not work",
    "season_late": "A season is late", "landing_refused": "Files are refused", "budget": "Budget",
    "test": "Test of the channels"}


@dataclass(frozen=True)
class Alert:
    """What a person should hear of.

    Attributes
    ----------
    cause : identity, for good: of all alerts with the same cause only the first is kept and sent.
    kind : one of `Kind`. program, season : what it is about; None = the whole workspace, or no one season.
    what : what happened, in a sentence with its numbers. where : asset, run, file or sensor.
    how_sure : certain, or how large the chance of a false alarm is. done : what the platform did about it, and did not.
    link : page to look at; None where no address of the web pages is set.
    severity : info, warning or error. time : when it was noticed, with a time zone.

    Raises
    ------
    ValueError : no cause, an unknown kind or severity, a time without a zone.
    """

    cause: str
    kind: Kind
    program: str | None
    season: str | None
    what: str
    where: str
    how_sure: str
    done: str
    link: str | None = None
    severity: Severity = "warning"
    time: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        # A file's name that is not UTF-8 holds lone surrogates, which neither the outbox nor any channel can write.
        for name, value in vars(self).items():
            if isinstance(value, str):
                object.__setattr__(self, name, value.encode("utf-8", "backslashreplace").decode())
        if not self.cause.strip():
            raise ValueError("alert: expected a cause, found none")
        for name, value, known in (("kind", self.kind, get_args(Kind)), ("severity", self.severity,
                                                                         get_args(Severity))):
            if value not in known:
                raise ValueError(f"alert {self.cause}: {name} is {value!r}; expected one of {', '.join(known)}")
        if self.time.tzinfo is None:
            raise ValueError(f"alert {self.cause}: time {self.time} has no time zone; expected UTC")

    @property
    def title(self) -> str:
        """`[error] A run failed: rice, season 2013`, on one line."""
        about = ", ".join(filter(None, (self.program, self.season and f"season {self.season}")))
        return " ".join(f"[{self.severity}] {TITLES[self.kind]}{about and f': {about}'}".split())

    def text(self) -> str:
        """The alert for a person to read, in plain text."""
        when = self.time.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
        parts = {"What": self.what, "Where": self.where, "How sure": self.how_sure, "Done": self.done,
                 "Look at": self.link or "", "When": when}
        return "\n".join([self.title, *(f"{name}: {value}" for name, value in parts.items() if value)])

    def to_json(self) -> dict[str, Any]:
        """The alert as JSON holds it: every field, time in ISO 8601, `schema_version`."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self), "link": self.link or None,
                "time": self.time.astimezone(UTC).isoformat(timespec="seconds")}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Alert:
        """The alert that `to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        own = {name: found[name] for name in cls.__dataclass_fields__}
        for name, value in own.items():
            if not isinstance(value, str) and not (value is None and name in ("program", "season", "link")):
                raise TypeError(f"{name}: expected text, found {type(value).__name__}")
        return cls(**{**own, "time": datetime.fromisoformat(own["time"])})
