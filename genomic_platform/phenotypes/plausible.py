"""Values far outside what their environment shows: probably a unit or a typing error, said but not removed."""

from __future__ import annotations

import polars as pl

#: Robust standard deviations from the median; a normal sample of a million values has none outside 5.
LIMIT = 8.0
_NORMAL = 1.4826


def implausible_values(records: pl.DataFrame) -> pl.DataFrame:
    """Rows of TRIAL_RECORDS further than `LIMIT` × 1.4826 × MAD from the median of their trait and environment.

    An environment where more than half of the values are equal has MAD 0 and tells nothing.
    """
    group = ["trait", "environment"]
    deviation = (pl.col("value") - pl.col("value").median().over(group)).abs()
    spread = deviation.median().over(group) * _NORMAL
    return records.filter((spread > 0) & (deviation > LIMIT * spread))


def average_line(line_means: pl.DataFrame) -> dict[str, float]:
    """Per trait the average line's value in its unit, from LINE_MEANS: what values are deviations from."""
    average = (pl.col("mean") - pl.col("centred")).mean()
    return dict(line_means.group_by("trait").agg(average).iter_rows())
