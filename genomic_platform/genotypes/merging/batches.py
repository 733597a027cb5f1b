"""One panel from genotype batches of several platforms and seasons, and tables of what became of each of them.

Batches are taken in an order of their own (`_ordered`), so that the order they are given in changes nothing: the
first one gives a marker its id, alleles and strand. Which markers are the same belongs in `harmonise.py`, agreement of
repeated lines in `concordance.py`. Axes: S batches, M markers of the panel (m in a block), N lines, K repeated lines,
B bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from genomic_platform.errors import InputError, Problem
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.merging import batch_reports, concordance, harmonise
from genomic_platform.genotypes.merging.concordance import Comparison, Conflict
from genomic_platform.genotypes.merging.harmonise import Palindromic
from genomic_platform.genotypes.panel import repeated_lines
from genomic_platform.genotypes.parallel import in_order
from genomic_platform.genotypes.table import GenotypeTable, table_order

_BLOCK_CELLS = 16_000_000


@dataclass(frozen=True, eq=False)
class MergedPanel:
    """A panel of several batches.

    Attributes
    ----------
    table : markers of any batch, lines of any batch; missing where a batch lacks the marker.
    batch_report : batch, measure, value; the same measures for every batch.
    variant_report : one row per variant of a batch that was dropped, recoded, renamed or moved, with the reason.
    line_report : one row per repeated line and pair of batches, with the concordance of its calls.
    """

    table: GenotypeTable
    batch_report: pl.DataFrame
    variant_report: pl.DataFrame
    line_report: pl.DataFrame


@dataclass(frozen=True, eq=False)
class _Aligned:
    """A batch seen from the panel: its row for each marker (−1: none), and whether its calls count the panel's REF."""

    table: GenotypeTable
    row_M: np.ndarray
    swapped_M: np.ndarray

    def packed(self, start: int, stop: int) -> np.ndarray:
        """uint8 (m, B of the batch): its calls at the panel's markers from `start` to `stop`, counting their ALT."""
        row_m, swapped_m = self.row_M[start:stop], self.swapped_M[start:stop]
        packed_mB = self.table.packed_MB[row_m]
        packed_mB[swapped_m] = packing.swapped_alleles(packed_mB[swapped_m], self.table.n_lines)
        packed_mB[row_m < 0] = 0b01_01_01_01  # four missing calls
        return packed_mB


def merge_batches(batches: Mapping[str, GenotypeTable], *, synonyms: Mapping[str, str] | None = None,
                  palindromic: Palindromic = "frequency", conflict: Conflict = "best", flag_concordance: float = 0.9,
                  stop_concordance: float = 0.7) -> MergedPanel:
    """One panel from batches; any order of them gives the same one.

    Markers are those of any batch, lines too. A line in several batches has, at each marker, the call that is there;
    where batches call it differently, that of the batch with the line's higher call rate (equal: the batch with more
    lines, then by name). Repeated lines turn a marker round where they show the opposite of what frequencies say; where
    they show that two batches count opposite alleles of a few markers whose letters are plain, only the earlier
    batch's calls of them are kept.

    Parameters
    ----------
    batches : name → genotypes as read; lines that a season does not know yet are left out before.
    synonyms : other name of a line → line_id, applied first.
    palindromic : A/T and C/G markers of two batches are matched by allele `frequency`, or left with the first (`drop`).
    conflict : `best`, as above, or `missing` where batches call a line differently.
    flag_concordance, stop_concordance : 0–1; a repeated line that agrees less is reported as low, or stops the merge.

    Raises
    ------
    InputError
        Two samples of a batch are one line; a batch shares no marker with another; its coding is inverted for many
        markers; repeated lines disagree below `stop_concordance`.
    ValueError
        No batch, or a batch without variants or with repeated ids.
    """
    ordered = _ordered(batches, synonyms or {})
    panel, matches = _matched(ordered, palindromic)
    if len(ordered) > 1:
        _refuse(batch_reports.unconnected(matches) or batch_reports.inverted(matches))
    panel, aligned = _aligned(panel, ordered, matches)
    names = list(ordered)
    lines = list(dict.fromkeys(line for table in ordered.values() for line in table.lines))
    repeated, column_SK = concordance.repeated_columns([table.lines for table in ordered.values()])
    counts = _compared(aligned, column_SK)
    if _turn_undecided(aligned, matches, names, counts, panel["marker"]):
        counts = _compared(aligned, column_SK)
    preference_SK = concordance.preference(counts.called_SK, np.array([(b.row_M >= 0).sum() for b in aligned]))
    line_report = concordance.line_report(counts, repeated, names, preference_SK, flag_below=flag_concordance,
                                          stop_below=stop_concordance, conflict=conflict)
    _refuse(concordance.inverted_batches(counts, names, panel["variant_id"].to_list())
            or concordance.discordant_lines(line_report, stop_concordance))
    for (earlier, later), inverted in sorted(counts.inverted.items()):
        contrary = [marker for marker in inverted if aligned[earlier].row_M[marker] >= 0]  # else it was dropped there
        aligned[later].row_M[contrary] = -1
        matches[names[later]] = _dropped(matches[names[later]], panel["marker"][contrary], "repeated_lines_differ")
    packed_MB = _packed(aligned, lines, repeated, column_SK, preference_SK, conflict)
    return MergedPanel(GenotypeTable.from_packed(panel, lines, packed_MB),
                       batch_reports.batch_report(ordered, matches, set(repeated)),
                       batch_reports.variant_report(matches, panel), line_report)


