"""Variants of a batch find their markers, alleles and strand; what cannot be told is dropped with its reason."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from genomic_platform.genotypes import packing
from genomic_platform.genotypes.merging import harmonise
from genomic_platform.genotypes.table import GenotypeTable

N = 40


def table(*variants: tuple[str, str, int, str, str], frequency: float = 0.2) -> GenotypeTable:
    """Inbred lines, ALT in the first `frequency` of them."""
    described = pl.DataFrame(variants, schema=["variant_id", "chromosome", "position", "ref", "alt"], orient="row")
    dosage_N = np.where(np.arange(N) < frequency * N, 2, 0).astype(np.int8)
    return GenotypeTable.from_dosages(described, [f"L{i}" for i in range(N)], np.tile(dosage_N, (len(variants), 1)))


def matched(batch: GenotypeTable, panel: GenotypeTable,
            palindromic: harmonise.Palindromic = "frequency") -> pl.DataFrame:
    """The batch matched to a panel of one other batch, in the order of ids."""
    empty, unnamed = pl.DataFrame(schema=harmonise.PANEL_SCHEMA), pl.DataFrame(schema=harmonise.NAMES_SCHEMA)
    first = harmonise.match(harmonise.described(panel), empty, unnamed, palindromic)
    markers, names = harmonise.extended(empty, unnamed, first)
    return harmonise.match(harmonise.described(batch), markers, names, palindromic).sort("variant_id")


def one(batch: GenotypeTable, panel: GenotypeTable, palindromic: harmonise.Palindromic = "frequency") -> dict:
    return matched(batch, panel, palindromic).row(0, named=True)


@pytest.mark.parametrize("n", range(1, 10))
def test_swapping_packed_calls_is_two_minus_the_dosage_and_leaves_padding_clear(n: int) -> None:
    dosage_MN = np.random.default_rng(n).integers(-1, 3, (50, n)).astype(np.int8)
    swapped_MB = packing.swapped_alleles(packing.pack(dosage_MN), n)
    np.testing.assert_array_equal(swapped_MB, packing.pack(np.where(dosage_MN < 0, -1, 2 - dosage_MN).astype(np.int8)))


@pytest.mark.parametrize(("ref", "alt", "swapped", "flipped"), [
    ("A", "C", False, False), ("C", "A", True, False), ("T", "G", False, True), ("G", "T", True, True),
    ("a", "c", False, False)])
def test_alleles_in_either_order_and_on_either_strand_are_one_marker(ref: str, alt: str, swapped: bool,
                                                                     flipped: bool) -> None:
    row = one(table(("other", "1", 100, ref, alt)), table(("m", "chr01", 100, "A", "C")))
    assert (row["marker"], row["matched_by"], row["dropped"]) == (0, "position", None)
    assert (row["swapped"], row["flipped"]) == (swapped, flipped)


@pytest.mark.parametrize(("one_name", "other_name"), [("chr01", "1"), ("Chr1", "01"), ("chromosome_1A", "1A"),
                                                      ("CHR_X", "x")])
def test_chromosomes_are_the_same_under_their_usual_spellings(one_name: str, other_name: str) -> None:
    assert one(table(("a", one_name, 5, "A", "C")), table(("b", other_name, 5, "A", "C")))["marker"] == 0


def test_a_marker_at_another_position_is_found_by_its_id() -> None:
    row = one(table(("m", "1", 777, "C", "A")), table(("m", "1", 100, "A", "C")))
    assert (row["marker"], row["matched_by"], row["swapped"]) == (0, "id", True)


def test_unplaced_markers_match_by_id_only() -> None:
    panel = table(("m1", "unplaced", 1, "A", "C"), ("m2", "unplaced", 2, "A", "G"), ("m3", "1", 0, "A", "C"))
    batch = table(("m2", "unplaced", 1, "A", "G"), ("m9", "unplaced", 1, "A", "C"), ("n", "1", 0, "A", "C"))
    found = matched(batch, panel)
    assert found["matched_by"].to_list() == ["id", None, None]


def test_a_place_that_the_panel_lacks_is_taken_from_the_batch_that_has_it() -> None:
    empty, unnamed = pl.DataFrame(schema=harmonise.PANEL_SCHEMA), pl.DataFrame(schema=harmonise.NAMES_SCHEMA)
    panel, names = empty, unnamed
    for batch in (table(("m", "unplaced", 7, "A", "C")), table(("m", "2", 500, "A", "C"))):
        panel, names = harmonise.extended(panel, names, harmonise.match(harmonise.described(batch), panel, names,
                                                                        "frequency"))
    assert panel.select("variant_id", "chromosome", "position").rows() == [("m", "2", 500)]


def test_alleles_that_cannot_be_reconciled_are_dropped() -> None:
    panel = table(("m", "1", 100, "A", "C"), ("indel", "1", 300, "A", "AT"))
    by_id, by_position, other_indel = (
        one(table(("m", "1", 200, "A", "G")), panel), one(table(("x", "1", 100, "A", "G")), panel),
        one(table(("indel", "1", 300, "A", "AG")), panel))
    assert {row["dropped"] for row in (by_id, by_position, other_indel)} == {"alleles_differ"}


def test_an_insertion_beside_a_single_base_change_is_a_marker_of_its_own() -> None:
    row = one(table(("x", "1", 100, "A", "AT")), table(("m", "1", 100, "A", "C")))
    assert (row["marker"], row["matched_by"], row["dropped"]) == (1, None, None)


def test_insertions_are_not_read_on_the_other_strand() -> None:
    row = one(table(("x", "1", 100, "AT", "A")), table(("m", "1", 100, "A", "AT")))
    assert (row["marker"], row["swapped"], row["flipped"]) == (0, True, False)


def test_a_position_of_one_marker_under_the_id_of_another_is_dropped() -> None:
    panel = table(("m1", "1", 100, "A", "C"), ("m2", "1", 200, "A", "C"))
    assert one(table(("m2", "1", 100, "A", "C")), panel)["dropped"] == "id_of_another_marker"


def test_the_better_called_of_two_variants_of_one_marker_is_kept() -> None:
    described = pl.DataFrame([("poor", "1", 100, "A", "C"), ("rich", "1", 100, "G", "T")],
                             schema=["variant_id", "chromosome", "position", "ref", "alt"], orient="row")
    calls = np.array([[0, -1, -1, 2], [0, 0, 2, 2]], dtype=np.int8)
    batch = GenotypeTable.from_dosages(described, list("abcd"), calls)
    for panel in (table(("m", "1", 100, "A", "C")), table(("far", "2", 1, "A", "C"))):
        assert matched(batch, panel)["dropped"].to_list() == ["repeats_another_variant", None]


@pytest.mark.parametrize(("mine", "theirs", "dropped", "swapped"), [
    (0.2, 0.3, None, False), (0.2, 0.7, None, True), (0.8, 0.7, None, False), (0.45, 0.3, "palindrome_undecided", None),
    (0.3, 0.55, "palindrome_undecided", None)])
def test_palindromes_are_decided_by_clear_frequencies_or_dropped(mine: float, theirs: float, dropped: str | None,
                                                                 swapped: bool | None) -> None:
    row = one(table(("x", "1", 100, "A", "T"), frequency=mine), table(("m", "1", 100, "A", "T"), frequency=theirs))
    assert (row["dropped"], row["undecidable"]) == (dropped, "palindrome")
    if swapped is not None:
        assert row["swapped"] == swapped


def test_palindromes_with_exchanged_alleles_follow_the_frequency_not_the_letters() -> None:
    panel = table(("m", "1", 100, "C", "G"), frequency=0.2)
    assert not one(table(("x", "1", 100, "G", "C"), frequency=0.25), panel)["swapped"]
    assert one(table(("x", "1", 100, "G", "C"), frequency=0.75), panel)["swapped"]


def test_palindromes_can_all_be_dropped() -> None:
    row = one(table(("x", "1", 100, "A", "T")), table(("m", "1", 100, "A", "T")), "drop")
    assert row["dropped"] == "palindrome_undecided"


def test_letters_of_palindromes_are_believed_where_a_hundred_other_markers_show_one_strand() -> None:
    sure = [(f"s{i}", "1", 1000 + i, "A", "C") for i in range(harmonise.STRAND_MARKERS)]
    panel = table(*sure, ("p", "1", 100, "A", "T"), ("q", "1", 101, "C", "G"), frequency=0.5)
    batch = table(*sure, ("p", "1", 100, "A", "T"), ("q", "1", 101, "G", "C"), frequency=0.5)
    palindromes = matched(batch, panel).filter(pl.col("undecidable") == "palindrome")
    assert palindromes.select("dropped", "swapped").rows() == [(None, False), (None, True)]
    flipped = [(f"s{i}", "1", 1000 + i, "T", "G") if i == 0 else v for i, v in enumerate(sure)]
    undecided = matched(table(*flipped, ("p", "1", 100, "A", "T"), frequency=0.5), panel)
    assert undecided.filter(pl.col("variant_id") == "p")["dropped"].item() == "palindrome_undecided"


@pytest.mark.parametrize(("ref", "alt", "swapped"), [("A", ".", False), (".", "A", True), ("C", ".", True),
                                                     ("T", ".", False), (".", "G", False)])
def test_an_allele_that_plink_writes_as_zero_is_the_other_one_of_the_marker(ref: str, alt: str, swapped: bool) -> None:
    row = one(table(("m", "1", 100, ref, alt)), table(("m", "1", 100, "A", "C")))
    assert (row["marker"], row["dropped"], row["swapped"]) == (0, None, swapped)


def test_an_unknown_allele_of_the_panel_is_learnt_from_a_later_batch() -> None:
    panel, names = pl.DataFrame(schema=harmonise.PANEL_SCHEMA), pl.DataFrame(schema=harmonise.NAMES_SCHEMA)
    for batch in (table(("m", "1", 100, "G", ".")), table(("n", "1", 100, "A", "C"))):  # A/C is T/G on the other strand
        panel, names = harmonise.extended(panel, names, harmonise.match(harmonise.described(batch), panel, names,
                                                                        "frequency"))
    assert panel.select("variant_id", "ref", "alt").rows() == [("m", "G", "T")]
    assert names.rows() == [("m", 0), ("n", 0)]


def test_placeholder_alleles_match_by_id_and_take_the_direction_of_the_frequency() -> None:
    ids = [f"m{i}" for i in range(harmonise.PLACEHOLDER_VARIANTS)]
    panel = table(*((name, "1", 100 + i, "G", "TC"[i % 2]) for i, name in enumerate(ids)), frequency=0.3)
    for frequency, swapped, dropped in ((0.7, True, None), (0.2, False, None), (0.5, False, "placeholder_undecided")):
        batch = table(*((name, "1", 100 + i, "A", "C") for i, name in enumerate(ids)), frequency=frequency)
        found = matched(batch, panel)
        assert found.select("matched_by", "swapped", "undecidable", "dropped").unique().rows() == [
            ("id", swapped, "placeholder", dropped)]


def test_two_batches_of_placeholders_are_taken_as_coded_alike() -> None:
    variants = [(f"m{i}", "unplaced", 1 + i, "A", "C") for i in range(harmonise.PLACEHOLDER_VARIANTS)]
    found = matched(table(*variants, frequency=0.6), table(*variants, frequency=0.5))
    assert found["dropped"].null_count() == len(variants)
    assert not found["swapped"].any()
    assert found["undecidable"].null_count() == len(variants)
