"""What makes a season stale: its own rows, and of the pedigree its lines and their ancestors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from genomic_platform.landing.files import Landing
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
"""
LINES = "line_id,synonyms\nA,Alpha\nB,\nC,\n"
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
    (("P,S,", "P,T,"), ["2019", "2020"]),  # an ancestor of A, by its synonym
    (("C,R,B", "C,R,A"), ["2020"]),
    (("X,A,B", "X,A,C"), []),  # in no trial
    (("X,A,B\n", "X,A,B\nY,C,A\n"), []),
    (("Alpha,P,Q\nC,R,B", "C,R,B\nAlpha,P,Q"), []),
])
def test_a_changed_pedigree_makes_the_seasons_of_its_descendants_stale(
        write: Callable[..., Landing], change: tuple[str, str], seasons: list[str]) -> None:
    before = write().known_digests()
    assert stale(before, write(PEDIGREE.replace(*change)).known_digests()) == seasons


def test_no_pedigree_counts_as_before_there_were_any(write: Callable[..., Landing]) -> None:
    landing = write(None)
    assert landing.digests("2019")["pedigree"] == ""
    assert stale(landing.known_digests(), write().known_digests()) == ["2019", "2020"]
