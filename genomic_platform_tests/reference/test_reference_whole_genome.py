"""Whole-genome ridge beside GBLUP on the wheat and rice examples, stochastic REML from a quarter of the lines.

128 simulated data sets leave the components an error of 1 / √128 = 9 % of their standard errors. These are about a
fifth of their sum, of which 2 % is then one standard deviation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.genotypes.read import read_genotypes
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.genomic_blup import GenomicBlup
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.models.whole_genome.recipe import WholeGenomeRidge
from genomic_platform.phenotypes.line_means import line_means
from genomic_platform.phenotypes.training_means import training_means
from genomic_platform.phenotypes.trials import read_trials

EXAMPLES = Path(__file__).parents[2] / "examples"


def _wheat() -> TrainingSet:
    """Each environment a trait, equal weights."""
    genotypes, records = _read("wheat_cimmyt599", ["grain_yield_std"], "centred")
    parts = [training_means(part.with_columns(trait=pl.lit(str(environment))), means="centred", weights="none",
                            genotyped=genotypes.lines)[0]
             for (environment,), part in records.group_by("environment", maintain_order=True)]
    return TrainingSet("all", pl.concat(parts), genotypes)


def _rice() -> TrainingSet:
    """Errors known from stage one, shared by the lines of a season."""
    genotypes, records = _read("rice_japonica_uy", ["grain_yield_kg_ha", "plant_height_cm"], "blue")
    return TrainingSet("2013", training_means(records, genotyped=genotypes.lines)[0], genotypes)


def _read(example: str, traits: list[str], means: str) -> tuple[GenotypeTable, pl.DataFrame]:
    landing = EXAMPLES / example / "landing"
    genotypes, _ = read_genotypes([landing / "genotypes/genotypes.vcf.gz"])
    records, _ = read_trials([landing / "trials/phenotypes.csv"], traits)
    return genotypes, line_means(records, means=means)[0]


@pytest.mark.parametrize("make", [_wheat, _rice])
def test_components_and_values_are_those_of_gblup(make: Callable[[], TrainingSet]) -> None:
    learnt = make()
    learnt = replace(learnt, means=learnt.means.filter(pl.col("line_id").is_in(learnt.genotypes.lines)))
    exact = GenomicBlup().fit(learnt)
    model = WholeGenomeRidge(start_lines=100).fit(learnt)
    both = model.predict(learnt.genotypes) \
        .join(exact.predict(learnt.genotypes), on=["line_id", "trait"], suffix="_exact")
    for trait in learnt.traits:
        said, expected = model.summary()[trait], exact.summary()[trait]
        assert int(said["reml_steps"]) > 1
        components = ("genetic_variance", "line_residual_variance", "error_variance")
        total = sum(float(expected[quantity]) for quantity in components)
        for quantity in components:
            assert said[quantity] == pytest.approx(expected[quantity], abs=0.05 * total), (trait, quantity)
        part = both.filter(pl.col("trait") == trait)
        for column in ("breeding_value", "genotypic_value"):
            assert np.corrcoef(part[column], part[f"{column}_exact"])[0, 1] > 0.999, (trait, column)
