"""Several traits on the same lines in one model, by canonical transformation.

Y = 1μ' + U + E, Var(vec U) = G ⊗ K, Var(vec E) = R ⊗ I; G and R are traits × traits. In the eigenvectors of K's
contrasts each contrast has covariance λG + R; C with CRC' = I and CGC' = L diagonal makes the traits independent, so
that the information on G and R falls into a 2 × 2 block for each pair of traits, and scoring is a weighted regression
of products of contrasts on (λ, 1). Every line must have every trait. Axes: N lines, Q contrasts, T traits.
References: Thompson 1977, in Proc. Int. Conf. Quant. Genet., Iowa State University Press, 639-657; Meyer 1985,
Biometrics 41:153-165.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genomic_platform.errors import Notice, ProgramError
from genomic_platform.models.reml import ContrastEigen, contrast_eigen
from genomic_platform.models.threads import threads_for

MAX_ROUNDS = 30
MAX_HALVINGS = 6
#: Log likelihood that a round of scoring must gain to go on.
MIN_GAIN = 1e-7
#: Share of an error variance that quasi-Newton steps cannot take away: a single trait's δ ends at 4.5e-5.
_FLOOR = 1e-6
#: A correlation matrix of traits with a smaller eigenvalue leaves R singular.
_DEPENDENT = 1e-8


@dataclass(frozen=True, eq=False)
class Canonical:
    """Independent traits at given G and R: C = `to_TT`, C⁻¹ = `back_TT`, L = `ratio_T`, the canonical σ²g / σ²e."""

    to_TT: np.ndarray
    back_TT: np.ndarray
    ratio_T: np.ndarray

    @classmethod
    def of(cls, genetic_TT: np.ndarray, error_TT: np.ndarray) -> Canonical:
        factor_TT = np.linalg.cholesky(error_TT)
        inverse_TT = np.linalg.inv(factor_TT)
        ratio_T, turn_TT = np.linalg.eigh(inverse_TT @ genetic_TT @ inverse_TT.T)
        return cls(turn_TT.T @ inverse_TT, factor_TT @ turn_TT, np.maximum(ratio_T, 0.0))

    def spread(self, values_Q: np.ndarray) -> np.ndarray:
        """λl + 1: variance of each canonical trait's contrasts, shape (Q, T)."""
        return values_Q[:, None] * self.ratio_T + 1.0


@dataclass(frozen=True, eq=False)
class MultiTrait:
    """A fitted multi-trait model.

    Attributes
    ----------
    traits : names. genetic_TT, error_TT : G and R, products of the traits' units. mean_T : μ̂.
    value_NT : BLUP of the genetic values, deviations from the mean. reliability_NT : 1 − PEV / (G_tt K_nn), 0–1.
    dual_NT : V⁻¹(y − μ̂), a column for each trait: values of other lines are Cov(lines, N) K-wise, `predict`.
    log_likelihood : restricted, without the constant. notices : `zero_variance` of a trait.
    """

    traits: tuple[str, ...]
    genetic_TT: np.ndarray
    error_TT: np.ndarray
    mean_T: np.ndarray
    value_NT: np.ndarray
    reliability_NT: np.ndarray
    dual_NT: np.ndarray
    log_likelihood: float
    converged: bool
    notices: tuple[Notice, ...]

    @property
    def genetic_correlation_TT(self) -> np.ndarray:
        """NaN where a trait has no genetic variance."""
        sd_T = np.sqrt(np.diagonal(self.genetic_TT))
        return np.divide(self.genetic_TT, np.outer(sd_T, sd_T), out=np.full_like(self.genetic_TT, np.nan),
                         where=np.outer(sd_T, sd_T) > 0)

    def predict(self, cross_QN: np.ndarray) -> np.ndarray:
        """Genetic values (Q, T) of lines by their K with the training lines."""
        return cross_QN @ self.dual_NT @ self.genetic_TT


def fit_multi_trait(y_NT: np.ndarray, covariance_NN: np.ndarray, traits: Sequence[str] | None = None) -> MultiTrait:
    """REML of G and R and BLUPs of all traits.

    Parameters
    ----------
    y_NT : line means, each trait in its unit, no value missing. covariance_NN : K of the same lines.
    traits : names for messages; None = trait 1, trait 2, …

    Raises
    ------
    ProgramError : a missing value, a constant trait, traits that determine each other, too few lines.
    """
    names = tuple(traits) if traits is not None else tuple(f"trait {t + 1}" for t in range(y_NT.shape[1]))
    _check(y_NT, covariance_NN, names)
    sd_T = y_NT.std(axis=0, ddof=1)
    scaled_NT = y_NT / sd_T
    with threads_for(len(y_NT)):
        eigen = contrast_eigen(covariance_NN)
        z_QT = eigen.vectors_NQ.T @ scaled_NT
        phenotypic_TT = z_QT.T @ z_QT / len(z_QT)
        if np.linalg.eigvalsh(phenotypic_TT)[0] < _DEPENDENT:
            raise ProgramError(f"traits {', '.join(names)} determine each other; expected none to follow from the "
                               "others: leave one of them out")
        genetic_TT, error_TT, likelihood, converged = _reml(z_QT, eigen.values_Q, phenotypic_TT)
        return _solved(names, y_NT, sd_T, covariance_NN, eigen, z_QT, genetic_TT, error_TT, likelihood, converged)


