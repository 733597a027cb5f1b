"""Genotypes: files to the packed table, the lines known at a season, quality, relationship, structure."""

from __future__ import annotations

from typing import Any

import polars as pl

from genomic_platform.defs.season_asset import Season, season_asset
from genomic_platform.genotypes.panel import known_panel
from genomic_platform.genotypes.qc import apply_qc
from genomic_platform.genotypes.qc import genotype_qc as quality
from genomic_platform.genotypes.read import read_genotypes
from genomic_platform.genotypes.relationship import vanraden
from genomic_platform.genotypes.relationship_table import relationship_array, relationship_table
from genomic_platform.genotypes.structure import principal_components
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.phenotypes.lines import read_lines
from genomic_platform.results import plots


def _describe_genotypes(season: Season, table: GenotypeTable) -> dict[str, Any]:
    calls = table.variants["call_rate"].mean()
    return {"lines": table.n_lines, "variants": table.n_variants, "mean_call_rate": calls,
            "marker_digest": table.marker_digest,
            "chromosomes": table.variants["chromosome"].n_unique(),
            "allele_frequency_spectrum": plots.allele_frequency_spectrum(table.variants["alt_frequency"].to_numpy())}


@season_asset(group="genotypes", code_version="1", kinds={"arrow"}, landing=("genotypes",), timeless=True,
              describe=_describe_genotypes)
def genotype_batch(season: Season) -> GenotypeTable:
    """The variant files as one packed table: one row per variant, two bits a call, lines as in the files."""
    table, notices = read_genotypes(season.landing.files("genotypes"))
    season.note(notices)
    return table


@season_asset(group="genotypes", code_version="2", kinds={"arrow"}, landing=("lines",), describe=_describe_genotypes)
def genotype_panel(season: Season, genotype_batch: GenotypeTable, line_records: pl.DataFrame) -> GenotypeTable:
    """Genotypes of the lines known at the season, under their stable names."""
    # line_records is what differs between seasons with the same files: without it an earlier panel would be taken
    registry = read_lines(season.landing.lines_file)
    return known_panel(genotype_batch, registry.synonyms,
                       set(registry.records["line_id"]) - set(line_records["line_id"]))


def _describe_qc(season: Season, table: pl.DataFrame) -> dict[str, Any]:
    reasons = table.filter(~pl.col("kept")).group_by("kind", "reason").len().sort("len", descending=True)
    kept = {kind: table.filter(pl.col("kept"), pl.col("kind") == kind).height for kind in ("variant", "line")}
    return {"variants_kept": kept["variant"], "lines_kept": kept["line"], "removals": plots.markdown_table(reasons)}


@season_asset(group="genotypes", code_version="1", settings=("genotype_qc",), timeless=True,
              describe=_describe_qc)
def genotype_qc(season: Season, genotype_panel: GenotypeTable) -> pl.DataFrame:
    """What is kept and removed, with a reason each, by the thresholds of program.toml."""
    return quality(genotype_panel, **season.program.file.genotype_qc.model_dump())


def _describe_relationship(season: Season, table: pl.DataFrame) -> dict[str, Any]:
    matrix_NN = relationship_array(table)
    return {"mean_inbreeding": float(matrix_NN.diagonal().mean() - 1), "relationship": plots.relationship(matrix_NN)}


@season_asset(group="genotypes", code_version="1", kinds={"numpy"}, timeless=True,
              describe=_describe_relationship)
def relationship_matrix(season: Season, genotype_panel: GenotypeTable, genotype_qc: pl.DataFrame) -> pl.DataFrame:
    """Genomic relationship between all lines known at the season (VanRaden 2008, method 1)."""
    table = apply_qc(genotype_panel, genotype_qc)
    return relationship_table(table.lines, vanraden(table).matrix_NN)


def _describe_structure(season: Season, table: pl.DataFrame) -> dict[str, Any]:
    shares = table.unique("component").sort("component")["variance_share"].to_list()
    families = season.read("line_records").select("line_id", "family")
    return {"variance_share": shares[:5], "structure": plots.structure(table.join(families, "line_id", how="left"))}


@season_asset(group="genotypes", code_version="1", kinds={"numpy"}, timeless=True, shown_with=("line_records",),
              describe=_describe_structure)
def population_structure(season: Season, relationship_matrix: pl.DataFrame) -> pl.DataFrame:
    """Principal components of the genomic relationship: how the lines group."""
    return principal_components(relationship_array(relationship_matrix), relationship_matrix["line_id"].to_list())
