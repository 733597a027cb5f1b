"""Population drift: are this season's new lines still what the models were trained on?

Only lines new to training are compared with the lines known before. The rule, in this order:

1. `no_test`: no new or no reference line has genotypes, or no marker is left that both have calls of.
2. `too_few`: fewer than 10 new lines, or fewer than 3 families (relationship clusters where families are unknown)
   among the new or the reference lines. Figures are given, no p-value.
3. `platform`: a fault of coding or platform; the markers are listed. Either of
   (a) phases: the correlations of at least 10 markers with their neighbours turned round (cosine ≤ −0.4 between the
   two sides), and they stand apart: at least 0.6 times as many as there are between −0.4 and −0.2. Asked only where
   phases are the same on both sides otherwise (median cosine ≥ 0.25).
   (b) mirror images: at least 10 markers, most of those that moved far, lie near the mirror image of their old
   frequency (|p_new + p_ref − 1| ≤ 0.1, |p_new − p_ref| ≥ 0.3 and ≥ 4 standard deviations of what sampling families
   gives), more than in 95 % of permutations of families.
4. `new_family`: without such markers, F_ST is ≥ 0.01 and larger than in 95 % of permutations of whole families
   between the sides, and at least a tenth of the new lines have no kin (correlation ≥ 0.25) in training. The new
   lines come from another base than new families of the old one would.
5. `same_base`: anything else; also a shift of lines that all have kin in training, which selection gives.

A rising mean value is genetic gain and is not judged here. Axes and references: `families.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from genomic_platform.drift import families as fam
from genomic_platform.drift.families import NEW, Compared, Mirrored, SideStatistics, Units, p_value
from genomic_platform.drift.phases import phase_agreement
from genomic_platform.genotypes.population.clusters import KIN, correlations
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.schemas.predictions import DRIFT_REPORT

MIN_NEW_LINES, MIN_FAMILIES = 10, 3
MIN_SUSPECTS, MIRROR, MIN_JUMP, FAR = 10, 0.1, 0.3, 4.0
TURNED, BETWEEN, APART, SAME_PHASES = -0.4, -0.2, 0.6, 0.25
ALPHA, MIN_FST, MIN_FOREIGN = 0.05, 0.01, 0.1
_NORMAL_MEDIAN = 0.4549  # median of χ² with one degree of freedom
_MARKERS = {"variant_id": pl.String, "frequency_reference": pl.Float64, "frequency_new": pl.Float64,
            "difference": pl.Float64, "suspect": pl.Boolean}


@dataclass(frozen=True)
class _Permuted:
    """What permuting families gives: F_ST as large as observed how often; markers near their mirror image in 95 % of
    permutations at most."""

    p_value: float | None
    mirrored: float


def genotype_shift(genotypes: GenotypeTable, *, season: str, new_lines: Collection[str],
                   reference_lines: Collection[str], families: Mapping[str, str | None],
                   relationship_NN: np.ndarray | None = None, seed: int = 0,
                   permutations: int = 200) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Compare new with reference lines by the rule at the top of this module.

    Parameters
    ----------
    genotypes : N lines, M markers that passed quality control.
    season : label for the report.
    new_lines, reference_lines : line ids; those without genotypes are left out, those in both count as reference.
    families : family of a line; None or absent = unknown, and its relationship cluster stands in.
    relationship_NN : (N, N) in the order of `genotypes.lines`; None = VanRaden 1 of the lines compared.
    seed, permutations : of the permutation of families.

    Returns
    -------
    report : one row of contract DRIFT_REPORT.
    markers : variant_id, frequency_reference, frequency_new, difference (new − reference), suspect; in table order,
        empty for `no_test`.
    """
    sample = fam.compared(genotypes, new_lines=new_lines, reference_lines=reference_lines, families=families,
                          relationship_NN=relationship_NN)
    counts = {"season": season, **_counts(genotypes, set(new_lines), set(reference_lines))}
    if sample is None:
        return _no_test(counts), pl.DataFrame(schema=_MARKERS)
    sides, tested = fam.side_statistics(genotypes, sample), testable(sample)
    scale = _family_scale(sides)
    far_M, mirrored_M = (moved_M & tested for moved_M in _moved(sides, scale))
    turned_M = _turned(phase_agreement(genotypes, sample)) if tested else np.zeros_like(far_M)
    suspect_M = mirrored_M | turned_M
    permuted = _permute(genotypes, sample, sides, suspect_M, scale, permutations, seed) if tested \
        else _Permuted(None, 0)
    platform = turned_M.any() or MIN_SUSPECTS <= mirrored_M.sum() > max(permuted.mirrored, far_M.sum() / 2)
    figures = counts | _figures(genotypes, sample, sides, suspect_M) | {"p_value": permuted.p_value}
    return _decided(figures, sample.units, tested, bool(platform)), _marker_table(genotypes, sides, suspect_M)


