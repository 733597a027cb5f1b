"""How well recipes predict on a programme's data, measured once: results are kept by everything they depend on.

Reads the landing files, so that it works before anything has run. The measuring itself is `models.evaluate`'s.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from genomic_platform.errors import InputError, ProgramError
from genomic_platform.landing.files import KINDS, Landing
from genomic_platform.models.recipes import SEARCH, load_recipe
from genomic_platform.phenotypes.seasons import ALL
from genomic_platform.program import Program
from genomic_platform.program_sections import WeatherSection
from genomic_platform.results.answers import chosen_traits
from genomic_platform.version import code_version

SECTIONS = ("line_means", "genotype_qc", "calendar", "landing", "weather")


@dataclass(frozen=True)
class Evaluation:
    """Scores of recipes, and which of them were measured now or before.

    Attributes
    ----------
    table : columns of `models.ability.SCHEMA`. comparisons : of `models.paired.SCHEMA`, every other recipe against the
        first. leaks : what may flatter all of them, in words.
    """

    table: pl.DataFrame
    measured: tuple[str, ...]
    known: tuple[str, ...]
    comparisons: pl.DataFrame
    leaks: tuple[str, ...]


def evaluate_landing(program: Program, scheme: str, *, models: Sequence[str] | None = None,
                     traits: Sequence[str] | None = None, folds: Path | None = None, replicates: int = 10,
                     reliabilities: bool = False, cache: Path | None = None) -> Evaluation:
    """Predictive ability of recipes under a scheme (`models.splits`), straight from the landing files.

    Lines are scored by their mean over environments; where seasons have no order, in each environment alone.

    Parameters
    ----------
    reliabilities : score them too (cv1, family, hybrid), which takes longer.
    cache : folder of predictions by what they depend on: files, code, recipe, scheme, traits, folds, replicates,
        settings. Nothing is kept, nor used, for code with changes that are in no commit.
    """
    if replicates < 1:
        raise ProgramError(f"replicates is {replicates}; expected at least 1")
    recipes, wanted = list(models or program.file.candidates), chosen_traits(program, traits)
    given = None if folds is None else _given_folds(folds)
    kept = cache if cache is not None and not code_version().endswith(".dirty") else None
    asked = {"scheme": scheme, "traits": wanted, "replicates": replicates, "files": _files(program, folds),
             "reliabilities": reliabilities, "settings": program.settings_digest(*SECTIONS),
             "code": code_version()} if kept else {}
    places = {recipe: kept / f"{_key(program, recipe, asked)}.parquet" for recipe in recipes} if kept else {}
    held = {recipe: _Held.read(place) for recipe, place in places.items() if place.is_file()}
    missing = [recipe for recipe in recipes if recipe not in held]
    if missing:
        held |= _measure(program, scheme, missing, wanted, given, replicates, reliabilities)
    for recipe in missing if kept else ():
        held[recipe].keep(places[recipe])
    return _scored(program, [held[recipe] for recipe in recipes], folds is not None, recipes, missing)


def _scored(program: Program, held: Sequence[_Held], pooled: bool, recipes: Sequence[str],
            missing: Sequence[str]) -> Evaluation:
    from genomic_platform.models.ability import summarise
    from genomic_platform.models.paired import SCHEMA, compare_models

    predictions = pl.concat([h.predictions for h in held])
    table = summarise(predictions, pooled=pooled, averages=held[0].averages,
                      directions={name: trait.direction for name, trait in program.traits.items()})
    pairs = [compare_models(predictions, recipes[0], other, pooled=pooled) for other in recipes[1:]]
    order = pl.col("model").replace_strict({r: i for i, r in enumerate(recipes)}, return_dtype=pl.Int64)
    return Evaluation(table.sort("trait", "environment", order, maintain_order=True), tuple(missing),
                      tuple(r for r in recipes if r not in missing),
                      pl.concat(pairs) if pairs else pl.DataFrame(schema=SCHEMA), held[0].leaks)


@dataclass(frozen=True)
class _Held:
    """One recipe's predictions, with what scoring them needs: average lines (target traits) and leaks found."""

    predictions: pl.DataFrame
    averages: dict[str, float]
    leaks: tuple[str, ...]

    def keep(self, place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f".{place.name}.{os.getpid()}")
        about = {"averages": self.averages, "leaks": self.leaks}
        self.predictions.write_parquet(temporary, metadata={"about": json.dumps(about)})
        temporary.replace(place)

    @classmethod
    def read(cls, place: Path) -> _Held:
        about = json.loads(pl.read_parquet_metadata(place)["about"])
        return cls(pl.read_parquet(place), about["averages"], tuple(about["leaks"]))


