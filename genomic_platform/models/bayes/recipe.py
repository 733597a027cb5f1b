"""The recipes `bayes_b`, `bayes_c_pi`, `bayes_r` and `bayesian_lasso`: chains of every trait, then a fitted model.

Their equations are in `priors`, the sampler in `gibbs`. Axes: P panel lines, N training lines, M markers, S draws.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl

from genomic_platform.errors import ProgramError
from genomic_platform.models import markers
from genomic_platform.models.bayes import gibbs, priors
from genomic_platform.models.bayes.diagnostics import effective_size, r_hat
from genomic_platform.models.bayes.priors import Expectation, Prior
from genomic_platform.models.blup import VarianceComponents
from genomic_platform.models.marker_fit import TraitEffects, fitted_marker_model, marker_scale, values_alone
from genomic_platform.models.marker_model import FittedMarkerModel
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.models.search.space import Range, Real
from genomic_platform.models.trait_fit import TraitData, trait_data

#: Above this R-hat the summary says that the chains should be longer (Vehtari et al. 2021 name 1.01 for publication,
#: Gelman & Rubin 1992 1.1): predictions settle long before the components do.
LARGEST_R_HAT = 1.05
MONITORED = ("error_variance", "genetic_variance", "log_likelihood")


@dataclass(frozen=True)
class BayesRecipe(ABC):
    """A Bayesian regression on all markers.

    Attributes
    ----------
    chains, burn_in, iterations : see `Chains`. r2 : share of the variance between lines expected from markers, 0–1.
    df : degrees of freedom of every scaled inverse-χ² prior.
    """

    chains: int = 2
    burn_in: int = 1000
    iterations: int = 3000
    r2: float = 0.5
    df: float = 5.0

    name: ClassVar[str]
    code_version: ClassVar[str] = "1"
    space: ClassVar[Mapping[str, Range]] = {"r2": Real(0.1, 0.9)}

    def __post_init__(self) -> None:
        if self.chains < 1 or self.burn_in < 0 or self.iterations < 4 * gibbs.THIN:
            raise ProgramError(f"{self.name}: {self.chains} chains of {self.burn_in} + {self.iterations} iterations; "
                               f"expected at least one chain, and {4 * gibbs.THIN} iterations after the burn-in")
        if not 0 < self.r2 < 1 or self.df <= 0:
            raise ProgramError(f"{self.name}: r2 is {self.r2}, df {self.df}; expected r2 between 0 and 1, df above 0")

    @abstractmethod
    def prior(self, known: Expectation) -> Prior:
        """Hyperparameters of a trait."""

    def fit(self, training_set: TrainingSet, *, seed: int = 0, device: str = "cpu",
            checkpoint: Path | None = None) -> FittedMarkerModel:
        """Train on all traits; equal seeds give equal bits. `device` and `checkpoint` change nothing.

        A trait that is constant or has fewer than five genotyped lines, and any trait where no marker varies, gets
        values 0 with reliability 0, and the summary says so.
        """
        panel = training_set.genotypes
        frequencies_M = markers.panel_frequencies(panel)
        return fitted_marker_model(self.name, self.code_version, {k: str(v) for k, v in asdict(self).items()},
                                   training_set.season, panel, frequencies_M,
                                   self._effects(training_set, frequencies_M, seed))

    def fit_values(self, training_set: TrainingSet, seed: int = 0) -> pl.DataFrame:
        """The same chains, and of them the panel's values alone, for cross-validation: see `values_alone`."""
        frequencies_M = markers.panel_frequencies(training_set.genotypes)
        return values_alone(training_set.genotypes, frequencies_M,
                            self._effects(training_set, frequencies_M, seed))

    def _effects(self, training_set: TrainingSet, frequencies_M: np.ndarray, seed: int) -> Iterator[TraitEffects]:
        codes_MP = gibbs.marker_codes(training_set.genotypes, frequencies_M)
        for data in trait_data(training_set.means, training_set.genotypes.lines):
            columns = gibbs.columns_of(codes_MP, frequencies_M, data) if data.status == "fitted" else None
            if columns is None or not columns.square_M.any():
                yield TraitEffects.none(data, len(frequencies_M))
                continue
            length = gibbs.Chains(self.chains, self.burn_in, self.iterations)
            posterior = gibbs.sample(columns, self.prior, length, r2=self.r2, df=self.df, seed=seed, name=data.trait)
            yield _trait_effects(data, posterior, frequencies_M)