def _figures(genotypes: GenotypeTable, sample: Compared, sides: SideStatistics, suspect_M: np.ndarray) -> dict:
    """Columns of DRIFT_REPORT that need no permutation."""
    p_ref, p_new = sides.frequency
    jump_M = np.abs(p_new - p_ref)
    kinship = correlations(sample.matrix_KK)[np.ix_(sample.new_K, ~sample.new_K)]
    return {
        "n_families": sample.units.n_new_families,
        "mean_shift": float(np.nanmean(jump_M)) if np.isfinite(jump_M).any() else None,
        "fst": _fst(sides, ~suspect_M),
        "effective_alleles": float(np.mean(sides.alleles[NEW])),
        "max_relationship_low": int((kinship.max(axis=1) < KIN).sum()),
        "suspect_markers": int(suspect_M.sum()),
        "suspects": [genotypes.variants["variant_id"].filter(pl.Series(suspect_M)).to_list()],
    }


def _counts(genotypes: GenotypeTable, new: set[str], reference: set[str]) -> dict[str, int]:
    """Lines of both sides that have genotypes."""
    return {"n_new_lines": len((new - reference) & set(genotypes.lines)),
            "n_reference_lines": len(reference & set(genotypes.lines))}


def testable(sample: Compared) -> bool:
    """Enough new lines and families for a p-value: step 2 of the rule."""
    units = sample.units
    return int(sample.new_K.sum()) >= MIN_NEW_LINES and min(
        units.n_new_families, units.n_reference_families) >= MIN_FAMILIES


def _family_scale(sides: SideStatistics) -> float:
    """Standard deviation of a frequency difference in units of √(p̄ (1 − p̄)): what sampling families gives.

    The larger of the between-family estimate and of what the markers show once each is read in its better coding,
    both as medians over markers, so that neither a few nor all markers swapped can hide themselves.
    """
    p_ref, p_new = sides.frequency
    middle = (p_ref + p_new) / 2
    spread = middle * (1 - middle)
    varies = np.isfinite(spread) & (spread > 0)
    if not varies.any():
        return 0.0
    residual = np.minimum(np.abs(p_new - p_ref), np.abs(p_new + p_ref - 1))[varies]
    between = np.median(sides.between.sum(axis=0)[varies] / spread[varies])
    return float(np.sqrt(max(between, np.median(residual**2 / spread[varies]) / _NORMAL_MEDIAN)))


