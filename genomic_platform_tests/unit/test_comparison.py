"""Comparison by folds, the first gate, and evaluation of schemes on a made-up programme."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import NotAvailable, ProgramError
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.comparison import Candidate, compare_by_folds, decide
from genomic_platform.models.cross_validation import cross_validate, pooled_ability
from genomic_platform.models.evaluate import evaluate
from genomic_platform.models.folds import random_folds
from genomic_platform.models.genomic_blup import GenomicBlup
from genomic_platform.models.kernel import Kernel
from genomic_platform.models.protocol import FittedModel, TrainingSet
from genomic_platform.phenotypes.training_means import training_means
from genomic_platform.schemas.phenotypes import LINE_MEANS
from genomic_platform.schemas.predictions import MODEL_COMPARISON, REGISTERED_MODEL, VALUES
from genomic_platform_tests.support.panels import made_panel, made_values, training_set

#: REML stops within 1e-5 of log δ, so the same fit by sums in another order differs a little in r: 3e-8 was seen.
REML_NOISE = 1e-6


class PlainRecipe:
    """A programme's own recipe, by the protocol alone (no quick values)."""

    name: ClassVar[str] = "plain"
    code_version: ClassVar[str] = "1"

    def fit(self, training_set: TrainingSet, *, seed: int = 0, device: str = "cpu",
            checkpoint: Path | None = None) -> FittedModel:
        return GenomicBlup().fit(training_set)


@pytest.fixture(scope="module")
def panel() -> GenotypeTable:
    return made_panel(n_lines=80, n_markers=150)


@pytest.fixture(scope="module")
def learnt(panel: GenotypeTable) -> TrainingSet:
    lines = list(panel.lines)
    return training_set(panel, {"a": (lines, made_values(panel), None), "b": (lines, made_values(panel, seed=4), None)})


def _candidate(recipe: str, values_P: np.ndarray, learnt: TrainingSet, lines: list[str] | None = None) -> Candidate:
    lines = lines or list(learnt.genotypes.lines)
    table = pl.concat([pl.DataFrame({
        "line_id": lines, "trait": trait, "environment": pl.Series([None] * len(lines), dtype=pl.String),
        "breeding_value": values_P, "breeding_value_reliability": 0.5, "genotypic_value": values_P,
        "genotypic_value_reliability": 0.5, "phenotyped": True}) for trait in ("a", "b")])
    return Candidate(recipe, f"digest of {recipe}", VALUES.conform(table))


def test_recipes_are_compared_on_the_same_folds(learnt: TrainingSet) -> None:
    table = compare_by_folds(learnt, {"genomic_blup": GenomicBlup(), "kernel": Kernel(), "plain": PlainRecipe()})
    assert MODEL_COMPARISON.faults(table) == []
    assert table.height == 6
    assert set(table["n_lines"]) == {80}
    by_recipe = {r: table.filter(pl.col("recipe") == r)["r_mean"].to_numpy() for r in ("genomic_blup", "plain")}
    assert by_recipe["genomic_blup"] == pytest.approx(by_recipe["plain"], abs=REML_NOISE)
    assert compare_by_folds(learnt, {"genomic_blup": GenomicBlup()}, replicates=1, max_lines=60)["n_lines"][0] == 60


def test_held_out_lines_do_not_train(learnt: TrainingSet) -> None:
    folds = random_folds(learnt.genotypes.lines, 0)
    spoilt = learnt.means.with_columns(pl.when(pl.col("line_id").replace_strict(folds) == 0).then(1e6)
                                       .otherwise("mean").alias("mean"))
    one = cross_validate(learnt, {"g": GenomicBlup()}, [folds]).filter(pl.col("fold") == 0)
    two = cross_validate(TrainingSet("2010", spoilt, learnt.genotypes), {"g": GenomicBlup()}, [folds])
    assert one["predicted"].equals(two.filter(pl.col("fold") == 0)["predicted"])


def test_first_season_takes_the_best_fold_mean(learnt: TrainingSet) -> None:
    comparison = MODEL_COMPARISON.conform(pl.DataFrame({
        "trait": ["a", "a", "b", "b"], "recipe": ["genomic_blup", "kernel"] * 2, "scheme": "cv1", "season": "2010",
        "trained_through": "2010", "r_mean": [0.4, 0.5, 0.6, None], "r_sd": None, "n_lines": 80}))
    candidates = [_candidate(r, np.arange(80.0), learnt) for r in ("genomic_blup", "kernel")]
    table = decide(learnt, comparison, candidates)
    assert REGISTERED_MODEL.faults(table) == []
    assert table["recipe"].to_list() == ["kernel", "genomic_blup"]
    assert table["challenger"].to_list() == ["genomic_blup", "kernel"]
    assert set(table["decision"]) == {"initial"}
    assert "r = 0.500" in table["reasons"][0][0]
    assert table["reasons"][1][1] == "kernel: r = not to be had"


