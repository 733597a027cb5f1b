"""What earlier forward seasons promise of this harvest's predictive ability, and whether it was kept.

The rule, for each trait, level and label (season; environments, where a season has several; families):

1. `too_few`: fewer than 20 lines harvested and predicted.
2. `no_promise`: fewer than three earlier seasons with at least 20 lines at this level (cannot be promised), or r does
   not exist because predictions or harvest do not vary.
3. `below`, `above`: r lies outside the 95 % interval of its predictive distribution; `within`: anything else.

The promise is for the lines harvested. Known lines are predicted better than new ones, so lines of earlier seasons are
weighted until known ones have the share (to the nearest fifth) they have in this harvest; a season without lines of a
kind that is needed does not count. The distribution (`next_season.py`) is that of Fisher's z: how seasons, and groups
within them, differ, plus the sampling error of r, whose number of lines is an effective one, since lines of a family
err together. The k groups of a trait and level that are judged share the 5 %: each interval is one of 1 − .05/k.
Axes: N lines. References: Fisher 1921, Metron 1:3-32; Dutilleul 1993, Biometrics 49:305-314 (effective number);
Kish 1965, Survey Sampling (effective number under weights).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from genomic_platform.models import scores
from genomic_platform.models.forward import predicted_and_observed
from genomic_platform.models.next_season import MIN_SEASONS, NextSeason
from genomic_platform.schemas.monitoring import ACCURACY_PROMISE

MIN_LINES = 20
CONFIDENCE = 0.95
#: Median of the season-to-season standard deviation of z before any season is seen; near r = .5 it is .19 in r.
SPREAD = 0.25
LEVELS = ("season", "environment", "family")
_HIGHEST = 0.999


@dataclass(frozen=True)
class _Group:
    """One group of lines of a season: `lines` has line_id, family, known, predicted and observed."""

    season: str
    label: str
    lines: pl.DataFrame
    by_family: bool

    @property
    def mix(self) -> float:
        """Share of known lines, to the nearest fifth."""
        return round(5 * float(self.lines["known"].cast(pl.Float64).mean() or 0.0)) / 5  # type: ignore[arg-type]

    @property
    def r(self) -> float | None:
        return scores.correlation(*_pair(self.lines))

    @property
    def judged(self) -> bool:
        return self.lines.height >= MIN_LINES and self.r is not None

    def ability(self, mix: float | None = None) -> tuple[float, float] | None:
        """Fisher's z and its sampling variance, with known lines in the share `mix` (None: the share they have).

        None where fewer than 20 lines are left, in effect, or r does not exist.
        """
        known_N = self.lines["known"].to_numpy().astype(bool)
        weight_N = np.ones(len(known_N)) if mix is None else _weights(known_N, mix)
        left_N = weight_N > 0
        kish = float(weight_N.sum()) ** 2 / float((weight_N**2).sum()) if left_N.any() else 0.0
        if kish < MIN_LINES:
            return None
        predicted_N, observed_N = (side_N[left_N] for side_N in _pair(self.lines))
        r = weighted_correlation(predicted_N, observed_N, weight_N[left_N])
        if r is None:
            return None
        families = [None] * int(left_N.sum()) if self.by_family else self.lines["family"].filter(left_N).to_list()
        n = effective_lines(predicted_N, observed_N, families) * kish / left_N.sum()
        return fisher_z(r), 1 / max(n - 3, 1.0)


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


def weighted_correlation(x_N: np.ndarray, y_N: np.ndarray, weight_N: np.ndarray) -> float | None:
    """Pearson r of weighted lines; None where `scores.correlation` has none."""
    if scores.no_correlation(x_N, y_N) is not None:
        return None
    x_N, y_N = (side_N - np.average(side_N, weights=weight_N) for side_N in (x_N, y_N))
    return float((weight_N * x_N) @ y_N / np.sqrt((weight_N @ x_N**2) * (weight_N @ y_N**2)))


def harvest_pairs(values: pl.DataFrame, line_means: pl.DataFrame, *, season: str,
                  families: Mapping[str, str | None]) -> pl.DataFrame:
    """A season's lines as `accuracy_promise` wants them: what was predicted beside what was harvested.

    Parameters
    ----------
    values : contract VALUES as first published after the preceding season. line_means : contract LINE_MEANS of
        `season`. families : line → family, None where it is unknown.
    """
    harvested = line_means.select("line_id", "trait", "environment", pl.col("centred").alias("observed"))
    return predicted_and_observed(values, harvested).with_columns(
        pl.lit(season).alias("season"),
        pl.col("line_id").replace_strict(families, default=None, return_dtype=pl.String).alias("family"))


def accuracy_promise(pairs: pl.DataFrame, *, season: str, directions: Mapping[str, str],
                     averages: Mapping[str, float] | None = None) -> pl.DataFrame:
    """Hold a harvest against what the seasons before it promised (contract ACCURACY_PROMISE).

    Parameters
    ----------
    pairs : trait, season, environment, line_id, family (null = unknown), known (the line had a record before),
        predicted and observed, of all seasons up to `season`, each from `harvest_pairs`.
    season : label of the season harvested. directions : per trait; maximise where absent.
    averages : the average line's value per trait in its unit, for target(x); 0 where absent.
    """
    rows: list[dict[str, object]] = []
    for (trait,), part in pairs.filter(pl.col("season") <= season).sort("trait").group_by("trait", maintain_order=True):
        name = str(trait)
        merit = (directions.get(name, "maximise"), (averages or {}).get(name, 0.0))
        for level in LEVELS:
            groups = list(_groups(part, level))
            rows += [{"season": season, "trait": name, "level": level, **row}
                     for row in _judged(groups, season, level, merit)]
    return ACCURACY_PROMISE.conform(pl.DataFrame(rows, schema=ACCURACY_PROMISE.schema))


def _groups(part: pl.DataFrame, level: str) -> Iterator[_Group]:
    """A trait's groups of lines of each season at this level."""
    if level != "environment":
        part = part.group_by("season", "line_id", "family", "known", "predicted").agg(pl.col("observed").mean())
    label = pl.lit("") if level == "season" else pl.col(level)
    labelled = part.with_columns(label=label).drop_nulls("label").sort("season", "label", "line_id")
    for (season, name), lines in labelled.group_by("season", "label", maintain_order=True):
        yield _Group(str(season), str(name), lines, by_family=level == "family")


