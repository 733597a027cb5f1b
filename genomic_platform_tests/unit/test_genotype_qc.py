"""Quality control: every reason is given in words, and what is kept is what the table says."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from genomic_platform.genotypes.qc import apply_qc, genotype_qc
from genomic_platform.genotypes.table import GenotypeTable


@pytest.fixture
def table() -> GenotypeTable:
    dosage_MN = np.array([
        [0, 2, 1, 2, 0, -1],   # good
        [2, 2, 2, 2, 2, 0],    # varies only through the line that is removed
        [-1, -1, -1, 0, 2, 2],  # called in two of the five lines kept
        [0, 0, 0, 0, 1, -1],   # rare
        [-1, -1, -1, -1, -1, -1],
        [0, 2, 0, 2, 0, -1],   # good
    ], dtype=np.int8)
    names = ["good", "mono", "holes", "rare", "void", "good2"]
    variants = pl.DataFrame({"variant_id": names, "chromosome": ["1"] * 6, "position": np.arange(1, 7),
                             "ref": ["A"] * 6, "alt": ["C"] * 6})
    return GenotypeTable.from_dosages(variants, ["a", "b", "c", "d", "e", "holey"], dosage_MN)


def test_every_removal_has_its_reason(table: GenotypeTable) -> None:
    qc = genotype_qc(table, min_line_call_rate=0.6, min_allele_frequency=0.15)
    reasons = dict(qc.filter(~pl.col("kept")).select("id", "reason").rows())
    assert reasons == {"mono": "monomorphic", "holes": "call rate 0.400 below 0.5", "void": "no call",
                       "rare": "rare: minor allele frequency 0.100 below 0.15",
                       "holey": "call rate 0.333 below 0.6"}
    good = qc.filter(id="good").row(0, named=True)
    assert (good["call_rate"], good["alt_frequency"], good["heterozygosity"]) == (1.0, 0.5, 0.2)


def test_apply_keeps_what_the_table_says(table: GenotypeTable) -> None:
    kept = apply_qc(table, genotype_qc(table, min_line_call_rate=0.6, min_allele_frequency=0.15))
    assert kept.variants["variant_id"].to_list() == ["good", "good2"]
    assert kept.lines == ("a", "b", "c", "d", "e")


def test_by_default_a_rare_variant_is_kept_and_a_monomorphic_one_is_not(table: GenotypeTable) -> None:
    kept = apply_qc(table, genotype_qc(table, min_line_call_rate=0.0))
    assert kept.variants["variant_id"].to_list() == ["good", "mono", "holes", "rare", "good2"]
    without = table.select(lines=["a", "b", "c", "d", "e"])
    assert "mono" not in apply_qc(without, genotype_qc(without)).variants["variant_id"].to_list()


def test_a_table_of_other_genotypes_or_nothing_kept_is_refused(table: GenotypeTable) -> None:
    with pytest.raises(ValueError, match="expected one for each of 6 lines and 6 variants"):
        apply_qc(table, genotype_qc(table.select(np.arange(3))))
    with pytest.raises(ValueError, match="kept no line or no variant"):
        apply_qc(table, genotype_qc(table, min_line_call_rate=1.0))
