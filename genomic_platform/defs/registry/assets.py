"""Registry: the decision record, the champion's values, the ranking, and the release that publishes the season."""

from datetime import timedelta
from typing import Any

import dagster as dg
import polars as pl

from genomic_platform.catalogue import codec_of
from genomic_platform.champions import CHAMPION, champions, index_goals
from genomic_platform.defs.failures import as_failure
from genomic_platform.defs.partitions import field_season
from genomic_platform.defs.season import Season, open_season
from genomic_platform.defs.season_asset import OWNERS, metered, season_asset
from genomic_platform.defs.training.candidates import CANDIDATE_ASSETS
from genomic_platform.errors import GenomicPlatformError
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.links import lakefs_commit, mlflow_page
from genomic_platform.models.comparison import Candidate, decide
from genomic_platform.models.gate import GateRule
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.models.selection import selection_index as rank_lines
from genomic_platform.models.setback import setbacks
from genomic_platform.program import RESULT_SECTIONS
from genomic_platform.results import plots
from genomic_platform.results.model_card import log_cards
from genomic_platform.stores.assets import RELEASE
from genomic_platform.stores.decisions import pinned, standing
from genomic_platform.stores.evidently_projects import add_pages, page_links
from genomic_platform.stores.protocol import MAIN
from genomic_platform.stores.release import publish, release_record, require_settings
from genomic_platform.workspace import Workspace

#: Assets nothing but the release depends on: every other asset and blocking check lies upstream of one of them.
LAST = ["season_report", "evidently_report", "batch_report", "parentage"]

#: A workspace that has published nothing for longer than a year between two harvests shows as stale in the asset graph.
#: Dagster holds it against the newest release of any season of any programme: which season of which programme is late
#: is told by the alert sensor, by the programme's calendar.
FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=550), warn_window=timedelta(days=400))


def _describe_decisions(season: Season, table: pl.DataFrame) -> dict[str, Any]:
    shown = table.select("trait", "decision", "recipe", "challenger", "proposed", "trained_through", "n_train",
                         pl.col("reasons").list.join("; "))
    return {"decisions": plots.markdown_table(shown)}


@season_asset(group="registry", code_version="1", kinds={"mlflow"}, settings=("candidates", "gate"),
              reads=lambda program: program.candidates, after=CANDIDATE_ASSETS,
              history=("registered_model", "breeding_values"), hand_decisions=True, describe=_describe_decisions)
def registered_model(season: Season, model_comparison: pl.DataFrame, recipe_differences: pl.DataFrame,
                     training_set: pl.DataFrame, genotype_panel: GenotypeTable, line_means: pl.DataFrame,
                     line_records: pl.DataFrame) -> pl.DataFrame:
    """The decision of each trait: which recipe is champion after this season, and why."""
    candidates = [Candidate(r, season.data_version(r), season.read(r).values) for r in season.candidates]
    previous = standing(season.assets, season.previous) if season.previous else None
    known = TrainingSet(season.label, training_set, genotype_panel)
    return decide(known, model_comparison, candidates, differences=recipe_differences, previous=previous,
                  previous_values=season.read("breeding_values", season.previous) if season.previous else None,
                  pins=pinned(season.assets, before=season.label),
                  manual=season.program.file.gate.approval == "manual",
                  setbacks=_setbacks(season, line_means, line_records))


def _setbacks(season: Season, line_means: pl.DataFrame, line_records: pl.DataFrame) -> dict[str, Any]:
    """Champions that this harvest shows to be worse than their predecessors, where the programme allows going back."""
    gate = season.program.file.gate
    if not gate.automatic_rollback or len(season.earlier) < 2:
        return {}
    last, before = season.earlier[-1], season.earlier[-2]
    found = setbacks(
        standing(season.assets, last), standing(season.assets, before), season.first_published("breeding_values", last),
        season.first_published("breeding_values", before), line_means, season=season.label,
        families=dict(line_records.select("line_id", "family").iter_rows()),
        rule=GateRule(gate.margin, gate.confidence, gate.group_margin), seed=season.program.file.seed)
    return {trait: (setback.predecessor, setback.why) for trait, setback in found.items()}


@season_asset(group="registry", code_version="1", reads=lambda program: program.candidates, after=CANDIDATE_ASSETS,
              describe=lambda season, table: {
    "mean_reliability": table["genotypic_value_reliability"].mean(),
    "reliability": plots.distribution(table, "genotypic_value_reliability",
                                      dict.fromkeys(season.units, "reliability"))})
