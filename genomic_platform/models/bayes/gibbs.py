"""Chains of the Gibbs sampler for one trait: markers made ready, chains in threads, what they say together.

A marker is int8: 127 (dosage − 1), a missing call at 127 (2p − 1) rounded, which is within 1/254 of a copy of its
mean. All of the sampler is in these units; what leaves this module is per ALT allele. Compiled loops are in
`gibbs_kernels`. Axes: P panel lines, N training lines, M markers, Q traced quantities, C chains, I iterations, S draws.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from genomic_platform.genotypes.parallel import available_cores
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.bayes.priors import LASSO, Expectation, Prior, expectation
from genomic_platform.models.trait_fit import TraitData

if TYPE_CHECKING:
    from genomic_platform.models.bayes.gibbs_kernels import Columns, State

UNIT = 127
#: Iterations between two computations of the residual in double precision.
REFRESH = 50
#: Every so many iterations a draw of the effects is kept: draws closer together tell little more.
THIN = 10


@dataclass(frozen=True)
class Chains:
    """How long to sample.

    Attributes
    ----------
    chains : independent chains, each with a seed of its own. burn_in : first iterations of each, thrown away.
    iterations : of each chain after them, at least 40 (four draws of each are compared).
    """

    chains: int = 2
    burn_in: int = 1000
    iterations: int = 3000


@dataclass(frozen=True, eq=False)
class Posterior:
    """What the chains of one trait say, effects per ALT allele.

    Attributes
    ----------
    effect_M : posterior means, from the conditional means of every iteration.
    draws_SM : float32, every tenth iteration of all chains, one chain after the other.
    line_SN : expected line residuals at the same iterations; no columns where the errors are unknown.
    trace_QCI : (C, I) of each of the `TRACED` quantities, in trait's units; `error_variance` is σ²r where the errors
        are known, `genetic_variance` that of Σ x b among the training lines.
    """

    effect_M: np.ndarray
    draws_SM: np.ndarray
    line_SN: np.ndarray
    trace_QCI: dict[str, np.ndarray]

    def mean(self, quantity: str) -> float:
        return float(self.trace_QCI[quantity].mean())

    def thinned(self, quantity: str) -> np.ndarray:
        """At the iterations of `draws_SM`, shape (S,)."""
        return self.trace_QCI[quantity][:, THIN - 1 :: THIN].ravel()


def marker_codes(panel: GenotypeTable, frequencies_M: np.ndarray) -> np.ndarray:
    """int8 (M, P): 127 (dosage − 1), missing calls at their mean."""
    mean_M = np.rint(UNIT * (2 * frequencies_M - 1)).astype(np.int8)
    codes_MP = np.empty((panel.n_variants, panel.n_lines), dtype=np.int8)
    for start, dosage_mP in panel.blocks():
        mean_m1 = mean_M[start : start + len(dosage_mP), None]
        codes_MP[start : start + len(dosage_mP)] = np.where(dosage_mP < 0, mean_m1, UNIT * (dosage_mP - 1))
    return codes_MP


def columns_of(codes_MP: np.ndarray, frequencies_M: np.ndarray, data: TraitData) -> Columns:
    """What the sampler reads of a trait."""
    from genomic_platform.models.bayes.gibbs_kernels import Columns

    rows_N = data.rows_N
    z_MN = codes_MP if len(rows_N) == codes_MP.shape[1] else np.ascontiguousarray(codes_MP[:, rows_N])
    n_lines = len(rows_N)
    sum_M = z_MN.sum(axis=1, dtype=np.int64)
    square_M = np.array([np.dot(z_N, z_N) for z_N in z_MN.astype(np.float32)], dtype=np.float64)
    own_N, loadings_NB = np.zeros(0), np.zeros((n_lines, 0))
    if data.errors is not None:
        own_N, loadings_NB = data.errors.own_N, np.ascontiguousarray(data.errors.loadings_NB)
    return Columns(z_MN, sum_M / n_lines, np.maximum(square_M - sum_M**2 / n_lines, 0.0),
                   UNIT * (2 * frequencies_M - 1), np.ascontiguousarray(data.y_N), own_N, loadings_NB)


def sample(columns: Columns, make_prior: Callable[[Expectation], Prior], length: Chains, *, r2: float, df: float,
           seed: int, name: str) -> Posterior:
    """Run the chains of one trait, as many at once as there are cores; equal seed and name, equal bits.

    Parameters
    ----------
    make_prior : hyperparameters from what is expected before sampling. r2, df : see `Expectation`.
    name : of the trait; its chains are the same whatever other traits there are.
    """
    known = columns.own_N.mean() + (columns.loadings_NB**2).sum(axis=1).mean() if len(columns.own_N) else 0.0
    prior = make_prior(expectation(columns.y_N, float(known), columns.square_M.sum() / len(columns.y_N),
                                   len(columns.mean_M), r2, df))
    seeds = [[seed, zlib.crc32(name.encode()), chain] for chain in range(length.chains)]
    with ThreadPoolExecutor(min(available_cores(), length.chains)) as pool:
        found = list(pool.map(lambda s: _run_chain(columns, prior, length, np.random.default_rng(s)), seeds))
    effect_M, draws_SM, line_SN, trace_QCI = (list(part) for part in zip(*found, strict=True))
    return Posterior(UNIT * np.mean(effect_M, axis=0), UNIT * np.concatenate(draws_SM), np.concatenate(line_SN),
                     _named(np.stack(trace_QCI, axis=1)))


def _named(trace_QCI: np.ndarray) -> dict[str, np.ndarray]:
    from genomic_platform.models.bayes.gibbs_kernels import TRACED

    named = dict(zip(TRACED, trace_QCI, strict=True))
    named["mean_square_effect"] = named["mean_square_effect"] * UNIT**2
    return named


def _run_chain(columns: Columns, prior: Prior, length: Chains,
               rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean of the effects' conditional means (M,), draws (S, M), line residuals (S, N or 0), trace (Q, I)."""
    from genomic_platform.models.bayes.gibbs_kernels import TRACED, Kept, advance

    n_markers, n_lines = len(columns.mean_M), len(columns.y_N)
    state = _start(columns, prior)
    for begin in range(0, length.burn_in, REFRESH):
        n = min(REFRESH, length.burn_in - begin)
        advance(columns, prior, state, Kept(np.zeros(n_markers), np.empty((len(TRACED), n)), np.empty(
            (0, n_markers), np.float32), np.empty((0, 0), np.float32)), rng, REFRESH)
    n_kept = length.iterations // THIN
    kept = Kept(np.zeros(n_markers), np.empty((len(TRACED), length.iterations)),
                np.empty((n_kept, n_markers), np.float32),
                np.empty((n_kept, n_lines if len(columns.own_N) else 0), np.float32))
    for begin in range(0, length.iterations, REFRESH):
        draws = slice(begin // THIN, (begin + REFRESH) // THIN)
        advance(columns, prior, state, Kept(kept.expected_M, kept.trace_QI[:, begin : begin + REFRESH],
                                            kept.draws_SM[draws], kept.line_SN[draws]), rng, THIN)
    return kept.expected_M / length.iterations, kept.draws_SM, kept.line_SN, kept.trace_QI


def _start(columns: Columns, prior: Prior) -> State:
    """No marker has an effect yet; variances and shares at the prior's modes and means."""
    from genomic_platform.models.bayes.gibbs_kernels import State

    n_markers, error = len(columns.mean_M), prior.error_scale / (prior.error_df + 2)
    scale = 2 / prior.own if prior.family == LASSO else prior.scale
    return State(np.zeros(n_markers), np.zeros(n_markers, np.int8), np.full(n_markers, prior.own),
                 prior.counts_K / prior.counts_K.sum(), np.zeros(columns.loadings_NB.shape[1]),
                 np.array([error, prior.common, scale]))
