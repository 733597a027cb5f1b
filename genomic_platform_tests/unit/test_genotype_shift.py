"""The genotype shift of new lines: each decision from a population whose truth is known, and its figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

from genomic_platform.drift.families import hudson
from genomic_platform.drift.population import genotype_shift
from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.population.clusters import relationship_clusters
from genomic_platform.genotypes.table import GenotypeTable
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
    variants = pl.DataFrame({"variant_id": [f"m{i}" for i in range(MARKERS)], "chromosome": ["1"] * MARKERS,
                             "position": np.arange(1, MARKERS + 1), "ref": ["A"] * MARKERS, "alt": ["C"] * MARKERS})
    lines = list(family)
    table = GenotypeTable.from_dosages(variants, lines, dosage_NM.T)
    return Population(table, lines[15 * size :], lines[: 15 * size], family)


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
    assert suspects <= recoded
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
