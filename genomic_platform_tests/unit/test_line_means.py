"""Stage one against slow dense least squares, known variances, known truth, and its fall-backs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.optimize import fminbound

from genomic_platform.errors import ProgramError
from genomic_platform.phenotypes.line_means import line_means, season_means, training_means
from genomic_platform.phenotypes.lines import read_lines
from genomic_platform.phenotypes.trials import inspect_trials, read_trials
from genomic_platform.schemas.phenotypes import LINE_MEANS, TRAINING_SET, TRIAL_RECORDS
from genomic_platform_tests.support.breeding import Programme, Simulated, simulate, write_landing


def records(rows: list[dict[str, object]]) -> pl.DataFrame:
    """Plot records from what a test cares about; the rest is filled in."""
    base: dict[str, object] = {"season": "2013", "location": "site", "environment": "E1", "trial": None,
                               "replicate": None, "block": None, "row": None, "column": None, "check": False,
                               "trait": "yield"}
    table = pl.DataFrame([base | row | {"record": k + 1} for k, row in enumerate(rows)], infer_schema_length=None)
    return TRIAL_RECORDS.conform(table)


def means_table(mean_LE: np.ndarray, error_LE: np.ndarray | None = None) -> pl.DataFrame:
    """LINE_MEANS of lines L00… in environments E0… (season 2010 + e); NaN where a line is absent."""
    rows = [{"line_id": f"L{i:03d}", "season": str(2010 + e), "location": "site", "environment": f"E{e}",
             "trait": "yield", "mean": float(mean_LE[i, e]),
             "centred": float(mean_LE[i, e] - np.nanmean(mean_LE[:, e])),
             "standard_error": None if error_LE is None else float(error_LE[i, e]), "n_records": 1}
            for i, e in zip(*np.nonzero(~np.isnan(mean_LE)), strict=True)]
    return LINE_MEANS.conform(pl.DataFrame(rows, infer_schema_length=None))


def trial(rng: np.random.Generator, n_lines: int = 24, n_blocks: int = 6, drop: float = 0.1) -> pl.DataFrame:
    """Two replicates of incomplete blocks with some plots lost."""
    rows = [{"line_id": f"L{i:02d}", "replicate": str(r), "block": str(k % n_blocks),
             "value": rng.normal(50 + i % 5, 2)}
            for r in range(2) for k, i in enumerate(rng.permutation(n_lines)) if rng.random() > drop]
    return records(rows)


def dense(table: pl.DataFrame, groups: list[str]) -> tuple[dict[str, float], np.ndarray, list[str]]:
    """Line effects and their covariance up to a constant from the full dummy-variable design."""
    line_NL = table["line_id"].to_dummies().to_numpy().astype(float)
    block_NB = table.select(pl.concat_str(groups, separator="/").alias("b"))["b"].to_dummies().to_numpy().astype(float)
    x_NP, y_N = np.hstack([line_NL, block_NB]), table["value"].to_numpy()
    inverse_PP = np.linalg.pinv(x_NP.T @ x_NP)
    beta_P = inverse_PP @ x_NP.T @ y_N
    degrees = y_N.size - np.linalg.matrix_rank(x_NP)
    variance = float(((y_N - x_NP @ beta_P) ** 2).sum()) / degrees
    # The same estimable function: a line plus the plots' average block effect.
    to_means_LP = np.hstack([np.eye(line_NL.shape[1]), np.tile(block_NB.mean(axis=0), (line_NL.shape[1], 1))])
    names = sorted(table["line_id"].unique())
    return (dict(zip(names, to_means_LP @ beta_P, strict=True)),
            variance * to_means_LP @ inverse_PP @ to_means_LP.T, names)


@pytest.mark.parametrize("seed", range(3))
def test_blue_and_standard_error_equal_dense_least_squares(seed: int) -> None:
    table = trial(np.random.default_rng(seed))
    means, notices = line_means(table)
    expected, covariance, names = dense(table, ["replicate", "block"])
    assert notices == []
    assert LINE_MEANS.faults(means) == []
    assert means["line_id"].to_list() == names
    assert means["mean"].to_list() == pytest.approx([expected[x] for x in names])
    assert means["standard_error"].to_numpy() == pytest.approx(np.sqrt(np.diag(covariance)))
    assert means["centred"].sum() == pytest.approx(0, abs=1e-9)
    assert means["n_records"].sum() == table.height


def test_without_replicates_the_value_itself_and_no_standard_error() -> None:
    table = records([{"line_id": x, "value": v} for x, v in (("A", 3.0), ("B", 5.0), ("C", 10.0))])
    means, _ = line_means(table)
    assert means["mean"].to_list() == [3.0, 5.0, 10.0]
    assert means["centred"].to_list() == [-3.0, -1.0, 4.0]
    assert means["standard_error"].null_count() == 3


def test_blocks_without_common_lines_are_left_to_the_next_coarser_design() -> None:
    rng = np.random.default_rng(5)
    rows: list[dict[str, object]] = [
        {"line_id": f"L{i:02d}", "replicate": str(r), "block": str(i % 4), "value": rng.normal()}
        for r in range(2) for i in range(16)]
    means, notices = line_means(records(rows))
    without_blocks, _ = line_means(records([row | {"block": None} for row in rows]))
    assert means.equals(without_blocks)
    assert [(n.code, n.examples) for n in notices] == [("disconnected_blocks", ("E1",))]
    assert "effects of block are not corrected for" in str(notices[0])


def test_unconnected_trials_give_plain_means() -> None:
    rows = [{"line_id": f"{t}{i}", "trial": t, "value": float(i + 10 * (t == "b") + r)}
            for t in "ab" for i in range(4) for r in range(2)]
    means, notices = line_means(records(rows))
    plain, _ = line_means(records(rows), means="centred")
    assert means["mean"].to_list() == pytest.approx(plain["mean"].to_list())
    assert [n.code for n in notices] == ["disconnected_blocks"]


def test_error_variance_of_each_environment_is_recovered() -> None:
    rng = np.random.default_rng(11)
    rows = [{"line_id": f"L{i:03d}", "environment": f"E{e}", "replicate": str(r),
             "value": 5 * e + i % 7 + rng.normal(0, sd)}
            for e, sd in enumerate((0.5, 1.0, 3.0)) for r in range(3) for i in range(150)]
    means, _ = line_means(records(rows))
    found = means.group_by("environment").agg(pl.col("standard_error").mean()).sort("environment")["standard_error"]
    # 298 degrees of freedom: the standard deviation of an estimated standard error is 4 %.
    assert found.to_numpy() * np.sqrt(3) == pytest.approx([0.5, 1.0, 3.0], rel=0.13)


def test_training_means_equal_dense_weighted_least_squares() -> None:
    rng = np.random.default_rng(2)
    mean_LE = rng.normal(10, 2, (40, 5)) + np.arange(5)
    mean_LE[rng.random(mean_LE.shape) < 0.4] = np.nan
    mean_LE = mean_LE[(~np.isnan(mean_LE)).any(axis=1)]
    error_LE = rng.uniform(0.5, 2.0, mean_LE.shape)
    table, _ = training_means(means_table(mean_LE, error_LE), genotyped=["L000"])
    assert TRAINING_SET.faults(table) == []
    n, (line_N, env_N) = mean_LE.shape[0], np.nonzero(~np.isnan(mean_LE))
    x_NP = np.hstack([np.eye(n)[line_N], np.eye(5)[env_N]])

    def deviance(ge: float) -> float:  # the restricted likelihood of σ²_ge, plainly
        v_N = ge + error_LE[line_N, env_N] ** 2
        basis = np.linalg.svd(x_NP.T / np.sqrt(v_N), full_matrices=False)[2][: n + 4]
        z = mean_LE[line_N, env_N] / np.sqrt(v_N)
        xvx = np.linalg.eigvalsh(x_NP.T @ (x_NP / v_N[:, None]))[1:]
        return float(np.log(v_N).sum() + np.log(xvx).sum() + z @ z - ((basis @ z) ** 2).sum())

    ge = float(np.asarray(fminbound(deviance, 0.1, 20, xtol=1e-6)))
    v_N = ge + error_LE[line_N, env_N] ** 2
    inverse_PP = np.linalg.pinv(x_NP.T @ (x_NP / v_N[:, None]))
    contrast_LP = np.hstack([np.eye(n) - 1 / n, np.zeros((n, 5))])
    expected_L = contrast_LP @ inverse_PP @ (x_NP.T @ (mean_LE[line_N, env_N] / v_N))
    variance_L = np.diag(contrast_LP @ inverse_PP @ contrast_LP.T)
    # Both stop their search for σ²_ge at about 1e-6 of its size.
    assert table["mean"].to_numpy() == pytest.approx(expected_L, abs=1e-4)
    assert table["error_variance"].to_numpy() == pytest.approx(variance_L, rel=1e-4)
    assert table["genotyped"].to_list() == [True] + [False] * (n - 1)


def test_variances_across_environments_are_recovered() -> None:
    rng = np.random.default_rng(3)
    error_LE = np.tile(np.linspace(0.4, 1.0, 6), (500, 1))
    base_LE = rng.normal(0, 1.5, (500, 1)) + rng.normal(0, 3, 6)
    mean_LE = base_LE + rng.normal(0, 1, (500, 6)) * np.sqrt(0.5 + error_LE**2)
    known, _ = training_means(means_table(mean_LE, error_LE))
    assert known["error_variance"].mean() == pytest.approx(1 / (1 / (0.5 + error_LE[0] ** 2)).sum(), rel=0.08)
    # Without standard errors few environments are drawn to their average (1 / (E − 1) of the way), many hardly.
    own_E = np.array([0.3, 0.6, 1.0, 1.5, 2.0, 3.0])
    few, _ = training_means(means_table(base_LE + rng.normal(0, 1, (500, 6)) * np.sqrt(own_E)))
    assert 1 / (1 / own_E).sum() < few["error_variance"].mean() < own_E.mean() / 6
    own_E = np.tile(own_E, 8)
    base_LE = rng.normal(0, 1.5, (500, 1)) + rng.normal(0, 3, 48)
    many, _ = training_means(means_table(base_LE + rng.normal(0, 1, (500, 48)) * np.sqrt(own_E)))
    assert many["error_variance"].mean() == pytest.approx(1 / (1 / own_E).sum(), rel=0.12)


def test_shared_interaction_gives_no_environment_nearly_all_the_weight() -> None:
    """Two pairs of environments alike, the pairs opposed: independent variances alone would follow one of them."""
    rng = np.random.default_rng(4)
    pair_LE = np.repeat(rng.normal(0, 1, (400, 2)), 2, axis=1) * np.array([1.0, 0.9, 0.8, 0.8])
    mean_LE = rng.normal(0, 0.5, (400, 1)) + pair_LE + rng.normal(0, 0.4, (400, 4)) * np.array([1.5, 0.3, 1.0, 1.5])
    combined = training_means(means_table(mean_LE))[0]["mean"].to_numpy()
    weight_E = np.linalg.lstsq(mean_LE - mean_LE.mean(axis=0), combined, rcond=None)[0]
    assert weight_E.sum() == pytest.approx(1, abs=0.01)
    assert weight_E.max() < 0.6


def test_disconnected_environments_are_named_and_centred() -> None:
    rng = np.random.default_rng(4)
    mean_LE = np.full((40, 4), np.nan)
    mean_LE[:30, :3] = rng.normal(0, 1, (30, 3)) + [0, 5, 9]
    mean_LE[30:, 3] = rng.normal(100, 1, 10)
    table, notices = training_means(means_table(mean_LE))
    assert [(n.code, n.examples) for n in notices if n.code == "disconnected"] == [("disconnected", ("E3",))]
    assert table["mean"].to_numpy()[30:] == pytest.approx(mean_LE[30:, 3] - mean_LE[30:, 3].mean())
    assert table["error_variance"].null_count() == 0


def test_nothing_to_estimate_errors_from_means_equal_weights_said_once() -> None:
    table, notices = training_means(means_table(np.arange(20.0)[:, None]))
    assert table["error_variance"].null_count() == 20
    assert [(n.code, n.examples) for n in notices] == [("equal_weights", ("yield",))]
    assert table["mean"].to_list() == pytest.approx((np.arange(20.0) - 9.5).tolist())


def test_a_replicated_single_environment_keeps_its_standard_errors() -> None:
    means, _ = line_means(trial(np.random.default_rng(8)))
    table, notices = training_means(means)
    assert notices == []
    assert table["error_variance"].to_numpy() == pytest.approx(means["standard_error"].to_numpy() ** 2, rel=0.2)


def test_constant_and_absent_traits_are_said_and_do_not_break() -> None:
    flat = means_table(np.where(np.arange(3) < 2, 4.0, np.nan) * np.ones((20, 3)))
    other = means_table(np.random.default_rng(1).normal(0, 1, (20, 3))).with_columns(trait=pl.lit("height"))
    table, notices = training_means(pl.concat([flat, other]))
    assert {(n.code, n.examples) for n in notices} == {
        ("trait_absent", ("2012",)), ("trait_constant", ("2010", "2011")), ("equal_weights", ("yield",))}
    assert table.filter(pl.col("trait") == "yield")["mean"].to_list() == pytest.approx([0.0] * 20)


def test_centred_mode_is_the_reference_definition() -> None:
    rng = np.random.default_rng(6)
    mean_LE = rng.normal(0, 1, (30, 3))
    mean_LE[rng.random(mean_LE.shape) < 0.3] = np.nan
    genotyped = [f"L{i:03d}" for i in range(0, 30, 2)]
    table, notices = training_means(means_table(mean_LE), means="centred", weights="none", genotyped=genotyped)
    expected_L = np.nanmean(mean_LE - np.nanmean(mean_LE[::2], axis=0), axis=1)
    kept_L = ~np.isnan(mean_LE).all(axis=1)
    assert table["mean"].to_numpy() == pytest.approx(expected_L[kept_L])
    assert table["error_variance"].null_count() == table.height
    assert notices == []


def test_first_season_follows_the_order_given() -> None:
    table = means_table(np.random.default_rng(1).normal(0, 1, (10, 2)))
    assert training_means(table)[0]["first_season"].unique().to_list() == ["2010"]
    assert training_means(table, seasons=["2011", "2010"])[0]["first_season"].unique().to_list() == ["2011"]


def test_season_means_average_centred_means() -> None:
    mean_LE = np.array([[1.0, 10.0], [3.0, np.nan], [5.0, 20.0]])
    observed = season_means(means_table(mean_LE))
    assert observed.rows() == [("L000", "yield", -3.5), ("L001", "yield", 0.0), ("L002", "yield", 3.5)]


@pytest.mark.parametrize("settings", [{"means": "blup"}, {"weights": "counts"}, {"means": "centred"}])
def test_unknown_modes_are_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ProgramError):
        training_means(means_table(np.ones((3, 1))), **settings)  # pyright: ignore[reportArgumentType]


def stage_one(simulated: Simulated, folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    landing = write_landing(simulated, folder)
    inspected = inspect_trials([landing.trials])
    table, _ = read_trials([landing.trials], list(inspected.traits), read_lines(landing.lines, inspected.lines))
    means, _ = line_means(table)
    return means, training_means(means)[0]


def test_a_generated_programme_is_recovered_and_centred_means_lose_its_gain(tmp_path: Path) -> None:
    programme = Programme(n_lines=400, n_families=12, advanced=60, n_traits=1, n_checks=4)
    simulated = simulate(programme, seed=1)
    truth = simulated.truth
    means, blue = stage_one(simulated, tmp_path)
    assert truth.synonym[0] not in means["line_id"].to_list()
    assert truth.ungenotyped in means["line_id"].to_list()
    centred, _ = training_means(means, means="centred", weights="none", genotyped=blue["line_id"])
    index = [truth.lines.index(x) for x in blue["line_id"]]
    true_L = truth.genotypic_NT[index, 0]
    error_L = blue["mean"].to_numpy() - (true_L - true_L.mean())
    # Lines advance on the very errors that connect the seasons, so the ratio lies a little above one.
    assert 0.8 < float((error_L**2 / blue["error_variance"].to_numpy()).mean()) < 1.4
    season_L = blue["first_season"].to_numpy()
    last, first = season_L == season_L.max(), season_L == season_L.min()
    gain = true_L[last].mean() - true_L[first].mean()
    lost = {name: abs(gain - (table["mean"].to_numpy()[last].mean() - table["mean"].to_numpy()[first].mean()))
            for name, table in (("blue", blue), ("centred", centred))}
    assert gain > 1
    assert lost["blue"] < 0.6 * lost["centred"]
