"""Stage one across environments: one mean per line and trait from the means in every environment known so far.

y_ij = environment_j + line_i + e_ij, lines fixed, with the error variances estimated here and handed to stage two as
known. L lines, E environments. Nothing here reads plots. Piepho et al. 2012, Biom J 54:844; Patterson & Thompson
1971, Biometrika 58:545 (REML).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from genomic_platform.errors import Notice, ProgramError
from genomic_platform.phenotypes.two_way import TwoWayFit, connected_parts, fit_two_way
from genomic_platform.schemas.phenotypes import TRAINING_SET

#: Fewer residual degrees of freedom leave the error variances too uncertain to weight by.
MIN_RESIDUAL_DF = 5
#: Degrees of freedom by which a small environment's own error variance is drawn to the average one.
PRIOR_DF = 4.0
_ITERATIONS, _TOLERANCE = 100, 1e-6


@dataclass(frozen=True)
class _Cells:
    """Means of one trait: mean_LE and its squared standard error (NaN where there is none), and where they count."""

    lines: np.ndarray
    environments: np.ndarray
    mean_LE: np.ndarray
    squared_error_LE: np.ndarray
    n_records_L: np.ndarray

    @property
    def present_LE(self) -> np.ndarray:
        return ~np.isnan(self.mean_LE)


@dataclass(frozen=True)
class _Combined:
    """One trait's means over environments and their error variances (NaN = not known), in the order of the lines."""

    mean_L: np.ndarray
    variance_L: np.ndarray
    loadings_LE: np.ndarray | None = None
    disconnected: tuple[str, ...] = ()


def training_means(line_means: pl.DataFrame, *, means: str = "blue", weights: str = "errors",
                   genotyped: Collection[str] = (), seasons: Sequence[str] | None = None,
                   ) -> tuple[pl.DataFrame, list[Notice]]:
    """One mean per line and trait over all environments given (contract TRAINING_SET).

    Parameters
    ----------
    line_means : contract LINE_MEANS, every environment known at the season and none later.
    means : `blue` = best linear unbiased estimate under y_ij = environment_j + line_i + e_ij, as a deviation from the
        average line; `centred` = mean over the line's environments of its mean minus the environment's average over
        the genotyped lines (over all its lines where it has none genotyped), the mode of the reference figures.
    weights : `errors` = weight by Var(e_ij): σ²_ge + squared standard error where stage one gave one, else the
        environment's own σ²_j, both by REML; `none` = equal weights, error variance left to stage two.
    genotyped : lines with genotypes known at the season.
    seasons : season labels in calendar order; None = as strings.

    Returns
    -------
    table : `error_variance` is the line's diagonal element of the covariance of (line minus average line), lines
        fixed, the variances taken as known; it includes genotype × environment and is empty with equal weights.
        `error_loadings` hold what lines of the same environments share of it. Left out, a season's new lines would be
        believed as a group, though selected lines, which connect seasons, make the season look worse than it was.
    notices : codes `disconnected` (environments outside the largest part connected by common lines; their lines get
        centred means), `equal_weights`, `trait_absent`, `trait_constant`.

    Raises
    ------
    ProgramError : unknown words, or `means = centred` with `weights = errors`.
    """
    if means not in ("blue", "centred") or weights not in ("errors", "none"):
        raise ProgramError(f"means is {means!r}, weights is {weights!r}; expected blue or centred, errors or none")
    if means == "centred" and weights == "errors":
        raise ProgramError("means = centred has no standard errors; expected weights = none with it")
    known = frozenset(genotyped)
    tables: list[pl.DataFrame] = []
    notices = _season_notices(line_means, seasons)
    unweighted: list[str] = []
    apart: dict[tuple[str, ...], list[str]] = {}
    for part in line_means.partition_by("trait", maintain_order=True):
        cells, trait = _cells(part), str(part["trait"][0])
        combined = _centred(cells, known) if means == "centred" else _blue(cells, weights)
        if combined.disconnected:
            apart.setdefault(combined.disconnected, []).append(trait)
        if weights == "errors" and np.isnan(combined.variance_L).all():
            unweighted.append(trait)
        tables.append(_table(cells, combined, part, trait, known, seasons))
    notices += [Notice("disconnected", f"{', '.join(traits)}: environments that share no lines with the others; their "
                       "lines get centred means", len(environments), environments)
                for environments, traits in apart.items()]
    if unweighted:
        notices.append(Notice("equal_weights", "no residual degrees of freedom to estimate error variances from: equal "
                              "weights and no line residual", len(unweighted), tuple(unweighted)))
    return TRAINING_SET.conform(pl.concat(tables)) if tables else TRAINING_SET.empty(), notices


