"""Who trains and who is scored under each scheme, on a generated panel of families, seasons and locations."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import ProgramError
from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.models.evaluate import SCHEMES, evaluate, predictions
from genomic_platform.models.folds import cell_folds, parents_seen
from genomic_platform.models.genomic_blup import GenomicBlup
from genomic_platform.models.mixed.reaction_norm_recipe import ReactionNormRecipe
from genomic_platform.models.splits import Split, Study, check_scheme, splits
from genomic_platform.schemas.pedigree import PEDIGREE
from genomic_platform.schemas.phenotypes import ENVIRONMENT_RECORDS
from genomic_platform_tests.support.nested_association import NestedDesign, NestedPanel, nested_panel


@pytest.fixture(scope="module")
def panel() -> NestedPanel:
    return nested_panel(replace(NestedDesign.small(), n_lines=160, n_families=8, n_markers=200), seed=4)


@pytest.fixture(scope="module")
def study(panel: NestedPanel) -> Study:
    return Study(panel.genotypes, vanraden(panel.genotypes).matrix_NN, panel.line_means, "blue", "errors",
                 ("2019", "2020", "2021"), panel.families, panel.parents)


def _environments_of(study: Study) -> Counter[str]:
    return Counter(study.line_means["line_id"])


def _trained(split: Split) -> dict[str, int]:
    return dict(split.training_set.means.select("line_id", "n_environments").iter_rows())


@pytest.mark.parametrize("scheme", ["cv2", "environment", "location"])
def test_a_scored_cell_never_trains(study: Study, scheme: str) -> None:
    """Every line's environments are either trained on or scored, and all cells are scored once a replicate."""
    scored: Counter[tuple[str, str]] = Counter()
    for split in splits(study, scheme, replicates=1):
        trained, held_out = _trained(split), Counter(split.observed["line_id"])
        for line, n in _environments_of(study).items():
            assert trained.get(line, 0) + held_out[line] == n
        scored.update(split.observed.select("line_id", "environment").iter_rows())
    assert scored == Counter(dict.fromkeys(study.line_means.select("line_id", "environment").iter_rows(), 1))


def test_cv2_holds_out_a_fifth_of_every_environment(study: Study) -> None:
    for split in splits(study, "cv2", replicates=1):
        share = split.observed.height / study.line_means.height
        assert share == pytest.approx(0.2, abs=0.03)
        assert split.observed["environment"].n_unique() == 6


def test_clones_share_a_fold_within_an_environment() -> None:
    cells = pl.DataFrame({"line_id": [f"l{i:02d}" for i in range(30)] * 2, "environment": ["a"] * 30 + ["b"] * 30})
    folds = cell_folds(cells, 0, clones=[{"l03", "l17"}])
    of = {(line, env): fold for line, env, fold in folds.iter_rows()}
    assert all(of["l03", env] == of["l17", env] for env in "ab")
    assert any(of[line, "a"] != of[line, "b"] for line in cells["line_id"])


@pytest.mark.parametrize("scheme", ["cv1", "cv00", "family", "hybrid"])
def test_a_scored_line_never_trains(study: Study, scheme: str) -> None:
    for split in splits(study, scheme, replicates=1):
        assert not set(_trained(split)) & set(split.observed["line_id"])


def test_families_that_nobody_knows_are_no_families(study: Study) -> None:
    assert study.training_set(study.line_means).families == study.families
    unknown = replace(study, families=dict.fromkeys(study.families))
    assert unknown.training_set(study.line_means).families is None


def test_a_family_leaves_whole(study: Study) -> None:
    for split in splits(study, "family"):
        (family,) = {study.families[line] for line in split.observed["line_id"]}
        assert family not in {study.families[line] for line in _trained(split)}


def test_forward_trains_on_the_past(study: Study) -> None:
    found = list(splits(study, "forward"))
    assert [split.training_set.season for split in found] == ["2019", "2020"]
    for split in found:
        assert split.training_set.means["last_season"].max() == split.training_set.season
        assert {e[-4:] for e in split.observed["environment"]} == {str(int(split.training_set.season) + 1)}


def test_no_line_of_a_left_out_parent_trains(panel: NestedPanel) -> None:
    """A diallel of ten parents: T1 and T0 are both scored."""
    rng = np.random.default_rng(1)
    pairs = [rng.choice(10, 2, replace=False) for _ in panel.genotypes.lines]
    parents = {line: (f"P{p}", f"P{q}") for line, (p, q) in zip(panel.genotypes.lines, pairs, strict=True)}
    found = predictions(panel.genotypes, panel.line_means, recipes=["genomic_blup"], scheme="hybrid", replicates=1,
                        parents=parents)
    assert set(found["parents_seen"]) == {0, 1}
    row = evaluate(panel.genotypes, panel.line_means, recipes=["genomic_blup"], scheme="hybrid", replicates=1,
                   parents=parents).row(0, named=True)
    assert row["r_t1"] is not None
    assert row["r_t2"] is None


