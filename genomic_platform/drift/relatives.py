"""How far each line's value can be trusted: its relatives among the lines that the models learned from.

A line without a record is predicted through its relatives; without any, its value says little. Relationships are read
as correlations (`population/clusters.py`). What a value's own uncertainty is stands with the models (reliability).
Axes: N lines of the relationship matrix, n of a block of them, T lines in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from genomic_platform.genotypes.population.clusters import KIN
from genomic_platform.schemas.monitoring import LINE_TRUST

_BLOCK = 512  # lines: with 5,000 in training the correlations of a block take 20 MB


class Relatives(NamedTuple):
    """Of each line, itself excepted: the row of the training line most related to it (−1: there is none), the
    correlation with that line, and the mean correlation with all training lines (NaN: there is none); (N,) each."""

    closest_N: np.ndarray
    closest_relationship_N: np.ndarray
    mean_relationship_N: np.ndarray


def closest_relatives(matrix_NN: np.ndarray, training_N: np.ndarray) -> Relatives:
    """Relatives of all lines of a relationship matrix among those that `training_N` (Boolean) marks."""
    rows_T, sd_N = np.flatnonzero(training_N), np.sqrt(np.maximum(np.diagonal(matrix_NN), 1e-12))
    n = len(matrix_NN)
    found = Relatives(np.full(n, -1), np.full(n, np.nan), np.full(n, np.nan))
    if not len(rows_T):
        return found
    for start in range(0, n, _BLOCK):
        here = np.arange(start, min(start + _BLOCK, n))
        correlation_nT = matrix_NN[np.ix_(here, rows_T)] / sd_N[here, None] / sd_N[rows_T]
        own_nT = here[:, None] == rows_T
        others_n = len(rows_T) - own_nT.sum(axis=1)
        known_n = others_n > 0
        total_n = correlation_nT.sum(axis=1, where=~own_nT)
        correlation_nT[own_nT] = -np.inf
        closest_n = correlation_nT.argmax(axis=1)
        found.closest_N[here[known_n]] = rows_T[closest_n[known_n]]
        found.closest_relationship_N[here[known_n]] = correlation_nT.max(axis=1)[known_n]
        found.mean_relationship_N[here[known_n]] = total_n[known_n] / others_n[known_n]
    return found


def line_trust(values: pl.DataFrame, training_lines: Sequence[str], lines: Sequence[str],
               matrix_NN: np.ndarray) -> pl.DataFrame:
    """Which lines' values to trust less, and why.

    A line with a record is `usual`. One without is `less` where it has no genotypes, where its closest relative in
    training is related by less than `KIN`, or by less than every training line is to its own closest. The mean
    relationship decides nothing: it tells how large the families are as much as whether a line has one.

    Parameters
    ----------
    values : contract VALUES, one or several traits.
    training_lines : lines with a record.
    lines, matrix_NN : lines of the relationship and their relationship (N, N), in the same order.

    Returns
    -------
    Contract LINE_TRUST, a row for each line of `values`.
    """
    trained = set(training_lines)
    training_N = np.array([line in trained for line in lines], dtype=bool)
    relatives = closest_relatives(matrix_NN, training_N)
    names = [lines[row] if row >= 0 else None for row in relatives.closest_N.tolist()]
    related = pl.DataFrame({
        "line_id": list(lines), "closest_relative": pl.Series(names, dtype=pl.String),
        "closest_relationship": relatives.closest_relationship_N, "mean_relationship": relatives.mean_relationship_N,
        "genotyped": True}).with_columns(pl.col(pl.Float64).fill_nan(None))
    among_training = related.filter(pl.Series(training_N))["closest_relationship"].drop_nulls().to_list()
    over_all = values.filter(pl.col("environment").is_null())
    table = (over_all if over_all.height else values).group_by("line_id").agg(
        reliability=pl.col("genotypic_value_reliability").mean()).join(
        related, "line_id", how="left").with_columns(phenotyped=pl.col("line_id").is_in(list(trained)))
    table = table.with_columns(why=_why(min(among_training, default=-1.0)))
    return LINE_TRUST.conform(table.with_columns(
        trust=pl.when(pl.col("why").is_null()).then(pl.lit("usual")).otherwise(pl.lit("less"))))


def _why(lowest: float) -> pl.Expr:
    """The first reason to trust a line's value less, null where there is none; `lowest` among training lines."""
    closest = pl.col("closest_relationship")
    unrelated = pl.format(f"no close relative in training: the closest is related by {{}}, kin by {KIN} and more",
                          closest.round(2))
    outside = pl.format("closest relationship {}, lower than that of any training line "
                        f"({lowest:.2f})", closest.round(2))
    return (pl.when("phenotyped").then(None)
            .when(pl.col("genotyped").is_null()).then(pl.lit("no genotypes: its relatives in training are unknown"))
            .when(closest.is_null()).then(pl.lit("no line in training has genotypes"))
            .when(closest < KIN).then(unrelated)
            .when(closest < lowest).then(outside))


def trust_message(trust: pl.DataFrame) -> str:
    """What contract LINE_TRUST says of the lines without a record, in a sentence."""
    candidates = trust.filter(~pl.col("phenotyped"))
    less = candidates.filter(pl.col("trust") == "less").height
    if not candidates.height:
        return "every line has a record"
    if not less:
        return f"every line without a record has a close relative in training ({candidates.height:,})"
    subject = "1 line has" if less == 1 else f"{less:,} lines have"
    return f"{subject} no close relative in training: trust {'its value' if less == 1 else 'their values'} less " \
           f"(of {candidates.height:,} without a record)"
