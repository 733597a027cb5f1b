"""Samples against the pedigree: wrong parents, swapped and contaminated samples, each with what would agree instead.

Verdicts belong here; the rules are `mendel.py`'s, the search for better parents and samples `parentage_search.py`'s.
Axes: N lines of the table, T lines with genotyped parents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from genomic_platform.errors import Notice, counted
from genomic_platform.genotypes.parallel import in_order
from genomic_platform.genotypes.quality.line_bits import LineBits, count_bits, line_bits
from genomic_platform.genotypes.quality.mendel import Trios, count_errors, rates, trios_of
from genomic_platform.genotypes.quality.parentage_search import Found, search
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.schemas.pedigree import PARENTAGE


@dataclass(frozen=True)
class Limits:
    """What a sound sample keeps to.

    Attributes
    ----------
    max_error_rate : excluded genotypes among those that could be, 0–1. Three calls enter each, and a parent's error
        makes a marker testable that should not be: 1 % genotyping error gives about .03 in a cross, .02 in inbred
        lines; an unrelated parent gives .1 and more.
    max_excess_heterozygosity : above what parents and inbreeding lead to, 0–1, and beyond three standard deviations
        of what chance leaves heterozygous in a line of the generation: h = 1 − f of `segments` segments. Another
        line's DNA in a sample adds up to the share of markers at which the two differ, .2 to .4.
    segments : of the genome that are inherited nearly independently; some twice the chromosomes.
    min_markers : testable markers that a verdict needs.
    """

    max_error_rate: float = 0.05
    max_excess_heterozygosity: float = 0.1
    segments: int = 20
    min_markers: int = 50


def check_parentage(table: GenotypeTable, pedigree: pl.DataFrame, limits: Limits | None = None,
                    threads: int | None = None) -> pl.DataFrame:
    """Every genotyped line of the pedigree: its errors, a verdict, a suggestion, the reason (contract PARENTAGE).

    - `consistent`: no more excluded genotypes than genotyping errors make.
    - `not_tested`: no genotyped parent, one parent of a selfed line (which excludes nothing), or too few markers.
    - `wrong_parent`, `wrong_parents`: another line of the panel in place of one parent, or of both, agrees.
    - `swapped`: with the samples of two lines exchanged all trios of both agree; `parent_swapped`: so does this line's,
      whose parent is one of the two.
    - `contaminated`: more heterozygous than parents and inbreeding allow; the line whose alleles explain it is named.
    - `unexplained`: excluded genotypes, and nothing in the panel that agrees.

    Parameters
    ----------
    table : N lines.
    pedigree : contract PEDIGREE. A line's declared inbreeding says which genotypes its parents exclude (`mendel.py`)
        and how heterozygous it may be: (1 − f) times what a cross of its parents would be, or, without both parents'
        genotypes, (1 − f) · mean 2pq.
    limits : None = the defaults of `Limits`.
    """
    limits = limits or Limits()
    trios = trios_of(table, pedigree)
    tested_T, errors_T = count_errors(table, trios, threads)
    rate_T = rates(errors_T, tested_T)
    judged_T = tested_T >= limits.min_markers
    faulty_T = judged_T & (rate_T > limits.max_error_rate)
    observed_N, crossed_N, kept_N = _heterozygosity(table, pedigree, trios, faulty_T, threads)
    expected_N = kept_N * crossed_N
    chance_N = 3 * crossed_N * np.sqrt(kept_N * (1 - kept_N) / limits.segments)
    excess_N = observed_N > expected_N + chance_N + limits.max_excess_heterozygosity
    found = search(table, pedigree, trios, judged_T, faulty_T, np.flatnonzero(excess_N),
                   limits.max_error_rate, limits.min_markers, threads)
    trio_of = dict(zip(trios.line_T.tolist(), range(len(trios)), strict=True))
    row_of = {line: row for row, line in enumerate(table.lines)}
    rows = []
    for line, one, other in pedigree.select("line_id", "parent_1", "parent_2").iter_rows():
        row = row_of.get(line)
        if row is None:
            continue
        t = trio_of.get(row)
        counts = (int(tested_T[t]), int(errors_T[t])) if t is not None else (0, 0)
        faulty = t is not None and bool(faulty_T[t])
        heterozygosity = (float(observed_N[row]), float(expected_N[row]))
        verdict = (_faulty(table, row, t, trios, found, bool(excess_N[row]), heterozygosity) if faulty and t is not None
                   else _sound(table, row, t, found, bool(excess_N[row]), heterozygosity, counts, limits))
        rate = counts[1] / counts[0] if counts[0] else None
        rows.append((line, one, other, *counts, rate, *heterozygosity, *verdict))
    report = pl.DataFrame(rows, PARENTAGE.schema, orient="row")
    excluded = pl.format(" ({} of {} calls excluded by its parents)", "errors", "n_markers")
    return PARENTAGE.conform(report.with_columns(
        pl.col("heterozygosity", "expected_heterozygosity").fill_nan(None),
        pl.col("reason") + pl.when(pl.col("n_markers") > 0).then(excluded).otherwise(pl.lit(""))))


Verdict = tuple[str, str | None, str]  # verdict, suggestion, reason


def _faulty(table: GenotypeTable, row: int, t: int, trios: Trios, found: Found, excess: bool,
            heterozygosity: tuple[float, float]) -> Verdict:
    if row in found.swaps:
        return _swapped(table, row, found)
    for parent in trios.parents_T2[t].tolist():
        if parent in found.swaps:
            return ("parent_swapped", _exchange(table, parent, found),
                    f"agrees once the samples of {_exchange(table, parent, found)} are exchanged")
    if (parents := found.parents.get(t)) is not None:
        declared = trios.parents_T2[t].tolist()
        changed = [slot for slot in (0, 1) if parents[slot] != declared[slot]]
        names = [table.lines[parent] for parent in parents]
        if len(changed) == 1:
            return ("wrong_parent", f"parent_{changed[0] + 1} = {names[changed[0]]}",
                    f"{names[changed[0]]} agrees as parent_{changed[0] + 1}")
        names = sorted(names)
        return "wrong_parents", f"parents = {', '.join(names)}", f"{' and '.join(names)} agree as parents"
    if excess:
        return _contaminated(table, row, found, heterozygosity)
    return "unexplained", None, "no line of the panel agrees as its parent, nor any exchange of samples"


def _sound(table: GenotypeTable, row: int, t: int | None, found: Found, excess: bool,
           heterozygosity: tuple[float, float], counts: tuple[int, int], limits: Limits) -> Verdict:
    if row in found.swaps:
        return _swapped(table, row, found)
    if excess:
        return _contaminated(table, row, found, heterozygosity)
    if t is None:
        return "not_tested", None, "no parent with genotypes"
    if counts[0] < limits.min_markers:
        return "not_tested", None, (f"its parents exclude something at {counts[0]} called markers, fewer than "
                                    f"{limits.min_markers}")
    return "consistent", None, "agrees with its parents"


def _exchange(table: GenotypeTable, row: int, found: Found) -> str:
    return " and ".join(sorted((table.lines[row], table.lines[found.swaps[row]])))


def _swapped(table: GenotypeTable, row: int, found: Found) -> Verdict:
    other = table.lines[found.swaps[row]]
    return "swapped", f"swap with {other}", f"all trios of both agree once its sample and {other}'s are exchanged"


def _contaminated(table: GenotypeTable, row: int, found: Found, heterozygosity: tuple[float, float]) -> Verdict:
    reason = f"{heterozygosity[0]:.1%} of its calls are heterozygous, {heterozygosity[1]:.1%} expected"
    other = found.contaminants.get(row)
    return "contaminated", None if other is None else f"mixed with {table.lines[other]}", reason


def _heterozygosity(table: GenotypeTable, pedigree: pl.DataFrame, trios: Trios, faulty_T: np.ndarray,
                    threads: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of heterozygous calls; of a cross of the parents; share 1 − f of that left by selfing; float64 (N,) each.

    NaN without calls, or where inbreeding is not declared. Without both parents' genotypes a cross is 2pq of the
    panel. Parents that a line's own calls exclude say nothing about it: the larger of both holds then.
    """
    def count(bits: LineBits) -> tuple[np.ndarray, np.ndarray]:
        one, other = bits.take(trios.parents_T2[:, 0]), bits.take(trios.parents_T2[:, 1])
        both = one.called_WN & other.called_WN
        opposite = one.ref_WN & other.alt_WN | one.alt_WN & other.ref_WN
        segregating_T = count_bits(opposite) + count_bits(both & (one.het_WN | other.het_WN)) / 2
        return (np.array([count_bits(bits.het_WN), count_bits(bits.called_WN)]),
                np.array([segregating_T, count_bits(both)]))

    own_2N, cross_2T = np.zeros((2, table.n_lines)), np.zeros((2, len(trios)))
    for own, cross in in_order(count, line_bits(table), threads):
        own_2N += own
        cross_2T += cross
    declared = dict(pedigree.select("line_id", "inbreeding").iter_rows())
    inbreeding_N = np.array([np.nan if declared.get(line) is None else declared[line] for line in table.lines])
    p_M = table.allele_frequencies()
    panel = float(np.nanmean(2 * p_M * (1 - p_M))) if np.isfinite(p_M).any() else 0.0
    base_N = np.full(table.n_lines, panel)
    of_parents_T = rates(cross_2T[0], cross_2T[1])
    of_parents_T = np.where(np.isnan(of_parents_T), panel, of_parents_T)
    base_N[trios.line_T] = np.where(faulty_T, np.maximum(of_parents_T, panel), of_parents_T)
    return rates(own_2N[0], own_2N[1]), base_N, 1 - inbreeding_N


def parentage_notices(found: pl.DataFrame) -> list[Notice]:
    """What a person should look at: lines whose genotypes and declared parents do not agree (contract PARENTAGE)."""
    faults = found.filter(~pl.col("verdict").is_in(["consistent", "not_tested"]))
    if faults.is_empty():
        return []
    return [Notice("parentage", f"{counted(faults.height, 'line')} whose genotypes do not agree with the declared "
                   "parents; see the asset `parentage`", faults.height, tuple(faults["line_id"].head(3)))]
