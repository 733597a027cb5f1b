"""Linkage disequilibrium along chromosomes: r² of pairs, its decay with distance, pruning.

r² is the squared correlation of dosages over the lines called in both variants (Rogers and Huff 2009, Genetics
182:839; plink --r2), counted on packed calls and never decoded. LD between chromosomes is `effective_size.py`'s.
Axes: M variants, m of a chromosome, b of a block, B = ceil(N / 4) bytes, W variants that a window looks back, D bins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from genomic_platform.genotypes.chromosomes import (
    Chromosome,
    chromosomes,
    packed_chromosomes,
    placed,
    require_placed,
)
from genomic_platform.genotypes.parallel import in_order
from genomic_platform.genotypes.table import GenotypeTable

_BAND_CELLS = 1 << 21  # 16 MB of r² at a time
#: An r² that equals the threshold in decimals stays below it, as in plink.
_ABOVE = 1 + 2.0**-44
_PAIRS = {"variant_1": pl.String, "variant_2": pl.String, "chromosome": pl.String, "position_1": pl.Int64,
          "position_2": pl.Int64, "r2": pl.Float64}


def prune(table: GenotypeTable, window_variants: int = 50, step: int = 5, max_r2: float = 0.2, *,
          window_bp: int | None = None, threads: int | None = None) -> np.ndarray:
    """Variants in approximate linkage equilibrium, Boolean (M,): of each pair with r² > `max_r2` one is left out.

    The variants kept are those of plink 1.9 and plink 2.0 alpha 3 (`--indep-pairwise`; later ones have `--indep-order`
    for the order of comparison): the rarer minor allele goes, of equals the later variant, and variants without
    variance go, unless they are alone within a window's reach.

    Parameters
    ----------
    window_variants, step : variants of a window (≥ 2), and by how many it moves on (1 to `window_variants`).
    max_r2 : 0–1.
    window_bp : windows of so many base pairs instead, moving on by one variant.
    threads : chromosomes at once; None = all cores.

    Raises
    ------
    InputError
        Variants have no position, and a window does not hold all of their chromosome.
    """
    from genomic_platform.genotypes.population import ld_kernels

    if not (window_variants >= 2 and 1 <= step <= window_variants and 0 <= max_r2 <= 1):
        raise ValueError(f"expected window_variants ≥ 2, 1 ≤ step ≤ window_variants and 0 ≤ max_r2 ≤ 1; found "
                         f"{window_variants}, {step} and {max_r2:g}")
    _require_order(table, window_variants, window_bp)
    position_M = table.variants["position"].to_numpy()

    def work(item: tuple[Chromosome, np.ndarray]) -> np.ndarray:
        chromosome, packed_mB = item
        position_m = position_M[chromosome.start : chromosome.stop]
        start_w, stop_w = _windows(position_m, window_variants, step, window_bp)
        planes_WPK = np.empty((int((stop_w - start_w).max()), 3, plane_words(table.n_lines)), dtype=np.uint64)
        removed_m = np.zeros(len(position_m), dtype=np.bool_)
        ld_kernels.prune_windows(np.ascontiguousarray(packed_mB), table.n_lines, start_w, stop_w, max_r2 * _ABOVE,
                                 planes_WPK, removed_m)
        return ~removed_m | _alone(position_m, window_bp)

    kept = in_order(work, packed_chromosomes(table), threads)
    return np.concatenate([np.zeros(0, dtype=np.bool_), *kept])


def r2_pairs(table: GenotypeTable, *, window_bp: int | None = None, window_variants: int | None = None,
             min_r2: float = 0.2, threads: int | None = None) -> pl.DataFrame:
    """Pairs on a chromosome with r² ≥ `min_r2`: variant_1, variant_2, chromosome, position_1, position_2, r2.

    Rows follow the table's order of the first and then of the second variant. Pairs in which a variant has no variance
    among the lines called in both have no r² and are left out.

    Parameters
    ----------
    window_bp, window_variants : at most so many base pairs apart, or so many variants further on; give one of the two.

    Raises
    ------
    InputError
        Variants have no position, and the window is one of base pairs or does not hold all of their chromosome.
    """
    if (window_bp is None) == (window_variants is None):
        raise ValueError("expected either window_bp or window_variants")
    _require_order(table, (window_variants or 0) + 1, window_bp)
    ids, position_M = table.variants["variant_id"], table.variants["position"].to_numpy()

    def work(item: tuple[Chromosome, np.ndarray]) -> pl.DataFrame:
        chromosome, packed_mB = item
        first_m = _first(position_M[chromosome.start : chromosome.stop], window_variants, window_bp)
        found: list[np.ndarray] = [np.zeros((0, 3))]
        for start, r2_bW in _bands(packed_mB, table.n_lines, first_m):
            row_P, back_P = np.nonzero(r2_bW >= min_r2)
            second_P = row_P + start
            found.append(np.column_stack([second_P - back_P - 1, second_P, r2_bW[row_P, back_P]]))
        pair_P3 = np.concatenate(found)
        pair_P3 = pair_P3[np.lexsort((pair_P3[:, 1], pair_P3[:, 0]))]
        first_P, second_P = (pair_P3[:, column].astype(np.int64) + chromosome.start for column in (0, 1))
        return pl.DataFrame({"variant_1": ids[first_P], "variant_2": ids[second_P], "chromosome": chromosome.name,
                             "position_1": position_M[first_P], "position_2": position_M[second_P],
                             "r2": pair_P3[:, 2]}, schema=_PAIRS)

    return pl.concat([pl.DataFrame(schema=_PAIRS), *in_order(work, packed_chromosomes(table), threads)])


@dataclass(frozen=True)
class LdDecay:
    """How r² falls with distance.

    Attributes
    ----------
    bins : a row for each chromosome (null = all together) and bin of distance: chromosome, from_bp, to_bp, n_pairs,
        mean_r2 (null without pairs), fitted_r2 (null without a fit).
    fits : a row for each chromosome (null = all together): chromosome, n_pairs, rho_per_bp (4Ne × recombination
        fraction per base pair), half_decay_bp (where the curve is half of its value at distance 0), reason (why one of
        them is null).
    """

    bins: pl.DataFrame
    fits: pl.DataFrame


def ld_decay(table: GenotypeTable, max_distance_bp: int = 1_000_000, bins: int = 50,
             threads: int | None = None) -> LdDecay:
    """Mean r² of all pairs up to `max_distance_bp` apart in bins of equal width, and the curve of Hill and Weir (1988).

    The curve (Theor. Popul. Biol. 33:54, with low mutation; `hill_weir`) is that of drift and recombination in balance
    in one population, fitted to the bins' means weighted by their pairs: families or subpopulations keep r² up at any
    distance, which it cannot follow, so look at the bins too. Its n is the lines called in both variants on average:
    correlations of dosages vary by chance as those of so many haplotypes, in inbred lines and in random mating alike.

    Raises
    ------
    InputError
        Variants have no position.
    """
    require_placed(table.variants, "decay with distance")
    position_M = table.variants["position"].to_numpy()

    def work(item: tuple[Chromosome, np.ndarray]) -> np.ndarray:
        chromosome, packed_mB = item
        position_m = position_M[chromosome.start : chromosome.stop]
        pairs_D, sum_D = sums_2D = np.zeros((2, bins))
        for start, r2_bW in _bands(packed_mB, table.n_lines, _first(position_m, None, max_distance_bp)):
            row_P, back_P = np.nonzero(r2_bW >= 0)
            distance_P = position_m[start + row_P] - position_m[start + row_P - back_P - 1]
            bin_P = np.minimum(distance_P * bins // max_distance_bp, bins - 1)
            pairs_D += np.bincount(bin_P, minlength=bins)
            sum_D += np.bincount(bin_P, weights=r2_bW[row_P, back_P], minlength=bins)
        return sums_2D

    by_chromosome = list(in_order(work, packed_chromosomes(table), threads))
    names: list[str | None] = [chromosome.name for chromosome in chromosomes(table.variants)]
    whole_2D = np.sum([np.zeros((2, bins)), *by_chromosome], axis=0)
    n = float((table.variants["call_rate"] ** 2).mean() or 0) * table.n_lines  # pyright: ignore[reportArgumentType]
    rows = [_decay(name, sums_2D, max_distance_bp, n)
            for name, sums_2D in zip([*names, None], [*by_chromosome, whole_2D], strict=True)]
    return LdDecay(pl.concat([bins for bins, _ in rows]), pl.concat([fit for _, fit in rows]))


def hill_weir(rho: np.ndarray | float, n: float) -> np.ndarray | float:
    """Expected r² at ρ = 4Ne·c in a sample of n haplotypes (Hill and Weir 1988, as used by Remington et al. 2001)."""
    drift = (10 + rho) / ((2 + rho) * (11 + rho))
    return drift * (1 + (3 + rho) * (12 + 12 * rho + rho**2) / (n * (2 + rho) * (11 + rho)))


def plane_words(n_lines: int) -> int:
    """64-bit words of a plane: a multiple of eight, so that vectors of words have no remainder."""
    return -(-n_lines // 512) * 8


def _decay(name: str | None, sums_2D: np.ndarray, max_distance_bp: int,
           n: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    pairs_D, sum_D = sums_2D[0].astype(np.int64), sums_2D[1]
    edge_D = np.linspace(0, max_distance_bp, len(pairs_D) + 1)
    middle_D = (edge_D[1:] + edge_D[:-1]) / 2
    mean_D = np.divide(sum_D, pairs_D, out=np.full(len(sum_D), np.nan), where=pairs_D > 0)
    rho, half, reason = _fit(middle_D, mean_D, pairs_D, max_distance_bp, n)
    fitted_D = np.full(len(pairs_D), np.nan) if rho is None else hill_weir(rho * middle_D, n)
    bins = pl.DataFrame({"chromosome": pl.Series([name] * len(pairs_D), dtype=pl.String), "from_bp": edge_D[:-1],
                         "to_bp": edge_D[1:], "n_pairs": pairs_D, "mean_r2": mean_D, "fitted_r2": fitted_D})
    fit = pl.DataFrame({"chromosome": [name], "n_pairs": [int(pairs_D.sum())], "rho_per_bp": [rho],
                        "half_decay_bp": [half], "reason": [reason]},
                       schema={"chromosome": pl.String, "n_pairs": pl.Int64, "rho_per_bp": pl.Float64,
                               "half_decay_bp": pl.Float64, "reason": pl.String})
    return bins.with_columns(pl.col("mean_r2", "fitted_r2").fill_nan(None)), fit


def _fit(middle_D: np.ndarray, mean_D: np.ndarray, pairs_D: np.ndarray, max_distance_bp: int,
         n: float) -> tuple[float | None, float | None, str | None]:
    """ρ per base pair by weighted least squares, the half-decay distance, and why one of them is missing."""
    from scipy.optimize import brentq, minimize_scalar

    used_D = pairs_D > 0
    if used_D.sum() < 3:
        return None, None, f"{used_D.sum()} bins of distance hold pairs; a curve needs three"
    distance_D, r2_D, weight_D = middle_D[used_D], mean_D[used_D], pairs_D[used_D]

    def loss(log_rho: float) -> float:
        return float((weight_D * (hill_weir(np.exp(log_rho) * distance_D, n) - r2_D) ** 2).sum())

    low, high = -np.log(1e3 * max_distance_bp), np.log(1e6 / distance_D[0])
    grid_G = np.linspace(low, high, 100)
    best = int(np.argmin([loss(log_rho) for log_rho in grid_G]))
    if best in (0, len(grid_G) - 1):
        return None, None, "r² does not fall over these distances" if best == 0 else "r² is low at any distance"
    found = minimize_scalar(loss, bounds=(grid_G[best - 1], grid_G[best + 1]), method="bounded")
    rho = float(np.exp(found.x))  # pyright: ignore[reportAttributeAccessIssue] scipy's stub calls the result an object
    half_of = hill_weir(0.0, n) / 2
    if hill_weir(1e9, n) >= half_of:
        return rho, None, f"{n:.0f} lines are too few: the curve never falls to half"
    half = float(brentq(lambda c: hill_weir(c, n) - half_of, 0, 1e9)) / rho  # pyright: ignore[reportArgumentType]
    if half > max_distance_bp:
        return rho, None, "the curve does not fall to half within max_distance_bp"
    return rho, half, None


def _bands(packed_mB: np.ndarray, n_lines: int, first_m: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Pairs (first variant, r² (b, W) of b variants with the 1st to W-th before them), NaN outside the window."""
    from genomic_platform.genotypes.population import ld_kernels

    packed_mB = np.ascontiguousarray(packed_mB)
    width = max(1, int((np.arange(len(first_m)) - first_m).max()))
    planes_WPK = np.empty((width + 1, 3, plane_words(n_lines)), dtype=np.uint64)
    moments_W3 = np.empty((width + 1, 3), dtype=np.int64)
    size = max(1, _BAND_CELLS // width)
    for start in range(0, len(first_m), size):
        r2_bW = np.empty((min(size, len(first_m) - start), width))
        ld_kernels.r2_band(packed_mB, n_lines, first_m, start, planes_WPK, moments_W3, r2_bW)
        yield start, r2_bW


def _first(position_m: np.ndarray, window_variants: int | None, window_bp: int | None) -> np.ndarray:
    """The first variant within each variant's window, looking back, int64 (m,)."""
    if window_bp is not None:
        return np.searchsorted(position_m, position_m - window_bp)
    return np.maximum(np.arange(len(position_m)) - (window_variants or 0), 0)


def _windows(position_m: np.ndarray, window_variants: int, step: int,
             window_bp: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Start and stop (excluded) of the windows of one chromosome; the last one reaches its end."""
    m = len(position_m)
    if window_bp is None:
        start_w = step * np.arange(max(0, -(-(m - window_variants) // step)) + 1)
        return start_w, np.minimum(start_w + window_variants, m)
    first = np.searchsorted(position_m, position_m - window_bp).tolist()
    stop_m = np.searchsorted(position_m, position_m + window_bp, side="right")
    starts = [0]
    while stop_m[starts[-1]] < m:  # on to the first window that holds one more variant
        starts.append(first[stop_m[starts[-1]]])
    return np.array(starts), stop_m[starts]


def _alone(position_m: np.ndarray, window_bp: int | None) -> np.ndarray:
    """Variants that no window compares with another, Boolean (m,)."""
    gap_m = np.diff(position_m) > (np.inf if window_bp is None else window_bp)
    return np.concatenate([[True], gap_m]) & np.concatenate([gap_m, [True]])


def _require_order(table: GenotypeTable, window_variants: int, window_bp: int | None) -> None:
    """Raises InputError when variants have no position and a window compares only some of them."""
    if window_bp is not None:
        require_placed(table.variants, "a window in base pairs")
        return
    lost_M = ~placed(table.variants)
    longest = max((c.stop - c.start for c in chromosomes(table.variants) if lost_M[c.start : c.stop].any()), default=0)
    if longest > window_variants:
        require_placed(table.variants, "a window of neighbours",
                       f", or compare all pairs of them with a window of {longest:,} variants, which needs no order")
