"""The reaction norm: target environments, unseen ones, weights, and what a known truth gives back."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import ProgramError
from genomic_platform.models.mixed.reaction_norm import ReactionNorm, fit_reaction_norm
from genomic_platform.schemas.phenotypes import LINE_MEANS

ENVIRONMENTS = tuple(f"e{i}" for i in range(8))
LINES = tuple(f"l{i:02d}" for i in range(60))
Made = tuple[pl.DataFrame, np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def made() -> Made:
    """Line means of seven of eight environments, K, Ω, and the true values of all cells (lines × environments)."""
    rng = np.random.default_rng(11)
    z_LM, w_EQ = rng.normal(size=(60, 25)), rng.normal(size=(8, 3))
    w_EQ *= np.sqrt(3) / np.linalg.norm(w_EQ, axis=1, keepdims=True)  # none so extreme that it is beyond the others
    k_LL, omega_EE = z_LM @ z_LM.T / 25, w_EQ @ w_EQ.T / 3
    slopes_MQ = rng.normal(size=(25, 3))
    truth_LE = (z_LM @ rng.normal(size=25) / 5)[:, None] + z_LM @ slopes_MQ @ w_EQ.T / np.sqrt(75)
    truth_LE -= truth_LE.mean(axis=0)
    y_LE = truth_LE + 20 + 2 * rng.normal(size=8) + 0.5 * rng.normal(size=(60, 8))
    rows = [{"line_id": line, "season": "2020", "location": "here", "environment": name, "trait": "t",
             "mean": y_LE[i, j], "centred": y_LE[i, j] - y_LE[:, j].mean(), "standard_error": None,
             "n_records": 1 + (i + j) % 3} for i, line in enumerate(LINES) for j, name in enumerate(ENVIRONMENTS)
            if j < 7 and (3 * i + j) % 5]
    means = LINE_MEANS.conform(pl.DataFrame(rows, schema_overrides={"standard_error": pl.Float64}))
    return means, k_LL, omega_EE, truth_LE


@pytest.fixture(scope="module")
def fitted(made: Made) -> ReactionNorm:
    means, k_LL, omega_EE, _ = made
    return fit_reaction_norm(means, LINES, k_LL, ENVIRONMENTS, omega_EE)


def test_true_values_come_back_in_seen_and_unseen_environments(made: Made, fitted: ReactionNorm) -> None:
    truth_LE = made[3]
    accuracy = [np.corrcoef(fitted.predict(name)["breeding_value"].to_numpy(), truth_LE[:, j])[0, 1]
                for j, name in enumerate(ENVIRONMENTS)]
    assert min(accuracy[:7]) > 0.9
    assert accuracy[7] > 0.6, "the environment without records is predicted through its covariates"
    main = fit_reaction_norm(made[0], LINES, made[1], ENVIRONMENTS, terms=("environment", "line"))
    alone = np.corrcoef(main.predict("e7")["breeding_value"].to_numpy(), truth_LE[:, 7])[0, 1]
    assert accuracy[7] > alone, "covariates must help where lines respond to them"


def test_target_environments_are_the_weighted_mean_of_single_ones(fitted: ReactionNorm) -> None:
    weights = {"e0": 2.0, "e3": 1.0, "e7": 1.0}
    found = fitted.predict(weights)
    singles = [(w / 4, fitted.predict(name)) for name, w in weights.items()]
    for column in ("breeding_value", "genotypic_value", "environment_mean"):
        assert found[column].to_numpy() == pytest.approx(
            sum(w * single[column].to_numpy() for w, single in singles), abs=1e-9)
    # The mean of several environments is better known than the one without records.
    assert (found["breeding_value_reliability"] > singles[2][1]["breeding_value_reliability"]).mean() > 0.9


def test_environment_means_and_reliabilities(made: Made, fitted: ReactionNorm) -> None:
    for name in ENVIRONMENTS[:7]:
        values = fitted.predict(name)
        observed = made[0].filter(pl.col("environment") == name)["mean"].mean()
        assert values["environment_mean"][0] == pytest.approx(observed, abs=0.5)
        assert values["breeding_value_reliability"].is_between(0, 1).all()
    seen, unseen = (fitted.predict(name)["breeding_value_reliability"].mean() for name in ("e0", "e7"))
    assert seen > unseen  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]


def test_weights_and_left_out_lines_are_said(made: Made) -> None:
    means, k_LL, _, _ = made
    part = fit_reaction_norm(means, LINES[:40], k_LL[:40, :40], weights="records")
    dropped = means.filter(~pl.col("line_id").is_in(LINES[:40])).height
    assert next(n for n in part.notices if n.code == "not_genotyped").count == dropped
    assert part.environments == ENVIRONMENTS[:7]
    assert set(part.fit.variance) == {"environment", "line", "line_residual", "line_by_environment"}


def test_errors_known_from_stage_one(made: Made) -> None:
    """The errors are taken as they are: doubling all values and standard errors only changes the unit."""
    means, k_LL, omega_EE, truth_LE = made
    rng = np.random.default_rng(5)
    error_N = rng.uniform(0.4, 0.6, means.height)
    known = means.with_columns(pl.Series("standard_error", np.where(rng.random(means.height) < 0.1, np.nan, error_N)
                                         ).fill_nan(None))
    fit = fit_reaction_norm(known, LINES, k_LL, ENVIRONMENTS, omega_EE, weights="auto")
    assert set(fit.fit.variance) == {"environment", "environment_covariates", "line", "line_residual",
                                     "line_by_covariates", "cell"}
    assert fit.fit.error_variance == pytest.approx(0.25, rel=0.1)
    assert fit.fit.variance["cell"] < 0.1, "the simulated errors have variance .25 and nothing else is left"
    doubled = fit_reaction_norm(known.with_columns(pl.col("mean", "standard_error") * 2), LINES, k_LL,
                                ENVIRONMENTS, omega_EE, weights="errors")
    assert doubled.predict("e2")["genotypic_value"].to_numpy() == pytest.approx(
        2 * fit.predict("e2")["genotypic_value"].to_numpy(), abs=1e-2)
    assert np.corrcoef(fit.predict("e2")["genotypic_value"].to_numpy(), truth_LE[:, 2])[0, 1] > 0.9


@pytest.mark.parametrize(("change", "message"), [
    ({"weights": "plots"}, "weights is 'plots'; expected one of auto, errors, records, none"),
    ({"weights": "errors"}, "no mean has a standard error above 0"),
    ({"terms": ("line", "line_by_covariates")}, "line_by_covariates: expected some of .* need a kernel"),
    ({"environments": ("e0", "e1")}, "environments without a kernel: e2, e3, e4, e5, e6"),
    ({"lines": ("x",), "relationship_LL": np.eye(1)}, "0 line means of genotyped lines"),
])
def test_bad_input_is_named(made: Made, change: dict, message: str) -> None:
    given = {"line_means": made[0], "lines": LINES, "relationship_LL": made[1]}
    with pytest.raises(ProgramError, match=message):
        fit_reaction_norm(**(given | change))


def test_unknown_targets_are_named(fitted: ReactionNorm) -> None:
    with pytest.raises(ProgramError, match="environment never seen: mars"):
        fitted.predict("mars")
    with pytest.raises(ProgramError, match="expected none below 0 and some above 0"):
        fitted.predict({"e0": -1.0, "e1": 2.0})
