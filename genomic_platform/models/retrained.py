"""Did retraining help: the retrained model and the one it took over from, both on a harvest neither had seen.

The model that was not retrained is kept as a shadow (science: "Did it help?") and scored on the same lines. The
comparison is the gate's own, with one season as evidence; lines of a family err together, so families are resampled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import polars as pl

from genomic_platform.models.forward import forward_predictions
from genomic_platform.models.gate import recipe_differences
from genomic_platform.models.scores import correlation
from genomic_platform.schemas.monitoring import RETRAINING_EFFECT

_BEFORE, _AFTER = "before", "after"
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Retrained:
    """A trait's two models: recipe and last season seen, before and after, and what had the later one trained."""

    trait: str
    cause: str
    recipe_before: str
    trained_before: str
    recipe_after: str
    trained_after: str


def retraining_effect(retrained: list[Retrained], before: pl.DataFrame, after: pl.DataFrame, line_means: pl.DataFrame,
                      *, season: str, families: Mapping[str, str | None], seed: int) -> pl.DataFrame:
    """What retraining brought, trait by trait (contract RETRAINING_EFFECT).

    `helped` is "yes" where the 95 % interval of the gain in r lies above zero, "no" where it lies below, else "cannot
    tell": most seasons are too small to tell a refit of the same recipe from its predecessor.

    Parameters
    ----------
    before, after : contract VALUES of the harvested lines by the models before and after.
    line_means : contract LINE_MEANS of the harvest.
    """
    pairs = forward_predictions({_BEFORE: before, _AFTER: after}, line_means, season=season, trained_through="",
                                families=families)
    rows = [_row(found, pairs.filter(pl.col("trait") == found.trait), season, seed) for found in retrained]
    return RETRAINING_EFFECT.conform(pl.DataFrame(rows, schema=RETRAINING_EFFECT.schema))


def _row(found: Retrained, pairs: pl.DataFrame, season: str, seed: int) -> dict[str, object]:
    sides = [pairs.filter(pl.col("recipe") == side).group_by("line_id").agg(
        pl.col("predicted").first().alias(side), pl.col("observed").mean()) for side in (_BEFORE, _AFTER)]
    both = sides[0].join(sides[1].drop("observed"), on="line_id")
    r = {side: correlation(both[side].to_numpy(), both["observed"].to_numpy()) if both.height else None
         for side in (_BEFORE, _AFTER)}
    evidence = recipe_differences(pairs, {found.trait: _BEFORE}, seed=seed).filter(level="mean").to_dicts()
    difference, error = (evidence[0]["difference"], evidence[0]["standard_error"]) if evidence else (None, None)
    half = None if error is None else NormalDist().inv_cdf((1 + _CONFIDENCE) / 2) * error
    lower, upper = (None, None) if half is None or difference is None else (difference - half, difference + half)
    helped = "yes" if lower is not None and lower > 0 else "no" if upper is not None and upper < 0 else "cannot tell"
    return {"season": season, **vars(found), "r_before": r[_BEFORE], "r_after": r[_AFTER], "difference": difference,
            "lower": lower, "upper": upper, "n_lines": both.height, "helped": helped}
