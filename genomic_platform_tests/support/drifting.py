"""Environments and lines of two sides whose difference is known, as comparisons to draw."""

from __future__ import annotations

import numpy as np
import polars as pl

from genomic_platform.drift.comparisons import GROUP, Comparison, environments_compared
from genomic_platform.phenotypes.weather_features import FEATURES
from genomic_platform.schemas.phenotypes import ENVIRONMENT_FEATURES

WARMER = "season_temperature_mean_c"
WINDOWS = ("season", "days_0_30", "days_30_60", "thermal_0_300", "vegetative")


def features(season: str = "2024", seed: int = 1) -> pl.DataFrame:
    """Five seasons of twelve environments (contract ENVIRONMENT_FEATURES): soil, and weather of five windows.

    The last season is warmer by two standard deviations over the whole season, and like the others otherwise.
    """
    rng = np.random.default_rng(seed)
    names = ["soil_ph", *(f"{window}_{feature}" for window in WINDOWS for feature in FEATURES)]
    rows = [{"environment": f"{year}_{i}", "season": str(year), "feature": name, "standardised": 0.0,
             "value": rng.normal() + 2 * (name == WARMER and str(year) == season)}
            for year in range(int(season) - 4, int(season) + 1) for i in range(12) for name in names]
    return ENVIRONMENT_FEATURES.conform(pl.DataFrame(rows))


def environments(season: str = "2024") -> Comparison:
    """The last of the five seasons beside the others."""
    decided = pl.DataFrame({"feature": [WARMER, "soil_ph"], "decision": ["shifted", "same"]})
    return environments_compared(features(season), season, decided)


def odd_lines(season: str = "2024") -> Comparison:
    """Lines of two families a side, hence too few, with columns as they should not be: empty, constant, not finite."""
    def side(n: int) -> pl.DataFrame:
        value_N = np.random.default_rng(n).normal(size=n)
        odd_N = np.where(np.arange(n) % 2, np.inf, value_N)
        return pl.DataFrame({GROUP: [i % 2 for i in range(n)], "usual": value_N, "constant": np.ones(n), "odd": odd_N,
                             "rounded": value_N + 1 - value_N,
                             "huge": value_N * 1e200, "whole": np.arange(n), "one": [1.5] + [None] * (n - 1),
                             "empty": [1.0] * n if n > 30 else [None] * n})

    names = {"usual": "grain_yield_kg_ha: predicted value", "constant": "constant", "rounded": "rounded",
             "odd": "odd", "huge": "huge", "whole": "whole numbers", "one": "one value", "empty": "empty now"}
    return Comparison("lines", f"New lines at season {season}", season, side(40), side(20), names,
                      "lines learned from before", "new lines", "Same base.")
