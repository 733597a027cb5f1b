"""The gate's evidence against slow plain counterparts, and what it says of recipes whose merits are known."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from genomic_platform.models.comparison import Candidate, decide, verdict
from genomic_platform.models.gate import GateRule, _holm, cluster_moments, compare_forward, recipe_differences
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.schemas.predictions import FORWARD_PREDICTIONS, RECIPE_DIFFERENCES, VALUES
from genomic_platform_tests.support.panels import made_panel, made_values, training_set

SEASONS = ("2010", "2011", "2012", "2013")


def harvests(n_lines: int, seasons: tuple[str, ...] = SEASONS, *, gains: dict[str, float], seed: int = 1,
             families: int | None = 15) -> pl.DataFrame:
    """Forward predictions of recipes whose r with the harvest is .5 plus their gain, and which largely agree."""
    rng = np.random.default_rng(seed)
    rows = []
    for season in seasons:
        shared_N, observed_N = rng.normal(size=n_lines), rng.normal(size=n_lines)
        for recipe, gain in gains.items():
            r = 0.5 + gain
            own_N = 0.95 * shared_N + np.sqrt(1 - 0.95**2) * rng.normal(size=n_lines)
            predicted_N = r * observed_N + np.sqrt(1 - r**2) * own_N
            rows.append(pl.DataFrame({
                "trait": "yield", "recipe": recipe, "season": season, "trained_through": str(int(season) - 1),
                "line_id": [f"line{i:04d}" for i in range(n_lines)], "environment": f"here_{season}",
                "family": [f"family{i % families}" if families else None for i in range(n_lines)],
                "predicted": predicted_N, "observed": observed_N}, schema_overrides={"family": pl.String}))
    return FORWARD_PREDICTIONS.conform(pl.concat(rows))


def means(table: pl.DataFrame) -> dict[str, dict[str, object]]:
    return {row["challenger"]: row for row in table.filter(pl.col("level") == "mean").to_dicts()}


def test_differences_are_those_of_plain_correlations() -> None:
    pairs = harvests(120, gains={"old": 0.0, "new": 0.06})
    table = recipe_differences(pairs, {"yield": "old"})
    assert RECIPE_DIFFERENCES.faults(table) == []
    expected = {}
    for season in SEASONS:
        r = {recipe: float(np.corrcoef(part["predicted"], part["observed"])[0, 1]) for (recipe,), part in
             pairs.filter(pl.col("season") == season).group_by("recipe")}
        expected[season] = r["new"] - r["old"]
    found = dict(table.filter(pl.col("level") == "season").select("label", "difference").iter_rows())
    assert found == pytest.approx(expected, abs=1e-12)
    assert means(table)["new"]["difference"] == pytest.approx(np.mean(list(expected.values())), abs=1e-12)


def test_resampling_is_that_of_families_drawn_one_by_one() -> None:
    pairs = harvests(90, gains={"old": 0.0, "new": 0.0}, families=9)
    wide = pairs.pivot("recipe", index=["season", "line_id", "family", "observed"], values="predicted")
    found = compare_forward(wide.sort("season", "line_id"), ["old", "new"], GateRule(), np.random.default_rng(1), 4_000)
    rng, members = np.random.default_rng(2), {f: part for (f,), part in wide.group_by("family")}
    drawn = []
    for _ in range(600):
        sample = pl.concat([members[f] for f in rng.choice(sorted(members), size=len(members))])
        drawn.append(np.mean([np.corrcoef(part["new"], part["observed"])[0, 1]
                              - np.corrcoef(part["old"], part["observed"])[0, 1]
                              for _, part in sample.group_by("season")]))
    lines_only = np.sqrt(found.errors_K[0] ** 2 - max(
        found.by_season_SK[:, 0].var(ddof=1) - (found.season_errors_SK[:, 0] ** 2).mean(), 0) / len(SEASONS))
    # 600 draws give a standard deviation to within 3 %, two of them.
    assert lines_only == pytest.approx(np.std(drawn, ddof=1), rel=0.1)


def test_lines_without_family_stand_for_themselves() -> None:
    pairs = harvests(40, SEASONS[:1], gains={"old": 0.0}, families=None)
    wide = pairs.pivot("recipe", index=["season", "line_id", "family", "observed"], values="predicted")
    assert cluster_moments(wide, SEASONS[:1], ["old"]).shape == (40, 1, 1, 6)


def test_a_truly_better_recipe_wins_and_an_equal_one_does_not() -> None:
    table = recipe_differences(harvests(300, gains={"old": 0.0, "better": 0.1, "equal": 0.0, "worse": -0.1}),
                               {"yield": "old"})
    assert {name: row["passes"] for name, row in means(table).items()} == {
        "better": True, "equal": False, "worse": False}
    better = means(table)["better"]
    assert 0 < better["lower"] < better["difference"]  # type: ignore[operator]
    assert better["power_05"] < better["power_08"] <= 1  # type: ignore[operator]


def test_the_bound_widens_with_the_number_of_challengers() -> None:
    gains = {f"recipe{i}": 0.0 for i in range(6)}
    pairs = harvests(200, gains=gains)
    one = recipe_differences(pairs.filter(pl.col("recipe").is_in(["recipe0", "recipe1"])), {"yield": "recipe0"})
    all_six = recipe_differences(pairs, {"yield": "recipe0"})
    assert means(all_six)["recipe1"]["difference"] == means(one)["recipe1"]["difference"]
    assert means(all_six)["recipe1"]["lower"] < means(one)["recipe1"]["lower"]  # type: ignore[operator]


def test_a_loss_in_one_environment_forbids() -> None:
    good = harvests(300, gains={"old": 0.0, "new": 0.15})
    turned = pl.when((pl.col("recipe") == "new") & (pl.col("season") == "2011")).then(-pl.col("predicted"))
    table = recipe_differences(good.with_columns(turned.otherwise("predicted").alias("predicted")), {"yield": "old"})
    harmed = table.filter(pl.col("passes").not_(), pl.col("level") == "environment")["label"].to_list()
    assert harmed == ["here_2011"]
    won, words = verdict(table)["new"]
    assert not won
    assert "it does worse in here_2011" in words


def test_few_lines_and_constant_predictions_win_nothing() -> None:
    small = recipe_differences(harvests(15, gains={"old": 0.0, "new": 0.3}), {"yield": "old"})
    assert means(small)["new"]["n_seasons"] == 0
    assert verdict(small)["new"][0] is False
    flat = harvests(60, gains={"old": 0.0, "new": 0.3}).with_columns(
        pl.when(pl.col("recipe") == "new").then(2.0).otherwise("predicted").alias("predicted"))
    assert not means(recipe_differences(flat, {"yield": "old"}))["new"]["passes"]
    assert recipe_differences(FORWARD_PREDICTIONS.empty(), {"yield": "old"}).is_empty()


def test_holm_against_the_textbook() -> None:
    assert _holm([0.01, 0.04, 0.03, 0.005], 0.05) == [True, False, False, True]
    assert _holm([], 0.05) == []


@pytest.fixture(scope="module")
def learnt() -> TrainingSet:
    panel = made_panel(n_lines=60, n_markers=80)
    return training_set(panel, {"yield": (list(panel.lines), made_values(panel), None)}, season="2013")


def candidates(learnt: TrainingSet, *, spoil: str = "") -> list[Candidate]:
    values_N = learnt.means["mean"].to_numpy()
    found = []
    for recipe in ("old", "new"):
        own_N = np.full(60, np.nan) if recipe == spoil else values_N
        table = pl.DataFrame({
            "line_id": learnt.means["line_id"], "trait": "yield",
            "environment": pl.Series([None] * 60, dtype=pl.String),
            "breeding_value": own_N, "breeding_value_reliability": 0.5, "genotypic_value": own_N,
            "genotypic_value_reliability": 0.5, "phenotyped": True})
        found.append(Candidate(recipe, f"digest of {recipe}", VALUES.conform(table)))
    return found


def previous() -> pl.DataFrame:
    return pl.DataFrame([{
        "trait": "yield", "season": "2012", "decision": "refresh", "recipe": "old", "challenger": "new",
        "proposed": None, "trained_through": "2012", "model_version": "digest of 2012", "n_train": 50,
        "reasons": ["refitted"]}], schema_overrides={"proposed": pl.String})


def decided(learnt: TrainingSet, gains: dict[str, float], *, seasons: tuple[str, ...] = SEASONS, spoil: str = "",
            **more: object) -> dict[str, object]:
    table = recipe_differences(harvests(300, seasons, gains=gains), {"yield": "old"})
    return decide(learnt, pl.DataFrame(schema={"trait": pl.String, "scheme": pl.String, "recipe": pl.String,
                                               "r_mean": pl.Float64}), candidates(learnt, spoil=spoil),
                  previous=previous(), differences=table, **more).row(0, named=True)  # type: ignore[arg-type]


def test_the_winner_replaces_with_the_numbers_in_words(learnt: TrainingSet) -> None:
    row = decided(learnt, {"old": 0.0, "new": 0.1})
    assert (row["decision"], row["recipe"], row["challenger"]) == ("replace", "new", "old")
    assert (row["trained_through"], row["model_version"]) == ("2013", "digest of new")
    assert "new against old: +0." in row["reasons"][0]  # type: ignore[index]
    assert all(season in row["reasons"][0] for season in SEASONS)  # type: ignore[index]


def test_the_loser_stays_challenger_with_the_reason(learnt: TrainingSet) -> None:
    row = decided(learnt, {"old": 0.0, "new": 0.0})
    assert (row["decision"], row["recipe"], row["challenger"]) == ("refresh", "old", "new")
    assert any("new against old" in reason for reason in row["reasons"])  # type: ignore[union-attr]


def test_few_seasons_are_said(learnt: TrainingSet) -> None:
    row = decided(learnt, {"old": 0.0, "new": 0.15}, seasons=SEASONS[:2])
    assert "conditional on these seasons" in row["reasons"][0]  # type: ignore[index]


def test_a_winner_that_is_not_sane_is_not_promoted(learnt: TrainingSet) -> None:
    row = decided(learnt, {"old": 0.0, "new": 0.1}, spoil="new")
    assert (row["decision"], row["recipe"]) == ("refresh", "old")
    assert any("not finite" in reason for reason in row["reasons"])  # type: ignore[union-attr]


def test_pin_and_manual_approval_hold_back(learnt: TrainingSet) -> None:
    pinned = decided(learnt, {"old": 0.0, "new": 0.1}, pins={"yield": "rolled back by ana"})
    assert (pinned["decision"], pinned["recipe"], pinned["trained_through"], pinned["proposed"]) == (
        "keep", "old", "2012", "new")
    assert "rolled back by ana" in pinned["reasons"][0]  # type: ignore[index]
    waiting = decided(learnt, {"old": 0.0, "new": 0.0}, manual=True)
    assert (waiting["decision"], waiting["trained_through"], waiting["proposed"]) == ("pending", "2012", "old")
