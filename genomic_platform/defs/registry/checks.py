"""Checks of what is about to be published."""

from typing import Any

import polars as pl

from genomic_platform.defs.checking import season_check
from genomic_platform.schemas.predictions import DECISIONS, REGISTERED_MODEL, VALUES


@season_check("registered_model", blocking=True, inputs=("training_set",))
def every_trait_decided(table: pl.DataFrame, training_set: pl.DataFrame) -> tuple[bool, dict[str, Any]]:
    """Each trait learned has one decision of the known kinds, with reasons."""
    undecided = sorted(set(training_set["trait"]) - set(table["trait"]))
    faults = REGISTERED_MODEL.faults(table)
    faults += [f"{r['trait']}: decision {r['decision']} is none of {', '.join(DECISIONS)}" for r in table.to_dicts()
               if r["decision"] not in DECISIONS]
    faults += [f"{r['trait']}: no reason given" for r in table.to_dicts() if not r["reasons"]]
    return not undecided and not faults, {"traits": table.height, "undecided": undecided, "faults": faults}


@season_check("breeding_values", blocking=True, inputs=("relationship_matrix",))
def values_sound(values: pl.DataFrame, relationship_matrix: pl.DataFrame) -> tuple[bool, dict[str, Any]]:
    """Every line of the panel has finite values, and reliabilities lie between 0 and 1."""
    faults = VALUES.faults(values)
    reliability = [c for c in values.columns if c.endswith("_reliability")]
    outside = values.filter(pl.any_horizontal(pl.col(c).is_between(0, 1).not_() for c in reliability)).height
    infinite = values.filter(~pl.col("breeding_value").is_finite() | ~pl.col("genotypic_value").is_finite()).height
    lost = set(relationship_matrix["line_id"]) - set(values["line_id"])
    return not (faults or outside or infinite or lost), {
        "values": values.height, "reliability_outside": outside, "not_finite": infinite, "lines_lost": len(lost),
        "faults": faults}