def interaction_variances(line_means: pl.DataFrame) -> dict[str, float]:
    """σ²_ge of each trait, squared trait units, as `training_means` with weights = errors estimates it.

    NaN where no environment has standard errors or nothing is left to estimate it from.
    """
    found = {}
    for part in line_means.partition_by("trait", maintain_order=True):
        cells = _cells(part)
        at = np.ix_(*_main_part(cells))
        variance_LE = _variances(cells.mean_LE[at], cells.squared_error_LE[at])
        own = np.array(np.nan) if variance_LE is None else variance_LE - cells.squared_error_LE[at]
        found[str(part["trait"][0])] = float(np.nanmean(own)) if np.isfinite(own).any() else float("nan")
    return found


def _cells(part: pl.DataFrame) -> _Cells:
    lines, row_N = np.unique(part["line_id"].to_numpy(), return_inverse=True)
    environments, column_N = np.unique(part["environment"].to_numpy(), return_inverse=True)
    mean_LE = np.full((lines.size, environments.size), np.nan)
    squared_error_LE = mean_LE.copy()
    mean_LE[row_N, column_N] = part["mean"].to_numpy()
    squared_error_LE[row_N, column_N] = part["standard_error"].fill_null(np.nan).to_numpy() ** 2
    return _Cells(lines, environments, mean_LE, squared_error_LE, np.bincount(row_N, part["n_records"].to_numpy()))


def _table(cells: _Cells, combined: _Combined, part: pl.DataFrame, trait: str, genotyped: frozenset[str],
           seasons: Sequence[str] | None) -> pl.DataFrame:
    order = list(seasons) if seasons is not None else part["season"].unique().sort().to_list()
    place = {s: i for i, s in enumerate(order)} | {s: len(order) for s in part["season"].unique() if s not in order}
    first = part.with_columns(pl.col("season").replace_strict(place, return_dtype=pl.Int64).alias("__place")) \
        .sort("__place", maintain_order=True).group_by("line_id", maintain_order=True) \
        .agg(pl.col("season").first().alias("first_season"), pl.col("season").last().alias("last_season"))
    return pl.DataFrame({
        "line_id": cells.lines, "trait": [trait] * cells.lines.size, "mean": combined.mean_L,
        "error_variance": pl.Series(combined.variance_L).fill_nan(None),
        "error_loadings": pl.Series([None] * cells.lines.size if combined.loadings_LE is None
                                    else combined.loadings_LE.tolist(), dtype=pl.List(pl.Float64)),
        "n_environments": cells.present_LE.sum(axis=1), "n_records": cells.n_records_L.astype(np.int64),
        "genotyped": [x in genotyped for x in cells.lines]}).join(first, on="line_id", maintain_order="left") \
        .select(c.name if c.name != "genotyped" else pl.col("genotyped") for c in TRAINING_SET.columns)