def _files(program: Program, folds: Path | None) -> dict[str, str]:
    """sha256 of every file that is read."""
    landing = Landing(program)
    files = [*(file for kind in KINDS for file in landing.files(kind)), *([folds] if folds else [])]
    found = {}
    for path in files:
        with path.open("rb") as file:
            found[str(path)] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _key(program: Program, recipe: str, asked: dict[str, Any]) -> str:
    about = {**asked, "recipe": recipe, "recipe_code": load_recipe(recipe).code_version}
    if recipe.startswith(SEARCH):
        about["search"] = asdict(program.file.search_budget)
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _given_folds(path: Path) -> dict[str, str]:
    from genomic_platform.models.folds import published_folds
    from genomic_platform.phenotypes.delimited import read_delimited

    file = read_delimited(path)
    if file.problems:
        raise InputError(file.problems)
    return published_folds(file.cells, file.name)


def _measure(program: Program, scheme: str, recipes: Sequence[str], traits: Sequence[str],
             folds: Mapping[str, str] | None, replicates: int, reliabilities: bool) -> dict[str, _Held]:
    from genomic_platform.genotypes.panel import known_panel
    from genomic_platform.genotypes.quality.qc import apply_qc, genotype_qc
    from genomic_platform.genotypes.read import read_genotypes
    from genomic_platform.models.evaluate import leak_notices, predictions
    from genomic_platform.phenotypes.line_means import line_means
    from genomic_platform.phenotypes.trials import read_trials

    landing, section = Landing(program), program.file.line_means
    registry = landing.line_registry()
    batch, _ = read_genotypes(landing.files("genotypes"), registry.synonyms)
    panel = known_panel(batch, registry.synonyms)
    records, _ = read_trials(landing.files("trials"), list(program.traits), registry, program.calendar)
    means, _ = line_means(records, means=section.means)
    unordered = landing.seasons == [ALL]
    reference = section.means == "centred" and section.weights == "none"
    checked = apply_qc(panel, genotype_qc(panel, **program.file.genotype_qc.model_dump()))
    environments = _environments(program, landing)
    pedigree = landing.pedigree(registry.records, panel.lines).records
    parents = {line: (one, two) for line, one, two in pedigree.select("line_id", "parent_1", "parent_2").iter_rows()}
    found = predictions(checked, means, recipes=recipes, traits=traits, scheme=scheme, replicates=replicates,
                        folds=folds, within_environment=unordered and scheme == "cv1", means=section.means,
                        weights=section.weights, clones_share_fold=not reference, families=registry.families,
                        parents=parents, pedigree=pedigree, environments=environments, reliabilities=reliabilities,
                        budget=program.file.search_budget)
    leaks = tuple(map(str, leak_notices(checked, means.filter(pl.col("trait").is_in(traits)), folds=folds)))
    averages = dict(means.group_by("trait").agg(pl.col("mean").mean()).sort("trait").iter_rows())
    return {recipe: _Held(found.filter(pl.col("recipe") == recipe), averages, leaks) for recipe in recipes}


def _environments(program: Program, landing: Landing) -> pl.DataFrame | None:
    """Covariates of all environments, of the file and of daily weather (contract ENVIRONMENT_RECORDS)."""
    from genomic_platform.phenotypes.environments import environment_places, read_environments, with_features
    from genomic_platform.phenotypes.weather import read_weather, split_weather
    from genomic_platform.phenotypes.weather_features import weather_features

    files, weather_files = split_weather(landing.files("environments"))
    if not files:
        return None
    records, _ = read_environments(files)
    if not weather_files:
        return records
    rules, places = program.file.weather or WeatherSection(), environment_places(files)
    features, _ = weather_features(read_weather(weather_files, places)[0], places, rules.named_windows(), rules.crop())
    return with_features(records, features)
