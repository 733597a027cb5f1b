"""What a network sees of a line, and how its gradient becomes marker effects.

    scores        the line in the principal axes of the panel's relationship: distances among panel lines, few inputs
    neighbours    the same, beside the means of the line's nearest relatives
    markers       standardised dosages, from packed calls

Scores of lines outside the panel are those of their part that the panel spans, as in GBLUP. Axes: P panel lines,
Q lines, R axes, M markers, T traits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

import numpy as np

from genomic_platform.genotypes.kinship.relationship import cross_relationship
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.markers import marker_sums

if TYPE_CHECKING:
    import torch

    from genomic_platform.models.networks.feeds import Feed

#: Axes whose eigenvalue is below this share of the largest are numerical noise.
_NULL_AXIS = 1e-6


class Reference(Protocol):
    """What lines are held against: the panel, and what its relationship is centred on and divided by."""

    @property
    def panel(self) -> GenotypeTable: ...

    @property
    def frequencies_M(self) -> np.ndarray: ...

    @property
    def scale(self) -> float: ...


class Inputs(Protocol):
    """Inputs of lines, and back from inputs to markers."""

    @property
    def n_inputs(self) -> int:
        """R."""
        ...

    def feed(self, lines: GenotypeTable, additive: Reference, device: torch.device,
             resident_bytes: int) -> Feed:
        """Inputs of all lines of a table that has the panel's markers."""
        ...

    def effects(self, gradient_RT: np.ndarray, additive: Reference) -> np.ndarray:
        """Effects of one more ALT allele, (M, T), from the gradient in the inputs."""
        ...

    def arrays(self) -> dict[str, np.ndarray]:
        """What must be saved."""
        ...


@dataclass(frozen=True, eq=False)
class ScoreInputs:
    """z_q = K_qP B with B = U Λ^−½ of K_PP = U Λ U', so that |z_i − z_j|² = K_ii + K_jj − 2 K_ij in the panel.

    Attributes
    ----------
    score_PR : U Λ^½, the panel's lines, float32.
    """

    score_PR: np.ndarray
    blocks: ClassVar[int] = 1

    @classmethod
    def of_panel(cls, relationship_PP: np.ndarray) -> Self:
        """From one eigendecomposition."""
        return cls(principal_scores(relationship_PP))

    @property
    def n_inputs(self) -> int:
        return self.blocks * self.score_PR.shape[1]

    @property
    def basis_PR(self) -> np.ndarray:
        score_PR = self.score_PR.astype(np.float64)
        return score_PR / (score_PR**2).sum(axis=0)

    def feed(self, lines: GenotypeTable, additive: Reference, device: torch.device,
             resident_bytes: int) -> Feed:
        from genomic_platform.models.networks.feeds import DenseFeed

        cross_QP = cross_relationship(lines, additive.panel, additive.frequencies_M, additive.scale)
        return DenseFeed(self.of(cross_QP, lines, additive), device)

    def of(self, cross_QP: np.ndarray, lines: GenotypeTable, additive: Reference) -> np.ndarray:
        """Inputs (Q, blocks × R) of lines by their relationship with the panel's."""
        return cross_QP @ self.basis_PR

    def effects(self, gradient_RT: np.ndarray, additive: Reference) -> np.ndarray:
        """A change of the line's alleles is taken to change its relatives' too: blocks add up."""
        whole_RT = gradient_RT.reshape(self.blocks, -1, gradient_RT.shape[1]).sum(axis=0)
        return marker_sums(additive.panel, additive.frequencies_M, self.basis_PR @ whole_RT / additive.scale)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"score_PR": self.score_PR}


