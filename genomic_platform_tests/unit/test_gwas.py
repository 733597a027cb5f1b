"""Single-marker tests agree with plain generalised least squares, keep their error rates, and find what was planted."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.gwas import GWAS, genomic_inflation, gwas, weighted_contrasts
from genomic_platform.models.reml import contrast_eigen, spectral_reml
from genomic_platform_tests.support.panels import made_panel, made_values


def family_panel(n_lines: int, n_markers: int, seed: int) -> GenotypeTable:
    """Inbred lines of families that share parents, so that the relationship has structure; markers are independent."""
    rng = np.random.default_rng(seed)
    parent_MF = rng.random((n_markers, 8)) < rng.uniform(0.2, 0.8, (n_markers, 1))
    mother_N, father_N = rng.integers(0, 8, (2, n_lines))
    from_mother_MN = rng.random((n_markers, n_lines)) < 0.5
    dosage_MN = 2 * np.where(from_mother_MN, parent_MF[:, mother_N], parent_MF[:, father_N]).astype(np.int8)
    dosage_MN[rng.random(dosage_MN.shape) < 0.03] = 1
    dosage_MN[rng.random(dosage_MN.shape) < 0.02] = -1
    variants = pl.DataFrame({"variant_id": [f"m{i:05d}" for i in range(n_markers)],
                             "chromosome": [f"{1 + i * 5 // n_markers}" for i in range(n_markers)],
                             "position": np.arange(1, n_markers + 1) * 1000, "ref": "A", "alt": "C"})
    return GenotypeTable.from_dosages(variants, [f"line{i:04d}" for i in range(n_lines)], dosage_MN)


def plain_gls(table: GenotypeTable, lines: list[str], y_N: np.ndarray, v_NN: np.ndarray,
              fixed_NF: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Effect and standard error of each marker, one at a time, by the book: (X'V⁻¹X)⁻¹X'V⁻¹y, scale re-estimated."""
    dosage_NM = table.dosages(lines=lines).astype(float)
    dosage_NM[dosage_NM < 0] = np.nan
    inverse_NN = np.linalg.inv(v_NN)
    found = []
    for m in range(dosage_NM.shape[1]):
        marker_N = np.where(np.isnan(dosage_NM[:, m]), np.nanmean(dosage_NM[:, m]), dosage_NM[:, m])
        x_NF = np.column_stack([marker_N, fixed_NF])
        covariance_FF = np.linalg.inv(x_NF.T @ inverse_NN @ x_NF)
        b_F = covariance_FF @ x_NF.T @ inverse_NN @ y_N
        residual_N = y_N - x_NF @ b_F
        variance = residual_N @ inverse_NN @ residual_N / (len(y_N) - x_NF.shape[1])
        found.append((b_F[0], np.sqrt(covariance_FF[0, 0] * variance)))
    return tuple(np.array(found).T)


@pytest.mark.parametrize(("weighted", "covariates"), [(False, 0), (True, 0), (False, 2), (True, 2)])
def test_effects_and_errors_are_those_of_plain_generalised_least_squares(weighted: bool, covariates: int) -> None:
    table = family_panel(70, 150, seed=3)
    table = table.select(table.variants["alt_frequency"].is_between(0.05, 0.95).to_numpy())
    lines = list(table.lines[5:][::-1])
    rng = np.random.default_rng(4)
    y_N = made_values(table, 0.5)[table.line_rows(lines)]
    k_NN = vanraden(table.select(None, lines)).matrix_NN
    weights_N = rng.integers(1, 5, len(lines)).astype(float) if weighted else None
    covariates_NC = rng.normal(size=(len(lines), covariates)) if covariates else None
    mean_N = np.ones(len(lines))
    fixed_NF = mean_N[:, None] if covariates_NC is None else np.column_stack([mean_N, covariates_NC])
    scale_N = np.ones(len(lines)) if weights_N is None else np.sqrt(weights_N)
    components = spectral_reml(y_N * scale_N, weighted_contrasts(k_NN, scale_N, fixed_NF))[0]
    assert components.genetic > 0
    v_NN = components.genetic * k_NN + np.diag(components.error / scale_N**2)
    effect_M, error_M = plain_gls(table, lines, y_N, v_NN, fixed_NF)

    found = gwas(table, lines, y_N, weights_N, k_NN, covariates_NC)

    # Products are float32, whose errors are about 1e-6 of a standard error.
    assert np.abs(found["effect"].to_numpy() - effect_M).max() < 2e-5 * error_M.max()
    np.testing.assert_allclose(found["standard_error"].to_numpy(), error_M, rtol=1e-5)


