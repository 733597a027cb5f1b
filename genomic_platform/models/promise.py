"""What earlier forward seasons promise of this harvest's predictive ability, and whether it was kept.

The rule, for each trait, level and label (season; environments, where a season has several; families):

1. `too_few`: fewer than 20 lines harvested and predicted.
2. `no_promise`: fewer than three earlier seasons with at least 20 lines at this level (cannot be promised), or r does
   not exist because predictions or harvest do not vary.
3. `below`, `above`: r lies outside the 95 % interval of its predictive distribution; `within`: anything else.

The distribution (`next_season.py`) is that of Fisher's z for exactly the lines harvested: how seasons, and groups
within them, differ, plus the sampling error of r, whose number of lines is the effective one, since lines of a family
err together. The k groups of a trait and level that are judged share the 5 %: each interval is one of 1 − .05/k.
Axes: N lines. References: Fisher 1921, Metron 1:3-32; Dutilleul 1993, Biometrics 49:305-314 (effective number).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from genomic_platform.models import scores
from genomic_platform.models.next_season import MIN_SEASONS, NextSeason
from genomic_platform.schemas.monitoring import ACCURACY_PROMISE

MIN_LINES = 20
CONFIDENCE = 0.95
#: Median of the season-to-season standard deviation of z before any season is seen; near r = .5 it is .19 in r.
SPREAD = 0.25
LEVELS = ("season", "environment", "family")
_HIGHEST = 0.999


@dataclass(frozen=True)
class _Ability:
    """r of one group of lines: Fisher's z, its sampling variance, and what it rests on."""

    season: str
    label: str
    lines: pl.DataFrame
    r: float | None
    error: float

    @property
    def counts(self) -> bool:
        return self.r is not None and self.lines.height >= MIN_LINES

    @property
    def z(self) -> float:
        return fisher_z(self.r or 0.0)


def fisher_z(r: float) -> float:
    """atanh r, with |r| at most .999: a correlation of one has no finite z."""
    return float(np.arctanh(np.clip(r, -_HIGHEST, _HIGHEST)))


def effective_lines(predicted_N: np.ndarray, observed_N: np.ndarray, families: Sequence[str | None]) -> float:
    """Number of independent lines that would give r the sampling error that these lines give it.

    1 + n² / tr(R_x R_y), where R_x and R_y hold the intraclass correlation within families of predictions and of
    observations (Dutilleul 1993); a line of unknown family is a family of its own.
    """
    n = len(predicted_N)
    name_N = np.array([f"family {f}" if f is not None else f"line {i}" for i, f in enumerate(families)], dtype=object)
    _, family_N = np.unique(name_N.astype(str), return_inverse=True)
    size_F = np.bincount(family_N)
    shared = intraclass(predicted_N, family_N) * intraclass(observed_N, family_N)
    return 1 + n**2 / (n + shared * float((size_F * (size_F - 1)).sum()))


def intraclass(value_N: np.ndarray, family_N: np.ndarray) -> float:
    """Intraclass correlation within families (0–1), from the analysis of variance; 0 where no family has two lines."""
    size_F = np.bincount(family_N)
    n, k = len(value_N), len(size_F)
    if n <= k or k < 2:
        return 0.0
    mean_F = np.bincount(family_N, value_N) / size_F
    within = float(((value_N - mean_F[family_N]) ** 2).sum()) / (n - k)
    among = float((size_F * (mean_F - value_N.mean()) ** 2).sum()) / (k - 1)
    size = (n - float((size_F**2).sum()) / n) / (k - 1)
    between = max(0.0, (among - within) / size)
    return between / (between + within) if between + within > 0 else 0.0


