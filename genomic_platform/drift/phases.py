"""Phases: does a marker go with its neighbours among the new lines as it did among the reference lines?

Recoding a marker turns the sign of its correlations with all neighbours, whatever its frequency is; sampling families
of the same base hardly ever does. What follows from it is `population.py`'s.
Axes: M markers, m of a chromosome, B = ceil(N / 4) bytes.
"""

from __future__ import annotations

import numpy as np

from genomic_platform.drift.families import Compared
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.chromosomes import Chromosome, packed_chromosomes
from genomic_platform.genotypes.parallel import in_order
from genomic_platform.genotypes.table import GenotypeTable

#: Neighbours to either side, in table order.
REACH = 10
#: Σ r² with the neighbours that a marker needs on both sides, in units of what unlinked markers and lines give.
_LINKED = 2.0


def phase_agreement(table: GenotypeTable, sample: Compared) -> np.ndarray:
    """Cosine between a marker's correlations with its neighbours on the two sides, float64 (M,), −1 to 1.

    Neighbours are ten to either side on the chromosome. NaN where a side has too little linkage to tell.
    """
    from genomic_platform.drift.marker_kernels import phase_sums

    rows = [sample.rows_K[~sample.new_K], sample.rows_K[sample.new_K]]
    agreement_M = np.full(table.n_variants, np.nan)

    def measure(chromosome: tuple[Chromosome, np.ndarray]) -> tuple[Chromosome, np.ndarray]:
        run, packed_mB = chromosome
        old_mB, new_mB = (packing.take_lines(packed_mB, side) for side in rows)
        sums_3m = np.zeros((3, len(packed_mB)))
        phase_sums(old_mB, len(rows[0]), new_mB, len(rows[1]), REACH, sums_3m)
        return run, sums_3m

    for run, sums_3m in in_order(measure, packed_chromosomes(table)):
        at_m = np.arange(sums_3m.shape[1])
        least_m = _LINKED * (np.minimum(at_m, REACH) + np.minimum(at_m[::-1], REACH))
        linked_m = (sums_3m[1:] > least_m / np.array([[len(side)] for side in rows])).all(axis=0)
        cosine_m = sums_3m[0, linked_m] / np.sqrt(sums_3m[1, linked_m] * sums_3m[2, linked_m])
        agreement_M[run.start : run.stop][linked_m] = cosine_m
    return agreement_M
