"""Small made-up panels and training sets for the tests of models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.schemas.phenotypes import LINE_RECORDS, TRAINING_SET


def made_panel(n_lines: int = 60, n_markers: int = 200, seed: int = 1, missing: float = 0.02) -> GenotypeTable:
    """Inbred lines with some heterozygous and some missing calls."""
    rng = np.random.default_rng(seed)
    frequency_M = rng.uniform(0.2, 0.8, n_markers)
    dosage_MN = (2 * (rng.random((n_markers, n_lines)) < frequency_M[:, None])).astype(np.int8)
    dosage_MN[rng.random(dosage_MN.shape) < 0.03] = 1
    dosage_MN[rng.random(dosage_MN.shape) < missing] = -1
    variants = pl.DataFrame({"variant_id": [f"m{i:04d}" for i in range(n_markers)], "chromosome": "1",
                             "position": np.arange(1, n_markers + 1), "ref": "A", "alt": "C"})
    return GenotypeTable.from_dosages(variants, [f"line{i:03d}" for i in range(n_lines)], dosage_MN)


def made_values(panel: GenotypeTable, heritability: float = 0.6, seed: int = 2) -> np.ndarray:
    """Line means of an additive trait, one per line of the panel."""
    rng = np.random.default_rng(seed)
    additive_N = np.maximum(panel.dosages(), 0) @ rng.normal(size=panel.n_variants)
    additive_N = (additive_N - additive_N.mean()) / additive_N.std()
    return additive_N * np.sqrt(heritability) + rng.normal(size=panel.n_lines) * np.sqrt(1 - heritability)


def training_set(panel: GenotypeTable, traits: dict[str, tuple[list[str], np.ndarray, np.ndarray | None]],
                 season: str = "2010") -> TrainingSet:
    """A training set from trait → (lines, means, error variances or None)."""
    parts = [pl.DataFrame({
        "line_id": lines, "trait": [trait] * len(lines), "mean": mean_N, "error_variance": error_N,
        "error_loadings": pl.Series([None] * len(lines), dtype=pl.List(pl.Float64)),
        "n_environments": [1] * len(lines), "n_records": [1] * len(lines), "first_season": [season] * len(lines),
        "last_season": [season] * len(lines),
        "genotyped": [line in panel.lines for line in lines]},
        schema_overrides={"error_variance": pl.Float64}) for trait, (lines, mean_N, error_N) in traits.items()]
    return TrainingSet(season, TRAINING_SET.conform(pl.concat(parts)), panel)


def line_records(lines: list[str], family: Sequence[str | None] | None = None) -> pl.DataFrame:
    """LINE_RECORDS of candidates."""
    return LINE_RECORDS.conform(pl.DataFrame({
        "line_id": lines, "germplasm_id": None, "family": family or [None] * len(lines), "parent_1": None,
        "parent_2": None, "inbreeding": None, "role": "candidate", "known_from": None}))
