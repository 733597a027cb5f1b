"""Average effects of markers from trees, which have no gradient: slopes of what each feature adds to a line's value.

Axes: N training lines, M markers, R components, C chosen markers, F = R + C features, K members.
References: Fisher 1918, Trans. R. Soc. Edinb. 52:399 (average effect); Lundberg et al. 2020, Nat. Mach. Intell. 2:56.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models import markers
from genomic_platform.models.trees.boosting import contributions, read_booster
from genomic_platform.models.trees.fitted import TraitTrees, features
from genomic_platform.models.trees.inputs import Structure


class AverageEffects(NamedTuple):
    """Effects (M,) of one more ALT allele, trait's unit; squared correlation of their sum with f; markers split on."""

    effect_M: np.ndarray
    share: float
    n_markers_used: int


def average_effects(own: TraitTrees, training: GenotypeTable, score_NR: np.ndarray, structure: Structure,
                    frequencies_M: np.ndarray) -> AverageEffects:
    """b_m = slope on x_m of its SHAP values over the training lines, plus Σ_r l_mr × the slope of component r's on z_r.

    The index Σ_m (x_m − 2p_m) b_m is then scaled so that f regresses on it with slope one, as the kernels' is.
    """
    n_components = score_NR.shape[1]
    effect_M, slope_R = np.zeros(len(frequencies_M)), np.zeros(n_components)
    used_M = np.zeros(len(frequencies_M), dtype=bool)
    for text, chosen_C in zip(own.texts, own.chosen_KC, strict=True):
        features_NF = features(training, score_NR, chosen_C, frequencies_M)
        added_NF = contributions(read_booster(text), features_NF)
        slope_F = _slopes(features_NF.astype(np.float64), added_NF)
        slope_R += slope_F[:n_components]
        effect_M[chosen_C] += slope_F[n_components:]
        used_M[chosen_C] |= added_NF[:, n_components:].any(axis=0)
    effect_M += structure.loadings_MR @ slope_R
    index_N = markers.line_sums(training, frequencies_M, effect_M[:, None])[:, 0]
    f_N = own.values(training, score_NR, frequencies_M)
    covariance_22 = np.cov(f_N, index_N)
    if covariance_22[0, 1] <= 0:
        return AverageEffects(np.zeros_like(effect_M), 0.0, int(used_M.sum()))
    share = covariance_22[0, 1] ** 2 / (covariance_22[0, 0] * covariance_22[1, 1])
    return AverageEffects(effect_M * covariance_22[0, 1] / covariance_22[1, 1], float(min(share, 1.0)),
                          int(used_M.sum()))


def _slopes(x_NF: np.ndarray, y_NF: np.ndarray) -> np.ndarray:
    """Least-squares slope of each column of y on the column of x; 0 where x does not vary."""
    x_NF = x_NF - x_NF.mean(axis=0)
    square_F = (x_NF**2).sum(axis=0)
    return np.divide((x_NF * y_NF).sum(axis=0), square_F, out=np.zeros_like(square_F), where=square_F > 0)
