"""Stacking: weights from lines no member had seen, never below 0, hopeless traits, members' files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import ProgramError
from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.arc_cosine import ArcCosine
from genomic_platform.models.fitted_stack import FittedStack, effects_of
from genomic_platform.models.folds import grouped_folds
from genomic_platform.models.genomic_blup import GenomicBlup
from genomic_platform.models.kernel import Kernel
from genomic_platform.models.protocol import FittedModel, TrainingSet
from genomic_platform.models.recipes import load_fitted, parameters_digest
from genomic_platform.models.stacked import Stacked, held_out_predictions, stacking_weights
from genomic_platform.models.yardstick import calibrated, inner_traits, yardstick
from genomic_platform.schemas.predictions import MARKER_EFFECTS, VALUES
from genomic_platform_tests.support.panels import made_panel, made_values, training_set

N_TRAIN = 200
QUICK = Stacked(members=("genomic_blup", "kernel", "arc_cosine"), folds=4)
CONTRARY = "genomic_platform_tests.unit.test_stacked:Reversed"


class Reversed(Kernel):
    """A member that predicts the contrary."""

    name = "reversed"

    def fit_values(self, training_set: TrainingSet) -> pl.DataFrame:
        return super().fit_values(training_set).with_columns(-pl.col("genotypic_value"))


@pytest.fixture(scope="module")
def panel() -> GenotypeTable:
    return made_panel(n_lines=280, n_markers=12)


@pytest.fixture(scope="module")
def truth(panel: GenotypeTable) -> np.ndarray:
    x_NM = panel.dosages() - panel.dosages().mean(axis=0)
    return x_NM[:, 0] + 1.5 * (x_NM[:, 2] * x_NM[:, 3] + x_NM[:, 9] * x_NM[:, 10])


@pytest.fixture(scope="module")
def learnt(panel: GenotypeTable, truth: np.ndarray) -> TrainingSet:
    rng, lines = np.random.default_rng(4), list(panel.lines)
    error_N = rng.uniform(0.5, 3.0, 150)
    return training_set(panel, {
        "additive": (lines[:N_TRAIN], made_values(panel)[:N_TRAIN], None),
        "epistatic": (lines[:N_TRAIN], truth[:N_TRAIN] + rng.normal(size=N_TRAIN), None),
        "few": (lines[:9], made_values(panel)[:9], None), "flat": (lines[:60], np.full(60, 4.0), None),
        "weighted": (lines[:150], truth[:150] + rng.normal(size=150) * np.sqrt(error_N), error_N)})


@pytest.fixture(scope="module")
def fitted(learnt: TrainingSet) -> FittedStack:
    return QUICK.fit(learnt, seed=3)


def _column(table: pl.DataFrame, trait: str, column: str = "genotypic_value") -> np.ndarray:
    return table.filter(pl.col("trait") == trait).sort("line_id")[column].to_numpy()


def test_values_and_effects_are_the_members_by_weight(panel: GenotypeTable, learnt: TrainingSet,
                                                      fitted: FittedStack) -> None:
    table = fitted.predict(panel)
    assert isinstance(fitted, FittedModel)
    assert VALUES.faults(table) == []
    assert MARKER_EFFECTS.faults(fitted.explain()) == []
    assert (fitted.weight_TW >= 0).all()
    members = [recipe.fit(learnt) for recipe in (GenomicBlup(), Kernel(), ArcCosine())]
    for t, trait in enumerate(fitted.traits):
        expected_P = sum(w * _column(m.predict(panel), trait)
                         for w, m in zip(fitted.weight_TW[t], members, strict=True))
        assert _column(table, trait) == pytest.approx(expected_P, abs=1e-9)
        effect_M = sum(w * effects_of(m, panel, fitted.traits)[:, t]
                       for w, m in zip(fitted.weight_TW[t], members, strict=True))
        assert fitted.effects_MT[:, t] == pytest.approx(effect_M, abs=1e-9)
    assert fitted.values_from_dosages(panel.dosages())[:, 0] == pytest.approx(
        _column(table, "additive", "breeding_value"), abs=1e-9)
    quick = QUICK.fit_values(learnt, seed=3)
    assert _column(quick, "epistatic") == pytest.approx(_column(table, "epistatic"), abs=1e-9)


def test_weights_are_those_of_a_plain_search(learnt: TrainingSet) -> None:
    """No other weights on a grid leave a smaller weighted error in lines not seen."""
    additive, k_PP = yardstick(learnt)
    inner = inner_traits(additive.panel, k_PP, additive.fits, None, 4, 0)
    for t in (additive.traits.index("epistatic"), additive.traits.index("weighted")):
        p_N2 = held_out_predictions(replace(learnt, relationship_NN=k_PP), [GenomicBlup(), Kernel()], additive,
                                    inner)[t]
        found, weight_N, y_N = stacking_weights(inner[t], p_N2), inner[t].weight_N, inner[t].fit.data.y_N

        def error(weight_2: np.ndarray, p_N2: np.ndarray = p_N2, y_N: np.ndarray = y_N,
                  weight_N: np.ndarray = weight_N) -> float:
            residual_N = y_N - p_N2 @ weight_2
            return float(weight_N @ (residual_N - np.average(residual_N, weights=weight_N)) ** 2)

        grid = [error(np.array([a, b])) for a in np.linspace(0, 2, 41) for b in np.linspace(0, 2, 41)]
        assert error(found.weight_W) <= min(grid) + 1e-9


def test_interactions_are_learnt_and_additive_traits_lose_a_hair(panel: GenotypeTable, learnt: TrainingSet,
                                                                truth: np.ndarray, fitted: FittedStack) -> None:
    table, alone = fitted.predict(panel), GenomicBlup().fit(learnt).predict(panel)
    r, r_alone = (np.corrcoef(_column(t, "epistatic")[N_TRAIN:], truth[N_TRAIN:])[0, 1] for t in (table, alone))
    assert r > r_alone + 0.2
    y_N = made_values(panel)[N_TRAIN:]
    r, r_alone = (np.corrcoef(_column(t, "additive")[N_TRAIN:], y_N)[0, 1] for t in (table, alone))
    assert r > r_alone - 0.02


def test_a_member_that_predicts_the_contrary_has_no_weight(panel: GenotypeTable, learnt: TrainingSet) -> None:
    """Least squares would take it with the sign turned; here the average line is all that is left."""
    model = Stacked(members=(CONTRARY,), folds=2).fit(learnt)
    for trait in ("additive", "epistatic"):
        assert model.summary()[trait][f"weight_{CONTRARY}"] == 0
        assert not _column(model.predict(panel), trait).any()
        assert not _column(model.predict(panel), trait, "genotypic_value_reliability").any()


def test_nothing_but_training_lines_moves_the_weights(panel: GenotypeTable, learnt: TrainingSet) -> None:
    """Neither records of lines without genotypes nor calls of lines that do not train, at the same frequencies."""
    k_PP = vanraden(panel).matrix_NN
    dosage_MN = np.array(panel.dosages().T)
    dosage_MN[:, N_TRAIN:] = np.random.default_rng(0).permutation(dosage_MN[:, N_TRAIN:], axis=1)
    other = GenotypeTable.from_dosages(panel.variants, panel.lines, dosage_MN)
    changed_PP = k_PP.copy()
    changed_PP[N_TRAIN:], changed_PP[:, N_TRAIN:] = 0.0, 0.0
    strange = learnt.means.head(1).with_columns(line_id=pl.lit("unknown"), mean=pl.lit(99.0))
    changed = replace(learnt, genotypes=other, relationship_NN=changed_PP, means=pl.concat([learnt.means, strange]))
    assert GenomicBlup().fit(replace(learnt, relationship_NN=k_PP)).frequencies_M == pytest.approx(
        GenomicBlup().fit(changed).frequencies_M)
    alone = Stacked(members=("genomic_blup", "arc_cosine"), folds=2)
    weights = [alone.fit(known, seed=3).weight_TW for known in (replace(learnt, relationship_NN=k_PP), changed)]
    assert weights[0] == pytest.approx(weights[1], abs=1e-9)


def test_hopeless_traits_are_the_first_members(panel: GenotypeTable, learnt: TrainingSet, fitted: FittedStack) -> None:
    table, alone = fitted.predict(panel), GenomicBlup().fit(learnt).predict(panel)
    for trait in ("few", "flat"):
        assert fitted.summary()[trait]["weights"] == "too few lines: genomic_blup alone"
        for column in ("breeding_value", "genotypic_value", "genotypic_value_reliability"):
            assert _column(table, trait, column) == pytest.approx(_column(alone, trait, column), abs=1e-6)
    assert not _column(table, "flat").any()
    hopeless = training_set(panel, {"few": (list(panel.lines[:3]), np.arange(3.0), None)})
    assert not Stacked().fit_values(hopeless)["genotypic_value"].to_numpy().any()


def test_reliabilities_are_what_inner_folds_showed(learnt: TrainingSet) -> None:
    """GBLUP held against its own promise is about right; nothing known is reliability 0, more than promised is kept."""
    additive, k_PP = yardstick(learnt)
    inner = inner_traits(additive.panel, k_PP, additive.fits, None, 4, 0)
    t = additive.traits.index("additive")
    own = inner[t]
    predicted_N = held_out_predictions(replace(learnt, relationship_NN=k_PP), [GenomicBlup()], additive, inner)[t][:, 0]
    found = calibrated(own, predicted_N)
    assert 0.7 < found.reliability * found.variance < 1.4
    assert calibrated(own, own.mean_N).reliability == 0
    perfect = calibrated(own, own.fit.data.y_N)
    assert perfect.reliability == 1
    assert perfect.variance == pytest.approx(1 + own.fit.components.error / own.variance)
    weighted = inner[additive.traits.index("weighted")]
    assert calibrated(weighted, weighted.fit.data.y_N).reliability > 1
    assert calibrated(weighted, weighted.fit.data.y_N).variance == 1


def test_families_stay_whole_where_there_are_enough() -> None:
    wide = made_panel(n_lines=70, n_markers=100)
    additive, k_PP = yardstick(training_set(wide, {"y": (list(wide.lines), made_values(wide), None)}))
    families = {line: f"f{i % 7}" for i, line in enumerate(wide.lines)}
    fold_N = inner_traits(wide, k_PP, additive.fits, families, 4, 0)[0].fold_N
    assert all(len(set(fold_N[f::7])) == 1 for f in range(7))
    assert sorted(np.bincount(fold_N)) == [10, 20, 20, 20]
    one_N = inner_traits(wide, k_PP, additive.fits, dict.fromkeys(wide.lines, "only"), 4, 0)[0].fold_N
    assert sorted(np.bincount(one_N)) == [17, 17, 18, 18]
    folds = grouped_folds([[f"big{i}" for i in range(6)], *([f"{i}"] for i in range(6))], 2, 0)
    assert sorted(np.bincount(list(folds.values()))) == [6, 6]


def test_repeated_saved_and_read_back_is_the_same(panel: GenotypeTable, learnt: TrainingSet, fitted: FittedStack,
                                                  tmp_path: Path) -> None:
    fitted.save(tmp_path / "one")
    QUICK.fit(learnt, seed=3).save(tmp_path / "two")
    read = load_fitted(tmp_path / "one")
    some = panel.select(lines=panel.lines[250:])
    assert read.predict(some).equals(fitted.predict(some))
    assert read.summary() == fitted.summary()
    read.save(tmp_path / "three")
    assert len({parameters_digest(tmp_path / name) for name in ("one", "two", "three")}) == 1
    assert {p.suffix for p in (tmp_path / "one").rglob("*") if p.is_file()} == {".json", ".npy", ".parquet"}
    assert len(list((tmp_path / "one").rglob("run.json"))) == 1


def test_what_cannot_be_done_is_said(learnt: TrainingSet) -> None:
    for members in ((), ("kernel", "kernel"), ("kernel", "stacked")):
        with pytest.raises(ProgramError, match="expected at least one recipe, none twice and not stacked itself"):
            Stacked(members=members)
    with pytest.raises(ProgramError, match="recipe 'nothing': expected one of"):
        Stacked(members=("genomic_blup", "nothing")).fit(learnt)
