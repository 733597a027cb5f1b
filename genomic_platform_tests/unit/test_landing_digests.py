"""What makes a season stale: its own rows, and of the pedigree those of the lines it knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from genomic_platform.landing.files import Landing, chain_digest
from genomic_platform.program import read_program

PROGRAM = """format_version = 1
name = "small"
[traits.grain_yield]
"""
TRIALS = """line_id,season,location,environment,grain_yield
A,2019,x,x19,1
B,2019,x,x19,2
C,2020,x,x20,3
A,2020,x,x20,4
D,2020,x,x20,5
"""
LINES = "line_id,synonyms,known_from\nA,Alpha,\nB,,\nC,,\nLATE,,2021\n"
PEDIGREE = "line_id,parent_1,parent_2\nAlpha,P,Q\nC,R,B\nP,S,\nX,A,B\n"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Landing]:
    def written(pedigree: str | None = PEDIGREE) -> Landing:
        (tmp_path / "program.toml").write_text(PROGRAM)
        for kind, text in {"trials": TRIALS, "lines": LINES, "pedigree": pedigree}.items():
            (tmp_path / "landing" / kind).mkdir(parents=True, exist_ok=True)
            file = tmp_path / "landing" / kind / f"{kind}.csv"
            file.write_text(text) if text else file.unlink(missing_ok=True)
        return Landing(read_program(tmp_path))
    return written


def stale(before: dict[str, str], after: dict[str, str]) -> list[str]:
    return [season for season in before if before[season] != after[season]]


@pytest.mark.parametrize(("change", "seasons"), [
    (("P,S,", "P,T,"), ["2019", "2020"]),  # a founder is known from the start
    (("Alpha,P,Q", "Alpha,P,R"), ["2019", "2020"]),  # A by its synonym
    (("C,R,B", "C,R,A"), ["2020"]),  # first tried in 2020
    (("X,A,B", "X,A,C"), ["2019", "2020"]),  # no date: known from the start
    (("X,A,B\n", "X,A,B\nD,C,A\n"), ["2020"]),
    (("X,A,B\n", "X,A,B\nLATE,C,A\n"), []),  # by lines.csv known in 2021
    (("Alpha,P,Q\nC,R,B", "C,R,B\nAlpha,P,Q"), []),
    (("line_id,parent_1,parent_2\nAlpha,P,Q\n", "line_id,parent_1,parent_2,inbreeding\nAlpha,P,Q,\n"), []),
])
def test_a_changed_row_makes_the_seasons_stale_that_know_its_line(
        write: Callable[..., Landing], change: tuple[str, str], seasons: list[str]) -> None:
    before = write().known_digests()
    changed = PEDIGREE.replace(*change)
    if "inbreeding" in changed:
        changed = "\n".join(f"{row}," if row.count(",") == 2 else row for row in changed.splitlines()) + "\n"
    assert stale(before, write(changed).known_digests()) == seasons


def test_no_pedigree_counts_as_before_there_were_any(write: Callable[..., Landing]) -> None:
    landing = write(None)
    digests = landing.digests("2019")
    assert digests.pop("pedigree") == ""
    assert landing.known_digests()["2019"] == chain_digest("", digests)
    assert stale(landing.known_digests(), write().known_digests()) == ["2019", "2020"]
