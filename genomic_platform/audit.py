"""The audit log of a workspace: who did what, when and why, as hash-chained JSON lines that nobody rewrites.

One line for each promotion, rollback, approval, rejection, deletion, export, batch of predictions and training over
budget, with ids, counts and digests only: no genotype, no line name, no personal data but who acted. Each line holds
the hash of the one before, and each release's commit the newest hash, so that an edited, removed, reordered or cut
line shows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from genomic_platform.errors import StoreError
from genomic_platform.stores.journal import append_line, whole_lines
from genomic_platform.stores.lock import exclusive

Action = Literal["promotion", "rollback", "approval", "rejection", "deletion", "export", "prediction", "migration",
                 "over budget"]

#: The hash that the first line follows.
GENESIS = "0" * 64
_LOCK_SECONDS = 30.0


@dataclass(frozen=True)
class Head:
    """The log's newest hash and its number of lines."""

    hash: str
    count: int


@dataclass(frozen=True)
class Finding:
    """Something in the log that is not as it was written; `line` is 1-based, 0 where no line is to blame."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" if self.line else self.message


class AuditLog:
    """The log in `folder`, safe for several processes; appends are on disk when `record` returns."""

    def __init__(self, folder: Path) -> None:
        self.path = Path(folder) / "audit.jsonl"

    def record(self, action: Action, *, key: str, program: str, who: str, what: Mapping[str, Any],
               why: str = "") -> None:
        """Append a line, unless one with this key is there: a step tried again after a kill writes nothing twice.

        Parameters
        ----------
        key : names the event for good, such as `promotion:rice:2013:grain_yield:4f…`.
        what : ids, counts and digests. why : the reason, in the words of who acted.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(self.path.with_suffix(".lock"), _LOCK_SECONDS):
            entries = self.entries()
            if any(entry["key"] == key for entry in entries):
                return
            entry = {"seq": len(entries) + 1, "time": datetime.now(UTC).isoformat(timespec="seconds"), "who": who,
                     "program": program, "action": action, "key": key, "what": dict(what), "why": why,
                     "previous": entries[-1]["hash"] if entries else GENESIS}
            self._append(json.dumps(entry | {"hash": _hash(entry)}, ensure_ascii=False, sort_keys=True))

    def head(self) -> Head:
        """Newest hash and count; `GENESIS` and 0 while nothing is written."""
        entries = self.entries()
        return Head(entries[-1]["hash"], len(entries)) if entries else Head(GENESIS, 0)

    def entries(self, program: str | None = None) -> list[dict[str, Any]]:
        """The lines as written, oldest first; of one programme or all."""
        try:
            found = [json.loads(line) for line in whole_lines(self.path)[0]]
        except ValueError as error:
            raise StoreError(f"{self.path}: a line is not an entry of the log; `genomic-platform audit verify` names "
                             "it; repair: restore the log from a copy") from error
        return [entry for entry in found if program in (None, entry["program"])]

    def verify(self, anchors: Mapping[str, Head] | None = None, expected: Mapping[str, str] | None = None,
               ) -> list[Finding]:
        """What is wrong with the log; nothing when it is whole.

        Parameters
        ----------
        anchors : heads kept elsewhere, by where (`release abc… of rice 2013`).
        expected : keys that must have a line, with what they stand for.
        """
        lines, torn = whole_lines(self.path)
        findings = [Finding(len(lines) + 1, "unfinished, without a line end: the writer was killed, or the line was "
                                            "cut; the next entry replaces it")] if torn else []
        hashes, keys, previous = [GENESIS], set(), GENESIS
        for number, text in enumerate(lines, 1):
            entry, fault = _read(text, number, previous)
            findings += [Finding(number, fault)] if fault else []
            previous = str(entry.get("hash", "")) if entry else previous
            hashes.append(previous)
            keys.add(str(entry.get("key", "")) if entry else "")
        for where, head in (anchors or {}).items():
            if head.count >= len(hashes):
                findings.append(Finding(0, f"{where} was made when the log had {head.count} lines; found "
                                           f"{len(lines)}: lines were cut or removed"))
            elif hashes[head.count] != head.hash:
                findings.append(Finding(head.count, f"hash is not the one that {where} recorded: this line or one "
                                                    "before it was changed"))
        findings += [Finding(0, f"no line for {said} ({key}): it was cut or removed")
                     for key, said in (expected or {}).items() if key not in keys]
        return findings

    def _append(self, line: str) -> None:
        try:
            append_line(self.path, line)
        except OSError as error:
            raise StoreError(f"{self.path}: expected to append to the audit log, the system refused: {error}; "
                             "repair: make room or give access, and repeat the command") from error


def _hash(entry: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entry, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def _read(text: str, number: int, previous: str) -> tuple[dict[str, Any], str]:
    """The entry of a line and what is wrong with it, in words; empty words for nothing."""
    try:
        entry = json.loads(text)
        content = {name: value for name, value in entry.items() if name != "hash"}
        found, seq, follows = entry["hash"], entry["seq"], entry["previous"]
    except (ValueError, KeyError, AttributeError, TypeError):
        return {}, "not an entry of the log: it was edited"
    if found != _hash(content):
        return entry, f"its content does not give its hash: it was edited (entry {seq})"
    if follows != previous:
        return entry, f"entry {seq} does not follow the line before it: lines were removed, inserted or reordered"
    return entry, "" if seq == number else f"entry {seq} stands in line {number}: lines were removed"
