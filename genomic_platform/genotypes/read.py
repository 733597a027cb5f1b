"""From files as a breeder has them to one checked genotype table: what they are, what is wrong, one batch of parts.

Kinds are told by content. Several files with the same lines on other chromosomes are parts of one batch; anything
else is refused. How one format is read belongs in `vcf.py`, `plink.py`, `hapmap.py`.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from genomic_platform.errors import InputError, Notice, Problem, counted
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.readers.hapmap import HAPMAP_MAGIC, read_hapmap
from genomic_platform.genotypes.readers.part import GenotypePart, Tally
from genomic_platform.genotypes.readers.plink import BED_MAGIC, COMPANIONS, read_plink
from genomic_platform.genotypes.readers.vcf import BOM, GZIP_MAGIC, VCF_MAGIC, read_vcf, truncated
from genomic_platform.genotypes.table import BLOCK, GenotypeTable

_READERS = {"vcf": read_vcf, "plink": read_plink, "hapmap": read_hapmap}
_KEY = ["chromosome", "position", "ref", "alt"]
_NOTICES = {
    "multiallelic": ("multi-allelic variant", "left out"),
    "one_allele": ("variant", "left out, since only one allele is named"),
    "half_calls": ("half-called genotype", "(such as 0/.) taken as missing"),
    "unsorted": ("genotype file", "not sorted by chromosome and position; the table is"),
    "duplicate_variants": ("variant", "left out that repeat another's position and alleles"),
    "repeated_ids": ("variant", "sharing an id with another, named chromosome:position:ref:alt"),
}


@dataclass(frozen=True, eq=False)
class GenotypeInspection:
    """What genotype files are: `kind` is `vcf`, `plink`, `hapmap`, several with ` + `, or `unknown`.

    `table` is None with problems.
    """

    kind: str
    lines: tuple[str, ...]
    n_variants: int
    problems: list[Problem]
    notices: list[Notice]
    table: GenotypeTable | None = None


def inspect_genotypes(paths: Sequence[Path]) -> GenotypeInspection:
    """Read and check genotype files in full; never raises for what a file holds."""
    sources, problems = _sources(paths)
    kind = " + ".join(sorted({k for k, _ in sources}, reverse=True)) or "unknown"
    parts: list[GenotypePart] = []
    for source_kind, path in sources:
        try:
            parts.append(_READERS[source_kind](path))
        except InputError as error:
            problems.extend(error.problems)
    if not problems:
        problems = [p for part in parts[1:] for p in _mismatch(parts[0], part)] + _shared_chromosomes(parts)
    lines = parts[0].lines if parts else ()
    n_variants = sum(part.variants.height for part in parts)
    if problems:
        return GenotypeInspection(kind, lines, n_variants, problems, [])
    table, notices = _assemble(parts)
    problems = _monomorphic(parts, table)
    return GenotypeInspection(kind, lines, table.n_variants, problems, notices, None if problems else table)


def read_genotypes(paths: Sequence[Path]) -> tuple[GenotypeTable, list[Notice]]:
    """One table from one or several files, and what was accepted on the way.

    VCF and HapMap (plain, gzip or bgzip), PLINK .bed (its .bim and .fam are found beside it, and may be given too).
    Variants without an id, or sharing one, are named chromosome:position:ref:alt.

    Raises
    ------
    InputError : every problem of every file.
    """
    inspection = inspect_genotypes(paths)
    if inspection.table is None:
        raise InputError(inspection.problems)
    return inspection.table, inspection.notices


def _sources(paths: Sequence[Path]) -> tuple[list[tuple[str, Path]], list[Problem]]:
    """(kind, path) of every source, a .bed standing for its companions, each once; and what is no source."""
    sources: dict[tuple[str, Path], None] = {}
    problems: list[Problem] = []
    if not paths:
        problems.append(Problem("genotypes", "at least one file", "none", "name a VCF or a PLINK .bed file"))
    for path in map(Path, paths):
        found = _kind(path)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            sources[found, path.with_suffix(".bed") if path.suffix in COMPANIONS else path] = None
    return list(sources), problems


def _kind(path: Path) -> str | Problem:
    if not path.is_file():
        return Problem(path.name, "a genotype file", "no such file" if not path.exists() else "no regular file",
                       "check the name and the folder")
    if path.stat().st_size == 0:
        return Problem(path.name, "a VCF or PLINK .bed file", "an empty file", "copy or export the file again")
    if path.suffix in COMPANIONS:
        if path.with_suffix(".bed").is_file():
            return "plink"
        return Problem(path.name, "a .bed file of the same name beside it", f"no {path.with_suffix('.bed').name}",
                       "give the .bed file, with its .bim and .fam in the same folder")
    try:
        with gzip.open(path, "rb") if _starts(path, GZIP_MAGIC) else open(path, "rb") as source:
            head = source.read(64)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        return truncated(path, str(error))
    if head.removeprefix(BOM).startswith(VCF_MAGIC):
        return "vcf"
    if head.removeprefix(BOM).startswith(HAPMAP_MAGIC):
        return "hapmap"
    if path.suffix == ".bed" or head.startswith(BED_MAGIC):
        return "plink"
    return Problem(path.name, "a VCF (first line ##fileformat=VCF…), a PLINK .bed or a HapMap (rs#…)", _described(head),
                   "give a VCF (.vcf, .vcf.gz; bcftools view writes one from BCF), PLINK .bed or HapMap file")


def _starts(path: Path, magic: bytes) -> bool:
    with open(path, "rb") as source:
        return source.read(len(magic)) == magic


def _described(head: bytes) -> str:
    if head.startswith(b"BCF"):
        return "a BCF file"
    line = head.split(b"\n")[0].decode("utf-8", errors="replace").strip()
    return f"a file that starts with {line[:40]!r}"


def _mismatch(first: GenotypePart, part: GenotypePart) -> list[Problem]:
    absent, extra = set(first.lines) - set(part.lines), set(part.lines) - set(first.lines)
    if not absent and not extra:
        return []
    told = [f"{len(names)} {what} ({', '.join(sorted(names)[:3])}{', …' if len(names) > 3 else ''})"
            for what, names in (("are missing", absent), ("are only here", extra)) if names]
    return [Problem(part.file, f"the {len(first.lines)} lines of {first.file}, on other chromosomes",
                    f"other lines: {', '.join(told)}", "give one batch at a time, with the same lines in every file")]


def _shared_chromosomes(parts: list[GenotypePart]) -> list[Problem]:
    owner: dict[str, GenotypePart] = {}
    problems = []
    for part in parts:
        for chromosome in part.variants["chromosome"].unique().sort():
            first = owner.setdefault(chromosome, part)
            if first is not part:
                common = first.variants.join(part.variants.filter(chromosome=chromosome), on=_KEY, how="semi").height
                problems.append(Problem(part.file, f"other chromosomes than {first.file}",
                                        f"chromosome {chromosome} too, with {common:,} variants in both",
                                        "give each chromosome in one file (bcftools concat), one batch at a time"))
    return problems


def _assemble(parts: list[GenotypePart]) -> tuple[GenotypeTable, list[Notice]]:
    tallies = {code: Tally() for code in _NOTICES}
    for part in parts:
        for code, tally in part.tallies.items():
            tallies[code].merge(tally)
        if _unsorted(part.variants):
            tallies["unsorted"].add(part.file)
    variants = pl.concat([part.variants for part in parts])
    packed_MB = np.concatenate([_reordered(part, parts[0].lines) for part in parts])
    # unplaced markers share position 0: there only the id tells them apart
    identity = [*_KEY, pl.when(pl.col("position") == 0).then("variant_id").otherwise(pl.lit("")).alias("unplaced")]
    first_M = variants.select(pl.struct(identity).is_first_distinct()).to_series()
    if not first_M.all():
        repeats = variants.filter(~first_M)
        tallies["duplicate_variants"].merge(Tally(repeats.height, repeats["variant_id"].head(3).to_list()))
        variants, packed_MB = variants.filter(first_M), packed_MB[first_M.to_numpy()]
    variants = _named(variants, tallies["repeated_ids"])
    notices = [Notice(code, f"{counted(tallies[code].count, what)} {taken}", tallies[code].count,
                      tuple(tallies[code].examples))
               for code, (what, taken) in _NOTICES.items() if tallies[code].count]
    return GenotypeTable.from_packed(variants, parts[0].lines, packed_MB), notices


def _named(variants: pl.DataFrame, repeated: Tally) -> pl.DataFrame:
    """Every variant with an id of its own."""
    place = pl.when(pl.col("position") > 0).then(pl.format("{}:{}", "chromosome", "position")).otherwise("variant_id")
    absent, shared = pl.col("variant_id").is_in([".", ""]), pl.col("variant_id").is_duplicated()
    ids = variants.filter(shared & ~absent)["variant_id"]
    repeated.merge(Tally(len(ids), ids.unique(maintain_order=True).head(3).to_list()))
    return variants.with_columns(pl.when(absent | shared).then(pl.concat_str(place, "ref", "alt", separator=":"))
                                 .otherwise("variant_id").alias("variant_id"))


def _unsorted(variants: pl.DataFrame) -> bool:
    """A position goes back within its chromosome, or a chromosome comes back after another."""
    run = pl.col("chromosome").rle_id()
    goes_back = ((pl.col("position").diff() < 0) & (run.diff() == 0)).any()
    comes_back = run.n_unique() != pl.col("chromosome").n_unique()
    return bool(variants.select(goes_back | comes_back).item())


def _reordered(part: GenotypePart, lines: tuple[str, ...]) -> np.ndarray:
    if part.lines == lines:
        return part.packed_MB
    row_of = {line: i for i, line in enumerate(part.lines)}
    rows_N = np.array([row_of[line] for line in lines])
    return np.concatenate([packing.pack(packing.unpack(part.packed_MB[start : start + BLOCK], len(lines))[:, rows_N])
                           for start in range(0, len(part.packed_MB), BLOCK)])


def _monomorphic(parts: list[GenotypePart], table: GenotypeTable) -> list[Problem]:
    frequency_M = table.allele_frequencies()
    if ((frequency_M > 0) & (frequency_M < 1)).any():
        return []
    return [Problem(", ".join(part.file for part in parts), "at least one variant with both alleles among the lines",
                    f"{table.n_variants:,} variants, all of them monomorphic or without a call",
                    "check that the file holds the right lines and real genotype calls")]
