"""Hardy–Weinberg proportions: the exact test of each variant, also for inbred panels, and observed inbreeding.

Counts in, p-values out; what is done with them is `quality/`'s. Inbred lines lack heterozygotes at every variant, so
that the plain test flags them all: given the panel's inbreeding F, a variant is tested against p² + Fpq, 2pq(1 − F),
q² + Fpq instead. Axes: M variants.
References: Wigginton, Cutler & Abecasis 2005, AJHG 76:887; Rohlfs & Weir 2008, Genetics 180:1609.
"""

from __future__ import annotations

import numpy as np

from genomic_platform.genotypes.parallel import available_cores, in_order

_LEAST = 1e-12  # a genotype's expected share is at least this: F below −p/q is taken as −p/q


def exact_p_values(hom_ref_M: np.ndarray, het_M: np.ndarray, hom_alt_M: np.ndarray,
                   inbreeding: float | np.ndarray = 0.0, threads: int | None = None) -> np.ndarray:
    """Exact two-sided p-value of each variant, float64 (M,): NaN where nothing is called, 1 where monomorphic.

    The probability, given the allele counts, of all numbers of heterozygotes that are no more probable than the one
    observed. Neighbouring numbers h and h + 2 have the ratio θ · n_AA · n_aa / ((h + 1)(h + 2)) with
    θ = P_Aa² / (P_AA · P_aa), which is 4 in Hardy–Weinberg proportions (Rohlfs & Weir 2008). P-values below 1e-300
    come out as 0.

    Parameters
    ----------
    hom_ref_M, het_M, hom_alt_M : integers (M,), lines of each genotype.
    inbreeding : F, −1 to 1, one for all or (M,); 0 = the usual test. NaN gives NaN.
    threads : None = all cores.

    Raises
    ------
    ValueError : counts of different lengths, or F outside −1 to 1.
    """
    from genomic_platform.genotypes import hardy_weinberg_kernels as kernels

    ref_M, het_M, alt_M = (np.ascontiguousarray(count_M, dtype=np.int64) for count_M in (hom_ref_M, het_M, hom_alt_M))
    if not ref_M.shape == het_M.shape == alt_M.shape:
        raise ValueError(f"expected three counts per variant; found {len(ref_M)}, {len(het_M)} and {len(alt_M)}")
    theta_M, p_value_M = disequilibrium(ref_M, het_M, alt_M, inbreeding), np.empty(len(het_M))

    def test(part: slice) -> None:
        kernels.exact_p_values(ref_M[part], het_M[part], alt_M[part], theta_M[part], p_value_M[part])

    size = max(1, len(het_M) // (4 * (threads or available_cores())))  # parts differ in cost: more parts than threads
    for _ in in_order(test, (slice(start, start + size) for start in range(0, len(het_M), size)), threads):
        pass
    return p_value_M


def disequilibrium(hom_ref_M: np.ndarray, het_M: np.ndarray, hom_alt_M: np.ndarray,
                   inbreeding: float | np.ndarray = 0.0) -> np.ndarray:
    """θ = P_Aa² / (P_AA · P_aa) of each variant at its allele frequency and inbreeding F, float64 (M,); 4 where F = 0.

    NaN where nothing is called, 4 where monomorphic. Raises ValueError when F is outside −1 to 1.
    """
    f_M = np.broadcast_to(np.asarray(inbreeding, dtype=np.float64), het_M.shape)
    if (np.abs(f_M) > 1).any():
        raise ValueError(f"inbreeding must be between -1 and 1; found {np.nanmin(f_M):g} to {np.nanmax(f_M):g}")
    alleles_M = 2 * (hom_ref_M + het_M + hom_alt_M)
    p_M = np.divide(2 * hom_ref_M + het_M, alleles_M, out=np.full(len(het_M), np.nan), where=alleles_M > 0)
    pq_M = p_M * (1 - p_M)
    homozygous_M = np.maximum(p_M ** 2 + f_M * pq_M, _LEAST) * np.maximum((1 - p_M) ** 2 + f_M * pq_M, _LEAST)
    theta_M = (2 * pq_M * (1 - f_M)) ** 2 / homozygous_M
    theta_M[(f_M == 0) & (alleles_M > 0) | (pq_M == 0)] = 4
    return theta_M


def panel_inbreeding(hom_ref_M: np.ndarray, het_M: np.ndarray, hom_alt_M: np.ndarray) -> float:
    """F = 1 − Σ observed / Σ expected heterozygotes over variants, expected without bias (Nei 1978); 0 if none varies.

    The expectation of a variant with n called lines is 2pq · 2n / (2n − 1) · n, so that F is 0 on average in a sample
    in Hardy–Weinberg proportions, whatever its size.
    """
    expected_M = expected_heterozygotes(hom_ref_M, het_M, hom_alt_M)
    total = expected_M.sum()
    return float(np.clip(1 - het_M.sum() / total, -1, 1)) if total > 0 else 0.0


def expected_heterozygotes(hom_ref_M: np.ndarray, het_M: np.ndarray, hom_alt_M: np.ndarray) -> np.ndarray:
    """Heterozygous lines expected in Hardy–Weinberg proportions, unbiased for the sample's size, float64 (M,)."""
    n_M = hom_ref_M + het_M + hom_alt_M
    ref_M = 2 * hom_ref_M + het_M
    pairs_M = ref_M * (2 * n_M - ref_M)  # n · 2 · (ref / 2n) · (alt / 2n) · 2n / (2n − 1)
    return np.divide(pairs_M, 2 * n_M - 1, out=np.zeros(len(n_M)), where=n_M > 0)
