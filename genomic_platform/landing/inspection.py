"""What landing files are and what is wrong with them, across files, before anything is written.

`check`, `init` and `run` show the same report: problems stop, notices are said once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from genomic_platform.errors import InputError, Notice, Problem, counted
from genomic_platform.genotypes.merging.batch_set import merge_notices
from genomic_platform.genotypes.merging.batches import merge_batches
from genomic_platform.genotypes.panel import repeated_lines
from genomic_platform.genotypes.read import GenotypeInspection, inspect_genotypes
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.phenotypes.environments import (
    EnvironmentInspection,
    environment_places,
    inspect_environments,
)
from genomic_platform.phenotypes.lines import LineRegistry, read_lines
from genomic_platform.phenotypes.pedigree import Pedigree, read_pedigree
from genomic_platform.phenotypes.seasons import Calendar
from genomic_platform.phenotypes.trials import TrialInspection, inspect_trials
from genomic_platform.phenotypes.weather import WeatherInspection, inspect_weather, split_weather

MIN_TRAINING_LINES = 20
_EXAMPLES = 3


@dataclass
class Inspection:
    """Everything known of a set of landing files. `problems` stop; `notices` are accepted."""

    genotypes: GenotypeInspection | None = None
    trials: TrialInspection | None = None
    environments: EnvironmentInspection | None = None
    weather: WeatherInspection | None = None
    registry: LineRegistry | None = None
    pedigree: Pedigree | None = None
    problems: list[Problem] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    def require_sound(self) -> None:
        """Raises InputError with every problem of every file."""
        if self.problems:
            raise InputError(self.problems)


def inspect_files(genotypes: Sequence[Path] = (), trials: Sequence[Path] = (), environments: Sequence[Path] = (),
                  lines: Path | None = None, traits: Sequence[str] | None = None,
                  calendar: Calendar | None = None, pedigree: Path | None = None) -> Inspection:
    """Inspect a programme's files together; every file is read once, whole."""
    found = Inspection()
    synonyms = LineRegistry(read_lines(None).records)
    if lines is not None:
        try:
            synonyms = read_lines(lines)
        except InputError as error:
            found.problems += error.problems
    if trials:
        found.trials = inspect_trials(trials, traits, synonyms, calendar)
        found.problems += found.trials.problems
        found.notices += found.trials.notices
    if lines is not None and found.trials and not found.problems:
        try:
            found.registry = read_lines(lines, found.trials.lines)
            found.notices += found.registry.notices
        except InputError as error:
            found.problems += error.problems
    if pedigree is not None:
        try:
            records = found.registry.records if found.registry else None
            found.pedigree = read_pedigree(pedigree, synonyms.synonyms, records)
            found.notices += found.pedigree.notices
        except InputError as error:
            found.problems += error.problems
    _inspect_environments(found, environments)
    if genotypes:
        found.genotypes = inspect_genotypes(genotypes)
        found.problems += found.genotypes.problems
        found.notices += found.genotypes.notices
    if found.trials and found.genotypes and not found.problems:
        _match(found, synonyms, trials, genotypes)
    return found


def _inspect_environments(found: Inspection, paths: Sequence[Path]) -> None:
    """Environment files, and the daily weather among them."""
    environments, weather = split_weather(paths)
    if environments:
        found.environments = inspect_environments(environments)
        found.problems += found.environments.problems
        found.notices += found.environments.notices
    if weather:
        found.weather = inspect_weather(weather, environment_places(environments))
        found.problems += found.weather.problems
        found.notices += found.weather.notices


def _match(found: Inspection, registry: LineRegistry, trials: Sequence[Path], genotypes: Sequence[Path]) -> None:
    assert found.trials is not None
    assert found.genotypes is not None
    _match_batches(found, found.genotypes.batches, registry.synonyms)
    genotyped = {registry.synonyms.get(name, name) for name in found.genotypes.lines}
    first_seen = dict(found.trials.lines.select("line_id", "first_season").iter_rows())
    phenotyped = set(first_seen)
    where = f"{trials[0].name} and {genotypes[0].name}"
    both = genotyped & phenotyped
    if not both:
        found.problems.append(Problem(
            where, "line_id of trials to match sample names of genotypes",
            f"no line with both: trials have {_some(phenotyped)}, genotypes have {_some(genotyped)}",
            "use the same names, or list synonyms in lines.csv"))
        return
    calendar = found.trials.calendar
    ordered = not calendar or calendar.kind != "unordered"
    unknown = phenotyped | genotyped if ordered else set()
    if found.registry:
        unknown -= set(found.registry.records.drop_nulls("known_from")["line_id"])
    found.notices += [
        Notice(code, f"{counted(len(lines), 'line')} {where_they_are}", len(lines), tuple(sorted(lines)[:_EXAMPLES]))
        for code, lines, where_they_are in (
            ("not_genotyped", phenotyped - genotyped, "in trials without genotypes"),
            ("not_phenotyped", genotyped - phenotyped, "with genotypes in no trial"),
            ("known_from_start", unknown, "without known_from, taken as known from the start")) if lines]
    first = calendar.partitions(found.trials.seasons)[0] if calendar else found.trials.seasons[0]
    late = _known_late(registry, first_seen) if ordered else set()
    if late:
        found.notices.append(Notice("known_late", f"{counted(len(late), 'line')} grown before their known_from; models "
                                    "meet them from then on", len(late), tuple(sorted(late)[:_EXAMPLES])))
    in_first = {x for x in both - late if first_seen[x] == first} if ordered else both
    if len(in_first) < MIN_TRAINING_LINES:
        found.problems.append(Problem(
            where, f"at least {MIN_TRAINING_LINES} lines with genotypes and records in the first season to train on",
            f"{counted(len(in_first), 'line')} with both in season {first}",
            "add these lines' genotypes, or take the season's records out of the files"))


def _match_batches(found: Inspection, batches: Mapping[str, GenotypeTable], synonyms: Mapping[str, str]) -> None:
    """Lines that are there twice, and what merging the batches would say."""
    for batch, table in batches.items():
        found.problems += repeated_lines(table.lines, synonyms, batch)
    if len(batches) > 1 and not found.problems:
        try:
            found.notices += merge_notices(merge_batches(batches, synonyms=synonyms))
        except InputError as error:
            found.problems += error.problems


def _known_late(registry: LineRegistry, first_seen: Mapping[str, str]) -> set[str]:
    """Lines with trial records of a season before the one they say they are known from."""
    known_from = registry.records.drop_nulls("known_from").select("line_id", "known_from").iter_rows()
    return {line for line, season in known_from if first_seen.get(line, season) < season}


def _some(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:_EXAMPLES])
    return shown + (f", … ({len(names)})" if len(names) > _EXAMPLES else "")
