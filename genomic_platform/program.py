"""One breeding programme: `program.toml`, and the name of one season of it.

Everything that is a fact of the programme (traits, units, directions, sources, calendar, gate) is read and
validated here; nothing but `init` and a person writes the file.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError, computed_field, field_validator, model_validator
from pydantic_core import ErrorDetails

from genomic_platform.errors import ProgramError
from genomic_platform.faults import in_words
from genomic_platform.landing.address import mirror_address
from genomic_platform.models.search.budget import Budget
from genomic_platform.phenotypes.seasons import Calendar
from genomic_platform.program_sections import (
    BudgetSection,
    GateSection,
    GenotypeQcSection,
    LineMeansSection,
    SearchSection,
    Section,
    WeatherSection,
)

PROGRAM_NAME = re.compile(r"[a-z][a-z0-9_]{2,40}")
SEASON_LABEL = re.compile(r"[0-9A-Za-z-]{1,16}")
FILE = "program.toml"
OWN_RECIPE = re.compile(r"(search:)?(?!search:)[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
#: Sections of program.toml that results depend on.
RESULT_SECTIONS = ("traits", "candidates", "line_means", "genotype_qc", "weather", "index", "search", "seed")


@dataclass(frozen=True, order=True)
class FieldSeason:
    """One season of one programme: the only partition dimension of the asset graph."""

    program: str
    season: str

    def __post_init__(self) -> None:
        if not PROGRAM_NAME.fullmatch(self.program):
            raise ProgramError(f"programme name {self.program!r}: expected {PROGRAM_NAME.pattern}")
        if not SEASON_LABEL.fullmatch(self.season):
            raise ProgramError(f"season label {self.season!r}: expected {SEASON_LABEL.pattern}")

    @property
    def key(self) -> str:
        """Dagster's partition key."""
        return f"{self.program}:{self.season}"

    @property
    def path(self) -> str:
        """Folder in the versioned store."""
        return f"{self.program}/{self.season}"

    @property
    def tag(self) -> str:
        """Where `:` and `/` are refused."""
        return f"{self.program}--{self.season}"

    @classmethod
    def from_key(cls, key: str) -> FieldSeason:
        program, _, season = key.partition(":")
        return cls(program, season)


class Trait(Section):
    """Unit, direction (`maximise`, `minimise` or `target(x)`) and economic weight per genetic standard deviation."""

    unit: str = ""
    direction: str = "maximise"
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    description: str = ""

    @field_validator("direction")
    @classmethod
    def _direction(cls, value: str) -> str:
        if not re.fullmatch(r"maximise|minimise|target\(-?\d+(\.\d+)?\)", value):
            raise ValueError("expected maximise, minimise or target(x)")
        return value


class Source(Section):
    """Where a landing file comes from and under which terms it may be used."""

    file: str
    title: str = ""
    licence: str = "unknown"
    jurisdiction: str = "unknown"
    citation: str = ""


class CalendarSection(Section):
    """Season labels: a pattern with a first season, a listed order, or `unordered`."""

    seasons: Literal["YYYY", "YYYY-YY", "YYYYc", "listed", "unordered"] = "YYYY"
    first: str | None = None
    order: tuple[str, ...] = ()
    planting_month: Annotated[int, Field(ge=1, le=12)] | None = None
    harvest_month: Annotated[int, Field(ge=1, le=12)] | None = None

    @model_validator(mode="after")
    def _sound(self) -> CalendarSection:
        try:
            self.calendar()
        except ProgramError as error:
            raise ValueError(str(error)) from error
        return self

    def calendar(self) -> Calendar:
        return Calendar(kind=self.seasons, order=self.order, first=self.first, planting_month=self.planting_month,
                        harvest_month=self.harvest_month)


class IndexSection(Section):
    """Which value the selection index ranks on: `genotypic_value` (advancing) or `breeding_value` (parents)."""

    value: Literal["genotypic_value", "breeding_value"] = "genotypic_value"


class RetrainingSection(Section):
    """When models are trained again beside the arrival of data, and what is tried then.

    `challengers`: recipes that are fitted and compared beside the candidates only when there is cause: too slow, or too
    many, for every season. One that becomes champion stays. `on`: which causes start a retraining; drift, accuracy
    below what was promised, the months before planting and after harvest of `calendar`. `cooldown_days`: least time
    between two of them.
    """

    challengers: tuple[str, ...] = ()
    on: tuple[Literal["drift", "accuracy", "before_planting", "after_harvest"], ...] = (
        "drift", "accuracy", "before_planting", "after_harvest")
    cooldown_days: Annotated[float, Field(ge=0, le=36_500)] = 14

    @field_validator("challengers")
    @classmethod
    def _challengers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _known_recipes(value)


class LandingSection(Section):
    """Files used where they lie (`init --in-place`) beside those in `landing/`; `mirror`: see `landing.mirror`."""

    genotypes: tuple[str, ...] = ()
    trials: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    pedigree: tuple[str, ...] = ()
    mirror: Annotated[str, AfterValidator(mirror_address)] = ""


