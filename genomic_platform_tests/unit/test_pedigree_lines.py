"""Lines in trial without genotypes: GBLUP on H, equal to a dense solution, of use, and blind to later rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.genotypes.kinship.pedigree import numerator_relationship, ordered_pedigree
from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.kinship.single_step import blended_matrix, tuning
from genomic_platform.models.cross_validation import cross_validate, panel_values
from genomic_platform.models.genomic_blup import GenomicBlup
from genomic_platform.models.kernel import Kernel
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.models.recipes import load_fitted, load_recipe
from genomic_platform.models.scores import correlation
from genomic_platform.schemas.pedigree import PEDIGREE
from genomic_platform_tests.support.crosses import Programme, made_programme
from genomic_platform_tests.support.panels import training_set


def made(seed: int = 1, parents_genotyped: bool = True) -> tuple[Programme, np.ndarray, list[str]]:
    """A programme with true additive values (standard deviation 1), and its lines without genotypes, parents or not."""
    programme = made_programme(n_families=10, size=20, n_hybrids=0, n_markers=600, seed=seed)
    rng = np.random.default_rng(seed)
    value_N = programme.dosage_MN.T @ rng.normal(size=len(programme.dosage_MN))
    hidden = [line for line in programme.lines if (int(line.split("-")[1]) % 5 < 3 if line.startswith("F")
                                                   else not parents_genotyped)]
    return programme, (value_N - value_N.mean()) / value_N.std(), hidden


def learnt_from(programme: Programme, value_N: np.ndarray, hidden: list[str], with_pedigree: bool) -> TrainingSet:
    """Half of the genotyped lines and all hidden ones in trial, h² .5, error variances known."""
    panel = programme.called().select(None, [line for line in programme.lines if line not in hidden])
    tried = [*panel.lines[::2], *hidden]
    rng = np.random.default_rng(3)
    mean_N = value_N[[programme.row(line) for line in tried]] + rng.normal(size=len(tried))
    known = training_set(panel, {"equal": (tried, mean_N, None), "weighted": (tried, mean_N, np.full(len(tried), 1.0))})
    return replace(known, pedigree=programme.pedigree if with_pedigree else None)


@pytest.fixture(scope="module")
def learnt() -> TrainingSet:
    return learnt_from(*made(), True)


@pytest.mark.parametrize("trait", ["equal", "weighted"])
def test_values_are_those_of_a_dense_solution_on_h(learnt: TrainingSet, trait: str) -> None:
    panel, means = learnt.genotypes, learnt.means.filter(pl.col("trait") == trait)
    model = GenomicBlup().fit(learnt)
    g_PP, outside = vanraden(panel).matrix_NN, list(model.joined.lines)
    a_EE = numerator_relationship(ordered_pedigree(learnt.pedigree), [*panel.lines, *outside])
    n = panel.n_lines
    assert len(outside) == 120
    rows_S = np.arange(n)
    a_own = a_EE[np.ix_(rows_S, rows_S)]
    slope = tuning(g_PP[np.ix_(rows_S, rows_S)], a_own)[1]
    rows_E = np.append(rows_S, np.arange(n, n + len(outside)))
    h_EE, _, _ = blended_matrix(a_EE[np.ix_(rows_E, rows_E)], np.arange(len(rows_S)),
                                slope * g_PP[np.ix_(rows_S, rows_S)], blend=0, tune=False)
    h_EE /= slope
    fit = next(f for f in model.fits if f.trait == trait)
    c, place = fit.components, [panel.lines[i] for i in rows_S] + outside
    y = dict(means.select("line_id", "mean").iter_rows())
    rows_N = [i for i, line in enumerate(place) if line in y]
    y_N = np.array([y[place[i]] for i in rows_N])
    v_NN = c.genetic * h_EE[np.ix_(rows_N, rows_N)] + (c.line_residual + c.error) * np.eye(len(y_N))
    weighted_N = np.linalg.solve(v_NN, np.ones(len(y_N)))
    dual_N = np.linalg.solve(v_NN, y_N - weighted_N @ y_N / weighted_N.sum())
    value_S = c.genetic * h_EE[: len(rows_S), rows_N] @ dual_N
    found = dict(model.predict(panel).filter(pl.col("trait") == trait).select("line_id", "breeding_value").iter_rows())
    np.testing.assert_allclose([found[line] for line in place[: len(rows_S)]], value_S, atol=1e-6)
    assert model.summary()[trait]["n_train_by_pedigree"] == 120


def test_marker_effects_and_other_lines_agree_and_files_give_it_back(learnt: TrainingSet, tmp_path: Path) -> None:
    model, panel = GenomicBlup().fit(learnt), learnt.genotypes
    own = model.predict(panel).sort("trait", "line_id")
    of_panel = own["breeding_value"].to_numpy().reshape(2, -1)
    order = np.argsort(panel.lines)
    np.testing.assert_allclose(model.values_from_dosages(panel.dosages())[order].T, of_panel, atol=1e-6)
    model.save(tmp_path / "model")
    again = load_fitted(tmp_path / "model")
    assert again.predict(panel).sort("trait", "line_id").equals(own)
    some = panel.select(None, list(panel.lines[:7]))
    both = again.predict(some).join(own, on=["line_id", "trait"], suffix="_panel")
    for name in ("breeding_value", "genotypic_value", "breeding_value_reliability", "genotypic_value_reliability"):
        np.testing.assert_allclose(both[name], both[f"{name}_panel"], atol=1e-5)


def test_hidden_sibs_improve_the_values_of_untried_lines() -> None:
    """Mean over five programmes; each hidden line is a full sib of untried genotyped ones, parents genotyped or not."""
    gain = []
    for seed in range(1, 6):
        programme, value_N, hidden = made(seed, parents_genotyped=seed % 2 == 0)
        r = []
        for with_pedigree in (True, False):
            learnt = learnt_from(programme, value_N, hidden, with_pedigree)
            values = GenomicBlup().fit_values(learnt).filter(pl.col("trait") == "equal")
            untried = values.filter(~pl.col("line_id").is_in(learnt.means["line_id"].to_list()))
            truth = value_N[[programme.row(line) for line in untried["line_id"]]]
            r.append(correlation(untried["breeding_value"].to_numpy(), truth) or 0.0)  # none: no genetic variance found
        gain.append(r[0] - r[1])
    assert np.mean(gain) > 0.03, gain


def test_later_rows_of_the_pedigree_change_nothing(learnt: TrainingSet) -> None:
    later = pl.DataFrame([("new1", learnt.genotypes.lines[0], "F0-00", 1.0), ("new2", "new1", None, 1.0)],
                         PEDIGREE.schema, orient="row")
    more = replace(learnt, pedigree=pl.concat([learnt.pedigree, later]))
    assert GenomicBlup().fit_values(more).equals(GenomicBlup().fit_values(learnt))


def test_without_relatives_or_parents_nothing_is_joined(learnt: TrainingSet) -> None:
    nobody = learnt.pedigree.with_columns(parent_1=pl.lit(None, pl.String), parent_2=pl.lit(None, pl.String))
    plain = GenomicBlup().fit_values(replace(learnt, pedigree=None))
    assert GenomicBlup().fit_values(replace(learnt, pedigree=nobody)).equals(plain)
    assert not plain.equals(GenomicBlup().fit_values(learnt))
    assert Kernel().fit_values(learnt).equals(Kernel().fit_values(replace(learnt, pedigree=None)))


def test_held_out_lines_teach_nothing(learnt: TrainingSet) -> None:
    """Hidden lines always train; a held-out line's own record does not reach its prediction."""
    tried = [line for line in learnt.genotypes.lines if line in set(learnt.means["line_id"])]
    folds = {line: i % 5 for i, line in enumerate(tried)}
    first = cross_validate(learnt, {"genomic_blup": GenomicBlup()}, [folds])
    shifted = learnt.means.with_columns(pl.when(pl.col("line_id") == tried[0]).then(pl.col("mean") + 5.0)
                                        .otherwise("mean").alias("mean"))
    again = cross_validate(replace(learnt, means=shifted), {"genomic_blup": GenomicBlup()}, [folds])
    own = pl.col("line_id") == tried[0]
    assert first.filter(own)["predicted"].equals(again.filter(own)["predicted"])
    assert not first.filter(~own)["predicted"].equals(again.filter(~own)["predicted"])


@pytest.mark.parametrize("name", ["marker_network", "boosted_trees"])
def test_recipes_judged_in_inner_folds_learn_from_genotyped_lines_alone(name: str, learnt: TrainingSet) -> None:
    """Nobody can be left out of a fold who has no genotypes to predict from."""
    pytest.importorskip({"marker_network": "torch", "boosted_trees": "lightgbm"}[name])
    assert set(learnt.means["line_id"]) - set(learnt.genotypes.lines)
    recipe = load_recipe(name)
    assert panel_values(recipe, learnt).equals(panel_values(recipe, replace(learnt, pedigree=None)))
