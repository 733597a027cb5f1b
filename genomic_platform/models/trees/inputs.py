"""What trees see of a line: scores in the population structure of the training lines, and chosen markers.

Axes: P panel lines, N training lines, Q lines to predict, M markers, R components, C chosen markers, K inner folds.
Reference: Patterson, Price & Reich 2006, PLoS Genet. 2:e190 (components and their projection).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from genomic_platform.genotypes.population.structure import principal_components
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models import markers

#: Components whose eigenvalue is below this share of the largest are numerical noise.
_NULL = 1e-6


@dataclass(frozen=True, eq=False)
class Structure:
    """z_q = Σ_m (x_qm − 2p_m) l_m − s: principal components of the training lines, any other line projected on them.

    With K = UΛU' of the training lines, centred on them, L = X'UΛ^−½ / scale, so that z of these is UΛ^½.

    Attributes
    ----------
    loadings_MR : L. shift_R : the training lines' mean.
    """

    loadings_MR: np.ndarray
    shift_R: np.ndarray

    @classmethod
    def of_training(cls, panel: GenotypeTable, rows_N: np.ndarray, relationship_PP: np.ndarray,
                    frequencies_M: np.ndarray, scale: float, n_components: int) -> Self:
        """Of the panel's lines at `rows_N`; no component where these are fewer than two."""
        if len(rows_N) < 2:
            return cls(np.zeros((panel.n_variants, 0)), np.zeros(0))
        k_NN = relationship_PP[np.ix_(rows_N, rows_N)]
        n_components = min(n_components, len(rows_N))
        scores = principal_components(k_NN, [panel.lines[row] for row in rows_N], n_components)
        place = {panel.lines[row]: i for i, row in enumerate(rows_N)}
        score_NR = np.zeros((len(rows_N), n_components))
        score_NR[[place[line] for line in scores["line_id"]], scores["component"].to_numpy() - 1] = scores["score"]
        value_R = (score_NR**2).sum(axis=0)
        kept_R = value_R > _NULL * max(value_R.max(initial=0.0), _NULL)
        basis_NR = score_NR[:, kept_R] / value_R[kept_R]
        weights_PR = np.zeros((panel.n_lines, int(kept_R.sum())))
        weights_PR[rows_N] = basis_NR / scale
        return cls(markers.marker_sums(panel, frequencies_M, weights_PR), k_NN.mean(axis=0) @ basis_NR)

    def scores(self, lines: GenotypeTable, frequencies_M: np.ndarray) -> np.ndarray:
        """z, shape (Q, R)."""
        return markers.line_sums(lines, frequencies_M, self.loadings_MR) - self.shift_R


def top_markers(panel: GenotypeTable, frequencies_M: np.ndarray, weights_PK: np.ndarray, most: int) -> np.ndarray:
    """Per column of weights, the `most` markers that explain most of an additive value, ascending, (K, C).

    By û² p(1 − p) with û = X'w, GBLUP's marker effects for w = V⁻¹(y − 1μ̂) up to a factor (Strandén & Garrick 2009,
    J. Dairy Sci. 92:2971-2975, eq. 5). Markers that do not vary are never chosen.
    """
    explained_MK = markers.marker_sums(panel, frequencies_M, weights_PK) ** 2 \
        * (frequencies_M * (1 - frequencies_M))[:, None]
    most = min(most, int(np.count_nonzero(frequencies_M * (1 - frequencies_M))))
    return np.sort(np.argsort(-explained_MK, axis=0, kind="stable")[:most].T, axis=1)


def chosen_dosages(lines: GenotypeTable, chosen_C: np.ndarray, frequencies_M: np.ndarray) -> np.ndarray:
    """x − 2p of some markers (ascending), float32 (Q, C); a missing call is 0."""
    return markers.centred(lines.dosages(chosen_C), frequencies_M[chosen_C]).astype(np.float32)
