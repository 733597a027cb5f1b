"""The pedigree as a person gives it: parents and generations of selfing, from pedigree.csv, lines.csv or both.

Reading and agreement of the sources are settled here. Relationship by pedigree is `genotypes/kinship/pedigree.py`'s,
agreement with the calls `genotypes/quality/parentage.py`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from genomic_platform.errors import InputError, Notice, Problem
from genomic_platform.phenotypes.delimited import Delimited, read_delimited, to_numbers
from genomic_platform.phenotypes.lines import inbreeding_after
from genomic_platform.schemas.pedigree import PEDIGREE

REQUIRED = ("line_id", "parent_1", "parent_2")
DECLARED = ("inbreeding", "generation", "selfing")
#: What other programs write for an unknown parent: taken as a name, it would make half the lines sibs.
_UNKNOWN = frozenset(("0", ".", "?", "*", "-", "na", "nan", "n/a", "none", "null", "unknown"))
_EXAMPLES = 3


@dataclass(frozen=True)
class Pedigree:
    """Who descends from whom.

    Attributes
    ----------
    records : contract PEDIGREE; every parent named has a row, and no line is its own ancestor.
    notices : what was accepted while reading it.
    """

    records: pl.DataFrame
    notices: tuple[Notice, ...] = ()


def read_pedigree(path: Path, synonyms: Mapping[str, str] | None = None,
                  line_records: pl.DataFrame | None = None) -> Pedigree:
    """The pedigree of `pedigree.csv`, completed by what `lines.csv` says of parents and inbreeding.

    Parameters
    ----------
    path : CSV or TSV with line_id, parent_1, parent_2 and one or more of inbreeding (0–1), generation (F1, F2, …, DH,
        RIL, inbred) and selfing (generations of selfing after the cross); where a row has several, the first counts.
        An empty cell is unknown. A parent without a row of its own becomes a founder.
    synonyms : other name → line_id.
    line_records : contract LINE_RECORDS; None = the file alone.

    Raises
    ------
    InputError : every problem: a line twice with other parents, a line that is its own ancestor (the loop is named),
        a cell that is no inbreeding, a parent or inbreeding that differs from `lines.csv`, …
    """
    file = read_delimited(path)
    problems = list(file.problems)
    missing = [c for c in REQUIRED if c not in file.columns]
    if file.columns and missing:
        problems.append(Problem(file.name, f"columns {', '.join(REQUIRED)}", f"columns {', '.join(file.columns)}",
                                f"add {', '.join(missing)}, or name them so", line=1))
    if not file.columns or missing:
        raise InputError(problems)
    rows = _rows(file, dict(synonyms or {}))
    problems += _cell_problems(rows, file.name)
    notices = [*file.notices, *_ignored(file)]
    if repeated := _repeated(rows, file.name, problems):
        notices.append(Notice("repeated_rows", f"{file.name}: lines given more than once, the same each time",
                              len(repeated), tuple(repeated[:_EXAMPLES])))
    own = rows.unique("line_id", keep="first", maintain_order=True).drop_nulls("line_id")
    if line_records is not None:
        problems += _conflicts(own, line_records, file.name)
        own = _completed(own, line_records)
    problems += _loop_problems(own, file.name)
    if problems:
        raise InputError(problems)
    return _with_founders(own, file.name, notices)


def pedigree_of_lines(line_records: pl.DataFrame, file: str = "lines.csv") -> Pedigree:
    """The pedigree of the line registry alone (contract LINE_RECORDS). Raises InputError naming every loop."""
    rows = line_records.select("line_id", "parent_1", "parent_2", "inbreeding", __line=pl.lit(None, dtype=pl.Int64))
    if problems := _loop_problems(rows, file):
        raise InputError(problems)
    return _with_founders(rows, file, [])


def with_ancestors(records: pl.DataFrame, lines: Iterable[str]) -> pl.DataFrame:
    """The rows of `lines` and of all they descend from (columns line_id, parent_1, parent_2 and any others)."""
    of_line: dict[str, list[str]] = {}
    for line, *parents in records.select(REQUIRED).iter_rows():
        of_line.setdefault(line, []).extend(parent for parent in parents if parent)
    found = frontier = set(lines)
    while frontier:
        frontier = {parent for line in frontier for parent in of_line.get(line, ())} - found
        found = found | frontier
    return records.filter(pl.col("line_id").is_in(list(found)))


def _rows(file: Delimited, synonyms: dict[str, str]) -> pl.DataFrame:
    """The file's rows under stable names, `inbreeding` from whichever column declares it, text cells beside it."""
    absent = [pl.lit(None, dtype=pl.String).alias(c) for c in DECLARED if c not in file.columns]
    cells = file.cells.with_columns(*absent).with_columns(pl.col(*REQUIRED).replace(synonyms))
    generations = {g: inbreeding_after(g) for g in cells["generation"].drop_nulls().unique()}
    return cells.select(
        *REQUIRED, *(pl.col(c).alias(f"__{c}") for c in DECLARED),
        pl.Series("__line", file.lines, dtype=pl.Int64),
        to_numbers(cells["inbreeding"]).alias("inbreeding"),
        pl.col("generation").replace_strict(generations, default=None, return_dtype=pl.Float64)
        .alias("__by_generation"),
        (1 - 0.5 ** to_numbers(cells["selfing"])).alias("__by_selfing"),
    ).with_columns(pl.coalesce("inbreeding", "__by_generation", "__by_selfing").alias("inbreeding"))


