"""How well recipes predict on a programme's data, measured once: results are kept by everything they depend on.

Reads the landing files, so that it works before anything has run. The measuring itself is `models.evaluate`'s.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from genomic_platform.errors import InputError, ProgramError
from genomic_platform.landing.files import KINDS, Landing
from genomic_platform.models.recipes import load_recipe
from genomic_platform.phenotypes.seasons import ALL
from genomic_platform.program import Program
from genomic_platform.results.answers import chosen_traits
from genomic_platform.version import code_version

SECTIONS = ("line_means", "genotype_qc", "calendar", "landing")


@dataclass(frozen=True)
class Evaluation:
    """Predictive abilities (columns of `models.evaluate.SCHEMA`), and which recipes were measured now or before."""

    table: pl.DataFrame
    measured: tuple[str, ...]
    known: tuple[str, ...]


def evaluate_landing(program: Program, scheme: str, *, models: Sequence[str] | None = None,
                     traits: Sequence[str] | None = None, folds: Path | None = None, replicates: int = 10,
                     cache: Path | None = None) -> Evaluation:
    """Predictive ability of recipes under a scheme (cv1, cv0, cv00, forward), straight from the landing files.

    Lines are scored by their mean over environments; where seasons have no order, in each environment alone.

    Parameters
    ----------
    cache : folder of results by what they depend on: files, code, recipe, scheme, traits, folds, replicates, settings.
        Nothing is kept, nor used, for code with changes that are in no commit.
    """
    if replicates < 1:
        raise ProgramError(f"replicates is {replicates}; expected at least 1")
    recipes, wanted = list(models or program.file.candidates), chosen_traits(program, traits)
    kept = cache if cache is not None and not code_version().endswith(".dirty") else None
    asked = {"scheme": scheme, "traits": wanted, "replicates": replicates, "files": _files(program, folds),
             "settings": program.settings_digest(*SECTIONS), "code": code_version()} if kept else {}
    places = {recipe: kept / f"{_key(recipe, asked)}.parquet" for recipe in recipes} if kept else {}
    held = {recipe: pl.read_parquet(place) for recipe, place in places.items() if place.is_file()}
    missing = [recipe for recipe in recipes if recipe not in held]
    if missing:
        found = _measure(program, scheme, missing, wanted, folds, replicates)
        held |= {recipe: found.filter(pl.col("model") == recipe) for recipe in missing}
    for recipe in missing if kept else ():
        _keep(held[recipe], places[recipe])
    table = pl.concat([held[recipe] for recipe in recipes]).sort("trait", "environment", maintain_order=True)
    return Evaluation(table, tuple(missing), tuple(r for r in recipes if r not in missing))


def _files(program: Program, folds: Path | None) -> dict[str, str]:
    """sha256 of every file that is read."""
    landing = Landing(program)
    files = [*(file for kind in KINDS for file in landing.files(kind)), *([folds] if folds else [])]
    found = {}
    for path in files:
        with path.open("rb") as file:
            found[str(path)] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _key(recipe: str, asked: dict[str, Any]) -> str:
    about = {**asked, "recipe": recipe, "recipe_code": load_recipe(recipe).code_version}
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _keep(table: pl.DataFrame, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{place.name}.{os.getpid()}")
    table.write_parquet(temporary)
    temporary.replace(place)


def _measure(program: Program, scheme: str, recipes: Sequence[str], traits: Sequence[str], folds: Path | None,
             replicates: int) -> pl.DataFrame:
    from genomic_platform.genotypes.panel import known_panel
    from genomic_platform.genotypes.quality.qc import apply_qc, genotype_qc
    from genomic_platform.genotypes.read import read_genotypes
    from genomic_platform.models.evaluate import evaluate
    from genomic_platform.models.folds import published_folds
    from genomic_platform.phenotypes.delimited import read_delimited
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
    given = None
    if folds is not None:
        file = read_delimited(folds)
        if file.problems:
            raise InputError(file.problems)
        given = published_folds(file.cells, file.name)
    return evaluate(apply_qc(panel, genotype_qc(panel, **program.file.genotype_qc.model_dump())), means,
                    recipes=recipes, traits=traits, scheme=scheme,
                    replicates=replicates, folds=given,
                    within_environment=unordered and scheme == "cv1", means=section.means, weights=section.weights,
                    clones_share_fold=not reference)
