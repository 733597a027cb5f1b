"""Torch on the CPU, and on a graphics card where there is one: the numbers of the engine without torch."""

from __future__ import annotations

import numpy as np
import pytest

from genomic_platform.genotypes import device
from genomic_platform.genotypes.kinship import codings, cross_product
from genomic_platform.genotypes.kinship.integer_product import integer_error
from genomic_platform.genotypes.kinship.relationship import relationship
from genomic_platform.genotypes.packing import pack
from genomic_platform.genotypes.population.structure import streaming_components
from genomic_platform_tests.unit.test_principal_components import scores
from genomic_platform_tests.unit.test_relationship import make_table
from genomic_platform_tests.unit.test_relationship_engine import CODE_OF_DOSAGE, made_dosages

torch = pytest.importorskip("torch")

DEVICES = ["cpu", pytest.param("cuda", marks=[
    pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")])]


@pytest.mark.parametrize("where", DEVICES)
@pytest.mark.parametrize("n_lines", [1, 2, 3, 4, 5, 37])
def test_packed_calls_are_unpacked_on_the_device(where: str, n_lines: int) -> None:
    dosage_NM = made_dosages(n_lines, 50, missing=0.2)
    found = device.to_device_dosages(pack(dosage_NM.T), n_lines, where)
    assert found.device.type == where
    assert found.dtype == torch.int8
    np.testing.assert_array_equal(found.cpu().numpy(), dosage_NM.T)


@pytest.mark.parametrize("where", DEVICES)
def test_shifts_give_each_call_its_number(where: str) -> None:
    dosage_NM = made_dosages(13, 50, missing=0.2)
    value_M4 = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    found = device.unpacked(pack(dosage_NM.T), value_M4, where)[:, :13].cpu().numpy()
    np.testing.assert_array_equal(found, value_M4[np.arange(50)[:, None], CODE_OF_DOSAGE[dosage_NM.T + 1]])


@pytest.mark.parametrize("where", DEVICES)
def test_products_on_the_device_are_those_of_the_cpu(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_product, "BAND", 16)
    monkeypatch.setattr(cross_product, "FLOAT32_VARIANTS", 500)
    table = make_table(made_dosages(43, 3003, missing=0.05))
    p_M = table.allele_frequencies()
    value_M4 = codings.standardised(p_M)
    scale = len(p_M)
    # float32 products of at most 500 markers, summed in float64, on either side
    np.testing.assert_allclose(device.self_product(table, value_M4, where) / scale,
                               cross_product.self_product(table, value_M4) / scale, atol=1e-6)
    right_NL = np.random.default_rng(1).normal(size=(43, 3))
    np.testing.assert_allclose(device.gram_times(table, value_M4, right_NL, where) / scale,
                               cross_product.gram_times(table, value_M4, right_NL) / scale, atol=1e-5)
    resident = device.ResidentGram(table, value_M4, where, batch=70)
    for _ in range(2):
        np.testing.assert_allclose(resident(right_NL) / scale, cross_product.gram_times(table, value_M4, right_NL)
                                   / scale, atol=1e-5)
    error = integer_error(table, p_M)
    found_NN = device.integer_product(table, p_M, where)
    assert np.abs(found_NN - cross_product.self_product(table, codings.additive(p_M))).max() < error


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_relationships_and_components_on_a_card_are_those_of_the_cpu() -> None:
    table = make_table(made_dosages(1500, 4001, missing=0.05))
    for kind in ("vanraden1", "yang", "dominance", "gaussian"):
        np.testing.assert_allclose(relationship(table, kind, device="cuda").matrix_NN,
                                   relationship(table, kind).matrix_NN, atol=2e-6)
    whole = relationship(table, engine="int8", device="cuda")
    np.testing.assert_allclose(whole.matrix_NN, relationship(table, engine="int8").matrix_NN, atol=1e-11)
    assert whole.engine == "int8"
    on_card, on_cpu = (scores(streaming_components(table, 3, device=d, tolerance=1e-5)) for d in ("cuda", "cpu"))
    np.testing.assert_allclose(np.linalg.svd(np.linalg.qr(on_card)[0].T @ np.linalg.qr(on_cpu)[0])[1], 1, atol=1e-3)


def test_a_device_that_is_not_there_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="expected cpu or cuda"):
        device.torch_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="finds no CUDA device here; use cpu"):
            device.torch_device("cuda")
