"""From files as a breeder has them to checked genotype tables: what they are, what is wrong, which belong together.

Files with the same lines on other chromosomes are parts of one batch; files with other lines, or with the same
chromosomes again, are batches of their own, which `merging/` merges into a panel. Files larger than memory go
straight to disk with `ingest.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from genomic_platform.errors import InputError, Notice, Problem
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.assembly import PartFacts, any_varies, assemble, batches_of, line_order, monomorphic
from genomic_platform.genotypes.merging.batch_set import merge_notices
from genomic_platform.genotypes.merging.batches import merge_batches
from genomic_platform.genotypes.readers.part import AS_USUAL, GenotypePart, ReadOptions, collect
from genomic_platform.genotypes.sources import find_sources, open_source
from genomic_platform.genotypes.table import GenotypeTable


@dataclass(frozen=True, eq=False)
class GenotypeInspection:
    """What genotype files are.

    Attributes
    ----------
    kind : `vcf`, `bcf`, `plink`, `pgen`, `hapmap`, `dosages`, `vcz`, several with ` + `, or `unknown`.
    lines : of all batches, each once; `n_variants` : of all batches together.
    batches : name (its first file) → table; empty with problems.
    """

    kind: str
    lines: tuple[str, ...]
    n_variants: int
    problems: list[Problem]
    notices: list[Notice]
    batches: dict[str, GenotypeTable] = field(default_factory=dict)


def inspect_genotypes(paths: Sequence[Path], options: ReadOptions = AS_USUAL) -> GenotypeInspection:
    """Read and check genotype files in full; never raises for what a file holds."""
    sources, problems = find_sources(paths)
    kind = " + ".join(sorted({k for k, _ in sources}, reverse=True)) or "unknown"
    parts: list[GenotypePart] = []
    for source_kind, path in sources:
        try:
            parts.append(collect(open_source(source_kind, path, options)))
        except InputError as error:
            problems.extend(error.problems)
    notices: list[Notice] = []
    batches: dict[str, GenotypeTable] = {}
    for group in [] if problems else _batches(parts):
        batches[group[0].file], accepted = _assembled(group)
        notices += accepted
        if not any_varies(batches[group[0].file].variants):
            problems.append(monomorphic(_facts(group), batches[group[0].file].n_variants))
    lines = tuple(dict.fromkeys(line for part in parts for line in part.lines))
    n_variants = sum(t.n_variants for t in batches.values()) or sum(part.variants.height for part in parts)
    return GenotypeInspection(kind, lines, n_variants, problems, notices, {} if problems else batches)


def read_batches(paths: Sequence[Path],
                 options: ReadOptions = AS_USUAL) -> tuple[dict[str, GenotypeTable], list[Notice]]:
    """One table for each batch, by the name of its first file, and what was accepted on the way.

    A PLINK .bed is found with its .bim and .fam beside it, a .pgen with its .pvar and .psam, and each may be given too.
    Variants without an id, or sharing one, are named chromosome:position:ref:alt.

    Raises
    ------
    InputError : every problem of every file.
    """
    inspection = inspect_genotypes(paths, options)
    if inspection.problems:
        raise InputError(inspection.problems)
    return inspection.batches, inspection.notices


def read_genotypes(paths: Sequence[Path], synonyms: Mapping[str, str] | None = None,
                   options: ReadOptions = AS_USUAL) -> tuple[GenotypeTable, list[Notice]]:
    """One table from one or several files, batches merged under `synonyms` (other name → line id); as `read_batches`.

    Raises InputError also for batches that do not fit together.
    """
    batches, notices = read_batches(paths, options)
    if len(batches) == 1:
        return next(iter(batches.values())), notices
    merged = merge_batches(batches, synonyms=synonyms)
    return merged.table, [*notices, *merge_notices(merged)]


def _facts(parts: Sequence[GenotypePart]) -> list[PartFacts]:
    return [PartFacts(part.file, part.lines, part.variants, part.tallies) for part in parts]


def _batches(parts: Sequence[GenotypePart]) -> list[list[GenotypePart]]:
    facts = _facts(parts)
    part_of = {id(fact): part for fact, part in zip(facts, parts, strict=True)}
    return [[part_of[id(fact)] for fact in batch] for batch in batches_of(facts)]


def _assembled(parts: Sequence[GenotypePart]) -> tuple[GenotypeTable, list[Notice]]:
    assembled, lines = assemble(_facts(parts)), parts[0].lines
    orders = [line_order(part.lines, lines) for part in parts]
    packed_MB = np.concatenate([part.packed_MB if order is None else packing.take_lines(part.packed_MB, order)
                                for part, order in zip(parts, orders, strict=True)])
    return GenotypeTable.from_packed(assembled.variants, lines, packed_MB[assembled.rows_M]), assembled.notices
