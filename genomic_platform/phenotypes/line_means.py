"""Stage one within an environment: each line's mean and its standard error from plot records.

Lines are fixed (BLUEs, never BLUPs, which stage two would shrink again). Means over environments are in
`training_means`. Piepho, Möhring, Schulz-Streeck & Ogutu 2012, Biom J 54:844.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from genomic_platform.errors import Notice, ProgramError
from genomic_platform.phenotypes.training_means import training_means
from genomic_platform.phenotypes.two_way import connected_parts, fit_two_way
from genomic_platform.schemas.phenotypes import LINE_MEANS

__all__ = ["MIN_RESIDUAL_DF", "line_means", "season_means", "training_means"]

#: Fewer residual degrees of freedom leave an error variance too uncertain to weight by.
MIN_RESIDUAL_DF = 5
#: Declared design, finest first; where a level of detail leaves lines unconnected the next coarser is taken.
_DESIGNS = (("trial", "replicate", "block"), ("trial", "replicate"), ("trial",), ())


@dataclass(frozen=True)
class _Plots:
    """Plots of one trait and environment: line index and value per plot (N), and the design columns."""

    lines: pl.Series
    line_N: np.ndarray
    value_N: np.ndarray
    design: pl.DataFrame


def line_means(trial_records: pl.DataFrame, *, means: str = "blue") -> tuple[pl.DataFrame, list[Notice]]:
    """Each line's mean in each environment (contract LINE_MEANS).

    Parameters
    ----------
    trial_records : contract TRIAL_RECORDS.
    means : `blue` = y = line + trial/replicate/block + e within the environment, all fixed, ordinary least squares;
        `centred` = plain means, no standard error.

    Returns
    -------
    table : `mean` is the BLUE at the average block (blocks weighted by their plots); `standard_error` its standard
        error from the environment's own residual variance, empty where fewer than `MIN_RESIDUAL_DF` degrees of freedom
        are left; `centred` is `mean` minus the average over the environment's lines.
    notices : code `disconnected_blocks`: trials, replicates or blocks that share no lines are not corrected for.

    Raises
    ------
    ProgramError : another word for `means`.
    """
    if means not in ("blue", "centred"):
        raise ProgramError(f"means is {means!r}; expected blue or centred")
    tables: list[pl.DataFrame] = []
    unconnected: dict[str, list[str]] = {}
    for part in trial_records.partition_by("trait", "environment", maintain_order=True):
        plots = _plots(part)
        mean_L, error_L, left_out = _blue(plots) if means == "blue" else (_plain(plots), None, ())
        if left_out:
            unconnected.setdefault(", ".join(left_out), []).append(part["environment"][0])
        tables.append(pl.DataFrame({
            "line_id": plots.lines, "mean": mean_L, "centred": mean_L - mean_L.mean(),
            "standard_error": pl.Series(error_L, dtype=pl.Float64) if error_L is not None else None,
            "n_records": np.bincount(plots.line_N)}).with_columns(
                *[pl.lit(part[c][0]).alias(c) for c in ("season", "location", "environment", "trait")]))
    table = LINE_MEANS.conform(pl.concat(tables, how="vertical_relaxed")) if tables else LINE_MEANS.empty()
    notices = [Notice("disconnected_blocks", f"effects of {what} are not corrected for: no common lines connect them",
                      len(set(where)), tuple(dict.fromkeys(where))[:3]) for what, where in unconnected.items()]
    return table, notices


def season_means(line_means: pl.DataFrame) -> pl.DataFrame:
    """What a season's predictions are scored against: line_id, trait, observed.

    `observed` is the mean of `centred` over the environments given, in the trait's unit; pass one season's rows.
    """
    return line_means.group_by("line_id", "trait").agg(pl.col("centred").mean().alias("observed")) \
        .sort("trait", "line_id")


def _plots(part: pl.DataFrame) -> _Plots:
    lines = part["line_id"].unique().sort()
    index = part["line_id"].replace_strict(lines, pl.int_range(lines.len(), eager=True), return_dtype=pl.Int64)
    return _Plots(lines, index.to_numpy(), part["value"].to_numpy(), part.select("trial", "replicate", "block"))


def _plain(plots: _Plots) -> np.ndarray:
    return np.bincount(plots.line_N, plots.value_N) / np.bincount(plots.line_N)


def _blue(plots: _Plots) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """BLUE (L,), its standard error (L,) or None, and the design columns that had to be left out.

    Blocks nest in replicates and these in trials, so with all of them fixed the finest factor spans the others and
    one factor is enough.
    """
    level_N, left_out = _connected_levels(plots)
    n_lines, n_levels = plots.lines.len(), int(level_N.max()) + 1
    cells_N = plots.line_N * n_levels + level_N
    count_LB = np.bincount(cells_N, minlength=n_lines * n_levels).reshape(n_lines, n_levels).astype(float)
    sum_LB = np.bincount(cells_N, plots.value_N, minlength=n_lines * n_levels).reshape(n_lines, n_levels)
    fit = fit_two_way(count_LB, sum_LB)
    residual_N = plots.value_N - fit.line_L[plots.line_N] - fit.level_B[level_N]
    degrees = plots.value_N.size - n_lines - n_levels + 1
    if degrees < MIN_RESIDUAL_DF:
        return fit.line_L, None, left_out
    error_variance = float(residual_N @ residual_N) / degrees
    return fit.line_L, np.sqrt(error_variance * fit.line_variance()), left_out


def _connected_levels(plots: _Plots) -> tuple[np.ndarray, tuple[str, ...]]:
    """Level (N,) of each plot in the finest declared design that common lines connect, and the columns left out."""
    declared = [c for c in plots.design.columns if plots.design[c].null_count() < plots.design.height]
    for design in _DESIGNS:
        factors = [c for c in design if c in declared]
        level_N = _levels(plots.design, factors)
        if not connected_parts(plots.line_N, level_N, plots.lines.len(), int(level_N.max()) + 1).any():
            return level_N, tuple(c for c in declared if c not in factors)
    raise AssertionError("a single level is connected")


def _levels(design: pl.DataFrame, factors: list[str]) -> np.ndarray:
    """Index (N,) of each plot's level of the nested factors together; an empty cell is a level of its own."""
    if not factors:
        return np.zeros(design.height, dtype=np.int64)
    return (design.select(pl.struct(factors).rank("dense")).to_series().to_numpy() - 1).astype(np.int64)
