"""pedigree.csv: what is read, what is refused and in which words, and that lines.csv gives the same object."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import InputError
from genomic_platform.phenotypes.lines import read_lines
from genomic_platform.phenotypes.pedigree import pedigree_of_lines, read_pedigree
from genomic_platform.schemas.pedigree import PEDIGREE

HEADER = "line_id,parent_1,parent_2"


def written(folder: Path, *rows: str, name: str = "pedigree.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(rows) + "\n")
    return path


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(InputError) as refused:
        read_pedigree(path, **options)  # type: ignore[arg-type]
    return str(refused.value)


def test_parents_generations_and_founders_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, f"{HEADER},generation,selfing,inbreeding,remark", "A,P,Q,F4,,,x", "B,P,,,2,,",
                   "D,A-old,Q,DH,,,", "P,,,,,.9,")
    pedigree = read_pedigree(path, {"A-old": "A"})
    assert pedigree.records.schema == pl.Schema(PEDIGREE.schema)
    assert pedigree.records.rows() == [("A", "P", "Q", 0.875), ("B", "P", None, 0.75), ("D", "A", "Q", 1.0),
                                       ("P", None, None, 0.9), ("Q", None, None, None)]
    assert [(n.code, n.count, n.examples) for n in pedigree.notices] == [("ignored_columns", 1, ("remark",)),
                                                                        ("founders", 1, ("Q",))]


def test_a_line_given_twice_alike_is_a_notice_in_either_order_of_parents(tmp_path: Path) -> None:
    pedigree = read_pedigree(written(tmp_path, HEADER, "A,P,Q", "A,Q,P"))
    assert pedigree.records["line_id"].to_list() == ["A", "P", "Q"]
    assert pedigree.notices[0].code == "repeated_rows"


@pytest.mark.parametrize(("rows", "message"), [
    ((HEADER, "A,P,Q", "A,P,R"),
     "line 3: line_id is P × R; expected one pair of parents and one inbreeding for 'A': P × Q on line 2"),
    ((HEADER, "A,P,Q", "A2,P,"), "line 3: line_id is unknown × P; expected one pair"),
    ((HEADER, "A,A,Q"), "line 2: 'A' descends from itself (A from A); expected a line that is not its own"),
    ((HEADER, "X,Y,P", "A,B,Q", "B,C,", "C,A,P", "Y,X,"), "line 3: 'A' descends from itself (A from B from C "
     "from A)"),
    ((HEADER, "X,Y,A", "A,B,Q", "B,A,", "Y,X,"), "line 2: 'X' descends from itself (X from Y from X)"),
    ((HEADER, "A,0,Q"), "line 2: parent_1 is '0'; expected a line's name, or an empty cell"),
    ((HEADER, ",P,Q"), "line 2: line_id is empty"),
    ((HEADER + ",generation", "A,P,Q,BC1"), "line 2: generation is 'BC1'; expected F1, F2"),
    ((HEADER + ",selfing", "A,P,Q,-1"), "line 2: selfing is '-1'; expected a number of generations"),
    ((HEADER + ",inbreeding", "A,P,Q,nan"), "line 2: inbreeding is 'nan'; expected a number from 0 to 1"),
    (("line_id,mother,father", "A,P,Q"), "expected columns line_id, parent_1, parent_2; repair: add"),
    ((HEADER, "A,P"), "line 2: 2 fields; expected 3 fields"),
])
def test_refused(tmp_path: Path, rows: tuple[str, ...], message: str) -> None:
    assert message in refusal(written(tmp_path, *rows), synonyms={"A2": "A"})


def test_all_problems_at_once_and_every_loop_by_name(tmp_path: Path) -> None:
    said = refusal(written(tmp_path, HEADER + ",selfing", "A,B,,", "B,A,C,", "C,D,,", "D,C,,", "E,?,,x"))
    assert said.count("descends from itself") == 2
    assert "(A from B from A)" in said
    assert "(C from D from C)" in said
    assert "parent_1 is '?'" in said
    assert "selfing is 'x'" in said


def test_a_mark_that_is_a_listed_line_is_a_name(tmp_path: Path) -> None:
    pedigree = read_pedigree(written(tmp_path, HEADER, "A,0,Q", "0,,"))
    assert pedigree.records["line_id"].to_list() == ["0", "A", "Q"]


def test_the_line_registry_gives_the_same_pedigree_as_the_file(tmp_path: Path) -> None:
    lines = read_lines(written(tmp_path, "line_id,synonyms,parent_1,parent_2,generation", "A,A1,P,Q,F4", "B,,A1,P,DH",
                               name="lines.csv")).records
    of_lines = pedigree_of_lines(lines)
    of_file = read_pedigree(written(tmp_path, HEADER + ",generation", "B,A1,P,DH", "A,P,Q,F4"),
                            {"A1": "A"})
    assert of_lines.records.equals(of_file.records)
    assert read_pedigree(tmp_path / "pedigree.csv", {"A1": "A"}, lines).records.equals(of_file.records)
    assert of_lines.notices[0].examples == ("P", "Q")


def test_both_sources_complete_each_other_and_conflicts_are_named(tmp_path: Path) -> None:
    lines = read_lines(written(tmp_path, HEADER + ",generation", "A,P,Q,F4", "B,,,", "C,P,R,DH",
                               name="lines.csv")).records
    path = written(tmp_path, HEADER, "A,Q,P", "B,A,Q")
    assert read_pedigree(path, None, lines).records.rows() == [
        ("A", "Q", "P", 0.875), ("B", "A", "Q", None), ("C", "P", "R", 1.0), ("P", None, None, None),
        ("Q", None, None, None), ("R", None, None, None)]
    said = refusal(written(tmp_path, HEADER + ",generation", "A,R,P,F5", "C,P,R,"), line_records=lines)
    assert "line 2: parents is P × R; expected P × Q, as lines.csv says of 'A'" in said
    assert "line 2: inbreeding is 0.9375; expected 0.875, as lines.csv says of 'A'" in said
    assert said.count("lines.csv says") == 2


def test_a_loop_across_the_two_sources_is_named(tmp_path: Path) -> None:
    lines = read_lines(written(tmp_path, HEADER, "A,B,Q", name="lines.csv")).records
    assert "(B from A from B)" in refusal(written(tmp_path, HEADER, "B,A,P"), line_records=lines)
    looped = pl.DataFrame([("A", "B", None, None), ("B", "A", None, None)], PEDIGREE.schema, orient="row")
    with pytest.raises(InputError, match=r"lines\.csv: 'A' descends from itself \(A from B from A\)"):
        pedigree_of_lines(looped)


def test_the_order_of_rows_does_not_matter(tmp_path: Path) -> None:
    rows = [f"L{i},L{(i * 7) % i},L{(i * 3) % i}" for i in range(1, 60)]
    first = read_pedigree(written(tmp_path, HEADER, *rows)).records
    shuffled = np.random.default_rng(1).permutation(rows).tolist()
    assert read_pedigree(written(tmp_path, HEADER, *shuffled)).records.equals(first)
