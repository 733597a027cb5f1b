"""Hybrids from inbred parents: every pair of calls, against means of dosages, and the check of genotyped hybrids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomic_platform.genotypes.kinship.hybrids import check_hybrids, hybrid_blocks, hybrid_genotypes
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform_tests.support.crosses import made_programme
from genomic_platform_tests.support.panels import made_panel


def crosses(*rows: tuple[str, str | None, str | None]) -> pl.DataFrame:
    return pl.DataFrame(rows, {"line_id": pl.String, "parent_1": pl.String, "parent_2": pl.String}, orient="row")


def by_dosage(one_M: np.ndarray, other_M: np.ndarray) -> np.ndarray:
    """The plain rule: the mean of two homozygous dosages, else missing."""
    homozygous_M = np.isin(one_M, (0, 2)) & np.isin(other_M, (0, 2))
    return np.where(homozygous_M, (one_M + other_M) // 2, -1)


def test_every_pair_of_parental_calls() -> None:
    calls = np.array([[-1, 0, 1, 2]]).repeat(4, axis=0)
    dosage_MN = np.stack([calls.T.ravel(), calls.ravel()], axis=1).astype(np.int8)
    variants = made_panel(2, 16).variants
    hybrid = hybrid_genotypes(GenotypeTable.from_dosages(variants, ["P", "Q"], dosage_MN), crosses(("H", "P", "Q")))
    expected = [-1, -1, -1, -1,  -1, 0, -1, 1,  -1, -1, -1, -1,  -1, 1, -1, 2]  # rows P = missing, 0, 1, 2
    assert hybrid.dosages()[0].tolist() == expected


@settings(deadline=None, max_examples=40)
@given(n=st.integers(1, 23), h=st.integers(1, 23), seed=st.integers(0, 1000))
def test_equal_to_means_of_dosages_at_every_number_of_lines_and_hybrids(n: int, h: int, seed: int) -> None:
    panel = made_panel(n, 70, seed, missing=0.1)
    rng = np.random.default_rng(seed)
    one_H, other_H = rng.integers(0, n, (2, h))
    wanted = crosses(*((f"H{k}", panel.lines[one_H[k]], panel.lines[other_H[k]]) for k in range(h)))
    dosage_NM = panel.dosages()
    hybrids = hybrid_genotypes(panel, wanted)
    np.testing.assert_array_equal(hybrids.dosages(), by_dosage(dosage_NM[one_H], dosage_NM[other_H]))
    assert hybrids.marker_digest == panel.marker_digest


def test_a_table_on_disk_is_streamed_to_the_same_hybrids(tmp_path: Path) -> None:
    panel = made_panel(30, 300)
    panel.save(tmp_path / "panel")
    wanted = crosses(("H", "line003", "line007"), ("I", "line000", "line029"))
    on_disk = GenotypeTable.open(tmp_path / "panel")
    blocks = [block_mB for _, block_mB in hybrid_blocks(on_disk, wanted, size=64)]
    np.testing.assert_array_equal(np.concatenate(blocks), hybrid_genotypes(panel, wanted).packed_MB)


def test_refused() -> None:
    panel = made_panel(5, 20)
    with pytest.raises(ValueError, match="1 lines have no genotypes here: Z"):
        hybrid_genotypes(panel, crosses(("H", "line000", "Z")))
    with pytest.raises(ValueError, match="1 hybrids lack a parent: H"):
        hybrid_genotypes(panel, crosses(("H", "line000", None)))
    with pytest.raises(ValueError, match="no line twice"):
        hybrid_genotypes(panel, crosses(("H", "line000", "line001"), ("H", "line000", "line002")))


def test_true_hybrids_are_checked_and_false_ones_found() -> None:
    programme = made_programme(n_families=0, n_hybrids=12)
    wanted = programme.pedigree.filter(pl.col("line_id").str.starts_with("H"))
    table = programme.called()
    sound = check_hybrids(table, wanted)
    assert sound["verdict"].unique().to_list() == ["checked"]
    built = hybrid_genotypes(table, wanted).dosages()
    for row, built_M in zip(sound.iter_rows(named=True), built[np.argsort(wanted["line_id"])], strict=True):
        called_M = table.dosages(lines=[row["line_id"]])[0]
        comparable_M = (called_M >= 0) & (built_M >= 0)
        assert row["n_markers"] == comparable_M.sum()
        assert row["matching"] == (called_M == built_M)[comparable_M].sum()
    programme.exchange("H0", "H5")
    programme.declare("H3", parent_2="P00" if wanted["parent_2"][3] != "P00" else "P01")
    found = check_hybrids(programme.called(), programme.pedigree.filter(pl.col("line_id").str.starts_with("H")))
    assert found.filter(verdict="discordant")["line_id"].to_list() == ["H0", "H3", "H5"]
    assert "below 95%" in found.filter(line_id="H0")["reason"][0]


def test_hybrids_that_cannot_be_checked_say_why() -> None:
    panel = made_panel(6, 40)
    found = check_hybrids(panel, crosses(("line000", "line001", "line002"), ("line003", "line004", None),
                                         ("line004", "Z", "line001"), ("Z", "line001", "line002")))
    assert found["verdict"].unique().to_list() == ["not_tested"]
    reasons = dict(found.select("line_id", "reason").iter_rows())
    assert reasons["Z"] == "not genotyped"
    assert reasons["line003"] == reasons["line004"] == "a parent is unknown or not genotyped"
    assert "fewer than 50" in reasons["line000"]
    assert found.filter(line_id="Z")["concordance"].to_list() == [None]