def accuracy_promise(pairs: pl.DataFrame, *, season: str, directions: Mapping[str, str],
                     averages: Mapping[str, float] | None = None) -> pl.DataFrame:
    """Hold a harvest against what the seasons before it promised (contract ACCURACY_PROMISE).

    Parameters
    ----------
    pairs : trait, season, environment, line_id, family (null = unknown), predicted (the value first published after
        the preceding season) and observed (the line's environment-centred mean), of all seasons up to `season`.
    season : label of the season harvested. directions : per trait; maximise where absent.
    averages : the average line's value per trait in its unit, for target(x); 0 where absent.
    """
    rows: list[dict[str, object]] = []
    for (trait,), part in pairs.group_by("trait", maintain_order=True):
        name = str(trait)
        merit = (directions.get(name, "maximise"), (averages or {}).get(name, 0.0))
        for level in LEVELS:
            abilities = list(_abilities(part.filter(pl.col("season") <= season), level))
            rows += [{"season": season, "trait": name, "level": level, **row}
                     for row in _judged(abilities, season, level, merit)]
    return ACCURACY_PROMISE.conform(pl.DataFrame(rows, schema=ACCURACY_PROMISE.schema))


def _abilities(part: pl.DataFrame, level: str) -> Iterator[_Ability]:
    """r of each group of lines of each season at this level; of a trait."""
    if level != "environment":
        part = part.group_by("season", "line_id", "family", "predicted").agg(pl.col("observed").mean())
    label = pl.lit("") if level == "season" else pl.col(level)
    groups = part.with_columns(label=label).drop_nulls("label").sort("season", "label", "line_id")
    for (season, name), lines in groups.group_by("season", "label", maintain_order=True):
        predicted_N, observed_N = lines["predicted"].to_numpy(), lines["observed"].to_numpy()
        r = scores.correlation(predicted_N, observed_N)
        families = [None] * lines.height if level == "family" else lines["family"].to_list()
        n = effective_lines(predicted_N, observed_N, families) if r is not None else 0.0
        yield _Ability(str(season), str(name), lines, r, 1 / max(n - 3, 1.0))


def _judged(abilities: Sequence[_Ability], season: str, level: str,
            merit: tuple[str, float]) -> Iterator[dict[str, object]]:
    """This season's rows: verdict, interval, and the scores that need no promise."""
    now = [a for a in abilities if a.season == season]
    if level == "environment" and len(now) < 2:
        return
    before = [a for a in abilities if a.season < season and a.counts]
    seasons = [a.season for a in before]
    n_seasons = len(set(seasons))
    promise = None
    if n_seasons >= MIN_SEASONS:
        promise = NextSeason.after(np.array([a.z for a in before]), np.array([a.error for a in before]), seasons,
                                   spread=SPREAD)
    judged = sum(a.counts for a in now)
    for ability in now:
        lower, upper = (None, None)
        if promise is not None and ability.counts:
            lower, upper = np.tanh(promise.interval(ability.error, 1 - (1 - CONFIDENCE) / judged)).tolist()
        verdict, message = _verdict(ability, lower, upper, n_seasons, judged)
        promised = None if promise is None else float(np.tanh(promise.mean))
        yield {"label": ability.label, "verdict": verdict, "n_lines": ability.lines.height, "realised": ability.r,
               "promised": promised, "lower": lower, "upper": upper, "n_seasons": n_seasons,
               **_scores(ability.lines, *merit), "message": message}


def _scores(lines: pl.DataFrame, direction: str, average: float) -> dict[str, float | None]:
    both = lines["predicted"].to_numpy(), lines["observed"].to_numpy()
    return {"slope": scores.slope(*both), "bias": scores.bias(*both),
            "top20_hit": scores.top_fifth_hit(*both, direction, average),
            "gain_selected": scores.selection_gain(*both, direction, average)}


def _verdict(ability: _Ability, lower: float | None, upper: float | None, n_seasons: int,
             judged: int) -> tuple[str, str]:
    n = ability.lines.height
    if n < MIN_LINES:
        return "too_few", f"too few lines to tell: {n}, needed {MIN_LINES}"
    if ability.r is None:
        return "no_promise", "no r to hold to a promise: predictions or harvest do not vary"
    if lower is None or upper is None:
        return "no_promise", f"cannot be promised: {n_seasons} earlier forward seasons with {MIN_LINES} lines, " \
                             f"needed {MIN_SEASONS}"
    verdict = "below" if ability.r < lower else "above" if ability.r > upper else "within"
    shared = f", held for {judged} groups at once" if judged > 1 else ""
    return verdict, f"r {ability.r:.2f} is {verdict} the {lower:.2f} to {upper:.2f} that {n_seasons} forward seasons " \
                    f"promised for {n} lines{shared}"
