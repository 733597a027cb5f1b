"""How well predictions held: predictive ability, slope, bias, the best fifth, baselines beside the model.

A score that cannot be had (fewer than three lines, no variance) is None, never NaN.
Definitions: the platform's scores of a season (r_all, r_known, r_new, r_within_family, top20_hit, loses_to).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from genomic_platform.errors import ProgramError
from genomic_platform.schemas.predictions import REALISED_ACCURACY

MIN_LINES = 3
MIN_FAMILY = 10
_TARGET = re.compile(r"target\(\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*\)")


def correlation(x_N: np.ndarray, y_N: np.ndarray) -> float | None:
    """Pearson r; None for fewer than three pairs or where one side does not vary."""
    if no_correlation(x_N, y_N):
        return None
    r = float(np.corrcoef(x_N, y_N)[0, 1])
    return r if np.isfinite(r) else None


def no_correlation(x_N: np.ndarray, y_N: np.ndarray) -> str | None:
    """Why `correlation` is None, as a table says it: `n=2`, `constant`; None where it is a number."""
    if len(x_N) < MIN_LINES:
        return f"n={len(x_N)}"
    return "constant" if _flat(x_N) or _flat(y_N) else None


def slope(predicted_N: np.ndarray, observed_N: np.ndarray) -> float | None:
    """Slope of observed on predicted; 1 = neither inflated nor shrunk too much."""
    if len(predicted_N) < MIN_LINES or _flat(predicted_N):
        return None
    return float(np.cov(predicted_N, observed_N)[0, 1] / np.var(predicted_N, ddof=1))


def bias(predicted_N: np.ndarray, observed_N: np.ndarray) -> float | None:
    """Mean of predicted minus observed, trait's unit."""
    return float(np.mean(predicted_N - observed_N)) if len(predicted_N) >= MIN_LINES else None


def merit(values_N: np.ndarray, direction: str, average: float = 0.0) -> np.ndarray:
    """Values turned so that larger is better.

    Parameters
    ----------
    direction : maximise | minimise | target(x), x in the trait's unit.
    average : the average line's value in the trait's unit; values are deviations from it.

    Raises
    ------
    ProgramError : an unknown direction.
    """
    if direction == "maximise":
        return values_N
    if direction == "minimise":
        return -values_N
    if found := _TARGET.fullmatch(direction):
        return -np.abs(values_N + average - float(found.group(1)))
    raise ProgramError(f"direction is '{direction}'; expected maximise, minimise or target(x) with a number x")


def top_fifth_hit(predicted_N: np.ndarray, observed_N: np.ndarray, direction: str = "maximise",
                  average: float = 0.0) -> float | None:
    """Share of the observed best fifth that is among the predicted best fifth (0–1; .2 by chance).

    A fifth is rounded, at least one line; None for fewer than five lines or predictions that do not vary.
    """
    if len(predicted_N) < 5 or _flat(predicted_N) or _flat(observed_N):
        return None
    k = max(1, round(len(predicted_N) / 5))
    best = [set(np.argsort(-merit(v, direction, average), kind="stable")[:k]) for v in (predicted_N, observed_N)]
    return len(best[0] & best[1]) / k


def selection_gain(predicted_N: np.ndarray, observed_N: np.ndarray, direction: str = "maximise",
                   average: float = 0.0) -> float | None:
    """Mean observed merit of the predicted best fifth minus that of all lines, trait's unit; larger is better.

    None as in `top_fifth_hit`. Under truncation selection it is i r σ, with i = 1.40 for a fifth of many lines
    (Falconer & Mackay 1996, ch. 11).
    """
    if len(predicted_N) < 5 or _flat(predicted_N):
        return None
    k = max(1, round(len(predicted_N) / 5))
    best_K = np.argsort(-merit(predicted_N, direction, average), kind="stable")[:k]
    merit_N = merit(observed_N, direction, average)
    return float(merit_N[best_K].mean() - merit_N.mean())


def within_family(predicted_N: np.ndarray, observed_N: np.ndarray, families: Sequence[str | None]) -> float | None:
    """Mean r within families of at least ten lines, weighted by size; None where there is no such family."""
    family_N = np.array([f or "" for f in families], dtype=object)
    total, weight = 0.0, 0
    for family in sorted({f for f in families if f}):
        at = family_N == family
        r = correlation(predicted_N[at], observed_N[at]) if at.sum() >= MIN_FAMILY else None
        if r is not None:
            total, weight = total + r * int(at.sum()), weight + int(at.sum())
    return total / weight if weight else None


