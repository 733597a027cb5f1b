"""The line registry: synonyms, families, inbreeding, roles, and what is refused."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from genomic_platform.errors import InputError
from genomic_platform.phenotypes.lines import inbreeding_after, read_lines

TRIALS = pl.DataFrame({"line_id": ["A", "A-old", "B", "K"], "family": ["F1", None, "F2", None],
                       "check": [False, False, False, True], "first_season": ["2012"] * 4})


def written(folder: Path, *rows: str) -> Path:
    path = folder / "lines.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_without_a_file_the_trials_make_the_registry() -> None:
    registry = read_lines(None, TRIALS)
    assert registry.records.select("line_id", "family", "role", "known_from").rows() == [
        ("A", "F1", "candidate", None), ("A-old", None, "candidate", None), ("B", "F2", "candidate", None),
        ("K", None, "check", None)]
    assert registry.known_through("2000").height == 4
    assert read_lines(None).records.height == 0


def test_file_and_trials_complete_each_other(tmp_path: Path) -> None:
    path = written(tmp_path, "line_id,synonyms,germplasm_id,parent_1,parent_2,generation,role,known_from,remark",
                   "A,A-old | A1;A,G7,P1-old,P2,F4,,2013,x", "P1,P1-old,,,,inbred,Parent,,")
    registry = read_lines(path, TRIALS)
    assert dict(registry.synonyms) == {"A-old": "A", "A1": "A", "P1-old": "P1"}
    assert registry.resolve(pl.Series(["A1", "B", "unknown", None])).to_list() == ["A", "B", "unknown", None]
    by_line = {r["line_id"]: r for r in registry.records.iter_rows(named=True)}
    assert sorted(by_line) == ["A", "B", "K", "P1"]
    assert by_line["A"] == {"line_id": "A", "germplasm_id": "G7", "family": "F1", "parent_1": "P1", "parent_2": "P2",
                            "inbreeding": 0.875, "role": "candidate", "known_from": "2013"}
    assert by_line["P1"]["role"] == "parent"
    assert by_line["K"]["role"] == "check"
    assert registry.families["B"] == "F2"
    assert registry.known_through("2012")["line_id"].to_list() == ["B", "K", "P1"]
    assert [n.code for n in registry.notices] == ["ignored_columns"]


@pytest.mark.parametrize(("generation", "inbreeding"), [
    ("F1", 0.0), ("F2", 0.5), ("f4", 0.875), ("DH", 1.0), ("RIL", 1.0), ("inbred", 1.0), ("F0", None), ("BC1F4", None)])
def test_inbreeding_after_selfing(generation: str, inbreeding: float | None) -> None:
    assert inbreeding_after(generation) == inbreeding


@pytest.mark.parametrize(("rows", "message"), [
    (("line_id,synonyms", "A,X", "B,X"), "lines.csv, line 3: synonyms is 'X', which also means line 'A' (line 2)"),
    (("line_id,synonyms", "A,B", "B,"), "line 2: synonyms is 'B', which also means line 'B' (line 3)"),
    (("line_id", "A", "A"), "line 3: line_id is 'A' again (first on line 2)"),
    (("line_id,role", "A,boss"), "line 2: role is 'boss'; expected one of candidate, check, parent, tester"),
    (("line_id,generation", "A,BC2"), "line 2: generation is 'BC2'; expected F1, F2"),
    (("line_id,inbreeding", "A,1.5"), "line 2: inbreeding is '1.5'; expected a number from 0 to 1"),
    (("line_id,known_from", "A,2013/14"), "line 2: known_from is '2013/14'"),
    (("line_id,family", "B,F9"), "line 2: family is 'F9' for line 'B'; expected 'F2', as in the trials"),
    (("line_id,role", ",check"), "line 2: line_id is empty"),
    (("name,role", "A,check"), "line 1: columns name, role; expected a column line_id"),
])
def test_refused(tmp_path: Path, rows: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError) as refused:
        read_lines(written(tmp_path, *rows), TRIALS)
    assert message in str(refused.value)


def test_all_problems_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "line_id,synonyms,role,inbreeding", "A,X,boss,2", "B,X,check,0")
    with pytest.raises(InputError) as refused:
        read_lines(path)
    assert sorted(str(p.field) for p in refused.value.problems) == ["inbreeding", "role", "synonyms"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.csv: no such file"):
        read_lines(tmp_path / "gone.csv")
