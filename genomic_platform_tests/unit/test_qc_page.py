"""The page on quality of genotypes: complete, self-contained, safe with any name, and drawn by a browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.genotypes.quality.qc import genotype_qc
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.results import svg
from genomic_platform.results.qc_page import qc_page

THRESHOLDS = {"min_variant_call_rate": 0.8, "min_line_call_rate": 0.5, "min_allele_frequency": 0.05}


def panel(n_lines: int = 80, n_variants: int = 600, chromosome: str | None = None) -> GenotypeTable:
    rng = np.random.default_rng(3)
    dosage_MN = 2 * rng.binomial(1, rng.uniform(0.02, 0.9, n_variants)[:, None], (n_variants, n_lines))
    dosage_MN[rng.random(dosage_MN.shape) < rng.beta(0.6, 9, n_variants)[:, None]] = -1
    if n_lines > 9:
        dosage_MN[:, 5] = dosage_MN[:, 4]
        dosage_MN[:, 9] = np.where(rng.random(n_variants) < 0.6, 1, dosage_MN[:, 9])
        dosage_MN[:, 8] = np.where(rng.random(n_variants) < 0.7, -1, dosage_MN[:, 8])
        dosage_MN[31] = dosage_MN[30]
    chromosomes = [chromosome or f"chr{1 + i * 12 // n_variants}" for i in range(n_variants)]
    variants = pl.DataFrame({"variant_id": [f"snp_<{i}>" for i in range(n_variants)], "chromosome": chromosomes,
                             "position": [0 if chromosome else i + 1 for i in range(n_variants)],
                             "ref": ["A"] * n_variants, "alt": ["C"] * n_variants})
    return GenotypeTable.from_dosages(variants, [f"line_{i:03d}&" for i in range(n_lines)], dosage_MN.astype(np.int8))


def words_of(page: str) -> str:
    class Text(HTMLParser):
        said = ""

        def handle_data(self, data: str) -> None:
            self.said += data + " "

    parser = Text()
    parser.feed(re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL))
    return " ".join(parser.said.split())


def test_the_page_says_what_was_kept_and_why_not() -> None:
    table = panel()
    page = qc_page("Panel 2013", table, genotype_qc(table, **THRESHOLDS), thresholds=THRESHOLDS)
    said = words_of(page)
    for part in ("Panel 2013", "call rate below 0.8", "rare: minor allele frequency below 0.05", "line_008&",
                 "more heterozygous than the panel", "same calls as snp_<30>", "line_004& line_005&",
                 "panel inbreeding F", "Hardy–Weinberg proportions", "chr12", "min variant call rate 0.8"):
        assert part in said, part
    assert page.count("<svg") == 6


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing() -> None:
    table = panel()
    page = qc_page("<script>alert(1)</script>", table, genotype_qc(table))
    assert "<script" not in page
    assert not re.search(r"(src|href)=|url\(|@import|https?:", page)
    assert "nan" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL).lower()


@pytest.mark.parametrize("table", [panel(chromosome="unplaced"), panel(3, 1), panel(2, 4)],
                         ids=["unplaced", "one variant", "two lines"])
def test_the_page_is_drawn_for_any_table(table: GenotypeTable) -> None:
    page = qc_page("any", table, genotype_qc(table, min_line_call_rate=0))
    assert "nan" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL).lower()
    assert ("unplaced" in page) == (table.variants["chromosome"][0] == "unplaced")


def test_a_table_without_a_call_is_drawn() -> None:
    variants = pl.DataFrame({"variant_id": ["a", "b"], "chromosome": "1", "position": [1, 2], "ref": "A", "alt": "C"})
    table = GenotypeTable.from_dosages(variants, ["x", "y"], np.full((2, 2), -1, dtype=np.int8))
    said = words_of(qc_page("void", table, genotype_qc(table)))
    assert "no call" in said
    assert "call rate below 0.5" in said


def test_a_long_batch_report_becomes_one_column_a_batch() -> None:
    table = panel()
    batches = pl.DataFrame({"batch": ["2012.vcf", "2012.vcf", "2013.vcf", "2013.vcf"],
                            "measure": ["variants", "repeated_agreement"] * 2, "value": [600.0, 0.998, 550.0, None]})
    said = words_of(qc_page("batches", table, genotype_qc(table), batches=batches))
    assert "measure 2012.vcf 2013.vcf variants 600 550 repeated agreement 0.998 –" in said


def test_many_contigs_and_many_rows_are_cut_with_a_word() -> None:
    table = panel(n_variants=600)
    variants = table.variants.with_columns(chromosome=pl.Series([f"contig{i // 2}" for i in range(600)]))
    many = GenotypeTable.from_dosages(variants, table.lines, table.dosages().T)
    said = words_of(qc_page("contigs", many, genotype_qc(many, min_line_call_rate=0.995)))
    assert "The 30 of 300 with most variants." in said
    assert "The first 25 of 80; all are in the QC table." in said


def test_ticks_are_round_and_lie_inside() -> None:
    for low, high in ((0, 1), (0, 0.5), (0.9, 1), (0, 12345), (-0.2, 1), (0, 0)):
        ticks = svg.x_scale(low, high).ticks()
        assert 1 <= len(ticks) <= 11
        assert ticks.min() >= low - 1e-9
        assert ticks.max() <= max(high, low + 1) + 1e-9
    assert [svg.number(value) for value in (0.30000000000000004, -0.0, 12345.0)] == ["0.3", "0", "12,345"]


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1200])
def test_a_browser_draws_the_page_without_a_sideways_scroll(tmp_path: Path, width: int) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    table = panel()
    page = qc_page("Panel", table, genotype_qc(table, **THRESHOLDS), thresholds=THRESHOLDS)
    # the frame gives the page a phone's width, which a headless window cannot have; its title carries the answer out
    probe = ("<script>onload=()=>document.title=frames[0].document.documentElement.scrollWidth+' '+"
             "frames[0].document.querySelectorAll('svg').length</script>")
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    (tmp_path / "frame.html").write_text(f"<iframe src=page.html width={width} height=3000></iframe>{probe}")
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--dump-dom",
               f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=3000",
               f"file://{tmp_path / 'frame.html'}"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    title = re.search(r"<title>(\d+) (\d+)</title>", shown.stdout)
    assert title is not None, shown.stderr[-500:]
    assert int(title[1]) <= width
    assert int(title[2]) == 6