def test_variance_ratio_with_weights_and_covariates_is_that_of_the_full_likelihood() -> None:
    """δ maximises the restricted likelihood written out with determinants."""
    from scipy.optimize import minimize_scalar

    table = family_panel(60, 400, seed=5)
    rng = np.random.default_rng(6)
    y_N, weight_N = made_values(table, 0.5), rng.integers(1, 6, 60).astype(float)
    x_NF = np.column_stack([np.ones(60), rng.normal(size=60)])
    k_NN = vanraden(table).matrix_NN

    def deviance(log_ratio: float) -> float:
        v_NN = k_NN + np.exp(log_ratio) * np.diag(1 / weight_N)
        inverse_NN = np.linalg.inv(v_NN)
        information_FF = x_NF.T @ inverse_NN @ x_NF
        residual_N = y_N - x_NF @ np.linalg.solve(information_FF, x_NF.T @ inverse_NN @ y_N)
        return (58 * np.log(residual_N @ inverse_NN @ residual_N) + np.linalg.slogdet(v_NN)[1]
                + np.linalg.slogdet(information_FF)[1])

    best = minimize_scalar(deviance, bounds=(-6, 6), method="bounded").x
    c = spectral_reml(y_N * np.sqrt(weight_N), weighted_contrasts(k_NN, np.sqrt(weight_N), x_NF))[0]
    # Brent stops within 1e-5 of log δ scaled by its bounds, both of them.
    assert np.log(c.error / c.genetic) == pytest.approx(best, abs=1e-3)


def test_general_contrasts_equal_the_plain_ones() -> None:
    k_NN = vanraden(family_panel(50, 300, seed=7)).matrix_NN
    plain, general = contrast_eigen(k_NN), weighted_contrasts(k_NN, np.ones(50), np.ones((50, 1)))
    np.testing.assert_allclose(general.values_Q, plain.values_Q, atol=1e-10)
    assert np.abs(general.vectors_NQ.sum(axis=0)).max() < 1e-10


def test_a_shared_decomposition_gives_the_same_table_and_is_not_mixed_with_covariates() -> None:
    table = made_panel(50, 100)
    lines, y_N = list(table.lines), made_values(table)
    eigen = contrast_eigen(vanraden(table).matrix_NN)
    assert gwas(table, lines, y_N, eigen=eigen).equals(gwas(table, lines, y_N))
    with pytest.raises(ValueError, match="decomposition or weights"):
        gwas(table, lines, y_N, weights_N=np.ones(50), eigen=eigen)


def test_error_rates_hold_and_inflation_is_one_without_an_effect() -> None:
    """Traits drawn from the model itself: polygenic by K, no marker tested has an effect of its own."""
    from scipy.stats import binom

    rng = np.random.default_rng(8)
    background, tested = family_panel(250, 1500, seed=9), made_panel(250, 2000, seed=10)
    tested = GenotypeTable.from_packed(tested.variants, background.lines, tested.packed_MB)
    k_NN = vanraden(background).matrix_NN
    root_NN = np.linalg.cholesky(0.5 * k_NN + 0.5 * np.eye(250))
    eigen = contrast_eigen(k_NN)
    p_TM = np.array([gwas(tested, list(tested.lines), root_NN @ rng.normal(size=250), eigen=eigen)["p_value"].to_numpy()
                     for _ in range(5)])
    for level in (0.05, 0.01):
        # 10,000 tests of independent markers: 99.9 % of a binomial lies within.
        low, high = binom.ppf([5e-4, 1 - 5e-4], p_TM.size, level)
        assert low <= (p_TM < level).sum() <= high
    # λ of 10,000 tests has a standard error of about .02.
    assert genomic_inflation(p_TM.ravel()) == pytest.approx(1, abs=0.06)


