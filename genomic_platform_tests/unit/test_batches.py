"""Genotype batches of different platforms become one panel, and every change and removal is counted."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import InputError
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.merging.batches import MergedPanel, merge_batches
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform_tests.support.chips import Truth, batch_of, made_truth, with_calls

PLINK_MERGE = Path(__file__).parents[1] / "reference" / "genotypes" / "batches.plink1.merge.raw"
M, N = 1000, 120
PALINDROMES = {("A", "T"), ("T", "A"), ("C", "G"), ("G", "C")}
TRUTH = made_truth(N, M, seed=11)  # by chance no palindrome is rare in one half of the lines and common in the other
RNG = np.random.default_rng(7)
MARKERS = RNG.permutation(M)
CHIP_A, CHIP_B = np.sort(MARKERS[:700]).tolist(), np.sort(MARKERS[420:]).tolist()  # 280 in both: 40 % of chip A
SHARED = sorted(set(CHIP_A) & set(CHIP_B))
SWAPPED, FLIPPED = SHARED[::3], SHARED[1::4]
RENAMED = {i: f"AX-{i}" for i in SHARED[::2]}
REPEATED = ["L60", "L61", "L62", "L63", "L64"]


def chips() -> dict[str, GenotypeTable]:
    """70 lines on one chip, 55 on another: 40 % of its markers are shared, on its own strand, order and names."""
    return {"chip_a": batch_of(TRUTH, CHIP_A, range(70 - 5), seed=1),
            "chip_b": batch_of(TRUTH, CHIP_B, range(60, N), seed=2, swapped=SWAPPED, flipped=FLIPPED, names=RENAMED,
                               chromosome="{}", missing=0.05)}


def contaminated(batch: GenotypeTable, line: str, share: float, other: str) -> GenotypeTable:
    """A sample of `line` that holds the calls of `other` at a share of its markers."""
    calls = batch.dosages(lines=[line, other])
    mixed = np.random.default_rng(3).random(batch.n_variants) < share
    return with_calls(batch, line, np.where(mixed, calls[1], calls[0]))


def measure(merged: MergedPanel, batch: str, name: str) -> float:
    return merged.batch_report.filter(batch=batch, measure=name)["value"].item()


def wrong_calls(merged: MergedPanel, truth: Truth, lines: list[str]) -> int:
    """Calls that are neither missing nor the truth, in the alleles that the panel gives its markers."""
    dosage_NM = merged.table.dosages(lines=lines)
    true_NM = truth.dosage_MN[[int(name.removeprefix("m")) for name in merged.table.variants["variant_id"]]][
        :, [int(line.removeprefix("L")) for line in lines]].T
    return int(((dosage_NM >= 0) & (dosage_NM != true_NM)).sum())


@pytest.fixture(scope="module")
def merged() -> MergedPanel:
    return merge_batches(chips())


def test_every_call_of_two_platforms_is_the_true_one_in_the_alleles_of_the_panel(merged: MergedPanel) -> None:
    assert merged.table.lines == TRUTH.lines
    assert merged.table.n_variants == M
    described = merged.table.variants.with_columns(pl.col("variant_id").str.strip_prefix("m").cast(pl.Int64).alias("i"))
    assert described.sort("i").select("ref", "alt", "position", "chromosome").equals(
        TRUTH.variants.select("ref", "alt", pl.col("position").cast(pl.Int64), "chromosome"))
    assert wrong_calls(merged, TRUTH, [line for line in TRUTH.lines if line not in REPEATED]) == 0


def test_counts_of_the_batch_report_are_those_of_the_platforms(merged: MergedPanel) -> None:
    pairs = {i: TRUTH.variants.row(i)[3:] for i in SHARED}
    letters_tell = [i for i in SHARED if pairs[i] not in PALINDROMES]
    palindromes = len(SHARED) - len(letters_tell)
    expected = {"rank": 2, "lines": 60, "lines_repeated": 5, "variants": 580, "only_here": 300,
                "dropped_alleles_differ": 0, "dropped_repeats_another_variant": 0, "dropped_id_of_another_marker": 0,
                "placeholder_kept": 0}
    assert {name: measure(merged, "chip_b", name) for name in expected} == expected
    kept, dropped = (measure(merged, "chip_b", name) for name in ("palindrome_kept", "dropped_palindrome_undecided"))
    assert kept + dropped == palindromes
    assert kept > dropped > 0
    assert measure(merged, "chip_b", "matched_by_position") == len(letters_tell) + kept
    changed = merged.variant_report.filter(pl.col("batch") == "chip_b")
    by_letters = changed.filter(~pl.struct("ref", "alt").is_in([{"ref": a, "alt": b} for a, b in PALINDROMES]))
    actions = dict(by_letters["action"].value_counts().iter_rows())
    flips = {i for i in FLIPPED if i in letters_tell}
    swaps = {i for i in SWAPPED if i in letters_tell}
    assert (actions["flipped"], actions["swapped"], actions["flipped_and_swapped"]) == (
        len(flips - swaps), len(swaps - flips), len(flips & swaps))
    assert measure(merged, "chip_b", "frequency_correlation") > 0.9  # one pool: sampling of 65 and 60 lines only


def test_both_batches_have_the_same_measures_and_the_first_matches_nothing(merged: MergedPanel) -> None:
    measures = merged.batch_report.group_by("batch", maintain_order=True).agg("measure")
    assert measures["batch"].to_list() == ["chip_a", "chip_b"]
    assert measures["measure"][0].equals(measures["measure"][1])
    assert measure(merged, "chip_a", "matched_by_position") == measure(merged, "chip_a", "matched_by_id") == 0


def test_every_removed_or_changed_variant_is_in_the_report_with_its_reason(merged: MergedPanel) -> None:
    report = merged.variant_report
    assert set(report["batch"]) == {"chip_b"}
    dropped = report.filter(pl.col("action") == "dropped")
    assert dropped["reason"].unique().to_list() == ["palindrome_undecided"]
    assert dropped["marker"].null_count() == dropped.height
    renamed = report.filter(pl.col("variant_id").is_in(list(RENAMED.values())), pl.col("action") != "dropped")
    assert renamed.height + dropped["variant_id"].str.starts_with("AX").sum() == len(RENAMED)
    assert (renamed["marker"].str.strip_prefix("m") == renamed["variant_id"].str.strip_prefix("AX-")).all()


def test_markers_a_batch_lacks_are_missing_for_its_lines_only(merged: MergedPanel) -> None:
    only_b = merged.table.variants["variant_id"].is_in([f"m{i}" for i in set(CHIP_B) - set(CHIP_A)]).to_numpy()
    assert (merged.table.dosages(only_b, ["L0", "L59"]) == -1).all()
    assert (merged.table.dosages(only_b, ["L60", "L119"]) >= 0).mean() > 0.9


def test_repeated_lines_agree_and_take_every_call_there_is(merged: MergedPanel) -> None:
    report = merged.line_report
    assert report["line_id"].to_list() == REPEATED
    assert report.select("concordance", "status", "opposite_homozygotes").unique().rows() == [(1.0, "concordant", 0)]
    usable = len(SHARED) - int(measure(merged, "chip_b", "dropped_palindrome_undecided"))
    assert report["markers"].is_between(0.85 * usable, usable).all()  # both called: .98 × .95 of them
    called = {line: (merged.table.dosages(lines=[line]) >= 0).mean() for line in ("L60", "L59", "L119")}
    assert called["L60"] > 0.95 > 0.75 > called["L59"] > called["L119"]


def test_the_true_call_wins_a_conflict_with_a_poorly_called_sample() -> None:
    batches = chips()
    errors = np.random.default_rng(5)
    wrong = batches["chip_b"].dosages(lines=["L60"])[0].copy()
    at = errors.random(len(wrong)) < 0.1
    wrong[at] = np.where(wrong[at] >= 0, 2 - wrong[at], -1)
    wrong[errors.random(len(wrong)) < 0.3] = -1
    batches["chip_b"] = with_calls(batches["chip_b"], "L60", wrong)
    best, missing = merge_batches(batches), merge_batches(batches, conflict="missing")
    row = best.line_report.row(0, named=True)
    assert (row["line_id"], row["preferred_batch"]) == ("L60", "chip_a")
    on_a = best.table.variants["variant_id"].is_in([f"m{i}" for i in CHIP_A]).to_numpy()
    first = chips()["chip_a"].dosages(lines=["L60"])[0]
    kept = best.table.dosages(on_a, ["L60"])[0]
    np.testing.assert_array_equal(kept[first >= 0], first[first >= 0])
    assert (kept[first < 0] >= 0).any()
    differs = best.table.dosages(lines=["L60"])[0] != missing.table.dosages(lines=["L60"])[0]
    assert differs.sum() == round((1 - row["concordance"]) * row["markers"])
    assert (missing.table.dosages(lines=["L60"])[0][differs] == -1).all()
    assert missing.line_report["preferred_batch"].null_count() == 5


def test_a_contaminated_repeat_is_flagged_and_an_exchanged_sample_stops() -> None:
    batches = chips()
    flagged = merge_batches({**batches, "chip_b": contaminated(batches["chip_b"], "L62", 0.4, "L100")}).line_report
    low = flagged.filter(pl.col("status") == "low")
    assert low["line_id"].to_list() == ["L62"]
    assert 0.7 < low["concordance"].item() < 0.9
    with pytest.raises(InputError) as stop:
        merge_batches({**batches, "chip_b": contaminated(batches["chip_b"], "L62", 1.0, "L100")})
    [problem] = stop.value.problems
    assert (problem.file, problem.field) == ("chip_b", "L62")
    assert "agreement at" in problem.found
    assert "chip_a" in problem.expected


def test_a_line_of_few_common_markers_is_neither_flagged_nor_stopped() -> None:
    few = batch_of(TRUTH, CHIP_A[:15], [3, 80], missing=0)
    few = with_calls(few, "L3", few.dosages(lines=["L80"])[0])
    merged = merge_batches({"chip_a": chips()["chip_a"], "kasp": few})
    assert merged.line_report["status"].to_list() == ["too_few_markers"]


def test_lines_are_matched_under_their_stable_names_and_two_samples_of_one_line_stop() -> None:
    batches = chips()
    batches["chip_b"] = GenotypeTable.from_packed(
        batches["chip_b"].variants, [f"plate7_{line}" if line == "L61" else line for line in batches["chip_b"].lines],
        batches["chip_b"].packed_MB)
    merged = merge_batches(batches, synonyms={"plate7_L61": "L61"})
    assert merged.line_report["line_id"].to_list() == REPEATED
    with pytest.raises(InputError, match=r"chip_b: L61 is the samples L62 and plate7_L61|plate7_L61 and L62"):
        merge_batches(batches, synonyms={"plate7_L61": "L61", "L62": "L61"})


def test_a_batch_that_counts_the_other_allele_stops_with_a_report() -> None:
    batches = chips() | {"chip_b": batch_of(TRUTH, CHIP_B, range(65, N), seed=2, miscoded=CHIP_B)}
    with pytest.raises(InputError) as stop:
        merge_batches(batches)
    [problem] = stop.value.problems
    assert problem.file == "chip_b"
    assert "markers with the same alleles: m" in problem.found
    assert " against " in problem.found
    assert "exchange REF and ALT" in problem.repair


def test_an_inverted_batch_stops_though_its_alleles_are_placeholders_as_those_of_the_other() -> None:
    def placeholders(batch: GenotypeTable) -> GenotypeTable:
        shown = batch.variants.with_columns(ref=pl.lit("A"), alt=pl.lit("C"))
        return GenotypeTable.from_packed(shown, batch.lines, batch.packed_MB)

    spring = placeholders(batch_of(TRUTH, SHARED, range(65)))
    autumn = placeholders(batch_of(TRUTH, SHARED, range(65, N)))
    assert wrong_calls(merge_batches({"spring": spring, "autumn": autumn}), TRUTH, list(TRUTH.lines)) == 0
    inverted = placeholders(batch_of(TRUTH, SHARED, range(65, N), miscoded=SHARED))
    with pytest.raises(InputError, match=r"autumn: the opposite \(correlation -0\.\d+\) at 280 markers"):
        merge_batches({"spring": spring, "autumn": inverted})


def test_a_batch_inverted_where_alleles_were_exchanged_only_stops_naming_those_markers() -> None:
    swapped = [i for i in SHARED if i % 2 and tuple(TRUTH.variants.row(i)[3:]) not in PALINDROMES]
    batches = chips() | {"chip_b": batch_of(TRUTH, CHIP_B, range(65, N), seed=2, swapped=swapped, miscoded=swapped)}
    with pytest.raises(InputError) as stop:
        merge_batches(batches)
    [problem] = stop.value.problems
    assert f"at {len(swapped):,} markers with REF and ALT exchanged" in problem.found


def test_repeated_lines_show_a_part_of_the_markers_inverted_that_frequencies_do_not() -> None:
    letters_tell = [i for i in SHARED if tuple(TRUTH.variants.row(i)[3:]) not in PALINDROMES]
    miscoded = letters_tell[::4]
    with pytest.raises(InputError) as stop:
        merge_batches(chips() | {"chip_b": batch_of(TRUTH, CHIP_B, range(60, N), seed=2, miscoded=miscoded)})
    [problem] = stop.value.problems
    assert "opposite alleles there, such as m" in problem.found
    assert set(problem.found.split("such as ")[1].split(", ")) <= {f"m{i}" for i in miscoded}


def test_exchanged_samples_are_not_mistaken_for_inverted_coding() -> None:
    batches = chips()
    calls = batches["chip_b"].dosages(lines=["L60", "L61"])
    exchanged = with_calls(with_calls(batches["chip_b"], "L60", calls[1]), "L61", calls[0])
    with pytest.raises(InputError) as stop:
        merge_batches(batches | {"chip_b": exchanged})
    assert [problem.field for problem in stop.value.problems] == ["L60", "L61"]


def test_a_marker_that_frequency_turned_wrongly_is_turned_back_where_repeated_lines_show_it() -> None:
    i = next(i for i in SHARED if tuple(TRUTH.variants.row(i)[3:]) in PALINDROMES)
    lines = [*range(50), *range(60, 110)]  # 5 of each 50 are repeated below
    dosage_MN = TRUTH.dosage_MN.copy()
    dosage_MN[i] = 0
    dosage_MN[i, [*range(10, 50), *range(65, 70)]] = 2  # common in the lines of one batch, rare in those of the other
    truth = Truth(TRUTH.variants, TRUTH.lines, dosage_MN)
    flipped = [j for j in SHARED if j != i][:40]
    batches = {"a": batch_of(truth, CHIP_A, lines[:50], seed=1, missing=0),
               "b": batch_of(truth, CHIP_B, [*lines[50:], 0, 1, 2, 3, 4], seed=2, missing=0, flipped=flipped)}
    merged = merge_batches(batches)
    assert measure(merged, "a", "dropped_repeated_lines_differ") == 0
    assert wrong_calls(merged, truth, list(truth.lines[:50])) == 0


def test_exchanged_placeholders_mean_exchanged_calls() -> None:
    first, second = batch_of(TRUTH, CHIP_A, range(50), seed=1), batch_of(TRUTH, CHIP_A, range(40, N), seed=2)
    exchanged_M = np.arange(second.n_variants) % 5 == 0
    letters = {"ref": np.where(exchanged_M, "C", "A"), "alt": np.where(exchanged_M, "A", "C")}
    packed_MB = second.packed_MB.copy()
    packed_MB[exchanged_M] = packing.swapped_alleles(packed_MB[exchanged_M], second.n_lines)
    plain = GenotypeTable.from_packed(first.variants.with_columns(ref=pl.lit("A"), alt=pl.lit("C")), first.lines,
                                      first.packed_MB)
    named = second.variants.with_columns(**{k: pl.Series(v.astype(str)) for k, v in letters.items()})
    swapped = GenotypeTable.from_packed(named, second.lines, packed_MB)
    one = merge_batches({"first": plain, "second": swapped})
    same = GenotypeTable.from_packed(second.variants.with_columns(ref=pl.lit("A"), alt=pl.lit("C")), second.lines,
                                     second.packed_MB)
    other = merge_batches({"first": plain, "second": same})
    assert measure(one, "second", "swapped") + measure(one, "first", "swapped") == exchanged_M.sum()
    ordered = one.table.select(None, other.table.lines).dosages()
    turned_M = (one.table.variants["ref"] != other.table.variants["ref"]).to_numpy()
    ordered = np.where(turned_M[None, :] & (ordered >= 0), 2 - ordered, ordered)
    np.testing.assert_array_equal(ordered, other.table.dosages())


def test_a_batch_without_any_common_marker_stops_unless_another_batch_ties_it() -> None:
    only_a, only_b = sorted(set(CHIP_A) - set(SHARED)), sorted(set(CHIP_B) - set(SHARED))
    apart = {"a": batch_of(TRUTH, only_a, range(60)), "b": batch_of(TRUTH, only_b, range(60, 110))}
    with pytest.raises(InputError, match="none among its 300 variants"):
        merge_batches(apart)
    bridge = batch_of(TRUTH, [*only_a[:50], *only_b[:50]], range(110, N))
    assert merge_batches(apart | {"bridge": bridge}).table.n_variants == len(only_a) + len(only_b)


def test_placeholder_alleles_take_those_of_the_platform_that_knows_them() -> None:
    letters = batch_of(TRUTH, CHIP_A, range(50), seed=1)
    placeholder = batch_of(TRUTH, SHARED, range(50, N), seed=2)
    shown = placeholder.variants.with_columns(ref=pl.lit("A"), alt=pl.lit("C"))
    placeholder = GenotypeTable.from_packed(shown, placeholder.lines, placeholder.packed_MB)
    merged = merge_batches({"letters": letters, "dosages": placeholder})
    assert merged.table.variants.select("ref", "alt").n_unique() > 2
    assert measure(merged, "dosages", "rank") == 2  # though it has more lines
    kept, dropped = (measure(merged, "dosages", name) for name in ("placeholder_kept", "dropped_placeholder_undecided"))
    assert kept + dropped == len(SHARED)
    assert wrong_calls(merged, TRUTH, list(TRUTH.lines)) == 0


def test_the_panel_is_the_same_bytes_in_any_order_of_batches(tmp_path: Path) -> None:
    third = batch_of(TRUTH, CHIP_A[::2] + [i for i in CHIP_B if i not in CHIP_A][::2], [0, 5, 62, 63, 110], seed=4)
    batches = chips() | {"third": third}
    merge_batches(batches).table.save(tmp_path / "a")
    reversed_order = dict(reversed(batches.items()))
    merged = merge_batches(reversed_order)
    merged.table.save(tmp_path / "b")
    for name in ("genotypes.parquet", "lines.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert set(merged.line_report.filter(pl.col("line_id") == "L62").select("batch_1", "batch_2").rows()) == {
        ("chip_a", "chip_b"), ("chip_a", "third"), ("chip_b", "third")}


def test_batches_on_disk_merge_as_in_memory(tmp_path: Path, merged: MergedPanel) -> None:
    opened = {}
    for name, batch in chips().items():
        batch.save(tmp_path / name)
        opened[name] = GenotypeTable.open(tmp_path / name)
    again = merge_batches(opened)
    np.testing.assert_array_equal(again.table.packed_MB, merged.table.packed_MB)
    assert again.table.variants.equals(merged.table.variants)


def test_one_batch_is_itself_under_stable_names() -> None:
    batch = chips()["chip_b"]
    merged = merge_batches({"chip_b": batch}, synonyms={"L60": "line 60"})
    assert merged.table.lines == ("line 60", *batch.lines[1:])
    assert merged.table.variants.equals(batch.variants)
    np.testing.assert_array_equal(merged.table.packed_MB, batch.packed_MB)
    assert merged.variant_report.is_empty()
    assert merged.line_report.is_empty()


def plink_batches() -> dict[str, GenotypeTable]:
    """Two batches with exchanged alleles and three repeated lines that sometimes disagree; plink reads one strand."""
    markers = [i for i in SHARED if tuple(TRUTH.variants.row(i)[3:]) not in PALINDROMES][:60]
    b = batch_of(TRUTH, markers[20:], [7, 8, 9, *range(20, 31)], seed=2, missing=0.1, swapped=markers[::2])
    calls = b.dosages(lines=["L8"])[0].copy()
    calls[:3] = np.where(calls[:3] >= 0, (calls[:3] + 1) % 3, -1)
    return {"a": batch_of(TRUTH, markers[:40], range(10), seed=1, missing=0.1), "b": with_calls(b, "L8", calls)}


def write_bed(table: GenotypeTable, prefix: Path) -> None:
    prefix.with_suffix(".bed").write_bytes(b"\x6c\x1b\x01" + table.packed_MB.tobytes())
    prefix.with_suffix(".fam").write_text("".join(f"0 {line} 0 0 0 -9\n" for line in table.lines))
    rows = table.variants.select(pl.col("chromosome").str.strip_prefix("chr"), "variant_id", pl.lit(0).alias("cm"),
                                 "position", "alt", "ref")
    prefix.with_suffix(".bim").write_text(rows.write_csv(include_header=False, separator="\t"))


def counts_of_allele(raw: str) -> dict[tuple[str, str, str], str]:
    """(line, marker, allele) → count of that allele or NA, as `--recode A` writes them."""
    header, *rows = (line.split() for line in raw.splitlines())
    alleles = [(name, allele) for name, _, allele in (column.rpartition("_") for column in header[6:])]
    return {(row[1], *allele): count for row in rows for allele, count in zip(alleles, row[6:], strict=True)}


def test_calls_where_conflicts_are_missing_are_those_of_a_plink_merge() -> None:
    merged = merge_batches(plink_batches(), conflict="missing").table
    expected = counts_of_allele(PLINK_MERGE.read_text())
    assert len(expected) == merged.n_lines * merged.n_variants
    dosage_NM = merged.dosages()
    for j, (name, ref, alt) in enumerate(merged.variants.select("variant_id", "ref", "alt").iter_rows()):
        for i, line in enumerate(merged.lines):
            allele = alt if (line, name, alt) in expected else ref
            count = int(dosage_NM[i, j]) if allele == alt or dosage_NM[i, j] < 0 else 2 - int(dosage_NM[i, j])
            assert expected[line, name, allele] == ("NA" if count < 0 else str(count))


@pytest.mark.skipif(shutil.which("plink1.9") is None, reason="no plink1.9 on PATH")
def test_the_stored_plink_merge_is_what_plink_writes(tmp_path: Path) -> None:
    for name, table in plink_batches().items():
        write_bed(table, tmp_path / name)
    merge = ["plink1.9", "--bfile", "a", "--bmerge", "b", "--merge-mode", "1", "--recode", "A", "--out", "merge"]
    subprocess.run(merge, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "merge.raw").read_text() == PLINK_MERGE.read_text()


def test_no_batch_and_repeated_ids_are_programming_errors() -> None:
    with pytest.raises(ValueError, match="found none"):
        merge_batches({})
    batch = batch_of(TRUTH, [0, 1], [0, 1], names={1: "m0"})
    with pytest.raises(ValueError, match="batch x: expected variants, each with an id of its own; found 2 with 1 ids"):
        merge_batches({"x": batch})