def _refuse(problems: Sequence[Problem]) -> None:
    if problems:
        raise InputError(problems)


def _ordered(batches: Mapping[str, GenotypeTable], synonyms: Mapping[str, str]) -> dict[str, GenotypeTable]:
    """Batches with lines under their stable names; real alleles before placeholders, then most lines, then by name."""
    if not batches:
        raise ValueError("expected at least one batch, found none")
    _refuse([p for name in sorted(batches) for p in repeated_lines(batches[name].lines, synonyms, name)])
    for name, table in batches.items():
        if table.n_variants == 0 or table.variants["variant_id"].n_unique() < table.n_variants:
            raise ValueError(f"batch {name}: expected variants, each with an id of its own; found {table.n_variants} "
                             f"with {table.variants['variant_id'].n_unique()} ids")
    order = sorted(batches, key=lambda name: (harmonise.placeholders(batches[name]) is not None,
                                              -batches[name].n_lines, name))
    return {name: replace(batches[name], lines=tuple(synonyms.get(line, line) for line in batches[name].lines))
            for name in order}


def _matched(ordered: Mapping[str, GenotypeTable],
             palindromic: Palindromic) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
    """The panel's markers (PANEL_SCHEMA), and each batch's variants with their markers (`harmonise.match`)."""
    panel = pl.DataFrame(schema=harmonise.PANEL_SCHEMA)
    names = pl.DataFrame(schema=harmonise.NAMES_SCHEMA)
    matches = {}
    pairs = {harmonise.placeholders(table) for table in ordered.values()}
    letters_alike = len(pairs) == 1 and None not in pairs
    for name, table in ordered.items():
        matches[name] = harmonise.match(harmonise.described(table, letters_alike), panel, names, palindromic)
        panel, names = harmonise.extended(panel, names, matches[name])
    return panel, matches


def _aligned(panel: pl.DataFrame, ordered: Mapping[str, GenotypeTable],
             matches: Mapping[str, pl.DataFrame]) -> tuple[pl.DataFrame, list[_Aligned]]:
    """The panel's markers in table order, chromosomes named as the first batch does, and batches aligned to them."""
    named = pl.when(pl.col("chromosome_key").is_not_null()).then(
        pl.col("chromosome").first().over("chromosome_key")).otherwise("chromosome")
    panel = panel.with_row_index("marker").with_columns(named.alias("chromosome"))
    order_M = table_order(panel)
    place_M = np.empty(panel.height, dtype=np.int64)
    place_M[order_M] = np.arange(panel.height)
    aligned = []
    for name, table in ordered.items():
        kept = matches[name].with_row_index("row").filter(pl.col("dropped").is_null())
        row_M, swapped_M = np.full(panel.height, -1, dtype=np.int64), np.zeros(panel.height, dtype=bool)
        at = place_M[kept["marker"].to_numpy()]
        row_M[at], swapped_M[at] = kept["row"].to_numpy(), kept["swapped"].to_numpy()
        aligned.append(_Aligned(table, row_M, swapped_M))
    return panel[order_M], aligned


