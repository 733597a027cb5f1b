"""Leaks put into a validation on purpose must be caught, and honest data must pass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import ProgramError
from genomic_platform.genotypes.read import read_genotypes
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.evaluate import evaluate, leak_notices
from genomic_platform.models.folds import random_folds
from genomic_platform.models.leaks import check_known, outcome_markers
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.phenotypes.line_means import line_means
from genomic_platform.phenotypes.training_means import training_means
from genomic_platform.phenotypes.trials import read_trials
from genomic_platform_tests.support.nested_association import TRAIT, NestedDesign, NestedPanel, nested_panel

WHEAT = Path(__file__).parents[2] / "examples" / "wheat_cimmyt599" / "landing"


@pytest.fixture(scope="module")
def panel() -> NestedPanel:
    return nested_panel(replace(NestedDesign.small(), n_lines=300, n_families=10, n_markers=400, returning=0.8), seed=3)


def _with_marker(genotypes: GenotypeTable, name: str, dosage_N: np.ndarray) -> GenotypeTable:
    extra = pl.DataFrame({"variant_id": name, "chromosome": "99", "position": 1, "ref": "A", "alt": "C"})
    variants = pl.concat([genotypes.variants.select(extra.columns), extra], how="vertical_relaxed")
    return GenotypeTable.from_dosages(variants, genotypes.lines,
                                      np.vstack([genotypes.dosages().T, dosage_N.astype(np.int8)]))


def _harvest(panel: NestedPanel, season: str) -> pl.DataFrame:
    return panel.line_means.filter(pl.col("season") == season).group_by("line_id").agg(
        pl.col("centred").mean().alias("value"))


def test_honest_data_pass(panel: NestedPanel) -> None:
    assert leak_notices(panel.genotypes, panel.line_means, folds=random_folds(panel.genotypes.lines, 0)) == []


def test_real_data_pass() -> None:
    """Wheat: real markers, of which none looks made from yield; copies across random folds are real and are named."""
    genotypes, _ = read_genotypes([WHEAT / "genotypes/genotypes.vcf.gz"])
    records, _ = read_trials([WHEAT / "trials/phenotypes.csv"], ["grain_yield_std"])
    means, _ = line_means(records, means="centred")
    assert leak_notices(genotypes, means) == []
    (copies,) = leak_notices(genotypes, means, folds=random_folds(genotypes.lines, 0))
    assert copies.code == "clones_across_folds"


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_an_outcome_derived_marker_is_caught(panel: NestedPanel, noise: float) -> None:
    """The best half of the lines by their mean, with noise of half a standard deviation or without."""
    means, _ = training_means(panel.line_means, genotyped=panel.genotypes.lines)
    mean_of = dict(means.select("line_id", "mean").iter_rows())
    y_N = np.array([mean_of.get(line, 0.0) for line in panel.genotypes.lines])
    y_N = y_N + noise * y_N.std() * np.random.default_rng(1).normal(size=len(y_N))
    spoilt = _with_marker(panel.genotypes, "too_good", 2 * (y_N > np.median(y_N)))
    (notice,) = leak_notices(spoilt, panel.line_means)
    assert notice.code == "outcome_markers"
    assert [said.split()[0] for said in notice.examples] == ["too_good"]
    with pytest.raises(ProgramError, match=r"too_good with grain_yield_t_ha, r² \.?0?\.\d"):
        evaluate(spoilt, panel.line_means, recipes=["genomic_blup"], replicates=1, refuse_leaks=True)


def test_a_major_gene_is_no_leak() -> None:
    """Half the variance from one marker that has neighbours in linkage disequilibrium, a marker each .4 cM."""
    genotypes = nested_panel(replace(NestedDesign.small(), n_lines=300, n_families=10, n_markers=2_000), 3).genotypes
    dosage_NM = genotypes.dosages()
    gene = int(np.abs(dosage_NM.mean(axis=0) - 1).argmin())
    y_N = dosage_NM[:, gene] + np.random.default_rng(1).normal(size=300)
    means = pl.DataFrame({"line_id": genotypes.lines, "trait": TRAIT, "mean": y_N})
    assert np.corrcoef(y_N, dosage_NM[:, gene])[0, 1] ** 2 > 0.4
    assert outcome_markers(genotypes, means) == []


def test_a_line_duplicated_across_folds_is_caught(panel: NestedPanel) -> None:
    dosage_MN = panel.genotypes.dosages().T.copy()
    twice = GenotypeTable.from_dosages(panel.genotypes.variants, [*panel.genotypes.lines, "copy"],
                                       np.hstack([dosage_MN, dosage_MN[:, :1]]))
    records = pl.concat([panel.line_means, panel.line_means.filter(pl.col("line_id") == "L00001").with_columns(
        line_id=pl.lit("copy"))])
    folds = random_folds(panel.genotypes.lines, 0)
    together, apart = ({**folds, "copy": fold} for fold in (folds["L00001"], folds["L00001"] ^ 1))
    assert leak_notices(twice, records, folds=together) == []
    (notice,) = leak_notices(twice, records, folds=apart)
    assert (notice.code, notice.examples) == ("clones_across_folds", ("L00001 = copy",))
    with pytest.raises(ProgramError, match="L00001 = copy"):
        evaluate(twice, records, recipes=["genomic_blup"], folds=apart, refuse_leaks=True)


def test_a_planted_future_column_is_caught(panel: NestedPanel) -> None:
    """The harvest of 2021 with noise, handed in as a feature of the lines; beside it an honest one, a noisy value."""
    rng = np.random.default_rng(2)
    future = _harvest(panel, "2021").with_columns(feature=pl.lit("late"))
    future = future.with_columns(value=pl.col("value") + rng.normal(size=future.height) * 0.5)
    honest = pl.DataFrame({"line_id": panel.genotypes.lines, "feature": "early",
                           "value": panel.value_N + rng.normal(size=300)})
    features = pl.concat([future.select(honest.columns), honest])
    found = leak_notices(panel.genotypes, panel.line_means, features=features)
    assert {said.split()[0] for notice in found for said in notice.examples} == {"late"}
    with pytest.raises(ProgramError, match="late with grain_yield_t_ha"):
        evaluate(panel.genotypes, panel.line_means, recipes=["genomic_blup"], scheme="forward", features=features,
                 refuse_leaks=True)


def test_a_trait_that_holds_the_next_harvest_is_caught(panel: NestedPanel) -> None:
    """A column of next year's yield, entered beside this year's; an honest second trait is a noisy copy of its own."""
    noise_N = np.random.default_rng(4).normal(size=panel.line_means.height)
    honest = panel.line_means.with_columns(trait=pl.lit("plant_height_cm"), centred=pl.col("centred") + 0.5 * noise_N)
    means = pl.concat([panel.line_means, honest])
    assert leak_notices(panel.genotypes, means) == []
    following = _harvest(panel, "2021").rename({"value": "late"})
    late = panel.line_means.filter(pl.col("season") == "2020").join(following, on="line_id").with_columns(
        trait=pl.lit("note"), centred="late").select(means.columns)
    (notice,) = leak_notices(panel.genotypes, pl.concat([means, late]))
    assert [said.split(", r ")[0] for said in notice.examples] == [
        "note of 2020 with grain_yield_t_ha", "note of 2020 with plant_height_cm"]
    assert notice.code == "outcome_features"


def test_a_feature_of_a_later_season_is_refused(panel: NestedPanel) -> None:
    features = _harvest(panel, "2021").with_columns(feature=pl.lit("late"), known_from=pl.lit("2021"))
    with pytest.raises(ProgramError, match=r"late \(known from 2021\): known only after season 2019"):
        evaluate(panel.genotypes, panel.line_means, recipes=["genomic_blup"], scheme="forward", features=features)
    in_time = features.with_columns(known_from=pl.lit("2019"))
    evaluate(panel.genotypes, panel.line_means, recipes=["genomic_blup"], scheme="forward", features=in_time)


def test_a_training_set_may_not_hold_the_future(panel: NestedPanel) -> None:
    means, _ = training_means(panel.line_means, genotyped=panel.genotypes.lines)
    seasons = ("2019", "2020", "2021")
    check_known(TrainingSet("2021", means, panel.genotypes), seasons)
    with pytest.raises(ProgramError, match="training set of season 2020 holds records of 2021"):
        check_known(TrainingSet("2020", means, panel.genotypes), seasons)
    weather = pl.DataFrame({"environment": "site_1_2021", "season": "2021", "feature": "rain_mm", "value": 1.0})
    early = means.filter(pl.col("last_season") == "2019")
    with pytest.raises(ProgramError, match="holds environment features of 2021"):
        check_known(TrainingSet("2020", early, panel.genotypes, environment_features=weather), seasons)
