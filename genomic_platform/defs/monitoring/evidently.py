"""The season's drift as pages to look at, drawn by Evidently where it is installed.

What they are drawn from is chosen in `drift/comparisons.py`; decisions are `drift_report`'s and `input_drift`'s.
Nothing here may keep a season from being published.
"""

from __future__ import annotations

from typing import Any

import dagster as dg
import polars as pl

from genomic_platform.defs.season_asset import Season, season_asset
from genomic_platform.drift.comparisons import environments_compared, lines_compared
from genomic_platform.drift.season_pages import SeasonPages
from genomic_platform.phenotypes.line_means import season_means
from genomic_platform.settings import read_settings
from genomic_platform.stores.evidently_projects import OFF, draw, installed, page_links

#: Part of the code version, so that a replay draws the pages after Evidently was installed or changed.
DRAWN_BY = installed() if read_settings().evidently_pages else "off"


def _describe_pages(season: Season, pages: SeasonPages) -> dict[str, Any]:
    shown: dict[str, Any] = {"evidently": pages.said or pages.evidently}
    for name, told in pages.told().items():
        verdicts = [column["verdict"] for column in told["columns"]]
        shown |= {f"{name}_columns": len(verdicts), f"{name}_moved": verdicts.count("moved"),
                  f"{name}_too_few": verdicts.count("too_few"), f"{name}_rows": told["rows_current"],
                  f"{name}_rows_before": told["rows_reference"]}
    links = page_links(season.workspace.settings, season.program.season(season.label), pages)
    return shown | {f"{name}_page": dg.MetadataValue.url(link) for name, link in links.items()}


@season_asset(group="monitoring", code_version=f"1.{DRAWN_BY or 'absent'}", kinds={"evidently"},
              history=("training_set", "breeding_values"), describe=_describe_pages)
def evidently_report(season: Season, environment_features: pl.DataFrame, breeding_values: pl.DataFrame,
                     population_structure: pl.DataFrame, relationship_matrix: pl.DataFrame, line_records: pl.DataFrame,
                     line_means: pl.DataFrame, drift_report: pl.DataFrame, input_drift: pl.DataFrame) -> SeasonPages:
    """Evidently's pages of the season: environments beside earlier ones, lines not learned from beside the others."""
    if DRAWN_BY == "off":
        return SeasonPages("", OFF)
    before = season.previous
    comparisons = [environments_compared(environment_features, season.label, input_drift)]
    if DRAWN_BY and before is not None:
        trained = season.read("training_set", before).filter("genotyped")["line_id"]
        comparisons.append(lines_compared(
            breeding_values, population_structure, relationship_matrix, line_records, season=season.label,
            trained_before=set(trained), promised=season.first_published("breeding_values", before),
            harvest=season_means(line_means), decided=drift_report["message"][0]))
    return draw(comparisons, DRAWN_BY, season.program.file.seed)
