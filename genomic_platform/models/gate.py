"""Whether one recipe has been shown to predict better than the champion's: paired forward differences with bounds.

Both recipes predicted the same harvests before they were known. Families are resampled, since lines of a family err
together; the bound holds for all challengers at once. What is decided on it is `comparison`'s.
Axes: B resamples, C clusters (families), S seasons, K recipes, the champion first.
References: Efron & Tibshirani 1993, An Introduction to the Bootstrap; Westfall & Young 1993, Resampling-Based Multiple
Testing (the max statistic); Holm 1979, Scand. J. Stat. 6:65-70; DerSimonian & Laird 1986, Control. Clin. Trials 7:177.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from genomic_platform.schemas.predictions import RECIPE_DIFFERENCES

#: A season or group with fewer lines says too little to be counted.
MIN_LINES = 20
RESAMPLES = 1_000
#: Gains in r whose chance of being found is shown beside every comparison.
GAINS = (0.05, 0.08)


@dataclass(frozen=True)
class GateRule:
    """When a challenger replaces the champion's recipe.

    Attributes
    ----------
    margin : smallest mean gain in r. confidence : of the lower bound above zero, for all challengers at once.
    group_margin : loss in r in an environment or family that forbids the replacement when it is significant.
    """

    margin: float = 0.02
    confidence: float = 0.95
    group_margin: float = 0.1


def recipe_differences(pairs: pl.DataFrame, champions: dict[str, str], rule: GateRule | None = None, *,
                       seed: int = 0, resamples: int = RESAMPLES) -> pl.DataFrame:
    """Every challenger against the champion's recipe (contract RECIPE_DIFFERENCES).

    Parameters
    ----------
    pairs : contract FORWARD_PREDICTIONS, all seasons scored. champions : trait → the champion's recipe.
    """
    rule = rule or GateRule()
    rows: list[dict[str, object]] = []
    for trait, champion in sorted(champions.items()):
        own = pairs.filter(pl.col("trait") == trait)
        recipes = sorted(set(own["recipe"]) - {champion})
        if champion not in set(own["recipe"]) or not recipes:
            continue
        rows += _of_trait(own, trait, [champion, *recipes], rule, np.random.default_rng(seed), resamples)
    return RECIPE_DIFFERENCES.conform(pl.DataFrame(rows, schema=RECIPE_DIFFERENCES.schema))


def _of_trait(pairs: pl.DataFrame, trait: str, recipes: Sequence[str], rule: GateRule, rng: np.random.Generator,
              resamples: int) -> list[dict[str, object]]:
    by_line = _wide(pairs, ("season", "line_id", "family"), recipes)
    if by_line.is_empty() or by_line.group_by("season").len()["len"].max() < MIN_LINES:  # type: ignore[operator]
        return [{"trait": trait, "champion": recipes[0], "challenger": challenger, "level": "mean", "label": "",
                 "n_lines": 0, "n_seasons": 0, "passes": False} for challenger in recipes[1:]]
    found = compare_forward(by_line, recipes, rule, rng, resamples)
    rows = []
    for k, challenger in enumerate(recipes[1:]):
        said = {"trait": trait, "champion": recipes[0], "challenger": challenger}
        rows.append(said | found.row("mean", "", k))
        rows += [said | found.row("season", label, k, s) for s, label in enumerate(found.seasons)]
        rows += [said | row for row in _groups(pairs, by_line, [recipes[0], challenger], rule, rng, resamples)]
    return rows


def _wide(pairs: pl.DataFrame, keys: Sequence[str], recipes: Sequence[str]) -> pl.DataFrame:
    """One row a key: observed mean and each recipe's prediction; only where every recipe predicted."""
    own = pairs.filter(pl.col("recipe").is_in(list(recipes)))
    # Joined, not pivoted along: sums in another order differ in their last bits, and a line would have two rows.
    observed = own.filter(pl.col("recipe") == recipes[0]).group_by(*keys).agg(pl.col("observed").mean())
    table = own.pivot("recipe", index=list(keys), values="predicted", aggregate_function="first")
    return observed.join(table, on=list(keys), nulls_equal=True).drop_nulls(list(recipes)).sort(*keys)


@dataclass(frozen=True)
class Comparison:
    """Differences in r, challengers minus champion: per season (S, K−1) and over seasons (K−1), and their errors."""

    seasons: tuple[str, ...]
    n_lines_S: np.ndarray
    by_season_SK: np.ndarray
    season_errors_SK: np.ndarray
    mean_K: np.ndarray
    errors_K: np.ndarray
    lower_K: np.ndarray
    power_KG: np.ndarray
    wins_K: np.ndarray

    def row(self, level: str, label: str, k: int, s: int | None = None) -> dict[str, object]:
        if s is not None:
            return {"level": level, "label": label, "difference": _value(self.by_season_SK[s, k]),
                    "standard_error": _value(self.season_errors_SK[s, k]), "lower": None,
                    "n_lines": int(self.n_lines_S[s]), "n_seasons": 1, "power_05": None, "power_08": None,
                    "passes": None}
        return {"level": level, "label": label, "difference": _value(self.mean_K[k]),
                "standard_error": _value(self.errors_K[k]), "lower": _value(self.lower_K[k]),
                "n_lines": int(self.n_lines_S.sum()), "n_seasons": len(self.seasons),
                "power_05": _value(self.power_KG[k, 0]), "power_08": _value(self.power_KG[k, 1]),
                "passes": bool(self.wins_K[k])}