def test_structure_that_a_plain_regression_takes_for_effects_is_accounted_for() -> None:
    table = family_panel(250, 1000, seed=11)
    rng = np.random.default_rng(12)
    k_NN = vanraden(table).matrix_NN
    y_N = np.linalg.cholesky(k_NN + 0.2 * np.eye(250)) @ rng.normal(size=250)
    plain = gwas(table, list(table.lines), y_N, relationship_NN=np.eye(250))
    mixed = gwas(table, list(table.lines), y_N, relationship_NN=k_NN)
    assert genomic_inflation(plain["p_value"].to_numpy()) > 2
    # K contains the markers tested, which makes tests conservative: λ below 1 is expected, above 1.2 is not.
    assert 0.6 < genomic_inflation(mixed["p_value"].to_numpy()) < 1.2


def test_a_planted_effect_is_found_and_measured() -> None:
    table = family_panel(400, 1500, seed=13)
    rng = np.random.default_rng(14)
    at = 777
    dosage_N = np.maximum(table.dosages([at])[:, 0], 0)
    y_N = 0.8 * dosage_N + made_values(table, 0.5, seed=15)
    y_N += rng.normal(size=400) * 0.1
    found = gwas(table, list(table.lines), y_N)
    best = found.sort("p_value").row(0, named=True)
    assert best["variant_id"] == table.variants["variant_id"][at]
    assert best["p_bonferroni"] < 1e-6
    assert best["q_value"] < 1e-6
    assert abs(best["effect"] - 0.8) < 4 * best["standard_error"]


def test_markers_that_cannot_be_tested_have_empty_cells_and_count_as_no_test() -> None:
    table = made_panel(40, 50, missing=0)
    dosage_MN = table.dosages().T.copy()
    dosage_MN[3] = 2
    dosage_MN[4] = -1
    table = GenotypeTable.from_dosages(table.variants, table.lines, dosage_MN)
    lines, y_N = list(table.lines), made_values(made_panel(40, 50, missing=0))
    found = gwas(table, lines, y_N)
    assert found["p_value"].is_null().to_list() == [i in (3, 4) for i in range(50)]
    assert found["minor_allele_frequency"][3] == 0
    assert found["minor_allele_frequency"][4] is None
    p_M = found["p_value"].drop_nulls().to_numpy()
    assert found["p_bonferroni"].drop_nulls().to_list() == np.minimum(p_M * 48, 1).tolist()
    # A marker that is a covariate too is explained by it.
    other = gwas(table, lines, y_N, covariates_NC=dosage_MN[[7]].T)
    assert other["p_value"][7] is None
    assert GWAS.faults(found) == []


def test_swapping_the_counted_allele_turns_the_effect_and_nothing_else() -> None:
    table = made_panel(60, 80)
    swapped = GenotypeTable.from_dosages(table.variants, table.lines,
                                         np.where(table.dosages() < 0, -1, 2 - table.dosages()).T.astype(np.int8))
    first, second = (gwas(t, list(t.lines), made_values(table)) for t in (table, swapped))
    np.testing.assert_allclose(first["effect"].to_numpy(), -second["effect"].to_numpy(), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(first["p_value"].to_numpy(), second["p_value"].to_numpy(), rtol=1e-4)


@pytest.mark.parametrize(("change", "words"), [
    ({"y_N": np.ones(30)}, "vary"), ({"y_N": np.ones(29)}, "one value"), ({"weights_N": np.zeros(30)}, "above 0"),
    ({"covariates_NC": np.ones((30, 1))}, "independent"), ({"relationship_NN": np.eye(3)}, "shape"),
    ({"y_N": np.full(30, np.nan)}, "finite")])
def test_what_cannot_be_tested_is_refused_in_words(change: dict[str, np.ndarray], words: str) -> None:
    table = made_panel(30, 20)
    arguments = {"y_N": made_values(table), **change}
    with pytest.raises(ValueError, match=words):
        gwas(table, list(table.lines), **arguments)
