"""Markers between a model and a genotype table: matching by id and alleles, weighted sums, contributions.

What the effects mean belongs to the recipes. Axes: N panel lines, Q lines of another table, M markers, T traits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import polars as pl

from genomic_platform.errors import InputError, Problem
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.kinship.codings import additive
from genomic_platform.genotypes.kinship.cross_product import block_size, decoded_blocks
from genomic_platform.genotypes.kinship.cross_product import line_sums as packed_line_sums
from genomic_platform.genotypes.table import BLOCK, VARIANT_COLUMNS, GenotypeTable, marker_digest
from genomic_platform.schemas.predictions import MARKER_EFFECTS

SHOWN = 5
_SWAPPED = (pl.col("ref") == pl.col("alt_found")) & (pl.col("alt") == pl.col("ref_found"))


@dataclass(frozen=True, eq=False)
class PanelMarkers:
    """The markers of a panel without its lines: all that a model of marker effects keeps of it."""

    variants: pl.DataFrame

    @classmethod
    def of(cls, panel: GenotypeTable) -> PanelMarkers:
        return cls(panel.variants.select(VARIANT_COLUMNS))

    @property
    def n_variants(self) -> int:
        return self.variants.height

    @cached_property
    def marker_digest(self) -> str:
        """As a genotype table's."""
        return marker_digest(self.variants)


Panel = TypeVar("Panel", GenotypeTable, PanelMarkers)


def match_markers(genotypes: GenotypeTable, panel: GenotypeTable | PanelMarkers) -> GenotypeTable:
    """The lines of `genotypes` at the markers of `panel`, in the panel's order; further markers are left out.

    A marker whose REF and ALT are exchanged is recoded: panels grow, and a larger batch may count the other allele.

    Raises
    ------
    InputError : markers of the panel that are missing (counted, with examples) and every one whose alleles differ.
    """
    if genotypes.marker_digest == panel.marker_digest:
        return genotypes
    found = genotypes.variants.select("variant_id", "ref", "alt").with_row_index("row")
    wanted = panel.variants.select("variant_id", "ref", "alt")
    both = wanted.join(found, on="variant_id", how="left", suffix="_found", maintain_order="left")
    if problems := _missing(both, wanted.height) + _other_alleles(both):
        raise InputError(problems)
    packed_MB = genotypes.packed_MB[both["row"].to_numpy()]
    swapped_M = both.select(_SWAPPED).to_series().to_numpy()
    packed_MB[swapped_M] = packing.swapped_alleles(packed_MB[swapped_M], genotypes.n_lines)
    return GenotypeTable.from_packed(panel.variants, genotypes.lines, packed_MB)


def _missing(both: pl.DataFrame, n_markers: int) -> list[Problem]:
    ids = both.filter(pl.col("row").is_null())["variant_id"]
    if ids.is_empty():
        return []
    return [Problem("genotypes", f"all {n_markers} markers of the model's training panel",
                    f"{len(ids)} of them missing (for example {', '.join(ids.head(SHOWN))})",
                    "genotype the lines on the panel's platform, or impute these markers first", field="markers")]


def _other_alleles(both: pl.DataFrame) -> list[Problem]:
    differ = both.filter(pl.col("row").is_not_null() & ~_SWAPPED
                         & ((pl.col("ref") != pl.col("ref_found")) | (pl.col("alt") != pl.col("alt_found"))))
    return [Problem("genotypes", f"REF {ref}, ALT {alt} as in the training panel, or the two exchanged",
                    f"REF {ref_found}, ALT {alt_found}", "check strand and platform of this marker",
                    field=f"marker {marker}")
            for marker, ref, alt, _, ref_found, alt_found in differ.iter_rows()]


def panel_frequencies(panel: GenotypeTable) -> np.ndarray:
    """ALT frequencies of the panel, shape (M,); 0 where nothing is called."""
    return np.nan_to_num(panel.allele_frequencies(), nan=0.0)


def centred(dosage: np.ndarray, frequencies_M: np.ndarray) -> np.ndarray:
    """Dosage − 2p along the last axis, float64, a missing call (−1) as 0."""
    return np.where(dosage < 0, 0.0, dosage - 2 * frequencies_M)


def breeding_values(dosage_NM: np.ndarray, frequencies_M: np.ndarray, effects_MT: np.ndarray) -> np.ndarray:
    """Σ over markers of (dosage − 2p) × effect, float64 (N, T); missing (−1) at 2p.

    Raises ValueError for another number of markers.
    """
    if dosage_NM.ndim != 2 or dosage_NM.shape[1] != len(frequencies_M):
        raise ValueError(f"dosages have shape {dosage_NM.shape}; expected (lines, {len(frequencies_M)})")
    return centred(dosage_NM, frequencies_M) @ effects_MT


