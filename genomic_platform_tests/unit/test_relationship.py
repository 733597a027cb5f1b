"""Relationship, distances, identity by state and components against slow plain implementations in float64."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import InputError
from genomic_platform.genotypes.kinship.relationship import (
    cross_relationship,
    identity_by_state,
    squared_distances,
    vanraden,
)
from genomic_platform.genotypes.population.structure import principal_components
from genomic_platform.genotypes.quality.duplicates import close_pairs, identical_lines
from genomic_platform.genotypes.table import GenotypeTable


def make_table(dosage_NM: np.ndarray, names: list[str] | None = None) -> GenotypeTable:
    n, m = dosage_NM.shape
    variants = pl.DataFrame({"variant_id": [f"m{i}" for i in range(m)], "chromosome": ["1"] * m,
                             "position": np.arange(1, m + 1), "ref": ["A"] * m, "alt": ["C"] * m})
    return GenotypeTable.from_dosages(variants, names or [f"L{i}" for i in range(n)], dosage_NM.T)


@pytest.fixture(scope="module")
def dosage_NM() -> np.ndarray:
    rng = np.random.default_rng(3)
    drawn_NM = rng.binomial(2, rng.beta(0.5, 0.5, 9000), (40, 9000)).astype(np.int8)
    drawn_NM[rng.random(drawn_NM.shape) < 0.05] = -1
    drawn_NM[:, 17] = -1  # nothing called
    drawn_NM[:, 18] = 2  # monomorphic
    return drawn_NM


def plain_centred(dosage_NM: np.ndarray, p_M: np.ndarray) -> np.ndarray:
    z_NM = dosage_NM.astype(float) - 2 * p_M
    return np.where(dosage_NM < 0, 0.0, z_NM)


def plain_frequencies(dosage_NM: np.ndarray) -> np.ndarray:
    called_M = (dosage_NM >= 0).sum(axis=0)
    return np.where(dosage_NM < 0, 0, dosage_NM).sum(axis=0) / np.maximum(2 * called_M, 1)


def test_vanraden_is_method_one_with_missing_calls_at_twice_p(dosage_NM: np.ndarray) -> None:
    p_M = plain_frequencies(dosage_NM)
    z_NM, scale = plain_centred(dosage_NM, p_M), 2 * (p_M * (1 - p_M)).sum()
    found = vanraden(make_table(dosage_NM))
    assert found.scale == pytest.approx(scale, rel=1e-12)
    np.testing.assert_allclose(found.frequencies_M, p_M, atol=1e-15)
    # float32 products of blocks: 24 bits of mantissa over a few thousand terms
    np.testing.assert_allclose(found.matrix_NN, z_NM @ z_NM.T / scale, atol=1e-6)
    np.testing.assert_array_equal(found.matrix_NN, found.matrix_NN.T)


def test_given_frequencies_are_used(dosage_NM: np.ndarray) -> None:
    p_M = np.full(dosage_NM.shape[1], 0.5)
    z_NM = plain_centred(dosage_NM, p_M)
    found = vanraden(make_table(dosage_NM), p_M)
    np.testing.assert_allclose(found.matrix_NN, z_NM @ z_NM.T / (0.5 * len(p_M)), atol=1e-6)


def test_cross_relationship_of_panel_lines_is_the_panels(dosage_NM: np.ndarray) -> None:
    table = make_table(dosage_NM)
    panel = vanraden(table)
    crossed_NN = cross_relationship(table.select(lines=["L5", "L1"]), table, panel.frequencies_M, panel.scale)
    np.testing.assert_allclose(crossed_NN, panel.matrix_NN[[5, 1]], atol=1e-6)


def test_other_markers_and_frequencies_are_refused(dosage_NM: np.ndarray) -> None:
    table = make_table(dosage_NM)
    with pytest.raises(ValueError, match="different markers, alleles or orders"):
        squared_distances(table, table.select(np.arange(100)))
    with pytest.raises(ValueError, match="one for each marker"):
        vanraden(table, np.zeros(3))
    with pytest.raises(InputError, match="at least one marker that varies"):
        vanraden(make_table(np.full((3, 4), 2, dtype=np.int8)))


def test_squared_distances_are_sums_over_markers(dosage_NM: np.ndarray) -> None:
    z_NM = plain_centred(dosage_NM, plain_frequencies(dosage_NM))
    plain_NN = ((z_NM[:, None, :] - z_NM[None, :, :]) ** 2).sum(axis=2)
    table = make_table(dosage_NM)
    found_NN = squared_distances(table)
    np.testing.assert_allclose(found_NN, plain_NN, atol=1e-6 * plain_NN.max())
    assert (np.diagonal(found_NN) == 0).all()
    crossed_NN = squared_distances(table.select(lines=["L9"]), table, table.allele_frequencies())
    np.testing.assert_allclose(crossed_NN, plain_NN[[9]], atol=1e-6 * plain_NN.max())


@pytest.mark.parametrize("impute", [True, False])
def test_identity_by_state_counts_markers_called_in_both(dosage_NM: np.ndarray, impute: bool) -> None:
    used_NM = np.maximum(dosage_NM, 0) if impute else dosage_NM
    both = (used_NM[:, None, :] >= 0) & (used_NM[None, :, :] >= 0)
    apart = np.abs(used_NM[:, None, :].astype(float) - used_NM[None, :, :])
    plain_NN = 1 - (apart * both).sum(axis=2) / (2 * both.sum(axis=2))
    np.testing.assert_allclose(identity_by_state(make_table(used_NM)), plain_NN, atol=1e-12)


def test_identical_lines_are_grouped_through_chains(dosage_NM: np.ndarray) -> None:
    twice_NM = np.concatenate([dosage_NM, dosage_NM[[4, 4, 8]]])
    table = make_table(twice_NM, [f"L{i}" for i in range(40)] + ["copy_a", "copy_b", "copy_c"])
    assert identical_lines(table) == [{"L4", "copy_a", "copy_b"}, {"L8", "copy_c"}]
    pairs = close_pairs(table)
    assert pairs.select("line_1", "line_2").rows() == [
        ("L4", "copy_a"), ("L4", "copy_b"), ("L8", "copy_c"), ("copy_a", "copy_b")]
    assert pairs["ibs"].to_list() == [1.0] * 4
    assert identical_lines(make_table(dosage_NM)) == []


def test_principal_components_are_eigenpairs_with_a_fixed_sign(dosage_NM: np.ndarray) -> None:
    table = make_table(dosage_NM)
    matrix_NN = vanraden(table).matrix_NN
    scores = principal_components(matrix_NN, table.lines, 3)
    values, vectors = np.linalg.eigh(matrix_NN)
    for k in (1, 2, 3):
        found = scores.filter(component=k)
        by_line = dict(zip(found["line_id"], found["score"], strict=True))
        score_N = np.array([by_line[line] for line in table.lines])
        np.testing.assert_allclose(np.abs(score_N), np.abs(vectors[:, -k]) * np.sqrt(values[-k]), atol=1e-4)
        assert score_N[np.abs(score_N).argmax()] > 0
        assert found["variance_share"][0] == pytest.approx(values[-k] / np.trace(matrix_NN), rel=1e-4)


def test_principal_components_of_many_lines_are_the_same_eigenpairs() -> None:
    root_NM = np.random.default_rng(5).normal(size=(520, 40)) * np.linspace(1, 3, 40)
    matrix_NN = root_NM @ root_NM.T
    matrix_NN -= matrix_NN.mean(axis=0)
    matrix_NN -= matrix_NN.mean(axis=1)[:, None]
    scores = principal_components(matrix_NN, [f"L{i}" for i in range(520)], 2)
    values, vectors = np.linalg.eigh(matrix_NN)
    for k in (1, 2):
        found = scores.filter(component=k).sort(pl.col("line_id").str.slice(1).cast(pl.Int64))["score"].to_numpy()
        np.testing.assert_allclose(np.abs(found), np.abs(vectors[:, -k]) * np.sqrt(values[-k]), atol=1e-6)
    assert scores.equals(principal_components(matrix_NN, [f"L{i}" for i in range(520)], 2))
