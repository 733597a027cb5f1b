"""The search behind a parentage verdict: which lines would agree as parents, which exchange of samples explains errors.

Hypotheses are screened by counts against every line of the panel, then judged as trios by the rules of `mendel.py`.
Axes: N lines of the table, T trios, K trios or lines searched for, W words of 64 markers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

import numpy as np
import polars as pl

from genomic_platform.genotypes.parallel import in_order
from genomic_platform.genotypes.quality.line_bits import LineBits, line_bits
from genomic_platform.genotypes.quality.mendel import Trios, count_errors, excluded, rates
from genomic_platform.genotypes.table import GenotypeTable

_AT_ONCE = 256  # trios screened in one pass: 8 counts of 4 bytes for each of them and each line of the panel
_PIECE = 8  # of these, taken by one thread at a time
_CLOSEST = 12  # lines of which all pairs are tried as parents
_DUPLICATE = 0.02  # opposing homozygotes: a line nearer than this to a selfed one agrees with it in any place
_AS_GOOD = 0.01  # error rates nearer than this differ by chance

Pair = tuple[int, int]
Planes = tuple[np.ndarray, np.ndarray, np.ndarray]  # REF, heterozygous, ALT; uint64 (W, K) or (W, N)


@dataclass(frozen=True)
class Found:
    """What agrees.

    Attributes
    ----------
    parents : trio → rows of two parents, at least one of them not the declared one.
    swaps : row → row of the line whose sample it was exchanged with, both ways.
    contaminants : row → row of the line it is mixed with.
    """

    parents: dict[int, Pair] = field(default_factory=dict)
    swaps: dict[int, int] = field(default_factory=dict)
    contaminants: dict[int, int] = field(default_factory=dict)


class _Screen(NamedTuple):
    """Rates of excluded genotypes of every line, float64 (K, N), NaN where too few markers tell.

    `sample_KN`: its sample in the trio's place. `parent_K3N`: as first parent beside the second, as second parent
    beside the first, as a parent whatever the other is.
    """

    sample_KN: np.ndarray
    parent_K3N: np.ndarray


def search(table: GenotypeTable, pedigree: pl.DataFrame, trios: Trios, judged_T: np.ndarray, faulty_T: np.ndarray,
           mixed_K: np.ndarray, max_error_rate: float, min_markers: int, threads: int | None = None) -> Found:
    """Explain faulty trios and lines that look mixed.

    Parameters
    ----------
    judged_T, faulty_T : bool (T,): enough markers for a verdict; too many errors.
    mixed_K : rows of lines with excess heterozygosity.
    """
    faulty = np.flatnonzero(faulty_T)
    found = Found()
    if not len(faulty) and not len(mixed_K):
        return found
    descendants, breeding = _kin(table, pedigree)
    suspect_N = np.ones(table.n_lines, dtype=bool)  # in no trio that agrees
    sound_T = judged_T & ~faulty_T
    suspect_N[trios.line_T[sound_T]] = False
    suspect_N[trios.parents_T2[sound_T][trios.parents_T2[sound_T] >= 0]] = False
    options: list[tuple[int, Pair]] = []
    pairs: set[Pair] = set()
    for chunk in _chunks(faulty):
        screen = _screen(table, _some(trios, chunk), min_markers, threads)
        for k, t in enumerate(chunk.tolist()):
            line, declared = int(trios.line_T[t]), tuple(trios.parents_T2[t].tolist())
            barred = [line, *descendants(line)]
            best, likely = _candidates(screen.parent_K3N[k], barred, bool(trios.selfed_T[t]), breeding)
            options += [(t, parents) for parents in _parents(best, likely, declared)]
            fits = np.flatnonzero((screen.sample_KN[k] <= max_error_rate) & suspect_N)
            proposed = [(line, int(j)) for j in fits if j != line and j not in declared]
            proposed += [(p, x) for p, x in zip(declared, best, strict=True) if p >= 0 and x >= 0 and p != x]
            pairs |= {(min(pair), max(pair)) for pair in proposed if suspect_N[list(pair)].all()}
    found.swaps.update(_swaps(table, trios, faulty_T, sorted(pairs), max_error_rate, min_markers, threads))
    found.parents.update(_agreeing(table, trios, options, breeding, max_error_rate, min_markers, threads))
    for chunk in _chunks(mixed_K):
        found.contaminants.update(_contaminants(table, trios, chunk, max_error_rate, min_markers, threads))
    return found


def _screen(table: GenotypeTable, trios: Trios, min_markers: int, threads: int | None) -> _Screen:
    k, n = len(trios), table.n_lines
    sample_2KN, parent_2KN = np.zeros((2, k, n), dtype=np.int32), np.zeros((2, 3 * k, n), dtype=np.int32)
    for bits in line_bits(table):
        line, one, other = (bits.take(rows) for rows in (trios.line_T, *trios.parents_T2.T))
        _add(excluded(one, other, trios.selfed_T), (bits.ref_WN, bits.het_WN, bits.alt_WN), sample_2KN, threads)
        nowhere_WN = np.zeros_like(bits.het_WN)  # as a parent a heterozygote excludes nothing, and tells nothing
        masks = [_of_parent(line, kept, trios.selfed_T) for kept in (other, one)]
        masks.append((line.alt_WN, np.zeros_like(line.alt_WN), line.ref_WN))
        not_ref, not_het, not_alt = (np.concatenate(mask, axis=1) for mask in zip(*masks, strict=True))
        _add((not_ref, not_het, not_alt), (bits.ref_WN, nowhere_WN, bits.alt_WN), parent_2KN, threads)
    sample_KN, parent_KN = (_told(counts[0], counts[1], min_markers) for counts in (sample_2KN, parent_2KN))
    return _Screen(sample_KN, parent_KN.reshape(3, k, n).transpose(1, 0, 2))


def _contaminants(table: GenotypeTable, trios: Trios, mixed_K: np.ndarray, max_error_rate: float, min_markers: int,
                  threads: int | None) -> dict[int, int]:
    """The line whose alleles explain each mixed sample: no homozygote opposite to one of its, the allele that makes it
    heterozygous where both parents have the other (which neither its parents nor its sibs have)."""
    parents_of = dict(zip(trios.line_T.tolist(), trios.parents_T2.tolist(), strict=True))
    parents_K2 = np.array([parents_of.get(row, (-1, -1)) for row in mixed_K.tolist()], dtype=np.int64)
    counts_2KN = np.zeros((2, len(mixed_K), table.n_lines), dtype=np.int32)
    for bits in line_bits(table):
        mixed, one, other = (bits.take(rows) for rows in (mixed_K, *parents_K2.T))
        nowhere_WK, nowhere_WN = np.zeros_like(mixed.het_WN), np.zeros_like(bits.het_WN)
        masks = (mixed.alt_WN | mixed.het_WN & one.ref_WN & other.ref_WN, nowhere_WK,
                 mixed.ref_WN | mixed.het_WN & one.alt_WN & other.alt_WN)
        _add(masks, (bits.ref_WN, nowhere_WN, bits.alt_WN), counts_2KN, threads)
    rate_KN = _told(counts_2KN[0], counts_2KN[1], min_markers)
    rate_KN[np.arange(len(mixed_K)), mixed_K] = np.nan
    found = {}
    for row, rate_N, tested_N in zip(mixed_K.tolist(), rate_KN, counts_2KN[0], strict=True):
        if (rate_N <= max_error_rate).any():  # of lines as good, the one that most markers tell of: not a hybrid of its
            as_good = np.flatnonzero(rate_N <= np.nanmin(rate_N) + _AS_GOOD)
            found[row] = int(as_good[np.argmax(tested_N[as_good])])
    return found


def _add(masks: Planes, planes: Planes, counts_2KN: np.ndarray, threads: int | None) -> None:
    """Add a block's testable and excluded genotypes of every line to the counts of each query."""
    from genomic_platform.genotypes.quality.line_bits_kernels import count_excluded

    tested_KN, errors_KN = counts_2KN

    def add(first: int) -> None:
        count_excluded(*masks, *planes, first, min(first + _PIECE, len(tested_KN)), tested_KN, errors_KN)

    for _ in in_order(add, range(0, len(tested_KN), _PIECE), threads):
        pass


