"""Clusters of related lines, where nobody says which families they are of.

Axes: N lines.
"""

from __future__ import annotations

import numpy as np

#: Relationship (as a correlation) from which lines count as kin: half sibs of unrelated parents have 0.25.
KIN = 0.25


def correlations(matrix_NN: np.ndarray) -> np.ndarray:
    """A relationship matrix scaled to a diagonal of one."""
    sd_N = np.sqrt(np.maximum(np.diagonal(matrix_NN), 1e-12))
    return matrix_NN / sd_N[:, None] / sd_N[None, :]


def relationship_clusters(matrix_NN: np.ndarray) -> np.ndarray:
    """Cluster numbers from 0, int64 (N,): average linkage, cut where lines' mean correlation falls below KIN."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(matrix_NN) < 2:
        return np.zeros(len(matrix_NN), dtype=np.int64)
    mean_N = matrix_NN.mean(axis=0)
    centred_NN = matrix_NN - mean_N[:, None] - mean_N[None, :] + mean_N.mean()
    distance_NN = np.maximum(1 - correlations(centred_NN), 0)
    tree = linkage(squareform(distance_NN, checks=False), method="average")
    return fcluster(tree, 1 - KIN, criterion="distance").astype(np.int64) - 1
