"""Fixed effects: columns that add nothing to those before them are left out, and said.

Axes: N records, F fixed effects.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genomic_platform.errors import Notice

#: Share of a column's length that must be left beside the columns before it.
_INDEPENDENT = 1e-7


def independent_columns(fixed_NF: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, list[Notice]]:
    """Positions of columns that do not depend on earlier ones, and a notice `collinear` of the others."""
    basis_NF, kept = np.zeros((len(fixed_NF), 0)), []
    for f in range(fixed_NF.shape[1]):
        column_N = fixed_NF[:, f]
        rest_N = column_N - basis_NF @ (basis_NF.T @ column_N)
        rest_N -= basis_NF @ (basis_NF.T @ rest_N)  # a second time for the rounding of the first
        if np.linalg.norm(rest_N) > _INDEPENDENT * max(np.linalg.norm(column_N), 1e-300):
            basis_NF = np.column_stack([basis_NF, rest_N / np.linalg.norm(rest_N)])
            kept.append(f)
    left_out = [names[f] for f in range(fixed_NF.shape[1]) if f not in kept]
    notices = [Notice("collinear", "fixed effects that others determine are left out", len(left_out),
                      tuple(left_out[:3]))] if left_out else []
    return np.array(kept, dtype=np.int64), notices
