"""Contracts of the genotype tables: packed calls, line order, removals, structure."""

import polars as pl

from genomic_platform.schemas.contract import Column, TableContract
from genomic_platform.schemas.phenotypes import LINE_ID

_VARIANT = (
    Column("variant_id", pl.String, "marker; chromosome:position:ref:alt where the source gives no id"),
    Column("chromosome", pl.String, "chromosome"),
    Column("position", pl.Int64, "position, 1-based", unit="bp"),
    Column("ref", pl.String, "reference allele"),
    Column("alt", pl.String, "counted allele"),
    Column("hom_ref", pl.Int64, "lines homozygous for REF", unit="lines"),
    Column("heterozygous", pl.Int64, "heterozygous lines", unit="lines"),
    Column("hom_alt", pl.Int64, "lines homozygous for ALT", unit="lines"),
    Column("alt_frequency", pl.Float64, "ALT allele frequency among called genotypes", unit="0–1", nullable=True),
    Column("call_rate", pl.Float64, "share of lines with a call", unit="0–1"),
    Column("heterozygosity", pl.Float64, "share of called genotypes that are heterozygous", unit="0–1", nullable=True),
    Column("hwe_p_value", pl.Float64, "exact test of Hardy–Weinberg proportions (outbred)", unit="0–1", nullable=True),
)

GENOTYPES = TableContract(
    "genotypes",
    (*_VARIANT, Column("genotypes", pl.Binary, "ceil(n_lines / 4) bytes, two bits a call, PLINK .bed order")),
    sort_key=("chromosome", "position", "ref", "alt"),
    schema_version=2,
    unique=False,
)

GENOTYPE_LINES = TableContract("genotype_lines", (LINE_ID,), sort_key=())

GENOTYPE_BATCHES = TableContract(
    "genotype_batches",
    (
        Column("batch", pl.String, "name of the batch's first file"),
        Column("folder", pl.String, "where its table lies, beside this file"),
        Column("n_lines", pl.Int64, "lines of the batch", unit="lines"),
        Column("n_variants", pl.Int64, "variants of the batch", unit="variants"),
    ),
    sort_key=("batch",),
)

BATCH_REPORT = TableContract(
    "batch_report",
    (
        Column("kind", pl.String, "batch | variant | line: what the row is about"),
        Column("batch", pl.String, "batch; of a repeated line, the earlier of the two compared"),
        Column("id", pl.String, "variant_id in the batch, or line_id; empty for a batch as a whole", nullable=True),
        Column("measure", pl.String, "what was counted; of a variant what was done, of a line how well it agrees"),
        Column("value", pl.Float64, "count, correlation or concordance", nullable=True),
        Column("detail", pl.String, "why, or with which batch", nullable=True),
    ),
    sort_key=("kind", "batch", "id", "measure"),
    unique=False,
)

GENOTYPE_QC = TableContract(
    "genotype_qc",
    (
        Column("kind", pl.String, "variant | line"),
        Column("id", pl.String, "variant_id or line_id"),
        Column("kept", pl.Boolean, "used for relationship and models"),
        Column("reason", pl.String, "why it was removed; empty when kept", nullable=True),
        Column("note", pl.String, "what is odd about it without being a reason to remove it", nullable=True),
        Column("same_as", pl.String, "variants: an earlier one with the same calls; lines: the first of the same lines",
               nullable=True),
        Column("call_rate", pl.Float64, "share of calls present", unit="0–1"),
        Column("alt_frequency", pl.Float64, "variants: ALT allele frequency", unit="0–1", nullable=True),
        Column("heterozygosity", pl.Float64, "share of called genotypes that are heterozygous", unit="0–1",
               nullable=True),
        Column("heterozygosity_z", pl.Float64, "lines: distance of heterozygosity from the panel's median",
               unit="robust standard deviations", nullable=True),
        Column("inbreeding", pl.Float64, "1 − observed / expected heterozygotes (method of moments)", nullable=True),
        Column("hwe_p_value", pl.Float64, "variants: exact test of Hardy–Weinberg proportions (outbred)", unit="0–1",
               nullable=True),
        Column("hwe_p_value_inbred", pl.Float64, "variants: the same test given the panel's inbreeding", unit="0–1",
               nullable=True),
    ),
    sort_key=("kind", "id"),
    schema_version=2,
    unique=False,
)

POPULATION_STRUCTURE = TableContract(
    "population_structure",
    (
        LINE_ID,
        Column("component", pl.Int64, "principal component, 1 = largest"),
        Column("score", pl.Float64, "the line's score: eigenvector × √eigenvalue"),
        Column("variance_share", pl.Float64, "share of the relationship's total variance", unit="0–1"),
    ),
    sort_key=("line_id", "component"),
)

RELATIONSHIP_MATRIX = TableContract(
    "relationship_matrix",
    (
        LINE_ID,
        Column("relationship", pl.List(pl.Float64), "genomic relationship with every line, in the order of the rows "
                                                    "(VanRaden 2008, method 1)"),
    ),
    sort_key=(),
)
