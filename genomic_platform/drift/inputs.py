"""Input drift: are this season's environments still like those the models were trained on?

Rows are environments, never lines: weather joined to 300 lines is one value. The rule, feature by feature:

1. `no_test`: one environment this season or none, or none before. One site and one season: no test exists.
2. `too_few`: fewer than 3 environments this season, or fewer than 6 in 3 earlier seasons. Below it no permutation could
   survive correction (3 among 9: the smallest p is 1/84), and nobody knows how much seasons differ.
3. `shifted`: p ≤ .05, corrected for the number of features tested (Benjamini & Hochberg 1995), and |g| ≥ .5.
4. `same`: anything else.

The environments of a season share its year, so two nulls must be refused, and p is the larger of both p-values: that
whole environments were dealt to the seasons at random (permutation, exact where there are at most 20,000 deals), and
that the season is one more of seasons that differ as the earlier ones do (`models/next_season.py`). Without the second
an ordinary year would be an alarm. Outside the range of all earlier environments, models extrapolate, shifted or not.
A value that is not finite is a missing one. A feature that is constant over all environments is no feature; where both
sides are constant at different values there is no g, and p alone decides.
Axes: E environments, Q features, R deals.
References: Hedges 1981, J. Educ. Stat. 6:107-128 (g); Phipson & Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9:39.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
import polars as pl

from genomic_platform.models.multiple_testing import false_discovery_rates
from genomic_platform.models.next_season import NextSeason
from genomic_platform.phenotypes.environment_kernel import wide
from genomic_platform.schemas.monitoring import INPUT_DRIFT

MIN_NEW, MIN_REFERENCE, MIN_SEASONS = 3, 6, 3
ALPHA, MIN_EFFECT = 0.05, 0.5
EXACT_DEALS, DEALS = 20_000, 9_999
#: Median of the standard deviation between seasons before any is seen, in standard deviations between environments.
YEAR_SPREAD = 0.5
_TIE = 1e-9


@dataclass(frozen=True, eq=False)
class Sides:
    """One feature: its values this season and before, and the season of each value before."""

    new_E: np.ndarray
    reference_E: np.ndarray
    season_E: np.ndarray

    @property
    def n_seasons(self) -> int:
        return len(np.unique(self.season_E))


@dataclass(frozen=True)
class Chances:
    """p-values of a feature's difference: under environments dealt at random, and under one more season."""

    dealt: float
    season: float

    @property
    def p_value(self) -> float:
        return max(self.dealt, self.season)


def input_drift(features: pl.DataFrame, *, season: str, seed: int = 0) -> pl.DataFrame:
    """Compare a season's environments with all earlier ones by the rule at the top of this module.

    Parameters
    ----------
    features : contract ENVIRONMENT_FEATURES at the season; `value` is used, `standardised` not. Later seasons are left
        out. seed : of the deals where they are too many to be counted out.

    Returns
    -------
    Contract INPUT_DRIFT, one row a feature; empty where environments have no features.
    """
    known = features.filter(pl.col("season") <= season)
    if known.is_empty():
        return INPUT_DRIFT.empty()
    environments, names, value_EQ = wide(known)
    season_of = dict(known.select("environment", "season").unique().iter_rows())
    season_E = np.array([season_of[e] for e in environments], dtype=str)
    sides = [_sides(value_EQ[:, q], season_E, season) for q in range(len(names))]
    tested = [q for q, side in enumerate(sides) if _untested(side) is None]
    chances = _chances([sides[q] for q in tested], seed)
    adjusted = false_discovery_rates(np.array([chance.p_value for chance in chances])).tolist()
    chance_of = {q: (chance, p) for q, chance, p in zip(tested, chances, adjusted, strict=True)}
    rows = [{"season": season, "feature": name, **_row(side, *chance_of.get(q, (None, None)))}
            for q, (name, side) in enumerate(zip(names, sides, strict=True))]
    return INPUT_DRIFT.conform(pl.DataFrame(rows, schema=INPUT_DRIFT.schema))


def hedges_g(new_E: np.ndarray, reference_E: np.ndarray) -> float | None:
    """Difference of the means in pooled standard deviations, freed of its bias; None where nothing varies."""
    n = len(new_E) + len(reference_E)
    if min(len(new_E), len(reference_E)) < 1 or n < 3:
        return None
    squares = sum(float(((side - side.mean()) ** 2).sum()) for side in (new_E, reference_E))
    scale = max(1e-300, float(np.abs(np.concatenate([new_E, reference_E])).max()))
    if squares <= n * (1e-12 * scale) ** 2:
        return None
    return float((1 - 3 / (4 * n - 9)) * (new_E.mean() - reference_E.mean()) / np.sqrt(squares / (n - 2)))


def deals(n_new: int, n: int, seed: int) -> np.ndarray:
    """Which of n environments are new in each deal, float64 (R, E); the first deal is the observed one (new first).

    All of them where they are at most `EXACT_DEALS`, else the observed one and `DEALS` at random: so counted, p is
    valid and never zero (Phipson & Smyth 2010).
    """
    if comb(n, n_new) <= EXACT_DEALS:
        chosen = np.array(list(combinations(range(n), n_new)))
    else:
        drawn = np.random.default_rng(seed).random((DEALS, n)).argpartition(n_new, axis=1)[:, :n_new]
        chosen = np.concatenate([np.arange(n_new)[None], drawn])
    dealt_RE = np.zeros((len(chosen), n))
    np.put_along_axis(dealt_RE, chosen, 1.0, axis=1)
    return dealt_RE


