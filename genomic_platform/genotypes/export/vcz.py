"""The genotype table as a VCF Zarr store: Zarr format 2, a chunk of variants at a time.

Reference: VCF Zarr specification 0.4 (sgkit-dev/vcf-zarr-spec). Axes: m variants of a block, N lines, B = ceil(N / 4).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from genomic_platform import __version__
from genomic_platform.errors import MissingExtra
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.export.files import check_names, folder_beside
from genomic_platform.genotypes.table import GenotypeTable

if TYPE_CHECKING:
    import zarr
    from numcodecs import Blosc

_VARIANTS, _LINES, _NAMES = 1_024, 10_000, 100_000  # in a chunk
_DIMENSIONS = "_ARRAY_DIMENSIONS"  # where xarray and sgkit look for them in Zarr format 2
_PAIRS = np.array([[-1, -1], [0, 0], [0, 1], [1, 1]], dtype=np.int8)  # index: dosage + 1
_ANY_TEXT = (r"(?!)", "undecodable characters")
_FORBIDDEN: dict[str, tuple[str, str]] = {"line name": _ANY_TEXT, "marker id": _ANY_TEXT, "chromosome": _ANY_TEXT,
                                          "allele": _ANY_TEXT}


def to_vcz(table: GenotypeTable, path: Path) -> Path:
    """Write a VCF Zarr store, a folder; calls are unphased.

    Raises
    ------
    InputError : a name in the table is empty.
    MissingExtra : the package zarr is not installed.
    """
    try:
        import zarr
    except ImportError as error:
        raise MissingExtra("VCF Zarr needs the package zarr; "
                           "repair: pip install 'genomic-platform[genotypes]'") from error
    check_names(table, path.name, _FORBIDDEN)
    with folder_beside(path) as folder:
        store = zarr.create_group(str(folder / "new"), zarr_format=2, attributes={
            "vcf_zarr_version": "0.4", "source": f"genomic-platform {__version__}"})
        _write_variants(store, table)
        _write_calls(store, table)
        zarr.consolidate_metadata(store.store)
        if path.is_dir():
            path.rename(folder / "old")
        (folder / "new").rename(path)
    return path


def _write_variants(store: zarr.Group, table: GenotypeTable) -> None:
    variants = table.variants
    contigs = variants["chromosome"].unique(maintain_order=True)
    contig_M = variants["chromosome"].replace_strict(contigs, np.arange(len(contigs)), return_dtype=pl.Int32)
    alleles_MA = np.stack([_text(variants["ref"]), _text(variants["alt"])], axis=1)
    _create(store, "contig_id", ["contigs"], _text(contigs))
    _create(store, "filter_id", ["filters"], _text(["PASS"]))
    _create(store, "sample_id", ["samples"], _text(table.lines))
    _create(store, "variant_contig", ["variants"], contig_M.to_numpy())
    _create(store, "variant_position", ["variants"], variants["position"].to_numpy())
    _create(store, "variant_id", ["variants"], _text(variants["variant_id"]))
    _create(store, "variant_allele", ["variants", "alleles"], alleles_MA)
    _create(store, "variant_quality", ["variants"], np.full(len(variants), np.nan, dtype=np.float32))
    _create(store, "variant_filter", ["variants", "filters"], np.zeros((len(variants), 1), dtype=bool))


def _write_calls(store: zarr.Group, table: GenotypeTable) -> None:
    m, n = table.n_variants, table.n_lines
    calls = store.create_array("call_genotype", shape=(m, n, 2), dtype=np.int8, fill_value=-1,
                               chunks=(min(m, _VARIANTS), min(n, _LINES), 2), compressors=_compressor(),
                               attributes={_DIMENSIONS: ["variants", "samples", "ploidy"]})
    pairs_of_byte = _PAIRS[packing.unpack(np.arange(256, dtype=np.uint8)[:, None], 4) + 1].reshape(256, 8)
    for start, packed_mB in table.packed_blocks(_VARIANTS):
        pairs_m = np.take(pairs_of_byte, packed_mB, axis=0).reshape(len(packed_mB), -1)[:, : 2 * n]
        calls[start : start + len(packed_mB)] = pairs_m.reshape(len(packed_mB), n, 2)


def _create(store: zarr.Group, name: str, dimensions: list[str], values: np.ndarray) -> None:
    array = store.create_array(name, shape=values.shape, dtype=str if values.dtype == object else values.dtype,
                               chunks=(min(len(values), _NAMES), *values.shape[1:]), compressors=_compressor(),
                               attributes={_DIMENSIONS: dimensions})
    array[...] = values


def _text(names: Iterable[str]) -> np.ndarray:
    """Strings of any length, as zarr takes them."""
    return np.array(list(names), dtype=object)


def _compressor() -> Blosc:
    from numcodecs import Blosc

    return Blosc(cname="zstd", clevel=5, shuffle=Blosc.BITSHUFFLE)