def _reml(z_QT: np.ndarray, values_Q: np.ndarray,
          phenotypic_TT: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, bool]:
    """G, R, the likelihood and whether it settled: scoring, and from where it no longer gains quasi-Newton steps."""
    genetic_TT, error_TT = 0.5 * phenotypic_TT / max(float(values_Q.mean()), 1e-300), 0.5 * phenotypic_TT
    likelihood = _likelihood(z_QT, values_Q, Canonical.of(genetic_TT, error_TT))
    for _ in range(MAX_ROUNDS):
        now = Canonical.of(genetic_TT, error_TT)
        moved = _towards(_scored(z_QT, values_Q, now), z_QT, values_Q, now, likelihood)
        if moved is None:
            break
        gain = moved[2] - likelihood
        genetic_TT, error_TT, likelihood = moved
        if gain < MIN_GAIN:
            break
    return _climbed(z_QT, values_Q, Canonical.of(genetic_TT, error_TT))


def _climbed(z_QT: np.ndarray, values_Q: np.ndarray,
             start: Canonical) -> tuple[np.ndarray, np.ndarray, float, bool]:
    """The maximum over factors F and M, G = FF', R = MM', on the canonical scale of `start`.

    Factors reach a G of less than full rank, where scoring stops short. With D = ∂ log L / ∂G, ∂ log L / ∂F = 2DF.
    """
    from scipy.optimize import minimize

    c_QT, t = z_QT @ start.to_TT.T, len(start.ratio_T)

    def parts(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, Canonical]:
        f_TT, m_TT = x.reshape(2, t, t)
        return f_TT, m_TT, Canonical.of(f_TT @ f_TT.T, m_TT @ m_TT.T + _FLOOR * np.eye(t))

    def deviance(x: np.ndarray) -> tuple[float, np.ndarray]:
        f_TT, m_TT, at = parts(x)
        d_QT = at.spread(values_Q)
        weighted_QT = c_QT @ at.to_TT.T / d_QT
        slopes = [at.to_TT.T @ (np.einsum("q,qi,qj->ij", power_Q, weighted_QT, weighted_QT)
                                - np.diag(power_Q @ (1 / d_QT))) @ at.to_TT
                  for power_Q in (values_Q, np.ones(len(values_Q)))]
        return -2 * _likelihood(c_QT, values_Q, at), -2 * np.concatenate([(slopes[0] @ f_TT).ravel(),
                                                                          (slopes[1] @ m_TT).ravel()])

    # A factor of 0 would stay there, whether or not the likelihood wants it larger.
    begin = np.concatenate([np.diag(np.sqrt(np.maximum(start.ratio_T, 1e-3))).ravel(), np.eye(t).ravel()])
    found = minimize(deviance, begin, jac=True, method="L-BFGS-B",
                     options={"ftol": 1e-13, "gtol": 1e-5, "maxiter": 2_000, "maxfun": 4_000})
    f_TT, m_TT, _ = parts(found.x)
    genetic_TT = start.back_TT @ f_TT @ f_TT.T @ start.back_TT.T
    error_TT = start.back_TT @ (m_TT @ m_TT.T + _FLOOR * np.eye(t)) @ start.back_TT.T
    likelihood = _likelihood(z_QT, values_Q, Canonical.of(genetic_TT, error_TT))
    return genetic_TT, error_TT, likelihood, bool(found.success)


def _scored(z_QT: np.ndarray, values_Q: np.ndarray, now: Canonical) -> tuple[np.ndarray, np.ndarray]:
    """Fisher scoring on the canonical scale: for each pair, products on (λ, 1) with weights 1 / (d_i d_j).

    A G with negative variances is taken to the nearest without, in the metric of the new R.
    """
    c_QT, d_QT = z_QT @ now.to_TT.T, now.spread(values_Q)
    weighted_QT = c_QT / d_QT
    powers = [np.einsum("q,qi,qj->ij", values_Q**k, 1 / d_QT, 1 / d_QT) for k in range(3)]
    sums = [np.einsum("q,qi,qj->ij", values_Q**k, weighted_QT, weighted_QT) for k in range(2)]
    determinant_TT = powers[2] * powers[0] - powers[1] ** 2
    genetic_TT = (powers[0] * sums[1] - powers[1] * sums[0]) / determinant_TT
    error_TT = (powers[2] * sums[0] - powers[1] * sums[1]) / determinant_TT
    values_T, vectors_TT = np.linalg.eigh(error_TT)
    error_TT = vectors_TT * np.maximum(values_T, 1e-3) @ vectors_TT.T  # of 1, the current R on this scale
    positive = Canonical.of(genetic_TT, error_TT)
    return positive.back_TT * positive.ratio_T @ positive.back_TT.T, error_TT


