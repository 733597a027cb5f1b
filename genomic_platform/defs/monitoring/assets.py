"""Monitoring of the population: are this season's new lines like the ones learned from."""

from __future__ import annotations

from typing import Any

import polars as pl

from genomic_platform.defs.season_asset import Season, season_asset
from genomic_platform.drift.population import genotype_shift
from genomic_platform.genotypes.kinship.relationship_table import relationship_array
from genomic_platform.genotypes.quality.qc import apply_qc
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.results import plots
from genomic_platform.schemas.phenotypes import TRAINING_SET


def _describe_drift(season: Season, table: pl.DataFrame) -> dict[str, Any]:
    row = table.row(0, named=True)
    return {"decision": row["decision"], "message": row["message"], "new_lines": row["n_new_lines"],
            **{k: row[k] for k in ("mean_shift", "fst", "p_value") if row[k] is not None}}


@season_asset(group="monitoring", code_version="1", history=("training_set",), describe=_describe_drift)
def drift_report(season: Season, training_set: pl.DataFrame, genotype_panel: GenotypeTable, genotype_qc: pl.DataFrame,
                 relationship_matrix: pl.DataFrame, line_records: pl.DataFrame) -> pl.DataFrame:
    """Genotype shift of the lines new to training against the lines learned from before."""
    genotyped = pl.col("genotyped")
    now = set(training_set.filter(genotyped)["line_id"])
    last = season.read("training_set", season.previous) if season.previous else TRAINING_SET.empty()
    before = set(last.filter(genotyped)["line_id"])
    report, markers = genotype_shift(
        apply_qc(genotype_panel, genotype_qc), season=season.label, new_lines=sorted(now - before),
        reference_lines=sorted(before), families=dict(line_records.select("line_id", "family").iter_rows()),
        relationship_NN=relationship_array(relationship_matrix), seed=season.program.file.seed)
    if not markers.is_empty():
        season.shown["allele_frequencies"] = plots.frequency_shift(markers)
    return report
