"""The lines of a batch that a season knows, under their stable names. Matching to trials is left to the season."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace

from genomic_platform.errors import InputError, Problem
from genomic_platform.genotypes.table import GenotypeTable


def known_panel(batch: GenotypeTable, synonyms: Mapping[str, str], later: Collection[str] = ()) -> GenotypeTable:
    """The batch with sample names resolved to line ids, without the lines first known after the season.

    Parameters
    ----------
    batch : genotypes as read, N samples.
    synonyms : other name → line_id.
    later : line ids not known yet.

    Raises
    ------
    InputError
        Two samples are the same line.
    """
    if problems := repeated_lines(batch.lines, synonyms, "genotypes"):
        raise InputError(problems)
    names = tuple(synonyms.get(name, name) for name in batch.lines)
    renamed = replace(batch, lines=names)
    known = [name for name in names if name not in later]
    return renamed if len(known) == len(names) else renamed.select(None, known)


def repeated_lines(samples: Collection[str], synonyms: Mapping[str, str], file: str) -> list[Problem]:
    """Lines that several samples are by their synonyms, each a problem of `file`."""
    names = [synonyms.get(sample, sample) for sample in samples]
    return [Problem(file, "one sample a line",
                    f"the samples {' and '.join(s for s, n in zip(samples, names, strict=True) if n == line)}",
                    "keep one of the samples, or correct the synonyms in lines.csv", field=line)
            for line, count in sorted(Counter(names).items()) if count > 1]
