"""VCF Zarr stores as other software writes them: both Zarr formats, ploidies, several alleles, and damage in words."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import zarr

from genomic_platform.errors import InputError, MissingExtra
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.export import to_vcz
from genomic_platform.genotypes.readers import vcz
from genomic_platform.genotypes.readers.part import ReadOptions, collect
from genomic_platform.genotypes.readers.vcz import open_vcz
from genomic_platform.genotypes.sources import source_kind
from genomic_platform_tests.support.panels import made_panel

#: As vcf2zarr writes three lines at five variants: fill of a lower ploidy is −2, of fewer alleles ''.
CALLS = [[[0, 0], [0, 1], [1, 1]], [[-1, -1], [-1, 1], [0, 0]], [[1, -2], [0, -2], [-1, -2]], [[0, 2], [1, 2], [1, 1]],
         [[0, 0], [0, 0], [-1, -1]]]
ARRAYS: dict[str, Any] = {
    "contig_id": ["chr1", "chrÄ"], "sample_id": ["a", "IR 64", "ü"],
    "variant_contig": np.array([0, 0, 0, 1, 1], np.int8),
    "variant_position": np.array([0, 9, 4, 2, 7], np.int32), "variant_id": ["m1", "m2", ".", "m4", "m5"],
    "variant_allele": [["A", "G", ""], ["A", "CAT", ""], ["T", "C", ""], ["A", "G", "T"], ["A", "", ""]],
    "call_genotype": np.array(CALLS, np.int8)}


def store(folder: Path, zarr_format: Literal[2, 3] = 2, **changed: Any) -> Path:
    path = folder / "x.vcz"
    group = zarr.create_group(str(path), zarr_format=zarr_format, attributes={"vcf_zarr_version": "0.4"})
    for name, values in (ARRAYS | changed).items():
        if values is not None:
            content = values if isinstance(values, np.ndarray) else np.array(values, dtype=object)
            group.create_array(name, shape=content.shape, chunks=(2, *content.shape[1:]),
                               dtype=str if content.dtype == object else content.dtype)[...] = content
    return path


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_store_of_another_programme_is_read(tmp_path: Path, zarr_format: Literal[2, 3],
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vcz, "_CHUNK_CELLS", 6)  # several chunks
    path = store(tmp_path, zarr_format)
    assert source_kind(path) == "vcz"
    part = collect(open_vcz(path))
    assert part.lines == ("a", "IR 64", "ü")
    assert part.variants.rows() == [("m1", "chr1", 0, "A", "G"), ("m2", "chr1", 9, "A", "CAT"),
                                    (".", "chr1", 4, "T", "C"), ("m5", "chrÄ", 7, "A", ".")]
    assert packing.unpack(part.packed_MB, 3).tolist() == [[0, 1, 2], [-1, -1, 0], [2, 0, -1], [0, 0, -1]]
    assert {code: tally.count for code, tally in part.tallies.items()} == {
        "multiallelic": 1, "half_calls": 1, "haploid": 2, "uncertain": 0}


def test_several_alleles_are_split_when_asked(tmp_path: Path) -> None:
    part = collect(open_vcz(store(tmp_path), ReadOptions("split")))
    assert part.variants["variant_id"].to_list() == ["m1", "m2", ".", "m4", "m4", "m5"]
    assert packing.unpack(part.packed_MB, 3)[3:5].tolist() == [[0, 1, 2], [1, 1, 0]]


def test_a_haploid_store_and_one_without_ids_are_read(tmp_path: Path) -> None:
    path = store(tmp_path, variant_id=None, call_genotype=np.array(CALLS, np.int8)[:, :, :1])
    part = collect(open_vcz(path))
    assert part.variants["variant_id"].to_list() == ["."] * 4
    assert packing.unpack(part.packed_MB, 3).tolist() == [[0, 0, 2], [-1, -1, 0], [2, 0, -1], [0, 0, -1]]


POLYPLOID = np.full((5, 3, 4), -2, dtype=np.int8)
POLYPLOID[:, :, :2] = CALLS
POLYPLOID[1, 2] = [0, 0, 1, 1]
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no genotypes": ({"call_genotype": None}, "a folder without call_genotype; expected a VCF Zarr store"),
    "no contigs": ({"contig_id": None}, "a folder without contig_id"),
    "shapes": ({"sample_id": ["a", "b"]}, "5 × 3 × 2 with 5 variants and 2 samples; expected call_genotype of"),
    "two dimensions": ({"call_genotype": np.zeros((5, 3), np.int8)}, "5 × 3 with 5 variants"),
    "line twice": ({"sample_id": ["a", "b", "a"]}, "line (sample_id) is given more than once: 'a'"),
    "polyploid": ({"call_genotype": POLYPLOID}, "call of ü at m2 is polyploid (4 alleles); expected a diploid call"),
    "unknown allele": ({"call_genotype": np.array(CALLS, np.int8) * 3}, "is allele 3; expected one of the 2 alleles"),
    "unknown contig": ({"variant_contig": np.array([0, 0, 2, 1, 1], np.int8)}, "one that zarr cannot read"),
    "position": ({"variant_position": np.array([0, 0, -2, 1, 1])}, "a contig or a position below zero"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_store_stops_with_its_message(tmp_path: Path, case: str) -> None:
    changed, message = BAD[case]
    with pytest.raises(InputError) as refused:
        collect(open_vcz(store(tmp_path, **changed)))
    assert message in str(refused.value)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "no store": lambda path: shutil.rmtree(path / "call_genotype"),
    "metadata": lambda path: (path / "call_genotype" / ".zarray").write_text("{"),
    "a chunk": lambda path: next((path / "call_genotype").glob("0*")).write_bytes(b"\x00" * 40),
    "a chunk cut": lambda path: (path / "variant_id" / "0").write_bytes((path / "variant_id" / "0").read_bytes()[:-9]),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_store_is_named(tmp_path: Path, case: str) -> None:
    path = to_vcz(made_panel(9, 20), tmp_path / "x.vcz")
    (path / ".zmetadata").unlink()
    DAMAGE[case](path)
    with pytest.raises(InputError, match=r"x\.vcz: "):
        collect(open_vcz(path))


def test_without_zarr_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = store(tmp_path)
    monkeypatch.setitem(sys.modules, "zarr", None)
    for action in (lambda: open_vcz(path), lambda: to_vcz(made_panel(3, 4), tmp_path / "y.vcz")):
        with pytest.raises(MissingExtra, match=r"pip install 'genomic-platform\[genotypes\]'"):
            action()
