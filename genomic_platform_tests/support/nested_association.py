"""A generated nested-association panel with known truth: families of one common parent with many founders.

Founders are mosaics of ancestral haplotypes, so that nearby loci are in linkage disequilibrium whose phase may differ
between founders; causal loci are not among the markers. Lines are inbred by selfing (recombinant inbred lines), grown
in three seasons at several locations, each season's new lines beside a part of the older ones.
Design after Yu et al. 2008, Genetics 178:539-551. Axes: N lines, M markers, Q causal loci, F families, L all loci.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.schemas.phenotypes import LINE_MEANS

TRAIT = "grain_yield_t_ha"
ANCESTORS = 12
#: Ancestral haplotypes change along a founder once in so many loci.
SEGMENT_LOCI = 30
#: Crossovers per Morgan between the ends of a chromosome pass about twice through selfing to inbred lines.
EXPANSION = 2.0


@dataclass(frozen=True)
class NestedDesign:
    """Size and variances of a panel; variances in squared trait units, of lines within families where not said.

    `shared` is the part of a causal locus' effect variance that all founders share; the rest is each founder's own
    (an allelic series). `returning` is the part of earlier seasons' lines that is grown again.
    """

    n_families: int = 40
    n_lines: int = 5_000
    n_seasons: int = 3
    n_locations: int = 3
    n_markers: int = 3_000
    n_causal: int = 200
    n_chromosomes: int = 10
    morgans: float = 1.5
    shared: float = 0.5
    returning: float = 0.2
    sigma2_within: float = 1.0
    sigma2_interaction: float = 0.5
    sigma2_error: float = 3.0
    first_season: int = 2019

    @classmethod
    def small(cls) -> NestedDesign:
        """600 lines in 20 families × 800 markers."""
        return cls(n_families=20, n_lines=600, n_locations=2, n_markers=800, n_causal=80, n_chromosomes=5)


@dataclass(frozen=True)
class NestedPanel:
    """What a programme would see (genotypes, line_means, families, parents), and the truth: `value_N` of each line."""

    genotypes: GenotypeTable
    line_means: pl.DataFrame
    families: dict[str, str]
    parents: dict[str, tuple[str, str]]
    value_N: np.ndarray


def nested_panel(design: NestedDesign = NestedDesign(), seed: int = 0) -> NestedPanel:
    """Draw founders, cross each with the common parent, self, and grow the lines."""
    rng = np.random.default_rng(seed)
    n_loci = design.n_markers + design.n_causal
    founder_FL = _founders(design.n_families + 1, n_loci, rng)
    causal_Q = np.sort(rng.choice(n_loci, design.n_causal, replace=False))
    family_N = np.sort(np.arange(design.n_lines) % design.n_families)
    from_founder_NL = _descent(design, n_loci, rng)
    common_L, other_NL = founder_FL[-1], founder_FL[family_N]
    carried_NL = np.where(from_founder_NL, other_NL, common_L)
    value_N = _values(design, from_founder_NL[:, causal_Q], founder_FL[:, causal_Q], family_N, rng)
    lines = [f"L{i + 1:05d}" for i in range(design.n_lines)]
    families = {line: f"F{f + 1:02d}" for line, f in zip(lines, family_N, strict=True)}
    return NestedPanel(_table(design, lines, np.delete(carried_NL, causal_Q, axis=1)),
                       _line_means(design, lines, value_N, rng), families,
                       {line: ("common", f"founder_{family[1:]}") for line, family in families.items()}, value_N)


def _founders(n_founders: int, n_loci: int, rng: np.random.Generator) -> np.ndarray:
    """Alleles 0 or 1 of inbred founders, Boolean (founders, L): each copies an ancestor, another from time to time."""
    ancestor_AL = rng.random((ANCESTORS, n_loci)) < rng.beta(1.0, 1.0, n_loci)
    change_FL = rng.random((n_founders, n_loci)) < 1 / SEGMENT_LOCI
    change_FL[:, 0] = True
    drawn_FL = np.where(change_FL, rng.integers(0, ANCESTORS, (n_founders, n_loci)), -1)
    at_FL = np.maximum.accumulate(np.where(change_FL, np.arange(n_loci), 0), axis=1)
    source_FL = np.take_along_axis(drawn_FL, at_FL, axis=1)
    return ancestor_AL[source_FL, np.arange(n_loci)]


def _descent(design: NestedDesign, n_loci: int, rng: np.random.Generator) -> np.ndarray:
    """Whether a line's locus comes from its founder rather than the common parent, Boolean (N, L)."""
    chromosome_L = np.arange(n_loci) * design.n_chromosomes // n_loci
    distance = EXPANSION * design.morgans * design.n_chromosomes / n_loci
    switch_L = np.where(np.diff(chromosome_L, prepend=-1) != 0, 0.5, 0.5 * (1 - np.exp(-2 * distance)))  # Haldane
    switched_NL = rng.random((design.n_lines, n_loci), dtype=np.float32) < switch_L
    return np.cumsum(switched_NL, axis=1, dtype=np.int32) % 2 == 1


