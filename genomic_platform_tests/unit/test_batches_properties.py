"""Properties of merging that hold for any batches: order, coding and naming of batches change nothing."""

from __future__ import annotations

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from genomic_platform.errors import InputError
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.merging import concordance, harmonise
from genomic_platform.genotypes.merging.batches import MergedPanel, merge_batches
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform_tests.support.chips import COMPLEMENT, batch_of, made_truth
from genomic_platform_tests.support.panels import made_panel

TRUTH = made_truth(n_lines=30, n_markers=40, seed=3)
some_markers = st.sets(st.integers(3, 39)).map(lambda chosen: [0, 1, 2, *sorted(chosen)])  # three that tie batches
some_lines = st.lists(st.integers(0, 29), min_size=1, max_size=9, unique=True)
batch = st.builds(
    lambda markers, lines, swapped, flipped, renamed, seed: batch_of(
        TRUTH, markers, lines, seed=seed, missing=0.2, swapped=list(swapped), flipped=list(flipped),
        names={i: f"x{i}" for i in renamed}),
    some_markers, some_lines, *[st.sets(st.integers(0, 39))] * 3, st.integers(0, 99))
several = st.lists(batch, min_size=2, max_size=4)


def merged_or_refused(batches: dict[str, GenotypeTable], conflict: concordance.Conflict = "best",
                      palindromic: harmonise.Palindromic = "frequency") -> MergedPanel | str:
    try:
        return merge_batches(batches, conflict=conflict, palindromic=palindromic)
    except InputError as refused:
        return str(refused)


def saved(panel: MergedPanel) -> list[bytes]:
    with TemporaryDirectory() as folder:
        panel.table.save(Path(folder))
        return [path.read_bytes() for path in sorted(Path(folder).iterdir())]


@settings(deadline=None, max_examples=60)
@given(several, st.randoms(), st.sampled_from(["best", "missing"]), st.sampled_from(["frequency", "drop"]))
def test_any_order_of_batches_gives_the_same_panel_and_reports(
        tables: list[GenotypeTable], random: Random, conflict: concordance.Conflict,
        palindromic: harmonise.Palindromic) -> None:
    batches = {f"batch{i}": table for i, table in enumerate(tables)}
    shuffled = list(batches.items())
    random.shuffle(shuffled)
    one, other = (merged_or_refused(b, conflict, palindromic) for b in (batches, dict(shuffled)))
    if isinstance(one, str) or isinstance(other, str):
        assert one == other
        return
    assert saved(one) == saved(other)
    for report in ("batch_report", "variant_report", "line_report"):
        assert getattr(one, report).equals(getattr(other, report))


@settings(deadline=None, max_examples=40)
@given(several)
def test_calls_are_the_true_ones_of_the_lines_or_missing(tables: list[GenotypeTable]) -> None:
    merged = merged_or_refused({f"batch{i}": table for i, table in enumerate(tables)}, palindromic="drop")
    assume(isinstance(merged, MergedPanel))
    assert isinstance(merged, MergedPanel)
    assert set(merged.table.lines) == {line for table in tables for line in table.lines}
    for variant, dosage_N in zip(merged.table.variants.iter_rows(named=True), merged.table.dosages().T, strict=True):
        i = int(variant["variant_id"][1:])
        true_N = TRUTH.dosage_MN[i, [int(line[1:]) for line in merged.table.lines]]
        ref, alt = TRUTH.variants.row(i)[3:]
        counts_ref = (variant["ref"], variant["alt"]) in ((alt, ref), (COMPLEMENT[alt], COMPLEMENT[ref]))
        palindromic = {variant["ref"], variant["alt"]} in ({"A", "T"}, {"C", "G"})
        expected_N = 2 - true_N if counts_ref else true_N
        agrees_N = (dosage_N == expected_N) | (dosage_N < 0)
        assert agrees_N.all() or (palindromic and ((dosage_N == 2 - expected_N) | (dosage_N < 0)).all())


@settings(deadline=None, max_examples=40)
@given(several)
def test_a_call_is_missing_only_where_no_batch_has_it(tables: list[GenotypeTable]) -> None:
    merged = merged_or_refused({f"batch{i}": table for i, table in enumerate(tables)})
    assume(isinstance(merged, MergedPanel))
    assert isinstance(merged, MergedPanel)
    dropped = set(merged.variant_report.filter(action="dropped").select("batch", "position").rows())
    called = {(position, line) for position, calls_N in zip(merged.table.variants["position"], merged.table.dosages().T,
                                                            strict=True)
              for line, call in zip(merged.table.lines, calls_N, strict=True) if call >= 0}
    had = {(position, line) for i, table in enumerate(tables)
           for position, calls_N in zip(table.variants["position"], table.dosages().T, strict=True)
           if (f"batch{i}", position) not in dropped
           for line, call in zip(table.lines, calls_N, strict=True) if call >= 0}
    assert called == had


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 9), st.integers(2, 40), st.integers(0, 10_000), st.data())
def test_markers_recoded_to_count_the_other_allele_give_the_same_relationship(n_markers: int, n_lines: int, seed: int,
                                                                              data: st.DataObject) -> None:
    panel = made_panel(n_lines, 10 * n_markers, seed=seed)
    recoded_M = np.array(data.draw(st.lists(st.booleans(), min_size=panel.n_variants, max_size=panel.n_variants)))
    packed_MB = panel.packed_MB.copy()
    packed_MB[recoded_M] = packing.swapped_alleles(packed_MB[recoded_M], n_lines)
    flags = pl.Series(recoded_M)
    variants = panel.variants.with_columns(ref=pl.when(flags).then("alt").otherwise("ref"),
                                           alt=pl.when(flags).then("ref").otherwise("alt"))
    frequency_M = panel.allele_frequencies()
    assume(bool(((frequency_M > 0) & (frequency_M < 1)).any()))
    recoded = GenotypeTable.from_packed(variants, panel.lines, packed_MB)
    # z changes its sign in every line: only 2p and 2 − 2p round differently in float32
    expected_NN = vanraden(panel).matrix_NN
    np.testing.assert_allclose(vanraden(recoded).matrix_NN, expected_NN, rtol=0, atol=1e-6 * expected_NN.max())


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 4), st.integers(1, 8), st.integers(1, 5), st.integers(0, 10_000))
def test_best_calls_are_those_of_a_plain_loop(n_batches: int, n_markers: int, n_lines: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    calls_SmK = rng.integers(-1, 3, (n_batches, n_markers, n_lines)).astype(np.int8)
    preference_SK = np.stack([rng.permutation(n_batches) for _ in range(n_lines)], axis=1)
    best_mK, agreed_mK = (concordance.best_calls(calls_SmK, preference_SK, how) for how in ("best", "missing"))
    for m in range(n_markers):
        for k in range(n_lines):
            ranked = [int(calls_SmK[s, m, k]) for s in preference_SK[:, k] if calls_SmK[s, m, k] >= 0]
            assert best_mK[m, k] == (ranked[0] if ranked else -1)
            assert agreed_mK[m, k] == (ranked[0] if len(set(ranked)) == 1 else -1)
