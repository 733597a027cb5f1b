"""Genotypes: files to the packed table, the lines known at a season, quality, relationship, structure."""

from __future__ import annotations

from typing import Any

import polars as pl

from genomic_platform.defs.season_asset import Season, season_asset
from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.kinship.relationship_table import relationship_array, relationship_table
from genomic_platform.genotypes.merging.batch_set import GenotypeBatches, imputation_report, merge_notices, merge_report
from genomic_platform.genotypes.merging.batches import MergedPanel
from genomic_platform.genotypes.population.structure import principal_components
from genomic_platform.genotypes.quality.parentage import check_parentage, parentage_notices
from genomic_platform.genotypes.quality.qc import apply_qc
from genomic_platform.genotypes.quality.qc import genotype_qc as quality
from genomic_platform.genotypes.quality.qc_summary import qc_summary
from genomic_platform.genotypes.read import read_batches
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.phenotypes.lines import read_lines
from genomic_platform.results import plots


def _describe_genotypes(season: Season, table: GenotypeTable) -> dict[str, Any]:
    calls = table.variants["call_rate"].mean()
    return {"lines": table.n_lines, "variants": table.n_variants, "mean_call_rate": calls,
            "marker_digest": table.marker_digest,
            "chromosomes": table.variants["chromosome"].n_unique(),
            "allele_frequency_spectrum": plots.allele_frequency_spectrum(table.variants["alt_frequency"].to_numpy())}


def _describe_batches(season: Season, batches: GenotypeBatches) -> dict[str, Any]:
    sizes = pl.DataFrame([(name, t.n_lines, t.n_variants, t.variants["call_rate"].mean())
                          for name, t in batches.tables.items()],
                         schema=["batch", "lines", "variants", "mean_call_rate"], orient="row")
    return {"batches": len(batches.tables), "lines": int(sizes["lines"].sum()), "sizes": plots.markdown_table(sizes)}


@season_asset(group="genotypes", code_version="2", kinds={"arrow"}, landing=("genotypes",), timeless=True,
              describe=_describe_batches)
def genotype_batch(season: Season) -> GenotypeBatches:
    """The variant files as packed tables, one a batch: a row per variant, two bits a call, lines as in the files."""
    tables, notices = read_batches(season.landing.files("genotypes"))
    season.note(notices)
    return GenotypeBatches(tables)


@season_asset(group="genotypes", code_version="3", kinds={"arrow"}, landing=("lines",), describe=_describe_genotypes)
def genotype_panel(season: Season, genotype_batch: GenotypeBatches, line_records: pl.DataFrame) -> GenotypeTable:
    """Genotypes of the lines known at the season, under their stable names; batches merged, markers harmonised."""
    panel = _merged(season, genotype_batch, line_records)
    season.note(merge_notices(panel))
    return panel.table


def _describe_report(season: Season, table: pl.DataFrame) -> dict[str, Any]:
    counts = table.filter(kind="batch").pivot("batch", index="measure", values="value")
    by = ["batch", "kind", "measure"]
    done = table.filter(pl.col("kind") != "batch").group_by(by).len().sort(by)
    return {"batches": table["batch"].n_unique(), "counts": plots.markdown_table(counts, 4),
            "variants_and_lines": plots.markdown_table(done)}


@season_asset(group="genotypes", code_version="1", kinds={"polars"}, landing=("lines",), describe=_describe_report)
def batch_report(season: Season, genotype_batch: GenotypeBatches, line_records: pl.DataFrame) -> pl.DataFrame:
    """What became of every batch: variants matched, recoded, left out; repeated lines; how well gaps can be imputed."""
    panel = _merged(season, genotype_batch, line_records)
    return pl.concat([merge_report(panel), imputation_report(panel.table, genotype_batch.tables)])


def _merged(season: Season, batches: GenotypeBatches, line_records: pl.DataFrame) -> MergedPanel:
    # line_records is what differs between seasons with the same files: without it an earlier panel would be taken
    registry = read_lines(season.landing.lines_file)
    return batches.panel(registry.synonyms, set(registry.records["line_id"]) - set(line_records["line_id"]))


def _describe_qc(season: Season, table: pl.DataFrame) -> dict[str, Any]:
    found = qc_summary(season.read("genotype_panel"), table)
    by_kind = {"line": found["lines_removed"], "variant": found["variants_removed"]}
    removed = pl.DataFrame([(kind, reason, count) for kind, reasons in by_kind.items()
                            for reason, count in reasons.items()],
                           schema=["kind", "reason", "count"], orient="row")
    numbers = {name: value for name, value in found.items() if isinstance(value, int | float | str)}
    return {**numbers, "removals": plots.markdown_table(removed), "lines_plot": plots.line_quality(table),
            "hardy_weinberg_plot": plots.hardy_weinberg(table)}


@season_asset(group="genotypes", code_version="3", settings=("genotype_qc",), timeless=True,
              describe=_describe_qc)
def genotype_qc(season: Season, genotype_panel: GenotypeTable, pedigree: pl.DataFrame) -> pl.DataFrame:
    """What is kept and removed, with a reason each, by the thresholds of program.toml."""
    declared = dict(pedigree.drop_nulls("inbreeding").select("line_id", "inbreeding").iter_rows())
    return quality(genotype_panel, declared_inbreeding=declared, **season.program.file.genotype_qc.model_dump())


def _describe_parentage(season: Season, table: pl.DataFrame) -> dict[str, Any]:
    verdicts = table.group_by("verdict").len().sort(["len", "verdict"], descending=[True, False])
    faults = table.filter(~pl.col("verdict").is_in(["consistent", "not_tested"])).select(
        "line_id", "parent_1", "parent_2", "error_rate", "verdict", "suggestion", "reason")
    return {"tested": table.filter(pl.col("verdict") != "not_tested").height, "at_fault": faults.height,
            "verdicts": plots.markdown_table(verdicts), "faults": plots.markdown_table(faults.head(50))}


@season_asset(group="genotypes", code_version="2", kinds={"numpy"}, timeless=True, describe=_describe_parentage)
def parentage(season: Season, genotype_panel: GenotypeTable, pedigree: pl.DataFrame) -> pl.DataFrame:
    """Genotyped lines against their declared parents: Mendelian errors, wrong parents, swapped and mixed samples."""
    found = check_parentage(genotype_panel, pedigree)
    season.note(parentage_notices(found))
    return found


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


@season_asset(group="genotypes", code_version="1", kinds={"numpy"}, timeless=True, after=("line_records",),
              describe=_describe_structure)
def population_structure(season: Season, relationship_matrix: pl.DataFrame) -> pl.DataFrame:
    """Principal components of the genomic relationship: how the lines group."""
    return principal_components(relationship_array(relationship_matrix), relationship_matrix["line_id"].to_list())