def _trait_effects(data: TraitData, posterior: gibbs.Posterior, frequencies_M: np.ndarray) -> TraitEffects:
    genetic = marker_scale(frequencies_M) * posterior.mean("mean_square_effect")
    variance = posterior.mean("error_variance")
    components, line_variance_N = VarianceComponents(genetic, 0.0, variance), np.zeros(0)
    if data.errors is not None:
        components = VarianceComponents(genetic, variance, float(data.errors.diagonal_N.mean()), errors_known=True)
        own_N, drawn_S = data.errors.own_N, posterior.thinned("error_variance")
        line_variance_N = np.mean([v * own_N / (v + own_N) for v in drawn_S], axis=0)
    return TraitEffects(data, components, posterior.mean("intercept"), posterior.effect_M, posterior.draws_SM,
                        posterior.line_SN, line_variance_N, posterior.mean("log_likelihood"), _diagnosed(posterior))


def _diagnosed(posterior: gibbs.Posterior) -> dict[str, float | int | str]:
    """R-hat and effective sample size of each monitored quantity, and whether the chains agree."""
    said: dict[str, float | int | str] = {}
    for quantity in MONITORED:
        draws_CI = posterior.trace_QCI[quantity]
        said |= {f"r_hat_{quantity}": r_hat(draws_CI), f"effective_size_{quantity}": effective_size(draws_CI)}
    largest = max(float(said[f"r_hat_{quantity}"]) for quantity in MONITORED)
    agree = "chains agree" if largest <= LARGEST_R_HAT else f"chains differ (R-hat {largest:.2f}): sample longer"
    n_chains, n_iterations = posterior.trace_QCI["error_variance"].shape
    return said | {"convergence": agree, "chains": n_chains, "iterations": n_iterations,
                   "realised_genetic_variance": posterior.mean("genetic_variance"),
                   "markers_in_model": posterior.mean("markers_in_model")}


@dataclass(frozen=True)
class _SpikeAndSlab(BayesRecipe):
    """`share` of the markers is expected to have an effect, a belief worth `counts` markers (BGLR: probIn, counts)."""

    share: float = 0.5
    counts: float = 10.0

    family: ClassVar[int]
    space: ClassVar[Mapping[str, Range]] = {**BayesRecipe.space, "share": Real(0.005, 0.9, log=True)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share < 1 or self.counts < 0:
            raise ProgramError(f"{self.name}: share is {self.share}, counts {self.counts}; expected a share between "
                               f"0 and 1 and counts of at least 0")

    def prior(self, known: Expectation) -> Prior:
        return priors.spike_and_slab(known, self.family, self.share, self.counts)


@dataclass(frozen=True)
class BayesB(_SpikeAndSlab):
    """The recipe `bayes_b`: some markers have no effect, the others each a variance of its own."""

    name: ClassVar[str] = "bayes_b"
    family: ClassVar[int] = priors.OWN


@dataclass(frozen=True)
class BayesCPi(_SpikeAndSlab):
    """The recipe `bayes_c_pi`: some markers have no effect, the others share one variance."""

    name: ClassVar[str] = "bayes_c_pi"
    family: ClassVar[int] = priors.COMMON


@dataclass(frozen=True)
class BayesR(BayesRecipe):
    """The recipe `bayes_r`: no effect, or one of three sizes."""

    name: ClassVar[str] = "bayes_r"

    def prior(self, known: Expectation) -> Prior:
        return priors.scale_mixture(known)


@dataclass(frozen=True)
class BayesianLasso(BayesRecipe):
    """The recipe `bayesian_lasso`: every marker has an effect, most of them near 0."""

    name: ClassVar[str] = "bayesian_lasso"

    def prior(self, known: Expectation) -> Prior:
        return priors.lasso(known)