class ProgramFile(Section):
    """The whole of `program.toml`, format version 1."""

    format_version: Literal[1]
    name: str
    traits: dict[str, Trait]
    crop: str = ""
    seed: int = 1
    candidates: tuple[str, ...] = ("genomic_blup", "kernel")
    calendar: CalendarSection = CalendarSection()
    line_means: LineMeansSection = LineMeansSection()
    genotype_qc: GenotypeQcSection = GenotypeQcSection()
    weather: WeatherSection | None = None
    index: IndexSection = IndexSection()
    gate: GateSection = GateSection()
    search: SearchSection | None = None
    budget: BudgetSection | None = None
    retraining: RetrainingSection = RetrainingSection()
    landing: LandingSection = LandingSection()
    sources: tuple[Source, ...] = ()

    @computed_field
    @property
    def units(self) -> dict[str, str]:
        """Each trait's unit; a section of its own for what depends on units but not on weights and directions."""
        return {name: trait.unit for name, trait in self.traits.items()}

    @property
    def search_budget(self) -> Budget:
        """Of each search of settings."""
        section = self.search or SearchSection()
        return Budget(section.trials, section.minutes)

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        if not PROGRAM_NAME.fullmatch(value):
            raise ValueError(f"expected {PROGRAM_NAME.pattern}")
        return value

    @field_validator("traits")
    @classmethod
    def _traits(cls, value: dict[str, Trait]) -> dict[str, Trait]:
        if not value:
            raise ValueError("expected at least one trait")
        if bad := [t for t in value if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", t)]:
            raise ValueError(f"trait ids start with a letter and hold letters, digits and _: {', '.join(bad)}")
        return value

    @field_validator("candidates")
    @classmethod
    def _candidates(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("expected at least one candidate recipe")
        return _known_recipes(value)

    @model_validator(mode="after")
    def _challengers(self) -> ProgramFile:
        if both := sorted(set(self.candidates) & set(self.retraining.challengers)):
            raise ValueError(f"retraining.challengers names candidates: {', '.join(both)}; expected recipes that are "
                             "not fitted every season")
        return self

    @property
    def recipes(self) -> tuple[str, ...]:
        """Candidates, then challengers: every recipe that may be fitted."""
        return (*self.candidates, *self.retraining.challengers)


def _known_recipes(value: tuple[str, ...]) -> tuple[str, ...]:
    from genomic_platform.models.recipes import RECIPES

    if unknown := [c for c in value if c.removeprefix("search:") not in RECIPES and not OWN_RECIPE.fullmatch(c)]:
        raise ValueError(f"unknown recipe {', '.join(unknown)}; expected some of {', '.join(RECIPES)}, or your "
                         "own as package.module:Class")
    if len(set(value)) < len(value):
        raise ValueError(f"a candidate is named twice: {', '.join(value)}; expected each once")
    return value


@dataclass(frozen=True)
class Program:
    """A programme folder and what its `program.toml` says."""

    folder: Path
    file: ProgramFile

    @property
    def path(self) -> Path:
        return self.folder / FILE

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def traits(self) -> dict[str, Trait]:
        return self.file.traits

    @property
    def calendar(self) -> Calendar:
        return self.file.calendar.calendar()

    def season(self, label: str) -> FieldSeason:
        return FieldSeason(self.name, label)

    def joined_by(self, challengers: Collection[str]) -> Program:
        """The programme with those of its challengers among the candidates."""
        joined = tuple(c for c in self.file.retraining.challengers if c in challengers)
        if not joined:
            return self
        return replace(self, file=self.file.model_copy(update={"candidates": (*self.file.candidates, *joined)}))

    def settings_digest(self, *sections: str) -> str:
        """sha256 of the named sections of `program.toml`: what a step that uses them depends on.

        An optional section that is not there is no part of it: nothing changes for programmes that never name it.
        """
        content = self.file.model_dump(mode="json", include=set(sections))
        content = {section: value for section, value in content.items() if value is not None}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def program_name(text: str) -> str:
    """`text` made a valid programme name: lower case, other characters to `_`."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    name = name if re.match(r"[a-z]", name) else f"p_{name}"
    return f"{name}_program"[:40] if len(name) < 3 else name[:40]


def read_program(folder: Path) -> Program:
    """Read `folder/program.toml`.

    Raises
    ------
    NotAvailable, ProgramError
        There is none, or its content is wrong; every fault is named with its key.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise ProgramError(f"{path} does not exist; expected a programme folder; repair: "
                           f"genomic-platform init {folder} --genotypes FILE --trials FILE")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        return Program(Path(folder).resolve(), ProgramFile.model_validate(content))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProgramError(f"{path}: not valid TOML: {error}") from error
    except ValidationError as error:
        raise ProgramError("\n".join(f"{path}: {_fault(e)}" for e in error.errors())) from error


def _fault(error: ErrorDetails) -> str:
    """`gate.margin: expected at most 1, found 2`; a rule of the whole file has no key."""
    key = ".".join(str(part) for part in error["loc"])
    found = "" if isinstance(error["input"], dict) else f", found {error['input']!r}"
    return (f"{key}: " if key else "") + in_words(error, ProgramFile) + found