def marker_sums(panel: GenotypeTable, frequencies_M: np.ndarray, weights_NT: np.ndarray) -> np.ndarray:
    """Σ over lines of (dosage − 2p) × weight, shape (M, T), a block of markers at a time, in the weights' precision."""
    sums_MT = np.empty((panel.n_variants, weights_NT.shape[1]), weights_NT.dtype)
    for start, z_mN in _centred_blocks(panel, frequencies_M, weights_NT.dtype):
        sums_MT[start:start + len(z_mN)] = z_mN @ weights_NT
    return sums_MT


def line_sums(panel: GenotypeTable, frequencies_M: np.ndarray, effects_MS: np.ndarray) -> np.ndarray:
    """Σ over markers of (dosage − 2p) × effect, shape (N, S), a block at a time, in the effects' precision."""
    sums_NS = np.zeros((panel.n_lines, effects_MS.shape[1]), effects_MS.dtype)
    for start, z_mN in _centred_blocks(panel, frequencies_M, effects_MS.dtype):
        sums_NS += z_mN.T @ effects_MS[start:start + len(z_mN)]
    return sums_NS


def _centred_blocks(panel: GenotypeTable, frequencies_M: np.ndarray,
                    kind: np.dtype) -> Iterator[tuple[int, np.ndarray]]:
    """Pairs (first marker, `centred` dosages (m, N)): float32 decoded straight from packed calls, or float64."""
    if kind == np.float32:
        yield from decoded_blocks(panel, additive(frequencies_M), block_size(panel.n_lines, 16))  # thin: small serve
        return
    for start, dosage_mN in panel.blocks(block_size(panel.n_lines, 8, BLOCK)):
        yield start, centred(dosage_mN.T, frequencies_M[start:start + len(dosage_mN)]).T


def own_relationship(table: GenotypeTable, frequencies_M: np.ndarray, scale: float) -> np.ndarray:
    """K_ii = Σ (dosage − 2p)² / scale of each line, shape (N,) (VanRaden 2008, J. Dairy Sci. 91:4414, first method).

    Squares are rounded to float32, sums are not: a relative error of at most 6e-8.
    """
    return packed_line_sums(table, additive(frequencies_M) ** 2) / scale


def effects_table(panel: GenotypeTable | PanelMarkers, frequencies_M: np.ndarray, traits: tuple[str, ...],
                  effects_MT: np.ndarray) -> pl.DataFrame:
    """Marker effects as a table (contract MARKER_EFFECTS)."""
    markers = panel.variants.select("variant_id", "chromosome", "position")
    parts = [markers.with_columns(pl.lit(trait).alias("trait"), pl.Series("alt_frequency", frequencies_M),
                                  pl.Series("effect", effects_MT[:, t])) for t, trait in enumerate(traits)]
    return MARKER_EFFECTS.conform(pl.concat(parts))


def top_contributions(genotypes: GenotypeTable, frequencies_M: np.ndarray, traits: tuple[str, ...],
                      effects_MT: np.ndarray, top: int) -> pl.DataFrame:
    """Each line's `top` largest contributions, (dosage − 2p) × effect.

    Columns line_id, trait, variant_id, dosage, contribution. A missing call contributes nothing and is not listed.
    """
    ids = genotypes.variants["variant_id"].to_numpy()
    top = min(top, genotypes.n_variants)
    parts = []
    for line in genotypes.lines:
        dosage_M = genotypes.dosages(lines=[line])[0]
        centred_M = centred(dosage_M, frequencies_M)
        for t, trait in enumerate(traits):
            contribution_M = centred_M * effects_MT[:, t]
            order = np.argsort(-np.abs(contribution_M), kind="stable")[:top]
            order = order[dosage_M[order] >= 0]
            parts.append(pl.DataFrame({"variant_id": ids[order].astype(str), "dosage": dosage_M[order],
                                       "contribution": contribution_M[order]})
                         .select(pl.lit(line).alias("line_id"), pl.lit(trait).alias("trait"), pl.all()))
    return pl.concat(parts)


class OfMarkerEffects(ABC, Generic[Panel]):
    """What a fitted model says through its marker effects."""

    panel: Panel
    frequencies_M: np.ndarray
    effects_MT: np.ndarray

    @property
    @abstractmethod
    def traits(self) -> tuple[str, ...]:
        """In the order of the effects' columns."""

    def values_from_dosages(self, dosage_NM: np.ndarray) -> np.ndarray:
        """Breeding values, float64 (N, T), of dosages in the panel's marker order; missing (−1) at 2p.

        Raises ValueError for another number of markers.
        """
        return breeding_values(dosage_NM, self.frequencies_M, self.effects_MT)

    def explain(self, genotypes: GenotypeTable | None = None, top: int = 10) -> pl.DataFrame:
        """Marker effects on the breeding value, or each line's `top` largest contributions to it."""
        if genotypes is None:
            return effects_table(self.panel, self.frequencies_M, self.traits, self.effects_MT)
        aligned = match_markers(genotypes, self.panel)
        return top_contributions(aligned, self.frequencies_M, self.traits, self.effects_MT, top)


def save_array(array: np.ndarray, path: Path) -> None:
    """Write a .npy file in C order: equal values, equal bytes."""
    np.save(path, np.ascontiguousarray(array), allow_pickle=False)