def _told(tested_KN: np.ndarray, errors_KN: np.ndarray, min_markers: int) -> np.ndarray:
    """Rates of lines that at least half as many markers tell of as of the line with most."""
    enough_KN = tested_KN >= np.maximum(min_markers, tested_KN.max(axis=1, keepdims=True) / 2)
    return np.where(enough_KN, rates(errors_KN, tested_KN), np.nan)


def _of_parent(line: LineBits, kept: LineBits, selfed_T: np.ndarray) -> Planes:
    """Genotypes that a line and one parent exclude in the other parent; uint64 (W, K) each (see `mendel.excluded`)."""
    not_ref = kept.ref_WN & np.where(selfed_T, line.het_WN | line.alt_WN, line.het_WN)
    not_alt = kept.alt_WN & np.where(selfed_T, line.het_WN | line.ref_WN, line.het_WN)
    nothing = np.zeros_like(not_ref)
    return (not_ref | np.where(selfed_T, nothing, line.alt_WN), nothing,
            not_alt | np.where(selfed_T, nothing, line.ref_WN))


def _candidates(rate_3N: np.ndarray, barred: Sequence[int], selfed: bool,
                breeding: np.ndarray) -> tuple[Pair, list[int]]:
    """Best line in place of each parent (−1 = none), and lines likely to be a parent beside some other."""
    rate_3N = rate_3N.copy()
    rate_3N[:, barred] = np.nan
    if selfed:
        rate_3N[:, rate_3N[2] < _DUPLICATE] = np.nan
    best = [int(np.nanargmin(rate_N)) if np.isfinite(rate_N).any() else -1 for rate_N in rate_3N[:2]]
    near_N = np.where(np.isnan(rate_3N[2]), np.inf, rate_3N[2])
    closest = np.argsort(near_N, kind="stable")[:_CLOSEST]
    parents = breeding[np.argsort(near_N[breeding], kind="stable")[:_CLOSEST]]
    return (best[0], best[1]), [row for row in dict.fromkeys((*closest.tolist(), *parents.tolist()))
                                if np.isfinite(near_N[row])]