def breeding_values(season: Season, registered_model: pl.DataFrame, genotype_panel: GenotypeTable,
                    genotype_qc: pl.DataFrame) -> pl.DataFrame:
    """The champion's values and reliabilities of every line known at the season, all traits."""
    own = {(recipe, season.label, season.data_version(recipe)) for recipe in season.candidates}
    lines = genotype_qc.filter(pl.col("kind") == "line", pl.col("kept"))["id"].to_list()
    known = genotype_panel.select(None, lines)
    tables = []
    for (trait, champion), key in zip(champions(registered_model, season.champion).items(),
                                      registered_model.select(*CHAMPION).iter_rows(), strict=True):
        # A champion kept from an earlier season has not seen the lines that came since.
        values = champion.values if key in own else champion.score(known, season.units)
        tables.append(values.filter(pl.col("trait") == trait))
    return pl.concat(tables)


@season_asset(group="registry", code_version="1", settings=("traits", "index"),
              history=("line_means",), describe=lambda season, table: {
    "first_ten": plots.top_of(table, ["rank", "line_id", "index", "index_reliability", "family", "phenotyped"])})
def selection_index(season: Season, breeding_values: pl.DataFrame, line_records: pl.DataFrame,
                    line_means: pl.DataFrame, registered_model: pl.DataFrame) -> pl.DataFrame:
    """All known lines ranked by the programme's weights and directions."""
    goals = index_goals(season.program.traits, champions(registered_model, season.champion),
                        season.history("line_means", line_means))
    return rank_lines(breeding_values, goals, line_records, value=season.program.file.index.value)


def commit_link(workspace: Workspace, commit: str) -> dg.MetadataValue:
    """The commit's page in lakeFS, or its id where there is none."""
    page = lakefs_commit(workspace.settings, commit)
    return dg.MetadataValue.url(page) if page else dg.MetadataValue.text(commit)


def _cards(season: Season) -> dg.MetadataValue:
    """Links to the cards of the season's versions. The season is published by now: a failure is said, not raised."""
    try:
        placed = log_cards(season.program, season.workspace, season.label)
    except GenomicPlatformError as error:
        return dg.MetadataValue.text(f"not made: {error}; repair: genomic-platform card makes them")
    settings = season.workspace.settings
    return dg.MetadataValue.md("\n".join(f"- [{name}]({mlflow_page(settings, at)})" for name, at in placed.items()))


def _drift_pages(season: Season) -> dg.MetadataValue:
    """Links to the season's pages in Evidently's workspace; a failure is said, not raised."""
    key = season.program.season(season.label)
    try:
        pages = season.assets.at(MAIN).read("evidently_report", season.label, codec_of("evidently_report"))
        add_pages(season.workspace, key, pages)
    except (GenomicPlatformError, OSError) as error:
        return dg.MetadataValue.text(f"not placed: {error}; repair: genomic-platform run DIR --force places them")
    links = page_links(season.workspace.settings, key, pages)
    return dg.MetadataValue.md("\n".join(f"- [{name}]({at})" for name, at in links.items()) or pages.said)


@dg.asset(group_name="registry", kinds={"mlflow", "git"}, owners=OWNERS, partitions_def=field_season, code_version="1",
          required_resource_keys={"workspace"}, deps=LAST, freshness_policy=FRESHNESS)
def season_release(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Publishes the season: merges the run's branch into `main`, then points the registry's aliases at the decisions.

    Downstream of every asset and blocking check. Only what is released is seen by the command line, by sensors and by
    later seasons.
    """
    try:
        season = open_season(context)
        require_settings(season.assets, season.label, season.program)
        declared = season.workspace.program(season.program.name)  # as program.toml has it: without challengers
        with metered(context, season, RELEASE, "registry") as work:
            record = release_record(season.assets, season.label, season.candidates, context.run.run_id,
                                    declared.settings_digest(*RESULT_SECTIONS), season.cause)
            season.assets.seal_settings(season.label, season.program.path.read_bytes())
            released = publish(season.workspace, season.assets, record)
            cards, pages = _cards(season), _drift_pages(season)
    except GenomicPlatformError as error:
        raise as_failure(error, context.instance, context.run) from error
    versions = pl.DataFrame({"trait": list(released.versions), "champion_version": list(released.versions.values())})
    return dg.MaterializeResult(
        data_version=dg.DataVersion(record.data_version),
        metadata={"commit": commit_link(season.workspace, released.commit),
                  "registry_versions": plots.markdown_table(versions), "model_cards": cards,
                  "drift_pages": pages,
                  "code_version": record.code_version, "known_digest": record.extra["known_digest"], **work.facts()})
