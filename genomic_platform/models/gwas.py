"""Association of single markers with a trait: the mixed model, each marker a fixed effect in its turn (EMMAX, P3D).

y = Xb + mβ + g + e, Var(g) = σ²g K, Var(e_i) = σ²e / w_i. The variance ratio is estimated once, without a marker, by
`reml` on contrasts free of X; in their eigenvectors each test is a weighted regression. Figures are `results`'.
References: Kang et al. 2008, Genetics 178:1709-1723, and 2010, Nat. Genet. 42:348-354 (EMMAX); Zhang et al. 2010, Nat.
Genet. 42:355-360 (P3D).
Axes: N lines, M markers, m of a block, C covariates, F = 1 + C fixed effects, Q = N − F contrasts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from genomic_platform.genotypes import packing
from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.multiple_testing import false_discovery_rates
from genomic_platform.models.reml import ContrastEigen, contrast_eigen, spectral_reml
from genomic_platform.schemas.contract import Column, TableContract

GWAS = TableContract(
    "gwas",
    (
        Column("variant_id", pl.String, "marker"),
        Column("chromosome", pl.String, "chromosome"),
        Column("position", pl.Int64, "position, 1-based", unit="bp"),
        Column("ref", pl.String, "reference allele"),
        Column("alt", pl.String, "counted allele"),
        Column("minor_allele_frequency", pl.Float64, "rarer allele's frequency among the lines tested", unit="0–0.5",
               nullable=True),
        Column("effect", pl.Float64, "effect of one ALT allele; empty where the marker does not vary", unit="trait's",
               nullable=True),
        Column("standard_error", pl.Float64, "of the effect", unit="trait's", nullable=True),
        Column("p_value", pl.Float64, "Wald test, t with N − fixed effects − 1 degrees of freedom", unit="0–1",
               nullable=True),
        Column("p_bonferroni", pl.Float64, "p-value times the markers tested, at most 1", unit="0–1", nullable=True),
        Column("q_value", pl.Float64, "smallest false discovery rate at which the marker is found "
                                      "(Benjamini & Hochberg)", unit="0–1", nullable=True),
    ),
    sort_key=("chromosome", "position", "ref", "alt"),
    unique=False,
)
_BLOCK_CELLS = 8_000_000
#: A marker whose squares are to this share explained by the fixed effects has no effect of its own to estimate.
_COLLINEAR = 1e-5


def gwas(table: GenotypeTable, lines: Sequence[str], y_N: np.ndarray, weights_N: np.ndarray | None = None,
         relationship_NN: np.ndarray | None = None, covariates_NC: np.ndarray | None = None,
         eigen: ContrastEigen | None = None) -> pl.DataFrame:
    """Test every marker of a table against a trait.

    Exact generalised least squares for each marker at the variance ratio of the model without it; the scale is
    estimated anew with each marker. Since K holds the marker tested as well, tests are slightly conservative.

    Parameters
    ----------
    table : at least the lines tested; missing calls stand at 2p, p among the lines tested.
    lines : N distinct line ids. y_N : their values, finite.
    weights_N : w > 0, such as numbers of plots; None = 1.
    relationship_NN : K of these lines in this order; None = VanRaden 1 of them from all markers.
    covariates_NC : fixed effects besides the mean, such as principal components.
    eigen : `contrast_eigen` of K, when other traits on the same lines have it; not with weights or covariates.

    Returns
    -------
    pl.DataFrame
        Contract GWAS, one row per marker, in table order.

    Raises
    ------
    ValueError : shapes disagree, a value is not finite, fixed effects are collinear, too few lines, y does not vary.
    """
    y_N = np.asarray(y_N, dtype=np.float64)
    scale_N = np.sqrt(np.ones(len(lines)) if weights_N is None else np.asarray(weights_N, dtype=np.float64))
    mean_N = np.ones(len(lines))
    fixed_NF = mean_N[:, None] if covariates_NC is None else np.column_stack([mean_N, covariates_NC])
    _check(lines, y_N, scale_N, fixed_NF)
    plain = weights_N is None and covariates_NC is None
    if eigen is not None and not plain:
        raise ValueError("expected a decomposition or weights and covariates; found both, and it is made without them")
    if eigen is None:
        k_NN = vanraden(table.select(None, list(lines))).matrix_NN if relationship_NN is None else relationship_NN
        if k_NN.shape != (len(lines), len(lines)):
            raise ValueError(f"relationship_NN has shape {k_NN.shape}; expected {(len(lines), len(lines))}")
        eigen = contrast_eigen(k_NN) if plain else weighted_contrasts(k_NN, scale_N, fixed_NF)
    elif len(eigen.vectors_NQ) != len(lines):
        raise ValueError(f"the decomposition is of {len(eigen.vectors_NQ)} lines; expected one of {len(lines)}")
    return _scan(table, lines, y_N * scale_N, scale_N, eigen)


def weighted_contrasts(covariance_NN: np.ndarray, scale_N: np.ndarray, fixed_NF: np.ndarray) -> ContrastEigen:
    """`contrast_eigen` where e_i has variance σ²e / scale_i² and fixed effects X stand in the mean's place.

    Everything is multiplied by the scale, so that errors have one variance: SWKWS with W = diag(scale), S = I − HH', H
    an orthonormal basis of WX; eigenvectors orthogonal to WX, shape (N, N − F) (Kang et al. 2008, eq. 6).
    """
    basis_NF = np.linalg.qr(scale_N[:, None] * fixed_NF)[0]
    scaled_NN = scale_N[:, None] * covariance_NN * scale_N
    half_NF = scaled_NN @ basis_NF - 0.5 * basis_NF @ (basis_NF.T @ scaled_NN @ basis_NF)
    contrast_NN = scaled_NN - half_NF @ basis_NF.T - basis_NF @ half_NF.T
    # Directions of the fixed effects get an eigenvalue above all others, so that they come last.
    contrast_NN += (np.trace(contrast_NN) + 1.0) * basis_NF @ basis_NF.T
    values_N, vectors_NN = np.linalg.eigh(contrast_NN)
    q = len(scale_N) - fixed_NF.shape[1]
    return ContrastEigen(vectors_NN[:, :q], np.maximum(values_N[:q], 0.0))


def genomic_inflation(p_value_M: np.ndarray) -> float:
    """λ of genomic control: median χ² of the tests over that of χ² with 1 df; NaN of no test.

    Devlin & Roeder 1999, Biometrics 55:997-1004.
    """
    from scipy.special import chdtri

    tested_M = np.asarray(p_value_M, dtype=np.float64)
    tested_M = tested_M[np.isfinite(tested_M)]
    return float(chdtri(1, np.median(tested_M)) / chdtri(1, 0.5)) if len(tested_M) else float("nan")


def _scan(table: GenotypeTable, lines: Sequence[str], y_N: np.ndarray, scale_N: np.ndarray,
          eigen: ContrastEigen) -> pl.DataFrame:
    """Weighted regression in the eigenvectors: with D = K's eigenvalues + δ, m'Pm = |D^-½U'm|² and m'Py likewise."""
    from scipy.special import stdtr

    q = eigen.vectors_NQ.shape[1]
    components = spectral_reml(y_N, eigen)[0]
    spread_Q = np.ones(q) if components.genetic == 0 else eigen.values_Q + components.error / components.genetic
    whiten_QN = eigen.vectors_NQ.T / np.sqrt(spread_Q)[:, None]
    white_y_Q = whiten_QN @ y_N
    # One product gives both: rows of the whitened marker, and below them its product with the whitened trait.
    rotate_RN = np.vstack([whiten_QN, white_y_Q @ whiten_QN]).astype(np.float32)
    cross_M, square_M, minor_M = (np.full(table.n_variants, np.nan) for _ in range(3))
    rows_N = table.line_rows(lines)
    for start, packed_mB in table.packed_blocks(max(64, _BLOCK_CELLS // len(lines))):
        marker_mN, minor_m = _centred(packing.unpack(packing.take_lines(packed_mB, rows_N), len(lines)), scale_N)
        rotated_mR = marker_mN @ rotate_RN.T
        at = slice(start, start + len(packed_mB))
        square_M[at] = np.einsum("mq,mq->m", rotated_mR[:, :-1], rotated_mR[:, :-1], dtype=np.float64)
        square_M[at][square_M[at] * spread_Q.max() < _COLLINEAR * np.einsum("mn,mn->m", marker_mN, marker_mN)] = np.nan
        cross_M[at], minor_M[at] = rotated_mR[:, -1], minor_m
    square_M[~(square_M > 0)] = np.nan
    effect_M = cross_M / square_M
    error_M = np.sqrt(np.maximum(white_y_Q @ white_y_Q - effect_M * cross_M, 0) / (q - 1) / square_M)
    with np.errstate(divide="ignore"):  # a marker that explains everything has no error
        p_M = 2 * stdtr(q - 1, -np.abs(effect_M) / error_M)
    tested = np.isfinite(p_M).sum()
    figures = pl.DataFrame({"minor_allele_frequency": minor_M, "effect": effect_M, "standard_error": error_M,
                            "p_value": p_M, "p_bonferroni": np.minimum(p_M * tested, 1.0),
                            "q_value": false_discovery_rates(p_M)}).fill_nan(None)
    return GWAS.conform(table.variants.select("variant_id", "chromosome", "position", "ref", "alt").hstack(figures))


def _centred(call_mN: np.ndarray, scale_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Markers less 2p, times the scale, missing calls 0, float32 (m, N); minor allele frequencies, NaN of no call."""
    called_mN = call_mN >= 0
    count_m = called_mN.sum(axis=1)
    twice_p_m = np.divide(np.maximum(call_mN, 0).sum(axis=1), count_m, out=np.full(len(call_mN), np.nan),
                          where=count_m > 0)
    marker_mN = np.where(called_mN, call_mN - np.nan_to_num(twice_p_m).astype(np.float32)[:, None], np.float32(0))
    marker_mN *= scale_N.astype(np.float32)
    return marker_mN, np.minimum(twice_p_m, 2 - twice_p_m) / 2


def _check(lines: Sequence[str], y_N: np.ndarray, scale_N: np.ndarray, fixed_NF: np.ndarray) -> None:
    n, f = fixed_NF.shape
    if len(set(lines)) != n or y_N.shape != (n,) or scale_N.shape != (n,):
        raise ValueError(f"expected one value and one weight for each of {len(set(lines))} distinct lines; found "
                         f"{n} lines, values of shape {y_N.shape} and weights of shape {scale_N.shape}")
    if not (np.isfinite(y_N).all() and np.isfinite(fixed_NF).all() and (scale_N > 0).all()):
        raise ValueError("expected finite values and covariates and weights above 0; found others")
    if n < f + 3 or np.linalg.matrix_rank(fixed_NF) < f:
        raise ValueError(f"expected independent fixed effects and at least {f + 3} lines for {f} of them; found rank "
                         f"{np.linalg.matrix_rank(fixed_NF)} and {n} lines")
    if np.ptp(y_N) == 0:
        raise ValueError("expected values that vary; found all equal")
