"""The genotype table on disk: Parquet, row groups of neighbouring variants, calls as a fixed-size binary column.

Written a row group at a time and read a row group at a time, so that a table larger than memory stays one. What the
rows mean is the contract's (`schemas/genotypes.py`), statistics are `statistics.py`'s.
Axes: M variants, m of a block, B = ceil(N / 4) bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from genomic_platform.errors import StoreError
from genomic_platform.genotypes import packing
from genomic_platform.schemas.genotypes import GENOTYPE_LINES, GENOTYPES

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

TABLE_FILE, LINES_FILE = "genotypes.parquet", "lines.parquet"
_ROW_GROUP_VARIANTS, _ROW_GROUP_BYTES = 4096, 16_000_000
_CALLS, _REPEATING = "genotypes", ["chromosome", "ref", "alt"]


def row_group_size(n_lines: int) -> int:
    """Variants of a row group: 4,096, fewer where lines are so many that these would take more than 16 MB."""
    return max(64, min(_ROW_GROUP_VARIANTS, _ROW_GROUP_BYTES // packing.n_bytes(n_lines)))


def write_table(folder: Path, lines: tuple[str, ...], blocks: Iterable[tuple[pl.DataFrame, np.ndarray]],
                facts: dict[str, str | int]) -> None:
    """Write both files of a table. Equal content gives equal bytes, however it was divided into blocks of row groups.

    Parameters
    ----------
    folder : made if it is not there.
    lines : N line ids in the order of the calls.
    blocks : one for each row group, in table order: the contract's columns without `genotypes`, and uint8 (m, B).
    facts : kept in the footer (coding digest and the like).
    """
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    schema = _arrow_schema(len(lines), facts)
    with pq.ParquetWriter(folder / TABLE_FILE, schema, compression="zstd", compression_level=1,
                          use_dictionary=_REPEATING,  # pyright: ignore[reportArgumentType]  its stub is narrower
                          write_statistics=[name for name in schema.names if name != _CALLS],  # pyright: ignore[reportArgumentType]
                          ) as writer:
        for variants, packed_mB in blocks:
            writer.write_table(_arrow_block(variants, packed_mB, schema), row_group_size=max(1, len(packed_mB)))
    GENOTYPE_LINES.write(pl.DataFrame({"line_id": lines}, schema=GENOTYPE_LINES.schema), folder / LINES_FILE)


def read_lines_file(folder: Path) -> tuple[str, ...]:
    """Line ids in the order of the calls."""
    return tuple(GENOTYPE_LINES.read(folder / LINES_FILE)["line_id"])


def lines_digest(lines: tuple[str, ...]) -> str:
    """sha256 (hex) over line ids and their order: what a call's place in a row means."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class CallsOnDisk:
    """Packed calls of a table file, read when asked for. The file stays open: it may be replaced meanwhile."""

    def __init__(self, path: Path, lines: tuple[str, ...]) -> None:
        import pyarrow.parquet as pq

        footer, n_bytes = GENOTYPES.require(path), packing.n_bytes(len(lines))
        if footer.get("lines_digest") != lines_digest(lines):
            raise StoreError(f"{path}: expected the {footer.get('n_lines')} lines that it was written with, in their "
                             f"order; found others ({len(lines)}) in {LINES_FILE} beside it; restore both together")
        self._file: pq.ParquetFile = pq.ParquetFile(path)
        self.shape = (self._file.metadata.num_rows, n_bytes)
        self.size = self.shape[0] * n_bytes

    def variants(self) -> pl.DataFrame:
        """Every column but the calls, M rows."""
        names = [column for column in self._file.schema_arrow.names if column != _CALLS]
        read = pl.from_arrow(self._file.read(columns=names))
        assert isinstance(read, pl.DataFrame)
        return read

    @cached_property
    def starts(self) -> np.ndarray:
        """First variant of each row group, and behind the last, int64 (G + 1,)."""
        groups = self._file.metadata
        return np.cumsum([0, *(groups.row_group(g).num_rows for g in range(groups.num_row_groups))])

    def group(self, index: int) -> np.ndarray:
        """Calls of one row group, uint8 (m, B), read-only."""
        return self._array(self._file.read_row_group(index, columns=[_CALLS]).column(_CALLS))

    def all(self) -> np.ndarray:
        """All calls, uint8 (M, B)."""
        return self._array(self._file.read(columns=[_CALLS]).column(_CALLS))

    def rows(self, wanted: np.ndarray) -> np.ndarray:
        """Calls of variants at ascending indices, uint8 (len(wanted), B); only their row groups are read."""
        parts = [np.zeros((0, self.shape[1]), dtype=np.uint8)]
        place = np.searchsorted(wanted, self.starts)
        for g in np.flatnonzero(place[1:] > place[:-1]):
            inside = wanted[place[g] : place[g + 1]] - self.starts[g]
            parts.append(self.group(int(g))[inside])
        return np.concatenate(parts)

    def blocks(self, size: int) -> Iterator[tuple[int, np.ndarray]]:
        """Pairs (first variant, uint8 (m, B)) of at most `size` variants; a block never spans two row groups."""
        for g, start in enumerate(self.starts[:-1].tolist()):
            group_mB = self.group(g)
            for offset in range(0, len(group_mB), size):
                yield start + offset, group_mB[offset : offset + size]

    def _array(self, column: pa.ChunkedArray) -> np.ndarray:
        parts = [np.frombuffer(chunk.buffers()[1], dtype=np.uint8)[chunk.offset * self.shape[1] :]
                 [: len(chunk) * self.shape[1]].reshape(-1, self.shape[1]) for chunk in column.chunks]
        return parts[0] if len(parts) == 1 else np.concatenate([np.zeros((0, self.shape[1]), dtype=np.uint8), *parts])


def _arrow_schema(n_lines: int, facts: dict[str, str | int]) -> pa.Schema:
    import pyarrow as pa

    kinds = {pl.String: pa.string(), pl.Int64: pa.int64(), pl.Float64: pa.float64(),
             pl.Binary: pa.binary(packing.n_bytes(n_lines))}
    fields = [pa.field(c.name, kinds[c.dtype], nullable=c.nullable) for c in GENOTYPES.columns]
    return pa.schema(fields, metadata=GENOTYPES.footer(facts))


def _arrow_block(variants: pl.DataFrame, packed_mB: np.ndarray, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    calls = pa.FixedSizeBinaryArray.from_buffers(schema.field(_CALLS).type, len(packed_mB),
                                                 [None, pa.py_buffer(np.ascontiguousarray(packed_mB))])
    columns = [calls if name == _CALLS else variants[name].to_arrow().cast(schema.field(name).type)
               for name in schema.names]
    return pa.table(columns, schema=schema)
