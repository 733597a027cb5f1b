"""Boosted trees: interactions learnt, nothing seen of lines held out, honest reliabilities, repeatable files."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import MissingExtra, ProgramError
from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.genomic_blup import GenomicBlup
from genomic_platform.models.markers import centred, line_sums
from genomic_platform.models.protocol import FittedModel, TrainingSet
from genomic_platform.models.recipes import load_fitted, parameters_digest
from genomic_platform.models.trees.boosting import LOOK_EVERY, Boosting, contributions, grow, read_booster
from genomic_platform.models.trees.fitted import FittedTrees, features
from genomic_platform.models.trees.inputs import Structure, top_markers
from genomic_platform.models.trees.recipe import BoostedTrees
from genomic_platform.schemas.predictions import MARKER_EFFECTS, VALUES
from genomic_platform_tests.support.panels import made_panel, training_set

pytest.importorskip("lightgbm")

N_TRAIN = 200
GROWN = Boosting(rate=0.1, feature_share=1.0, lines_per_leaf=5, rounds=150)
QUICK = BoostedTrees(folds=4, components=2, boosting=GROWN)


@pytest.fixture(scope="module")
def panel() -> GenotypeTable:
    return made_panel(n_lines=280, n_markers=12)


@pytest.fixture(scope="module")
def truth(panel: GenotypeTable) -> np.ndarray:
    """A little additive effect, and more from two pairs of markers that count only where both are homozygous ALT."""
    x_NM = panel.dosages()
    both_N = (x_NM[:, [2, 9]] == 2) & (x_NM[:, [3, 10]] == 2)
    value_N = 0.3 * x_NM[:, 0] + 3 * (both_N[:, 0] ^ both_N[:, 1])
    return value_N - value_N.mean()


@pytest.fixture(scope="module")
def learnt(panel: GenotypeTable, truth: np.ndarray) -> TrainingSet:
    """`epistatic` with plain errors, `weighted` with known ones on fewer lines, and two that cannot be learnt."""
    rng, lines = np.random.default_rng(4), list(panel.lines)
    error_N = rng.uniform(0.5, 3.0, 150)
    return training_set(panel, {
        "epistatic": (lines[:N_TRAIN], truth[:N_TRAIN] + rng.normal(size=N_TRAIN), None),
        "few": (lines[:3], truth[:3], None), "flat": (lines[:60], np.full(60, 4.0), None),
        "weighted": (lines[:150], truth[:150] + rng.normal(size=150) * np.sqrt(error_N), error_N)})


@pytest.fixture(scope="module")
def fitted(learnt: TrainingSet) -> FittedTrees:
    return QUICK.fit(learnt, seed=3)


def _column(table: pl.DataFrame, trait: str, column: str = "genotypic_value") -> np.ndarray:
    return table.filter(pl.col("trait") == trait).sort("line_id")[column].to_numpy()


def test_interactions_that_gblup_cannot_see_are_learnt(panel: GenotypeTable, learnt: TrainingSet, truth: np.ndarray,
                                                       fitted: FittedTrees) -> None:
    table, alone = fitted.predict(panel), GenomicBlup().fit(learnt).predict(panel)
    for trait, n in (("epistatic", N_TRAIN), ("weighted", 150)):
        r, r_alone = (np.corrcoef(_column(t, trait)[n:], truth[n:])[0, 1] for t in (table, alone))
        assert r > r_alone + 0.1


def test_values_keep_their_contract(panel: GenotypeTable, learnt: TrainingSet, fitted: FittedTrees) -> None:
    assert isinstance(fitted, FittedModel)
    table = fitted.predict(panel)
    assert VALUES.faults(table) == []
    assert MARKER_EFFECTS.faults(fitted.explain()) == []
    assert fitted.explain(panel.select(lines=panel.lines[:2]), top=3).height <= 2 * 4 * 3
    assert fitted.values_from_dosages(panel.dosages())[:, 0] == pytest.approx(
        _column(table, "epistatic", "breeding_value"), abs=1e-9)
    quick = QUICK.fit_values(learnt, seed=3)
    assert _column(quick, "epistatic") == pytest.approx(_column(table, "epistatic"))
    some = panel.select(lines=panel.lines[250:])
    renamed = GenotypeTable.from_packed(some.variants, [f"new{i:03d}" for i in range(30)], some.packed_MB)
    assert _column(fitted.predict(renamed), "epistatic") == pytest.approx(_column(table, "epistatic")[250:], abs=1e-9)
    assert not fitted.predict(renamed)["phenotyped"].any()


def test_hopeless_traits_are_said_and_zero(panel: GenotypeTable, fitted: FittedTrees) -> None:
    table = fitted.predict(panel)
    for trait, status in (("few", "too few lines"), ("flat", "constant")):
        assert fitted.summary()[trait]["status"] == status
        assert fitted.summary()[trait]["trees"] == "none: too few lines"
        for column in ("breeding_value", "genotypic_value", "genotypic_value_reliability"):
            assert not _column(table, trait, column).any()
    assert fitted.summary()["epistatic"]["trees"] == "grown"


def test_noise_is_not_learnt(panel: GenotypeTable) -> None:
    """Reliabilities of a trait without any genetic variance are near none, whatever trees make of the noise."""
    y_N = np.random.default_rng(6).normal(size=N_TRAIN)
    model = QUICK.fit(training_set(panel, {"noise": (list(panel.lines[:N_TRAIN]), y_N, None)}))
    table = model.predict(panel)
    assert _column(table, "noise", "genotypic_value_reliability").mean() < 0.1
    assert _column(table, "noise")[N_TRAIN:].std() < 0.2


def test_a_member_learns_nothing_from_the_fold_it_is_judged_on() -> None:
    rng = np.random.default_rng(0)
    features_NF, fold_N = rng.normal(size=(60, 4)).astype(np.float32), np.arange(60) % 3
    z_N, settings = 3 * features_NF[:, 0] + rng.normal(size=60), Boosting(rounds=20, patience=20)
    changed_N = z_N + np.where(fold_N == 0, rng.normal(size=60), 0.0)
    one, two = (grow([features_NF] * 3, z, np.ones(60), fold_N, settings, 1) for z in (z_N, changed_N))
    for member, same in ((0, True), (1, False), (2, False)):
        first, second = (read_booster(m.texts[member]).predict(features_NF, num_iteration=LOOK_EVERY)
                         for m in (one, two))
        assert np.array_equal(first, second) == same


def test_lines_that_do_not_train_change_nothing(panel: GenotypeTable, learnt: TrainingSet, fitted: FittedTrees) -> None:
    """Genotypes of other lines enter by the panel's allele frequencies alone: given these, they are not looked at."""
    weights_PK = np.zeros((panel.n_lines, 1))
    weights_PK[:N_TRAIN, 0] = np.random.default_rng(0).normal(size=N_TRAIN)
    frequencies_M, few = fitted.additive.frequencies_M, panel.select(lines=panel.lines[:N_TRAIN])
    assert top_markers(panel, frequencies_M, weights_PK, 5).tolist() == top_markers(
        few, frequencies_M, weights_PK[:N_TRAIN], 5).tolist()
    k_PP, rows_N = vanraden(panel).matrix_NN, np.arange(N_TRAIN)
    whole = Structure.of_training(panel, rows_N, k_PP, frequencies_M, fitted.additive.scale, 3)
    alone = Structure.of_training(few, rows_N, k_PP[:N_TRAIN, :N_TRAIN], frequencies_M, fitted.additive.scale, 3)
    assert whole.loadings_MR == pytest.approx(alone.loadings_MR, abs=1e-12)