def _centred(cells: _Cells, genotyped: frozenset[str]) -> _Combined:
    """Mean over a line's environments of its mean minus the environment's average over its genotyped lines."""
    known_L = np.array([x in genotyped for x in cells.lines])
    counted_LE = cells.present_LE & known_L[:, None]
    counted_LE = np.where(counted_LE.any(axis=0), counted_LE, cells.present_LE)
    average_E = np.nansum(np.where(counted_LE, cells.mean_LE, np.nan), axis=0) / counted_LE.sum(axis=0)
    return _Combined(np.nanmean(cells.mean_LE - average_E, axis=1), np.full(cells.lines.size, np.nan))


def _blue(cells: _Cells, weights: str) -> _Combined:
    """BLUE in the largest connected part; centred means for the lines of every other part."""
    main_L, main_E = _main_part(cells)
    mean_LE = cells.mean_LE[np.ix_(main_L, main_E)]
    squared_error_LE = cells.squared_error_LE[np.ix_(main_L, main_E)]
    variance_LE = _variances(mean_LE, squared_error_LE) if weights == "errors" else None
    fit = _fit(mean_LE, np.ones_like(mean_LE) if variance_LE is None else variance_LE)
    mean_L, variance_L = np.full(cells.lines.size, np.nan), np.full(cells.lines.size, np.nan)
    loadings_LE = None
    mean_L[main_L] = fit.line_L - fit.line_L.mean()
    if variance_LE is not None:
        variance_L[main_L] = fit.contrast_variance()
        loadings_LE = np.zeros((cells.lines.size, int(main_E.sum())))
        loadings_LE[main_L] = fit.contrast_loadings()
    if not main_L.all():
        aside_LE = cells.mean_LE[np.ix_(~main_L, ~main_E)]
        mean_L[~main_L] = np.nanmean(aside_LE - np.nanmean(aside_LE, axis=0), axis=1)
        if variance_LE is not None:
            typical = float(np.nanmean(np.where(np.isnan(mean_LE), np.nan, variance_LE)))
            variance_L[~main_L] = typical / (~np.isnan(aside_LE)).sum(axis=1)
    return _Combined(mean_L, variance_L, loadings_LE, tuple(str(e) for e in cells.environments[~main_E]))


def _main_part(cells: _Cells) -> tuple[np.ndarray, np.ndarray]:
    """Lines (L,) and environments (E,) of the largest part that common lines connect, as masks."""
    row_N, column_N = np.nonzero(cells.present_LE)
    part_E = connected_parts(row_N, column_N, *cells.mean_LE.shape)
    main_E = np.equal(part_E, np.bincount(part_E[column_N]).argmax())
    return np.asarray(cells.present_LE[:, main_E].any(axis=1)), main_E


def _fit(mean_LE: np.ndarray, variance_LE: np.ndarray) -> TwoWayFit:
    weight_LE = np.where(np.isnan(mean_LE), 0.0, 1 / variance_LE)
    return fit_two_way(weight_LE, weight_LE * np.nan_to_num(mean_LE))


def _variances(mean_LE: np.ndarray, squared_error_LE: np.ndarray) -> np.ndarray | None:
    """Var(e_ij) (L, E) by REML; None when there is nothing to estimate it from.

    With v the variances, w = 1/v, r the residuals and 1 − h = 1 − w·Var(fitted), the REML equations are
    Σ w²r² = Σ w(1 − h), over all cells with standard errors for σ²_ge and over an environment's cells for its σ²_j.
    They are iterated to a fixed point; two environments identify only the sum of their σ²_j, and equal starts share
    it equally.
    """
    present_LE = ~np.isnan(mean_LE)
    known_E = (present_LE & np.isnan(squared_error_LE)).sum(axis=0) == 0
    degrees = present_LE.sum() - sum(mean_LE.shape) + 1
    squared_error_LE = np.where(known_E & present_LE, squared_error_LE, 0.0)
    floor = 1e-8 * float(np.nanvar(mean_LE))
    if floor == 0.0:
        return None
    if degrees < MIN_RESIDUAL_DF:
        return np.maximum(squared_error_LE, floor) if known_E.all() else None
    fit = _fit(mean_LE, np.ones_like(mean_LE))
    pooled = max(float(np.nansum(_residuals(mean_LE, fit) ** 2)) / degrees, floor)
    genotype_by_environment, own_E = pooled / 2, np.full(known_E.size, pooled)
    variance_LE = np.maximum(np.where(known_E, squared_error_LE + genotype_by_environment, own_E), floor)
    for _ in range(_ITERATIONS):
        fit = _fit(mean_LE, variance_LE)
        squares_LE = np.nan_to_num(_residuals(mean_LE, fit) ** 2)
        left_LE = np.where(present_LE, 1 - fit.cell_variance() / variance_LE, 0.0)
        own_E = _own(squares_LE, left_LE, known_E, own_E)
        if known_E.any():
            genotype_by_environment = _common(squares_LE, left_LE, variance_LE, known_E, genotype_by_environment)
        updated_LE = np.maximum(np.where(known_E, squared_error_LE + genotype_by_environment, own_E), floor)
        change = float(np.max(np.abs(updated_LE / variance_LE - 1)[present_LE]))
        variance_LE = updated_LE
        if change < _TOLERANCE:
            break
    return variance_LE


