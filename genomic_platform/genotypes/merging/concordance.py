"""Lines genotyped in several batches: how far their calls agree, and which call is kept.

What is compared comes aligned marker by marker and block by block; finding markers belongs in `harmonise.py`, writing
the panel in `batches.py`. Axes: S batches, K repeated lines, m markers of a block; a dosage is −1 where missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import polars as pl

from genomic_platform.errors import Problem
from genomic_platform.genotypes import packing

Conflict = Literal["best", "missing"]

#: Fewer markers called in both batches say nothing about a line.
COMPARED_MARKERS = 20
#: The coding of a batch is inverted when at least so many markers, and this share of those that could show it, have
#: opposite allele frequencies among at least so many of the same lines.
INVERTED_MARKERS, INVERTED_SHARE, INVERTED_LINES = 20, 0.1, 3
#: A marker is inverted, too, when so many of the same lines are opposite homozygotes, nine times those that agree:
#: bounds chosen so that two exchanged samples cannot reach them, not calibrated on error rates.
OPPOSITE_LINES = 6

LINE_REPORT_SCHEMA = {"line_id": pl.String, "batch_1": pl.String, "batch_2": pl.String, "markers": pl.Int64,
                      "concordance": pl.Float64, "opposite_homozygotes": pl.Int64, "preferred_batch": pl.String,
                      "status": pl.String}


def repeated_columns(lines: Sequence[Sequence[str]]) -> tuple[list[str], np.ndarray]:
    """Lines in more than one of S batches, in order of appearance, and their column in each (S, K), −1 where absent."""
    columns = [{line: i for i, line in enumerate(batch)} for batch in lines]
    batches_of: dict[str, int] = {}
    for batch in columns:
        for line in batch:
            batches_of[line] = batches_of.get(line, 0) + 1
    repeated = [line for line, n in batches_of.items() if n > 1]
    found = [[batch.get(line, -1) for line in repeated] for batch in columns]
    return repeated, np.array(found, dtype=np.int64).reshape(len(columns), len(repeated))


@dataclass
class Comparison:
    """Counts over markers, of each line in each batch and in each pair of batches (the first index the earlier batch).

    `informative_SS` counts markers whose frequency among the lines of both batches is clear, `inverted` lists those of
    them where it is the opposite one; exchanged samples cannot make such markers, since they only permute calls.
    """

    called_SK: np.ndarray
    common_SSK: np.ndarray
    equal_SSK: np.ndarray
    opposite_SSK: np.ndarray
    informative_SS: np.ndarray
    inverted: dict[tuple[int, int], list[int]] = field(default_factory=dict)

    @classmethod
    def zero(cls, n_batches: int, n_lines: int) -> Comparison:
        pairs, lines = (n_batches, n_batches), (n_batches, n_batches, n_lines)
        called, common, equal, opposite, informative = (
            np.zeros(shape, dtype=np.int64) for shape in ((n_batches, n_lines), *[lines] * 3, pairs))
        return cls(called, common, equal, opposite, informative)

    def add(self, other: Comparison) -> None:
        for name in ("called_SK", "common_SSK", "equal_SSK", "opposite_SSK", "informative_SS"):
            getattr(self, name).__iadd__(getattr(other, name))
        for pair, markers in other.inverted.items():
            self.inverted.setdefault(pair, []).extend(markers)


def compared(calls_SmK: np.ndarray, in_batch_SK: np.ndarray, first_marker: int = 0) -> Comparison:
    """Counts of one block: int8 dosages of K repeated lines in S batches, and which batch has which line."""
    n_batches, _, n_lines = calls_SmK.shape
    counts = Comparison.zero(n_batches, n_lines)
    counts.called_SK += (calls_SmK >= 0).sum(axis=1)
    for s in range(n_batches):
        for t in range(s + 1, n_batches):
            both_K = np.flatnonzero(in_batch_SK[s] & in_batch_SK[t])
            if not len(both_K):
                continue
            left_mK, right_mK = calls_SmK[s][:, both_K], calls_SmK[t][:, both_K]
            common_mK = (left_mK >= 0) & (right_mK >= 0)
            difference_mK = np.abs(left_mK - right_mK)
            counts.common_SSK[s, t, both_K] = common_mK.sum(axis=0)
            counts.equal_SSK[s, t, both_K] = (common_mK & (difference_mK == 0)).sum(axis=0)
            counts.opposite_SSK[s, t, both_K] = (common_mK & (difference_mK == 2)).sum(axis=0)
            n_m = common_mK.sum(axis=1)
            left_m, right_m = (np.where(common_mK, c_mK, 0).sum(axis=1) for c_mK in (left_mK, right_mK))
            informative_m = (n_m >= INVERTED_LINES) & (2 * np.abs(left_m - n_m) >= n_m)  # frequency ≤ 1/4 or ≥ 3/4
            inverted_m = informative_m & (np.abs(left_m - right_m) >= n_m)  # frequencies half a unit apart or more
            opposite_m = (common_mK & (difference_mK == 2)).sum(axis=1)
            same_m = (common_mK & (difference_mK == 0) & (left_mK != 1)).sum(axis=1)  # homozygous alike
            inverted_m |= (opposite_m >= OPPOSITE_LINES) & (opposite_m >= 9 * same_m)
            counts.informative_SS[s, t] = informative_m.sum()
            counts.inverted[s, t] = (first_marker + np.flatnonzero(inverted_m)).tolist()
    return counts


def preference(called_SK: np.ndarray, markers_S: np.ndarray) -> np.ndarray:
    """Batches from the most to the least trusted for each line, (S, K): by its call rate there, then in order."""
    rate_SK = called_SK / np.maximum(markers_S, 1)[:, None]
    return np.argsort(-rate_SK, axis=0, kind="stable")


def best_calls(calls_SmK: np.ndarray, preference_SK: np.ndarray, conflict: Conflict) -> np.ndarray:
    """One call for each line and marker, int8 (m, K): any call before none, of several the preferred batch's.

    With `missing`, calls that differ between batches are missing instead.
    """
    best_mK = np.full(calls_SmK.shape[1:], packing.MISSING, dtype=np.int8)
    for batch_K in preference_SK[::-1]:
        layer_mK = np.take_along_axis(calls_SmK, batch_K[None, None, :], axis=0)[0]
        best_mK = np.where(layer_mK >= 0, layer_mK, best_mK)
    if conflict == "missing":
        lowest_mK = np.where(calls_SmK < 0, np.int8(2), calls_SmK).min(axis=0)
        best_mK[lowest_mK < calls_SmK.max(axis=0)] = packing.MISSING
    return best_mK


def line_report(counts: Comparison, lines: Sequence[str], batches: Sequence[str], preference_SK: np.ndarray, *,
                flag_below: float, stop_below: float, conflict: Conflict) -> pl.DataFrame:
    """One row per repeated line and pair of batches (LINE_REPORT_SCHEMA), in order of lines.

    `status`: concordant | low (below `flag_below`: perhaps exchanged or mixed samples) | discordant (below
    `stop_below`) | too_few_markers.
    """
    rows = []
    rank_SK = np.argsort(preference_SK, axis=0)
    for s, t, k in np.argwhere(counts.common_SSK >= 0).tolist():
        if s >= t or not (counts.called_SK[s, k] and counts.called_SK[t, k]):
            continue
        common = int(counts.common_SSK[s, t, k])
        agreement = counts.equal_SSK[s, t, k] / common if common else None
        status = ("too_few_markers" if agreement is None or common < COMPARED_MARKERS
                  else "discordant" if agreement < stop_below else "low" if agreement < flag_below else "concordant")
        preferred = None if conflict == "missing" else batches[s if rank_SK[s, k] < rank_SK[t, k] else t]
        rows.append((lines[k], batches[s], batches[t], common, agreement, int(counts.opposite_SSK[s, t, k]), preferred,
                     status))
    return pl.DataFrame(rows, schema=LINE_REPORT_SCHEMA, orient="row").sort("line_id", maintain_order=True)


def discordant_lines(report: pl.DataFrame, stop_below: float) -> list[Problem]:
    """A problem for every line whose calls in two batches cannot be of one line."""
    return [Problem(row["batch_2"], f"calls that agree with {row['batch_1']} at {stop_below:.0%} of markers or more",
                    f"{row['concordance']:.0%} agreement at {row['markers']:,} markers called in both "
                    f"({row['opposite_homozygotes']:,} opposite homozygotes)",
                    "find out which sample is the line; rename the other, or take it out of its file",
                    field=row["line_id"])
            for row in report.filter(pl.col("status") == "discordant").iter_rows(named=True)]


def inverted_batches(counts: Comparison, batches: Sequence[str], markers: Sequence[str]) -> list[Problem]:
    """A problem for every batch that codes many markers of the same lines the other way round than an earlier one."""
    problems = []
    for (s, t), inverted in sorted(counts.inverted.items()):
        informative = int(counts.informative_SS[s, t])
        if len(inverted) >= INVERTED_MARKERS and len(inverted) > INVERTED_SHARE * informative:
            problems.append(Problem(
                batches[t], f"the alleles of {batches[s]} in the lines that both batches have",
                f"{len(inverted):,} of {informative:,} markers with opposite alleles there, such as "
                f"{', '.join(markers[i] for i in inverted[:3])}",
                "one of the two counts the other allele at these markers: export it again with the counted allele as "
                "ALT (PLINK: A1), or exchange REF and ALT of these markers in its file"))
    return problems