def _promise(before: Sequence[_Group], mix: float) -> tuple[NextSeason | None, int]:
    """What groups of earlier seasons promise one with this share of known lines, and how many seasons count."""
    found = [(group.season, ability) for group in before if (ability := group.ability(mix)) is not None]
    seasons = [season for season, _ in found]
    n_seasons = len(set(seasons))
    if n_seasons < MIN_SEASONS:
        return None, n_seasons
    z_O, error_O = np.array([ability for _, ability in found]).T
    return NextSeason.after(z_O, error_O, seasons, spread=SPREAD), n_seasons


def _judged(groups: Sequence[_Group], season: str, level: str,
            merit: tuple[str, float]) -> Iterator[dict[str, object]]:
    """This season's rows: verdict, interval, and the scores that need no promise."""
    now, before = [g for g in groups if g.season == season], [g for g in groups if g.season < season]
    if level == "environment" and len(now) < 2:
        return
    promises = {mix: _promise(before, mix) for mix in {group.mix for group in now}}
    looked_at = sum(group.judged and promises[group.mix][0] is not None for group in now)
    for group in now:
        promise, n_seasons = promises[group.mix]
        own = group.ability() if group.judged else None
        lower = upper = None
        if promise is not None and own is not None:
            lower, upper = np.tanh(promise.interval(own[1], 1 - (1 - CONFIDENCE) / looked_at)).tolist()
        verdict, message = _verdict(group, lower, upper, n_seasons, looked_at)
        yield {"label": group.label, "verdict": verdict, "n_lines": group.lines.height, "realised": group.r,
               "promised": None if promise is None else float(np.tanh(promise.mean)), "lower": lower, "upper": upper,
               "n_seasons": n_seasons, **_scores(group.lines, *merit), "message": message}


def _weights(known_N: np.ndarray, mix: float) -> np.ndarray:
    """Weights that give known lines the share `mix`; all 0 where a kind that is needed is absent."""
    share = float(known_N.mean())
    if (mix > 0 and share == 0) or (mix < 1 and share == 1):
        return np.zeros(len(known_N))
    return np.where(known_N, mix / share if share else 0.0, (1 - mix) / (1 - share) if share < 1 else 0.0)


def _pair(lines: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    return lines["predicted"].to_numpy(), lines["observed"].to_numpy()


def _scores(lines: pl.DataFrame, direction: str, average: float) -> dict[str, float | None]:
    both = _pair(lines)
    return {"slope": scores.slope(*both), "bias": scores.bias(*both),
            "top20_hit": scores.top_fifth_hit(*both, direction, average),
            "gain_selected": scores.selection_gain(*both, direction, average)}


def _verdict(group: _Group, lower: float | None, upper: float | None, n_seasons: int,
             looked_at: int) -> tuple[str, str]:
    n, r = group.lines.height, group.r
    if n < MIN_LINES:
        return "too_few", f"too few lines to tell: {n}, needed {MIN_LINES}"
    if r is None:
        return "no_promise", "no r to hold to a promise: predictions or harvest do not vary"
    kind = f"{100 * group.mix:.0f} % of them known"
    if lower is None or upper is None:
        return "no_promise", f"cannot be promised: {n_seasons} earlier forward seasons with {MIN_LINES} lines, " \
                             f"{kind}; needed {MIN_SEASONS}"
    verdict = "below" if r < lower else "above" if r > upper else "within"
    shared = f", held for {looked_at} groups at once" if looked_at > 1 else ""
    return verdict, f"r {r:.2f} is {verdict} the {lower:.2f} to {upper:.2f} that {n_seasons} forward seasons " \
                    f"promised for {n} lines, {kind}{shared}"
