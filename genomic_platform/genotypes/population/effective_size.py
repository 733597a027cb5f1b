"""Effective population size from linkage disequilibrium between chromosomes.

Waples (2006, Conserv. Genet. 7:167) with the weights of Waples and Do (2008, Mol. Ecol. Resour. 8:753) and a jackknife
over lines (Jones et al. 2016, Heredity 117:217). LD along chromosomes is `ld.py`'s.
Axes: m variants used, B = ceil(N / 4) bytes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from genomic_platform.errors import counted
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.chromosomes import placed
from genomic_platform.genotypes.hardy_weinberg import panel_inbreeding
from genomic_platform.genotypes.parallel import in_order
from genomic_platform.genotypes.population.ld import plane_words
from genomic_platform.genotypes.table import GenotypeTable

_MIN_LINES = 10
_SCHEMA = {"effective_size": pl.Float64, "lower": pl.Float64, "upper": pl.Float64, "r2": pl.Float64,
           "r2_by_chance": pl.Float64, "inbreeding": pl.Float64, "n_lines": pl.Int64, "n_variants": pl.Int64,
           "n_pairs": pl.Int64, "reason": pl.String}


class _MeanR2(NamedTuple):
    observed: float
    by_chance: float
    n: float  # harmonic mean of the lines called in both variants
    pairs: int


def effective_size(table: GenotypeTable, *, min_allele_frequency: float = 0.05, max_variants: int = 2000,
                   jackknife_groups: int = 20, confidence: float = 0.95, threads: int | None = None) -> pl.DataFrame:
    """Ne of the parents of these lines, from mean r² of variants on different chromosomes beyond that of chance.

    Assumes one closed population, parents mated at random, non-overlapping generations and lines that are a random
    sample of the offspring: families, subpopulations and selected lines raise r² and lower Ne. Random mating gives
    r² = 1/(3N) + chance, N being the number of parents. Inbred lines give the same with N the inbred parents crossed,
    which drift as N / (1 + F) outbred ones: so Ne is the figure of random mating divided by 1 + F, with the panel's
    observed F (below 0 taken as 0), as if F had been the same in the parents.

    The interval is that of sampling lines, and in simulations held the truth 92–100 times in 100. Where lines are many
    times Ne the chance of drift itself outweighs that: 73 in 100 for 200 lines of 30 parents.

    Parameters
    ----------
    min_allele_frequency : rarer variants are left out, as rare alleles bias r².
    max_variants : so many of them are used, evenly spaced in the table: pairs grow with its square.
    jackknife_groups : random parts of the lines that are left out in turn for the interval.

    Returns
    -------
    One row: effective_size, lower, upper (infinite where r² is not above chance; null where nothing can be estimated),
    r2, r2_by_chance (means over pairs), inbreeding, n_lines, n_variants, n_pairs, and reason, which says why
    effective_size is infinite or null, and is null otherwise.
    """
    minor = pl.min_horizontal("alt_frequency", 1 - pl.col("alt_frequency"))
    common_M = table.variants.select((minor >= min_allele_frequency).fill_null(False)).to_series().to_numpy()
    row_m = np.flatnonzero(common_M & placed(table.variants))
    row_m = row_m[np.linspace(0, len(row_m) - 1, min(max_variants, len(row_m))).astype(np.int64)]
    used = table.select(row_m)
    counts = {"n_lines": table.n_lines, "n_variants": used.n_variants}
    if reason := _cannot(table, used):
        return pl.DataFrame([{**dict.fromkeys(_SCHEMA), **counts, "n_pairs": 0, "reason": reason}], schema=_SCHEMA)

    f = panel_inbreeding(*(used.variants[name].to_numpy() for name in ("hom_ref", "heterozygous", "hom_alt")))
    chromosome_m = used.variants["chromosome"].rank("dense").to_numpy()
    mean = _between(used.packed_MB, used.n_lines, chromosome_m, threads)
    spread = _jackknife_variance(used, chromosome_m, jackknife_groups, threads)
    low_r2, high_r2 = _interval(mean.observed, spread, confidence)
    size, lower, upper = (_size(r2 - mean.by_chance, mean.n) / (1 + max(f, 0))
                          for r2 in (mean.observed, high_r2, low_r2))
    reason = "r² between chromosomes is not above chance: too large for these lines to tell" if np.isinf(size) else None
    return pl.DataFrame([{"effective_size": size, "lower": lower, "upper": upper, "r2": mean.observed,
                          "r2_by_chance": mean.by_chance, "inbreeding": f, **counts, "n_pairs": mean.pairs,
                          "reason": reason}], schema=_SCHEMA)


def _cannot(table: GenotypeTable, used: GenotypeTable) -> str | None:
    """Why nothing can be estimated, if so."""
    if table.n_lines < _MIN_LINES:
        return f"{counted(table.n_lines, 'line')}; at least {_MIN_LINES} are needed"
    if not placed(table.variants).any():
        return "no variant has a chromosome and position, so that none are known to be unlinked"
    if used.n_variants == 0:
        return "no variant with a position is common enough"
    if used.variants["chromosome"].n_unique() == 1:
        return f"all common variants are on chromosome {used.variants['chromosome'][0]}: none are known to be unlinked"
    return None


def _size(r2_drift: float, n: float) -> float:
    """N of random mating from r² beyond chance (Waples 2006); infinite where there is none.

    The constants were not checked against the paper; simulated populations of known size support the result.
    """
    if r2_drift <= 0:
        return np.inf
    first, second = (1 / 3, 2.76) if n >= 30 else (0.308, 2.08)
    return (first + max(first**2 - second * r2_drift, 0) ** 0.5) / (2 * r2_drift)


def _between(packed_mB: np.ndarray, n_lines: int, chromosome_m: np.ndarray, threads: int | None) -> _MeanR2:
    """Mean r² over pairs of variants on different chromosomes, weighted by the square of the lines called in both."""
    from genomic_platform.genotypes.population import ld_kernels

    m = len(packed_mB)
    planes_mPK = np.empty((m, 3, plane_words(n_lines)), dtype=np.uint64)
    moments_m3 = np.empty((m, 3), dtype=np.int64)
    ld_kernels.split_all(np.ascontiguousarray(packed_mB), n_lines, planes_mPK, moments_m3)

    def work(start: int) -> tuple[int, float, float, float, float]:
        return ld_kernels.r2_between(planes_mPK, moments_m3, chromosome_m, start, min(start + 64, m), n_lines)

    sums = np.array(list(in_order(work, range(0, m, 64), threads))).sum(axis=0)
    pairs, weight, observed, by_chance, inverse = sums.tolist()
    return _MeanR2(observed / weight, by_chance / weight, weight / inverse, int(pairs))


def _jackknife_variance(used: GenotypeTable, chromosome_m: np.ndarray, groups: int, threads: int | None) -> float:
    """Sampling variance of r² beyond chance, from leaving out random parts of the lines in turn."""
    group_N = np.random.default_rng(0).permutation(np.arange(used.n_lines) % min(groups, used.n_lines))
    drift = []
    for group in range(group_N.max() + 1):
        row_N = np.flatnonzero(group_N != group)
        mean = _between(packing.take_lines(used.packed_MB, row_N), len(row_N), chromosome_m, threads)
        drift.append(mean.observed - mean.by_chance)
    return (len(drift) - 1) * float(np.var(drift))


def _interval(r2: float, variance: float, confidence: float) -> tuple[float, float]:
    """Interval of mean r², a multiple of a χ² with the jackknife's variance (Jones et al. 2016)."""
    from scipy.stats import chi2

    if variance == 0:
        return r2, r2
    freedom = 2 * r2**2 / variance
    high, low = chi2.ppf([(1 + confidence) / 2, (1 - confidence) / 2], freedom)
    return freedom * r2 / high, freedom * r2 / low