def test_components_are_those_of_the_training_lines(panel: GenotypeTable) -> None:
    """z = UΛ^½ of the centred relationship for lines that train; others by their projection on U."""
    table = vanraden(panel)
    rows_N = np.arange(N_TRAIN)
    structure = Structure.of_training(panel, rows_N, table.matrix_NN, table.frequencies_M, table.scale, 4)
    z_PR = structure.scores(panel, table.frequencies_M)
    k_NN = table.matrix_NN[:N_TRAIN, :N_TRAIN]
    value_N, vector_NN = np.linalg.eigh(k_NN - k_NN.mean(axis=0) - k_NN.mean(axis=1)[:, None] + k_NN.mean())
    for r in range(4):
        expected_N = vector_NN[:, -1 - r] * np.sqrt(value_N[-1 - r])
        expected_N *= np.sign(expected_N @ z_PR[:N_TRAIN, r])
        assert z_PR[:N_TRAIN, r] == pytest.approx(expected_N, abs=1e-4)
    cross_QN = table.matrix_NN[N_TRAIN:, :N_TRAIN] - k_NN.mean(axis=0)
    assert z_PR[N_TRAIN:] == pytest.approx(cross_QN @ z_PR[:N_TRAIN] / (z_PR[:N_TRAIN] ** 2).sum(axis=0), abs=1e-4)