@pytest.mark.parametrize(("change", "decision", "reason"), [
    ("none", "refresh", "refitted on records through 2010"), ("not finite", "keep", "1 of 80 values are not finite"),
    ("too wide", "keep", "range of values is"),
    ("turned", "keep", "correlation with the predecessor's values is -1.000"),
    ("lost", "keep", "2 lines of the predecessor have no value"), ("flat", "keep", "all its values are equal"),
])
def test_a_refit_is_promoted_only_after_sanity_checks(learnt: TrainingSet, change: str, decision: str,
                                                      reason: str) -> None:
    old_P = learnt.means.filter(pl.col("trait") == "a").sort("line_id")["mean"].to_numpy() * 0.5
    lines, new_P = list(learnt.genotypes.lines), old_P.copy()
    if change == "not finite":
        new_P[3] = np.nan
    elif change == "too wide":
        new_P = new_P * 10
    elif change == "turned":
        new_P = -new_P
    elif change == "lost":
        lines, new_P = lines[2:], new_P[2:]
    elif change == "flat":
        new_P = new_P * 0
    before = _candidate("genomic_blup", old_P, learnt)
    first = decide(learnt, MODEL_COMPARISON.empty(), [before]).with_columns(
        season=pl.lit("2009"), trained_through=pl.lit("2009"), model_version=pl.lit("old"))
    after = _candidate("genomic_blup", new_P, learnt, lines)
    row = decide(learnt, MODEL_COMPARISON.empty(), [after], previous=first, previous_values=before.values).row(
        0, named=True)
    assert row["decision"] == decision
    assert any(reason in said for said in row["reasons"]), row["reasons"]
    assert row["season"] == "2010"
    assert row["model_version"] == ("digest of genomic_blup" if decision == "refresh" else "old")
    assert row["trained_through"] == ("2010" if decision == "refresh" else "2009")


def test_a_champion_that_was_not_refitted_stops(learnt: TrainingSet) -> None:
    first = decide(learnt, MODEL_COMPARISON.empty(), [_candidate("kernel", np.arange(80.0), learnt)])
    with pytest.raises(NotAvailable, match="champion recipe kernel was not refitted"):
        decide(learnt, MODEL_COMPARISON.empty(), [_candidate("genomic_blup", np.arange(80.0), learnt)], previous=first)


@pytest.fixture(scope="module")
def programme(panel: GenotypeTable) -> pl.DataFrame:
    """Three seasons, one environment each, 60 of 80 lines a season."""
    rng, genetic_N, parts = np.random.default_rng(6), made_values(panel, heritability=0.95), []
    for place, season in enumerate(("2008", "2009", "2010")):
        chosen = np.sort(rng.permutation(80)[:60])
        mean_N = genetic_N[chosen] + rng.normal(size=60) * 0.5 + place
        parts.append(pl.DataFrame({
            "line_id": [panel.lines[i] for i in chosen], "season": season, "location": "here",
            "environment": f"here_{season}", "trait": "y", "mean": mean_N, "centred": mean_N - mean_N.mean(),
            "standard_error": None, "n_records": 1}))
    return LINE_MEANS.conform(pl.concat(parts))


@pytest.mark.parametrize(("scheme", "rows"), [("cv1", 1), ("cv0", 3), ("cv00", 3), ("forward", 2)])
def test_every_scheme_gives_its_rows(panel: GenotypeTable, programme: pl.DataFrame, scheme: str, rows: int) -> None:
    table = evaluate(panel, programme, recipes=["genomic_blup"], scheme=scheme, replicates=2)
    assert table.height == rows
    assert table["r_mean"].is_not_null().all()
    assert np.mean(table["r_mean"].to_numpy()) > 0.2
    assert (table["environment"].null_count() == rows) == (scheme == "cv1")
    assert table["environment"].to_list() == ([None] if scheme == "cv1" else
                                              [f"here_{s}" for s in ("2008", "2009", "2010")[3 - rows:]])


def test_forward_sees_no_later_season(panel: GenotypeTable, programme: pl.DataFrame) -> None:
    arguments = {"recipes": ["genomic_blup"], "scheme": "forward", "means": "centred", "weights": "none"}
    spoilt = programme.with_columns(pl.when(pl.col("season") == "2010").then(pl.col("mean") * -50)
                                    .otherwise("mean").alias("mean"))
    one, two = (evaluate(panel, table, **arguments) for table in (programme, spoilt))  # pyright: ignore
    assert one.equals(two)


def test_within_environment_and_published_folds(panel: GenotypeTable, programme: pl.DataFrame) -> None:
    folds = random_folds(panel.lines, 0)
    table = evaluate(panel, programme, recipes=["genomic_blup"], folds=folds, within_environment=True)
    assert table["environment"].to_list() == ["here_2008", "here_2009", "here_2010"]
    means, _ = training_means(programme.filter(pl.col("season") == "2009"), genotyped=panel.lines)
    alone = cross_validate(TrainingSet("", means, panel), {"g": GenomicBlup()}, [
        {line: fold for line, fold in folds.items() if line in set(means["line_id"])}])
    assert table["r_mean"][1] == pytest.approx(pooled_ability(alone), abs=REML_NOISE)


def test_unusable_requests_are_refused(panel: GenotypeTable, programme: pl.DataFrame) -> None:
    for arguments, said in (({"scheme": "cv7"}, "expected one of cv1"), ({"traits": ["oil"]}, "no records of oil"),
                            ({"scheme": "cv0", "folds": {"a": 1}}, "go with cv1 only")):
        with pytest.raises(ProgramError, match=said):
            evaluate(panel, programme, recipes=["genomic_blup"], **arguments)  # pyright: ignore
    with pytest.raises(ProgramError, match="needs at least two seasons"):
        evaluate(panel, programme.filter(pl.col("season") == "2009"), recipes=["genomic_blup"], scheme="forward")
