"""Random terms: how the effects of a term covary between records, given the lines and environments records belong to.

A term has a kernel for each classification it acts through; the covariance of two records is the product of the kernels
at their levels. With one kernel that is Z K Z', with two the Hadamard product Z_g K Z_g' ∘ Z_e W Z_e' of Jarquín et al.
2014, which is the Kronecker product K ⊗ W where every line stands in every environment.

    additive, dominance, Gaussian    relationship(table, "vanraden1" | "dominance" | "gaussian").matrix_NN
    unrelated levels                 numpy.eye(n)
    family                           same_group(families)
    environments by covariates       a kernel of environments, such as WW' / q

Axes: N records, Q points (records or what is to be predicted), L levels.
Reference: Jarquín et al. 2014, Theor. Appl. Genet. 127:595-607.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genomic_platform.errors import ProgramError

#: Level of each point in every classification, such as {"line": line_N, "environment": environment_N}, integers.
Points = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Term:
    """A random term.

    Attributes
    ----------
    name : as reports show it. kernels : classification → covariance of its levels, shape (L, L), symmetric, positive
        semi-definite; levels without records may be predicted.
    """

    name: str
    kernels: Mapping[str, np.ndarray]

    def covariance(self, left: Points, right: Points) -> np.ndarray:
        """Covariance of two sets of points in units of the term's component."""
        parts = [kernel_LL[np.ix_(left[by], right[by])] for by, kernel_LL in self.kernels.items()]
        product = parts[0]
        for part in parts[1:]:
            product *= part
        return product

    def own(self, points: Points) -> np.ndarray:
        """Variance of each point in units of the term's component, shape (Q,)."""
        parts = [np.diagonal(kernel_LL)[points[by]] for by, kernel_LL in self.kernels.items()]
        return np.prod(parts, axis=0)

    def check(self, points: Points) -> None:
        """Raise ProgramError where a kernel cannot belong to these points."""
        if not self.kernels:
            raise ProgramError(f"term {self.name} has no kernel; expected at least one")
        for by, kernel_LL in self.kernels.items():
            if by not in points:
                raise ProgramError(f"term {self.name} acts through '{by}'; found points by {', '.join(points)}")
            levels = int(points[by].max(initial=-1)) + 1
            if kernel_LL.ndim != 2 or kernel_LL.shape[0] != kernel_LL.shape[1] or len(kernel_LL) < levels:
                raise ProgramError(f"term {self.name}: kernel of '{by}' has shape {kernel_LL.shape}; expected a square "
                                   f"one of at least {levels} levels")
            if points[by].min(initial=0) < 0:
                raise ProgramError(f"term {self.name}: a point has a level of '{by}' below 0")
            if not np.isfinite(kernel_LL).all():
                raise ProgramError(f"term {self.name}: kernel of '{by}' holds NaN or infinite values; expected finite "
                                   "ones: complete the markers or covariates it is made of")
            if not np.allclose(kernel_LL, kernel_LL.T, rtol=0.0, atol=1e-6 * np.abs(kernel_LL).max(initial=0.0)):
                raise ProgramError(f"term {self.name}: kernel of '{by}' is not symmetric")


def same_group(labels: Sequence[str | None]) -> np.ndarray:
    """1 where two levels have the same label, 0 elsewhere, shape (L, L); a level without a label is alone."""
    named = np.array([f"\t{i}" if label is None else label for i, label in enumerate(labels)])
    return (named[:, None] == named[None, :]).astype(float)
