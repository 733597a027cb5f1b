"""The genotype batches of a programme as one value: a table each, by name, on disk a folder each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.schemas.genotypes import GENOTYPE_BATCHES

_INDEX = "batches.parquet"


@dataclass(frozen=True, eq=False)
class GenotypeBatches:
    """Batches as read, by the name of their first file; every one has lines and variants of its own."""

    tables: Mapping[str, GenotypeTable]

    def save(self, folder: Path) -> None:
        """A numbered folder for each batch, and an index with their names."""
        folder.mkdir(parents=True, exist_ok=True)
        places = {name: f"{number:04d}" for number, name in enumerate(self.tables, start=1)}
        for name, table in self.tables.items():
            table.save(folder / places[name])
        GENOTYPE_BATCHES.write(pl.DataFrame({
            "batch": list(self.tables), "folder": list(places.values()),
            "n_lines": [table.n_lines for table in self.tables.values()],
            "n_variants": [table.n_variants for table in self.tables.values()],
        }), folder / _INDEX)

    @classmethod
    def open(cls, folder: Path) -> GenotypeBatches:
        """What `save` wrote."""
        index = GENOTYPE_BATCHES.read(folder / _INDEX)
        return cls({name: GenotypeTable.open(folder / place) for name, place in index.select("batch", "folder").rows()})
