"""Family BLUP: its covariance, its choice of ρ, new lines, saving; and GBLUP where there are no families."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.family_blup import (
    CORRELATIONS,
    FamilyBlup,
    FittedFamilyBlup,
    correlated,
    family_numbers,
    nearest_family,
)
from genomic_platform.models.genomic_blup import GenomicBlup
from genomic_platform.models.line_recipe import LineRecipe
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.models.recipes import load_fitted, load_recipe
from genomic_platform.models.scores import within_family
from genomic_platform.phenotypes.training_means import training_means
from genomic_platform_tests.support.nested_association import TRAIT, NestedDesign, NestedPanel, nested_panel


@pytest.fixture(scope="module")
def panel() -> NestedPanel:
    return nested_panel(replace(NestedDesign.small(), n_lines=200, n_families=8, n_markers=300, shared=0.0), seed=5)


def _known(panel: NestedPanel, families: bool = True, **mode: str) -> TrainingSet:
    means, _ = training_means(panel.line_means, genotyped=panel.genotypes.lines, **mode)
    held_out = panel.genotypes.lines[::5]
    return TrainingSet("2021", means.filter(~pl.col("line_id").is_in(held_out)), panel.genotypes,
                       families=panel.families if families else {})


@pytest.fixture(scope="module")
def fitted(panel: NestedPanel) -> FittedFamilyBlup:
    found = FamilyBlup().fit(_known(panel))
    assert isinstance(found, FittedFamilyBlup)
    return found


def test_covariance_is_the_plain_one() -> None:
    rng = np.random.default_rng(1)
    half = rng.normal(size=(7, 9))
    relationship_PP, family_P = half @ half.T, np.array([0, 0, 1, 1, -1, -1, 0])
    plain_PP = relationship_PP.copy()
    for i in range(7):
        for j in range(7):
            if i != j and (family_P[i] != family_P[j] or family_P[i] < 0):
                plain_PP[i, j] *= 0.25
    found_PP = correlated(relationship_PP, family_P, 0.25)
    assert found_PP == pytest.approx(plain_PP)
    assert np.linalg.eigvalsh(found_PP).min() > -1e-9
    assert correlated(relationship_PP, family_P, 1.0) is relationship_PP


def test_families_of_few_lines_count_as_none() -> None:
    lines = [f"l{i}" for i in range(14)]
    families = {line: "a" if i < 6 else "b" if i < 9 else None for i, line in enumerate(lines)}
    assert family_numbers(lines, families, np.zeros((0, 0))).tolist() == [0] * 6 + [-1] * 8


def test_correlation_is_the_one_of_the_largest_likelihood(panel: NestedPanel, fitted: FittedFamilyBlup) -> None:
    """Restricted likelihood profiled over a fine grid of the variance ratio, with plain dense algebra."""
    known = _known(panel)
    relationship_PP = vanraden(panel.genotypes).matrix_NN
    row_of = {line: i for i, line in enumerate(panel.genotypes.lines)}
    means = known.means.with_columns(row=pl.col("line_id").replace_strict(row_of, return_dtype=pl.Int64)).sort("row")
    rows_N, y_N = means["row"].to_numpy(), means["mean"].to_numpy()
    family_P = np.array([panel.families[line] for line in panel.genotypes.lines])
    g_NN, same_NN = relationship_PP[np.ix_(rows_N, rows_N)], family_P[rows_N][:, None] == family_P[rows_N]
    n, one_N = len(y_N), np.ones(len(y_N))

    def likelihood(correlation: float, ratio: float) -> float:
        v_NN = g_NN * np.where(same_NN, 1.0, correlation) + ratio * np.eye(n)
        weighted_N, solved_N = np.linalg.solve(v_NN, one_N), np.linalg.solve(v_NN, y_N)
        information = one_N @ weighted_N
        quadratic = y_N @ solved_N - (one_N @ solved_N) ** 2 / information
        return -0.5 * ((n - 1) * np.log(quadratic) + np.linalg.slogdet(v_NN)[1] + np.log(information))

    best = max(CORRELATIONS, key=lambda c: max(likelihood(c, r) for r in np.exp(np.linspace(-3, 5, 25))))
    assert fitted.correlation_T.tolist() == [best]
    assert best < 1
    assert fitted.summary()[TRAIT]["effect_correlation"] == best
    assert fitted.summary()[TRAIT]["n_families"] == 8


def test_without_families_it_is_gblup(panel: NestedPanel) -> None:
    known = _known(panel, families=False)
    ours, gblup = (recipe.fit(known).predict(panel.genotypes) for recipe in (FamilyBlup(), GenomicBlup()))
    assert ours.drop("breeding_value").equals(gblup.drop("breeding_value"))
    assert ours["breeding_value"].to_numpy() == pytest.approx(gblup["breeding_value"].to_numpy(), abs=1e-5)


def test_clusters_stand_in_for_unknown_families(panel: NestedPanel) -> None:
    """Relationship clusters are cut where mean correlation falls below that of half sibs of unrelated parents."""
    number_P = family_numbers(panel.genotypes.lines, None, vanraden(panel.genotypes).matrix_NN)
    clusters = pl.DataFrame({"family": [panel.families[line] for line in panel.genotypes.lines], "cluster": number_P})
    assert len(set(number_P) - {-1}) > 1
    # Lines of a cluster are mostly of one family.
    sizes = clusters.filter(pl.col("cluster") >= 0).group_by("cluster", "family").len()
    largest = sizes.group_by("cluster").agg(pl.col("len").max())["len"].to_numpy().sum()
    assert largest > 0.7 * sizes["len"].to_numpy().sum()


def test_values_alone_are_those_of_the_fit(panel: NestedPanel, fitted: FittedFamilyBlup) -> None:
    quick, whole = FamilyBlup().fit_values(_known(panel)), fitted.predict(panel.genotypes)
    for column in ("breeding_value", "genotypic_value"):
        assert quick[column].to_numpy() == pytest.approx(whole[column].to_numpy(), abs=1e-9)
    new = whole.filter(~pl.col("phenotyped"))
    assert new["breeding_value"].to_numpy() == pytest.approx(new["genotypic_value"].to_numpy(), abs=1e-9)


def test_some_lines_alone_get_the_panels_values(panel: NestedPanel, fitted: FittedFamilyBlup) -> None:
    some = panel.genotypes.select(lines=panel.genotypes.lines[3:60:4])
    found = fitted.predict(some).join(fitted.predict(panel.genotypes), on="line_id", suffix="_panel")
    for column in ("breeding_value", "breeding_value_reliability", "genotypic_value", "genotypic_value_reliability"):
        assert found[column].to_numpy() == pytest.approx(found[f"{column}_panel"].to_numpy(), abs=1e-4)


def test_a_new_line_is_taken_into_its_family(panel: NestedPanel) -> None:
    """Lines the panel has never held: their family is found, and a stranger has none."""
    lines, relationship_PP = panel.genotypes.lines, vanraden(panel.genotypes).matrix_NN
    new_N = np.arange(len(lines)) % 5 == 0
    family_P = family_numbers(lines, panel.families, relationship_PP)
    found_Q = nearest_family(relationship_PP[np.ix_(new_N, ~new_N)], relationship_PP[np.ix_(~new_N, ~new_N)],
                             family_P[~new_N])
    assert np.mean(found_Q == family_P[new_N]) > 0.9
    assert nearest_family(np.full((1, 3), -0.1), np.eye(3), np.array([0, 0, 1])).tolist() == [-1]
    assert nearest_family(np.ones((1, 2)), np.eye(2), np.array([-1, -1])).tolist() == [-1]


def test_dosages_give_what_predict_gives(panel: NestedPanel, fitted: FittedFamilyBlup) -> None:
    some = panel.genotypes.lines[:12]
    table = GenotypeTable.from_dosages(panel.genotypes.variants, [f"new{i:02d}" for i in range(12)],
                                       np.ascontiguousarray(panel.genotypes.dosages(lines=some).T))
    expected = fitted.predict(table).sort("line_id")["breeding_value"].to_numpy()
    assert fitted.values_from_dosages(panel.genotypes.dosages(lines=some))[:, 0] == pytest.approx(expected, abs=1e-9)
    with pytest.raises(ValueError, match="expected \\(lines, 300\\)"):
        fitted.values_from_dosages(np.zeros((2, 3), dtype=np.int8))


def test_saved_and_read_again(panel: NestedPanel, fitted: FittedFamilyBlup, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    again = load_fitted(tmp_path / "model")
    some = panel.genotypes.select(lines=panel.genotypes.lines[3:60:4])
    assert again.predict(some).equals(fitted.predict(some))
    assert again.recipe == "family_blup"
    assert isinstance(load_recipe("family_blup"), FamilyBlup)


@pytest.mark.slow
def test_it_beats_gblup_within_families() -> None:
    """Twenty panels whose founders share half of the effects: the paired 95 % interval of the gain lies above 0.

    Panels of 1,000 lines in 20 families; those of the published design (5,000 in 40) are in benchmarks/.
    """
    from scipy.stats import t

    design = replace(NestedDesign(), n_lines=1_000, n_families=20, n_markers=1_000)
    gains = []
    for seed in range(20):
        made = nested_panel(design, seed)
        known, lines = _known(made), made.genotypes.lines
        at = range(0, len(lines), 5)
        recipes: tuple[LineRecipe | FamilyBlup, ...] = (GenomicBlup(), FamilyBlup())
        r = [within_family(recipe.fit_values(known)["genotypic_value"].to_numpy()[at], made.value_N[at],
                           [made.families[lines[i]] for i in at]) for recipe in recipes]
        assert r[0] is not None
        assert r[1] is not None
        gains.append(r[1] - r[0])
    half = t.ppf(0.975, 19) * np.std(gains, ddof=1) / np.sqrt(20)
    assert np.mean(gains) - half > 0
