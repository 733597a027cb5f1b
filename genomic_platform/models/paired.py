"""Two recipes compared on the same folds: the paired difference in predictive ability, with an interval.

Two errors are told apart. The bootstrap resamples families (lines where families are unknown) and replicates: other
lines could have been tested. Nadeau and Bengio's error looks at how folds differ, widened since their training sets
overlap: other lines could have trained. Which recipe is deployed is `gate`'s.
Axes: B resamples, C clusters (families), G groups r is had within, R replicates.
References: Nadeau & Bengio 2003, Mach. Learn. 52:239-281; Efron & Tibshirani 1993, An Introduction to the Bootstrap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from genomic_platform.errors import ProgramError
from genomic_platform.models.ability import scored_groups
from genomic_platform.models.gate import cluster_moments, correlations
from genomic_platform.models.scores import MIN_FAMILY

SCHEMA = {"trait": pl.String, "scheme": pl.String, "first": pl.String, "second": pl.String, "metric": pl.String,
          "difference": pl.Float64, "lower": pl.Float64, "upper": pl.Float64, "standard_error": pl.Float64,
          "corrected_error": pl.Float64, "n_lines": pl.Int64, "n_clusters": pl.Int64, "replicates": pl.Int64}
METRICS = ("r", "r_within_family")
#: Schemes whose folds are drawn at random, so that Nadeau and Bengio's correction applies.
RANDOM_FOLDS = ("cv1", "cv2", "cv00", "hybrid")
RESAMPLES = 1_000


def compare_models(predictions: pl.DataFrame, first: str, second: str, *, pooled: bool = False,
                   metrics: Sequence[str] = METRICS, confidence: float = 0.95, resamples: int = RESAMPLES,
                   seed: int = 0) -> pl.DataFrame:
    """Predictive ability of `second` minus that of `first`, per trait, on exactly the same lines and folds.

    Parameters
    ----------
    predictions : as `evaluate.predictions` gives them, one scheme, both recipes in one call.
    pooled : r over all folds at once, as for published folds.
    metrics : `r` as `ability` scores the scheme; `r_within_family` over families of at least ten lines.

    Returns
    -------
    Columns SCHEMA. lower, upper : percentile interval of the bootstrap at `confidence`. standard_error : of the
    bootstrap. corrected_error : √((1/J + n_test/n_train) s²) over the J differences by fold (Nadeau & Bengio 2003:
    the corrected resampled t-test), null where folds are not random or r is not had by fold.

    Raises
    ------
    ProgramError : a recipe that made no prediction, or the two predicted different lines.
    """
    if missing := {first, second} - set(predictions["recipe"]):
        raise ProgramError(f"no predictions of {', '.join(sorted(missing))}; found "
                           f"{', '.join(sorted(set(predictions['recipe'])))}")
    rows = []
    for (trait, scheme), part in predictions.group_by("trait", "scheme", maintain_order=True):
        paired = pl.concat(list(_paired(part, first, second, str(scheme), pooled)))
        for metric in metrics:
            table = paired if metric == "r" else _by_family(paired)
            if table.is_empty():
                continue
            said = {"trait": trait, "scheme": scheme, "first": first, "second": second, "metric": metric}
            rows.append({**said, **_difference(table, str(scheme), metric, pooled, confidence, resamples,
                                               np.random.default_rng(seed))})
    return pl.DataFrame(rows, schema=SCHEMA)


def _paired(part: pl.DataFrame, first: str, second: str, scheme: str, pooled: bool) -> Iterator[pl.DataFrame]:
    """replicate, fold, season (the label of the group r is had within), line_id, family, observed, first, second."""
    for unit, (_, own) in enumerate(part.group_by("unit", maintain_order=True)):
        both = [scored_groups(own.filter(pl.col("recipe") == recipe), scheme, pooled) for recipe in (first, second)]
        for replicate, (groups_1, groups_2) in enumerate(zip(*both, strict=True)):
            for number, (one, two) in enumerate(zip(groups_1, groups_2, strict=True)):
                joined = one.select("line_id", "family", "observed", "fold", first="predicted").join(
                    two.select("line_id", second="predicted"), on="line_id")
                if joined.height != one.height or joined.height != two.height:
                    raise ProgramError(f"{first} and {second} predicted different lines ({one.height}, {two.height}, "
                                       f"{joined.height} in common); predict both in one call")
                yield joined.select(
                    pl.lit(replicate).alias("replicate"), "fold",
                    pl.lit(f"{replicate:04d} {unit:04d} {number:04d}").alias("season"), "line_id", "family",
                    "observed", "first", "second")


def _by_family(paired: pl.DataFrame) -> pl.DataFrame:
    """Deviations from the family's mean within its group, families of at least ten lines as groups of a replicate."""
    values = ("observed", "first", "second")
    return paired.drop_nulls("family").with_columns(
        (pl.col(c) - pl.col(c).mean().over("season", "family")) for c in values).with_columns(
        season=pl.format("{} {}", pl.col("replicate").cast(pl.String).str.zfill(4), "family")).filter(
        pl.len().over("season") >= MIN_FAMILY)