def test_parents_seen() -> None:
    parents = {"ab": ("a", "b"), "ac": ("a", "c"), "cd": ("c", "d"), "x": (None, "a")}
    assert [parents_seen(line, parents, {"a", "b"}) for line in ("ab", "ac", "cd", "x", "y")] == [2, 1, 0, None, None]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_scores(panel: NestedPanel, scheme: str) -> None:
    table = evaluate(panel.genotypes, panel.line_means, recipes=["genomic_blup"], scheme=scheme, replicates=1,
                     families=panel.families, parents=panel.parents)
    rows = {"cv2": 7, "environment": 7, "location": 3, "cv0": 3, "cv00": 3, "forward": 2}
    assert table.height == rows.get(scheme, 1)
    assert (table["environment"].null_count() == 0) == (scheme in ("cv0", "cv00", "forward"))
    mean = table.filter(pl.col("environment").is_null())
    if table.height > 1 and mean.height:
        units = table.filter(pl.col("environment").is_not_null())["r_mean"].to_numpy()
        assert mean["r_mean"][0] == pytest.approx(units.mean(), abs=1e-9)


def test_what_a_scheme_needs_is_said(study: Study) -> None:
    here = study.line_means.filter(pl.col("environment") == "site_1_2019")
    for scheme, lacking, said in (
            ("cv2", {"line_means": here}, "at least two environments; found 1"),
            ("location", {"line_means": here}, "at least two locations; found 1"),
            ("family", {"families": {}}, "at least two families of 10 lines"),
            ("hybrid", {"parents": {}}, "give the columns parent_1 and parent_2 in lines.csv")):
        with pytest.raises(ProgramError, match=said):
            check_scheme(replace(study, **lacking), scheme)


@pytest.mark.parametrize("scheme", ["cv1", "cv00", "family", "forward"])
def test_lines_without_genotypes_train_through_the_pedigree(panel: NestedPanel, scheme: str) -> None:
    """As they do where the model is deployed; those of a family left out do not."""
    lines = panel.genotypes.lines
    genotyped = panel.genotypes.select(None, [line for i, line in enumerate(lines) if i % 3])
    pedigree = PEDIGREE.conform(pl.DataFrame(
        [(line, *panel.parents.get(line, (None, None)), 1.0) for line in lines], PEDIGREE.schema, orient="row"))
    study = Study(genotyped, vanraden(genotyped).matrix_NN, panel.line_means, "blue", "errors",
                  ("2019", "2020", "2021"), panel.families, panel.parents, pedigree=pedigree)
    for split in splits(study, scheme, replicates=1):
        others = set(_trained(split)) - set(genotyped.lines)
        assert others
        if scheme == "family":
            (family,) = {study.families[line] for line in split.observed["line_id"]}
            assert not {line for line in others if study.families[line] == family}
    learnt, without = split.training_set, replace(split.training_set, pedigree=None)
    assert not GenomicBlup().fit_values(learnt).equals(GenomicBlup().fit_values(without))


def _covariates(line_means: pl.DataFrame) -> pl.DataFrame:
    """Two covariates of every environment, and one that a single environment has."""
    rows = [(env, season, location, name, value)
            for n, (env, season, location) in enumerate(line_means.select(
                "environment", "season", "location").unique().sort("environment").iter_rows())
            for name, value in (("rain_mm", 100.0 + 7 * n**2), ("temperature_c", 20.0 + (5 * n) % 7),
                                *([("hail_days", 1.0)] if n == 0 else []))]
    return ENVIRONMENT_RECORDS.conform(pl.DataFrame(rows, orient="row", schema=ENVIRONMENT_RECORDS.schema))


def test_what_is_left_out_is_predicted_by_its_covariates(panel: NestedPanel, study: Study) -> None:
    """As the recipe by hand: trained on the other seasons and their covariates, asked for the environments scored."""
    kept = panel.line_means.filter(pl.col("season") != "2021")
    found = predictions(panel.genotypes, panel.line_means, recipes=["reaction_norm"], scheme="cv0",
                        environments=_covariates(panel.line_means)).filter(pl.col("environment").str.ends_with("2021"))
    records = _covariates(panel.line_means).filter(pl.col("variable") != "hail_days")
    own = replace(study, environments=records).training_set(kept)
    assert own.environment_features is not None
    assert set(own.environment_features["environment"]) == set(kept["environment"])
    scored = records.filter(pl.col("season") == "2021")
    values = ReactionNormRecipe().fit(own).predict(panel.genotypes, scored)
    both = found.join(values, on=["line_id", "trait", "environment"])
    assert both.height == found.height > 0
    assert both["predicted"].to_numpy() == pytest.approx(both["genotypic_value"].to_numpy(), rel=1e-9)
    means = values.filter(pl.col("environment").is_null()).select("line_id", "trait", mean="genotypic_value")
    assert not np.allclose(*both.join(means, on=["line_id", "trait"]).select("predicted", "mean"), atol=1e-3)


def test_forward_knows_no_covariates_of_the_season_scored(panel: NestedPanel) -> None:
    study = Study(panel.genotypes, vanraden(panel.genotypes).matrix_NN, panel.line_means, "blue", "errors",
                  ("2019", "2020", "2021"), environments=_covariates(panel.line_means))
    for split in splits(study, "forward"):
        assert split.environments is None
        assert split.training_set.environment_features is not None
        assert split.training_set.environment_features["season"].max() == split.training_set.season
