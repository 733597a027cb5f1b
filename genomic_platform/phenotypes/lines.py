"""The line registry: every line's one name, its synonyms, family, parents, inbreeding, role and when it was known.

Built from `lines.csv` where a programme keeps one, completed by what the trials say. Relationship between lines is
not computed here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from genomic_platform.errors import InputError, Notice, Problem
from genomic_platform.phenotypes.delimited import Delimited, read_delimited, to_numbers
from genomic_platform.phenotypes.seasons import LABEL
from genomic_platform.schemas.phenotypes import LINE_RECORDS

ROLES = ("candidate", "check", "parent", "tester")
COLUMNS = ("line_id", "synonyms", "germplasm_id", "family", "parent_1", "parent_2", "generation", "inbreeding", "role",
           "known_from")
_SEPARATORS = re.compile(r"[;|]")
_FILIAL = re.compile(r"[Ff](\d{1,2})")
_FIXED = ("dh", "ril", "inbred")


@dataclass(frozen=True)
class LineRegistry:
    """The lines of a programme.

    Attributes
    ----------
    records : contract LINE_RECORDS, one row per line.
    synonyms : other name → line_id.
    notices : what was accepted while building it.
    """

    records: pl.DataFrame
    synonyms: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()

    def resolve(self, names: pl.Series) -> pl.Series:
        """Names as line ids: synonyms replaced, every other name (known or not) as it is."""
        return names.replace(dict(self.synonyms)) if self.synonyms else names

    def known_through(self, season: str) -> pl.DataFrame:
        """The records of lines known at the end of `season`; an empty `known_from` counts as from the start."""
        known = pl.col("known_from").is_null() | (pl.col("known_from") <= season)
        return self.records.filter(known)

    @property
    def families(self) -> dict[str, str | None]:
        return dict(self.records.select("line_id", "family").iter_rows())


def inbreeding_after(generation: str) -> float | None:
    """Coefficient of inbreeding of a selfed generation of a cross between unrelated inbred lines.

    F1 is 0 and each selfing halves what is heterozygous: F_n = 1 − (1/2)^(n − 1) (Falconer & Mackay 1996, ch. 5).
    `DH`, `RIL` and `inbred` are 1. None when the generation is none of these.
    """
    if generation.lower() in _FIXED:
        return 1.0
    filial = _FILIAL.fullmatch(generation)
    return 1.0 - 0.5 ** (int(filial[1]) - 1) if filial and int(filial[1]) >= 1 else None


def read_lines(path: Path | None, trial_lines: pl.DataFrame | None = None) -> LineRegistry:
    """The registry from `lines.csv` and from the lines seen in trials.

    Parameters
    ----------
    path : `lines.csv` with line_id and any of synonyms (separated by ; or |), germplasm_id, family, parent_1,
        parent_2, generation or inbreeding, role, known_from; None = the programme keeps none.
    trial_lines : line_id, family, check (as `inspect_trials(...).lines`); lines the file does not name are added.

    Raises
    ------
    InputError : every problem of the file: ambiguous synonym, repeated line, unknown role or generation, …
    """
    if path is None:
        return LineRegistry(_with_trials(LINE_RECORDS.empty(), {}, trial_lines))
    file = read_delimited(path)
    problems = list(file.problems)
    if file.columns and "line_id" not in file.columns:
        problems.append(Problem(file.name, "a column line_id", f"columns {', '.join(file.columns)}",
                                "add the column line_id, or name it so", line=1))
    if not file.columns or "line_id" not in file.columns:
        raise InputError(problems)
    table = file.cells.with_columns(*[pl.lit(None, dtype=pl.String).alias(c) for c in COLUMNS if c not in file.columns],
                                    pl.Series("__line", file.lines, dtype=pl.Int64))
    synonyms = _synonyms(table, file.name, problems)
    problems += _cell_problems(table, file)
    problems += _family_problems(table, synonyms, trial_lines, file.name)
    if problems:
        raise InputError(problems)
    ignored = tuple(c for c in file.columns if c not in COLUMNS)
    notices = [*file.notices]
    if ignored:
        notices.append(Notice("ignored_columns", f"{file.name}: columns not used", len(ignored), ignored[:3]))
    return LineRegistry(_with_trials(_records(table, synonyms), synonyms, trial_lines), synonyms, tuple(notices))


def _synonyms(table: pl.DataFrame, name: str, problems: list[Problem]) -> dict[str, str]:
    """Other name → line_id; a name that could mean two lines is a problem naming both lines of the file."""
    own: dict[str, int] = {}
    for line_id, line in table.select("line_id", "__line").iter_rows():
        if line_id in own:
            problems.append(Problem(name, "each line once", f"{line_id!r} again (first on line {own[line_id]})",
                                    "merge the two rows", line, "line_id"))
        elif line_id is not None:
            own[line_id] = line
    taken: dict[str, tuple[str, int]] = {}
    for line_id, cell, line in table.select("line_id", "synonyms", "__line").iter_rows():
        for synonym in filter(None, (s.strip() for s in _SEPARATORS.split(cell or ""))):
            if synonym == line_id:
                continue
            other = (synonym, own[synonym]) if synonym in own else taken.get(synonym, (line_id, line))
            if other[0] != line_id:
                problems.append(Problem(name, "a name for one line only", f"{synonym!r}, which also means line "
                                        f"{other[0]!r} (line {other[1]})", "keep it with one of the lines", line,
                                        "synonyms"))
            taken.setdefault(synonym, (line_id, line))
    return {synonym: line_id for synonym, (line_id, _) in taken.items()}


def _cell_problems(table: pl.DataFrame, file: Delimited) -> list[Problem]:
    problems = [Problem(file.name, "a value in every row", "empty", "name the line", line, "line_id")
                for line in table.filter(pl.col("line_id").is_null())["__line"]]
    numbers = to_numbers(table["inbreeding"])
    rows = table.with_columns(numbers.alias("__number")).iter_rows(named=True)
    for row in rows:
        line = row["__line"]
        if row["role"] is not None and row["role"].lower() not in ROLES:
            problems.append(Problem(file.name, f"one of {', '.join(ROLES)}", repr(row["role"]),
                                    "correct the role or leave it empty (candidate)", line, "role"))
        if row["generation"] is not None and inbreeding_after(row["generation"]) is None:
            problems.append(Problem(file.name, "F1, F2, …, DH, RIL or inbred", repr(row["generation"]),
                                    "give the coefficient in a column inbreeding instead", line, "generation"))
        if row["inbreeding"] is not None and not (row["__number"] is not None and 0 <= row["__number"] <= 1):
            problems.append(Problem(file.name, "a number from 0 to 1", repr(row["inbreeding"]),
                                    "correct the value or leave the cell empty", line, "inbreeding"))
        if row["known_from"] is not None and not LABEL.fullmatch(row["known_from"]):
            problems.append(Problem(file.name, "a season label: 1 to 16 letters, digits or hyphens",
                                    repr(row["known_from"]), "write the first season the line was known", line,
                                    "known_from"))
    return problems


def _family_problems(table: pl.DataFrame, synonyms: Mapping[str, str], trial_lines: pl.DataFrame | None,
                     name: str) -> list[Problem]:
    if trial_lines is None or not trial_lines.height:
        return []
    trials = trial_lines.select(pl.col("line_id").replace(dict(synonyms)), __trials="family").drop_nulls()
    both = table.join(trials, on="line_id", maintain_order="left").filter(pl.col("family") != pl.col("__trials"))
    return [Problem(name, f"{row['__trials']!r}, as in the trials", f"{row['family']!r} for line {row['line_id']!r}",
                    "give the line the same family in both files", row["__line"], "family")
            for row in both.unique("line_id", keep="first", maintain_order=True).iter_rows(named=True)]


def _records(table: pl.DataFrame, synonyms: Mapping[str, str]) -> pl.DataFrame:
    generations = [g for g in table["generation"].unique() if g is not None]
    inbreeding = {g: inbreeding_after(g) for g in generations}
    return table.select(
        "line_id", "germplasm_id", "family", pl.col("parent_1").replace(dict(synonyms)),
        pl.col("parent_2").replace(dict(synonyms)),
        pl.coalesce(to_numbers(table["inbreeding"]),
                    pl.col("generation").replace_strict(inbreeding, default=None, return_dtype=pl.Float64))
        .alias("inbreeding"),
        pl.col("role").str.to_lowercase().fill_null("candidate"), "known_from")


def _with_trials(records: pl.DataFrame, synonyms: Mapping[str, str], trial_lines: pl.DataFrame | None) -> pl.DataFrame:
    """Add lines only the trials name and fill families only the trials know."""
    if trial_lines is None or not trial_lines.height:
        return LINE_RECORDS.conform(records)
    trials = trial_lines.with_columns(pl.col("line_id").replace(dict(synonyms))).group_by("line_id").agg(
        pl.col("family").drop_nulls().first().alias("__family"), pl.col("check").any().alias("__check"))
    merged = records.join(trials, on="line_id", how="full", coalesce=True).with_columns(
        pl.coalesce("family", "__family").alias("family"),
        pl.coalesce("role", pl.when("__check").then(pl.lit("check")).otherwise(pl.lit("candidate"))).alias("role"))
    return LINE_RECORDS.conform(merged)
