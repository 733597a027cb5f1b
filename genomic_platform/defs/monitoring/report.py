"""Monitoring: the season as one page for a breeder, from the season's tables and what was promised and seen before."""

from __future__ import annotations

from typing import Any

import dagster as dg
import polars as pl

from genomic_platform.champions import champions, index_goals, true_spreads
from genomic_platform.defs.season import Season
from genomic_platform.defs.season_asset import season_asset
from genomic_platform.results.season_page import SeasonPage, SeasonResults, TraitFacts, season_page


def _traits(season: Season, registered_model: pl.DataFrame, line_means: pl.DataFrame) -> dict[str, TraitFacts]:
    """What the programme and the champions say of every trait."""
    champion_of = champions(registered_model, season.champion)
    goals = index_goals(season.program.traits, champion_of, line_means)
    spreads = true_spreads(champion_of, season.program.file.index.value)
    return {name: TraitFacts(trait.unit, trait.direction, trait.weight, spreads.get(name),
                             goals[name].average if name in goals else None)
            for name, trait in season.program.traits.items()}


def _describe(season: Season, page: SeasonPage) -> dict[str, Any]:
    command = f"genomic-platform page {season.program.folder.name} --season {season.label} --out {season.label}.html"
    return {"summary": page.summary, "bytes": len(page.html.encode()),
            "page": dg.MetadataValue.md(f"`{command}` writes it once the season is published")}


@season_asset(group="monitoring", code_version="1", kinds={"html"}, settings=("traits", "index", "crop", "calendar"),
              history=("realised_accuracy", "accuracy_promise", "line_means"), describe=_describe)
def season_report(season: Season, selection_index: pl.DataFrame, breeding_values: pl.DataFrame,
                  registered_model: pl.DataFrame, realised_accuracy: pl.DataFrame, drift_report: pl.DataFrame,
                  population_shift: pl.DataFrame, line_trust: pl.DataFrame, input_drift: pl.DataFrame,
                  prediction_drift: pl.DataFrame, accuracy_promise: pl.DataFrame, retraining_effect: pl.DataFrame,
                  line_records: pl.DataFrame, line_means: pl.DataFrame) -> SeasonPage:
    """The season for a breeder, as one self-contained page: the list, whether to trust it, what drifted and changed."""
    file = season.program.file
    return season_page(SeasonResults(
        program=season.program.name, season=season.label, crop=file.crop, ordered=file.calendar.seasons != "unordered",
        traits=_traits(season, registered_model, season.history("line_means", line_means)), value=file.index.value,
        index=selection_index, values=breeding_values, decisions=registered_model,
        accuracy=season.history("realised_accuracy", realised_accuracy), drift=drift_report, line_records=line_records,
        population_shift=population_shift, line_trust=line_trust, input_drift=input_drift,
        prediction_drift=prediction_drift, accuracy_promise=season.history("accuracy_promise", accuracy_promise),
        retraining_effect=retraining_effect, fingerprint=season.fingerprint, versions=season.inputs))