def _parents(best: Pair, likely: list[int], declared: Pair) -> Iterator[Pair]:
    """Pairs of parents worth judging: one changed, then both."""
    if best[0] >= 0 and declared[1] >= 0:
        yield best[0], declared[1]
    if best[1] >= 0 and declared[0] >= 0:
        yield declared[0], best[1]
    yield from combinations(likely, 2)


def _agreeing(table: GenotypeTable, trios: Trios, options: list[tuple[int, Pair]], breeding: np.ndarray,
              max_error_rate: float, min_markers: int, threads: int | None) -> dict[int, Pair]:
    """Parents for each trio that some option agrees with: one changed before two, then by errors.

    Of options as good as the best but for chance, the one of lines that are parents already: a line from P × Q agrees
    with their hybrid beside P as well as with Q.
    """
    rate_H = _judge(table, trios, [t for t, _ in options], [(int(trios.line_T[t]), *pair) for t, pair in options],
                    min_markers, threads)
    parents = set(breeding.tolist())
    agreeing: dict[int, list[tuple[int, float, Pair]]] = defaultdict(list)
    for (t, pair), rate in zip(options, rate_H.tolist(), strict=True):
        changed = sum(now != declared for now, declared in zip(pair, trios.parents_T2[t].tolist(), strict=True))
        if rate <= max_error_rate and changed:
            agreeing[t].append((changed, rate, pair))
    chosen = {}
    for t, of_trio in agreeing.items():
        fewest, least, _ = min(of_trio)
        chosen[t] = min((sum(row not in parents for row in pair), rate, pair) for changed, rate, pair in of_trio
                        if changed == fewest and rate <= least + _AS_GOOD)[2]
    return chosen


