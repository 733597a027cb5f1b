"""Manhattan and quantile plots are real pictures, of any scan, with chromosomes in the order of their numbers."""

from __future__ import annotations

import base64

import numpy as np
import polars as pl
import pytest

from genomic_platform.models.gwas import GWAS, gwas
from genomic_platform.results.gwas_plots import _genome, _peaks, manhattan, quantiles
from genomic_platform_tests.support.panels import made_panel, made_values


def scan(p_M: np.ndarray, chromosomes: list[str]) -> pl.DataFrame:
    m = len(p_M)
    return pl.DataFrame({"variant_id": [f"m{i}" for i in range(m)], "chromosome": chromosomes,
                         "position": np.arange(1, m + 1) * 100, "ref": "A", "alt": "C", "minor_allele_frequency": 0.3,
                         "effect": 0.1, "standard_error": 0.1, "p_value": p_M, "p_bonferroni": np.minimum(p_M * m, 1),
                         "q_value": np.minimum(p_M * m, 1)}, schema=GWAS.schema)


def png(markdown: object) -> bytes:
    return base64.b64decode(str(getattr(markdown, "md_str", "")).split("base64,")[1].removesuffix(")"))


@pytest.mark.parametrize("table", [
    gwas(made_panel(40, 60), list(made_panel(40, 60).lines), made_values(made_panel(40, 60))),
    scan(np.array([1e-320, 0.0, 0.5]), ["chr1", "chr2", "unplaced"]), scan(np.array([0.3]), ["1"]), GWAS.empty()])
def test_pictures_are_made_of_any_scan(table: pl.DataFrame) -> None:
    assert png(manhattan(table, "yield")).startswith(b"\x89PNG")
    assert png(quantiles(table, "yield")).startswith(b"\x89PNG")


def test_chromosomes_stand_in_the_order_of_their_numbers_and_do_not_overlap() -> None:
    along, middles = _genome(scan(np.full(6, 0.5), ["chr10", "chr10", "chr2", "chr2", "chr1", "chr1"]))
    assert middles["label"].to_list() == ["1", "2", "10"]
    place = dict(along.group_by("chromosome").agg(pl.col("place")).iter_rows())
    assert max(place["chr1"]) < min(place["chr2"])
    assert max(place["chr2"]) < min(place["chr10"])
    assert _genome(scan(np.full(2, 0.5), ["1A", "chrX"]))[1]["label"].to_list() == ["1A", "chrX"]


def test_peaks_are_the_best_markers_apart_from_each_other() -> None:
    along, _ = _genome(scan(np.array([1e-9, 1e-8, 1e-3, 1e-5]), ["1"] * 4))
    assert [row["variant_id"] for row in _peaks(along, 150.0)] == ["m0", "m3"]
