"""The recipe `reaction_norm_network`: responses that are not linear, a gate that closes, honest folds, same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import InputError
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.markers import centred
from genomic_platform.models.mixed.reaction_norm_recipe import ReactionNormRecipe
from genomic_platform.models.networks.inner_cells import CellTargets, cell_targets
from genomic_platform.models.networks.inner_folds import gate
from genomic_platform.models.networks.reaction_fitted import NOT_LEARNT, FittedReactionNetwork
from genomic_platform.models.networks.reaction_norm_network import ReactionNormNetwork
from genomic_platform.models.networks.settings import Training
from genomic_platform.models.protocol import FittedModel, TrainingSet
from genomic_platform.models.recipes import load_fitted, load_recipe, parameters_digest
from genomic_platform.schemas.phenotypes import ENVIRONMENT_FEATURES, LINE_MEANS
from genomic_platform.schemas.predictions import MARKER_EFFECTS, VALUES
from genomic_platform_tests.support.panels import made_panel, training_set

torch = pytest.importorskip("torch")

N_TRAIN, SEEN, NEW = 80, tuple(f"e{j:02d}" for j in range(12)), tuple(f"e{j:02d}" for j in range(12, 18))
#: As it is by default; without a folder nothing is saved, with one after every pass.
RECIPE = ReactionNormNetwork(Training(checkpoint_seconds=0.0))
VALUE = ("breeding_value", "genotypic_value")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small products: threads cost more than they save, and bits must not depend on how many there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class Made:
    """A hundred lines, of which 80 train in twelve environments; `truth_NE` also in six more, between them."""

    panel: GenotypeTable
    truth_NE: np.ndarray
    known: TrainingSet
    features: pl.DataFrame

    def of(self, names: Sequence[str]) -> pl.DataFrame:
        return self.features.filter(pl.col("environment").is_in(names))


def made(seed: int = 1, *, curved: bool = True, traits: Sequence[str] = ("a",), errors: bool = False) -> Made:
    """Main effect, and a second additive score times rain², or times nothing; another covariate says nothing.

    Trait `part` has records of 70 lines, in two environments of three.

    `errors` : stage one knows those of the means, a quarter of their variance: the rest is the cell's own.
    """
    rng, panel = np.random.default_rng(seed), made_panel(n_lines=100, n_markers=60, seed=seed + 1)
    rain_E = np.concatenate([np.linspace(-1.5, 1.5, 12), np.linspace(-1.35, 1.45, 6)])
    response_E = curved * (rain_E**2 - np.mean(rain_E**2))
    scores_N2 = np.maximum(panel.dosages(), 0) @ rng.normal(size=(60, 2))
    main_N, own_N = ((scores_N2 - scores_N2.mean(axis=0)) / scores_N2.std(axis=0)).T
    truth_NE = main_N[:, None] + own_N[:, None] * response_E
    cells = [(i, j, env) for j, env in enumerate(SEEN) for i in range(N_TRAIN)]
    rows = [{"line_id": panel.lines[i], "season": "2010", "location": "x", "environment": env, "trait": trait,
             "mean": 5.0 + rain_E[j] + truth_NE[i, j] + rng.normal(), "centred": float(i),
             "standard_error": 0.5 if errors else None, "n_records": 1}
            for trait in traits for i, j, env in cells if trait == "a" or (i < 70 and (i + j) % 3)]
    records = LINE_MEANS.conform(pl.DataFrame(rows, schema_overrides={"standard_error": pl.Float64}))
    other_E = rng.normal(size=18)
    features = ENVIRONMENT_FEATURES.conform(pl.DataFrame([
        {"environment": env, "season": "2010", "feature": feature, "value": value, "standardised": 0.0}
        for j, env in enumerate((*SEEN, *NEW))
        for feature, value in (("rain_mm", 100 + 30 * rain_E[j]), ("wind_m_s", 3 + other_E[j]))]))
    trained = {"a": N_TRAIN, "part": 70}
    known = training_set(panel, {t: (list(panel.lines[:trained[t]]), main_N[:trained[t]], None) for t in traits})
    found = Made(panel, truth_NE, known, features)
    return replace(found, known=replace(known, line_means=records, environment_features=found.of(SEEN)))


@pytest.fixture(scope="module")
def curved() -> Made:
    return made(traits=("a", "part"))


@pytest.fixture(scope="module")
def fitted(curved: Made) -> FittedReactionNetwork:
    return RECIPE.fit(curved.known, seed=3)


@pytest.fixture(scope="module")
def targets(fitted: FittedReactionNetwork) -> CellTargets:
    found = cell_targets(fitted.additive, 5, 3)
    assert found is not None
    return found


def _value(table: pl.DataFrame, environment: str | None, column: str, trait: str = "a") -> np.ndarray:
    return table.filter(pl.col("environment").eq_missing(environment), pl.col("trait") == trait).sort("line_id")[
        column].to_numpy()


def _abilities(model: FittedModel, data: Made) -> tuple[float, float]:
    """Mean r with the truth within new environments: of lines that trained, and of new ones."""
    table = model.predict(data.panel, data.of(NEW))
    found = [[np.corrcoef(_value(table, env, column)[part], data.truth_NE[part, j + 12])[0, 1]
              for part, column in ((slice(N_TRAIN), VALUE[1]), (slice(N_TRAIN, None), VALUE[0]))]
             for j, env in enumerate(NEW)]
    known, new = np.mean(found, axis=0)
    return float(known), float(new)


def test_responses_that_are_not_linear_are_learnt(curved: Made, fitted: FittedReactionNetwork) -> None:
    """In environments between those of training; over five such sets the least gain was .06."""
    second = made(0)
    for data, model in ((curved, fitted), (second, RECIPE.fit(second.known))):
        assert model.summary()["a"]["branch"] == "open"
        before = _abilities(ReactionNormRecipe().fit(data.known), data)
        assert min(np.subtract(_abilities(model, data), before)) > 0.04


def test_without_interaction_the_result_is_the_reaction_norm() -> None:
    data = made(curved=False)
    model, plain = RECIPE.fit(data.known), ReactionNormRecipe().fit(data.known)
    assert model.summary()["a"]["branch"] == "closed: no gain in inner folds"
    assert model.predict(data.panel, data.of(NEW)).equals(plain.predict(data.panel, data.of(NEW)))
    assert model.explain().equals(plain.explain())


def test_without_covariates_or_with_few_environments_it_is_too(curved: Made) -> None:
    few = curved.known.line_means.filter(pl.col("environment") < "e03")  # pyright: ignore[reportOptionalMemberAccess]
    for known in (replace(curved.known, environment_features=None),
                  replace(curved.known, line_means=few, environment_features=curved.of(SEEN[:3]))):
        model = RECIPE.fit(known)
        assert model.summary()["a"]["branch"] == NOT_LEARNT
        assert model.predict(curved.panel).equals(ReactionNormRecipe().fit(known).predict(curved.panel))


def test_values_keep_the_contract_of_the_reaction_norm(curved: Made, fitted: FittedReactionNetwork) -> None:
    assert isinstance(fitted, FittedModel)
    assert load_recipe("reaction_norm_network") == ReactionNormNetwork()
    asked = curved.of((*SEEN[:2], *NEW))
    table, plain = fitted.predict(curved.panel, asked), fitted.additive.predict(curved.panel, asked)
    assert VALUES.faults(table) == []
    keys = ["line_id", "trait", "environment", "phenotyped"]
    assert table.select(keys).equals(plain.select(keys))
    for column in ("breeding_value_reliability", "genotypic_value_reliability"):
        assert (table[column].to_numpy() <= plain[column].to_numpy()).all()
        assert (table[column].to_numpy() >= 0).all()
    assert fitted.predict(curved.panel).equals(table.filter(pl.col("environment").is_null()))
    # What the branch says of an environment, it says around the mean of those of training.
    assert _value(table, None, VALUE[0]) == pytest.approx(_value(plain, None, VALUE[0]), abs=1e-5)
    assert not np.allclose(_value(table, NEW[0], VALUE[0]), _value(plain, NEW[0], VALUE[0]), atol=0.05)
    renamed = GenotypeTable.from_packed(curved.panel.variants, [f"new{i:03d}" for i in range(100)],
                                        curved.panel.packed_MB)
    again = fitted.predict(renamed, asked)
    assert _value(again, NEW[0], VALUE[0]) == pytest.approx(_value(table, NEW[0], VALUE[0]), abs=1e-3)


def test_the_branch_is_the_module_that_was_trained(curved: Made, fitted: FittedReactionNetwork) -> None:
    """Values of f by torch, from inputs and covariates side by side; marker effects sum to breeding values."""
    from genomic_platform.models.networks.branches import ReactionBranch
    from genomic_platform.models.networks.training import values

    branch, covariates = fitted.branch, fitted.additive.covariates()
    assert branch is not None
    assert covariates is not None
    _, a_AW = covariates.standardised(curved.of(NEW[:1]))
    z_QR = fitted._inputs(curved.panel, branch)
    module = ReactionBranch(z_QR.shape[1], covariates.w_EW, 25, 16, 2, 1.0, torch.Generator())
    from genomic_platform.models.networks.feeds import DenseFeed

    feed = DenseFeed(np.hstack([z_QR, np.repeat(a_AW, 100, axis=0)]), torch.device("cpu"))
    assert not values(module, feed, 64, torch.no_grad()).any(), "untrained it is zero everywhere"
    list(branch.stages(module))
    f_Q = branch.unit_T[0] * values(module, feed, 64, torch.no_grad()).mean(dim=1)[:, 0].numpy()
    both, plain = (m.predict(curved.panel, curved.of(NEW[:1])) for m in (fitted, fitted.additive))
    assert _value(both, NEW[0], VALUE[0]) - _value(plain, NEW[0], VALUE[0]) == pytest.approx(f_Q, abs=1e-4)
    effects = fitted.explain()
    assert MARKER_EFFECTS.faults(effects) == []
    effect_M = effects.filter(pl.col("trait") == "a").sort("variant_id")["effect"].to_numpy()
    x_NM = centred(curved.panel.dosages(), fitted.additive.frequencies_M)
    assert x_NM @ effect_M == pytest.approx(_value(fitted.predict(curved.panel), None, VALUE[0]), abs=1e-3)


def test_a_cells_own_residual_is_not_counted_twice() -> None:
    data = made(errors=True)
    model = RECIPE.fit(data.known, seed=3)
    assert model.branch is not None
    assert model.branch.unit_T[0] > 0
    cell = model.additive.components["a"]["cell"]
    assert cell > 0
    both, plain = (m.predict(data.panel, data.of((SEEN[0], NEW[0]))) for m in (model, model.additive))
    for env, kept in ((SEEN[0], 1 - cell / (cell + 0.25)), (NEW[0], 1.0)):
        breeding, genotypic = (_value(both, env, c)[:N_TRAIN] - _value(plain, env, c)[:N_TRAIN] for c in VALUE)
        assert genotypic == pytest.approx(kept * breeding, abs=1e-6)


def test_members_learn_from_neither_lines_nor_environments_they_are_judged_on(
        curved: Made, fitted: FittedReactionNetwork, targets: CellTargets) -> None:
    from genomic_platform.models.checkpoint import Checkpoint
    from genomic_platform.models.networks.branches import ReactionBranch
    from genomic_platform.models.networks.feeds import CellFeed
    from genomic_platform.models.networks.training import Trainer

    judged = targets.held_out_NK
    assert (judged.sum(axis=1) == 1).all(), "every cell is judged once"
    for by_N in (targets.rows_N, targets.environment_N):
        for k in range(25):
            assert not set(by_N[judged[:, k]]) & set(by_N[targets.trains_NK[:, k]])
    changed = targets.residual_NKT.copy()
    changed[~targets.trains_NK[:, 0], 0] += 1.0
    covariates, branch = fitted.additive.covariates(), fitted.branch
    assert covariates is not None
    assert branch is not None
    z_NR, heads = fitted._inputs(curved.panel, branch), []
    for residual_NKT in (targets.residual_NKT, changed):
        from genomic_platform.models.networks.feeds import DenseFeed

        generator = torch.Generator().manual_seed(0)
        module = ReactionBranch(z_NR.shape[1], covariates.w_EW, 25, 16, 2, 1.0, generator)
        feed = CellFeed(DenseFeed(z_NR, torch.device("cpu")), targets.rows_N, targets.environment_N, covariates.w_EW)
        trainer = Trainer(module, feed, replace(targets, residual_NKT=residual_NKT),
                          replace(RECIPE.training, epochs=2, patience=9), generator)
        with Checkpoint(None) as nowhere:
            trainer.run(nowhere)
        heads.append(module.head_RAHT.detach())
    assert torch.equal(heads[0][:, 0], heads[1][:, 0])


def test_inner_pairs_have_a_reaction_norm_of_their_own(curved: Made, fitted: FittedReactionNetwork,
                                                       targets: CellTargets) -> None:
    """Residuals of a pair are those of the mixed model fitted plainly to its cells, at the components of all."""
    k, model = 5, fitted.additive.model("a")
    assert model is not None
    cells = pl.DataFrame({"line_id": [curved.panel.lines[i] for i in targets.rows_N], "row": range(len(targets.rows_N)),
                          "environment": [model.environments[e] for e in targets.environment_N]})
    records = fitted.additive.records.filter(pl.col("trait") == "a").join(cells, on=["line_id", "environment"])
    learnt = records.filter(pl.Series(targets.trains_NK[records["row"].to_numpy(), k]))
    plain = replace(fitted.additive, records=learnt, memory={})
    again = plain.model("a")
    assert again is not None
    others = set(targets.rows_N[targets.trains_NK[:, k]])
    missing_N = ~np.isin(np.arange(len(targets.rows_N)), records["row"].to_numpy())
    assert not targets.weight_NT[missing_N, 0].any()
    assert np.count_nonzero(targets.weight_NT[:, 1]) == 560, "a trait without a record of a cell weighs nothing there"
    for environment in (0, 7):
        at = np.flatnonzero((targets.environment_N == environment) & (targets.weight_NT[:, 0] > 0))
        values = again.predict(model.environments[environment])["genotypic_value"].to_numpy()
        y = dict(records.filter(pl.col("environment") == model.environments[environment]).select("row", "mean").rows())
        left_N = np.array([y[n] for n in at]) - values[targets.rows_N[at]]
        left_N -= left_N[[row in others for row in targets.rows_N[at]]].mean()
        assert targets.residual_NKT[at, k, 0] * targets.sd_T[0] == pytest.approx(left_N, abs=1e-6)


def test_the_gate_asks_for_a_standard_error_over_environments(targets: CellTargets) -> None:
    own_N = targets.residual_NKT[np.arange(len(targets.fold_N)), targets.fold_N, 0]
    held_out_NT = np.zeros((len(own_N), 2))
    held_out_NT[:, 0] = 0.5 * own_N
    assert gate(targets, 0, held_out_NT).weight == 1
    held_out_NT[:, 0] *= targets.environment_N == 4
    assert gate(replace(targets, environment_N=np.arange(len(own_N))), 0, held_out_NT).weight == 1
    assert gate(targets, 0, held_out_NT).weight == 0, "a gain in one environment of twelve is chance"


def test_a_killed_training_goes_on_to_the_same_bytes(curved: Made, fitted: FittedReactionNetwork, tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in its third pass, and repeated from there; then read back."""
    from genomic_platform.models.networks.training import Trainer

    whole, passes = Trainer._pass, []

    def one_pass(self: Trainer) -> None:
        passes.append(self.epoch)
        if len(passes) == 3:
            raise KeyboardInterrupt
        whole(self)

    monkeypatch.setattr(Trainer, "_pass", one_pass)
    with pytest.raises(KeyboardInterrupt):
        RECIPE.fit(curved.known, seed=3, checkpoint=tmp_path / "checkpoint")
    RECIPE.fit(curved.known, seed=3, checkpoint=tmp_path / "checkpoint").save(tmp_path / "resumed")
    assert passes[:5] == [0, 1, 2, 2, 3]
    fitted.save(tmp_path / "undisturbed")
    read = load_fitted(tmp_path / "undisturbed")
    read.save(tmp_path / "again")
    assert len({parameters_digest(tmp_path / name) for name in ("resumed", "undisturbed", "again")}) == 1
    found, expected = (m.predict(curved.panel, curved.of(NEW)) for m in (read, fitted))
    for column in (*VALUE, "genotypic_value_reliability"):
        # The reaction norm is solved again at its components.
        assert found[column].to_numpy() == pytest.approx(expected[column].to_numpy(), abs=1e-9)
    assert read.summary() == fitted.summary()


