"""Table contracts: what they refuse, and that equal content is equal bytes with the contract in the footer."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from genomic_platform.catalogue import TABLES
from genomic_platform.errors import InputError, Problem, StoreError
from genomic_platform.schemas.contract import Column, TableContract
from genomic_platform.schemas.predictions import DRIFT_REPORT

CONTRACT = TableContract("sample", (
    Column("line_id", pl.String, "the line"), Column("value", pl.Float64, "a value", unit="kg"),
    Column("note", pl.String, "free text", nullable=True)), sort_key=("line_id",))
TABLE = pl.DataFrame({"line_id": ["b", "a"], "value": [2.0, 1.0], "note": [None, "x"]},
                     schema=CONTRACT.schema)


def test_written_sorted_with_its_footer_and_byte_for_byte_alike(tmp_path: Path) -> None:
    CONTRACT.write(TABLE, tmp_path / "one.parquet")
    CONTRACT.write(TABLE.reverse(), tmp_path / "two.parquet")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    assert CONTRACT.read(tmp_path / "one.parquet")["line_id"].to_list() == ["a", "b"]
    assert '"unit": "kg"' in pl.read_parquet_metadata(tmp_path / "one.parquet")["genomic_platform"]


@pytest.mark.parametrize(("table", "said"), [
    (TABLE.drop("value"), "missing columns value"),
    (TABLE.with_columns(value=pl.lit(None, dtype=pl.Float64)), "2 empty cells"),
    (pl.concat([TABLE, TABLE]), "rows repeat the key"),
    (TABLE.with_columns(pl.col("value").cast(pl.Int64)), "expected Float64"),
])
def test_faults(table: pl.DataFrame, said: str) -> None:
    assert any(said in fault for fault in CONTRACT.faults(table))


def test_another_contract_or_version_is_refused(tmp_path: Path) -> None:
    CONTRACT.write(TABLE, tmp_path / "t.parquet")
    later = TableContract("sample", CONTRACT.columns, CONTRACT.sort_key, schema_version=2)
    with pytest.raises(StoreError, match="version 2"):
        later.read(tmp_path / "t.parquet")


def test_a_version_that_only_lacks_columns_is_read_with_them_empty(tmp_path: Path) -> None:
    CONTRACT.write(TABLE, tmp_path / "t.parquet")
    later = replace(CONTRACT, columns=(*CONTRACT.columns, Column("more", pl.List(pl.String), "more", nullable=True)),
                    schema_version=3, reads_from=1)
    found = later.read(tmp_path / "t.parquet")
    assert later.faults(found) == []
    assert found.drop("more").equals(CONTRACT.conform(TABLE))
    assert found["more"].null_count() == found.height
    with pytest.raises(StoreError, match="expected table sample version 3, found sample version 1"):
        replace(later, reads_from=2).read(tmp_path / "t.parquet")
    later.write(found, tmp_path / "later.parquet")
    with pytest.raises(StoreError, match="expected table sample version 1, found sample version 3"):
        CONTRACT.read(tmp_path / "later.parquet")


def test_drift_reports_of_older_code_are_read(tmp_path: Path) -> None:
    """As code before the list of suspects wrote them: `report` and the retraining sensor read those of old seasons."""
    row = {c.name: 0 for c in DRIFT_REPORT.columns} | {"season": "2019", "decision": "same_base", "message": "words"}
    older = replace(DRIFT_REPORT, schema_version=1, reads_from=0,
                    columns=tuple(c for c in DRIFT_REPORT.columns if c.name != "suspects"))
    older.write(pl.DataFrame([row]).drop("suspects"), tmp_path / "t.parquet")
    (found,) = DRIFT_REPORT.read(tmp_path / "t.parquet").to_dicts()
    assert (found["decision"], found["suspects"]) == ("same_base", None)


@pytest.mark.parametrize("contract", TABLES, ids=lambda c: c.name)
def test_every_contract_is_complete(contract: TableContract, tmp_path: Path) -> None:
    names = [c.name for c in contract.columns]
    assert len(set(names)) == len(names)
    assert set(contract.sort_key) <= set(names)
    assert all(c.meaning for c in contract.columns)
    contract.write(contract.empty(), tmp_path / "empty.parquet")
    assert contract.read(tmp_path / "empty.parquet").schema == pl.Schema(contract.schema)


def test_a_problem_names_everything() -> None:
    problem = Problem("2013.csv", "a number or an empty cell", "'n/a'", "correct the cell", 214, "grain_yield_kg_ha")
    assert str(problem) == ("2013.csv, line 214: grain_yield_kg_ha is 'n/a'; expected a number or an empty cell; "
                            "repair: correct the cell")
    many = InputError([problem] * 60)
    assert len(many.problems) == 60
    assert "10 more" in str(many)
