"""Prediction drift: are this season's values still those of the same lines a season before, only better informed?

The rule, trait by trait, on lines with a value now and as first published a season before:

1. `first`: nothing to compare with: no season before, a trait new to it, or fewer than 20 lines in both.
2. `changed`: the correlation of new with old values is below .6 of what reliabilities make one expect, by more than
   its sampling error (the upper 97.5 % limit by Fisher's z), or the ratio of their standard deviations is more than
   twice, or less than half, of what they make one expect.
3. `usual`: anything else.

When a line gains records, the old value stays the best guess of the new one. Then cov(new, old) = var(old), and both
the correlation and 1 / ratio are expected to be √(old reliability / new reliability) (Legarra & Reverter 2018): a
line's first harvest lowers the correlation, and that is learning, not drift. What remains is a shuffled column, a
changed unit, a trait turned round, a model that sees nothing any more. Values are deviations from the average line; a
rising mean is genetic gain and is not judged. Axes: N lines, T training lines.
Reference: Legarra & Reverter 2018, Genet. Sel. Evol. 50:53 (LR statistics ρ and b).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import polars as pl

from genomic_platform.drift.relatives import closest_relatives
from genomic_platform.genotypes.population.clusters import KIN
from genomic_platform.models.promise import fisher_z
from genomic_platform.models.scores import correlation, no_correlation
from genomic_platform.schemas.monitoring import PREDICTION_DRIFT

MIN_LINES = 20
LOW_R, WIDE_RATIO = 0.6, 2.0
_LIMIT = 1.96


def prediction_drift(values: pl.DataFrame, previous: pl.DataFrame | None, *, season: str,
                     genetic_sd: Mapping[str, float], foreign: Mapping[str, Collection[str]]) -> pl.DataFrame:
    """Compare a season's values with those of the season before by the rule at the top of this module.

    Parameters
    ----------
    values : contract VALUES of the season; rows with a target environment are left out.
    previous : the same as first published a season before; None = there is no season before.
    genetic_sd : standard deviation of the true genotypic values as each trait's champion estimates it, trait's unit; a
        trait that is absent, or has 0, gets no shrinkage.
    foreign : per trait, lines without a close relative among the lines with records of it (`without_kin`).

    Returns
    -------
    Contract PREDICTION_DRIFT, one row a trait.
    """
    now = values.filter(pl.col("environment").is_null())
    before = values.clear() if previous is None else previous.filter(pl.col("environment").is_null())
    rows = []
    for (name,), own in now.group_by("trait", maintain_order=True):
        trait = str(name)
        both = own.join(before.filter(pl.col("trait") == trait), on="line_id", suffix="_before").sort("line_id")
        value_N = own["genotypic_value"].to_numpy()
        sd, sigma = _sd(value_N), genetic_sd.get(trait, 0.0)
        unseen = ~pl.col("phenotyped") & pl.col("line_id").is_in(sorted(foreign.get(trait, ())))
        rows.append({"season": season, "trait": trait, "n_lines": own.height, "mean": float(value_N.mean()), "sd": sd,
                     "shrinkage": 1 - sd / sigma if sd is not None and sigma > 0 else None,
                     "reliability": own["genotypic_value_reliability"].mean(),
                     "extrapolated": own.select(unseen.mean()).item(), **_compared(both)})
    return PREDICTION_DRIFT.conform(pl.DataFrame(rows, schema=PREDICTION_DRIFT.schema))


def without_kin(lines: Sequence[str], relationship_NN: np.ndarray, training_set: pl.DataFrame) -> dict[str, set[str]]:
    """Per trait, the lines whose correlation of breeding values with every training line is below that of half sibs.

    Parameters
    ----------
    relationship_NN : (N, N) in the order of `lines`. training_set : contract TRAINING_SET; who has a record of which
    trait. A line is no relative of its own.
    """
    found: dict[str, set[str]] = {}
    foreign: dict[frozenset[str], set[str]] = {}  # most traits have the same lines
    for (trait,), part in training_set.group_by("trait", maintain_order=True):
        if (trained := frozenset(part["line_id"])) not in foreign:
            closest_N = closest_relatives(relationship_NN, np.array([line in trained for line in lines], dtype=bool))[1]
            foreign[trained] = {line for line, r in zip(lines, closest_N, strict=True) if not r >= KIN}  # NaN: nobody
        found[str(trait)] = foreign[trained]
    return found


def _sd(value_N: np.ndarray) -> float | None:
    return float(value_N.std(ddof=1)) if len(value_N) > 1 else None


def _compared(both: pl.DataFrame) -> dict[str, float | str | None]:
    """Correlation and ratio of the standard deviations of the lines in both, the decision and its words."""
    if both.height < MIN_LINES:
        return {"decision": "first", "r_previous": None, "sd_ratio": None,
                "message": f"nothing to compare with: {both.height} lines had a value a season before, "
                           f"needed {MIN_LINES}"}
    new_N, old_N = both["genotypic_value"].to_numpy(), both["genotypic_value_before"].to_numpy()
    flat_new, flat_old = (no_correlation(side_N, side_N) is not None for side_N in (new_N, old_N))
    r = correlation(new_N, old_N)
    ratio = None if flat_old else float(new_N.std(ddof=1) / old_N.std(ddof=1))
    if r is None or ratio is None:
        when = "in both seasons" if flat_new and flat_old else "this season" if flat_new else "a season before"
        return {"decision": "changed" if flat_new and not flat_old else "usual", "r_previous": r, "sd_ratio": ratio,
                "message": f"all lines have the same value {when}"}
    expected = _expected(both)
    reasons = []
    if fisher_z(r) + _LIMIT / np.sqrt(both.height - 3) < fisher_z(LOW_R * expected):
        reasons.append(f"lines are ordered otherwise than a season before: r {r:.2f}, {expected:.2f} expected")
    if not 1 / WIDE_RATIO <= ratio * expected <= WIDE_RATIO:
        reasons.append(f"values spread {ratio:.2f} times as much as a season before, {1 / expected:.2f} expected")
    words = "; ".join(reasons) or f"as a season before but for what was learnt: r {r:.2f}, {expected:.2f} expected; " \
                                  f"spread {ratio:.2f} times, {1 / expected:.2f} expected"
    return {"decision": "changed" if reasons else "usual", "r_previous": r, "sd_ratio": ratio, "message": words}


def _expected(both: pl.DataFrame) -> float:
    """√(old / new mean reliability), at most 1: what more records make of the correlation; 1 where none is known."""
    old, new = (float(np.mean(both[f"genotypic_value_reliability{when}"].to_numpy())) for when in ("_before", ""))
    return float(np.sqrt(min(1.0, old / new))) if old > 0 and new > 0 else 1.0
