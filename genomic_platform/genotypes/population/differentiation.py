"""F_ST between named groups of lines (families, populations), from counts on packed calls.

Hudson's estimator as ratio of averages (Bhatia et al. 2013, Genome Res. 23:1514, eq. 10) and that of Weir and Cockerham
(1984, Evolution 38:1358, eqs. 2–4). Distances of lines from a base population are `kinship/`'s.
Axes: G groups, M variants, m of a block, B = ceil(N / 4) bytes; counts_G3m holds REF/REF, REF/ALT and ALT/ALT lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import Literal

import numpy as np
import polars as pl

from genomic_platform.errors import InputError, Problem
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.chromosomes import chromosomes
from genomic_platform.genotypes.parallel import in_order
from genomic_platform.genotypes.table import GenotypeTable

Method = Literal["hudson", "weir_cockerham"]
_Components = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def fst(table: GenotypeTable, groups: Mapping[str, str | None], method: Method = "hudson") -> pl.DataFrame:
    """F_ST of each pair of groups and, of three or more, among all: by chromosome and over all of them.

    Σ numerators / Σ denominators over the variants called in every group concerned. Alleles of a line count as two
    draws: in inbred lines Hudson's correction for sample size, p(1 − p) / (2n − 1), is up to half of what it should be,
    which matters in groups of few lines; Weir and Cockerham allow for observed heterozygosity.

    Parameters
    ----------
    groups : line id → group; lines without a group (absent or None) are left out.

    Returns
    -------
    group_1, group_2 (both null = among all groups), chromosome (null = all), n_variants that vary, fst (null if none).

    Raises
    ------
    InputError
        Fewer than two groups, or a group of one line.
    """
    names, mask_GB = _masks(table, groups)
    runs, components = chromosomes(table.variants), _METHODS[method]
    run_M = np.repeat(np.arange(len(runs)), [run.stop - run.start for run in runs])
    chosen: list[tuple[int, ...]] = list(combinations(range(len(names)), 2))
    chosen += [tuple(range(len(names)))] * (len(names) > 2)
    sums_S3C = np.zeros((len(chosen), 3, len(runs)))
    for start, counts_G3m in group_counts(table, mask_GB):
        run_m = run_M[start : start + counts_G3m.shape[2]]
        for sums_3C, members in zip(sums_S3C, chosen, strict=True):
            numerator_m, denominator_m = components(counts_G3m[list(members)])
            varies_m = np.isfinite(numerator_m) & (denominator_m != 0)
            for sum_C, value_m in zip(sums_3C, (numerator_m, denominator_m, np.ones(len(run_m))), strict=True):
                sum_C += np.bincount(run_m[varies_m], weights=value_m[varies_m], minlength=len(runs))
    rows = []
    for sums_3C, members in zip(sums_S3C, chosen, strict=True):
        pair = [names[i] for i in members] if len(members) == 2 else [None, None]
        whole = ((None, sums_3C.sum(axis=1)), *((run.name, sums_3C[:, c]) for c, run in enumerate(runs)))
        rows += [(*pair, name, int(n), numerator / denominator if n else None)
                 for name, (numerator, denominator, n) in whole]
    schema = {"group_1": pl.String, "group_2": pl.String, "chromosome": pl.String, "n_variants": pl.Int64,
              "fst": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def fst_by_variant(table: GenotypeTable, groups: Mapping[str, str | None], method: Method = "hudson") -> pl.DataFrame:
    """F_ST of each variant among the groups: variant_id, chromosome, position, numerator, denominator, fst.

    One row a variant in table order, null where it does not vary or a group has no call. With more than two groups
    Hudson's components are summed over pairs. Parameters and errors as in `fst`.
    """
    _, mask_GB = _masks(table, groups)
    parts = [_METHODS[method](counts_G3m) for _, counts_G3m in group_counts(table, mask_GB)]
    numerator_M, denominator_M = (np.concatenate([np.zeros(0), *column]) for column in zip(*parts, strict=True))
    varies_M = np.isfinite(numerator_M) & (denominator_M != 0)
    values = {"numerator": numerator_M, "denominator": denominator_M,
              "fst": np.divide(numerator_M, denominator_M, out=np.full(len(varies_M), np.nan), where=varies_M)}
    return table.variants.select("variant_id", "chromosome", "position").with_columns(
        pl.Series(name, np.where(varies_M, value_M, np.nan)).fill_nan(None) for name, value_M in values.items())


def hudson(counts_G3m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numerator and denominator (m,) of each variant, summed over pairs of groups; NaN where a group has no call."""
    alt_Gm = counts_G3m[:, 1] + 2 * counts_G3m[:, 2]
    alleles_Gm = 2 * counts_G3m.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        p_Gm = alt_Gm / alleles_Gm
        chance_Gm = p_Gm * (1 - p_Gm) / (alleles_Gm - 1)
    numerator_m, denominator_m = np.zeros((2, counts_G3m.shape[2]))
    for i, j in combinations(range(len(p_Gm)), 2):
        numerator_m += (p_Gm[i] - p_Gm[j]) ** 2 - chance_Gm[i] - chance_Gm[j]
        denominator_m += p_Gm[i] * (1 - p_Gm[j]) + p_Gm[j] * (1 - p_Gm[i])
    return numerator_m, denominator_m