def compare_forward(by_line: pl.DataFrame, recipes: Sequence[str], rule: GateRule, rng: np.random.Generator,
                    resamples: int = RESAMPLES) -> Comparison:
    """`compare_moments` of lines.

    Parameters
    ----------
    by_line : season, line_id, family, observed and a column a recipe; seasons of fewer than 20 lines are left out.
    """
    large = by_line.filter(pl.len().over("season") >= MIN_LINES)
    seasons = tuple(large["season"].unique().sort())
    return compare_moments(cluster_moments(large, seasons, recipes), seasons, rule, rng, resamples)


def compare_moments(moments: np.ndarray, seasons: Sequence[str], rule: GateRule, rng: np.random.Generator,
                    resamples: int = RESAMPLES) -> Comparison:
    """Mean difference in forward r over seasons with a lower bound for all challengers at once.

    The error has two parts: lines, by resampling families over all seasons together; and seasons, by how much more the
    seasons' differences spread than lines explain (DerSimonian & Laird 1986), once there are three.

    Parameters
    ----------
    moments : sums (C, S, K, 6) as `cluster_moments` gives them, the champion's recipe first.
    """
    r_SK = correlations(moments.sum(axis=0))
    weights_BC = rng.multinomial(len(moments), np.full(len(moments), 1 / max(len(moments), 1)), resamples) \
        if len(moments) > 1 else np.ones((resamples, len(moments)))
    r_BSK = correlations(np.tensordot(weights_BC.astype(float), moments, axes=1))
    season_SK, season_BSK = r_SK[:, 1:] - r_SK[:, :1], r_BSK[:, :, 1:] - r_BSK[:, :, :1]
    there_BS1 = np.isfinite(season_BSK[:, :, :1])  # a resample may hold no line of a season
    mean_K = season_SK.mean(axis=0)
    mean_BK = season_BSK.sum(axis=1, where=there_BS1, initial=0.0) / np.maximum(there_BS1.sum(axis=1), 1)
    within_SK = season_BSK.var(axis=0, ddof=1, where=there_BS1)
    lines_K = mean_BK.var(axis=0, ddof=1)
    between_K = np.zeros(len(mean_K))
    if len(seasons) > 2:
        between_K = np.maximum(season_SK.var(axis=0, ddof=1) - within_SK.mean(axis=0), 0.0) / len(seasons)
    errors_K = np.sqrt(lines_K + between_K)
    bound = _bound((mean_BK - mean_K) / np.sqrt(np.where(lines_K > 0, lines_K, np.inf)), len(moments), rule)
    lower_K = mean_K - bound * errors_K
    wins_K = (mean_K >= rule.margin) & (lower_K > 0) & (errors_K > 0)
    counts_S = moments[:, :, 0, 0].sum(axis=0).astype(int)
    return Comparison(tuple(seasons), counts_S, season_SK, np.sqrt(within_SK), mean_K, errors_K, lower_K,
                      _power(errors_K, bound, rule), wins_K)


def cluster_moments(by_line: pl.DataFrame, seasons: Sequence[str], recipes: Sequence[str]) -> np.ndarray:
    """Sums that give each recipe's r by season, per family, shape (C, S, K, 6): n, x, y, x², y², xy.

    A line of unknown family is a family of its own. Predictions and records are centred and scaled by season first,
    which no correlation notices, so that the sums keep their digits.
    """
    cluster = by_line.select(pl.coalesce(pl.lit("family ") + pl.col("family"), pl.lit("line ") + pl.col("line_id"))
                             .rank("dense").cast(pl.Int64) - 1).to_series().to_numpy()
    places = {season: place for place, season in enumerate(seasons)}
    season = by_line["season"].replace_strict(places, return_dtype=pl.Int64).to_numpy()
    scaled = by_line.select(_scaled(column) for column in ("observed", *recipes)).to_numpy()
    n_clusters = int(cluster.max()) + 1 if len(cluster) else 0
    found = np.zeros((n_clusters, len(seasons), len(recipes), 6))
    y_N = scaled[:, 0]
    for k in range(len(recipes)):
        x_N = scaled[:, k + 1]
        parts_N6 = np.stack([np.ones_like(y_N), x_N, y_N, x_N**2, y_N**2, x_N * y_N], axis=1)
        np.add.at(found[:, :, k], (cluster, season), parts_N6)
    return found


