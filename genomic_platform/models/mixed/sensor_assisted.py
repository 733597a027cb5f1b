"""Values of lines from markers, from canopy reflectance measured on their plots, or from both.

y = μ + G + H + e, Var(G) = σ² K of markers, Var(H) = σ² S S' / B of B standardised bands (`phenotypes.reflectance`).
Reflectance is measured where the lines stand: values with it are called sensor-assisted and say nothing of lines that
are not grown. Axes: L lines. Reference: Krause et al. 2019, G3 9:1231-1247.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from genomic_platform.errors import ProgramError
from genomic_platform.models.mixed.model import MixedFit, fit_mixed
from genomic_platform.models.mixed.terms import Term

SENSOR_ASSISTED, FROM_MARKERS = "sensor-assisted", "markers"


@dataclass(frozen=True, eq=False)
class SensorAssisted:
    """A fitted model and its values.

    Attributes
    ----------
    fit : components, notices. values : line_id, value (deviation from the mean), reliability, predicted (with the mean,
        trait's unit), basis (`sensor-assisted` | `markers`), trained.
    """

    fit: MixedFit
    values: pl.DataFrame


def fit_sensor_assisted(lines: Sequence[str], y_L: np.ndarray, relationship_LL: np.ndarray | None = None,
                        reflectance_LL: np.ndarray | None = None) -> SensorAssisted:
    """Fit the lines that have a value, predict all.

    Parameters
    ----------
    y_L : line means, trait's unit; NaN = to be predicted. relationship_LL : K. reflectance_LL : kernel of bands of all
        lines, those to be predicted included. None = without that term.

    Raises
    ------
    ProgramError : neither K nor a kernel of bands, or one that does not fit the lines.
    """
    terms = [Term(name, {"line": kernel_LL}) for name, kernel_LL in
             (("markers", relationship_LL), ("reflectance", reflectance_LL)) if kernel_LL is not None]
    if not terms:
        raise ProgramError("expected a relationship, a kernel of reflectance or both; found neither")
    everyone = {"line": np.arange(len(lines))}
    for term in terms:
        term.check(everyone)
    trained_L = ~np.isnan(y_L)
    fit = fit_mixed(y_L[trained_L], terms, {"line": np.flatnonzero(trained_L)})
    found = fit.predict(everyone)
    basis = FROM_MARKERS if reflectance_LL is None else SENSOR_ASSISTED
    return SensorAssisted(fit, pl.DataFrame({
        "line_id": lines, "value": found.value_Q, "reliability": found.reliability_Q,
        "predicted": fit.effect_F[0] + found.value_Q, "basis": [basis] * len(lines), "trained": trained_L}))
