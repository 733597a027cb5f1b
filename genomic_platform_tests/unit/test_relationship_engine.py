"""Products over packed calls, and every kind of relationship, against plain float64 implementations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomic_platform.errors import InputError
from genomic_platform.genotypes import table as table_module
from genomic_platform.genotypes.kinship import codings, cross_product
from genomic_platform.genotypes.kinship import relationship as relationship_module
from genomic_platform.genotypes.kinship.integer_product import multiplies_int8
from genomic_platform.genotypes.kinship.relationship import cross_relationship, relationship
from genomic_platform.genotypes.packing import pack
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform_tests.unit.test_relationship import make_table, plain_frequencies

KINDS = ["vanraden1", "vanraden2", "yang", "dominance", "gaussian"]
CODE_OF_DOSAGE = np.array([1, 3, 2, 0])  # index: dosage + 1


def made_dosages(n_lines: int, n_markers: int, missing: float, seed: int = 4, rare: bool = False) -> np.ndarray:
    """Half inbred lines; `rare`: most frequencies are near 0 or 1."""
    rng = np.random.default_rng(seed)
    p_M = rng.beta(*((0.1, 0.1) if rare else (1, 1)), n_markers)
    alleles_2NM = rng.random((2, n_lines, n_markers)) < p_M
    inbred_NM = rng.random((n_lines, n_markers)) < 0.5
    dosage_NM = (alleles_2NM[0] + np.where(inbred_NM, alleles_2NM[0], alleles_2NM[1])).astype(np.int8)
    dosage_NM[rng.random(dosage_NM.shape) < missing] = -1
    return dosage_NM


def plain(kind: str, dosage_NM: np.ndarray, p_M: np.ndarray) -> np.ndarray:
    """A relationship written out from its paper, marker by marker where that is plainest."""
    called_NM, varies_M = dosage_NM >= 0, (p_M > 0) & (p_M < 1)
    x_NM, q_M = dosage_NM.astype(float), 1 - p_M
    z_NM = np.where(called_NM, x_NM - 2 * p_M, 0)
    if kind == "vanraden1":
        return z_NM @ z_NM.T / (2 * np.sum(p_M * q_M))
    if kind in ("vanraden2", "yang"):
        matrix_NN = np.mean([np.outer(z_M, z_M) / (2 * p * (1 - p))
                             for z_M, p in zip(z_NM.T[varies_M], p_M[varies_M], strict=True)],
                            axis=0)
        if kind == "yang":
            for i in range(len(x_NM)):
                at = called_NM[i] & varies_M
                x, p = x_NM[i, at], p_M[at]
                matrix_NN[i, i] = 1 + np.mean((x**2 - (1 + 2 * p) * x + 2 * p**2) / (2 * p * (1 - p)))
        return matrix_NN
    if kind == "dominance":
        h_NM = np.select([dosage_NM == 2, dosage_NM == 1, dosage_NM == 0], [-2 * q_M**2, 2 * p_M * q_M, -2 * p_M**2], 0)
        return h_NM @ h_NM.T / np.sum((2 * p_M * q_M) ** 2)
    d2_NN = ((z_NM[:, None, :] - z_NM[None, :, :]) ** 2).sum(axis=2)
    return np.exp(-d2_NN / np.median(d2_NN[np.triu_indices(len(d2_NN), 1)]))


def need_int8() -> None:
    """Products of bytes by the processor's instruction, else by torch."""
    if not multiplies_int8():
        pytest.importorskip("torch")


@pytest.fixture(scope="module")
def dosage_NM() -> np.ndarray:
    drawn_NM = made_dosages(43, 5000, missing=0.05)
    drawn_NM[:, 17] = -1
    drawn_NM[:, 18] = 2
    drawn_NM[3] = -1  # a line without a call
    return drawn_NM


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_its_papers_formula(dosage_NM: np.ndarray, kind: str) -> None:
    dosage_NM = np.delete(dosage_NM, 3, axis=0) if kind == "yang" else dosage_NM  # whose mean over no marker is none
    found = relationship(make_table(dosage_NM), kind)
    np.testing.assert_allclose(found.matrix_NN, plain(kind, dosage_NM, plain_frequencies(dosage_NM)), atol=1e-6)
    np.testing.assert_array_equal(found.matrix_NN, found.matrix_NN.T)
    assert (found.kind, found.engine) == (kind, "float32")


