"""Networks: GBLUP where nothing is learnt, interactions where there are some, repeatable, resumable, honest folds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import NotAvailable, OutOfDeviceMemory, ProgramError
from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.genomic_blup import GenomicBlup
from genomic_platform.models.markers import centred
from genomic_platform.models.networks.convolutional_network import ConvolutionalNetwork, windows
from genomic_platform.models.networks.fitted import FittedNetwork
from genomic_platform.models.networks.graph_network import GraphNetwork
from genomic_platform.models.networks.inner_folds import InnerTargets, gate, inner_targets
from genomic_platform.models.networks.inputs import ScoreInputs, neighbour_weights
from genomic_platform.models.networks.marker_network import MarkerNetwork
from genomic_platform.models.networks.recipe import NetworkRecipe
from genomic_platform.models.networks.settings import Training
from genomic_platform.models.protocol import FittedModel, TrainingSet
from genomic_platform.models.recipes import load_fitted, parameters_digest
from genomic_platform.schemas.predictions import MARKER_EFFECTS, VALUES
from genomic_platform_tests.support.panels import made_panel, made_values, training_set

torch = pytest.importorskip("torch")

N_TRAIN = 200
QUICK = Training(folds=4, epochs=25, batch=64, rate=0.01)
RECIPES: list[NetworkRecipe] = [MarkerNetwork(QUICK, features=64), ConvolutionalNetwork(QUICK, window=4),
                                GraphNetwork(QUICK, features=64, neighbours=5)]
NAMES = [recipe.name for recipe in RECIPES]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small products: threads cost more than they save, and bits must not depend on how many there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def panel() -> GenotypeTable:
    return made_panel(n_lines=280, n_markers=12)


@pytest.fixture(scope="module")
def truth(panel: GenotypeTable) -> np.ndarray:
    """A little additive effect, and more from two pairs of neighbours whose effects turn with each other's allele."""
    x_NM = panel.dosages() - panel.dosages().mean(axis=0)
    value_N = x_NM[:, 0] + 0.5 * x_NM[:, 5] + 1.5 * (x_NM[:, 2] * x_NM[:, 3] + x_NM[:, 9] * x_NM[:, 10])
    return value_N - value_N.mean()


@pytest.fixture(scope="module")
def learnt(panel: GenotypeTable, truth: np.ndarray) -> TrainingSet:
    """`epistatic` with plain errors, `weighted` with known ones on fewer lines, and two that cannot be learnt."""
    rng, lines = np.random.default_rng(4), list(panel.lines)
    error_N = rng.uniform(0.5, 3.0, 150)
    return training_set(panel, {
        "epistatic": (lines[:N_TRAIN], truth[:N_TRAIN] + rng.normal(size=N_TRAIN), None),
        "few": (lines[:12], truth[:12], None), "flat": (lines[:60], np.full(60, 4.0), None),
        "weighted": (lines[:150], truth[:150] + rng.normal(size=150) * np.sqrt(error_N), error_N)})


@pytest.fixture(scope="module")
def models(learnt: TrainingSet) -> dict[str, FittedNetwork]:
    return {recipe.name: recipe.fit(learnt, seed=3) for recipe in RECIPES}


@pytest.fixture(scope="module")
def fitted(models: dict[str, FittedNetwork]) -> FittedNetwork:
    return models["marker_network"]


@pytest.fixture(scope="module")
def targets(panel: GenotypeTable, learnt: TrainingSet) -> InnerTargets:
    found = inner_targets(panel, vanraden(panel).matrix_NN, GenomicBlup().fit(learnt).fits, 4, 0)
    assert found is not None
    return found


def _column(table: pl.DataFrame, trait: str, column: str = "genotypic_value") -> np.ndarray:
    return table.filter(pl.col("trait") == trait).sort("line_id")[column].to_numpy()


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.name)
def test_an_untrained_branch_is_zero_everywhere(recipe: NetworkRecipe, panel: GenotypeTable,
                                                learnt: TrainingSet) -> None:
    from genomic_platform.models.networks.training import values

    additive, k_PP = GenomicBlup().fit(learnt), vanraden(panel).matrix_NN
    inputs = recipe.inputs(panel, k_PP)
    module = recipe.module(inputs, panel, 4, 2.0, torch.Generator().manual_seed(0))
    f_NAT = values(module, inputs.feed(panel, additive, torch.device("cpu"), 10**9), 64, torch.no_grad())
    assert f_NAT.shape == (280, 4, 4)
    assert not f_NAT.any()


