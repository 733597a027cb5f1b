"""Statistics of each variant from packed calls: counts, frequency, call rate, heterozygosity, Hardy–Weinberg.

They travel with the table. What is kept by them belongs in `quality/`. Axes: M variants, N lines.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from genomic_platform.genotypes import packing
from genomic_platform.genotypes.hardy_weinberg import exact_p_values


def variant_statistics(packed_MB: np.ndarray, n_lines: int) -> pl.DataFrame:
    """A row a variant: hom_ref, heterozygous, hom_alt (lines), alt_frequency, call_rate, heterozygosity, hwe_p_value.

    Frequencies and heterozygosities are among called genotypes, null where nothing is called, as is the p-value (exact
    test of Wigginton et al. 2005, outbred; `quality/qc.py` has the test that allows for inbreeding).
    """
    hom_ref_M, het_M, hom_alt_M = packing.genotype_counts(packed_MB, n_lines)
    called_M = hom_ref_M + het_M + hom_alt_M
    alt_M = het_M + 2 * hom_alt_M
    return pl.DataFrame({
        "hom_ref": hom_ref_M, "heterozygous": het_M, "hom_alt": hom_alt_M,
        "alt_frequency": _share(alt_M, 2 * called_M), "call_rate": called_M / n_lines,
        "heterozygosity": _share(het_M, called_M),
        "hwe_p_value": exact_p_values(hom_ref_M, het_M, hom_alt_M),
    }).with_columns(pl.col("alt_frequency", "heterozygosity", "hwe_p_value").fill_nan(None))


def _share(count_M: np.ndarray, of_M: np.ndarray) -> np.ndarray:
    return np.divide(count_M, of_M, out=np.full(len(count_M), np.nan), where=of_M > 0)
