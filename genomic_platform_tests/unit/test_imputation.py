"""LD-kNN equals a slow plain version of itself; known calls stay; accuracy is measured on calls that were hidden."""

from __future__ import annotations

from functools import partial

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomic_platform.genotypes.imputing import imputation
from genomic_platform.genotypes.imputing.imputation import impute, impute_knn, masked_accuracy, search_bounds
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform_tests.support.panels import made_panel


def linked_panel(n_lines: int = 90, n_markers: int = 120, seed: int = 1, missing: float = 0.05,
                 chromosomes: int = 2) -> GenotypeTable:
    """Inbred lines that are mosaics of six founders, so that neighbouring markers tell of each other."""
    rng = np.random.default_rng(seed)
    founder_MF = rng.random((n_markers, 6)) < 0.4
    switch_MN = rng.random((n_markers, n_lines)) < 0.03
    segment_MN = np.cumsum(switch_MN, axis=0)
    who_MN = rng.integers(0, 6, (n_markers + 1, n_lines))[segment_MN, np.arange(n_lines)]
    dosage_MN = 2 * np.take_along_axis(founder_MF, who_MN, axis=1).astype(np.int8)
    dosage_MN[rng.random(dosage_MN.shape) < 0.02] = 1
    dosage_MN[rng.random(dosage_MN.shape) < missing] = -1
    variants = pl.DataFrame({"variant_id": [f"m{i}" for i in range(n_markers)],
                             "chromosome": [f"chr{1 + i * chromosomes // n_markers}" for i in range(n_markers)],
                             "position": np.arange(1, n_markers + 1) * 100, "ref": "A", "alt": "C"})
    return GenotypeTable.from_dosages(variants, [f"line{i}" for i in range(n_lines)], dosage_MN)


def plain_r2(x_N: np.ndarray, y_N: np.ndarray) -> float:
    both_N = (x_N >= 0) & (y_N >= 0)
    x, y = x_N[both_N].astype(np.int64), y_N[both_N].astype(np.int64)
    n = len(x)
    spread = float(n * (x * x).sum() - x.sum() ** 2) * float(n * (y * y).sum() - y.sum() ** 2)
    return float(n * (x * y).sum() - x.sum() * y.sum()) ** 2 / spread if spread > 0 else 0.0


def plain_knn(dosage_MN: np.ndarray, i: int, line: int, rows: range, markers: int, neighbours: int) -> np.ndarray:
    """Votes for genotypes 0, 1, 2 of one missing call, sorted and looped over as the method is told in words."""
    telling = sorted((-plain_r2(dosage_MN[i], dosage_MN[j]), abs(i - j), j) for j in rows if j != i)
    chosen = [j for r2, _, j in telling[:markers] if r2 < 0]
    distance = {}
    for other in np.flatnonzero(dosage_MN[i] >= 0):
        pairs = [(dosage_MN[j, line], dosage_MN[j, other], 2 if rank < 8 else 1) for rank, j in enumerate(chosen)
                 if dosage_MN[j, line] >= 0 and dosage_MN[j, other] >= 0]
        if pairs:
            apart = sum(w * abs(int(a) - int(b)) for a, b, w in pairs)
            distance[other] = np.float32(apart) / np.float32(sum(w for *_, w in pairs))
    vote_3 = np.zeros(3)
    if distance:
        last = sorted(distance.values())[: neighbours][-1]
        for other, d in distance.items():
            vote_3[dosage_MN[i, other]] += (d <= last) / (float(d) + 0.01)
    return vote_3 if vote_3.any() else np.array([(dosage_MN[i] == g).sum() for g in range(3)], dtype=float)