def test_without_a_gain_in_inner_folds_the_result_is_gblup(panel: GenotypeTable) -> None:
    noise_N = np.random.default_rng(1).normal(size=120)
    additive = training_set(panel, {"y": (list(panel.lines[:120]), made_values(panel)[:120] + 0.1 * noise_N, None)})
    model = ConvolutionalNetwork(replace(QUICK, rate=0.5, patience=1), window=4).fit(additive)
    assert model.summary()["y"]["branch"] == "closed: no gain in inner folds"
    assert model.predict(panel).equals(GenomicBlup().fit(additive).predict(panel))
    assert model.explain().equals(GenomicBlup().fit(additive).explain())


@pytest.mark.parametrize("name", NAMES)
def test_interactions_that_gblup_cannot_see_are_learnt(name: str, models: dict[str, FittedNetwork],
                                                       panel: GenotypeTable, truth: np.ndarray,
                                                       learnt: TrainingSet) -> None:
    """80 lines that did not train and more: the products are orthogonal to what GBLUP sees."""
    table, alone = models[name].predict(panel), GenomicBlup().fit(learnt).predict(panel)
    for trait, n in (("epistatic", N_TRAIN), ("weighted", 150)):
        r, r_alone = (np.corrcoef(_column(t, trait)[n:], truth[n:])[0, 1] for t in (table, alone))
        assert r > r_alone + 0.1


def test_the_graph_network_attaches_new_lines(panel: GenotypeTable, models: dict[str, FittedNetwork]) -> None:
    model = models["graph_network"]
    some = panel.select(lines=panel.lines[260:])
    renamed = GenotypeTable.from_packed(some.variants, [f"new{i:03d}" for i in range(20)], some.packed_MB)
    found = model.predict(renamed)
    assert VALUES.faults(found) == []
    assert not found["phenotyped"].any()
    assert _column(model.predict(some), "epistatic") == pytest.approx(
        _column(model.predict(panel), "epistatic")[260:], abs=1e-4)


def test_hopeless_traits_are_said_and_zero(panel: GenotypeTable, fitted: FittedNetwork) -> None:
    assert isinstance(fitted, FittedModel)
    for trait, status in (("few", "no genetic variance found"), ("flat", "constant")):
        assert fitted.summary()[trait]["status"] == status
        assert fitted.summary()[trait]["branch"] == "closed: too few lines or no genetic variance"
    assert fitted.summary()["epistatic"]["branch"] == "open"
    assert not _column(fitted.predict(panel), "flat").any()
    hopeless = training_set(panel, {"few": (list(panel.lines[:3]), np.arange(3.0), None)})
    assert RECIPES[0].fit(hopeless).predict(panel).equals(GenomicBlup().fit(hopeless).predict(panel))


def test_values_keep_their_contract_and_claim_no_more_than_gblup(panel: GenotypeTable, learnt: TrainingSet,
                                                                 fitted: FittedNetwork) -> None:
    table, alone = fitted.predict(panel), GenomicBlup().fit(learnt).predict(panel)
    assert VALUES.faults(table) == []
    for column in ("breeding_value_reliability", "genotypic_value_reliability"):
        assert table[column].is_between(0, 1).all()
        assert (table[column].to_numpy() <= alone[column].to_numpy() + 1e-12).all()
    assert table["genotypic_value_reliability"].sum() < alone["genotypic_value_reliability"].sum()


def test_average_effects_are_the_mean_gradient_scaled(panel: GenotypeTable, fitted: FittedNetwork) -> None:
    """Numerical derivative in each marker, over members and training lines; slope one of f on the index."""
    assert fitted.branch is not None
    trait, additive = fitted.traits.index("epistatic"), fitted.additive
    x_NM = centred(panel.dosages(), additive.frequencies_M)[:N_TRAIN]
    p = fitted.branch.parameters[int(fitted.branch.epoch_T[trait])]

    def f(x_QM: np.ndarray) -> np.ndarray:
        feature_QAH = np.cos(x_QM / np.sqrt(additive.scale) @ p["weight_RF"] + p["phase_F"]).reshape(
            len(x_QM), 4, 64)
        value_QA = np.sqrt(2 / 64) * np.einsum("qah,ah->qa", feature_QAH, p["head_AHT"][:, :, trait])
        return fitted.branch.unit_T[trait] * value_QA.mean(axis=1)

    h, gradient_M = 1e-3, np.empty(panel.n_variants)
    for m in range(panel.n_variants):
        step_M = h * (np.arange(panel.n_variants) == m)
        gradient_M[m] = np.mean(f(x_NM + step_M) - f(x_NM - step_M)) / (2 * h)
    index_N, f_N = x_NM @ gradient_M, f(x_NM)
    expected_M = gradient_M * np.cov(f_N, index_N)[0, 1] / np.var(index_N, ddof=1)
    # float32 parameters and inputs
    assert fitted.branch_effects_MT[:, trait] == pytest.approx(expected_M, rel=2e-3, abs=1e-4)
    table = fitted.predict(panel)
    assert fitted.values_from_dosages(panel.dosages())[:, trait] == pytest.approx(
        _column(table, "epistatic", "breeding_value"), abs=2e-5)
    assert MARKER_EFFECTS.faults(fitted.explain()) == []
    assert fitted.explain(panel.select(lines=panel.lines[:2]), top=3).height <= 2 * 4 * 3


