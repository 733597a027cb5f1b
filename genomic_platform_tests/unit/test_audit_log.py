"""The audit log: what is appended stays, a repeat adds nothing, and every kind of tampering shows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from genomic_platform.audit import GENESIS, AuditLog, Head
from genomic_platform.errors import StoreError


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    log = AuditLog(tmp_path / "audit")
    for number in range(5):
        log.record("promotion", key=f"promotion:{number}", program="rice", who="ana", what={"version": number},
                   why="better — by .05")
    return log


def rewrite(log: AuditLog, change: Callable[[list[str]], list[str]]) -> None:
    lines = log.path.read_text(encoding="utf-8").splitlines()
    log.path.write_text("".join(f"{line}\n" for line in change(lines)), encoding="utf-8")


def test_whole_log_has_no_findings(log: AuditLog) -> None:
    head = log.head()
    assert head.count == 5
    assert log.verify({"release": head, "first": Head(GENESIS, 0)}, {"promotion:3": "version 3"}) == []
    assert [e["what"]["version"] for e in log.entries("rice")] == [0, 1, 2, 3, 4]
    assert log.entries("wheat") == []


def test_a_repeat_adds_nothing(log: AuditLog) -> None:
    before = log.path.read_bytes()
    log.record("promotion", key="promotion:2", program="rice", who="ben", what={})
    assert log.path.read_bytes() == before


def _edited(lines: list[str]) -> list[str]:
    return [*lines[:2], lines[2].replace('"ana"', '"eve"'), *lines[3:]]


def _edited_with_new_hash(lines: list[str]) -> list[str]:
    from genomic_platform.audit import _hash
    entry = json.loads(lines[2])
    entry["who"] = "eve"
    entry["hash"] = _hash({name: value for name, value in entry.items() if name != "hash"})
    return [*lines[:2], json.dumps(entry, ensure_ascii=False, sort_keys=True), *lines[3:]]


@pytest.mark.parametrize(("change", "line", "said"), [
    (_edited, 3, "it was edited"),
    (_edited_with_new_hash, 4, "does not follow the line before it"),
    (lambda lines: [*lines[:2], "{}", *lines[3:]], 3, "not an entry of the log"),
    (lambda lines: [*lines[:2], "5", *lines[3:]], 3, "not an entry of the log"),
    (lambda lines: [*lines[:1], *lines[2:]], 2, "removed"),
    (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], 2, "reordered"),
    (lambda lines: [*lines, lines[-1]], 6, "inserted"),
    (lambda lines: lines[1:], 1, "removed"),
    (lambda lines: lines[:3], 0, "when the log had 5 lines; found 3"),
    (lambda lines: [], 0, "when the log had 5 lines; found 0"),
])
def test_tampering_is_found(log: AuditLog, change: Callable[[list[str]], list[str]], line: int, said: str) -> None:
    anchor = {"release of 2013": log.head()}
    rewrite(log, change)
    findings = log.verify(anchor)
    assert findings[0].line == line
    assert said in findings[0].message


def test_a_log_written_anew_from_an_edited_line_on_breaks_the_anchor(log: AuditLog, tmp_path: Path) -> None:
    anchor = log.head()
    forged = AuditLog(tmp_path / "forged")
    for entry in log.entries():
        forged.record(entry["action"], key=entry["key"], program="rice", what=entry["what"],
                      who="eve" if entry["seq"] == 3 else "ana", why=entry["why"])
    assert forged.verify() == []
    (finding,) = forged.verify({"release of 2013": anchor})
    assert finding.line == 5
    assert "release of 2013" in finding.message


def test_a_decision_without_its_line_is_found(log: AuditLog) -> None:
    rewrite(log, lambda lines: lines[:4])
    (finding,) = log.verify(expected={"promotion:4": "refresh of yield in season 2013", "promotion:1": "initial"})
    assert "refresh of yield in season 2013" in finding.message


def test_half_a_line_of_a_killed_writer_is_replaced(log: AuditLog) -> None:
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + b'{"seq": 6, "ti\xe2')
    assert "unfinished" in log.verify()[0].message
    assert log.head().count == 5
    log.record("export", key="export:1", program="rice", who="ana", what={"rows": 3})
    assert log.verify() == []
    assert log.path.read_bytes().startswith(whole)
    assert log.head().count == 6


def test_a_broken_log_is_not_continued(log: AuditLog) -> None:
    rewrite(log, lambda lines: [*lines[:2], "half a li", *lines[3:]])
    with pytest.raises(StoreError, match="audit verify"):
        log.record("export", key="export:1", program="rice", who="ana", what={})


def test_several_processes_append_one_chain(tmp_path: Path) -> None:
    code = ("import sys; from pathlib import Path; from genomic_platform.audit import AuditLog\n"
            "log = AuditLog(Path(sys.argv[1]))\n"
            "for n in range(25): log.record('export', key=f'{sys.argv[2]}:{n}', program='rice', who='ana', what={})")
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(n)]) for n in range(4)]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0, 0]
    log = AuditLog(tmp_path)
    assert log.head().count == 100
    assert log.verify() == []