@pytest.mark.parametrize(("markers", "neighbours", "window"), [(30, 5, 250), (4, 1, 10), (12, 90, 3), (10, 5, None)])
def test_knn_equals_a_slow_plain_version(markers: int, neighbours: int, window: int | None) -> None:
    table = linked_panel()
    dosage_MN = table.dosages().T
    result = impute_knn(table, markers=markers, neighbours=neighbours, window=window)
    first_M, last_M = search_bounds(table.variants, window)
    call_NM = result.table.dosages()
    for c in range(0, result.imputed, 7):
        i, line = int(result.variant_C[c]), int(result.line_C[c])
        vote_3 = plain_knn(dosage_MN, i, line, range(first_M[i], last_M[i]), markers, neighbours)
        # Votes are summed in another order, dosages kept in single precision.
        assert result.dosage_C[c] == pytest.approx(vote_3 @ [0, 1, 2] / vote_3.sum(), abs=1e-6)
        if np.sort(vote_3)[-1] - np.sort(vote_3)[-2] > 1e-9 * vote_3.sum():
            assert call_NM[line, i] == vote_3.argmax()


@given(st.integers(2, 140), st.integers(1, 40), st.sampled_from([1, 5, None]), st.integers(0, 10_000))
@settings(deadline=None, max_examples=30)
def test_any_panel_is_completed_and_known_calls_stay(n_lines: int, n_markers: int, window: int | None,
                                                     seed: int) -> None:
    table = linked_panel(n_lines, n_markers, seed, missing=0.3, chromosomes=3)
    table = table.select((table.variants["call_rate"] > 0).to_numpy())
    before_NM = table.dosages()
    for result in (impute(table, "mean"), impute(table, "knn", window=window)):
        after_NM = result.table.dosages()
        assert after_NM.min(initial=0) >= 0
        assert (after_NM[before_NM >= 0] == before_NM[before_NM >= 0]).all()
        assert result.imputed == (before_NM < 0).sum() == result.imputed_of_lines()["imputed"].sum()
        assert (before_NM[result.line_C, result.variant_C] < 0).all()
        assert ((result.dosage_C >= 0) & (result.dosage_C <= 2)).all()


def test_the_mean_method_gives_2p_and_the_most_frequent_genotype() -> None:
    table = made_panel(40, 60, missing=0.1)
    result = impute(table, "mean")
    np.testing.assert_allclose(result.dosage_C, 2 * table.allele_frequencies()[result.variant_C], rtol=1e-6)
    count_M3 = table.variants.select("hom_ref", "heterozygous", "hom_alt").to_numpy()
    assert (result.table.dosages()[result.line_C, result.variant_C] == count_M3.argmax(axis=1)[result.variant_C]).all()
    expected_NM = result.dosages()
    assert expected_NM.dtype == np.float32
    np.testing.assert_allclose(expected_NM.mean(axis=0), 2 * table.allele_frequencies(), rtol=1e-5)


def test_order_of_lines_threads_and_size_of_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    table = linked_panel(70, 100)
    once = impute_knn(table).table.dosages()
    turned = impute_knn(table.select(None, table.lines[::-1])).table.dosages(lines=table.lines)
    assert np.array_equal(once, turned)
    monkeypatch.setattr(imputation, "_BLOCK", 7)
    assert np.array_equal(once, impute_knn(table, threads=3).table.dosages())


def test_linked_markers_tell_more_than_the_mean() -> None:
    whole = linked_panel(120, 200, missing=0)
    figures = masked_accuracy(whole, "knn", share=0.05).filter(pl.col("maf_class").is_null())
    by_method = {row["method"]: row for row in figures.iter_rows(named=True)}
    assert by_method["knn"]["concordance"] > 0.9 > by_method["mean"]["concordance"] + 0.1
    assert by_method["knn"]["r2_beyond_frequency"] > 0.7
    assert by_method["mean"]["r2_beyond_frequency"] == 0