def _values(design: NestedDesign, from_founder_NQ: np.ndarray, founder_FQ: np.ndarray, family_N: np.ndarray,
            rng: np.random.Generator) -> np.ndarray:
    """Genotypic values, scaled to `sigma2_within` within families on average."""
    common_Q = rng.normal(size=design.n_causal)
    own_FQ = rng.normal(size=(design.n_families, design.n_causal))
    difference_FQ = founder_FQ[:-1].astype(float) - founder_FQ[-1]
    effect_FQ = difference_FQ * (np.sqrt(design.shared) * common_Q + np.sqrt(1 - design.shared) * own_FQ)
    value_N = (from_founder_NQ * effect_FQ[family_N]).sum(axis=1)
    within = np.mean([value_N[family_N == f].var() for f in range(design.n_families)])
    return value_N * np.sqrt(design.sigma2_within / within)


def _table(design: NestedDesign, lines: list[str], allele_NM: np.ndarray) -> GenotypeTable:
    marker_M = np.arange(design.n_markers)
    chromosome_M = marker_M * design.n_chromosomes // design.n_markers
    variants = pl.DataFrame({"variant_id": [f"m{i + 1:05d}" for i in marker_M], "position": 10_000 * (marker_M + 1),
                             "chromosome": [f"{c + 1:02d}" for c in chromosome_M], "ref": "A", "alt": "G"})
    return GenotypeTable.from_dosages(variants, lines, np.ascontiguousarray(2 * allele_NM.T.astype(np.int8)))


def _line_means(design: NestedDesign, lines: list[str], value_N: np.ndarray, rng: np.random.Generator) -> pl.DataFrame:
    """Contract LINE_MEANS: a line is new in one season, and returns in later ones with chance `returning`."""
    entry_N = rng.integers(0, design.n_seasons, design.n_lines)
    error = np.sqrt(design.sigma2_error)
    parts = []
    for s in range(design.n_seasons):
        grown_N = np.flatnonzero((entry_N == s) | ((entry_N < s) & (rng.random(design.n_lines) < design.returning)))
        for k in range(design.n_locations):
            season, n = str(design.first_season + s), len(grown_N)
            mean_N = (50 + rng.normal(0, 3) + value_N[grown_N] + rng.normal(0, error, n)
                      + rng.normal(0, np.sqrt(design.sigma2_interaction), n))
            parts.append(pl.DataFrame({
                "line_id": [lines[i] for i in grown_N], "season": season, "location": f"site_{k + 1}",
                "environment": f"site_{k + 1}_{season}", "trait": TRAIT, "mean": mean_N,
                "centred": mean_N - mean_N.mean(), "standard_error": error, "n_records": 1}))
    return LINE_MEANS.conform(pl.concat(parts))
