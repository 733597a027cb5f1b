"""Similarity of environments by their covariates: the linear and the Gaussian environment kernel.

How a model uses them (G×E as Kronecker terms with the lines' relationship) belongs in `models/`. New environments are
held against those of training with the training's means, deviations and bandwidth, in batch and serving alike.
Axes: E training environments, A any environments, W covariates used.
References: Jarquín et al. 2014, Theor. Appl. Genet. 127:595-607; Costa-Neto et al. 2021, Heredity 126:92-106.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from genomic_platform.errors import Problem, ProgramError
from genomic_platform.phenotypes.standardise import Standardisation, some

KERNELS = ("linear", "gaussian")


@dataclass(frozen=True)
class EnvironmentCovariates:
    """The covariates of the training environments, standardised, and everything needed to add new ones.

    Attributes
    ----------
    environments : names, in the order of `w_EW`.
    standardisation : covariates used, with their training means and deviations, and why others were dropped.
    w_EW : standardised covariates of the training environments.
    median_distance : median over pairs of training environments that differ of Σ_w (w_i − w_j)², the Gaussian
        kernel's scale.
    """

    environments: tuple[str, ...]
    standardisation: Standardisation
    w_EW: np.ndarray
    median_distance: float

    @classmethod
    def of(cls, features: pl.DataFrame, names: Sequence[str] | None = None) -> EnvironmentCovariates:
        """Learn from the environments of `features`, all of them known at the season.

        Parameters
        ----------
        features : contract ENVIRONMENT_FEATURES or ENVIRONMENT_RECORDS; `value` is used, a column `standardised` not.
        names : covariates that may be used, such as those known before harvest; None = all. Constant ones and those
            missing in an environment are dropped.

        Raises
        ------
        ProgramError : no covariate is left, a name is not among the covariates, or there is one environment only.
        """
        environments, found, values_EQ = wide(features)
        if len(environments) < 2:
            raise ProgramError(f"covariates of {len(environments)} environment; expected at least two; repair: leave "
                               "out the environment term, or train over more seasons or locations")
        if unknown := sorted(set(names or ()) - set(found)):
            raise ProgramError(f"no covariate {', '.join(unknown)}; expected some of {', '.join(found[:8])}"
                               f"{', …' if len(found) > 8 else ''}")
        chosen = [k for k, name in enumerate(found) if names is None or name in set(names)]
        standardisation = Standardisation.of(values_EQ[:, chosen], [found[k] for k in chosen])
        left = dict.fromkeys(set(found) - {found[k] for k in chosen}, "not chosen")
        standardisation = replace(standardisation, dropped=standardisation.dropped | left)
        w_EW = standardisation.apply(values_EQ, found, environments)
        distances = squared_distance(w_EW, w_EW)[np.triu_indices(len(environments), k=1)]
        return cls(environments, standardisation, w_EW, float(np.median(distances[distances > 0])))

    def as_dict(self) -> dict[str, Any]:
        """Everything as JSON values, for a model's folder; floats come back to the bit."""
        return {"environments": list(self.environments), "median_distance": self.median_distance,
                "covariates": list(self.standardisation.names), "dropped": self.standardisation.dropped,
                "mean": self.standardisation.mean_W.tolist(), "sd": self.standardisation.sd_W.tolist(),
                "standardised": self.w_EW.tolist()}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> EnvironmentCovariates:
        """What `as_dict` gave."""
        standardisation = Standardisation(tuple(saved["covariates"]), np.array(saved["mean"]), np.array(saved["sd"]),
                                          dict(saved["dropped"]))
        return cls(tuple(saved["environments"]), standardisation, np.array(saved["standardised"]),
                   saved["median_distance"])

    def standardised(self, features: pl.DataFrame) -> tuple[tuple[str, ...], np.ndarray]:
        """Environments of `features` and their covariates, shape (A, W), by the training's standardisation.

        Raises
        ------
        ProgramError : a covariate never seen in training, or one of training that is absent or missing; named.
        """
        environments, names, values_AQ = wide(features)
        return environments, self.standardisation.apply(values_AQ, names, environments)

    def problems(self, features: pl.DataFrame) -> list[Problem]:
        """What keeps environments from being held against those of training: covariates that training never saw, and of
        environments that are new those of training that are absent or no number."""
        names, found, values_AQ = wide(features)
        used = self.standardisation
        unseen = [Problem("environments", f"covariates of the training, {some(used.names)}",
                          "one that training never saw", "leave it out, or train with it", field=f"covariate {name}")
                  for name in found if name not in used.names and name not in used.dropped]
        at = {name: values_AQ[:, k] for k, name in enumerate(found)}
        lost = [Problem("environments", "a number, since the model was trained with it", "absent" if name not in at else
                        "missing or infinite", "complete the records, or train without it",
                        field=f"covariate {name} of {environment}")
                for a, environment in enumerate(names) if environment not in self.environments
                for name in used.names if name not in at or not np.isfinite(at[name][a])]
        return unseen + lost

    def kernel(self, kind: str = "linear", a_AW: np.ndarray | None = None, b_BW: np.ndarray | None = None,
               bandwidth: float = 1.0) -> np.ndarray:
        """Similarity of environments A with environments B; None = the training environments.

        Parameters
        ----------
        kind : `linear` or `gaussian`. a_AW, b_BW : from `standardised`. bandwidth : of the Gaussian kernel; smaller =
            environments further apart still resemble each other.

        Returns
        -------
        Shape (A, B). linear: a b′ / W (Jarquín et al. 2014, Ω = W W′ / q). gaussian: exp(−bandwidth × d² / median d²)
        (Costa-Neto et al. 2021), the median over pairs of training environments that differ.
        """
        a_AW, b_BW = (self.w_EW if x is None else x for x in (a_AW, b_BW))
        if kind == "linear":
            return a_AW @ b_BW.T / self.w_EW.shape[1]
        if kind == "gaussian":
            return np.exp(-bandwidth * squared_distance(a_AW, b_BW) / self.median_distance)
        raise ProgramError(f"environment kernel is '{kind}'; expected one of {', '.join(KERNELS)}")


def wide(features: pl.DataFrame) -> tuple[tuple[str, ...], tuple[str, ...], np.ndarray]:
    """Environments (sorted), covariates (sorted) and values, shape (E, Q), NaN where an environment has no value."""
    key = "feature" if "feature" in features.columns else "variable"
    names = features[key].unique().sort().to_list()
    table = features.pivot(key, index="environment", values="value").sort("environment")
    values_EQ = table.select(pl.col(names).fill_null(np.nan)).to_numpy() if names else np.zeros((table.height, 0))
    return tuple(table["environment"]), tuple(names), values_EQ.astype(np.float64)


def squared_distance(a_AW: np.ndarray, b_BW: np.ndarray) -> np.ndarray:
    """Σ_w (a_w − b_w)² of every pair, shape (A, B), not below 0."""
    return np.maximum((a_AW**2).sum(axis=1)[:, None] + (b_BW**2).sum(axis=1)[None, :] - 2 * a_AW @ b_BW.T, 0.0)
