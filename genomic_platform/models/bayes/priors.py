"""Priors of marker effects and of the variances around them, as numbers the sampler works with.

    BayesB            b_j = 0 with 1 − π, else N(0, σ²_j), σ²_j ~ S χ⁻²(ν), S ~ Gamma            Meuwissen et al. 2001
    BayesCπ           b_j = 0 with 1 − π, else N(0, σ²), σ² ~ S χ⁻²(ν)                           Habier et al. 2011
    BayesR            b_j from N(0, γ_k σ²) with π_k, γ = 0, 1e-4, 1e-3, 1e-2                    Erbe et al. 2012
    Bayesian LASSO    b_j ~ N(0, σ²e τ²_j), τ²_j ~ Exp(λ² / 2), λ² ~ Gamma                       Park & Casella 2008

Scales follow the rules of BGLR (Pérez & de los Campos 2014, Genetics 198:483-495, appendix), so that results compare:
the prior mode of the genetic variance is a share R² of the phenotypic. Sampling belongs to `gibbs`. Axes: K components.
References: Meuwissen, Hayes & Goddard 2001, Genetics 157:1819; Habier et al. 2011, BMC Bioinformatics 12:186; Erbe et
al. 2012, J. Dairy Sci. 95:4114; Moser et al. 2015, PLoS Genet. 11:e1004969; Park & Casella 2008, JASA 103:681.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

#: How the variance of an effect is updated: one for each marker, one for all, or the LASSO's exponential mixture.
OWN, COMMON, LASSO = 0, 1, 2
BAYES_R_RATIOS = (0.0, 1e-4, 1e-3, 1e-2)
#: Gamma priors (S of BayesB, λ² of the LASSO): this shape puts the mode at the default value, nearly flat around it.
GAMMA_SHAPE = 1.1
#: With known errors at least this share of the variance of the line means is taken to lie between lines.
MIN_LINE_SHARE = 0.1


class Prior(NamedTuple):
    """Hyperparameters of one trait; the variance of an effect is common × own_j × ratio_k.

    Attributes
    ----------
    family : OWN | COMMON | LASSO. ratio_K : variance ratios γ_k of the components, 0 = no effect.
    counts_K : Dirichlet prior of the components' shares. df, scale : ν and S of the effects' variance.
    shape, rate : of the Gamma prior of S (OWN) or λ² (LASSO).
    error_df, error_scale : of σ²e, or of σ²r where the errors are known.
    common, own : variances the chain starts from.
    """

    family: int
    ratio_K: np.ndarray
    counts_K: np.ndarray
    df: float
    scale: float
    shape: float
    rate: float
    error_df: float
    error_scale: float
    common: float
    own: float


class Expectation(NamedTuple):
    """What the data say before any marker is looked at.

    Attributes
    ----------
    line_variance : variance between lines: of the line means, less the known errors' mean.
    marker_variance : Σ_j Var(x_j) over the training lines, Var(g) for effects of variance 1.
    """

    line_variance: float
    marker_variance: float
    n_markers: int
    r2: float
    df: float

    @property
    def residual_variance(self) -> float:
        """Prior mode of σ²e, or of σ²r where the errors are known."""
        return (1 - self.r2) * self.line_variance

    @property
    def effect_variance(self) -> float:
        """Variance of an effect if all markers had one and together made R² of the line variance."""
        return self.r2 * self.line_variance / self.marker_variance


def expectation(y_N: np.ndarray, error_variance: float, marker_variance: float, n_markers: int, r2: float,
                df: float) -> Expectation:
    """`error_variance` is the mean of the known errors', 0 where they are unknown."""
    variance = float(np.var(y_N, ddof=1))
    return Expectation(max(variance - error_variance, MIN_LINE_SHARE * variance), marker_variance, n_markers, r2, df)


def spike_and_slab(known: Expectation, family: int, share: float, counts: float) -> Prior:
    """BayesB (`OWN`) and BayesCπ (`COMMON`): `share` of the markers expected in, worth `counts` markers.

    S = Var(y) R² (ν + 2) / (Σ Var(x_j) π). BGLR draws π with one more count on either side; so does this.
    """
    scale = known.effect_variance * (known.df + 2) / share
    start = scale / (known.df + 2)
    return _prior(known, family, np.array([0.0, 1.0]), np.array([(1 - share) * counts + 1, share * counts + 1]),
                  scale=scale, shape=GAMMA_SHAPE, rate=(GAMMA_SHAPE - 1) / scale,
                  common=1.0 if family == OWN else start, own=start if family == OWN else 1.0)


def scale_mixture(known: Expectation) -> Prior:
    """BayesR with a flat Dirichlet (Moser et al. 2015). σ² is per marker of average variance: mode R² Var(y)."""
    start = known.effect_variance * known.n_markers
    ratio_K = np.array(BAYES_R_RATIOS)
    return _prior(known, COMMON, ratio_K, np.ones(len(ratio_K)), scale=start * (known.df + 2), common=start)


def lasso(known: Expectation) -> Prior:
    """Bayesian LASSO: λ² = 2 (1 − R²) / R² Σ Var(x_j) is the mode of its Gamma prior."""
    lambda2 = 2 * known.residual_variance / known.effect_variance
    return _prior(known, LASSO, np.ones(1), np.ones(1), shape=GAMMA_SHAPE, rate=(GAMMA_SHAPE - 1) / lambda2,
                  common=known.residual_variance, own=2 / lambda2)


def _prior(known: Expectation, family: int, ratio_K: np.ndarray, counts_K: np.ndarray, *, scale: float = 0.0,
           shape: float = 0.0, rate: float = 0.0, common: float, own: float = 1.0) -> Prior:
    return Prior(family, ratio_K, counts_K, float(known.df), float(scale), float(shape), float(rate), float(known.df),
                 float(known.residual_variance * (known.df + 2)), float(common), float(own))