def _towards(goal: tuple[np.ndarray, np.ndarray], z_QT: np.ndarray, values_Q: np.ndarray, now: Canonical,
             likelihood: float) -> tuple[np.ndarray, np.ndarray, float] | None:
    """G and R on the way from the current to those of `goal` (canonical scale) that gain likelihood, or None."""
    for halving in range(MAX_HALVINGS):
        part = 0.5**halving
        genetic_TT = (1 - part) * np.diag(now.ratio_T) + part * goal[0]
        error_TT = (1 - part) * np.eye(len(now.ratio_T)) + part * goal[1]
        genetic_TT, error_TT = (now.back_TT @ m_TT @ now.back_TT.T for m_TT in (genetic_TT, error_TT))
        found = _likelihood(z_QT, values_Q, Canonical.of(genetic_TT, error_TT))
        if found > likelihood:
            return genetic_TT, error_TT, found
    return None


def _likelihood(z_QT: np.ndarray, values_Q: np.ndarray, at: Canonical) -> float:
    d_QT = at.spread(values_Q)
    log_determinant = np.log(d_QT).sum() - 2 * len(z_QT) * np.linalg.slogdet(at.to_TT)[1]
    return -0.5 * float(log_determinant + ((z_QT @ at.to_TT.T) ** 2 / d_QT).sum())


def _solved(names: tuple[str, ...], y_NT: np.ndarray, sd_T: np.ndarray, covariance_NN: np.ndarray, eigen: ContrastEigen,
            z_QT: np.ndarray, genetic_TT: np.ndarray, error_TT: np.ndarray, likelihood: float,
            converged: bool) -> MultiTrait:
    """BLUPs and reliabilities, in the traits' units."""
    at = Canonical.of(genetic_TT, error_TT)
    d_QT = at.spread(eigen.values_Q)
    dual_NT = eigen.vectors_NQ @ (z_QT @ at.to_TT.T / d_QT @ at.to_TT)
    value_NT = covariance_NN @ dual_NT @ genetic_TT
    # K b of each contrast: its part along contrasts is λ b, the rest the same for all lines.
    through_NQ = eigen.vectors_NQ * eigen.values_Q + covariance_NN.mean(axis=0) @ eigen.vectors_NQ
    explained_NT = through_NQ**2 @ (at.ratio_T**2 / d_QT) @ (at.back_TT**2).T
    prior_NT = np.outer(np.diagonal(covariance_NN), np.diagonal(genetic_TT))
    none_T = np.diagonal(genetic_TT) < 1e-9 / max(float(eigen.values_Q.mean()), 1e-300)
    reliability_NT = np.divide(explained_NT, prior_NT, out=np.zeros_like(prior_NT), where=(prior_NT > 0) & ~none_T)
    n = len(y_NT)
    return MultiTrait(
        names, genetic_TT * np.outer(sd_T, sd_T), error_TT * np.outer(sd_T, sd_T),
        y_NT.mean(axis=0) - value_NT.mean(axis=0) * sd_T, value_NT * sd_T, np.clip(reliability_NT, 0.0, 1.0),
        dual_NT / sd_T, likelihood - 0.5 * len(names) * float(np.log(n)) - (n - 1) * float(np.log(sd_T).sum()),
        converged, tuple(Notice("zero_variance", f"genetic variance of {name} is estimated at 0; its values are 0")
                         for name, none in zip(names, none_T, strict=True) if none))


def _check(y_NT: np.ndarray, covariance_NN: np.ndarray, names: tuple[str, ...]) -> None:
    n, t = y_NT.shape
    if covariance_NN.shape != (n, n) or len(names) != t:
        raise ProgramError(f"line means of {n} lines and {t} traits, {len(names)} names and a covariance of shape "
                           f"{covariance_NN.shape}; expected one name a trait and {(n, n)}")
    missing = {name: int((~np.isfinite(y_N)).sum()) for name, y_N in zip(names, y_NT.T, strict=True)}
    if said := [f"{name} in {count}" for name, count in missing.items() if count]:
        raise ProgramError(f"line means are missing of {n} lines: {', '.join(said)}; the canonical transformation "
                           "needs every trait of every line: leave these lines out or fit the traits singly")
    if constant := [name for name, y_N in zip(names, y_NT.T, strict=True) if np.ptp(y_N) <= 1e-12 * np.abs(y_N).max()]:
        raise ProgramError(f"{', '.join(constant)} is the same in all lines; expected a trait that varies")
    if n < t + 5:
        raise ProgramError(f"{n} lines and {t} traits; expected at least {t + 5} lines")
