"""Checks of the genotype tables."""

from typing import Any

import polars as pl

from genomic_platform.defs.checking import season_check
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.landing.inspection import MIN_TRAINING_LINES


@season_check("genotype_panel", blocking=True, inputs=("trial_records",))
def lines_with_genotypes(panel: GenotypeTable, trial_records: pl.DataFrame) -> tuple[bool, dict[str, Any]]:
    """Lines grown this season have genotypes: none at all is a fault of names; those without serve stage
    one, and train where the pedigree joins them to genotyped ones."""
    grown = set(trial_records["line_id"])
    without = sorted(grown - set(panel.lines))
    both = len(grown) - len(without)
    return both > 0, {
        "lines_in_trials": len(grown), "with_genotypes": both, "without_genotypes": len(without),
        "examples": without[:5]}


@season_check("genotype_qc", blocking=True)
def enough_variants(table: pl.DataFrame) -> tuple[bool, dict[str, Any]]:
    """At least one polymorphic variant and twenty lines are kept."""
    kept = table.filter(pl.col("kept"))
    variants, lines = (kept.filter(pl.col("kind") == kind).height for kind in ("variant", "line"))
    return variants > 0 and lines >= MIN_TRAINING_LINES, {"variants_kept": variants, "lines_kept": lines}
