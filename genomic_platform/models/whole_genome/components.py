"""REML of two components from quadratic forms of data and of simulated data: no trace, no determinant.

V = σ²g K + σ²x I + R: σ²x is the line residual where R is known, else the error (R = 0). With d = Py and
q = (d'Kd, d'd) the gradient is ½ (q(y) − E q(y*)), y* simulated at the components, since E y*'PV_iPy* = tr(PV_i), and
¼ Cov q(y*) is the expected information, since Cov = 2 tr(PV_iPV_j). With S sets simulated the estimates are off by
1/√S of their own standard errors. The same normal deviates serve every step, so that steps converge.
References: García-Cortés et al. 1992, J. Anim. Breed. Genet. 109:358-363; Loh et al. 2015, Nat. Genet. 47:1385-1392;
Johnson & Thompson 1995, J. Dairy Sci. 78:449-456. Axes: N lines, C = 1 + S columns, the first the data's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from genomic_platform.models.reml import bounded_step

#: Log likelihood that a step must promise for another to follow it: below, estimates are within a seventh of their
#: standard errors of where the steps lead, and this last one is taken.
LEAST_GAIN = 0.01
#: A step leaves at least this share of a component, and below `SMALLEST` of the variance of y σ²g becomes 0.
_LEAST_LEFT = 0.125
SMALLEST = 1e-4


class Step(NamedTuple):
    """Components (σ²g, σ²x) after a step, and the log likelihood it promised."""

    theta: np.ndarray
    gain: float


def next_components(theta: np.ndarray, dual_NC: np.ndarray, image_NC: np.ndarray, variance: float,
                    errors_known: bool) -> Step:
    """A step of scoring from `theta`.

    Parameters
    ----------
    dual_NC : P y and P y*. image_NC : K times it. variance : of y.
    errors_known : σ²x may be 0.
    """
    forms_2C = np.stack([np.einsum("nc,nc->c", dual_NC, image_NC), np.einsum("nc,nc->c", dual_NC, dual_NC)])
    gradient = 0.5 * (forms_2C[:, 0] - forms_2C[:, 1:].mean(axis=1))
    information_22 = 0.25 * np.cov(forms_2C[:, 1:])
    step, gain = bounded_step(information_22, gradient, theta)
    moved = np.maximum(theta + step, _LEAST_LEFT * theta)
    if errors_known:
        moved[1] = theta[1] + step[1]
    moved[1] = max(moved[1], 0.0 if errors_known else SMALLEST * variance)
    if moved[0] < SMALLEST * variance:
        moved[0] = 0.0
    return Step(moved, gain)