def _sides(value_E: np.ndarray, season_E: np.ndarray, season: str) -> Sides:
    known_E, new_E = np.isfinite(value_E), season_E == season
    before_E = known_E & ~new_E
    return Sides(value_E[known_E & new_E], value_E[before_E], season_E[before_E])


def _chances(sides: list[Sides], seed: int) -> list[Chances]:
    """Both p-values of each feature; features that the same number of environments have share their deals."""
    dealt: dict[tuple[int, int], np.ndarray] = {}
    found = []
    for side in sides:
        n_new, n = len(side.new_E), len(side.new_E) + len(side.reference_E)
        if (n_new, n) not in dealt:
            dealt[n_new, n] = deals(n_new, n, seed)
        found.append(Chances(_dealt_chance(side, dealt[n_new, n]), _season_chance(side)))
    return found


def _dealt_chance(side: Sides, dealt_RE: np.ndarray) -> float:
    """Share of deals with means as far apart as observed."""
    all_E = np.concatenate([side.new_E, side.reference_E])
    all_E = all_E - all_E.mean()
    # Both sides' sums add up to zero, so the new side's sum ranks deals as the difference of the means does.
    sum_R = np.abs(dealt_RE @ all_E)
    return float((sum_R >= sum_R[0] * (1 - _TIE)).mean())


def _season_chance(side: Sides) -> float:
    """p-value of the season's mean as that of one more season; 0 where no earlier environment differs from another."""
    scale = float(side.reference_E.std(ddof=1))
    if scale <= 1e-12 * max(1e-300, float(np.abs(side.reference_E).max())):
        return 0.0
    _, number_E = np.unique(side.season_E, return_inverse=True)
    size_S = np.bincount(number_E)
    reference_E = (side.reference_E - side.reference_E.mean()) / scale
    mean_S = np.bincount(number_E, reference_E) / size_S
    new_E = (side.new_E - side.reference_E.mean()) / scale
    within = float(((reference_E - mean_S[number_E]) ** 2).sum() + ((new_E - new_E.mean()) ** 2).sum())
    # A value that all sites of a season share has no spread within it, and nothing may be divided by zero.
    within = max(within / (len(reference_E) + len(new_E) - len(size_S) - 1), 1e-9)
    one_more = NextSeason.after(mean_S, within / size_S, range(len(size_S)), spread=YEAR_SPREAD)
    return one_more.chance(float(new_E.mean()), within / len(new_E))


def _untested(side: Sides) -> str | None:
    """`no_test` or `too_few`; None where the feature can be tested."""
    if len(side.new_E) < 2 or not len(side.reference_E):
        return "no_test"
    enough = len(side.new_E) >= MIN_NEW and len(side.reference_E) >= MIN_REFERENCE and side.n_seasons >= MIN_SEASONS
    return None if enough else "too_few"


def _row(side: Sides, chances: Chances | None, adjusted: float | None) -> dict[str, object]:
    new_E, reference_E = side.new_E, side.reference_E
    outside = int(((new_E < reference_E.min()) | (new_E > reference_E.max())).sum()) if len(reference_E) else 0
    effect = hedges_g(new_E, reference_E)
    decision = _untested(side)
    if chances is None or adjusted is None:
        message = _untold(side)
    else:
        moved = adjusted <= ALPHA and (effect is None or abs(effect) >= MIN_EFFECT)
        decision, message = _decided(side, moved, chances, effect, adjusted)
    if outside:
        message += f"; {outside} of {len(new_E)} outside the range of all earlier environments"
    return {"decision": decision, "n_new": len(new_E), "n_reference": len(reference_E),
            "mean_new": float(new_E.mean()) if len(new_E) else None,
            "mean_reference": float(reference_E.mean()) if len(reference_E) else None, "effect": effect,
            "p_value": chances.p_value if chances else None, "p_adjusted": adjusted, "n_outside": outside,
            "message": message}


def _untold(side: Sides) -> str:
    n_new, n_reference = len(side.new_E), len(side.reference_E)
    if _untested(side) == "too_few":
        return f"too few to tell: {n_new} environments this season, {n_reference} in {side.n_seasons} earlier " \
               f"seasons; needed {MIN_NEW}, and {MIN_REFERENCE} in {MIN_SEASONS} seasons"
    why = "no environment of this season has it" if not n_new else "no earlier environment has it" if not n_reference \
        else f"one site and one season against {n_reference} earlier environments"
    return f"{why}: no test exists"


def _decided(side: Sides, moved: bool, chances: Chances, effect: float | None, adjusted: float) -> tuple[str, str]:
    distance = f"g = {effect:+.2f}" if effect is not None else "constant before and now"
    said = f"{distance}, corrected p = {adjusted:.3f}"
    if moved:
        way = "higher" if side.new_E.mean() > side.reference_E.mean() else "lower"
        return "shifted", f"{way} than in the {len(side.reference_E)} environments before, by more than seasons " \
                          f"differ ({said})"
    if chances.dealt <= ALPHA < chances.season:
        return "same", f"away from earlier environments, but by no more than seasons differ ({said})"
    return "same", f"no further from earlier environments than chance brings ({said})"
