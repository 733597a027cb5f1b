"""The genotype shift of new lines: each decision from a population whose truth is known, and its figures."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest

from genomic_platform.drift import families as fam
from genomic_platform.drift.families import hudson
from genomic_platform.drift.phases import phase_agreement
from genomic_platform.drift.population import genotype_shift
from genomic_platform.drift.structure_shift import population_shift
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.population.clusters import relationship_clusters
from genomic_platform.genotypes.population.structure import principal_components
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.schemas.monitoring import POPULATION_SHIFT
from genomic_platform.schemas.predictions import DRIFT_REPORT

MARKERS, FOUNDERS = 2000, 30


@dataclass(frozen=True)
class Population:
    table: GenotypeTable
    new: list[str]
    reference: list[str]
    family: dict[str, str]

    def shift(self, **changes: object) -> tuple[dict, pl.DataFrame]:
        given = {"season": "2013", "new_lines": self.new, "reference_lines": self.reference, "families": self.family}
        report, markers = genotype_shift(self.table, **{**given, **changes})  # pyright: ignore[reportArgumentType]
        assert DRIFT_REPORT.faults(report) == []
        return report.row(0, named=True), markers


def population(seed: int, *, other_base: bool = False, swapped: int = 0, new_families: int = 6,
               size: int = 10) -> Population:
    """Inbred families of two founders each; new ones from the same or another base, with `swapped` markers recoded."""
    rng = np.random.default_rng(seed)
    p_M = rng.beta(1, 1, MARKERS)
    base = rng.random((FOUNDERS, MARKERS)) < p_M
    other = rng.random((FOUNDERS, MARKERS)) < np.clip(p_M + rng.normal(0, 0.3, MARKERS), 0, 1)
    rows, family = [], {}
    for f in range(15 + new_families):
        source = other if other_base and f >= 15 else base
        parents = source[rng.choice(FOUNDERS, 2, replace=False)]
        for _ in range(size):
            switch_M = rng.random(MARKERS) < 0.02
            family[f"L{len(rows):03d}"] = f"F{f}"
            rows.append(np.where(np.cumsum(switch_M) % 2, *parents) * 2)
    dosage_NM = np.array(rows, dtype=np.int8)
    recoded_M = rng.permutation(MARKERS)[:swapped]
    dosage_NM[15 * size :, recoded_M] = 2 - dosage_NM[15 * size :, recoded_M]
    lines = list(family)
    table = GenotypeTable.from_dosages(_variants(), lines, dosage_NM.T)
    return Population(table, lines[15 * size :], lines[: 15 * size], family)


def _variants() -> pl.DataFrame:
    return pl.DataFrame({"variant_id": [f"m{i}" for i in range(MARKERS)], "chromosome": "1",
                         "position": np.arange(1, MARKERS + 1), "ref": "A", "alt": "C"})


@pytest.mark.parametrize("known", [True, False], ids=["families known", "clusters"])
def test_new_families_of_the_same_base_are_seldom_called_anything_else(known: bool) -> None:
    decisions = []
    for seed in range(20):
        bred = population(seed)
        decisions.append(bred.shift(families=bred.family if known else {})[0]["decision"])
    assert set(decisions) <= {"same_base", "new_family"}
    # at a true rate of 1 in 20, five or more of 20 come up once in 400 tries
    assert decisions.count("new_family") < 5


@pytest.mark.parametrize("known", [True, False], ids=["families known", "clusters"])
def test_another_base_is_found(known: bool) -> None:
    for seed in range(5):
        bred = population(seed, other_base=True)
        row, _ = bred.shift(families=bred.family if known else {})
        assert row["decision"] == "new_family"
        assert row["p_value"] <= 0.05
        assert row["suspect_markers"] == 0
        assert row["max_relationship_low"] > 50


def test_swapped_markers_are_found_and_listed() -> None:
    bred = population(1, swapped=100, new_families=10)
    row, markers = bred.shift()
    recoded = set(_recoded(bred))
    suspects = set(markers.filter("suspect")["variant_id"])
    assert row["decision"] == "platform"
    assert row["suspect_markers"] == len(suspects) >= 20
    # neighbours are hardly linked here, so that phases are noisy: a tenth of the list may be others
    assert len(suspects - recoded) <= 0.1 * len(suspects)
    assert "look swapped" in row["message"]


def _recoded(bred: Population) -> list[str]:
    """The markers that `population(1, swapped=100)` recoded: those that differ from the same population unswapped."""
    plain = population(1, new_families=10)
    differs_M = (plain.table.dosages() != bred.table.dosages()).any(axis=0)
    return bred.table.variants.filter(pl.Series(differs_M))["variant_id"].to_list()


@pytest.mark.parametrize("known", [True, False], ids=["families known", "clusters"])
def test_a_panel_swapped_as_a_whole_is_found(known: bool) -> None:
    bred = population(2, swapped=MARKERS)
    assert bred.shift(families=bred.family if known else {})[0]["decision"] == "platform"


@pytest.mark.parametrize(("changes", "decision", "words"), [
    ({"new_lines": []}, "no_test", "no new line has genotypes"),
    ({"new_lines": ["never genotyped"]}, "no_test", "no new line has genotypes"),
    ({"reference_lines": []}, "no_test", "no reference line has genotypes"),
    ({"new_lines": [f"L{i:03d}" for i in range(150, 159)]}, "too_few", "9 new lines in 1 families"),
    ({"new_lines": [f"L{i:03d}" for i in range(150, 170)]}, "too_few", "20 new lines in 2 families"),
])
def test_what_cannot_be_tested_says_so(changes: dict, decision: str, words: str) -> None:
    row, markers = population(0).shift(**changes)
    assert (row["decision"], row["p_value"], row["suspect_markers"]) == (decision, None, 0)
    assert words in row["message"]
    assert markers.height == (0 if decision == "no_test" else MARKERS)


def test_nothing_to_compare_is_no_test_and_never_the_same_base() -> None:
    """New lines without a call, and fewer swapped markers than a platform fault needs, which are all there are."""
    made = population(3)
    dosage_MN = made.table.dosages().T.copy()
    dosage_MN[:, len(made.reference) :] = packing.MISSING
    few_MN = np.zeros((8, len(made.table.lines)), dtype=np.int8)
    few_MN[:, len(made.reference) :] = 2
    for calls_MN, variants, mean_shift in ((dosage_MN, _variants(), None), (few_MN, _variants()[:8], 1.0)):
        table = GenotypeTable.from_dosages(variants, list(made.table.lines), calls_MN)
        row, _ = replace(made, table=table).shift()
        assert (row["decision"], row["mean_shift"]) == ("no_test", mean_shift)
        assert "no marker left to compare" in row["message"]


def test_lines_in_both_sets_count_as_reference() -> None:
    bred = population(0)
    row, _ = bred.shift(new_lines=[*bred.new, *bred.reference])
    assert (row["n_new_lines"], row["n_reference_lines"]) == (60, 150)


def test_figures_are_the_plain_ones() -> None:
    bred = population(3)
    row, markers = bred.shift()
    new_NM, old_NM = bred.table.dosages(lines=bred.new), bred.table.dosages(lines=bred.reference)
    p_new, p_ref = new_NM.mean(axis=0) / 2, old_NM.mean(axis=0) / 2
    np.testing.assert_allclose(markers["difference"].to_numpy(), p_new - p_ref, atol=1e-6)
    assert row["mean_shift"] == pytest.approx(np.abs(p_new - p_ref).mean(), abs=1e-6)
    # fully inbred: as many alleles as lines
    assert row["effective_alleles"] == pytest.approx(60)
    numerator = (p_new - p_ref) ** 2 - p_new * (1 - p_new) / 59 - p_ref * (1 - p_ref) / 149
    denominator = p_new * (1 - p_ref) + p_ref * (1 - p_new)
    assert row["fst"] == pytest.approx(numerator.sum() / denominator.sum(), rel=1e-4)


def test_the_same_seed_gives_the_same_report_and_a_given_relationship_changes_nothing() -> None:
    bred = population(4)
    first = bred.shift(families={})[0]
    assert bred.shift(families={}, relationship_NN=vanraden(bred.table).matrix_NN)[0] == first


def test_hudson_of_two_samples_of_one_population_is_about_zero() -> None:
    rng = np.random.default_rng(5)
    p_M = rng.uniform(0.1, 0.9, 20000)
    one_M, two_M = rng.binomial(20, p_M) / 20, rng.binomial(50, p_M) / 50
    numerator, denominator = hudson(one_M, two_M, np.full(20000, 20.0), np.full(20000, 50.0))
    assert abs(numerator.sum() / denominator.sum()) < 0.002


def test_clusters_are_the_families_that_made_them() -> None:
    bred = population(6)
    cluster_N = relationship_clusters(vanraden(bred.table).matrix_NN)
    together = {}
    for line, cluster in zip(bred.table.lines, cluster_N.tolist(), strict=True):
        together.setdefault(bred.family[line], set()).add(cluster)
    assert all(len(clusters) == 1 for clusters in together.values())
    assert len(set(cluster_N.tolist())) >= 8


def test_permuted_sums_are_those_of_decoded_calls() -> None:
    """F_ST by chromosome and mirrored markers of every permutation, from dosages and formulas written out."""
    table = _with_gaps(population(7), seed=8)
    sample = fam.compared(table, new_lines=table.lines[150:], reference_lines=table.lines[10:150],
                          families={line: f"F{i // 10}" for i, line in enumerate(table.lines)})
    assert sample is not None
    new_RU = fam.permuted_sides(sample.units, 5, seed=1)
    used_M = np.arange(table.n_variants) % 7 > 0
    found = fam.permuted(table, sample, new_RU, inbreeding=0.8, used_M=used_M,
                         mirrored=fam.Mirrored(0.1, 0.5, 0.3))
    called_KM, dosage_KM = _decoded(table, sample)
    for r, new_U in enumerate(new_RU.astype(bool)):
        new_K = new_U[sample.units.unit_K]
        with np.errstate(invalid="ignore"):
            (p_0, n_0), (p_1, n_1) = ((dosage_KM[side].sum(0) / 2 / called_KM[side].sum(0), called_KM[side].sum(0))
                                      for side in (~new_K, new_K))
        both = (n_0 > 0) & (n_1 > 0)
        numerator, denominator = hudson(p_0, p_1, 2 / 1.8 * n_0, 2 / 1.8 * n_1)
        for c, name in enumerate(["1", "2"]):
            here = both & used_M & (table.variants["chromosome"] == name).to_numpy()
            assert found.numerator_CR[c, r] == pytest.approx(numerator[here].sum(), rel=1e-9)
            assert found.denominator_CR[c, r] == pytest.approx(denominator[here].sum(), rel=1e-9)
        middle = (p_0 + p_1)[both] / 2
        jump = np.abs(p_0 - p_1)[both]
        near = (jump >= 0.1) & (jump**2 >= 0.5 * middle * (1 - middle)) & (np.abs(2 * middle - 1) <= 0.3)
        assert found.mirrored_R[r] == near.sum()
    assert found.mirrored_R.sum() > 0


def test_side_statistics_are_those_of_decoded_calls() -> None:
    table = _with_gaps(population(9), seed=3)
    sample = fam.compared(table, new_lines=table.lines[150:], reference_lines=table.lines[:150],
                          families={line: f"F{i // 10}" for i, line in enumerate(table.lines)})
    assert sample is not None
    found = fam.side_statistics(table, sample)
    called_KM, dosage_KM = _decoded(table, sample)
    heterozygous_KM = (dosage_KM == 1) & called_KM
    for side, rows in ((fam.REFERENCE, ~sample.new_K), (fam.NEW, sample.new_K)):
        n_M = called_KM[rows].sum(0)
        with np.errstate(invalid="ignore"):
            p_M = dosage_KM[rows].sum(0) / 2 / n_M
        np.testing.assert_allclose(found.frequency[side], p_M, atol=1e-12)
        expected = np.nansum(n_M * 2 * p_M * (1 - p_M))
        inbreeding = 1 - heterozygous_KM[rows].sum() / expected
        assert found.inbreeding[side] == pytest.approx(inbreeding)
        np.testing.assert_allclose(found.alleles[side], 2 * n_M / (1 + inbreeding))
    assert np.isnan(found.frequency[fam.NEW][0])


def _with_gaps(bred: Population, seed: int) -> GenotypeTable:
    """The population with missing and heterozygous calls, two chromosomes, and no new line called at one marker."""
    rng = np.random.default_rng(seed)
    dosage_NM = bred.table.dosages().copy()
    dosage_NM[rng.random(dosage_NM.shape) < 0.05] = 1
    dosage_NM[rng.random(dosage_NM.shape) < 0.1] = -1
    dosage_NM[150:, 0] = -1
    variants = bred.table.variants.with_columns(
        chromosome=pl.when(pl.col("position") > 1200).then(pl.lit("2")).otherwise(pl.lit("1")))
    return GenotypeTable.from_dosages(variants, bred.table.lines, dosage_NM.T)


def _decoded(table: GenotypeTable, sample: fam.Compared) -> tuple[np.ndarray, np.ndarray]:
    """Which calls of the lines compared are made, and dosages with 0 where they are not."""
    dosage_KM = table.dosages()[sample.rows_K].astype(float)
    return dosage_KM >= 0, np.maximum(dosage_KM, 0)


def test_phases_are_the_cosine_of_correlations_with_neighbours() -> None:
    table = _with_gaps(population(10), seed=4).select(np.arange(1100, 1300))
    sample = fam.compared(table, new_lines=table.lines[150:], reference_lines=table.lines[:150], families={})
    assert sample is not None
    found = phase_agreement(table, sample)
    called_KM, dosage_KM = _decoded(table, sample)
    chromosome = table.variants["chromosome"].to_list()
    known = np.flatnonzero(np.isfinite(found))
    assert {0, 99, 100, 199} & set(known.tolist())  # ends of chromosomes among them
    for v in (*known[:3], *known[-3:], *(v for v in (98, 99, 100, 101) if v in known)):
        near = [w for w in range(max(v - 10, 0), min(v + 11, 200)) if w != v and chromosome[w] == chromosome[v]]
        r = [[np.corrcoef(*(dosage_KM[side & called_KM[:, v] & called_KM[:, w]][:, [v, w]].T))[0, 1] for w in near]
             for side in (~sample.new_K, sample.new_K)]
        old, new = np.nan_to_num(np.array(r))
        assert found[v] == pytest.approx(old @ new / np.sqrt(old @ old * (new @ new)), abs=1e-9)


def test_markers_swapped_at_a_middle_frequency_are_listed_where_linkage_tells() -> None:
    """Founders that are mosaics of six ancestors: neighbours go together, and a frequency of one half says nothing."""
    made, swapped = _linked(seed=11, swapped=60)
    row, markers = made.shift()
    suspects = set(row["suspects"])
    assert row["decision"] == "platform"
    assert suspects == set(markers.filter("suspect")["variant_id"])
    # four in five of those swapped, and none in a hundred of the others
    assert len(suspects & swapped) >= 0.8 * len(swapped)
    assert len(suspects - swapped) <= 0.01 * MARKERS
    assert _linked(seed=11, swapped=0)[0].shift()[0]["suspects"] == []


def _linked(seed: int, swapped: int) -> tuple[Population, set[str]]:
    rng = np.random.default_rng(seed)
    ancestors = rng.random((6, MARKERS)) < 0.5
    rows, family = [], {}
    founders = [np.choose(np.cumsum(rng.random(MARKERS) < 0.02) % 6, ancestors[rng.permutation(6)]) for _ in range(30)]
    for f in range(21):
        a, b = rng.choice(30, 2, replace=False)
        for _ in range(10):
            family[f"L{len(rows):03d}"] = f"F{f}"
            rows.append(np.where(np.cumsum(rng.random(MARKERS) < 0.02) % 2, founders[a], founders[b]) * 2)
    dosage_NM = np.array(rows, dtype=np.int8)
    varying = np.flatnonzero(np.abs(dosage_NM.mean(axis=0) / 2 - 0.5) < 0.3)
    at = rng.choice(varying, swapped, replace=False)
    dosage_NM[150:, at] = 2 - dosage_NM[150:, at]
    lines = list(family)
    table = GenotypeTable.from_dosages(_variants(), lines, dosage_NM.T)
    return Population(table, lines[150:], lines[:150], family), {f"m{i}" for i in at}


def test_the_shift_by_chromosome_adds_up_and_components_are_differences_of_means() -> None:
    bred = population(12, other_base=True)
    scores = principal_components(vanraden(bred.table).matrix_NN, bred.table.lines, 3)
    given = {"season": "2013", "new_lines": bred.new, "reference_lines": bred.reference, "families": bred.family}
    table = population_shift(bred.table, scores, **given)
    assert POPULATION_SHIFT.faults(table) == []
    whole = table.row(by_predicate=pl.col("part") == "chromosome", named=True)
    report = bred.shift()[0]
    assert (whole["shift"], whole["p_value"], whole["n_markers"]) == (
        pytest.approx(report["fst"]), report["p_value"], _varying(bred.table))
    for number in (1, 2, 3):
        own = dict(scores.filter(component=number).select("line_id", "score").iter_rows())
        new, old = (np.array([own[line] for line in lines]) for lines in (bred.new, bred.reference))
        shift = table.filter(part="component", name=str(number))["shift"][0]
        assert shift == pytest.approx((new.mean() - old.mean()) / old.std())
    assert (table.filter(part="component")["p_value"] <= 0.05).any()


def test_the_shift_leaves_markers_out_and_is_empty_or_untested_when_it_must_be() -> None:
    bred = population(13)
    scores = principal_components(vanraden(bred.table).matrix_NN, bred.table.lines, 2)
    given = {"season": "2013", "reference_lines": bred.reference, "families": bred.family}
    left_out = bred.table.variants["variant_id"].to_list()[:500]
    fewer = population_shift(bred.table, scores, new_lines=bred.new, left_out=left_out, **given)
    assert fewer.filter(part="chromosome")["n_markers"][0] == _varying(bred.table.select(np.arange(500, MARKERS)))
    assert population_shift(bred.table, scores, new_lines=[], **given).is_empty()
    few = population_shift(bred.table, scores, new_lines=bred.new[:9], **given)
    assert few["p_value"].null_count() == few.height == 3
    assert few["shift"].null_count() == 0


def _varying(table: GenotypeTable) -> int:
    return table.variants.filter((pl.col("alt_frequency") > 0) & (pl.col("alt_frequency") < 1)).height
