"""Setting up a programme folder: inspect files, put them into `landing/`, write `program.toml`, every guess marked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from genomic_platform.errors import InputError, Problem, ProgramError
from genomic_platform.landing.files import with_companions
from genomic_platform.landing.inspection import Inspection, inspect_files
from genomic_platform.phenotypes.seasons import Calendar, guess_calendar
from genomic_platform.program import FILE, PROGRAM_NAME, Program, program_name, read_program

_UNITS = {"kg_ha": "kg/ha", "t_ha": "t/ha", "bu_ac": "bu/ac", "frac": "fraction", "pct": "%", "cm": "cm", "mm": "mm",
          "m": "m", "g": "g", "kg": "kg", "days": "days", "std": "standard deviations", "c": "°C"}


@dataclass(frozen=True)
class Initialised:
    """A new programme, what was found in its files, and what was guessed, in words."""

    program: Program
    inspection: Inspection
    guesses: tuple[str, ...]


def initialise(folder: Path, files: Mapping[str, Sequence[Path]], *, traits: Sequence[str] | None = None,
               name: str | None = None, in_place: bool = False) -> Initialised:
    """Make a programme folder from a breeder's files. Nothing is written unless every file is sound.

    Parameters
    ----------
    files : by kind (`genotypes`, `trials`, `environments`, `lines`, `pedigree`).
    traits : trait columns; guessed when None.
    in_place : record the files' paths in program.toml instead of copying them.

    Raises
    ------
    InputError, ProgramError
        Files that cannot be used, all problems at once; or the folder already holds a programme.
    """
    if (folder / FILE).exists():
        raise ProgramError(f"{folder / FILE} exists; expected a folder without a programme; "
                           "repair: choose another folder, or edit that file")
    lines, pedigree = (next(iter(files.get(kind, ())), None) for kind in ("lines", "pedigree"))
    found = inspect_files(files.get("genotypes", ()), files.get("trials", ()), files.get("environments", ()), lines,
                          traits, pedigree=pedigree)
    found.require_sound()
    assert found.trials is not None
    latitude = found.environments.latitude if found.environments else None
    calendar = guess_calendar(found.trials.seasons, latitude)
    chosen = name or program_name(folder.resolve().name)
    if not PROGRAM_NAME.fullmatch(chosen):
        raise ProgramError(f"programme name is {chosen!r}; expected a lower-case letter, then 2 to 40 lower-case "
                           "letters, digits or _; repair: give another --name")
    text, guesses = _program_toml(chosen, calendar, found, traits, files, in_place, folder)
    placed = {} if in_place else {kind: _each_once(kind, paths) for kind, paths in files.items()}
    folder.mkdir(parents=True, exist_ok=True)
    for kind, paths in placed.items():
        for path in paths:
            _place(path, folder / "landing" / kind)
    (folder / "landing").mkdir(exist_ok=True)
    _write(folder / FILE, text)
    return Initialised(read_program(folder), found, tuple(guesses))


def _each_once(kind: str, paths: Sequence[Path]) -> list[Path]:
    """The files of a kind with their companions; two files of one name would overwrite each other."""
    each = list(dict.fromkeys(part.resolve() for path in paths for part in with_companions(path)))
    first = {path.name: path for path in reversed(each)}
    if problems := [Problem(path.name, f"{kind} files of different names", f"{first[path.name]} and {path}",
                            "rename one of them, or use them where they lie: --in-place")
                    for path in each if first[path.name] != path]:
        raise InputError(problems)
    return each


def _place(path: Path, folder: Path) -> None:
    """Copy a file into place whole or not at all; what a killed copy left is written over by the next."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{path.name}.part"
    _copy(path, temporary)
    temporary.replace(folder / path.name)


def _copy(source: Path, target: Path) -> None:
    """Copy content; `copy_file_range` shares the blocks where the file system can (a reflink)."""
    with source.open("rb") as read, target.open("wb") as write:
        left = source.stat().st_size
        try:
            while left > 0 and (copied := os.copy_file_range(read.fileno(), write.fileno(), left)):
                left -= copied
        except (AttributeError, OSError):
            left = -1
    if left:
        shutil.copyfile(source, target)


def _write(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def unit_of(trait: str) -> str:
    """The unit a trait's name ends in, `""` when it names none."""
    ends = [u for u in _UNITS if trait.lower().endswith(f"_{u}")]
    return _UNITS[max(ends, key=len)] if ends else ""


def _program_toml(name: str, calendar: Calendar, found: Inspection, named: Sequence[str] | None,
                  files: Mapping[str, Sequence[Path]], in_place: bool, folder: Path) -> tuple[str, list[str]]:
    assert found.trials is not None
    guesses = [f"calendar: seasons are {calendar.kind}" + (f", first {calendar.first}" if calendar.first else "")]
    out = ["# Everything this breeding programme is; written once by `init`, from then on yours to edit.",
           "format_version = 1", f'name = "{name}"', "seed = 1", 'candidates = ["genomic_blup", "kernel"]', "",
           "[calendar]",
           f'seasons = "{calendar.kind}"  # guessed from the labels {", ".join(found.trials.seasons[:6])}']
    if calendar.first:
        out.append(f'first = "{calendar.first}"')
    if calendar.order:
        out.append(f"order = [{', '.join(_quote(s) for s in calendar.order)}]")
    for month in ("planting_month", "harvest_month"):
        if (value := getattr(calendar, month)) is not None:
            out.append(f"{month} = {value}  # guessed from the latitude")
            guesses.append(f"{month}: {value}, from the latitude")
    out += ["", "[line_means]", 'means = "blue"', 'weights = "errors"', ""]
    for trait, reason in found.trials.traits.items():
        unit = unit_of(trait)
        origin = "named" if named else f"guessed: {reason}"
        out += [f"[traits.{trait}]  # {origin}", f'unit = "{unit}"  # guessed from the name',
                'direction = "maximise"  # guessed; or minimise, target(x)', "weight = 1.0  # guessed", ""]
        guesses.append(f"trait {trait}: unit {unit or 'unknown'}, maximise, weight 1"
                       + ("" if named else f" ({reason})"))
    guesses += [f"covariate {c}: {reason}" for c, reason in found.trials.covariates.items()]
    if in_place:
        named_files = {kind: ", ".join(_quote(_relative(p, folder)) for p in paths) for kind, paths in files.items()}
        out += ["[landing]", *(f"{kind} = [{names}]" for kind, names in named_files.items() if names), ""]
    for kind, paths in files.items():
        for path in paths:
            where = _relative(path, folder) if in_place else f"landing/{kind}/{path.name}"
            out += ["[[sources]]", f"file = {_quote(where)}", 'title = ""',
                    'licence = "unknown"  # fill in: the terms the file may be used under',
                    'jurisdiction = "unknown"  # fill in: whose law applies', 'citation = ""', ""]
    return "\n".join(out), guesses


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(path.resolve(), folder.resolve())


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def traits_table(found: Inspection) -> pl.DataFrame:
    """Traits and covariates with why each was taken so."""
    assert found.trials is not None
    rows = [("trait", *item) for item in found.trials.traits.items()]
    rows += [("covariate", *item) for item in found.trials.covariates.items()]
    return pl.DataFrame(rows, schema=["taken as", "column", "reason"], orient="row")
