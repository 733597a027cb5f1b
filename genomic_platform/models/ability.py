"""How well recipes predicted, from the table of their predictions: one row a model, trait, scheme and unit.

Each score is had within a fold (and an environment, where the scheme asks for it), averaged over folds, then over
replicates; r within families is pooled over folds of deviations from the fold's family mean, since a fold holds few
lines of a family. None, never NaN, where a score cannot be had. Differences between recipes belong to `paired`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import numpy as np
import polars as pl

from genomic_platform.models.calibration import calibration
from genomic_platform.models.cross_validation import mean_and_sd
from genomic_platform.models.scores import (
    MIN_FAMILY,
    bias,
    correlation,
    no_correlation,
    selection_gain,
    slope,
    top_fifth_hit,
    within_family,
)
from genomic_platform.models.splits import ON_LINE_MEANS

Scores: TypeAlias = dict[str, float | None]

_FLOATS = ("r_mean", "r_sd", "r_known", "r_new", "r_within_family", "r_within_environment", "r_t2", "r_t1", "r_t0",
           "accuracy", "slope", "bias", "top20_hit", "selection_gain", "selection_gain_sd", "baseline_family_mean",
           "baseline_own_mean", "coverage_90", "calibration_slope", "squared_error_ratio")
SCHEMA = {"model": pl.String, "trait": pl.String, "scheme": pl.String, "environment": pl.String,
          **dict.fromkeys(_FLOATS[:2], pl.Float64), "n_lines": pl.Int64, "n_folds": pl.Int64, "replicates": pl.Int64,
          **dict.fromkeys(_FLOATS[2:], pl.Float64), "loses_to": pl.List(pl.String), "no_r": pl.String}
BASELINES = ("family_mean", "own_mean")
#: Schemes that are shown by what was left out alone; of the others null is the mean.
BY_UNIT = ("cv0", "cv00", "forward")
#: A line mean's heritability below this makes r / √H² a division by noise.
MIN_HERITABILITY = 0.05


def summarise(predictions: pl.DataFrame, *, pooled: bool = False, directions: Mapping[str, str] | None = None,
              averages: Mapping[str, float] | None = None) -> pl.DataFrame:
    """Scores of predictions (columns SCHEMA).

    Parameters
    ----------
    predictions : as `evaluate.predictions` gives them. pooled : r over all folds at once, as the published wheat folds.
    directions : per trait; maximise where absent. averages : the average line's value, for target(x).
    """
    rows = []
    for (recipe, trait, scheme), part in predictions.group_by("recipe", "trait", "scheme", maintain_order=True):
        said = {"model": recipe, "trait": trait, "scheme": scheme}
        direction = (directions or {}).get(str(trait), "maximise"), (averages or {}).get(str(trait), 0.0)
        rows += [{**said, "environment": label, **_row(own, str(scheme), pooled, *direction)}
                 for label, own in _shown(part, str(scheme))]
    return pl.DataFrame(rows, schema=SCHEMA).sort("trait", "model", "environment")


def _shown(part: pl.DataFrame, scheme: str) -> Iterator[tuple[str | None, pl.DataFrame]]:
    """What gets a row: every unit, or every environment of CV2, and where `BY_UNIT` says nothing else all together."""
    column = "environment" if scheme == "cv2" else "unit"
    yield from ((label, own) for (label,), own in part.filter(pl.col(column).is_not_null()).group_by(
        column, maintain_order=True))  # type: ignore[misc]
    if scheme not in BY_UNIT and (scheme in ("cv2", "environment", "location") or part["unit"].null_count()):
        yield None, part


def _row(part: pl.DataFrame, scheme: str, pooled: bool, direction: str, average: float) -> dict[str, object]:
    scored = scored_groups(part, scheme, pooled)
    replicates = [[_group_scores(group, direction, average) for group in groups] for groups in scored]
    means = [{key: _mean(group[key] for group in groups) for key in groups[0]} for groups in replicates if groups]
    found: dict[str, object] = {key: _mean(of[key] for of in means) for key in (means[0] if means else ())}
    found["r_mean"], found["r_sd"] = mean_and_sd(r for of in means if (r := of["r"]) is not None)
    if pooled or scheme in ("cv0", "forward"):
        found["r_sd"] = None
    reasons = [no_correlation(g["predicted"].to_numpy(), g["observed"].to_numpy()) for groups in scored for g in groups]
    found["no_r"] = None if found["r_mean"] is not None else next(iter(reasons), "n=0")
    found["r_within_family"] = _mean(_within_family(groups) for groups in scored)
    found["r_within_environment"] = _within_environment(part)
    found["accuracy"] = _accuracy(part, found["r_mean"])
    found["loses_to"] = [b for b in BASELINES if _less(found[f"model_on_{b}"], found[f"baseline_{b}"])] if means else []
    found |= {"n_lines": part["line_id"].n_unique(), "n_folds": part["fold"].n_unique(),
              "replicates": part["replicate"].n_unique()}
    return {key: found.get(key) for key in list(SCHEMA)[4:]}


def scored_groups(part: pl.DataFrame, scheme: str, pooled: bool = False) -> list[list[pl.DataFrame]]:
    """For each replicate the tables within which r is had: folds, and environments within folds."""
    keys = ["fold"]
    if scheme in ON_LINE_MEANS:
        part, keys = part.filter(pl.col("environment").is_null()), [] if pooled else keys
    elif scheme == "forward":
        # The season's line mean is what a breeder selects on.
        part = part.group_by([c for c in part.columns if c not in ("environment", "observed")],
                             maintain_order=True).agg(pl.col("observed").mean())
    else:
        keys = ["fold", "environment"]
    return [[group for _, group in replicate.group_by(keys, maintain_order=True)] if keys else [replicate]
            for _, replicate in part.group_by("replicate", maintain_order=True)]


def _group_scores(group: pl.DataFrame, direction: str, average: float) -> Scores:
    x_N, y_N = group["predicted"].to_numpy(), group["observed"].to_numpy()
    known_N = group["known"].to_numpy()
    gain, spread = selection_gain(x_N, y_N, direction, average), float(np.std(y_N, ddof=1)) if len(y_N) > 1 else 0.0
    found: Scores = {
        "r": correlation(x_N, y_N), "r_known": correlation(x_N[known_N], y_N[known_N]),
        "r_new": correlation(x_N[~known_N], y_N[~known_N]), "slope": slope(x_N, y_N), "bias": bias(x_N, y_N),
        "top20_hit": top_fifth_hit(x_N, y_N, direction, average), "selection_gain": gain,
        "selection_gain_sd": gain / spread if gain is not None and spread > 0 else None, **calibration(group)}
    seen_N = group["parents_seen"].fill_null(-1).to_numpy()
    found |= {f"r_t{n}": correlation(x_N[seen_N == n], y_N[seen_N == n]) for n in (2, 1, 0)}
    for baseline in BASELINES:
        have_N = group[baseline].is_not_null().to_numpy()
        found[f"baseline_{baseline}"] = correlation(group[baseline].fill_null(0.0).to_numpy()[have_N], y_N[have_N])
        found[f"model_on_{baseline}"] = correlation(x_N[have_N], y_N[have_N])
    return found


def _within_family(groups: list[pl.DataFrame]) -> float | None:
    """r within families of at least ten lines in all folds together, weighted by size."""
    parts = [group.select("family", *((pl.col(c) - pl.col(c).mean().over("family")) for c in ("predicted", "observed")))
             for group in groups]
    table = pl.concat(parts).drop_nulls("family") if parts else None
    if table is None or table.is_empty() or table.group_by("family").len()["len"].max() < MIN_FAMILY:  # type: ignore[operator]
        return None
    return within_family(table["predicted"].to_numpy(), table["observed"].to_numpy(), table["family"].to_list())


def _within_environment(part: pl.DataFrame) -> float | None:
    """Mean over replicates, folds and environments of r within the environment."""
    cells = part.filter(pl.col("environment").is_not_null())
    found = [correlation(cell["predicted"].to_numpy(), cell["observed"].to_numpy())
             for _, cell in cells.group_by("replicate", "fold", "environment", maintain_order=True)]
    return _mean(found)


def _accuracy(part: pl.DataFrame, r: object) -> float | None:
    """r / √H², H² = 1 − mean error variance / variance of the observed means, where it includes G × season."""
    lines = part.filter("spans_seasons", pl.col("environment").is_null()).unique("line_id", maintain_order=True)
    if not isinstance(r, float) or lines.height < MIN_FAMILY or lines["error_variance"].null_count():
        return None
    heritability = 1 - float(lines["error_variance"].to_numpy().mean()) / float(lines["observed"].to_numpy().var())
    return r / float(np.sqrt(heritability)) if heritability >= MIN_HERITABILITY else None


def _less(model: object, baseline: object) -> bool:
    return isinstance(baseline, float) and (not isinstance(model, float) or baseline > model)


def _mean(values: Iterator[float | None] | list[float | None]) -> float | None:
    return mean_and_sd(v for v in values if v is not None)[0]
