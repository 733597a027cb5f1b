"""Where a population moved: F_ST of each chromosome, and the means of the first principal components.

Tested as the whole is in `population.py`, by moving whole families between the sides; no decision is taken here. One
test a chromosome and a component: with twenty of them one has p ≤ .05 by chance alone.
Axes: K lines compared, U units, R permutations, C chromosomes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import polars as pl

from genomic_platform.drift import families as fam
from genomic_platform.drift.families import Compared, Mirrored, p_value
from genomic_platform.drift.population import testable
from genomic_platform.genotypes.chromosomes import chromosomes
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.schemas.monitoring import POPULATION_SHIFT

COMPONENTS = 5
_NONE_MIRRORED = Mirrored(np.inf, np.inf, 0.0)


def population_shift(genotypes: GenotypeTable, scores: pl.DataFrame, *, season: str, new_lines: Collection[str],
                     reference_lines: Collection[str], families: Mapping[str, str | None],
                     relationship_NN: np.ndarray | None = None, left_out: Collection[str] = (), seed: int = 0,
                     permutations: int = 200) -> pl.DataFrame:
    """F_ST of every chromosome and the shift of the first components, each with its p-value.

    Parameters
    ----------
    genotypes, season, new_lines, reference_lines, families, relationship_NN, seed, permutations : as `genotype_shift`.
    scores : contract POPULATION_STRUCTURE of at least these lines; the first five components are taken.
    left_out : variant ids that F_ST is not taken over: markers whose coding looks swapped.

    Returns
    -------
    Contract POPULATION_SHIFT; empty where a side has no genotyped line, without p-values where lines or families are
    too few for the test of the whole.
    """
    sample = fam.compared(genotypes, new_lines=new_lines, reference_lines=reference_lines, families=families,
                          relationship_NN=relationship_NN)
    if sample is None:
        return POPULATION_SHIFT.empty()
    new_RU = fam.permuted_sides(sample.units, permutations, seed) if testable(sample) else None
    used_M = (~genotypes.variants["variant_id"].is_in(list(left_out))).to_numpy()
    parts = [_chromosomes(genotypes, sample, used_M, new_RU), _components(genotypes, sample, scores, new_RU)]
    return POPULATION_SHIFT.conform(pl.concat(parts).with_columns(season=pl.lit(season)))


def _chromosomes(genotypes: GenotypeTable, sample: Compared, used_M: np.ndarray,
                 new_RU: np.ndarray | None) -> pl.DataFrame:
    runs, sides = chromosomes(genotypes.variants), fam.side_statistics(genotypes, sample)
    numerator_M, denominator_M = fam.observed_terms(sides, used_M)
    bounds_C = [run.start for run in runs]
    numerator_C, denominator_C = (np.add.reduceat(term_M, bounds_C) for term_M in (numerator_M, denominator_M))
    shift_C = [n / d if d > 0 else None for n, d in zip(numerator_C, denominator_C, strict=True)]
    p_C: list[float | None] = [None] * len(runs)
    if new_RU is not None:
        found = fam.permuted(genotypes, sample, new_RU, inbreeding=float(sides.inbreeding.mean()), used_M=used_M,
                             mirrored=_NONE_MIRRORED)
        fst_CR = found.numerator_CR / np.maximum(found.denominator_CR, 1e-12)
        p_C = [None if shift is None else p_value(shift, fst_R) for shift, fst_R in zip(shift_C, fst_CR, strict=True)]
    return _rows("chromosome", [run.name for run in runs], shift_C,
                 np.add.reduceat((denominator_M > 0).astype(np.int64), bounds_C).tolist(), p_C)


def _components(genotypes: GenotypeTable, sample: Compared, scores: pl.DataFrame,
                new_RU: np.ndarray | None) -> pl.DataFrame:
    """Difference of the means, new minus reference, in standard deviations of the reference lines; p two-sided."""
    lines = pl.DataFrame({"line_id": [genotypes.lines[i] for i in sample.rows_K]})
    names, shifts, p_values = [], [], []
    for number in sorted(scores["component"].unique())[:COMPONENTS]:
        score_K = lines.join(scores.filter(component=number), "line_id", how="left", maintain_order="left")[
            "score"].to_numpy()
        spread = float(score_K[~sample.new_K].std())
        names.append(str(number))
        shifts.append(float(score_K[sample.new_K].mean() - score_K[~sample.new_K].mean()) / spread if spread else None)
        p_values.append(None if new_RU is None or not spread else p_value(
            abs(shifts[-1]) * spread, np.abs(_permuted_differences(score_K, sample, new_RU))))
    return _rows("component", names, shifts, [None] * len(names), p_values)


def _permuted_differences(score_K: np.ndarray, sample: Compared, new_RU: np.ndarray) -> np.ndarray:
    """Mean of the new minus that of the reference lines when the units of `new_RU` are the new side, (R,)."""
    unit_K, n_units = sample.units.unit_K, len(sample.units.new_U)
    sum_U, size_U = (np.bincount(unit_K, weights=weight_K, minlength=n_units) for weight_K in (score_K, None))
    sum_R, size_R = new_RU @ sum_U, new_RU @ size_U
    return sum_R / size_R - (sum_U.sum() - sum_R) / (size_U.sum() - size_R)


def _rows(part: str, names: list[str], shifts: list[float | None], n_markers: list[int | None],
          p_values: list[float | None]) -> pl.DataFrame:
    return pl.DataFrame({"part": [part] * len(names), "name": names, "shift": shifts, "n_markers": n_markers,
                         "p_value": p_values},
                        schema={c.name: c.dtype for c in POPULATION_SHIFT.columns if c.name != "season"})
