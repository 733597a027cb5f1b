"""VCF Zarr stores (folders, .vcz), as bio2zarr and sgkit write them, a chunk of variants at a time.

Zarr formats 2 and 3. What calls mean belongs in `alleles.py`, writing in `export/vcz.py`.
Reference: VCF Zarr specification 0.4 (sgkit-dev/vcf-zarr-spec).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl

from genomic_platform.errors import InputError, MissingExtra, Problem
from genomic_platform.genotypes.readers.alleles import chunk_of_alleles, new_tallies
from genomic_platform.genotypes.readers.companions import check_lines
from genomic_platform.genotypes.readers.part import AS_USUAL, Chunk, GenotypeSource, ProblemList, ReadOptions, Tally

if TYPE_CHECKING:
    import zarr

Store: TypeAlias = "dict[str, zarr.Array]"
_NEEDED = ("contig_id", "variant_contig", "variant_position", "variant_allele", "call_genotype", "sample_id")
_CHUNK_CELLS = 8_000_000
_BLOSC_HEAD, _BLOSC_COPIED = 16, 2  # bytes; flag of a buffer that is not compressed
#: What zarr and its codecs raise over damage; a damaged length is asked of the memory at once.
_DAMAGED = (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError, SystemError, MemoryError)


def open_vcz(path: Path, options: ReadOptions = AS_USUAL) -> GenotypeSource:
    """Calls of one store. Raises InputError for a store that is none or is damaged, MissingExtra without zarr."""
    try:
        import zarr
    except ImportError as error:
        raise MissingExtra("VCF Zarr needs the package zarr; "
                           "repair: pip install 'genomic-platform[genotypes]'") from error
    try:
        store = dict(zarr.open_group(str(path), mode="r").arrays())
        if absent := [name for name in _NEEDED if name not in store]:
            raise InputError([Problem(path.name, "a VCF Zarr store", f"a folder without {', '.join(absent)}",
                                      "write it again (vcf2zarr), with genotypes")])
        if problems := (_type_problems(path, store) or _shape_problems(path, store) or _blosc_problems(path, store)):
            raise InputError(problems)
        contigs, lines = _strings(store, "contig_id"), tuple(_strings(store, "sample_id"))
    except _DAMAGED as error:
        raise InputError([_damaged(path, error)]) from error
    problems, tallies = ProblemList(path.name), new_tallies()
    check_lines(lines, "sample_id", problems)
    return GenotypeSource(path.name, lines, _chunks(path, store, lines, contigs, options, tallies, problems), tallies)


def _chunks(path: Path, store: Store, lines: tuple[str, ...], contigs: Sequence[str], options: ReadOptions,
            tallies: dict[str, Tally], problems: ProblemList) -> Iterator[Chunk]:
    calls = store["call_genotype"]
    n, size = calls.shape[0], _chunk_size(calls, len(lines))
    n_variants = 0
    for start in range(0, n, size):
        try:
            variants = _variants(store, contigs, slice(start, start + size))
            allele_mNP = np.asarray(calls[start : start + size])
        except _DAMAGED as error:
            raise InputError([_damaged(path, error)]) from error
        chunk = chunk_of_alleles(variants, allele_mNP, lines, options, tallies, problems)
        n_variants += chunk.variants.height
        yield chunk
    if n_variants == 0 and not problems:
        problems.add("empty", expected="at least one biallelic variant", found="none",
                     repair="write the store again, with biallelic variants")
    if problems:
        raise InputError(problems.all())


def _variants(store: Store, contigs: Sequence[str], part: slice) -> pl.DataFrame:
    """VARIANT_SCHEMA, but `alt` a list of strings."""
    alleles_mA = np.asarray(store["variant_allele"][part])
    position_m = np.asarray(store["variant_position"][part]).astype(np.int64)
    contig_m = np.asarray(store["variant_contig"][part]).tolist()
    if contig_m and (min(contig_m) < 0 or min(position_m) < 0):
        raise ValueError("a contig or a position below zero")
    names = _strings(store, "variant_id", part) if "variant_id" in store else ["."] * len(position_m)
    return pl.DataFrame({
        "variant_id": [name or "." for name in names],
        "chromosome": [str(contigs[c]) for c in contig_m],
        "position": position_m,
        "ref": [str(ref) for ref in alleles_mA[:, 0]],
        "alt": [[str(alt) for alt in alts if alt] or ["."] for alts in alleles_mA[:, 1:]],
    }, schema_overrides={"alt": pl.List(pl.String)})


def _type_problems(path: Path, store: Store) -> list[Problem]:
    return [Problem(path.name, "whole numbers", f"of type {store[name].dtype}", "write the store again (vcf2zarr)",
                    field=name)
            for name in ("variant_contig", "variant_position", "call_genotype") if store[name].dtype.kind not in "iu"]


def _shape_problems(path: Path, store: Store) -> list[Problem]:
    shape = store["call_genotype"].shape
    expected = (store["variant_position"].shape[0], store["sample_id"].shape[0])
    others = {store[name].shape[0] for name in ("variant_contig", "variant_allele")}
    if len(shape) == 3 and shape[2] > 0 and shape[:2] == expected and others == {expected[0]}:
        return []
    return [Problem(path.name, "call_genotype of variants × samples × ploidy, as the other arrays have them",
                    f"{' × '.join(map(str, shape))} with {expected[0]:,} variants and {expected[1]:,} samples",
                    "write the store again (vcf2zarr)")]


def _blosc_problems(path: Path, store: Store) -> list[Problem]:
    """Chunks that Blosc must not see: of one that is cut it reads what lies behind it in memory, or crashes."""
    problems = ProblemList(path.name)
    for name in [name for name in (*_NEEDED, "variant_id") if name in store and _by_blosc(store[name])]:
        for file in sorted(file for file in (path / name).rglob("*") if file.is_file()):
            if not file.name.startswith((".", "zarr.json")) and not _sound_blosc(file):
                problems.add("chunk", field=f"chunk {file.relative_to(path)}", expected="a whole Blosc buffer",
                             found="cut or damaged", repair="copy the folder again, or write it again (vcf2zarr)")
    return problems.all()


def _by_blosc(array: zarr.Array) -> bool:
    return array.shards is None and any("blosc" in type(codec).__name__.lower() for codec in array.compressors)


def _sound_blosc(file: Path) -> bool:
    """Its header gives its own size, and blocks begin inside it. Reference: README_CHUNK_FORMAT of c-blosc 1."""
    size = file.stat().st_size
    with open(file, "rb") as source:
        head = source.read(_BLOSC_HEAD)
        if len(head) < _BLOSC_HEAD:
            return False
        n_bytes, block, own_size = struct.unpack("<4x3I", head)
        if own_size != size or (n_bytes and not block):
            return False
        if head[2] & _BLOSC_COPIED or not n_bytes:
            return size == _BLOSC_HEAD + n_bytes
        n_blocks = -(-n_bytes // block)
        starts = source.read(4 * n_blocks)
    start_B = np.frombuffer(starts[: len(starts) // 4 * 4], dtype="<u4")
    return len(start_B) == n_blocks and bool(((start_B >= _BLOSC_HEAD) & (start_B < size)).all())


def _chunk_size(calls: zarr.Array, n_lines: int) -> int:
    """Variants read at once: whole chunks of the store where these are not too large."""
    size = max(1, _CHUNK_CELLS // max(1, n_lines))
    return size // calls.chunks[0] * calls.chunks[0] or size


def _strings(store: Store, name: str, part: slice = slice(None)) -> list[str]:
    return [str(text) for text in np.asarray(store[name][part]).tolist()]


def _damaged(path: Path, error: Exception) -> Problem:
    return Problem(path.name, "a whole VCF Zarr store", f"one that zarr cannot read ({error})",
                   "copy the folder again, or write it again (vcf2zarr)")