def weir_cockerham(counts_G3m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Components a and a + b + c (m,) of each variant among all groups; NaN where a group has no call."""
    r = len(counts_G3m)
    n_Gm = counts_G3m.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        total_m = n_Gm.sum(axis=0)
        n_bar_m = total_m / r
        n_c_m = (total_m - (n_Gm**2).sum(axis=0) / total_m) / (r - 1)
        p_Gm = (counts_G3m[:, 1] / 2 + counts_G3m[:, 2]) / n_Gm
        p_m = (n_Gm * p_Gm).sum(axis=0) / total_m
        s2_m = (n_Gm * (p_Gm - p_m) ** 2).sum(axis=0) / ((r - 1) * n_bar_m)
        h_m = counts_G3m[:, 1].sum(axis=0) / total_m
        inner_m = p_m * (1 - p_m) - (r - 1) / r * s2_m
        a_m = n_bar_m / n_c_m * (s2_m - (inner_m - h_m / 4) / (n_bar_m - 1))
        b_m = n_bar_m / (n_bar_m - 1) * (inner_m - (2 * n_bar_m - 1) / (4 * n_bar_m) * h_m)
        fixed_m = (p_m == 0) | (p_m == 1)  # where rounding would leave a little
        return np.where(fixed_m, 0.0, a_m), np.where(fixed_m, 0.0, a_m + b_m + h_m / 2)


_METHODS: dict[str, _Components] = {"hudson": hudson, "weir_cockerham": weir_cockerham}


def _masks(table: GenotypeTable, groups: Mapping[str, str | None]) -> tuple[list[str], np.ndarray]:
    """Group names in order, and for each the lower bit of every call of its lines, uint8 (G, B)."""
    named = {line: group for line, group in groups.items() if group is not None}
    row_of = dict(zip(named, table.line_rows(list(named)), strict=True))
    names = sorted(set(named.values()))
    rows = {name: [row_of[line] for line, group in named.items() if group == name] for name in names}
    repair = "name more lines or groups, or leave the group out"
    problems = [Problem("groups of lines", "at least two lines", "one line", repair, field=name)
                for name in names if len(rows[name]) < 2]
    if len(names) < 2:
        problems.append(Problem("groups of lines", "at least two groups to compare", f"{len(names)}", repair))
    if problems:
        raise InputError(problems)
    return names, np.stack([group_mask(np.array(rows[name]), table.n_lines) for name in names])


def group_mask(rows_K: np.ndarray, n_lines: int) -> np.ndarray:
    """The lower bit of every packed call of the lines at `rows_K`, uint8 (B,)."""
    mask_B = np.zeros(packing.n_bytes(n_lines), dtype=np.uint8)
    np.bitwise_or.at(mask_B, rows_K // 4, (1 << 2 * (rows_K % 4)).astype(np.uint8))
    return mask_B


def group_counts(table: GenotypeTable, mask_GB: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Pairs (first variant, REF/REF, REF/ALT and ALT/ALT lines of groups int64 (G, 3, m)) in table order."""
    from genomic_platform.genotypes.population import ld_kernels

    def work(block: tuple[int, np.ndarray]) -> tuple[int, np.ndarray]:
        start, packed_mB = block
        counts_G3m = np.empty((len(mask_GB), 3, len(packed_mB)), dtype=np.int64)
        ld_kernels.count_groups(np.ascontiguousarray(packed_mB), mask_GB, counts_G3m)
        return start, counts_G3m

    return in_order(work, table.packed_blocks())