def test_variants_without_a_place_look_everywhere_and_others_only_nearby_on_their_chromosome() -> None:
    variants = pl.DataFrame({"chromosome": ["1"] * 5 + ["2"] * 4 + ["unplaced"] * 2, "position": range(1, 12)})
    first_M, last_M = search_bounds(variants, 2)
    assert list(zip(first_M, last_M, strict=True)) == [
        (0, 3), (0, 4), (0, 5), (1, 5), (2, 5), (5, 8), (5, 9), (5, 9), (6, 9), (0, 11), (0, 11)]
    assert set(search_bounds(variants, None)[0]) == {0}
    # What makes time linear in variants: markers compared per variant do not grow with them.
    many = pl.DataFrame({"chromosome": "1", "position": range(1, 10_001)})
    assert np.ptp(search_bounds(many, 250), axis=0).max() == 501


def test_accuracy_is_given_for_all_calls_for_batches_and_for_classes_of_frequency() -> None:
    table = linked_panel(100, 150)
    batch_of = {line: "old" if i < 60 else "new" for i, line in enumerate(table.lines) if i != 3}
    figures = masked_accuracy(table, partial(impute_knn, markers=10), share=0.1, seed=5, batches=batch_of)
    assert figures.columns == ["method", "batch", "maf_class", "calls", "concordance", "dosage_r2",
                               "r2_beyond_frequency"]
    for method in ("knn", "mean"):
        own = figures.filter(method=method)
        total = own.filter(pl.col("batch").is_null(), pl.col("maf_class").is_null()).row(0, named=True)
        known = (table.dosages() >= 0).sum()
        assert abs(total["calls"] - 0.1 * known) < 4 * np.sqrt(0.09 * known)
        classes = own.drop_nulls("maf_class")
        assert classes["calls"].sum() == total["calls"]
        assert (classes["calls"] * classes["concordance"]).sum() / total["calls"] == pytest.approx(total["concordance"])
        assert own.drop_nulls("batch")["batch"].to_list() == ["new", "old"]
        assert own.drop_nulls("batch")["calls"].sum() < total["calls"]
    assert figures.equals(masked_accuracy(table, partial(impute_knn, markers=10), share=0.1, seed=5, batches=batch_of))


def test_concordance_is_the_share_of_hidden_calls_that_come_back() -> None:
    """A method that answers heterozygous everywhere is right where the truth is."""
    table = linked_panel(60, 80, missing=0)

    def all_heterozygous(hidden: GenotypeTable) -> imputation.Imputed:
        row_C, line_C = np.nonzero(hidden.dosages().T < 0)
        calls_MN = np.where(hidden.dosages().T < 0, 1, hidden.dosages().T).astype(np.int8)
        return imputation.Imputed(GenotypeTable.from_dosages(hidden.variants, hidden.lines, calls_MN), "ones",
                                  row_C.astype(np.int32), line_C.astype(np.int32), np.ones(len(row_C), np.float32))

    first = masked_accuracy(table, all_heterozygous, share=0.5, seed=2).row(0, named=True)
    hidden, row_C, line_C, true_C = imputation._hide(table, 0.5, 2)
    assert (table.dosages()[line_C, row_C] == true_C).all()
    assert (hidden.dosages()[line_C, row_C] == -1).all()
    assert first["method"] == "ones"
    assert first["concordance"] == pytest.approx((true_C == 1).mean())
    assert first["dosage_r2"] is None


def test_what_cannot_be_imputed_is_refused_in_words() -> None:
    table = made_panel(20, 10)
    dosage_MN = table.dosages().T.copy()
    dosage_MN[4] = -1
    with pytest.raises(ValueError, match=r"1 variants have no call in any line.*m0004"):
        impute(GenotypeTable.from_dosages(table.variants, table.lines, dosage_MN))
    with pytest.raises(ValueError, match="expected mean, knn or beagle"):
        impute(table, "median")  # type: ignore[arg-type]
    for wrong in ({"markers": 0}, {"markers": 65}, {"neighbours": 0}, {"window": 0}):
        with pytest.raises(ValueError, match="expected 1 to 64 markers"):
            impute_knn(table, **wrong)
    with pytest.raises(ValueError, match="share is 0"):
        masked_accuracy(table, "mean", share=0)
