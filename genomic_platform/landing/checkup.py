"""Which kind of file a file is, by its content; and a programme's own landing files inspected together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genomic_platform.errors import InputError, Problem
from genomic_platform.genotypes.sources import source_kind
from genomic_platform.landing.files import GENOTYPES, KINDS, Landing
from genomic_platform.landing.inspection import Inspection, inspect_files
from genomic_platform.phenotypes.delimited import read_delimited
from genomic_platform.phenotypes.weather import is_daily_weather
from genomic_platform.program import Program

_LINE_COLUMNS = {"synonyms", "germplasm_id", "role", "known_from"}
_ALSO_OF_PEDIGREES = {"parent_1", "parent_2", "generation", "inbreeding"}


def kind_of(path: Path) -> str:
    """genotypes | trials | environments | lines | pedigree, by name for genotypes and by columns for tables."""
    if path.name.lower().endswith(GENOTYPES) or isinstance(source_kind(path), str):
        return "genotypes"
    cells = read_delimited(path).cells
    columns = set(cells.columns)
    if is_daily_weather(cells.columns):
        return "environments"
    if "line_id" not in columns:
        # one row an environment; a trial file whose line_id is misspelt repeats its environments
        distinct = "environment" in columns and 2 * cells["environment"].n_unique() > cells.height
        return "environments" if distinct else "trials"
    if "environment" in columns or not columns & (_ALSO_OF_PEDIGREES | _LINE_COLUMNS):
        return "trials"
    return "pedigree" if columns >= {"parent_1", "parent_2"} and not columns & _LINE_COLUMNS else "lines"


def inspect_any(files: Sequence[Path]) -> Inspection:
    """Inspect files of any kind together."""
    kinds: dict[str, list[Path]] = {kind: [] for kind in KINDS}
    for path in files:
        kinds[kind_of(path)].append(path)
    if several := [Problem(p.name, f"one {what} for the programme", f"{len(kinds[kind])} {what}s",
                           f"merge them into one {kind}.csv")
                   for kind, what in (("lines", "line file"), ("pedigree", "pedigree")) if len(kinds[kind]) > 1
                   for p in kinds[kind]]:
        raise InputError(several)
    lines, pedigree = (next(iter(kinds[kind]), None) for kind in ("lines", "pedigree"))
    return inspect_files(kinds["genotypes"], kinds["trials"], kinds["environments"], lines, pedigree=pedigree)


def inspect_program(program: Program) -> Inspection:
    """Inspect a programme's landing files with its own traits and calendar.

    Raises
    ------
    InputError
        A kind of file that every programme needs is missing.
    """
    landing = Landing(program)
    missing = [Problem(f"landing/{kind}", f"at least one {kind.removesuffix('s')} file", "no file",
                       f"put it into {program.folder / 'landing' / kind}, or name it under [landing] in program.toml")
               for kind in ("genotypes", "trials") if not landing.files(kind)]
    if missing:
        raise InputError(missing)
    return inspect_files(landing.files("genotypes"), landing.files("trials"), landing.files("environments"),
                         landing.lines_file, list(program.traits), program.calendar, landing.pedigree_file)
