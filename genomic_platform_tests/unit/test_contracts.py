"""Table contracts: what they refuse, and that equal content is equal bytes with the contract in the footer."""

from pathlib import Path

import polars as pl
import pytest

from genomic_platform.catalogue import TABLES
from genomic_platform.errors import InputError, Problem, StoreError
from genomic_platform.schemas.contract import Column, TableContract

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
