"""A relationship matrix as a table (contract RELATIONSHIP_MATRIX) and back, without a Python number in between."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl


def relationship_table(lines: Sequence[str], matrix_NN: np.ndarray) -> pl.DataFrame:
    """One row a line in the order given, each with its relationships to all lines in the same order."""
    n_lines = len(lines)
    rows = pl.Series("relationship", np.ascontiguousarray(matrix_NN), dtype=pl.Array(pl.Float64, n_lines))
    return pl.DataFrame({"line_id": list(lines), "relationship": rows.cast(pl.List(pl.Float64))})


def relationship_array(table: pl.DataFrame) -> np.ndarray:
    """The (N, N) float64 matrix of such a table."""
    return table["relationship"].explode().to_numpy().reshape(table.height, table.height)