@dataclass(frozen=True, eq=False)
class NeighbourInputs(ScoreInputs):
    """[z, Sz, S²z]: S averages over the nearest relatives in the panel, a line itself left out, by weight K_ij > 0.

    Propagation comes before learning (Frasca et al. 2020, SIGN, arXiv:2004.11198). A line that is not of the panel is
    attached to its nearest panel lines, whose own values do not change.

    Attributes
    ----------
    propagated_PR : Sz of the panel's lines, float32. neighbours : nearest relatives of a line.
    """

    propagated_PR: np.ndarray
    neighbours: int
    blocks: ClassVar[int] = 3

    @classmethod
    def of_relatives(cls, relationship_PP: np.ndarray, neighbours: int) -> NeighbourInputs:
        score_PR = principal_scores(relationship_PP)
        weight_PP = neighbour_weights(relationship_PP, np.arange(len(relationship_PP)), neighbours)
        return cls(score_PR, (weight_PP @ score_PR).astype(np.float32), neighbours)

    def of(self, cross_QP: np.ndarray, lines: GenotypeTable, additive: Reference) -> np.ndarray:
        row_of = {line: i for i, line in enumerate(additive.panel.lines)}
        own_Q = np.array([row_of.get(line, -1) for line in lines.lines])
        weight_QP = neighbour_weights(cross_QP, own_Q, self.neighbours)
        return np.hstack([super().of(cross_QP, lines, additive), weight_QP @ self.score_PR,
                          weight_QP @ self.propagated_PR])

    def arrays(self) -> dict[str, np.ndarray]:
        return {"score_PR": self.score_PR, "propagated_PR": self.propagated_PR}


@dataclass(frozen=True, eq=False)
class MarkerInputs:
    """(x − 2p) / √scale of every marker, a missing call 0: their product over lines is the relationship."""

    n_inputs: int

    def feed(self, lines: GenotypeTable, additive: Reference, device: torch.device,
             resident_bytes: int) -> Feed:
        from genomic_platform.models.networks.feeds import marker_feed

        return marker_feed(lines, np.arange(lines.n_lines), additive.frequencies_M, additive.scale, device,
                           resident_bytes)

    def effects(self, gradient_RT: np.ndarray, additive: Reference) -> np.ndarray:
        return gradient_RT / np.sqrt(additive.scale)

    def arrays(self) -> dict[str, np.ndarray]:
        return {}


def line_inputs(panel: GenotypeTable, relationship_PP: np.ndarray, most_axes: int) -> Inputs:
    """Scores, or markers where the panel has more lines than `most_axes` or than markers."""
    if panel.n_lines > min(most_axes, panel.n_variants):
        return MarkerInputs(panel.n_variants)
    return ScoreInputs.of_panel(relationship_PP)


def saved_line_inputs(arrays: Mapping[str, np.ndarray], panel: GenotypeTable) -> Inputs:
    """`line_inputs` again from what they saved."""
    return ScoreInputs(**arrays) if arrays else MarkerInputs(panel.n_variants)


def principal_scores(relationship_PP: np.ndarray) -> np.ndarray:
    """U Λ^½, axes with the largest variance last, float32."""
    value_P, vector_PP = np.linalg.eigh(relationship_PP)
    kept = value_P > _NULL_AXIS * value_P[-1]
    return (vector_PP[:, kept] * np.sqrt(value_P[kept])).astype(np.float32)


def neighbour_weights(cross_QP: np.ndarray, own_Q: np.ndarray, neighbours: int) -> np.ndarray:
    """S: each line's `neighbours` largest relationships above 0 with other panel lines, each row summing to 1 (or 0).

    `own_Q` : the line's own place in the panel, −1 = none.
    """
    others_QP = cross_QP.copy()
    at = np.flatnonzero(own_Q >= 0)
    others_QP[at, own_Q[at]] = 0.0
    nearest_QC = np.argsort(-others_QP, axis=1, kind="stable")[:, :neighbours]
    weight_QC = np.maximum(np.take_along_axis(others_QP, nearest_QC, axis=1), 0.0)
    total_Q1 = weight_QC.sum(axis=1, keepdims=True)
    weight_QP = np.zeros_like(cross_QP)
    np.put_along_axis(weight_QP, nearest_QC, np.divide(weight_QC, total_Q1, out=np.zeros_like(weight_QC),
                                                       where=total_Q1 > 0), axis=1)
    return weight_QP
