"""A champion that predicted the harvest worse than its predecessor gives way to it, and only then."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from genomic_platform.models.comparison import Candidate, decide
from genomic_platform.models.gate import GateRule
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.models.setback import setbacks
from genomic_platform.schemas.phenotypes import LINE_MEANS
from genomic_platform.schemas.predictions import MODEL_COMPARISON, REGISTERED_MODEL, VALUES
from genomic_platform_tests.support.panels import made_panel

LINES = [f"L{i:03}" for i in range(150)]
FAMILIES: dict[str, str | None] = {line: f"F{i % 15}" for i, line in enumerate(LINES)}
TRAIT = "yield"


def values(value_N: np.ndarray) -> pl.DataFrame:
    return VALUES.conform(pl.DataFrame({
        "line_id": LINES, "trait": TRAIT, "environment": pl.Series([None] * len(LINES), dtype=pl.String),
        "breeding_value": value_N, "breeding_value_reliability": 0.5, "genotypic_value": value_N,
        "genotypic_value_reliability": 0.5, "phenotyped": True}))


def decided(season: str, version: str, decision: str = "refresh") -> pl.DataFrame:
    row = {"trait": TRAIT, "season": season, "decision": decision, "recipe": "genomic_blup", "challenger": None,
           "proposed": None, "trained_through": season, "model_version": version, "n_train": 150, "reasons": ["so"]}
    return REGISTERED_MODEL.conform(pl.DataFrame([row], schema=REGISTERED_MODEL.schema))


def harvest(value_N: np.ndarray) -> pl.DataFrame:
    return LINE_MEANS.conform(pl.DataFrame({
        "line_id": LINES, "season": "2021", "location": "A", "environment": "A_2021", "trait": TRAIT,
        "mean": value_N + 5, "centred": value_N, "standard_error": 0.3, "n_records": 2}))


def found(now_N: np.ndarray, before_N: np.ndarray, observed_N: np.ndarray, decision: str = "refresh",
          version: str = "b") -> dict:
    return setbacks(decided("2020", version, decision), decided("2019", "a"), values(now_N), values(before_N),
                    harvest(observed_N), season="2021", families=FAMILIES, rule=GateRule(), seed=1)


@pytest.fixture
def draws() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    truth, noise, other = rng.normal(size=(3, len(LINES)))
    return {"good": truth + noise, "other good": truth + other, "bad": rng.normal(size=len(LINES)),
            "observed": truth + rng.normal(size=len(LINES))}


def test_the_worse_champion_is_found_with_its_numbers(draws: dict[str, np.ndarray]) -> None:
    back = found(draws["bad"], draws["good"], draws["observed"])[TRAIT]
    assert (back.predecessor["trained_through"], back.predecessor["model_version"]) == ("2019", "a")
    assert back.why.startswith("the harvest of 2021 was predicted better before: predecessor against champion: +0.")


@pytest.mark.parametrize(("now", "before"), [("good", "bad"), ("good", "other good"), ("good", "good")])
def test_a_champion_that_held_stays(draws: dict[str, np.ndarray], now: str, before: str) -> None:
    assert found(draws[now], draws[before], draws["observed"]) == {}


def test_a_champion_that_was_kept_or_rolled_back_to_is_not_asked(draws: dict[str, np.ndarray]) -> None:
    assert found(draws["bad"], draws["good"], draws["observed"], version="a") == {}
    for decision in ("keep", "rollback", "pending"):
        assert found(draws["bad"], draws["good"], draws["observed"], decision) == {}


def test_the_decision_goes_back_and_lets_the_refit_wait(draws: dict[str, np.ndarray]) -> None:
    back = found(draws["bad"], draws["good"], draws["observed"])[TRAIT]
    means = pl.DataFrame({"line_id": LINES, "trait": TRAIT, "mean": draws["observed"], "genotyped": True})
    known = TrainingSet("2021", means, made_panel(len(LINES), 20))
    refit = Candidate("genomic_blup", "c", values(draws["good"]))

    def decision(pins: dict[str, str]) -> dict:
        return decide(known, MODEL_COMPARISON.empty(), [refit], previous=decided("2020", "b"), pins=pins,
                      setbacks={TRAIT: (back.predecessor, back.why)}).row(0, named=True)

    row = decision({})
    assert (row["decision"], row["model_version"], row["trained_through"], row["proposed"]) == (
        "rollback", "a", "2019", "genomic_blup")
    assert row["reasons"][0] == back.why
    assert decision({TRAIT: "ana rolled it back"})["decision"] == "keep"