def _moved(sides: SideStatistics, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Markers that moved far beyond what sampling families gives, and those of them near their mirror image."""
    p_ref, p_new = sides.frequency
    middle = (p_ref + p_new) / 2
    jump = np.abs(p_new - p_ref)
    with np.errstate(invalid="ignore"):
        far = (jump >= MIN_JUMP) & (jump >= FAR * scale * np.sqrt(np.maximum(middle * (1 - middle), 0)))
        return far, far & (np.abs(p_new + p_ref - 1) <= MIRROR)


def _turned(agreement_M: np.ndarray) -> np.ndarray:
    """Markers whose phases with their neighbours turned round, where phases tell: step 3 (a) of the rule."""
    known_M = np.isfinite(agreement_M)
    with np.errstate(invalid="ignore"):
        turned_M, between_M = agreement_M <= TURNED, (agreement_M > TURNED) & (agreement_M <= BETWEEN)
    if not known_M.any() or np.median(agreement_M[known_M]) < SAME_PHASES:
        return np.zeros_like(turned_M)
    apart = turned_M.sum() >= max(MIN_SUSPECTS, APART * between_M.sum())
    return turned_M & apart


def _permute(genotypes: GenotypeTable, sample: Compared, sides: SideStatistics, suspect_M: np.ndarray, scale: float,
             permutations: int, seed: int) -> _Permuted:
    found = fam.permuted(genotypes, sample, fam.permuted_sides(sample.units, permutations, seed),
                         inbreeding=float(sides.inbreeding.mean()), used_M=~suspect_M,
                         mirrored=Mirrored(MIN_JUMP, (FAR * scale) ** 2, MIRROR))
    observed = _fst(sides, ~suspect_M)
    return _Permuted(None if observed is None else p_value(observed, found.fst()),
                     float(np.quantile(found.mirrored_R, 0.95)))


def _fst(sides: SideStatistics, used_M: np.ndarray) -> float | None:
    numerator_M, denominator_M = fam.observed_terms(sides, used_M)
    total = float(denominator_M.sum())
    return float(numerator_M.sum()) / total if total > 0 else None


def _marker_table(table: GenotypeTable, sides: SideStatistics, suspect_M: np.ndarray) -> pl.DataFrame:
    p_ref, p_new = sides.frequency
    columns = (table.variants["variant_id"], p_ref, p_new, p_new - p_ref, suspect_M)
    return pl.DataFrame(dict(zip(_MARKERS, columns, strict=True)), schema=_MARKERS).with_columns(
        pl.col(pl.Float64).fill_nan(None))


def _no_test(counts: dict[str, str | int]) -> pl.DataFrame:
    side = "new" if not counts["n_new_lines"] else "reference"
    return DRIFT_REPORT.conform(pl.DataFrame({
        **counts, "decision": "no_test", "n_families": 0, "mean_shift": None, "fst": None, "p_value": None,
        "effective_alleles": None, "max_relationship_low": 0, "suspect_markers": 0, "suspects": [[]],
        "message": f"no test: no {side} line has genotypes in season {counts['season']}"}))


def _decided(figures: dict, units: Units, tested: bool, platform: bool) -> pl.DataFrame:
    fst, p_value = figures["fst"], figures["p_value"]
    foreign = figures["max_relationship_low"] >= MIN_FOREIGN * figures["n_new_lines"]
    moved = p_value is not None and fst is not None and p_value <= ALPHA and fst >= MIN_FST
    groups = f"{figures['n_new_lines']} new lines in {units.n_new_families} families or clusters against " \
             f"{figures['n_reference_lines']} lines in {units.n_reference_families}"
    shift = f"F_ST {fst:.3f}" if fst is not None else "no marker left to compare"
    shift += f", p = {p_value:.3f} over permuted families" if p_value is not None else ""
    if not tested:
        decision, words = "too_few", f"too few to tell ({groups}; needed: {MIN_NEW_LINES} lines and {MIN_FAMILIES} " \
                                     f"families); {shift}"
    elif platform:
        decision, words = "platform", f"{figures['suspect_markers']:,} markers look swapped: check alleles and " \
                                      f"platform before these lines are predicted ({groups}); {shift} without them"
    elif fst is None:
        decision, words = "no_test", f"no test: {shift} ({groups})"
    elif moved and foreign:
        decision, words = "new_family", f"new lines from another base ({groups}); {shift}; " \
                                        f"{figures['max_relationship_low']} of them have no kin in training"
    elif moved:
        decision, words = "same_base", f"alleles shifted among lines whose kin are in training, as selection does " \
                                       f"({groups}); {shift}"
    else:
        decision, words = "same_base", f"no more shift than new families of the same base give ({groups}); {shift}"
    return DRIFT_REPORT.conform(pl.DataFrame({**figures, "decision": decision, "message": words}))