def test_yang_of_a_line_without_a_call_is_one_with_itself(dosage_NM: np.ndarray) -> None:
    assert relationship(make_table(dosage_NM), "yang").matrix_NN[3, 3] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_swapped_alleles_give_the_same_relationship(dosage_NM: np.ndarray, kind: str) -> None:
    swapped_NM = np.where(dosage_NM < 0, -1, 2 - dosage_NM).astype(np.int8)
    # float32 sums of other numbers
    np.testing.assert_allclose(relationship(make_table(swapped_NM), kind).matrix_NN,
                               relationship(make_table(dosage_NM), kind).matrix_NN, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_cross_relationship_of_panel_lines_is_the_panels_in_every_kind(dosage_NM: np.ndarray, kind: str) -> None:
    table = make_table(dosage_NM)
    panel = relationship(table, kind)
    crossed_QN = cross_relationship(table.select(lines=["L7", "L0"]), table, panel.frequencies_M, panel.scale, kind)
    expected_QN = panel.matrix_NN[[7, 0]].copy()
    if kind == "yang":  # its diagonal is of a line with itself alone
        crossed_QN[[0, 1], [7, 0]] = expected_QN[[0, 1], [7, 0]]
    np.testing.assert_allclose(crossed_QN, expected_QN, atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(n_lines=st.integers(1, 9), n_markers=st.integers(1, 40), missing=st.sampled_from([0.0, 0.3, 1.0]),
       seed=st.integers(0, 1000))
def test_products_do_not_depend_on_bands_blocks_and_padding(n_lines: int, n_markers: int, missing: float,
                                                            seed: int) -> None:
    dosage_NM = made_dosages(n_lines, n_markers, missing, seed)
    value_M4 = np.random.default_rng(seed).integers(-5, 6, (n_markers, 4)).astype(float)
    z_NM = value_M4[np.arange(n_markers), CODE_OF_DOSAGE[dosage_NM + 1]]
    table = make_table(dosage_NM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cross_product, "BAND", 3)
        patch.setattr(cross_product, "FLOAT32_VARIANTS", 1)
        patch.setattr(cross_product, "_TILE_BYTES", 64)
        # small integers are exact in float32
        np.testing.assert_array_equal(cross_product.self_product(table, value_M4), z_NM @ z_NM.T)
        np.testing.assert_array_equal(cross_product.cross_product(table, table, value_M4, -value_M4), -z_NM @ z_NM.T)
        np.testing.assert_array_equal(cross_product.line_sums(table, value_M4), z_NM.sum(axis=1))
        right_NL = np.arange(2 * n_lines).reshape(n_lines, 2)
        np.testing.assert_array_equal(cross_product.gram_times(table, value_M4, right_NL), z_NM @ (z_NM.T @ right_NL))


@settings(deadline=None, max_examples=40)
@given(n_lines=st.integers(1, 9), n_markers=st.integers(1, 40))
def test_decoding_gives_each_call_its_number(n_lines: int, n_markers: int) -> None:
    dosage_NM = made_dosages(n_lines, n_markers, missing=0.2)
    for dtype in (np.int8, np.float32):
        value_M4 = np.random.default_rng(n_lines).integers(-127, 128, (n_markers, 4)).astype(dtype)
        expected_MN = value_M4[np.arange(n_markers), CODE_OF_DOSAGE[dosage_NM + 1]].T
        np.testing.assert_array_equal(cross_product.decoded(pack(dosage_NM.T), value_M4, n_lines), expected_MN)


def test_a_table_on_disk_is_streamed_to_the_same_matrix(dosage_NM: np.ndarray, tmp_path: Path,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    table = make_table(dosage_NM)
    table.save(tmp_path / "panel")
    monkeypatch.setattr(table_module, "KEPT_BYTES", 0)
    monkeypatch.setattr(cross_product, "FLOAT32_VARIANTS", 700)
    on_disk = GenotypeTable.open(tmp_path / "panel")
    in_memory_NN = relationship(table).matrix_NN
    np.testing.assert_array_equal(relationship(on_disk).matrix_NN, in_memory_NN)
    assert "packed_MB" not in vars(on_disk)


@pytest.mark.parametrize(("missing", "rare"), [(0.0, False), (0.02, False), (0.2, False), (0.02, True), (0.2, True)])
def test_int8_errs_by_less_than_it_states(missing: float, rare: bool) -> None:
    need_int8()
    dosage_NM = made_dosages(150, 6000, missing, rare=rare)
    dosage_NM[0, :4000] = -1 if missing else dosage_NM[0, :4000]  # one line with few calls is the worst
    found = relationship(make_table(dosage_NM), engine="int8")
    error_NN = np.abs(found.matrix_NN - plain("vanraden1", dosage_NM, plain_frequencies(dosage_NM)))
    if missing:
        assert 0.1 * found.error < error_NN.max() < found.error
    else:
        assert error_NN.max() < 1e-12  # calls made are whole numbers: only the last sums round
        assert found.error == 0
    np.testing.assert_array_equal(found.matrix_NN, found.matrix_NN.T)


def test_int8_is_exact_to_what_auto_asks_at_fifty_thousand_markers_with_a_fifth_missing() -> None:
    need_int8()
    table = make_table(made_dosages(60, 50_000, missing=0.2))
    found = relationship(table, engine="int8")
    assert np.abs(found.matrix_NN - relationship(table).matrix_NN).max() < found.error < 5e-5


def test_int8_gives_the_gaussian_kernel_too(dosage_NM: np.ndarray) -> None:
    need_int8()
    table = make_table(dosage_NM)
    found = relationship(table, "gaussian", engine="int8")
    assert np.abs(found.matrix_NN - relationship(table, "gaussian").matrix_NN).max() < found.error < 1e-3


def test_auto_takes_int8_only_where_it_is_fast_and_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    table = make_table(made_dosages(60, 3000, missing=0.02))
    monkeypatch.setattr(relationship_module, "multiplies_int8", lambda: False)
    assert relationship(table, engine="auto").engine == "float32"
    monkeypatch.undo()
    if not multiplies_int8():
        pytest.skip("this CPU has no AVX-512 VNNI")
    assert relationship(table, engine="auto").engine == "float32"  # few markers: an error of 7e-5
    monkeypatch.setattr(relationship_module, "INT8_ERROR", 1e-3)
    assert relationship(table, engine="auto").engine == "int8"
    assert relationship(table, "dominance", engine="auto").engine == "float32"


def test_int8_of_the_instruction_and_of_torch_are_the_same(dosage_NM: np.ndarray,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    if not multiplies_int8():
        pytest.skip("this CPU has no AVX-512 VNNI")
    for n_lines in (1, 8, 43, 48, 49, 401):
        table = make_table(made_dosages(n_lines, 2500, missing=0.05))
        monkeypatch.undo()
        by_instruction_NN = relationship(table, engine="int8").matrix_NN
        monkeypatch.setattr(relationship_module, "multiplies_int8", lambda: False)
        # whole numbers in both: only the sums of rank one round, in float64
        np.testing.assert_allclose(relationship(table, engine="int8").matrix_NN, by_instruction_NN, atol=1e-11)


def test_given_frequencies_centre_int8_as_float32(dosage_NM: np.ndarray) -> None:
    need_int8()
    p_M = np.linspace(0, 1, dosage_NM.shape[1])
    table = make_table(dosage_NM)
    found = relationship(table, frequencies_M=p_M, engine="int8")
    assert np.abs(found.matrix_NN - relationship(table, frequencies_M=p_M).matrix_NN).max() < found.error


def test_what_cannot_be_computed_is_refused_in_words(dosage_NM: np.ndarray) -> None:
    table = make_table(dosage_NM)
    with pytest.raises(ValueError, match="expected a kind of vanraden1"):
        relationship(table, "additive")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="whose markers weigh alike; found yang: use float32"):
        relationship(table, "yang", engine="int8")
    with pytest.raises(InputError, match="at least one marker that varies"):
        relationship(make_table(np.full((3, 4), 2, dtype=np.int8)), "dominance")
    with pytest.raises(ValueError, match="needs lines that differ"):
        relationship(make_table(dosage_NM[[1, 1, 1]]), "gaussian", np.full(dosage_NM.shape[1], 0.5))


def test_codings_are_zero_for_missing_calls_and_where_nothing_varies() -> None:
    p_M = np.array([0.0, 1.0, 0.3])
    for coding in (codings.standardised, codings.dominance, codings.own_deviation, codings.called):
        value_M4 = coding(p_M)
        assert np.isfinite(value_M4).all()
        assert not value_M4[:2].any()
        assert not value_M4[:, 1].any()
    # orthogonal to the additive coding and of mean zero in Hardy–Weinberg proportions
    share_4 = np.array([0.09, 0, 0.42, 0.49])
    assert abs(share_4 @ (codings.dominance(p_M)[2] * codings.additive(p_M)[2])) < 1e-15
    assert abs(share_4 @ codings.dominance(p_M)[2]) < 1e-15