def test_markers_packed_or_decoded_train_the_same_network(curved: Made) -> None:
    """Of panels too large for scores: packed calls are unpacked by the batch, and give the same values."""
    one, two = (replace(RECIPE, most_axes=0, training=Training(epochs=12, resident_bytes=held)).fit(curved.known)
                for held in (10**9, 0))
    assert one.summary()["a"]["branch"] == "open"
    assert one.predict(curved.panel, curved.of(NEW)).equals(two.predict(curved.panel, curved.of(NEW)))


def test_covariates_that_training_never_saw_are_named(curved: Made, fitted: FittedReactionNetwork) -> None:
    asked = curved.of(NEW[:1])
    more = asked.with_columns(feature=pl.col("feature").replace("wind_m_s", "frost_days"))
    for model in (fitted, fitted.additive):
        with pytest.raises(InputError) as caught:
            model.predict(curved.panel, more)
        assert [problem.field for problem in caught.value.problems] == ["covariate frost_days",
                                                                        "covariate wind_m_s of e12"]
        assert "covariate frost_days is one that training never saw; expected covariates of the training, rain_mm, " \
               "wind_m_s; repair: leave it out, or train with it" in str(caught.value)
        with pytest.raises(InputError, match="covariate rain_mm of e12 is missing or infinite"):
            model.predict(curved.panel, asked.with_columns(
                value=pl.when(pl.col("feature") == "rain_mm").then(float("nan")).otherwise("value")))
