"""Candidates: one asset a built-in recipe, and one for all recipes of a programme's own.

A programme's `candidates` (program.toml) are fitted; an asset of any other recipe says so and holds nothing.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from typing import Any

import dagster as dg
import polars as pl

from genomic_platform.catalogue import ASSETS
from genomic_platform.defs.candidate_runs import candidate_run
from genomic_platform.defs.lineage import origins_of_candidate
from genomic_platform.defs.partitions import field_season
from genomic_platform.defs.season import Season, open_season
from genomic_platform.defs.season_asset import OWNERS, Step, column_schema, guarded
from genomic_platform.executors.leases import CANDIDATE_TAG, DeviceRequest
from genomic_platform.known import EVERYTHING, learnt_before, learnt_from
from genomic_platform.models.candidate import FittedCandidate, fit_candidate, without_values
from genomic_platform.models.recipes import RECIPES, SEARCH, load_recipe
from genomic_platform.program import FieldSeason, ProgramFile
from genomic_platform.results import plots
from genomic_platform.schemas.predictions import VALUES
from genomic_platform.stores.assets import RELEASE

#: All candidates that are no built-in recipe by name: a programme's own classes, and searches of settings.
FURTHER = "further_candidates"
CANDIDATE_ASSETS = (*RECIPES, FURTHER)


def _describe(recipe: str) -> Any:
    def describe(season: Season, candidate: FittedCandidate) -> Mapping[str, Any]:
        rows = [{"trait": trait, **facts} for trait, facts in candidate.model.summary().items()]
        return {"by_trait": plots.markdown_table(pl.DataFrame(rows, infer_schema_length=None)),
                "values": plots.distribution(candidate.values, "genotypic_value", season.units),
                "model_folder": f"{season.program.name}/{season.label}/{recipe}/model"}

    return describe


def _step(recipe: str) -> Step:
    """Fitting the recipe on everything known at the season; its code's version decides what is stale."""

    def fit(season: Season) -> FittedCandidate:
        known = season.known(recipe)
        with candidate_run(season, recipe, known) as log:
            candidate = fit_candidate(recipe, known, season.program.file.seed, season.units, season.device,
                                      season.checkpoint, season.program.file.search_budget)
            log(candidate)
        season.note(without_values(recipe, candidate.model))
        return candidate

    return Step(recipe, fit, f"4.{load_recipe(recipe).code_version}", reads=learnt_from([recipe]),
                history=learnt_before([recipe]),
                settings=("units", "search") if recipe.startswith(SEARCH) else ("units",), describe=_describe(recipe))


def _fit(recipe: str, context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
    season = open_season(context)
    if recipe in season.candidates:
        return _step(recipe).run(context, {})
    return dg.MaterializeResult(value=None, metadata={
        "state": f"not fitted: no candidate of {season.program.name} in this run (candidates: "
                 f"{', '.join(season.candidates)})"})


def _fit_further(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
    season = open_season(context)
    further = [recipe for recipe in season.candidates if recipe not in RECIPES]
    metadata: dict[str, Any] = {"candidates": ", ".join(further) or "none"}
    versions = []
    for recipe in further:
        fitted = _step(recipe).run(context, {})
        season.assets.seal(fitted.value)
        shutil.rmtree(season.workspace.checkpoints(FieldSeason.from_key(context.partition_key),
                                                   fitted.value.fingerprint), ignore_errors=True)
        versions.append(fitted.value.data_version)
        metadata |= {f"{recipe} {name}": shown for name, shown in (fitted.metadata or {}).items()
                     if not name.startswith("dagster/")}
    return dg.MaterializeResult(value=None, metadata=metadata, data_version=dg.DataVersion(
        hashlib.sha256(" ".join(versions).encode()).hexdigest()))


def _asset(name: str, said: str, learns: tuple[str, ...], run: Any, *, on_a_card: bool = False) -> dg.AssetsDefinition:
    return dg.asset(
        name=name, description=said, group_name="candidates", code_version="4",
        kinds={"python", "mlflow", "pytorch" if on_a_card else "numpy"}, owners=OWNERS, partitions_def=field_season,
        io_manager_key="versioned", required_resource_keys={"workspace"}, deps=learns,
        op_tags=DeviceRequest(1).tags() | {CANDIDATE_TAG: name} if on_a_card else None,
        metadata=column_schema(VALUES, origins_of_candidate(name)))(guarded(run))


def _built_in(recipe: str) -> dg.AssetsDefinition:
    return _asset(
        recipe, f"{RECIPES[recipe].said}. Fitted on everything known where program.toml names it, with values of all "
        "known lines.", learnt_from([recipe]), lambda context, values: _fit(recipe, context),
        on_a_card=RECIPES[recipe].on_a_card)


candidate_assets = [
    *map(_built_in, RECIPES),
    _asset(FURTHER, "A programme's own recipes (`package.module:Class` in program.toml) and searches of settings "
           "(`search:NAME`), each fitted on everything known, with values of all known lines, and stored under its "
           "name.", EVERYTHING, lambda context, values: _fit_further(context)),
]


def assets_of(program: ProgramFile) -> list[dg.AssetKey]:
    """What a run of one season of the programme materialises: no recipe that it does not name."""
    built_in = [recipe for recipe in program.recipes if recipe in RECIPES]
    further = [FURTHER] if len(built_in) < len(program.recipes) else []
    return [dg.AssetKey(name) for name in (*ASSETS, *built_in, *further, RELEASE)]
