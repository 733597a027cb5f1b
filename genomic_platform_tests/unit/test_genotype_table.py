"""The packed genotype table: packing is PLINK's, content survives every round trip, statistics are the plain ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import StoreError
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.table import GenotypeTable


def described(m: int) -> pl.DataFrame:
    return pl.DataFrame({"variant_id": [f"m{i}" for i in range(m)], "chromosome": [str(i % 3) for i in range(m)],
                         "position": [1000 - i for i in range(m)], "ref": ["A"] * m, "alt": ["C"] * m})


def random_table(n: int = 13, m: int = 60, seed: int = 0) -> tuple[GenotypeTable, dict[str, np.ndarray]]:
    """A table, and each variant's dosages in line order as they were before packing and sorting."""
    dosage_MN = np.random.default_rng(seed).integers(-1, 3, (m, n)).astype(np.int8)
    table = GenotypeTable.from_dosages(described(m), [f"L{i}" for i in range(n)], dosage_MN)
    return table, {f"m{i}": dosage_MN[i] for i in range(m)}


def test_packing_is_plink_bed_with_a1_as_alt() -> None:
    packed_MB = packing.pack(np.array([[2, -1, 1, 0, 1]], dtype=np.int8))
    assert packed_MB.tolist() == [[0b11_10_01_00, 0b10]]


@pytest.mark.parametrize("n", range(1, 10))
def test_pack_and_unpack_are_inverse_for_every_width(n: int) -> None:
    dosage_MN = np.random.default_rng(n).integers(-1, 3, (7, n)).astype(np.int8)
    np.testing.assert_array_equal(packing.unpack(packing.pack(dosage_MN), n), dosage_MN)


def test_dosages_outside_the_range_are_refused() -> None:
    with pytest.raises(ValueError, match="found 0 to 3"):
        packing.pack(np.array([[0, 3]], dtype=np.int8))


def test_variants_are_sorted_and_calls_follow_them() -> None:
    table, calls = random_table()
    keys = table.variants.select("chromosome", "position", "ref", "alt").rows()
    assert keys == sorted(keys)
    dosage_NM = table.dosages()
    for column, name in enumerate(table.variants["variant_id"]):
        np.testing.assert_array_equal(dosage_NM[:, column], calls[name])


def test_frequencies_and_call_rates_are_those_of_called_genotypes() -> None:
    table, calls = random_table()
    for name, frequency, rate in table.variants.select("variant_id", "alt_frequency", "call_rate").rows():
        called = calls[name][calls[name] >= 0]
        assert frequency == pytest.approx(called.sum() / (2 * len(called)))
        assert rate == pytest.approx(len(called) / 13)


def test_a_variant_without_a_call_has_no_frequency() -> None:
    table = GenotypeTable.from_dosages(described(1), ["a", "b"], np.full((1, 2), -1, dtype=np.int8))
    assert table.variants["alt_frequency"].to_list() == [None]
    assert np.isnan(table.allele_frequencies()).all()


@pytest.mark.parametrize("size", [1, 7, 60, 4096])
def test_blocks_cover_the_table_once_and_in_order(size: int) -> None:
    table, _ = random_table()
    blocks = list(table.blocks(size))
    assert [start for start, _ in blocks] == list(range(0, 60, size))
    np.testing.assert_array_equal(np.concatenate([b for _, b in blocks]), table.dosages().T)


def test_saved_table_comes_back_and_equal_content_is_equal_bytes(tmp_path: Path) -> None:
    table, _ = random_table(n=600, m=5000)
    table.save(tmp_path / "a")
    again = GenotypeTable.open(tmp_path / "a")
    again.save(tmp_path / "b")
    assert again.lines == table.lines
    assert again.variants.equals(table.variants)
    np.testing.assert_array_equal(again.packed_MB, table.packed_MB)
    for name in ("genotypes.parquet", "lines.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    footer = json.loads(pl.read_parquet_metadata(tmp_path / "a" / "genotypes.parquet")["genomic_platform"])
    assert (footer["ploidy"], footer["coding_digest"], footer["n_lines"]) == (2, table.marker_digest, 600)


def test_opening_another_table_names_what_was_found(tmp_path: Path) -> None:
    table, _ = random_table()
    table.save(tmp_path)
    (tmp_path / "genotypes.parquet").write_bytes((tmp_path / "lines.parquet").read_bytes())
    with pytest.raises(StoreError, match="expected table genotypes version 2, found genotype_lines"):
        GenotypeTable.open(tmp_path)


def test_selection_recomputes_frequencies_and_keeps_the_order_of_lines_asked_for() -> None:
    table, calls = random_table()
    chosen = table.select(np.arange(60) % 2 == 0, ["L7", "L2", "L11"])
    assert chosen.lines == ("L7", "L2", "L11")
    assert chosen.variants["variant_id"].to_list() == table.variants["variant_id"].to_list()[::2]
    for column, name in enumerate(chosen.variants["variant_id"]):
        np.testing.assert_array_equal(chosen.dosages()[:, column], calls[name][[7, 2, 11]])
    direct = GenotypeTable.from_dosages(chosen.variants, chosen.lines, chosen.dosages().T)
    assert direct.variants.equals(chosen.variants)


def test_dosages_of_some_variants_come_in_the_order_asked_for() -> None:
    table, _ = random_table()
    np.testing.assert_array_equal(table.dosages([5, 1], ["L3"]), table.dosages()[[3]][:, [5, 1]])


@pytest.mark.parametrize(("lines", "message"), [
    (["L1", "nobody"], "1 lines have no genotypes here: nobody"),
    (["L1", "L1"], "no line twice"),
    ([], "at least one line"),
])
def test_selection_refuses_unknown_repeated_and_no_lines(lines: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        random_table()[0].select(lines=lines)


def test_marker_digest_changes_with_ids_alleles_and_order_only() -> None:
    table, _ = random_table()
    assert table.select(lines=["L1"]).marker_digest == table.marker_digest
    swapped = GenotypeTable.from_dosages(table.variants.rename({"ref": "alt", "alt": "ref"}), table.lines,
                                         table.dosages().T)
    assert swapped.marker_digest != table.marker_digest
    assert table.select(np.arange(59)).marker_digest != table.marker_digest