def _residuals(mean_LE: np.ndarray, fit: TwoWayFit) -> np.ndarray:
    return mean_LE - fit.line_L[:, None] - fit.level_B[None, :]


def _own(squares_LE: np.ndarray, left_LE: np.ndarray, known_E: np.ndarray, own_E: np.ndarray) -> np.ndarray:
    """Next σ²_j (E,) of environments without standard errors, drawn to their average with weight 1 / (E − 1).

    G×E that environments share is taken as independent here. With few environments the likelihood then gives the one
    most like the others nearly all the weight (a Heywood case: 74 % of four in a balanced wheat table); with many,
    they tell an environment's own variance well. `PRIOR_DF` more keep a small environment from a variance of 0.
    """
    if known_E.all():
        return own_E
    squares_E, left_E = squares_LE.sum(axis=0), left_LE.sum(axis=0)
    average = squares_E[~known_E].sum() / max(left_E[~known_E].sum(), 1e-12)
    prior_E = PRIOR_DF + left_E / max(int((~known_E).sum()) - 2, 1e-6)
    return (squares_E + prior_E * average) / (left_E + prior_E)


def _common(squares_LE: np.ndarray, left_LE: np.ndarray, variance_LE: np.ndarray, known_E: np.ndarray,
            current: float) -> float:
    """Next σ²_ge, at least 0: a scoring step on its REML equation with Σ w²(1 − h)² as information."""
    weight_LE = np.where(known_E, 1 / variance_LE, 0.0)
    score = float((weight_LE**2 * squares_LE - weight_LE * left_LE).sum())
    information = float(((weight_LE * left_LE) ** 2).sum())
    return max(current + score / information, 0.0) if information > 0 else current


def _season_notices(line_means: pl.DataFrame, seasons: Sequence[str] | None) -> list[Notice]:
    """Traits that are absent from a season others have records in, or constant in one."""
    present = [s for s in seasons if s in set(line_means["season"])] if seasons is not None \
        else line_means["season"].unique().sort().to_list()
    spread = {(t, s): (lowest == highest and lines > 1) for t, s, lowest, highest, lines in line_means.group_by(
        "trait", "season").agg(pl.col("mean").min().alias("lowest"), pl.col("mean").max().alias("highest"),
                               pl.col("line_id").n_unique()).iter_rows()}
    notices: list[Notice] = []
    for trait in line_means["trait"].unique().sort():
        absent = tuple(s for s in present if (trait, s) not in spread)
        constant = tuple(s for s in present if spread.get((trait, s)))
        if absent:
            notices.append(Notice("trait_absent", f"{trait}: no record in a season", len(absent), absent))
        if constant:
            notices.append(Notice("trait_constant", f"{trait}: every line has the same value in a season",
                                  len(constant), constant))
    return notices
