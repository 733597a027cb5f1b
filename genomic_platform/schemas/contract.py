"""What a table contract is, and how a table is held to one: conform, write, read.

The contract travels in the Parquet footer (`genomic_platform`), so that a file found years later says
what it is. Tables are sorted by their contract's key, which makes equal content equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from genomic_platform.errors import StoreError

FOOTER_KEY = "genomic_platform"


@dataclass(frozen=True)
class Column:
    """One column: Polars type, unit (`""` for none), meaning, whether a cell may be empty."""

    name: str
    dtype: pl.DataType | type[pl.DataType]
    meaning: str
    unit: str = ""
    nullable: bool = False


@dataclass(frozen=True)
class TableContract:
    """A table's name, version, columns and sort key. `unique`: no two rows share the sort key.

    `reads_from`: oldest version that is still read, since later ones only brought columns that may be empty; 0 = none.
    """

    name: str
    columns: tuple[Column, ...]
    sort_key: tuple[str, ...]
    schema_version: int = 1
    unique: bool = True
    reads_from: int = 0

    @property
    def schema(self) -> dict[str, pl.DataType | type[pl.DataType]]:
        return {c.name: c.dtype for c in self.columns}

    def empty(self) -> pl.DataFrame:
        return pl.DataFrame(schema=self.schema)

    def faults(self, table: pl.DataFrame) -> list[str]:
        """What breaks the contract in `table`, each in words; an empty list when nothing does."""
        missing = [c.name for c in self.columns if c.name not in table.columns]
        if missing:
            return [f"{self.name}: missing columns {', '.join(missing)}; found {', '.join(table.columns)}"]
        found = [f"{self.name}.{c.name}: expected {c.dtype}, found {table.schema[c.name]}"
                 for c in self.columns if table.schema[c.name] != c.dtype]
        found += [f"{self.name}.{c.name}: {table[c.name].null_count()} empty cells where none is allowed"
                  for c in self.columns if not c.nullable and table[c.name].null_count()]
        if self.unique and self.sort_key:
            repeated = table.height - table.select(self.sort_key).n_unique()
            if repeated > 0:
                found.append(f"{self.name}: {repeated} rows repeat the key ({', '.join(self.sort_key)})")
        return found

    def conform(self, table: pl.DataFrame) -> pl.DataFrame:
        """Select, cast and sort to the contract. Raises StoreError naming every fault that remains."""
        present = [c for c in self.columns if c.name in table.columns]
        shaped = table.select([pl.col(c.name).cast(c.dtype) for c in present])
        if faults := self.faults(shaped):
            raise StoreError("; ".join(faults))
        return shaped.sort(self.sort_key, maintain_order=True) if self.sort_key else shaped

    def write(self, table: pl.DataFrame, path: Path, *, row_group_size: int | None = None,
              facts: Mapping[str, str | int] | None = None) -> None:
        """Write a conforming Parquet file with the contract in its footer, `facts` about the whole table beside it.

        Equal content gives equal bytes.
        """
        self.conform(table).write_parquet(path, row_group_size=row_group_size, metadata=self.footer(facts))

    def footer(self, facts: Mapping[str, str | int] | None = None) -> dict[str, str]:
        """The contract and `facts` about the whole table, as the key and value of a Parquet footer."""
        content = {"contract": self.name, "schema_version": self.schema_version, "sort_key": list(self.sort_key),
                   "columns": {c.name: {"unit": c.unit, "meaning": c.meaning, "nullable": c.nullable}
                               for c in self.columns}, **(facts or {})}
        return {FOOTER_KEY: json.dumps(content, sort_keys=True)}

    def read(self, path: Path) -> pl.DataFrame:
        """Read a file written by `write`; columns that its version had not yet are empty.

        Raises StoreError when it holds another contract, or a version that is not read.
        """
        version, table = self.require(path)["schema_version"], pl.read_parquet(path)
        if version == self.schema_version:
            return table
        return self.conform(table.with_columns(pl.lit(None, c.dtype).alias(c.name) for c in self.columns
                                               if c.name not in table.columns))

    def require(self, path: Path) -> dict[str, Any]:
        """The footer of a file; raises StoreError when it holds another contract, or a version that is not read."""
        footer = json.loads(pl.read_parquet_metadata(path).get(FOOTER_KEY, "{}"))
        found = (footer.get("contract"), footer.get("schema_version"))
        readable = range(self.reads_from or self.schema_version, self.schema_version + 1)
        if found[0] != self.name or found[1] not in readable:
            raise StoreError(f"{path}: expected table {self.name} version {self.schema_version}, found {found[0]} "
                             f"version {found[1]}; replay the season that wrote it (`run --force`)")
        return footer


def column_table(contracts: Sequence[TableContract]) -> pl.DataFrame:
    """Every column of every contract as a table, for documentation."""
    return pl.DataFrame([{"table": t.name, "column": c.name, "type": str(c.dtype), "unit": c.unit,
                          "nullable": c.nullable, "meaning": c.meaning} for t in contracts for c in t.columns])
