"""Each marker of two sets of lines compared, by counting bits of the packed calls: χ², F_ST, PSI.

For finding markers that moved and faults of coding or platform. Lines are taken as unrelated here, which they are not:
no p-value is given, and whether a population moved is `population.py`'s, where whole families change sides.
Axes: M markers, m of a block, 2 sides (reference, new), 3 genotype classes.
References: Hudson, Slatkin and Maddison 1992, Genetics 132:583; Siddiqi 2006, Credit Risk Scorecards (PSI).
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import polars as pl

from genomic_platform.genotypes.population.differentiation import group_counts, group_mask
from genomic_platform.genotypes.table import GenotypeTable

#: Share that an empty genotype class stands at in PSI, whose logarithm has none at 0.
SMALLEST_SHARE = 1e-4


def marker_shift(table: GenotypeTable, *, new_lines: Collection[str], reference_lines: Collection[str]) -> pl.DataFrame:
    """Compare the calls of two sets of lines at every marker.

    Parameters
    ----------
    table : packed calls; nothing is decoded.
    new_lines, reference_lines : ids of lines with genotypes, at least one each.

    Returns
    -------
    A row a marker in table order, cells empty where a side has no call:

    variant_id
    n_reference, n_new : called lines.
    frequency_reference, frequency_new : ALT frequency among called lines, 0–1.
    chi_squared : of the 2 × 2 table of alleles, two a called line, one degree of freedom; empty where nothing varies.
    fst : Hudson's estimator, two alleles a called line; empty where nothing varies.
    psi : population stability index of the three genotype classes, Σ (q − p) ln (q / p), with shares p and q of the
        reference and the new lines, an empty class at 1e-4.

    Raises
    ------
    ValueError : a line has no genotypes here, or a side is empty.
    """
    from genomic_platform.drift.marker_kernels import compare_sides

    sides = [sorted(reference_lines), sorted(new_lines)]
    if not all(sides):
        raise ValueError(f"expected lines on both sides; found {len(sides[0])} reference and {len(sides[1])} new")
    mask_2B = np.stack([group_mask(table.line_rows(lines), table.n_lines) for lines in sides])
    n_2M, p_2M = np.empty((2, table.n_variants), dtype=np.int64), np.empty((2, table.n_variants))
    measure_3M = np.empty((3, table.n_variants))
    for start, counts_23m in group_counts(table, mask_2B):
        here = slice(start, start + counts_23m.shape[2])
        compare_sides(counts_23m, SMALLEST_SHARE, *measure_3M[:, here])
        n_2M[:, here] = counts_23m.sum(axis=1)
        with np.errstate(invalid="ignore"):
            p_2M[:, here] = (counts_23m[:, 1] + 2 * counts_23m[:, 2]) / (2 * n_2M[:, here])
    columns = {"n_reference": n_2M[0], "n_new": n_2M[1], "frequency_reference": p_2M[0], "frequency_new": p_2M[1],
               **dict(zip(("chi_squared", "fst", "psi"), measure_3M, strict=True))}
    return table.variants.select("variant_id").with_columns(
        pl.Series(name, column) for name, column in columns.items()).with_columns(pl.col(pl.Float64).fill_nan(None))
