"""Contracts of the pedigree and of what genotypes say about it: parents, parentage, markers against it, hybrids."""

import polars as pl

from genomic_platform.schemas.contract import Column, TableContract
from genomic_platform.schemas.phenotypes import LINE_ID

_PARENTS = (
    Column("parent_1", pl.String, "line_id of one parent; empty = unknown", nullable=True),
    Column("parent_2", pl.String, "line_id of the other parent; empty = unknown", nullable=True),
)

PEDIGREE = TableContract(
    "pedigree",
    (
        LINE_ID, *_PARENTS,
        Column("inbreeding", pl.Float64, "reached by selfing or doubling since the cross, 1 − (1/2)^selfings; of a "
               "line without parents its coefficient of inbreeding; empty = not declared", unit="0–1", nullable=True),
    ),
    sort_key=("line_id",),
)

PARENTAGE = TableContract(
    "parentage",
    (
        LINE_ID, *_PARENTS,
        Column("n_markers", pl.Int64, "called markers at which the parents' calls exclude a genotype of the line"),
        Column("errors", pl.Int64, "of these, markers at which the line has an excluded genotype"),
        Column("error_rate", pl.Float64, "errors / n_markers", unit="0–1", nullable=True),
        Column("heterozygosity", pl.Float64, "share of the line's calls that are heterozygous", unit="0–1",
               nullable=True),
        Column("expected_heterozygosity", pl.Float64, "by its parents' calls (else the panel's frequencies) and its "
               "declared inbreeding; empty = not declared", unit="0–1", nullable=True),
        Column("verdict", pl.String, "consistent | not_tested | wrong_parent | wrong_parents | swapped | "
                                     "parent_swapped | contaminated | unexplained"),
        Column("suggestion", pl.String, "what would agree with the calls; empty = nothing found", nullable=True),
        Column("reason", pl.String, "why, in words"),
    ),
    sort_key=("line_id",),
)

MARKER_ERRORS = TableContract(
    "marker_errors",
    (
        Column("variant_id", pl.String, "marker"),
        Column("chromosome", pl.String, "chromosome"),
        Column("position", pl.Int64, "position, 1-based", unit="bp"),
        Column("n_trios", pl.Int64, "called lines of which the parents' calls exclude a genotype here", unit="lines"),
        Column("errors", pl.Int64, "of these, lines with an excluded genotype", unit="lines"),
        Column("error_rate", pl.Float64, "errors / n_trios", unit="0–1", nullable=True),
    ),
    sort_key=(),
)

HYBRID_CHECK = TableContract(
    "hybrid_check",
    (
        LINE_ID, *_PARENTS,
        Column("n_markers", pl.Int64, "markers called in the hybrid and homozygous in both parents"),
        Column("matching", pl.Int64, "of these, markers at which the hybrid's dosage is the mean of its parents'"),
        Column("concordance", pl.Float64, "matching / n_markers", unit="0–1", nullable=True),
        Column("verdict", pl.String, "checked | discordant | not_tested"),
        Column("reason", pl.String, "why, in words"),
    ),
    sort_key=("line_id",),
)
