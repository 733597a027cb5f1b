"""From alleles of calls, as BCF and VCF Zarr hold them, to dosages: which variants are read, which calls count.

Alleles are 0 = REF, 1, 2, … = ALT, −1 missing, −2 no such allele (a call of lower ploidy).
Axes: m variants of a chunk, N lines, P the highest ploidy of the chunk, k variants after multi-allelic ones were
left out or split.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from genomic_platform.genotypes import packing
from genomic_platform.genotypes.readers.part import Chunk, ProblemList, ReadOptions, Tally

MISSING, ABSENT = -1, -2
#: A fractional dosage becomes the whole one that is this near, as with plink2 --hard-call-threshold 0.1.
HARD_CALL = 0.1
POLYPLOID_REPAIR = "only diploid genotypes are read: recode the calls as diploid, or leave the variant out"


def new_tallies() -> dict[str, Tally]:
    """What these readers accept, by notice code."""
    return {code: Tally() for code in ("multiallelic", "half_calls", "haploid", "uncertain")}


def biallelic(variants: pl.DataFrame, options: ReadOptions, multiallelic: Tally) -> tuple[pl.DataFrame, np.ndarray]:
    """The variants to read, k rows, with `row` (among the m) and the ALT allele that each counts, int64 (k,).

    Parameters
    ----------
    variants : VARIANT_SCHEMA, but `alt` a list of strings.
    multiallelic : gains the variants left out.
    """
    several = pl.col("alt").list.len() > 1
    kept = variants.with_row_index("row").with_columns(
        pl.int_ranges(1, pl.col("alt").list.len() + 1, dtype=pl.Int64).alias("counted"))
    if options.multiallelic == "drop":
        for name in variant_names(variants.filter(several)):
            multiallelic.add(name)
        kept = kept.filter(~several)
    kept = kept.explode("alt", "counted")
    return kept.drop("counted"), kept["counted"].to_numpy()


def chunk_of_alleles(variants: pl.DataFrame, allele_mNP: np.ndarray, lines: Sequence[str], options: ReadOptions,
                     tallies: dict[str, Tally], problems: ProblemList) -> Chunk:
    """Half-calls become missing, haploid calls homozygous, both counted; a polyploid or impossible call is a problem.

    Parameters
    ----------
    variants : VARIANT_SCHEMA, but `alt` a list of strings; m rows.
    allele_mNP : integers (m, N, P).
    """
    kept, counted_k = biallelic(variants, options, tallies["multiallelic"])
    names, row_k = variant_names(variants), kept["row"].to_numpy()
    read_m = np.unique(row_k)
    first_mN, second_mN = _pairs(read_m, allele_mNP, names, tallies)
    _refuse_polyploid(read_m, allele_mNP, names, lines, problems)
    n_alleles_m = variants["alt"].list.len().to_numpy() + 1
    _refuse_unknown(read_m, np.maximum(first_mN, second_mN), n_alleles_m, names, lines, problems)
    counted_kN = counted_k[:, None]
    dosage_kN = (first_mN[row_k] == counted_kN).astype(np.int8) + (second_mN[row_k] == counted_kN)
    dosage_kN[np.minimum(first_mN, second_mN)[row_k] < 0] = packing.MISSING
    return Chunk(kept.drop("row"), packing.pack(dosage_kN))


def _pairs(read_m: np.ndarray, allele_mNP: np.ndarray, names: list[str],
           tallies: dict[str, Tally]) -> tuple[np.ndarray, np.ndarray]:
    """First and second allele of each call, a haploid call's one allele twice; both kinds of odd calls counted."""
    first_mN = allele_mNP[..., 0]
    second_mN = allele_mNP[..., 1] if allele_mNP.shape[2] > 1 else np.full_like(first_mN, ABSENT)
    haploid_mN = np.logical_and(second_mN == ABSENT, first_mN >= 0)
    half_mN = np.logical_xor(first_mN < 0, second_mN < 0) & (second_mN != ABSENT)
    for code, found_mN in (("haploid", haploid_mN), ("half_calls", half_mN)):
        count_m = np.count_nonzero(found_mN, axis=1)
        for row in read_m[count_m[read_m] > 0].tolist():
            tallies[code].add(names[row], int(count_m[row]))
    return first_mN, np.where(haploid_mN, first_mN, second_mN)


def whole_dosages(dosage_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nearest whole dosages, int8 with −1 for missing (NaN) and for uncertain ones; and which are uncertain (bool).

    What no diploid line can have stays above 2, or below −1.
    """
    called_N = ~np.isnan(dosage_N)
    nearest_N = np.rint(np.where(called_N, dosage_N, packing.MISSING)).clip(-126, 126).astype(np.int8)
    # float32 holds 1.1 as 1.10000002: the edge belongs to the whole dosage
    uncertain_N = called_N & (nearest_N <= 2) & (nearest_N >= -1) & (np.abs(dosage_N - nearest_N) > HARD_CALL + 1e-6)
    nearest_N[uncertain_N] = packing.MISSING
    return nearest_N, uncertain_N


def variant_names(variants: pl.DataFrame) -> list[str]:
    """Ids, chromosome:position where there is none."""
    return variants.select(pl.when(pl.col("variant_id").is_in([".", ""])).then(
        pl.format("{}:{}", "chromosome", "position")).otherwise("variant_id")).to_series().to_list()


def _refuse_unknown(read_m: np.ndarray, highest_mN: np.ndarray, n_alleles_m: np.ndarray, names: list[str],
                    lines: Sequence[str], problems: ProblemList) -> None:
    for row in read_m[highest_mN.max(axis=1)[read_m] >= n_alleles_m[read_m]].tolist():
        line = int(highest_mN[row].argmax())
        problems.add("call", field=f"call of {lines[line]} at {names[row]}", found=f"allele {highest_mN[row, line]}",
                     expected=f"one of the {n_alleles_m[row]} alleles that are named",
                     repair="write the file again from its source")


def _refuse_polyploid(read_m: np.ndarray, allele_mNP: np.ndarray, names: list[str], lines: Sequence[str],
                      problems: ProblemList) -> None:
    if allele_mNP.shape[2] < 3:
        return
    ploidy_mN = np.count_nonzero(allele_mNP != ABSENT, axis=2)
    for row in read_m[ploidy_mN.max(axis=1)[read_m] > 2].tolist():
        line = int(ploidy_mN[row].argmax())
        problems.add("ploidy", field=f"call of {lines[line]} at {names[row]}", expected="a diploid call",
                     found=f"polyploid ({ploidy_mN[row, line]} alleles)", repair=POLYPLOID_REPAIR)
