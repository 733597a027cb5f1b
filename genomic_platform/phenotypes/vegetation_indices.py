"""Vegetation indices made of canopy bands, each with its formula's source (`INDICES`).

All are ratios: the same whether reflectance is a fraction, a percentage or a sensor's count. Reading bands, and the
relationship between lines that they show, are in `reflectance`. Axes: N lines, B bands, V indices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from genomic_platform.errors import Notice, ProgramError

#: A band this many nm from the wavelength of a formula still stands for it.
TOLERANCE_NM = 5.0


@dataclass(frozen=True)
class Index:
    """One index: its wavelengths in nm, its value from their reflectance (N,) each, in words, and its source."""

    wavelengths: tuple[float, ...]
    value: Callable[..., np.ndarray]
    formula: str
    source: str


def _normalised(a_N: np.ndarray, b_N: np.ndarray) -> np.ndarray:
    return (a_N - b_N) / (a_N + b_N)


INDICES = {
    "ndvi": Index((780, 670), _normalised, "(R780 − R670) / (R780 + R670)",
                  "Rouse et al. 1974, NASA SP-351 I:309-317; red and near infrared"),
    "gndvi": Index((780, 550), _normalised, "(R780 − R550) / (R780 + R550)",
                   "Gitelson et al. 1996, Remote Sens. Environ. 58:289-298; green and near infrared"),
    "red_edge_ndvi": Index((750, 705), _normalised, "(R750 − R705) / (R750 + R705)",
                           "Gitelson & Merzlyak 1994, J. Photochem. Photobiol. B 22:247-252"),
    "pri": Index((531, 570), _normalised, "(R531 − R570) / (R531 + R570)",
                 "Gamon et al. 1992, Remote Sens. Environ. 41:35-44"),
    "simple_ratio": Index((780, 670), lambda a_N, b_N: a_N / b_N, "R780 / R670",
                          "Jordan 1969, Ecology 50:663-666; red and near infrared"),
    "sipi": Index((800, 445, 680), lambda a_N, b_N, c_N: (a_N - b_N) / (a_N - c_N), "(R800 − R445) / (R800 − R680)",
                  "Peñuelas et al. 1995, Photosynthetica 31:221-230"),
    "water_index": Index((900, 970), lambda a_N, b_N: a_N / b_N, "R900 / R970",
                         "Peñuelas et al. 1993, Int. J. Remote Sens. 14:1887-1905"),
}


def vegetation_indices(bands_NB: np.ndarray, wavelength_B: np.ndarray, names: Sequence[str] | None = None,
                       ) -> tuple[np.ndarray, tuple[str, ...], list[Notice]]:
    """Indices of each line from the band nearest to each wavelength of the formula, at most 5 nm from it.

    Parameters
    ----------
    bands_NB : reflectance in any one unit; NaN = missing. wavelength_B : nm.
    names : indices wanted, each of which must be possible; None = all of `INDICES` that the bands allow.

    Returns
    -------
    Values, shape (N, V), NaN where a band is missing or a denominator is 0; names of the indices; and a notice naming
    those that need a band which is not there.

    Raises
    ------
    ProgramError : an unknown index, or one that was asked for whose bands are not there.
    """
    wavelength_B = np.asarray(wavelength_B, dtype=np.float64)
    if np.shape(bands_NB)[1:] != wavelength_B.shape or not wavelength_B.size:
        raise ProgramError(f"bands have shape {np.shape(bands_NB)} for {wavelength_B.size} wavelengths; expected lines "
                           "× bands with one wavelength each")
    if unknown := sorted(set(names or ()) - set(INDICES)):
        raise ProgramError(f"no vegetation index {', '.join(unknown)}; expected some of {', '.join(INDICES)}")
    absent = {name: far for name in names or INDICES if (far := _absent(INDICES[name], wavelength_B))}
    said = tuple(f"{name}: {', '.join(f'{w:g}' for w in far)} nm" for name, far in absent.items())
    if absent and names is not None:
        raise ProgramError(f"bands from {wavelength_B.min():g} to {wavelength_B.max():g} nm have none within "
                           f"{TOLERANCE_NM:g} nm of those needed ({'; '.join(said)}); repair: leave the index out")
    made = tuple(name for name in names or INDICES if name not in absent)
    values_NV = np.full((len(bands_NB), len(made)), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        for v, name in enumerate(made):
            nearest = [int(np.abs(wavelength_B - w).argmin()) for w in INDICES[name].wavelengths]
            values_NV[:, v] = INDICES[name].value(*(bands_NB[:, b] for b in nearest))
    values_NV[np.isinf(values_NV)] = np.nan
    notices = [Notice("indices_absent", "vegetation indices that need bands which are not there", len(said), said)
               ] if said else []
    return values_NV, made, notices


def _absent(index: Index, wavelength_B: np.ndarray) -> list[float]:
    """Wavelengths of an index that no band is near."""
    return [w for w in index.wavelengths if np.abs(wavelength_B - w).min() > TOLERANCE_NM]