def test_repeated_saved_and_read_back_is_the_same(panel: GenotypeTable, learnt: TrainingSet, fitted: FittedNetwork,
                                                  tmp_path: Path) -> None:
    fitted.save(tmp_path / "one")
    RECIPES[0].fit(learnt, seed=3).save(tmp_path / "two")
    read = load_fitted(tmp_path / "one")
    assert read.predict(panel).equals(fitted.predict(panel))
    assert read.summary() == fitted.summary()
    read.save(tmp_path / "three")
    assert len({parameters_digest(tmp_path / name) for name in ("one", "two", "three")}) == 1
    assert not [p for p in (tmp_path / "one").rglob("*") if p.suffix in (".pt", ".pkl", ".pickle")]
    assert not RECIPES[0].fit(learnt, seed=4).predict(panel).equals(fitted.predict(panel))


@pytest.mark.parametrize("name", NAMES[1:])
def test_the_other_networks_are_read_back_too(name: str, models: dict[str, FittedNetwork], panel: GenotypeTable,
                                              tmp_path: Path) -> None:
    models[name].save(tmp_path / "one")
    assert load_fitted(tmp_path / "one").predict(panel).equals(models[name].predict(panel))


def test_a_killed_training_goes_on_to_the_same_bytes(learnt: TrainingSet, fitted: FittedNetwork, tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM in the middle of the fourth pass, as Dagster hands it on: an exception in the main thread."""
    from genomic_platform.models.networks.training import Trainer

    class Stopped(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stopped

    passes, whole = [], Trainer._pass

    def one_pass(self: Trainer) -> None:
        passes.append(self.epoch)
        if len(passes) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        whole(self)

    former = signal.signal(signal.SIGTERM, stop)
    monkeypatch.setattr(Trainer, "_pass", one_pass)
    try:
        with pytest.raises(Stopped):
            RECIPES[0].fit(learnt, seed=3, checkpoint=tmp_path / "checkpoint")
        resumed = RECIPES[0].fit(learnt, seed=3, checkpoint=tmp_path / "checkpoint")
        passed = passes.copy()
        RECIPES[0].fit(learnt, seed=4, checkpoint=tmp_path / "checkpoint")
    finally:
        signal.signal(signal.SIGTERM, former)
    assert passes[:5] == [0, 1, 2, 3, 4], "the pass that was under way is finished, saved and not repeated"
    assert passes[len(passed)] == 0, "another seed does not go on from this checkpoint"
    resumed.save(tmp_path / "resumed")
    fitted.save(tmp_path / "undisturbed")
    assert parameters_digest(tmp_path / "resumed") == parameters_digest(tmp_path / "undisturbed")


def test_inner_folds_have_a_gblup_of_their_own(panel: GenotypeTable, learnt: TrainingSet,
                                               targets: InnerTargets) -> None:
    """Residuals of fold 1 are those of a GBLUP solved plainly without its lines, at the same components."""
    fit = GenomicBlup().fit(learnt).fits[0]
    k_NN, y_N = vanraden(panel).matrix_NN[np.ix_(fit.data.rows_N, fit.data.rows_N)], fit.data.y_N
    at = np.flatnonzero(targets.fold_N[: len(y_N)] != 1)
    v_inverse = np.linalg.inv(fit.components.genetic * k_NN[np.ix_(at, at)] + fit.components.error * np.eye(len(at)))
    mean = (v_inverse @ y_N[at]).sum() / v_inverse.sum()
    g_N = fit.components.genetic * k_NN[:, at] @ v_inverse @ (y_N[at] - mean)
    assert targets.residual_NKT[: len(y_N), 1, 0] * targets.sd_T[0] == pytest.approx(y_N - mean - g_N, abs=1e-8)
    assert targets.weight_NT[targets.weight_NT[:, 3] > 0, 3].mean() == pytest.approx(1)
    assert (targets.weight_NT[150:, 3] == 0).all()


def test_a_member_learns_nothing_from_the_fold_it_is_judged_on(panel: GenotypeTable, learnt: TrainingSet,
                                                               targets: InnerTargets) -> None:
    from genomic_platform.models.checkpoint import Checkpoint
    from genomic_platform.models.networks.training import Trainer

    recipe, additive = RECIPES[0], GenomicBlup().fit(learnt)
    inputs = recipe.inputs(panel, vanraden(panel).matrix_NN)
    feed = inputs.feed(panel.select(lines=panel.lines[:N_TRAIN]), additive, torch.device("cpu"), 10**9)
    changed = targets.residual_NKT.copy()
    changed[targets.fold_N == 0, 0] += np.random.default_rng(0).normal(size=changed[targets.fold_N == 0, 0].shape)
    heads = []
    for residual_NKT in (targets.residual_NKT, changed):
        generator = torch.Generator().manual_seed(0)
        module = recipe.module(inputs, panel, 4, 2.0, generator)
        trainer = Trainer(module, feed, replace(targets, residual_NKT=residual_NKT),
                          replace(QUICK, epochs=3, patience=9), generator)
        with Checkpoint(None) as nowhere:
            trainer.run(nowhere)
        heads.append(trainer.state()["best"][3]["head_AHT"])
    assert torch.equal(heads[0][0], heads[1][0])


def test_traits_share_a_trunk_and_have_a_head_each(panel: GenotypeTable, learnt: TrainingSet,
                                                   targets: InnerTargets) -> None:
    """What one trait's lines say moves the features of all; a missing record moves nothing, its own head neither."""
    from genomic_platform.models.networks.training import Trainer

    recipe, additive = RECIPES[0], GenomicBlup().fit(learnt)
    inputs = recipe.inputs(panel, vanraden(panel).matrix_NN)
    feed = inputs.feed(panel.select(lines=panel.lines[:N_TRAIN]), additive, torch.device("cpu"), 10**9)

    def trained(residual_NKT: np.ndarray) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        module = recipe.module(inputs, panel, 4, 2.0, generator)
        trainer = Trainer(module, feed, replace(targets, residual_NKT=residual_NKT), QUICK, generator)
        for start in (0, 64, 128, 0):
            trainer.step(torch.arange(start, start + 64))
        return {name: value.detach() for name, value in module.named_parameters()}

    missing, other = targets.residual_NKT.copy(), targets.residual_NKT.copy()
    assert not targets.weight_NT[150:, 3].any()
    missing[150:, :, 3] += 9.0
    other[:150, :, 3] = other[149::-1, :, 3]
    before, unmoved, moved = (trained(residual) for residual in (targets.residual_NKT, missing, other))
    assert all(torch.equal(before[name], unmoved[name]) for name in before)
    assert not torch.equal(before["weight_RF"], moved["weight_RF"])
    assert not torch.equal(before["head_AHT"][..., 0], moved["head_AHT"][..., 0])
    flat = learnt.traits.index("flat")
    assert not before["head_AHT"][..., flat].any(), "a trait that cannot be learnt keeps the head it began with"


def test_out_of_memory_halves_the_batch_once(panel: GenotypeTable, learnt: TrainingSet,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """No card here to run out: the error torch raises on one, from batches of more than 32 lines."""
    from genomic_platform.models.networks.training import Trainer

    step, most = Trainer.step, [32]

    def small(self: Trainer, rows_B: torch.Tensor) -> None:
        if len(rows_B) > most[0]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        step(self, rows_B)

    short = replace(QUICK, epochs=3)
    expected = MarkerNetwork(replace(short, batch=32), features=32).fit(learnt)
    monkeypatch.setattr(Trainer, "step", small)
    found = MarkerNetwork(short, features=32).fit(learnt)
    assert (short.batch, found.summary()["epistatic"]["batch"]) == (64, 32)
    assert found.predict(panel).equals(expected.predict(panel))
    most[0] = 16
    with pytest.raises(OutOfDeviceMemory, match=r"batch of 64: .*; batch of 32: "):
        MarkerNetwork(short, features=32).fit(learnt)


def test_the_gate_opens_only_for_what_helps(targets: InnerTargets) -> None:
    own_N = targets.residual_NKT[np.arange(N_TRAIN), targets.fold_N, 0]
    held_out_NT = np.zeros((N_TRAIN, 4))
    assert gate(targets, 0, held_out_NT).weight == 0
    held_out_NT[:, 0] = -own_N
    assert gate(targets, 0, held_out_NT).weight == 0
    held_out_NT[:, 0] = 2 * own_N
    found = gate(targets, 0, held_out_NT)
    assert (found.weight, found.gain) == (pytest.approx(0.5), pytest.approx(1))
    held_out_NT[:, 0] = 0.5 * own_N
    assert gate(targets, 0, held_out_NT).weight == 1, "a branch is never enlarged"
    assert gate(targets, 0, held_out_NT).gain == pytest.approx(0.75)


def test_scores_keep_distances_and_lead_back_to_markers() -> None:
    """More markers than lines; a function that is linear in the scores is the index of its marker effects."""
    wide = made_panel(n_lines=50, n_markers=90)
    learnt = training_set(wide, {"y": (list(wide.lines[:40]), made_values(wide)[:40], None)})
    k_PP, additive = vanraden(wide).matrix_NN, GenomicBlup().fit(learnt)
    inputs = MarkerNetwork().inputs(wide, k_PP)
    assert isinstance(inputs, ScoreInputs)
    z_PR = inputs.feed(wide, additive, torch.device("cpu"), 0).batch(torch.arange(wide.n_lines)).numpy()
    expected_PP = np.diag(k_PP)[:, None] + np.diag(k_PP) - 2 * k_PP
    assert ((z_PR[:, None] - z_PR[None]) ** 2).sum(axis=2) == pytest.approx(expected_PP, abs=1e-4)
    slope_RT = np.random.default_rng(0).normal(size=(inputs.n_inputs, 1))
    effects_MT = inputs.effects(slope_RT, additive)
    assert centred(wide.dosages(), additive.frequencies_M) @ effects_MT == pytest.approx(z_PR @ slope_RT, abs=1e-3)


def test_markers_packed_or_decoded_train_the_same_network(panel: GenotypeTable, learnt: TrainingSet) -> None:
    short = replace(QUICK, epochs=10)
    decoded = MarkerNetwork(short, features=32)
    one, two = (replace(decoded, training=replace(short, resident_bytes=held)).fit(learnt).predict(panel)
                for held in (10**9, 0))
    assert one.equals(two)
    # In bfloat16 products are rounded to three digits, which ten passes do not amplify much.
    rounded = replace(decoded, training=replace(short, bf16=True)).fit(learnt).predict(panel)
    assert np.corrcoef(_column(one, "epistatic"), _column(rounded, "epistatic"))[0, 1] > 0.98


def test_windows_stay_within_chromosomes() -> None:
    assert windows(np.array(["1"] * 5 + ["2"] * 3), 3).tolist() == [[0, 1, 2], [3, 4, 8], [5, 6, 7]]


def test_neighbours_are_the_nearest_relatives_but_oneself() -> None:
    k_PP = np.array([[2.0, 0.6, 0.2, -0.3], [0.6, 2.0, -0.1, -0.2], [0.2, -0.1, 2.0, -0.4], [-0.3, -0.2, -0.4, 2.0]])
    weight_PP = neighbour_weights(k_PP, np.arange(4), 2)
    assert weight_PP == pytest.approx(np.array([[0, 0.75, 0.25, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]))
    assert neighbour_weights(k_PP[:1], np.array([-1]), 1).tolist() == [[1, 0, 0, 0]]


def test_what_cannot_be_done_is_said(learnt: TrainingSet) -> None:
    if not torch.cuda.is_available():
        with pytest.raises(NotAvailable, match="torch finds no CUDA device here; use cpu"):
            RECIPES[0].fit(learnt, device="cuda")
    with pytest.raises(ProgramError, match="folds is 1; expected at least 2"):
        Training(folds=1)


def test_naming_recipes_does_not_import_torch() -> None:
    code = ("import sys; from genomic_platform.models.recipes import load_recipe\n"
            "for name in ('marker_network', 'convolutional_network', 'graph_network', 'reaction_norm_network'):\n"
            "    load_recipe(name)\n"
            "sys.exit('torch' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