def _cell_problems(rows: pl.DataFrame, name: str) -> list[Problem]:
    faults = (
        ("line_id", pl.col("line_id").is_null(), "a value in every row", "name the line"),
        ("inbreeding", _given("inbreeding") & ~_number("__inbreeding").is_between(0, 1), "a number from 0 to 1",
         "correct the value or leave the cell empty"),
        ("generation", _given("generation") & pl.col("__by_generation").is_null(), "F1, F2, …, DH, RIL or inbred",
         "give the coefficient in a column inbreeding instead"),
        ("selfing", _given("selfing") & ~(_number("__selfing") >= 0), "a number of generations, 0 or more",
         "correct the value or leave the cell empty"),
    )
    problems = []
    for column, fault, expected, repair in faults:
        cell = "line_id" if column == "line_id" else f"__{column}"
        problems += [Problem(name, expected, "empty" if found is None else repr(found), repair, line, column)
                     for found, line in rows.filter(fault).select(cell, "__line").iter_rows()]
    lines = list(set(rows["line_id"]))
    for column in ("parent_1", "parent_2"):
        mark = pl.col(column).str.to_lowercase().is_in(list(_UNKNOWN)) & ~pl.col(column).is_in(lines)
        problems += [Problem(name, "a line's name, or an empty cell for an unknown parent", repr(found),
                             "leave the cell empty", line, column)
                     for found, line in rows.filter(mark).select(column, "__line").iter_rows()]
    return sorted(problems, key=lambda p: p.line or 0)


def _given(column: str) -> pl.Expr:
    return pl.col(f"__{column}").is_not_null()


def _number(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.Float64, strict=False).fill_null(-1).fill_nan(-1)


def _ignored(file: Delimited) -> list[Notice]:
    ignored = tuple(c for c in file.columns if c not in (*REQUIRED, *DECLARED))
    return [Notice("ignored_columns", f"{file.name}: columns not used", len(ignored), ignored[:_EXAMPLES])] \
        if ignored else []


def _repeated(rows: pl.DataFrame, name: str, problems: list[Problem]) -> list[str]:
    """Lines with several equal rows; several that differ are problems naming the line of the first."""
    first: dict[str, tuple[int, tuple[list[str], float | None]]] = {}
    repeated: list[str] = []
    for line_id, one, other, inbreeding, line in rows.select(*REQUIRED, "inbreeding", "__line").iter_rows():
        if line_id is None:
            continue
        says = (_pair(one, other), inbreeding)
        at, said = first.setdefault(line_id, (line, says))
        if says != said:
            problems.append(Problem(name, f"one pair of parents and one inbreeding for {line_id!r}: {_words(said)} on "
                                    f"line {at}", _words(says), "keep the right row", line, "line_id"))
        elif at != line:
            repeated.append(line_id)
    return repeated


def _pair(one: str | None, other: str | None) -> list[str]:
    return sorted((one or "", other or ""))


def _words(says: tuple[list[str], float | None]) -> str:
    parents = " × ".join(parent or "unknown" for parent in says[0])
    return parents if says[1] is None else f"{parents}, inbreeding {says[1]:g}"


