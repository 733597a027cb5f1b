"""Quality control: every reason is given in words, and what is kept is what the table says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import InputError
from genomic_platform.genotypes.hardy_weinberg import panel_inbreeding
from genomic_platform.genotypes.quality.line_quality import line_quality, sex_report
from genomic_platform.genotypes.quality.qc import apply_qc, genotype_qc, qc_rows
from genomic_platform.genotypes.quality.qc_summary import qc_summary
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
    with pytest.raises(InputError, match=r"lines and .* variants kept by quality control"):
        apply_qc(table, genotype_qc(table, min_line_call_rate=1.0))


def panel_of(dosage_MN: np.ndarray, chromosomes: list[str] | None = None, positions: list[int] | None = None,
             names: list[str] | None = None) -> GenotypeTable:
    m, n = dosage_MN.shape
    variants = pl.DataFrame({"variant_id": names or [f"m{i:04d}" for i in range(m)],
                             "chromosome": chromosomes or ["1"] * m,
                             "position": positions or list(range(1, m + 1)), "ref": ["A"] * m, "alt": ["C"] * m},
                            schema_overrides={"position": pl.Int64})
    return GenotypeTable.from_dosages(variants, [f"line{i:03d}" for i in range(n)], dosage_MN.astype(np.int8))


def mixed_panel(n_lines: int = 61, n_variants: int = 700, inbreeding: float = 0.8, seed: int = 4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    p_M = rng.uniform(0.1, 0.9, n_variants)[:, None]
    first, second = (rng.random((n_variants, n_lines)) < p_M for _ in range(2))
    dosage_MN = first.astype(int) + np.where(rng.random(first.shape) < inbreeding, first, second)
    dosage_MN[rng.random(dosage_MN.shape) < 0.05] = -1
    return dosage_MN


def test_line_statistics_are_those_of_decoded_calls() -> None:
    dosage_MN = mixed_panel()
    found = line_quality(panel_of(dosage_MN))
    called_MN = dosage_MN >= 0
    n_M = called_MN.sum(axis=1)
    p_M = np.where(called_MN, dosage_MN, 0).sum(axis=1) / (2 * n_M)
    expected_N = ((2 * p_M * (1 - p_M) * 2 * n_M / (2 * n_M - 1))[:, None] * called_MN).sum(axis=0)
    het_N = (dosage_MN == 1).sum(axis=0)
    assert found["called"].to_list() == called_MN.sum(axis=0).tolist()
    assert np.array_equal(found["heterozygosity"], het_N / called_MN.sum(axis=0))
    assert np.allclose(found["inbreeding"], 1 - het_N / expected_N, rtol=0, atol=1e-12)  # sums in another order
    assert np.median(found["heterozygosity_z"]) == 0


def test_statistics_of_variants_are_those_among_the_lines_kept() -> None:
    dosage_MN = mixed_panel()
    dosage_MN[: 600, [3, 17]] = -1
    table = panel_of(dosage_MN)
    found = qc_rows(table, genotype_qc(table), "variant")
    without = table.select(lines=[line for i, line in enumerate(table.lines) if i not in (3, 17)])
    for column in ("call_rate", "alt_frequency", "heterozygosity", "hwe_p_value"):
        assert found[column].equals(without.variants[column].alias(column)), column


def test_each_optional_threshold_removes_with_its_own_words() -> None:
    dosage_MN = mixed_panel()
    dosage_MN[:, 5] = np.where(np.random.default_rng(1).random(700) < 0.6, 1, dosage_MN[:, 5])
    dosage_MN[10] = 1                                                  # all heterozygous
    dosage_MN[20] = np.where(np.arange(61) % 4 == 0, 0, 1)             # far too many heterozygotes
    dosage_MN[31], dosage_MN[32] = dosage_MN[30], np.where(dosage_MN[30] < 0, -1, 2 - dosage_MN[30])
    table = panel_of(dosage_MN)
    assert genotype_qc(table)["kept"].all()  # the defaults ask for none of it
    qc = genotype_qc(table, max_variant_heterozygosity=0.9, max_line_heterozygosity=0.5, min_hwe_p=1e-9,
                     drop_duplicate_variants=True)
    reasons = dict(qc.filter(~pl.col("kept")).select("id", "reason").rows())
    assert reasons.keys() == {"m0010", "m0020", "m0031", "m0032", "line005"}
    assert reasons["m0010"] == "heterozygosity 1.000 above 0.9"
    assert reasons["m0020"].startswith("Hardy–Weinberg p given inbreeding ")
    assert reasons["m0020"].endswith(" below 1e-09")
    assert reasons["m0031"] == "same calls as m0030"
    assert reasons["m0032"] == "same calls as m0030, REF and ALT swapped"
    assert reasons["line005"].startswith("heterozygosity 0.")
    assert qc_summary(table, qc)["variants_removed"] == {
        "same calls as an earlier variant": 2, "Hardy–Weinberg p given inbreeding below 1e-09": 1,
        "heterozygosity above 0.9": 1}


def test_a_repeat_is_kept_when_what_it_repeats_is_removed() -> None:
    dosage_MN = mixed_panel(n_variants=60)
    dosage_MN[31] = dosage_MN[30]
    dosage_MN[30, :40] = -1
    table = panel_of(dosage_MN, positions=[*range(1, 31), 31, 31, *range(33, 61)])
    qc = genotype_qc(table, min_variant_call_rate=0.6, drop_duplicate_variants=True)
    decided = {row["id"]: row for row in qc.iter_rows(named=True)}
    assert (decided["m0030"]["kept"], decided["m0031"]["kept"]) == (False, True)
    assert decided["m0031"]["same_as"] == "m0030"


def test_an_inbred_panel_passes_the_test_that_allows_for_it_and_not_the_plain_one() -> None:
    table = panel_of(mixed_panel(inbreeding=0.95, n_lines=200))
    found = qc_rows(table, genotype_qc(table), "variant")
    assert (found["hwe_p_value"] < 1e-6).mean() > 0.95
    assert (found["hwe_p_value_inbred"] < 0.001).mean() < 0.01


def test_identical_and_surprising_lines_are_noted_and_kept() -> None:
    dosage_MN = mixed_panel()
    dosage_MN[:, 9] = dosage_MN[:, 2]
    dosage_MN[:, 30] = np.where(np.random.default_rng(1).random(700) < 0.7, 1, dosage_MN[:, 30])
    table = panel_of(dosage_MN)
    lines = qc_rows(table, genotype_qc(table, declared_inbreeding={"line004": 0.1, "line005": 0.8}), "line")
    assert lines["kept"].all()
    assert lines.filter(pl.col("same_as").is_not_null()).select("id", "same_as").rows() == [("line009", "line002")]
    notes = dict(lines.drop_nulls("note").select("id", "note").rows())
    assert notes.keys() == {"line030", "line004"}
    assert notes["line030"].startswith("more heterozygous than the panel, +")
    assert notes["line004"].startswith("more inbred than declared: 0.")


def test_a_panel_of_fully_inbred_lines_surprises_nobody() -> None:
    table = panel_of(mixed_panel(inbreeding=1.0))
    lines = qc_rows(table, genotype_qc(table), "line")
    assert lines["note"].null_count() == table.n_lines
    assert (lines["inbreeding"] == 1).all()


def test_variants_that_share_an_id_are_judged_one_by_one() -> None:
    dosage_MN = mixed_panel(n_variants=40)
    dosage_MN[7] = 0
    table = panel_of(dosage_MN, names=["same"] * 40)
    qc = genotype_qc(table)
    assert np.flatnonzero(~qc_rows(table, qc, "variant")["kept"].to_numpy()).tolist() == [7]
    assert np.array_equal(apply_qc(table, qc).variants["position"], np.delete(np.arange(1, 41), 7))


def test_a_table_of_as_many_other_variants_is_refused() -> None:
    dosage_MN = mixed_panel(n_variants=40)
    with pytest.raises(ValueError, match="names other variants than the genotypes"):
        apply_qc(panel_of(dosage_MN, names=[f"x{i}" for i in range(40)]), genotype_qc(panel_of(dosage_MN)))


def test_sex_is_asked_only_where_a_chromosome_is_named_x() -> None:
    rng = np.random.default_rng(2)
    dosage_MN = rng.binomial(2, 0.5, (300, 40))
    chromosomes = ["1"] * 100 + ["chrX"] * 150 + ["chrY"] * 50
    dosage_MN[100:250, :20] = 2 * (dosage_MN[100:250, :20] > 0)  # one X
    dosage_MN[250:, :20] = 2 * (dosage_MN[250:, :20] > 0)
    dosage_MN[250:, 20:] = -1                                    # no Y
    dosage_MN[250:, 39] = 0                                      # but for this line
    table = panel_of(dosage_MN, chromosomes)
    report = sex_report(table)
    assert report is not None
    assert report["copies_of_x"].to_list() == [1] * 20 + [2] * 20
    assert report.drop_nulls("note").select("line_id", "note").rows() == [("line039", "two X and calls on Y")]
    qc = genotype_qc(table, min_variant_call_rate=0, min_hwe_p=1e-4)
    assert qc_summary(table, qc)["sexes"] == "one X: 20 lines; two X: 20; surprising: 1"
    assert qc_rows(table, qc, "variant")["hwe_p_value"].null_count() == 200  # proportions there depend on the sexes
    plants = panel_of(mixed_panel(n_variants=40))
    assert sex_report(plants) is None
    assert qc_summary(plants, genotype_qc(plants))["sexes"] == "not applicable: no chromosome is named X"


def test_the_summary_counts_what_the_table_says_and_is_json() -> None:
    table = panel_of(mixed_panel())
    qc = genotype_qc(table, min_allele_frequency=0.2)
    said = qc_summary(table, qc)
    assert json.loads(json.dumps(said)) == said
    assert said["variants_kept"] == qc.filter(kind="variant", kept=True).height
    assert sum(said["variants_removed"].values()) == said["variants"] - said["variants_kept"]
    counts = table.variants.select("hom_ref", "heterozygous", "hom_alt").to_numpy().T
    assert said["panel_inbreeding"] == pytest.approx(panel_inbreeding(*counts), abs=1e-9)  # from shares, not counts


def test_a_table_on_disk_is_judged_as_the_one_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genomic_platform.genotypes.table.KEPT_BYTES", 0)  # as a table too large to keep
    table = panel_of(mixed_panel(n_variants=5000))
    table.save(tmp_path / "panel")
    on_disk = GenotypeTable.open(tmp_path / "panel")
    assert genotype_qc(on_disk, min_hwe_p=1e-3).equals(genotype_qc(table, min_hwe_p=1e-3))
    assert "packed_MB" not in on_disk.__dict__  # it was streamed
