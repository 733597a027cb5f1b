"""Whether chains agree and how much they are worth: rank-normalised split R-hat and effective sample size.

Reference: Vehtari et al. 2021, Bayesian Analysis 16:667-718; Gelman & Rubin 1992, Statistical Science 7:457; Geyer
1992, Statistical Science 7:473. Axes: C chains, I draws of each.
"""

from __future__ import annotations

import numpy as np


def r_hat(draws_CI: np.ndarray) -> float:
    """Larger of the rank-normalised split R-hat and that of the folded draws (Vehtari et al. 2021, section 4.1).

    1 = the chains agree in place and in spread; they recommend at most 1.01 for what is to be published. 1 where
    nothing varies.
    """
    split_CI = _split(draws_CI)
    if np.ptp(split_CI) == 0:
        return 1.0
    folded_CI = np.abs(split_CI - np.median(split_CI))
    return max(_potential_scale_reduction(_normal_scores(x)) for x in (split_CI, folded_CI) if np.ptp(x) > 0)


def effective_size(draws_CI: np.ndarray) -> float:
    """Bulk effective sample size: independent draws worth as much for a mean (Vehtari et al. 2021, eq. 10-13).

    At most C · I · log10(C · I), as they bound it; C · I where nothing varies.
    """
    split_CI = _split(draws_CI)
    if np.ptp(split_CI) == 0:
        return float(split_CI.size)
    scores_CI = _normal_scores(split_CI)
    n_draws, n_all = scores_CI.shape[1], scores_CI.size
    covariance_CI = np.array([_autocovariance(chain_I) for chain_I in scores_CI])
    within = covariance_CI[:, 0].mean() * n_draws / (n_draws - 1)
    pooled = within * (n_draws - 1) / n_draws + scores_CI.mean(axis=1).var(ddof=1)
    correlation_I = 1 - (within - covariance_CI.mean(axis=0) * n_draws / (n_draws - 1)) / pooled
    correlation_I[0] = 1.0
    time = 2 * _initial_monotone(correlation_I) - 1
    return float(n_all / max(time, 1 / np.log10(n_all)))


def _split(draws_CI: np.ndarray) -> np.ndarray:
    """Each chain as two: a chain that drifts then disagrees with itself."""
    half = draws_CI.shape[1] // 2
    if half < 2:
        raise ValueError(f"{draws_CI.shape[1]} draws a chain; expected at least four")
    return np.concatenate([draws_CI[:, :half], draws_CI[:, -half:]])


def _normal_scores(draws_CI: np.ndarray) -> np.ndarray:
    """Φ⁻¹((rank − 3/8) / (n + 1/4)), equal draws at their mean rank (Vehtari et al. 2021, eq. 14)."""
    from scipy.special import ndtri
    from scipy.stats import rankdata

    return ndtri((rankdata(draws_CI).reshape(draws_CI.shape) - 0.375) / (draws_CI.size + 0.25))


def _potential_scale_reduction(draws_CI: np.ndarray) -> float:
    """√(((n − 1) / n W + B / n) / W) (Gelman & Rubin 1992; Vehtari et al. 2021, eq. 3-4)."""
    n_draws = draws_CI.shape[1]
    within = draws_CI.var(axis=1, ddof=1).mean()
    between = draws_CI.mean(axis=1).var(ddof=1)
    return float(np.sqrt((n_draws - 1) / n_draws + between / within)) if within > 0 else float("inf")


def _autocovariance(chain_I: np.ndarray) -> np.ndarray:
    """Autocovariance at every lag, divided by the number of draws."""
    deviation_I = chain_I - chain_I.mean()
    size = 2 * len(chain_I)
    spectrum = np.fft.rfft(deviation_I, size)
    return np.fft.irfft(spectrum * spectrum.conj(), size)[: len(chain_I)] / len(chain_I)


def _initial_monotone(correlation_I: np.ndarray) -> float:
    """Sum of autocorrelations by pairs while a pair is positive, no pair above the one before (Geyer 1992)."""
    pairs = correlation_I[: len(correlation_I) // 2 * 2].reshape(-1, 2).sum(axis=1)
    negative = np.flatnonzero(pairs < 0)
    pairs = pairs[: negative[0]] if len(negative) else pairs
    return float(np.minimum.accumulate(pairs).sum()) if len(pairs) else 1.0
