"""Landing trials (`trials.csv`) as typed records: one row per plot and trait, all seasons.

Inspecting says what the files hold and what is wrong with them; reading gives contract TRIAL_RECORDS or refuses with
every problem at once. The checks themselves are in `trial_table`, line names in `lines`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from genomic_platform.errors import InputError, Notice, Problem, ProgramError
from genomic_platform.phenotypes import trial_table as checks
from genomic_platform.phenotypes.delimited import notices_of, problems_of, read_delimited, to_numbers
from genomic_platform.phenotypes.lines import LineRegistry
from genomic_platform.phenotypes.seasons import Calendar, guess_calendar
from genomic_platform.phenotypes.trial_table import FILE, LINE
from genomic_platform.schemas.phenotypes import TRIAL_RECORDS

TRIAL_LINES_SCHEMA = {"line_id": pl.String, "family": pl.String, "check": pl.Boolean, "first_season": pl.String}
ENVIRONMENTS_SCHEMA = {"environment": pl.String, "season": pl.String, "location": pl.String, "n_lines": pl.Int64,
                       "n_rows": pl.Int64}


@dataclass(frozen=True)
class TrialInspection:
    """What trial files hold.

    Attributes
    ----------
    columns : every column of the files, trait headers as trait ids.
    traits, covariates : columns beyond the fixed ones, each with the reason it was taken so.
    calendar : guessed from the seasons, or the one given; None where they do not make one.
    environments : environment, season, location, n_lines, n_rows.
    lines : line_id, family, check (grown as a check), first_season; what a line registry starts from.
    n_rows : plot rows, all files.
    problems, notices : what stops the files, and what was accepted.
    """

    columns: tuple[str, ...]
    traits: dict[str, str]
    covariates: dict[str, str]
    calendar: Calendar | None
    environments: pl.DataFrame
    lines: pl.DataFrame
    n_rows: int
    problems: tuple[Problem, ...]
    notices: tuple[Notice, ...]

    @property
    def seasons(self) -> tuple[str, ...]:
        return tuple(self.environments["season"].unique().sort())

    @property
    def line_ids(self) -> tuple[str, ...]:
        return tuple(self.lines["line_id"])


@dataclass
class _Checked:
    table: pl.DataFrame
    guess: checks.Guess
    calendar: Calendar | None
    problems: list[Problem]
    notices: list[Notice]


def inspect_trials(paths: Sequence[Path], traits: Sequence[str] | None = None, lines: LineRegistry | None = None,
                   calendar: Calendar | None = None, through: str | None = None) -> TrialInspection:
    """Say what trial files hold and everything that is wrong with them; raises nothing for their content.

    Parameters
    ----------
    paths : CSV or TSV files, several seasons in one or one a season; rows are stacked in the order given.
    traits : trait columns; None = guess (≥ 90 % numbers and more than ten distinct values).
    lines : resolves synonyms before rows are compared; None = names as written.
    calendar : seasons must fit it; None = guessed from the labels.
    through : `lines` and `environments` of seasons up to this one only; None = of all. Problems are always of all.
    """
    checked = _checked(paths, traits, lines, calendar)
    table = checked.table
    whole = all(c in table.columns for c in checks.REQUIRED)
    complete = table.drop_nulls(checks.REQUIRED) if whole else pl.DataFrame()
    if whole and through is not None:
        complete = complete.filter(pl.col("season") <= through)
    return TrialInspection(
        columns=tuple(c for c in table.columns if c not in (FILE, LINE)), traits=checked.guess.traits,
        covariates=checked.guess.covariates, calendar=checked.calendar,
        environments=_environments(complete), lines=_lines(complete), n_rows=table.height,
        problems=tuple(checked.problems), notices=tuple(checked.notices))


def read_trials(paths: Sequence[Path], traits: Sequence[str], lines: LineRegistry | None = None,
                calendar: Calendar | None = None) -> tuple[pl.DataFrame, list[Notice]]:
    """Trial files as records (contract TRIAL_RECORDS), long, filled cells only, all seasons.

    `record` numbers the plot rows of a season in landing order, from 1; where seasons have no order it numbers all
    rows, as they share one partition. Parameters as for `inspect_trials`.

    Raises
    ------
    InputError : every problem of every file.
    """
    checked = _checked(paths, traits, lines, calendar)
    if checked.problems:
        raise InputError(checked.problems)
    table = checked.table
    unordered = checked.calendar is not None and checked.calendar.kind == "unordered"
    measured = list(checked.guess.traits)
    number = pl.int_range(1, pl.len() + 1)
    absent = [pl.lit(None, dtype=pl.String).alias(c) for c in checks.OPTIONAL if c not in table.columns]
    keys = [c for c in checks.RESERVED if c != "family"]
    plots = table.with_columns(absent).with_columns(
        checks.is_check(table).alias("check"), *[pl.col(c).cast(pl.Int64) for c in ("row", "column")],
        (number if unordered else number.over("season")).alias("record"),
        *[to_numbers(table[t]) for t in measured])
    records = plots.unpivot(measured, index=[*keys, "record"], variable_name="trait").drop_nulls("value")
    return TRIAL_RECORDS.conform(records), checked.notices


def _checked(paths: Sequence[Path], traits: Sequence[str] | None, lines: LineRegistry | None,
             calendar: Calendar | None) -> _Checked:
    files = [read_delimited(p) for p in paths]
    usable = [f for f in files if f.columns]
    missing = [p for f in usable for p in checks.column_problems(f)]
    problems = problems_of(files) + missing
    notices = notices_of(files)
    stacked = [f.cells.rename({c: checks.trait_id(c) for c in f.columns if c not in checks.RESERVED}, strict=False)
               .with_columns(pl.lit(f.name).alias(FILE), pl.Series(LINE, f.lines, dtype=pl.Int64))
               for f in usable if not _collisions(f.columns, f.name, problems)]
    table = pl.concat(stacked, how="diagonal") if stacked else pl.DataFrame()
    renamed = {c: checks.trait_id(c) for f in usable for c in f.columns if checks.trait_id(c) != c}
    if traits is not None:
        traits = list(dict.fromkeys(checks.trait_id(t) for t in traits))
        problems += [Problem(f.name, f"a column for the trait {t}", f"columns {', '.join(f.columns)}",
                             "correct the trait's name, or add the column", line=1)
                     for t in traits if t not in table.columns or t in checks.RESERVED for f in usable[:1]]
    if not table.width:
        return _Checked(table, checks.Guess({}, {}), calendar, problems, notices)
    guess = _named(checks.guess_columns(table), traits, table)
    if table.height and not guess.traits and traits is None:
        problems.append(Problem(usable[0].name, "at least one trait column: 90 % numbers, more than ten values",
                                f"columns {', '.join(usable[0].columns)}", "name the traits with --traits", line=1))
    if missing:  # rows cannot be compared, but their cells can be read
        problems += checks.cell_problems(table, list(guess.traits))
        return _Checked(table, guess, calendar, problems, notices)
    if lines is not None:
        table = table.with_columns(lines.resolve(table["line_id"]))
    notices += [Notice("renamed_trait", f"column {header!r} is read as {made}", 1) for header, made in renamed.items()
                if made in guess.traits]
    return _check_rows(table, guess, calendar, problems, notices)


def _check_rows(table: pl.DataFrame, guess: checks.Guess, calendar: Calendar | None, problems: list[Problem],
                notices: list[Notice]) -> _Checked:
    problems += checks.empty_problems(table)
    problems += checks.season_problems(table, calendar)
    if calendar is None:
        try:
            calendar = guess_calendar(table["season"].drop_nulls())
        except ProgramError:
            calendar = None  # the odd labels are among the problems, with their lines
    problems += checks.cell_problems(table, list(guess.traits))
    problems += checks.environment_problems(table, calendar is not None and calendar.kind == "unordered")
    problems += checks.family_problems(table)
    problems += checks.repeated_row_problems(table)
    return _Checked(table, guess, calendar, problems, notices)


def _collisions(columns: Sequence[str], name: str, problems: list[Problem]) -> bool:
    """Two headers that become one trait id cannot be told apart."""
    made = [c if c in checks.RESERVED else checks.trait_id(c) for c in columns]
    twice = sorted({m for m in made if made.count(m) > 1})
    problems += [Problem(name, "headers that stay different as trait ids (letters, digits, underscores)",
                         " and ".join(repr(c) for c, k in zip(columns, made, strict=True) if k == m),
                         "rename one of them", line=1, field=m) for m in twice]
    return bool(twice)


def _named(guess: checks.Guess, traits: Sequence[str] | None, table: pl.DataFrame) -> checks.Guess:
    if traits is None:
        return guess
    traits = [t for t in traits if t not in checks.RESERVED]
    others = {c: "not named as a trait" for c in (*guess.traits, *guess.covariates) if c not in traits}
    return checks.Guess({t: "named as a trait" for t in traits if t in table.columns}, others)


def _environments(table: pl.DataFrame) -> pl.DataFrame:
    if not table.height:
        return pl.DataFrame(schema=ENVIRONMENTS_SCHEMA)
    return table.group_by("environment", "season", "location").agg(
        pl.col("line_id").n_unique().cast(pl.Int64).alias("n_lines"), pl.len().cast(pl.Int64).alias("n_rows"),
    ).sort("season", "environment", "location")


def _lines(table: pl.DataFrame) -> pl.DataFrame:
    if not table.height:
        return pl.DataFrame(schema=TRIAL_LINES_SCHEMA)
    family = pl.col("family").drop_nulls().first() if "family" in table.columns else pl.lit(None, dtype=pl.String)
    return table.with_columns(checks.is_check(table).alias("check")).group_by("line_id").agg(
        family.alias("family"), pl.col("check").any(), pl.col("season").min().alias("first_season")).sort("line_id")
