"""Did it help: the models trained after the preceding season beside those they took over from, on this harvest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from genomic_platform.champions import CHAMPION
from genomic_platform.defs.season import Season
from genomic_platform.defs.season_asset import season_asset
from genomic_platform.errors import GenomicPlatformError, Notice
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.retrained import Retrained
from genomic_platform.models.retrained import retraining_effect as effect_of
from genomic_platform.results import plots
from genomic_platform.retraining.challengers import kind_of
from genomic_platform.schemas.monitoring import RETRAINING_EFFECT
from genomic_platform.schemas.predictions import VALUES
from genomic_platform.stores.assets import RELEASE
from genomic_platform.stores.decisions import standing


def _describe(season: Season, table: pl.DataFrame) -> dict[str, Any]:
    if table.is_empty():
        return {"effect": "no model that was retrained has met a harvest yet"}
    return {"helped": ", ".join(f"{r['trait']}: {r['helped']}" for r in table.to_dicts()),
            "before_and_after": plots.markdown_table(table.drop("season"))}


@season_asset(group="monitoring", code_version="1", history=("registered_model",), hand_decisions=True,
              describe=_describe)
def retraining_effect(season: Season, line_means: pl.DataFrame, line_records: pl.DataFrame,
                      genotype_panel: GenotypeTable) -> pl.DataFrame:
    """The champion retrained after the preceding season beside the one it took over from, scored on this harvest."""
    genotyped = set(genotype_panel.lines)
    harvested = genotype_panel.select(None, sorted(line for line in set(line_means["line_id"]) if line in genotyped))
    values = _Shadows(season, harvested)
    pairs = [(found, before, after) for found, before, after in _models(season)
             if values.can(before) and values.can(after)]
    if not pairs:
        return RETRAINING_EFFECT.empty()
    return effect_of([found for found, _, _ in pairs],
                     values.of({found.trait: before for found, before, _ in pairs}),
                     values.of({found.trait: after for found, _, after in pairs}), line_means, season=season.label,
                     families=dict(line_records.select("line_id", "family").iter_rows()),
                     seed=season.program.file.seed)


Key = tuple[str, str, str]


class _Shadows:
    """Values that models of earlier seasons give the harvested lines; one that cannot score is said and left out."""

    def __init__(self, season: Season, lines: GenotypeTable) -> None:
        self._season, self._lines = season, lines
        self._values: dict[Key, pl.DataFrame | None] = {}

    def can(self, key: Key) -> bool:
        if key not in self._values:
            try:
                self._values[key] = self._season.champion(*key).score(self._lines, self._season.units)
            except GenomicPlatformError as error:  # markers of another panel: no reason to hold a season back
                self._season.note([Notice("no_shadow", f"{key[0]} trained through {key[1]} does not score this "
                                          f"harvest: {error}")])
                self._values[key] = None
        return self._values[key] is not None

    def of(self, champion_of: Mapping[str, Key]) -> pl.DataFrame:
        tables = [(trait, self._values[key]) for trait, key in champion_of.items()]
        return VALUES.conform(pl.concat([table.filter(pl.col("trait") == trait)
                                         for trait, table in tables if table is not None]))


def _models(season: Season) -> list[tuple[Retrained, Key, Key]]:
    """Traits whose champion was trained anew, and recipe, last season seen and version of both, before and after.

    Before is what the preceding season was first published with, where a later release of it changed the champion; else
    the champion after the season before it.
    """
    if season.previous is None:
        return []
    release = season.assets.record(RELEASE, season.previous)
    cause = kind_of(release.extra.get("cause", "") if release else "")
    after = _champions(standing(season.assets, season.previous))
    first = _champions(standing(season.assets.at(season.assets.releases()[season.previous][0]), season.previous))
    before = _champions(standing(season.assets, season.earlier[-2])) if len(season.earlier) > 1 else {}
    found = []
    for trait, key in sorted(after.items()):
        again = first.get(trait, key) != key
        other = first[trait] if again else before.get(trait, key)
        if other != key and other[1] <= key[1]:  # back to an older model is a rollback, no retraining
            found.append((Retrained(trait, cause if again else "season", *other[:2], *key[:2]), other, key))
    return found


def _champions(decisions: pl.DataFrame) -> dict[str, Key]:
    return {row["trait"]: tuple(row[name] for name in CHAMPION) for row in decisions.iter_rows(named=True)}  # type: ignore[misc]

