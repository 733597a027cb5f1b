"""Checks of what models learn from."""

from typing import Any

import dagster as dg
import polars as pl

from genomic_platform.defs.checking import season_check
from genomic_platform.landing.inspection import MIN_TRAINING_LINES
from genomic_platform.schemas.phenotypes import TRAINING_SET
from genomic_platform.schemas.predictions import MODEL_COMPARISON


@season_check("training_set", blocking=True, inputs=("line_means",))
def nothing_later(training_set: pl.DataFrame, line_means: pl.DataFrame) -> tuple[bool, dict[str, Any]]:
    """No line or record of a season after this one is in the training set."""
    last = line_means["season"].max()
    later = training_set.filter((pl.col("first_season") > last) | (pl.col("last_season") > last))
    faults = TRAINING_SET.faults(training_set)
    return later.is_empty() and not faults, {"season": str(last), "later_lines": later.height, "faults": faults}


@season_check("training_set", blocking=True)
def enough_training_lines(training_set: pl.DataFrame) -> tuple[bool, dict[str, Any]]:
    """There are at least twenty lines with genotypes and records to learn from."""
    genotyped = training_set.filter("genotyped")
    lines = genotyped["line_id"].n_unique()
    by_trait = dict(genotyped.group_by("trait").len().sort("trait").iter_rows())
    return lines >= MIN_TRAINING_LINES, {"lines": lines, **by_trait}


@season_check("model_comparison", blocking=True)
def comparison_complete(table: pl.DataFrame) -> tuple[bool, dict[str, Any]]:
    """Every recipe is scored on the same lines in every trait, scheme and season."""
    uneven = table.group_by("trait", "scheme", "season").agg(pl.col("n_lines").n_unique()).filter(pl.col("n_lines") > 1)
    faults = MODEL_COMPARISON.faults(table)
    return uneven.is_empty() and not faults, {"comparisons": table.height, "uneven": uneven.height, "faults": faults,
                                              "recipes": dg.MetadataValue.json(sorted(set(table["recipe"])))}