def _swaps(table: GenotypeTable, trios: Trios, faulty_T: np.ndarray, pairs: list[Pair], max_error_rate: float,
           min_markers: int, threads: int | None) -> dict[int, int]:
    """Exchanges of two samples after which every trio of either line agrees, fewest errors first, each line once."""
    trios_with: dict[int, list[int]] = defaultdict(list)
    for t in range(len(trios)):
        for row in {int(trios.line_T[t]), *trios.parents_T2[t].tolist()}:
            trios_with[row].append(t)
    involved = [(pair, t) for pair in pairs for t in sorted({*trios_with[pair[0]], *trios_with[pair[1]]})]
    exchanged = []
    for (i, j), t in involved:
        exchange = {i: j, j: i}
        exchanged.append([exchange.get(row, row) for row in (int(trios.line_T[t]), *trios.parents_T2[t].tolist())])
    rate_H = _judge(table, trios, [t for _, t in involved], exchanged, min_markers, threads)
    judged: dict[Pair, list[tuple[float, bool]]] = defaultdict(list)
    for (pair, t), rate in zip(involved, rate_H, strict=True):
        if np.isfinite(rate):
            judged[pair].append((rate, bool(faulty_T[t])))
    agreeing = sorted((max(rate for rate, _ in of_pair), pair) for pair, of_pair in judged.items()
                      if all(rate <= max_error_rate for rate, _ in of_pair) and any(was for _, was in of_pair))
    swaps: dict[int, int] = {}
    for _, (i, j) in agreeing:
        if i not in swaps and j not in swaps:
            swaps[i], swaps[j] = j, i
    return swaps


def _judge(table: GenotypeTable, trios: Trios, of: list[int], rows: Iterable[Sequence[int]], min_markers: int,
           threads: int | None) -> np.ndarray:
    """Error rates of supposed trios (line, parent, parent) under the rule of the trio each is of; NaN if untested."""
    rows_H3 = np.array(list(rows), dtype=np.int64).reshape(-1, 3)
    rate_H = np.full(len(rows_H3), np.nan)
    for chunk in _chunks(np.arange(len(rows_H3)), 16 * _AT_ONCE):
        supposed = Trios(rows_H3[chunk, 0], rows_H3[chunk, 1:], trios.selfed_T[np.array(of)[chunk]])
        tested, errors = count_errors(table, supposed, threads)
        rate_H[chunk] = np.where(tested >= min_markers, rates(errors, tested), np.nan)
    return rate_H


def _kin(table: GenotypeTable, pedigree: pl.DataFrame) -> tuple[Callable[[int], list[int]], np.ndarray]:
    """Rows descended from a row, as a function, and rows that are anybody's parent, int64."""
    row_of = {line: row for row, line in enumerate(table.lines)}
    progeny: dict[str, list[str]] = defaultdict(list)
    for line, one, other in pedigree.select("line_id", "parent_1", "parent_2").iter_rows():
        for parent in {one, other} - {None}:
            progeny[parent].append(line)

    def descendants(row: int) -> list[int]:
        seen: set[str] = set()
        waiting = [table.lines[row]]
        while waiting:
            new = [line for line in progeny.get(waiting.pop(), ()) if line not in seen]
            seen.update(new)
            waiting += new
        return [row_of[line] for line in seen if line in row_of]

    return descendants, np.array(sorted(row_of[line] for line in progeny if line in row_of), dtype=np.int64)


def _some(trios: Trios, rows: np.ndarray) -> Trios:
    return Trios(trios.line_T[rows], trios.parents_T2[rows], trios.selfed_T[rows])


def _chunks(rows: np.ndarray, size: int = _AT_ONCE) -> Iterator[np.ndarray]:
    return (rows[start : start + size] for start in range(0, len(rows), size))
