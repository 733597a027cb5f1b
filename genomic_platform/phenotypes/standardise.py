"""Covariates centred and scaled as in training: of environments and canopies, in training, batch and serving alike.

What the covariates are belongs elsewhere (`weather_features`, `reflectance`), and so do the kernels made of them.
Axes: N rows (environments or lines), Q covariates given, W covariates used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genomic_platform.errors import ProgramError

#: A standard deviation below this share of the mean's size is rounding, not variation.
CONSTANT = 1e-10


@dataclass(frozen=True)
class Standardisation:
    """Means and standard deviations (n − 1) of training, applied to any rows afterwards.

    Attributes
    ----------
    names : covariates used, in training order.
    mean_W, sd_W : of the training rows, in each covariate's unit.
    dropped : covariates of training that are not used, and why (`constant`, or `missing` with the number of rows).
    """

    names: tuple[str, ...]
    mean_W: np.ndarray
    sd_W: np.ndarray
    dropped: dict[str, str]

    @classmethod
    def of(cls, values_NQ: np.ndarray, names: Sequence[str]) -> Standardisation:
        """Learn from the training rows; covariates that are constant, or missing (NaN) in a row, are dropped.

        Parameters
        ----------
        values_NQ : training rows × covariates, in the covariates' units; NaN = missing.
        names : one distinct name a covariate.

        Raises
        ------
        ProgramError : names and columns differ in number, a name comes twice, a value is infinite, or no covariate
            is left.
        """
        values_NQ = _checked(values_NQ, names)
        gaps_Q = np.isnan(values_NQ).sum(axis=0)
        complete_Q = gaps_Q == 0
        mean_Q, sd_Q = np.zeros(len(names)), np.zeros(len(names))
        mean_Q[complete_Q] = values_NQ[:, complete_Q].mean(axis=0)
        if len(values_NQ) > 1:
            sd_Q[complete_Q] = values_NQ[:, complete_Q].std(axis=0, ddof=1)
        used_Q = sd_Q > CONSTANT * np.abs(mean_Q)
        dropped = {name: f"missing in {gaps} of {len(values_NQ)}" if gaps else "constant"
                   for name, gaps, used in zip(names, gaps_Q, used_Q, strict=True) if not used}
        if not used_Q.any():
            said = "; ".join(f"{name}: {why}" for name, why in list(dropped.items())[:5])
            raise ProgramError(f"no covariate varies over the {len(values_NQ)} training rows and is known in all of "
                               f"them ({said or 'none was given'}); expected at least one; repair: give more "
                               "environments or lines, or fill the missing values")
        kept = tuple(name for name, used in zip(names, used_Q, strict=True) if used)
        return cls(kept, mean_Q[used_Q], sd_Q[used_Q], dropped)

    def apply(self, values_NQ: np.ndarray, names: Sequence[str], rows: Sequence[str] | None = None) -> np.ndarray:
        """Standardised covariates of any rows, shape (N, W), by the training's means and deviations.

        Columns are found by name, in any order; those dropped in training are left out again. `rows` names the rows
        in what an error says.

        Raises
        ------
        ProgramError : a covariate never seen in training, one that training used and that is not here, or a value
            of one that is missing or infinite.
        """
        values_NQ = _checked(values_NQ, names)
        self._require_known(names)
        at = {name: k for k, name in enumerate(names)}
        values_NW = values_NQ[:, [at[name] for name in self.names]]
        if np.isnan(values_NW).any():
            row, k = np.argwhere(np.isnan(values_NW))[0]
            where = rows[row] if rows is not None else f"row {row + 1} of {len(values_NW)}"
            raise ProgramError(f"covariate {self.names[k]} is missing in {where}; expected a value, since the model "
                               "was trained with it; repair: complete the records, or train without it")
        # One memory layout, since sums over another one differ in their last bits.
        return np.ascontiguousarray((values_NW - self.mean_W) / self.sd_W)

    def _require_known(self, names: Sequence[str]) -> None:
        if unseen := sorted(set(names) - set(self.names) - set(self.dropped)):
            raise ProgramError(f"covariates never seen in training: {some(unseen)}; expected those of the "
                               f"training, {some(self.names)}; repair: leave them out, or train with them")
        if absent := [name for name in self.names if name not in set(names)]:
            raise ProgramError(f"covariates of the training are absent: {some(absent)}; found {some(names)}; "
                               "repair: make the features with the windows and variables of the training")


def _checked(values_NQ: np.ndarray, names: Sequence[str]) -> np.ndarray:
    values_NQ = np.asarray(values_NQ, dtype=np.float64)
    if values_NQ.ndim != 2 or values_NQ.shape[1] != len(names) or len(set(names)) != len(names):
        raise ProgramError(f"covariates have shape {values_NQ.shape} and {len(set(names))} distinct names; expected "
                           "rows × covariates with one name each")
    if np.isinf(values_NQ).any():
        k = int(np.isinf(values_NQ).any(axis=0).argmax())
        raise ProgramError(f"covariate {names[k]} holds an infinite value; expected finite numbers or NaN for missing")
    return values_NQ


def some(names: Sequence[str], shown: int = 5) -> str:
    """The first few names, and how many there are, as a message says them."""
    return ", ".join(names[:shown]) + (f", … ({len(names)})" if len(names) > shown else "") if names else "none"
