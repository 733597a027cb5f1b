"""The genotyped population: did it move, where, and which lines have no relatives among those learned from."""

from __future__ import annotations

from typing import Any

import dagster as dg
import polars as pl

from genomic_platform.defs.season import Season
from genomic_platform.defs.season_asset import season_asset
from genomic_platform.drift import relatives
from genomic_platform.drift import structure_shift as structure
from genomic_platform.drift.markers import marker_shift
from genomic_platform.drift.population import genotype_shift
from genomic_platform.genotypes.kinship.relationship_table import relationship_array
from genomic_platform.genotypes.quality.qc import apply_qc
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.results import drift_plots, plots
from genomic_platform.schemas.phenotypes import TRAINING_SET

#: Suspect markers, and lines without kin, that an asset's page shows; its table has all.
SHOWN = 20


def _sides(season: Season, training_set: pl.DataFrame) -> tuple[list[str], list[str]]:
    """Genotyped lines new to training this season, and those learned from before."""
    genotyped = pl.col("genotyped")
    now = set(training_set.filter(genotyped)["line_id"])
    last = season.read("training_set", season.previous) if season.previous else TRAINING_SET.empty()
    before = set(last.filter(genotyped)["line_id"])
    return sorted(now - before), sorted(before)


def _families(line_records: pl.DataFrame) -> dict[str, str | None]:
    return dict(line_records.select("line_id", "family").iter_rows())


def _describe_drift(season: Season, table: pl.DataFrame) -> dict[str, Any]:
    row = table.row(0, named=True)
    shown = {k: row[k] for k in ("mean_shift", "fst", "p_value") if row[k] is not None}
    if row["suspects"]:
        shown["suspects"] = listed(row["suspects"])
    return {"decision": row["decision"], "message": row["message"], "new_lines": row["n_new_lines"], **shown}


def listed(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more:,} more" if more > 0 else "")


@season_asset(group="monitoring", code_version="2", kinds={"numba"}, history=("training_set",),
              describe=_describe_drift)
def drift_report(season: Season, training_set: pl.DataFrame, genotype_panel: GenotypeTable, genotype_qc: pl.DataFrame,
                 relationship_matrix: pl.DataFrame, line_records: pl.DataFrame) -> pl.DataFrame:
    """Genotype shift of the lines new to training against the lines learned from before."""
    new, reference = _sides(season, training_set)
    table = apply_qc(genotype_panel, genotype_qc)
    report, markers = genotype_shift(
        table, season=season.label, new_lines=new, reference_lines=reference, families=_families(line_records),
        relationship_NN=relationship_array(relationship_matrix), seed=season.program.file.seed)
    if not markers.is_empty():
        season.shown["allele_frequencies"] = plots.frequency_shift(markers)
    if suspects := report["suspects"][0].to_list():
        season.shown["suspect_markers_table"] = suspect_table(table, suspects[:SHOWN], new, reference)
    return report


def suspect_table(table: GenotypeTable, suspects: list[str], new: list[str],
                  reference: list[str]) -> dg.MarkdownMetadataValue:
    """The markers with their frequencies on both sides and how far apart the calls are."""
    own, kept = table.select(suspects), set(table.lines)
    measured = marker_shift(own, new_lines=kept & set(new), reference_lines=kept & set(reference))
    return plots.markdown_table(own.variants.select("variant_id", "chromosome", "position", "ref", "alt").hstack(
        measured.drop("variant_id")))


def _describe_shift(season: Season, table: pl.DataFrame) -> dict[str, Any]:
    if table.is_empty():
        return {"shift": "no new or no reference line has genotypes"}
    return {"smallest_p_value": table["p_value"].min(), "tests": table["p_value"].count(),
            "shift": plots.markdown_table(table.drop("season")), "shift_plot": drift_plots.population_shift(table)}


@season_asset(group="monitoring", code_version="1", kinds={"numba"}, history=("training_set",),
              describe=_describe_shift)
def population_shift(season: Season, drift_report: pl.DataFrame, training_set: pl.DataFrame,
                     genotype_panel: GenotypeTable, genotype_qc: pl.DataFrame, relationship_matrix: pl.DataFrame,
                     population_structure: pl.DataFrame, line_records: pl.DataFrame) -> pl.DataFrame:
    """Where the population moved: F_ST of each chromosome without suspect markers, means of the first components."""
    new, reference = _sides(season, training_set)
    return structure.population_shift(
        apply_qc(genotype_panel, genotype_qc), population_structure, season=season.label, new_lines=new,
        reference_lines=reference, families=_families(line_records),
        relationship_NN=relationship_array(relationship_matrix),
        left_out=drift_report.row(0, named=True)["suspects"] or [], seed=season.program.file.seed)


def _describe_trust(season: Season, table: pl.DataFrame) -> dict[str, Any]:
    less = table.filter(trust="less").sort("closest_relationship", "line_id")
    shown = {"lines": plots.markdown_table(less.head(SHOWN).drop("phenotyped", "trust"))} if less.height else {}
    return {"message": relatives.trust_message(table), "trusted_less": less.height,
            "without_record": table.filter(~pl.col("phenotyped")).height, **shown,
            "relatives": drift_plots.closest_relatives(table)}


@season_asset(group="monitoring", code_version="1", describe=_describe_trust)
def line_trust(season: Season, breeding_values: pl.DataFrame, training_set: pl.DataFrame,
               relationship_matrix: pl.DataFrame) -> pl.DataFrame:
    """Which lines' values to trust less: lines without a record and without close relatives in training."""
    return relatives.line_trust(breeding_values, training_set["line_id"].unique().to_list(),
                                relationship_matrix["line_id"].to_list(), relationship_array(relationship_matrix))
