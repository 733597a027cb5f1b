"""The checks a trials table passes before it becomes records: columns, seasons, cells, repeated rows.

Each check takes the stacked landing rows and gives problems that name file and line. Reading files and shaping
records is in `trials`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from genomic_platform.errors import Problem
from genomic_platform.phenotypes.delimited import Delimited, to_numbers
from genomic_platform.phenotypes.seasons import Calendar, odd_labels

REQUIRED = ("line_id", "season", "location", "environment")
OPTIONAL = ("trial", "replicate", "block", "row", "column", "family", "check")
RESERVED = REQUIRED + OPTIONAL
#: Columns that tell one plot of a line from another.
PLOT = ("replicate", "row", "column", "plot")
TRAIT_ID = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
NUMERIC_SHARE = 0.9
DISTINCT_VALUES = 10
#: Columns that say where a row comes from; no landing column may be called so.
FILE, LINE = "__file", "__line"
_TRUE, _FALSE = ("true", "yes", "y", "1", "x", "check"), ("false", "no", "n", "0")


@dataclass(frozen=True)
class Guess:
    """How the columns beyond the fixed ones were taken: name and reason."""

    traits: dict[str, str]
    covariates: dict[str, str]


def trait_id(header: str) -> str:
    """A header as a trait id: kept where it is one, else other characters become underscores."""
    if TRAIT_ID.fullmatch(header):
        return header
    made = re.sub(r"[^A-Za-z0-9]+", "_", header).strip("_")
    return made if TRAIT_ID.fullmatch(made) else f"t_{made}"


def column_problems(file: Delimited) -> list[Problem]:
    """Required columns that are not there; never guessed, though a likely misspelling is named."""
    problems: list[Problem] = []
    for name in REQUIRED:
        if name not in file.columns:
            near = difflib.get_close_matches(name, [c.lower().replace(" ", "_") for c in file.columns], 1, 0.7)
            hint = next((c for c in file.columns if near and c.lower().replace(" ", "_") == near[0]), None)
            repair = f"rename the column {hint!r} to {name}" if hint else f"add the column {name}, or name it so"
            problems.append(Problem(file.name, f"a column {name}", f"columns {', '.join(file.columns)}", repair,
                                    line=1))
    return problems


def guess_columns(table: pl.DataFrame) -> Guess:
    """Sort the columns beyond the fixed ones into traits (≥ 90 % numbers, more than ten values) and covariates."""
    traits: dict[str, str] = {}
    covariates: dict[str, str] = {}
    for cells in table.drop(FILE, LINE).iter_columns():
        if cells.name in RESERVED or cells.name == "plot":
            continue
        filled = cells.len() - cells.null_count()
        numbers = to_numbers(cells)
        share = (cells.len() - numbers.null_count()) / filled if filled else 0.0
        values = numbers.drop_nulls().n_unique()
        if share >= NUMERIC_SHARE and values > DISTINCT_VALUES:
            traits[cells.name] = f"{share:.0%} of its cells are numbers, {values} distinct values"
        elif not filled:
            covariates[cells.name] = "it is empty"
        elif share < NUMERIC_SHARE:
            covariates[cells.name] = f"only {share:.0%} of its cells are numbers"
        else:
            covariates[cells.name] = f"it has only {values} distinct values"
    return Guess(traits, covariates)


def empty_problems(table: pl.DataFrame) -> list[Problem]:
    """Empty cells in the required columns."""
    return [Problem(row[FILE], "a value in every row", "empty", "fill the cell or remove the row", row[LINE], name)
            for name in REQUIRED for row in table.filter(pl.col(name).is_null()).iter_rows(named=True)]


def season_problems(table: pl.DataFrame, calendar: Calendar | None) -> list[Problem]:
    """Season labels that do not fit the calendar (or, without one, do not fit the others), at their first line."""
    labels = table["season"].drop_nulls().unique().sort().to_list()
    odd = odd_labels(labels) if calendar is None else \
        {x: f"a label of the programme's calendar ({calendar.kind})" for x in labels if not calendar.fits(x)}
    first = table.filter(pl.col("season").is_in(list(odd))).unique("season", keep="first", maintain_order=True)
    return [Problem(row[FILE], odd[row["season"]], repr(row["season"]), "correct the label, or list the programme's "
                    "labels in order in program.toml", row[LINE], "season") for row in first.iter_rows(named=True)]


def cell_problems(table: pl.DataFrame, traits: Sequence[str]) -> list[Problem]:
    """Cells that are not what their column holds: numbers in traits, row and column, yes or no in check."""
    problems: list[Problem] = []
    for name in traits:
        bad = table.filter(pl.col(name).is_not_null() & to_numbers(table[name]).is_null())
        problems += [Problem(f, "a number or an empty cell", repr(v), "correct the value or leave the cell empty", n,
                             name) for f, n, v in bad.select(FILE, LINE, name).iter_rows()]
    for name in ("row", "column"):
        if name in table.columns:
            bad = table.filter(pl.col(name).is_not_null() & pl.col(name).cast(pl.Int64, strict=False).is_null())
            problems += [Problem(f, "a whole number or an empty cell", repr(v), "number the plots", n, name)
                         for f, n, v in bad.select(FILE, LINE, name).iter_rows()]
    if "check" in table.columns:
        bad = table.filter(~pl.col("check").str.to_lowercase().is_in([*_TRUE, *_FALSE]))
        problems += [Problem(f, "yes, no or an empty cell", repr(v), "write yes for a check", n, "check")
                     for f, n, v in bad.select(FILE, LINE, "check").iter_rows()]
    return problems


def is_check(table: pl.DataFrame) -> pl.Expr:
    """The check column as true or false; false where there is none."""
    if "check" not in table.columns:
        return pl.lit(False)
    return pl.col("check").str.to_lowercase().is_in(_TRUE).fill_null(False)


def environment_problems(table: pl.DataFrame, unordered: bool) -> list[Problem]:
    """Environments in two locations or, unless seasons have no order, in two seasons."""
    problems: list[Problem] = []
    for name in ("location",) if unordered else ("season", "location"):
        problems += _two_values(table, "environment", name, "give each season and location its own environment name")
    return problems


def family_problems(table: pl.DataFrame) -> list[Problem]:
    """Lines with two families."""
    if "family" not in table.columns:
        return []
    return _two_values(table, "line_id", "family", "give the line one family, or the lines different names")


def _two_values(table: pl.DataFrame, key: str, name: str, repair: str) -> list[Problem]:
    pairs = table.drop_nulls([key, name]).unique([key, name], keep="first", maintain_order=True)
    first = pairs.unique(key, keep="first", maintain_order=True)
    later = pairs.join(first.select(key, __was=name, __at=LINE, __in=FILE), on=key, maintain_order="left") \
        .filter(pl.col(name) != pl.col("__was"))
    return [Problem(r[FILE], f"{r['__was']!r}, as for {key} {r[key]!r} in {r['__in']}, line {r['__at']}",
                    f"{r[name]!r} for {key} {r[key]!r}", repair, r[LINE], name) for r in later.iter_rows(named=True)]


def repeated_row_problems(table: pl.DataFrame) -> list[Problem]:
    """Rows equal in every cell that nothing marks as different plots; rows that differ in a value are replicates."""
    cells = [c for c in table.columns if c not in (FILE, LINE)]
    plot = [c for c in PLOT if c in table.columns]
    rows = table.with_row_index("__row")
    unmarked = rows.filter(pl.all_horizontal(pl.col(plot).is_null())) if plot else rows
    first = unmarked.unique(cells, keep="first", maintain_order=True)
    if first.height == unmarked.height:
        return []
    again = unmarked.join(first.select(*cells, __first="__row", __at=LINE, __in=FILE), on=cells, nulls_equal=True,
                          maintain_order="left").filter(pl.col("__row") != pl.col("__first"))
    return [Problem(r[FILE], "each record once", f"the same row as {r['__in']}, line {r['__at']} "
                    f"(line {r['line_id']}, environment {r['environment']})", "remove one of them, or add a replicate "
                    "column if both were measured", r[LINE]) for r in again.iter_rows(named=True)]