def _conflicts(own: pl.DataFrame, line_records: pl.DataFrame, name: str) -> list[Problem]:
    both = own.join(line_records.select("line_id", one="parent_1", other="parent_2", declared="inbreeding"),
                    on="line_id", maintain_order="left")
    problems = []
    for row in both.iter_rows(named=True):
        here, there = _pair(row["parent_1"], row["parent_2"]), _pair(row["one"], row["other"])
        if any(here) and any(there) and here != there:
            problems.append(Problem(name, f"{_words((there, None))}, as lines.csv says of {row['line_id']!r}",
                                    _words((here, None)), "give the line the same parents in both files", row["__line"],
                                    "parents"))
        if None not in (row["inbreeding"], row["declared"]) and abs(row["inbreeding"] - row["declared"]) > 1e-6:
            problems.append(Problem(name, f"{row['declared']:g}, as lines.csv says of {row['line_id']!r}",
                                    f"{row['inbreeding']:g}", "give the line the same inbreeding in both files",
                                    row["__line"], "inbreeding"))
    return problems


def _completed(own: pl.DataFrame, line_records: pl.DataFrame) -> pl.DataFrame:
    """Rows of both sources: parents of the file where it gives any, else of the registry; inbreeding likewise."""
    joined = own.join(line_records.select("line_id", one="parent_1", other="parent_2", declared="inbreeding"),
                      on="line_id", how="full", coalesce=True, maintain_order="left_right")
    unknown = pl.col("parent_1").is_null() & pl.col("parent_2").is_null()
    return joined.select("line_id", "__line", pl.when(unknown).then("one").otherwise("parent_1").alias("parent_1"),
                         pl.when(unknown).then("other").otherwise("parent_2").alias("parent_2"),
                         pl.coalesce("inbreeding", "declared").alias("inbreeding"))


def _loop_problems(rows: pl.DataFrame, name: str) -> list[Problem]:
    lines = dict(rows.select("line_id", "__line").iter_rows())
    parents = {line_id: [p for p in (one, other) if p in lines]
               for line_id, one, other in rows.select(*REQUIRED).iter_rows()}
    return [Problem(name, "a line that is not its own ancestor",
                    f"{loop[0]!r} descends from itself ({' from '.join([*loop, loop[0]])})",
                    "correct one of these rows", lines[loop[0]])
            for loop in _loops(parents)]


def _loops(parents: Mapping[str, list[str]]) -> Iterator[list[str]]:
    """One loop (line, its parent, …) of each group of lines that all descend from each other, first listed first."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    row_of = {line: row for row, line in enumerate(parents)}
    links = [(row_of[line], row_of[parent]) for line, known in parents.items() for parent in known]
    child, parent = zip(*links, strict=True) if links else ((), ())
    graph = coo_array((np.ones(len(links), dtype=np.int8), (np.array(child, int), np.array(parent, int))),
                      shape=(len(row_of), len(row_of)))
    groups = connected_components(graph.tocsr(), connection="strong")[1].tolist() if row_of else []
    group_of = dict(zip(row_of, groups, strict=True))
    large = Counter(groups)
    for line, known in parents.items():
        group = group_of[line]
        if large[group] > 1 or line in known:
            path: list[str] = []
            while line not in path:  # every line of a group has a parent in it, so the walk closes
                path.append(line)
                line = next(p for p in parents[line] if group_of[p] == group)
            yield path[path.index(line):]
            large[group] = 0


def _with_founders(rows: pl.DataFrame, name: str, notices: list[Notice]) -> Pedigree:
    named = pl.concat([rows["parent_1"], rows["parent_2"].alias("parent_1")]).drop_nulls().unique()
    founders = named.filter(~named.is_in(rows["line_id"].implode())).sort()
    if len(founders):
        notices.append(Notice("founders", f"{name}: parents without a row of their own, taken as founders",
                              len(founders), tuple(founders[:_EXAMPLES])))
    added = pl.DataFrame({"line_id": founders}).with_columns(
        pl.lit(None, dtype=dtype).alias(c) for c, dtype in PEDIGREE.schema.items() if c != "line_id")
    records = pl.concat([rows.select(list(PEDIGREE.schema)), added.select(list(PEDIGREE.schema))])
    return Pedigree(PEDIGREE.conform(records), tuple(notices))
