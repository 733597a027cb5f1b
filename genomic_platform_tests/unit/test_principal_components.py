"""Principal components streamed from packed calls against exact eigenvectors of the relationship matrix."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from genomic_platform.genotypes.kinship import cross_product
from genomic_platform.genotypes.kinship.relationship import relationship
from genomic_platform.genotypes.population import krylov
from genomic_platform.genotypes.population.krylov import largest_eigenpairs
from genomic_platform.genotypes.population.structure import principal_components, streaming_components
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.schemas.genotypes import POPULATION_STRUCTURE
from genomic_platform_tests.unit.test_relationship import make_table


@pytest.fixture(scope="module")
def table() -> GenotypeTable:
    """Six populations: five components stand out."""
    rng = np.random.default_rng(8)
    p_KM = np.clip(rng.uniform(0.2, 0.8, 3000) + rng.normal(0, 0.15, (6, 3000)), 0.02, 0.98)
    dosage_NM = rng.binomial(2, p_KM[np.arange(1203) % 6]).astype(np.int8)
    dosage_NM[rng.random(dosage_NM.shape) < 0.05] = -1
    dosage_NM[:, 5] = 0
    return make_table(dosage_NM)


def scores(components: pl.DataFrame) -> np.ndarray:
    return components.sort("line_id", "component")["score"].to_numpy().reshape(-1, components["component"].max())


@pytest.mark.parametrize(("scaling", "kind"), [("standardised", "vanraden2"), ("vanraden1", "vanraden1")])
def test_streamed_components_are_those_of_the_matrix(table: GenotypeTable, scaling: str, kind: str) -> None:
    exact = principal_components(relationship(table, kind).matrix_NN, table.lines, 5)
    found = streaming_components(table, 5, scaling=scaling, tolerance=1e-5)
    # a residual of 1e-5 λ over gaps of a twentieth of λ and more: vectors to 1e-3, values to its square
    np.testing.assert_allclose(scores(found), scores(exact), atol=1e-3 * np.abs(scores(exact)).max())
    np.testing.assert_allclose(found["variance_share"], exact["variance_share"], rtol=1e-6)
    assert found.schema == POPULATION_STRUCTURE.schema


def test_the_same_call_gives_the_same_bytes_and_another_seed_the_same_components(table: GenotypeTable) -> None:
    first = streaming_components(table, 5)
    assert first.equals(streaming_components(table, 5))
    other = streaming_components(table, 5, seed=1)
    np.testing.assert_allclose(scores(first), scores(other), atol=1e-2 * np.abs(scores(first)).max())


def test_few_lines_give_the_matrix_itself_and_all_components(table: GenotypeTable) -> None:
    few = table.select(lines=table.lines[:30])
    exact = principal_components(relationship(few, "vanraden2").matrix_NN, few.lines, 40)
    found = streaming_components(few, 40)
    assert found["component"].max() == 30
    # the last component has the value 0 but for float32 rounding, √1e-6
    np.testing.assert_allclose(np.abs(scores(found)), np.abs(scores(exact)), atol=2e-3)


def test_a_table_without_variation_is_refused() -> None:
    with pytest.raises(ValueError, match="no marker varies"):
        streaming_components(make_table(np.full((3, 4), 2, dtype=np.int8)))


def test_close_eigenvalues_are_found_with_few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    values_N = np.concatenate([1 + 0.02 * np.arange(20), np.linspace(0, 0.9, 1480)])
    turn_NN = np.linalg.qr(rng.normal(size=(1500, 1500)))[0]
    matrix_NN = (turn_NN * values_N) @ turn_NN.T
    passes = []

    def times(block_NL: np.ndarray) -> np.ndarray:
        passes.append(block_NL.shape)
        return matrix_NN @ block_NL

    found_K, vectors_NK = largest_eigenpairs(times, 1500, 10, tolerance=1e-6)
    np.testing.assert_allclose(found_K, np.sort(values_N)[::-1][:10], rtol=1e-10)
    residual_K = np.linalg.norm(matrix_NN @ vectors_NK - vectors_NK * found_K, axis=0)
    assert residual_K.max() < 1e-6 * found_K[0] * 1.01  # what the last pass told, but for rounding
    np.testing.assert_allclose(vectors_NK.T @ vectors_NK, np.eye(10), atol=1e-12)
    assert len(passes) < 25
    monkeypatch.setattr(krylov, "_DENSE_ROWS", 2000)
    np.testing.assert_allclose(largest_eigenpairs(times, 1500, 10)[0], found_K, rtol=1e-10)


def test_passes_stop_at_the_most_allowed(table: GenotypeTable) -> None:
    passes = []
    value_M4 = np.tile([2.0, 0.0, 1.0, 0.0], (table.n_variants, 1))

    def times(block_NL: np.ndarray) -> np.ndarray:
        passes.append(1)
        return cross_product.gram_times(table, value_M4, block_NL)

    largest_eigenpairs(times, table.n_lines, 5, tolerance=0, most_passes=3)
    assert len(passes) == 3