def test_average_effects_are_slopes_of_contributions(panel: GenotypeTable, fitted: FittedTrees) -> None:
    """By plain regressions, component and marker after component and marker; slope one of f on the sum."""
    training = panel.select(lines=panel.lines[:N_TRAIN])
    own, frequencies_M = fitted.trees[0], fitted.additive.frequencies_M
    score_NR = fitted.structure.scores(training, frequencies_M)
    effect_M = np.zeros(panel.n_variants)
    for text, chosen_C in zip(own.texts, own.chosen_KC, strict=True):
        x_NF = features(training, score_NR, chosen_C, frequencies_M)
        slope_F = [np.polyfit(x_N, added_N, 1)[0]
                   for x_N, added_N in zip(x_NF.T, contributions(read_booster(text), x_NF).T, strict=True)]
        effect_M += fitted.structure.loadings_MR @ slope_F[:2]
        effect_M[chosen_C] += slope_F[2:]
    index_N, f_N = centred(training.dosages(), frequencies_M) @ effect_M, own.values(training, score_NR, frequencies_M)
    expected_M = effect_M * np.polyfit(index_N, f_N, 1)[0]
    assert fitted.effects_MT[:, 0] == pytest.approx(expected_M, rel=1e-3, abs=1e-6)
    breeding_N = line_sums(training, frequencies_M, fitted.effects_MT)[:, 0]
    assert fitted.share_T[0] == pytest.approx(np.corrcoef(breeding_N, f_N)[0, 1] ** 2)


def test_repeated_saved_and_read_back_is_the_same(panel: GenotypeTable, learnt: TrainingSet, fitted: FittedTrees,
                                                  tmp_path: Path) -> None:
    fitted.save(tmp_path / "one")
    QUICK.fit(learnt, seed=3).save(tmp_path / "two")
    read = load_fitted(tmp_path / "one")
    assert read.predict(panel).equals(fitted.predict(panel))
    assert read.summary() == fitted.summary()
    read.save(tmp_path / "three")
    assert len({parameters_digest(tmp_path / name) for name in ("one", "two", "three")}) == 1
    assert {p.suffix for p in (tmp_path / "one").rglob("*") if p.is_file()} == {".json", ".npy", ".parquet", ".txt"}
    assert not QUICK.fit(learnt, seed=4).predict(panel).equals(fitted.predict(panel))


def test_a_single_family_and_hidden_structure_are_learnt(panel: GenotypeTable, learnt: TrainingSet,
                                                         fitted: FittedTrees) -> None:
    """One family cannot be divided into folds by family: lines are; nothing else changes."""
    one = replace(learnt, families=dict.fromkeys(panel.lines, "only"))
    assert QUICK.fit(one, seed=3).predict(panel).equals(fitted.predict(panel))
    five = replace(learnt, families={line: f"f{i % 5}" for i, line in enumerate(panel.lines)})
    assert not QUICK.fit(five, seed=3).predict(panel).equals(fitted.predict(panel))


def test_what_cannot_be_done_is_said(learnt: TrainingSet, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProgramError, match=r"rate is 0; expected above 0.*; rounds is 1; expected at least 5"):
        Boosting(rate=0, rounds=1)
    with pytest.raises(ProgramError, match="folds is 1; expected at least 2"):
        BoostedTrees(folds=1)
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(MissingExtra, match=r"pip install 'genomic-platform\[trees\]'"):
        QUICK.fit(learnt)


def test_environment_features_are_not_looked_at(panel: GenotypeTable, fitted: FittedTrees) -> None:
    nothing = pl.DataFrame({"environment": ["E1"], "feature": ["rain_mm"], "value": [float("nan")]})
    assert fitted.predict(panel, nothing).equals(fitted.predict(panel))


def test_naming_the_recipe_does_not_import_lightgbm() -> None:
    code = ("import sys; from genomic_platform.models.recipes import load_recipe; load_recipe('boosted_trees')\n"
            "sys.exit('lightgbm' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