def _difference(table: pl.DataFrame, scheme: str, metric: str, pooled: bool, confidence: float, resamples: int,
                rng: np.random.Generator) -> dict[str, float | int | None]:
    groups = table["season"].unique().sort().to_list()
    replicate_G = np.array([int(group[:4]) for group in groups])
    n_replicates = len(set(replicate_G.tolist()))
    moments = cluster_moments(table, groups, ("first", "second"))
    by_size = metric != "r"
    found_R = _by_replicate(moments.sum(axis=0)[None], replicate_G, by_size)[0]
    weights_BC = rng.multinomial(len(moments), np.full(len(moments), 1 / len(moments)), resamples).astype(float)
    drawn_BR = _by_replicate(np.tensordot(weights_BC, moments, axes=1), replicate_G, by_size)
    times_BR = rng.multinomial(n_replicates, np.full(n_replicates, 1 / n_replicates), resamples)
    drawn_B = np.nansum(drawn_BR * times_BR, axis=1) / n_replicates
    enough = len(moments) > 1
    tail = (1 - confidence) / 2
    corrected = None
    if scheme in RANDOM_FOLDS and not pooled and not by_size:
        corrected = corrected_error(_fold_differences(moments.sum(axis=0)), table["fold"].n_unique())
    return {"difference": float(np.nanmean(found_R)),
            "lower": float(np.quantile(drawn_B, tail)) if enough else None,
            "upper": float(np.quantile(drawn_B, 1 - tail)) if enough else None,
            "standard_error": float(drawn_B.std(ddof=1)) if enough else None, "corrected_error": corrected,
            "n_lines": table["line_id"].n_unique(), "n_clusters": len(moments), "replicates": n_replicates}


def _by_replicate(sums_BG26: np.ndarray, replicate_G: np.ndarray, by_size: bool) -> np.ndarray:
    """Mean difference over the groups of each replicate, shape (B, R); groups weighted by their lines or equally."""
    r_BG2 = correlations(sums_BG26)
    difference_BG = r_BG2[..., 1] - r_BG2[..., 0]
    weight_BG = np.where(np.isfinite(difference_BG), sums_BG26[..., 0, 0] if by_size else 1.0, 0.0)
    found = []
    for replicate in np.unique(replicate_G):
        own_G = replicate_G == replicate
        total_B = weight_BG[:, own_G].sum(axis=1)
        found.append((np.nan_to_num(difference_BG[:, own_G]) * weight_BG[:, own_G]).sum(axis=1)
                     / np.where(total_B > 0, total_B, np.nan))
    return np.stack(found, axis=1)


def _fold_differences(sums_G26: np.ndarray) -> np.ndarray:
    r_G2 = correlations(sums_G26)
    return r_G2[:, 1] - r_G2[:, 0]


def corrected_error(difference_J: np.ndarray, n_folds: int) -> float | None:
    """Standard error of a mean difference over J folds whose training sets overlap (Nadeau & Bengio 2003).

    √((1/J + n_test / n_train) s²), n_test / n_train = 1 / (n_folds − 1). None for fewer than two folds.
    """
    known_J = difference_J[np.isfinite(difference_J)]
    if len(known_J) < 2 or n_folds < 2:
        return None
    return float(np.sqrt((1 / len(known_J) + 1 / (n_folds - 1)) * known_J.var(ddof=1)))