def realised_accuracy(*, season: str, values: pl.DataFrame, observed: pl.DataFrame, training_means: pl.DataFrame,
                      decisions: pl.DataFrame, line_records: pl.DataFrame, directions: Mapping[str, str],
                      averages: Mapping[str, float] | None = None) -> pl.DataFrame:
    """Score a season's harvest against the values published before it (contract REALISED_ACCURACY).

    Parameters
    ----------
    season : label of the season harvested.
    values : contract VALUES as published; rows with a target environment are left out.
    observed : line_id, trait, observed (the season's environment-centred line mean).
    training_means : contract TRAINING_SET of the season published before: who is known, and the baselines.
    decisions : contract REGISTERED_MODEL of the season published before: recipe, trained_through, n_train.
    line_records : contract LINE_RECORDS, for families. directions : per trait; maximise where absent.
    averages : the average line's value per trait in its unit, for target(x); 0 where absent.

    Notes
    -----
    A known line (an earlier record of the trait) is scored by its genotypic value, a new one by its breeding value.
    """
    averages = averages or {}
    table = _scored_lines(values, observed, training_means, line_records)
    rows = []
    for decision in decisions.sort("trait").iter_rows(named=True):
        trait = decision["trait"]
        lines = table.filter(pl.col("trait") == trait)
        if lines.is_empty():
            continue
        rows.append({"season": season, "trait": trait, "trained_through": decision["trained_through"],
                     "recipe": decision["recipe"], "n_train": decision["n_train"],
                     **_scores(lines, directions.get(trait, "maximise"), averages.get(trait, 0.0)),
                     **_baselines(lines)})
    return REALISED_ACCURACY.conform(pl.DataFrame(rows, schema=REALISED_ACCURACY.schema))


def _scored_lines(values: pl.DataFrame, observed: pl.DataFrame, training_means: pl.DataFrame,
                  line_records: pl.DataFrame) -> pl.DataFrame:
    """One row per line and trait with prediction and observation: known, predicted, family, both baselines."""
    own = training_means.select("line_id", "trait", pl.col("mean").alias("own_mean"))
    family = line_records.select("line_id", "family")
    family_mean = (own.join(family.drop_nulls(), on="line_id").group_by("trait", "family")
                   .agg(pl.col("own_mean").mean().alias("family_mean")))
    predicted = values.filter(pl.col("environment").is_null()).drop("environment")
    return (
        observed.select("line_id", "trait", "observed").drop_nulls()
        .join(predicted, on=["line_id", "trait"])
        .join(own, on=["line_id", "trait"], how="left")
        .join(family, on="line_id", how="left")
        .join(family_mean, on=["trait", "family"], how="left")
        .with_columns(known=pl.col("own_mean").is_not_null())
        .with_columns(predicted=pl.when("known").then("genotypic_value").otherwise("breeding_value"))
        .sort("trait", "line_id"))


def _scores(lines: pl.DataFrame, direction: str, average: float) -> dict[str, float | int | None]:
    predicted_N, observed_N = lines["predicted"].to_numpy(), lines["observed"].to_numpy()
    known_N = lines["known"].to_numpy()
    return {
        "r_all": correlation(predicted_N, observed_N),
        "r_known": correlation(predicted_N[known_N], observed_N[known_N]),
        "r_new": correlation(predicted_N[~known_N], observed_N[~known_N]),
        "r_within_family": within_family(predicted_N, observed_N, lines["family"].to_list()),
        "slope": slope(predicted_N, observed_N), "bias": bias(predicted_N, observed_N),
        "top20_hit": top_fifth_hit(predicted_N, observed_N, direction, average),
        "n_scored": lines.height, "n_known": int(known_N.sum()), "n_new": int((~known_N).sum()),
    }


def _baselines(lines: pl.DataFrame) -> dict[str, float | list[str] | None]:
    """r of each baseline, and which of them did better than the model on the lines the baseline has."""
    found: dict[str, float | list[str] | None] = {}
    loses_to = []
    for name, column in (("family_mean", "family_mean"), ("own_mean", "own_mean")):
        have = lines.filter(pl.col(column).is_not_null())
        observed_N = have["observed"].to_numpy()
        r = correlation(have[column].to_numpy(), observed_N)
        model = correlation(have["predicted"].to_numpy(), observed_N)
        found[f"baseline_{name}"] = r
        if r is not None and (model is None or r > model):
            loses_to.append(name)
    return {**found, "loses_to": loses_to}


def _flat(x_N: np.ndarray) -> bool:
    return bool(np.ptp(x_N) <= 1e-12 * max(1e-300, float(np.abs(x_N).max())))