def _turn_undecided(aligned: Sequence[_Aligned], matches: dict[str, pl.DataFrame], names: Sequence[str],
                    counts: Comparison, markers: pl.Series) -> bool:
    """Turn round markers whose letters did not say their direction and whose repeated lines say the opposite one."""
    turned = False
    for (_, later), inverted in sorted(counts.inverted.items()):
        matched = matches[names[later]]
        undecided = set(matched.filter(pl.col("dropped").is_null() & pl.col("undecidable").is_not_null())["marker"])
        wrong = [marker for marker in inverted if markers[marker] in undecided]
        if wrong:
            aligned[later].swapped_M[wrong] ^= True
            at = pl.col("dropped").is_null() & pl.col("marker").is_in(markers[wrong].to_list())
            matches[names[later]] = matched.with_columns(pl.col("swapped") ^ at)
            turned = True
    return turned


def _dropped(matched: pl.DataFrame, markers: pl.Series, reason: str) -> pl.DataFrame:
    at = pl.col("dropped").is_null() & pl.col("marker").is_in(markers.to_list())
    return matched.with_columns(pl.when(at).then(pl.lit(reason)).otherwise("dropped").alias("dropped"))


def _blocks(aligned: Sequence[_Aligned]) -> Iterator[tuple[int, int]]:
    n_markers = len(aligned[0].row_M)
    size = max(64, min(4096, _BLOCK_CELLS // sum(batch.table.n_lines for batch in aligned)))
    return ((start, min(start + size, n_markers)) for start in range(0, n_markers, size))


def _repeated_calls(packed: Sequence[np.ndarray], column_SK: np.ndarray) -> np.ndarray:
    """int8 dosages (S, m, K) of the repeated lines, missing in batches without the line."""
    n_lines = column_SK.shape[1]
    calls_SmK = np.stack([packing.unpack(packing.take_lines(packed_mB, np.maximum(column_K, 0)), n_lines)
                          for packed_mB, column_K in zip(packed, column_SK, strict=True)])
    return np.where(column_SK[:, None, :] >= 0, calls_SmK, np.int8(packing.MISSING))


def _compared(aligned: Sequence[_Aligned], column_SK: np.ndarray) -> Comparison:
    def block_counts(block: tuple[int, int]) -> Comparison:
        calls_SmK = _repeated_calls([batch.packed(*block) for batch in aligned], column_SK)
        return concordance.compared(calls_SmK, column_SK >= 0, block[0])

    total = Comparison.zero(*column_SK.shape)
    for counts in in_order(block_counts, _blocks(aligned) if column_SK.size else ()):
        total.add(counts)
    return total


def _packed(aligned: Sequence[_Aligned], lines: Sequence[str], repeated: Sequence[str], column_SK: np.ndarray,
            preference_SK: np.ndarray, conflict: Conflict) -> np.ndarray:
    """uint8 (M, B): the calls of every line, repeated lines with their best ones.

    Batches stand side by side, each from a byte of its own, then the repeated lines; the lines are taken from there.
    """
    starts = 4 * np.cumsum([0, *(packing.n_bytes(batch.table.n_lines) for batch in aligned)])
    column_of = {line: start + i for batch, start in zip(aligned, starts, strict=False)
                 for i, line in enumerate(batch.table.lines)}
    column_of.update({line: starts[-1] + k for k, line in enumerate(repeated)})
    column_N = np.array([column_of[line] for line in lines])

    panel_MB = np.empty((len(aligned[0].row_M), packing.n_bytes(len(lines))), dtype=np.uint8)

    def write_block(block: tuple[int, int]) -> None:
        packed = [batch.packed(*block) for batch in aligned]
        if repeated:
            calls_SmK = _repeated_calls(packed, column_SK)
            packed.append(packing.pack(concordance.best_calls(calls_SmK, preference_SK, conflict)))
        panel_MB[slice(*block)] = packing.take_lines(np.concatenate(packed, axis=1), column_N)

    for _ in in_order(write_block, _blocks(aligned)):
        pass
    return panel_MB
