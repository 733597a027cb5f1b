"""Canopy reflectance of plots: reading band tables, and the relationship between lines that bands show.

Reflectance is measured on the plots of the lines to be predicted: a model with it is sensor-assisted, not prediction of
unphenotyped lines. Indices made of bands are in `vegetation_indices`. Axes: N lines, B bands.
Reference: Krause et al. 2019, G3 9:1231-1247.
"""

from __future__ import annotations

import numpy as np

from genomic_platform.phenotypes.standardise import Standardisation


def reflectance_kernel(bands_NB: np.ndarray) -> np.ndarray:
    """Relationship between lines by canopy reflectance: H = S S′ / B, S the standardised bands (Krause et al. 2019).

    Parameters
    ----------
    bands_NB : lines × bands, reflectance in any one unit; one row a line.

    Returns
    -------
    Symmetric, shape (N, N), rows summing to 0; the mean of its diagonal is (N − 1) / N. Bands that are constant or
    missing (NaN) in a line are left out of S and of B.

    Raises
    ------
    ProgramError : an infinite value, or no band that varies and is known in every line.
    """
    names = [str(b) for b in range(np.shape(bands_NB)[1])]
    standard_NB = Standardisation.of(bands_NB, names).apply(bands_NB, names)
    return standard_NB @ standard_NB.T / standard_NB.shape[1]
