"""Checks of the phenotype tables: what must hold before a season's records go on."""

from typing import Any

import polars as pl

from genomic_platform.defs.checking import season_check
from genomic_platform.phenotypes.plausible import implausible_values
from genomic_platform.schemas.pedigree import PEDIGREE
from genomic_platform.schemas.phenotypes import LINE_MEANS, LINE_RECORDS, TRIAL_RECORDS


@season_check("trial_records", blocking=True)
def trial_records_schema(table: pl.DataFrame) -> tuple[bool, dict[str, Any]]:
    """The records keep their contract: columns, types, empty cells, key."""
    faults = TRIAL_RECORDS.faults(table)
    return not faults, {"rows": table.height, "faults": faults}


@season_check("trial_records", blocking=False)
def values_in_range(table: pl.DataFrame) -> tuple[bool, dict[str, Any]]:
    """No value lies more than eight robust standard deviations from its environment's median."""
    odd = implausible_values(table)
    return odd.is_empty(), {"outside": odd.height, "values": table.height,
                            "examples": [f"{r['line_id']} {r['trait']} {r['value']}" for r in odd.head(5).to_dicts()]}


@season_check("line_records", blocking=True)
def no_duplicated_lines(table: pl.DataFrame) -> tuple[bool, dict[str, Any]]:
    """Every line has one record."""
    faults = LINE_RECORDS.faults(table)
    return not faults, {"lines": table.height, "faults": faults}


@season_check("pedigree", blocking=True)
def pedigree_schema(table: pl.DataFrame) -> tuple[bool, dict[str, Any]]:
    """One row a line, of the contract's columns and types."""
    faults = PEDIGREE.faults(table)
    return not faults, {"lines": table.height, "faults": faults}


@season_check("line_means", blocking=True)
def one_mean_a_line(table: pl.DataFrame) -> tuple[bool, dict[str, Any]]:
    """One finite mean for each line, environment and trait."""
    faults = LINE_MEANS.faults(table)
    infinite = table.filter(~pl.col("mean").is_finite()).height
    return not faults and not infinite, {"means": table.height, "not_finite": infinite, "faults": faults}