def _scaled(column: str) -> pl.Expr:
    """Deviation from the season's mean in standard deviations; 0 where the season has one value only."""
    value, spread = pl.col(column), pl.col(column).std().over("season")
    return pl.when(spread > 1e-9 * value.abs().max().over("season")).then(
        (value - value.mean().over("season")) / spread).otherwise(0.0).alias(column)


def correlations(sums: np.ndarray) -> np.ndarray:
    """r from sums (…, 6): 0 where all values are equal, since they tell lines not apart, NaN without lines."""
    n, x, y, xx, yy, xy = (sums[..., i] for i in range(6))
    spread = np.maximum((n * xx - x**2) * (n * yy - y**2), 0.0)
    r = np.where(spread > 1e-12 * n**4, (n * xy - x * y) / np.sqrt(np.where(spread > 0, spread, 1.0)), 0.0)
    return np.where(n > 0, r, np.nan)


def _bound(standardised_BK: np.ndarray, clusters: int, rule: GateRule) -> float:
    """Standard errors that all challengers' luck stays below with the rule's confidence.

    Few families tell their own spread badly: the quantile is widened as Student's is over the normal one.
    """
    from scipy.stats import norm, t

    widened = t.ppf(rule.confidence, max(clusters - 1, 1)) / norm.ppf(rule.confidence)
    return float(np.quantile(standardised_BK.max(axis=1), rule.confidence) * widened)


def _power(errors_K: np.ndarray, bound: float, rule: GateRule) -> np.ndarray:
    """Chance (K, G) that a challenger truly better by each of `GAINS` would pass with these errors."""
    from scipy.stats import norm

    needed_K = np.maximum(rule.margin, bound * errors_K)
    safe_K = np.where(errors_K > 0, errors_K, np.nan)
    return norm.cdf((np.array(GAINS)[None, :] - needed_K[:, None]) / safe_K[:, None])


def _groups(pairs: pl.DataFrame, by_line: pl.DataFrame, recipes: Sequence[str], rule: GateRule,
            rng: np.random.Generator, resamples: int) -> list[dict[str, object]]:
    """The same difference within environments and families of at least twenty lines, lines resampled.

    A group passes unless it shows a loss: a difference below minus the group margin and, after Holm, significantly
    below zero. To show that there is none takes more lines than a group has: at twenty the error is near .1.
    """
    by_environment = _wide(pairs, ("environment", "line_id"), recipes)
    found = [("environment", label, *_one_group(part, recipes, rng, resamples)) for label, part in _large(
        by_environment, "environment")]
    found += [("family", label, *_one_group(part, recipes, rng, resamples)) for label, part in _large(
        by_line.drop_nulls("family"), "family")]
    harmed = _holm([_tail(d, se) for _, _, d, se, _ in found], 1 - rule.confidence)
    return [{"level": level, "label": label, "difference": _value(d), "standard_error": _value(se), "lower": None,
             "n_lines": n, "n_seasons": by_line["season"].n_unique(), "power_05": None, "power_08": None,
             "passes": not (worse and d <= -rule.group_margin)}
            for (level, label, d, se, n), worse in zip(found, harmed, strict=True)]


def _large(table: pl.DataFrame, column: str) -> list[tuple[str, pl.DataFrame]]:
    parts = table.partition_by(column, as_dict=True)
    return [(str(label), part) for (label,), part in sorted(parts.items()) if part["line_id"].n_unique() >= MIN_LINES]


def _one_group(part: pl.DataFrame, recipes: Sequence[str], rng: np.random.Generator,
               resamples: int) -> tuple[float, float, int]:
    """Difference in r within the group, its standard error, and the number of lines; seasons are centred out."""
    grouping = "season" if "season" in part.columns else "environment"
    centred = part.with_columns(pl.col(c) - pl.col(c).mean().over(grouping) for c in ("observed", *recipes))
    alone = centred.select(pl.lit("all").alias("season"), "line_id", pl.lit(None, pl.String).alias("family"),
                           "observed", *recipes)
    moments = cluster_moments(alone, ("all",), recipes)
    weights = rng.multinomial(len(moments), np.full(len(moments), 1 / len(moments)), resamples).astype(float)
    r_BK, r_K = correlations(np.tensordot(weights, moments, axes=1))[:, 0], correlations(moments.sum(axis=0))[0]
    return float(r_K[1] - r_K[0]), float((r_BK[:, 1] - r_BK[:, 0]).std(ddof=1)), part["line_id"].n_unique()


def _tail(difference: float, error: float) -> float:
    """One-sided p of a difference this far below zero."""
    from scipy.stats import norm

    return float(norm.cdf(difference / error)) if error > 0 else 1.0


def _holm(p: Sequence[float], level: float) -> list[bool]:
    """Which hypotheses Holm's step-down procedure rejects at the level."""
    rejected = [False] * len(p)
    for place, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if p[i] > level / (len(p) - place):
            break
        rejected[i] = True
    return rejected


def _value(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None
