"""Trials files: every bad and accepted input with its message, and the records that are read."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from genomic_platform.errors import InputError
from genomic_platform.phenotypes.lines import read_lines
from genomic_platform.phenotypes.seasons import Calendar
from genomic_platform.phenotypes.trials import inspect_trials, read_trials
from genomic_platform.schemas.phenotypes import TRIAL_RECORDS

EXAMPLES = Path(__file__).parents[2] / "examples"
HEADER = "line_id,season,location,environment,grain_yield_kg_ha"
GOOD = (HEADER, "A,2012,Treinta y Tres,T12,7000", "B,2012,Treinta y Tres,T12,7100", "A,2013,Treinta y Tres,T13,6500")


def written(folder: Path, *rows: str, name: str = "trials.csv", end: str = "\n") -> Path:
    path = folder / name
    path.write_bytes((end.join(rows) + end).encode())
    return path


def messages(path: Path, traits: tuple[str, ...] = ("grain_yield_kg_ha",)) -> list[str]:
    with pytest.raises(InputError) as refused:
        read_trials([path], traits)
    inspected = inspect_trials([path], traits)
    assert inspected.problems == refused.value.problems
    return [str(p) for p in refused.value.problems]


@pytest.mark.parametrize(("rows", "message"), [
    ((*GOOD, "C,2013,Treinta y Tres,T13,n/a"),
     "trials.csv, line 5: grain_yield_kg_ha is 'n/a'; expected a number or an empty cell"),
    ((*GOOD, "C,2013,Treinta y Tres,T13,nan"), "line 5: grain_yield_kg_ha is 'nan'; expected a number"),
    ((*GOOD, "C,2013,Treinta y Tres,T13,inf"), "line 5: grain_yield_kg_ha is 'inf'; expected a number"),
    ((*GOOD, "C,20l3,Treinta y Tres,X13,1"), "line 5: season is '20l3'; expected a year such as 2013"),
    ((*GOOD, "C,2013/14,Treinta y Tres,X13,1"), "line 5: season is '2013/14'; expected 1 to 16 letters"),
    ((*GOOD, ",2013,Treinta y Tres,T13,1"), "line 5: line_id is empty; expected a value in every row"),
    ((*GOOD, "C,2013,Treinta y Tres,,1"), "line 5: environment is empty"),
    ((*GOOD, GOOD[1]), "line 5: the same row as trials.csv, line 2 (line A, environment T12); expected each record"),
    ((*GOOD, "C,2013,Treinta y Tres,T12,1"), "line 5: season is '2013' for environment 'T12'; expected '2012', as for "
     "environment 'T12' in trials.csv, line 2"),
    ((*GOOD, "C,2013,Salto,T13,1"), "line 5: location is 'Salto' for environment 'T13'; expected 'Treinta y Tres'"),
    ((HEADER.replace("season", "Season"), GOOD[1]), "line 1: columns line_id, Season, location, environment, "
     "grain_yield_kg_ha; expected a column season; repair: rename the column 'Season' to season"),
    ((HEADER.replace("grain_yield_kg_ha", "yield"), GOOD[1]), "expected a column for the trait grain_yield_kg_ha"),
    ((HEADER,), "trials.csv: only a header"),
    ((*GOOD, "C,2013,Treinta y Tres"), "line 5: 3 fields; expected 5 fields"),
    ((HEADER + ",family", "A,2012,T,T12,1,F1", "A,2013,T,T13,2,F2"),
     "line 3: family is 'F2' for line_id 'A'; expected 'F1', as for line_id 'A' in trials.csv, line 2"),
    ((HEADER + ",row", "A,2012,T,T12,1,a"), "line 2: row is 'a'; expected a whole number"),
    ((HEADER + ",check", "A,2012,T,T12,1,perhaps"), "line 2: check is 'perhaps'; expected yes, no"),
    ((HEADER + ",a b,a-b", "A,2012,T,T12,1,2,3"), "line 1: a_b is 'a b' and 'a-b'; expected headers that stay"),
    ((HEADER + ",grain_yield_kg_ha", "A,2012,T,T12,1,2"), "line 1: grain_yield_kg_ha is 2 columns of that name"),
])
def test_refused_with_file_line_and_repair(tmp_path: Path, rows: tuple[str, ...], message: str) -> None:
    found = messages(written(tmp_path, *rows))
    assert any(message in m for m in found), found
    assert all("; repair: " in m for m in found)


def test_all_problems_come_in_one_report(tmp_path: Path) -> None:
    path = written(tmp_path, *GOOD, "C,2013,Treinta y Tres,T13,n/a", "D,20l3,Treinta y Tres,X,3", GOOD[1], "E,2013,T")
    assert sorted(int(m.split("line ")[1].split(":")[0]) for m in messages(path)) == [5, 6, 7, 8]


def test_a_missing_column_does_not_hide_bad_cells(tmp_path: Path) -> None:
    found = messages(written(tmp_path, HEADER.replace("season", "year"), "A,2012,T,T12,n/a"))
    assert len(found) == 2
    assert "expected a column season" in found[0]
    assert "line 2: grain_yield_kg_ha is 'n/a'" in found[1]


def test_missing_files_and_another_files_problems_are_reported_together(tmp_path: Path) -> None:
    bad = written(tmp_path, *GOOD, "C,2013,Treinta y Tres,T13,n/a")
    with pytest.raises(InputError) as refused:
        read_trials([tmp_path / "gone.csv", bad], ["grain_yield_kg_ha"])
    assert [p.file for p in refused.value.problems] == ["gone.csv", "trials.csv"]


@pytest.mark.parametrize(("rows", "end", "code"), [
    (GOOD, "\r\n", "crlf"),
    (("\ufeff" + GOOD[0], *GOOD[1:]), "\n", "bom"),
    (tuple(r.replace(",", ";") for r in GOOD), "\n", "semicolon"),
    (tuple(r.replace(",", ";").replace("7000", "7000,0") for r in GOOD), "\n", "decimal_comma"),
])
def test_accepted_oddities_give_the_same_records(tmp_path: Path, rows: tuple[str, ...], end: str, code: str) -> None:
    plain, _ = read_trials([written(tmp_path, *GOOD)], ["grain_yield_kg_ha"])
    records, notices = read_trials([written(tmp_path, *rows, end=end)], ["grain_yield_kg_ha"])
    assert records.equals(plain)
    assert code in [n.code for n in notices]


def test_records_are_long_with_filled_cells_and_landing_order_within_the_season(tmp_path: Path) -> None:
    rows = (HEADER + ",height_cm,replicate", "B,2012,T,T12,7,80,1", "A,2012,T,T12,,81,1")
    one = written(tmp_path, *rows, name="2012.csv")
    two = written(tmp_path, HEADER, "A,2013,T,T13,5", "A,2012,T,T12,9", name="2013.csv")
    records, _ = read_trials([one, two], ["grain_yield_kg_ha", "height_cm"])
    assert TRIAL_RECORDS.faults(records) == []
    assert records.select("line_id", "season", "trait", "value", "record").rows() == [
        ("A", "2012", "grain_yield_kg_ha", 9.0, 3), ("B", "2012", "grain_yield_kg_ha", 7.0, 1),
        ("A", "2013", "grain_yield_kg_ha", 5.0, 1), ("A", "2012", "height_cm", 81.0, 2),
        ("B", "2012", "height_cm", 80.0, 1)]
    assert records["replicate"].to_list() == [None, "1", None, "1", "1"]


def test_differing_values_are_replicates_and_plot_columns_allow_equal_rows(tmp_path: Path) -> None:
    records, _ = read_trials([written(tmp_path, HEADER, "A,2012,T,T12,7", "A,2012,T,T12,8")], ["grain_yield_kg_ha"])
    assert records["record"].to_list() == [1, 2]
    rows = (HEADER + ",replicate", "A,2012,T,T12,7,1", "A,2012,T,T12,7,1")
    assert read_trials([written(tmp_path, *rows)], ["grain_yield_kg_ha"])[0].height == 2


def test_the_same_file_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    paths = [written(tmp_path, *GOOD), written(tmp_path / "again", *GOOD)]
    with pytest.raises(InputError) as refused:
        read_trials(paths, ["grain_yield_kg_ha"])
    assert [p.line for p in refused.value.problems] == [2, 3, 4]


def test_synonyms_resolve_before_rows_are_compared(tmp_path: Path) -> None:
    lines = written(tmp_path, "line_id,synonyms", "A,A-old", name="lines.csv")
    path = written(tmp_path, HEADER, "A,2012,T,T12,7", "A-old,2012,T,T12,7", "A-old,2012,T,T12,8")
    registry = read_lines(lines)
    with pytest.raises(InputError, match=r"line 3: the same row as trials\.csv, line 2"):
        read_trials([path], ["grain_yield_kg_ha"], registry)
    records, _ = read_trials([written(tmp_path, HEADER, "A,2012,T,T12,7", "A-old,2012,T,T12,8")],
                             ["grain_yield_kg_ha"], registry)
    assert records["line_id"].unique().to_list() == ["A"]


def test_traits_are_guessed_with_reasons(tmp_path: Path) -> None:
    rows = [f"L{k},2012,T,T12,{k},{k % 3},{'red' if k % 2 else 'white'},{k if k else 'x'},," for k in range(20)]
    path = written(tmp_path, HEADER + ",vigour,colour,height (cm),empty,note", *rows)
    inspected = inspect_trials([path])
    assert inspected.traits == {"grain_yield_kg_ha": "100% of its cells are numbers, 20 distinct values",
                                "height_cm": "95% of its cells are numbers, 19 distinct values"}
    assert inspected.covariates == {"vigour": "it has only 3 distinct values", "empty": "it is empty",
                                    "colour": "only 0% of its cells are numbers", "note": "it is empty"}
    assert [str(p).split(";")[0] for p in inspected.problems] == ["trials.csv, line 2: height_cm is 'x'"]
    assert [n.code for n in inspected.notices] == ["renamed_trait"]
    assert inspect_trials([path], ["vigour"]).problems == ()


def test_no_trait_at_all_is_a_problem(tmp_path: Path) -> None:
    assert "at least one trait column" in str(inspect_trials([written(tmp_path, *GOOD)]).problems[0])


def test_a_given_calendar_binds(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER, "A,C1,T,T1,7", "A,C4,T,T4,8")
    calendar = Calendar("listed", order=("C1", "C2"))
    with pytest.raises(InputError, match="line 3: season is 'C4'; expected a label of the programme's calendar"):
        read_trials([path], ["grain_yield_kg_ha"], calendar=calendar)


def test_unordered_seasons_share_one_numbering_and_environments(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER, "A,E1,T,T1,7", "A,E2,T,T1,8")
    records, _ = read_trials([path], ["grain_yield_kg_ha"])
    assert records["record"].to_list() == [1, 2]


def test_examples_read_whole() -> None:
    rice = inspect_trials([EXAMPLES / "rice_japonica_uy/landing/trials/phenotypes.csv"])
    assert rice.problems == ()
    assert (len(rice.traits), rice.n_rows, len(rice.line_ids)) == (4, 1151, 320)
    assert rice.seasons == ("2009", "2010", "2011", "2012", "2013")
    wheat = inspect_trials([EXAMPLES / "wheat_cimmyt599/landing/trials/phenotypes.csv"])
    assert wheat.calendar == Calendar("unordered")
    assert wheat.environments.select(pl.col("n_lines")).to_series().to_list() == [599] * 4
