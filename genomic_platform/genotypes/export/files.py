"""What exports share: names that a format forbids are refused, files appear whole or not at all."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from genomic_platform.errors import InputError, Problem
from genomic_platform.genotypes.readers.part import ProblemList
from genomic_platform.genotypes.table import GenotypeTable

#: Written in place of bytes that are no UTF-8; readers refuse it.
UNREADABLE = "\ufffd"


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """A folder in which to write what then becomes `path`; removed with all that is left in it."""
    if not path.parent.is_dir():
        raise InputError([Problem(str(path), "a folder to write to", f"no folder {path.parent}", "make it first")])
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def check_names(table: GenotypeTable, file: str, forbidden: Mapping[str, tuple[str, str]]) -> None:
    """Refuse names that a format cannot hold.

    Parameters
    ----------
    file : what is to be written.
    forbidden : for `line name`, `marker id`, `chromosome` and `allele`: a pattern, and in words what it finds.

    Raises
    ------
    InputError : every such name.
    """
    variants, problems = table.variants, ProblemList(file)
    names = {"line name": table.lines, "marker id": variants["variant_id"],
             "chromosome": variants["chromosome"].unique(maintain_order=True),
             "allele": variants["ref"].append(variants["alt"]).unique(maintain_order=True)}
    for kind, (pattern, words) in forbidden.items():
        found = re.compile(f"{pattern}|{UNREADABLE}|^$")
        for name in filter(found.search, names[kind]):
            problems.add(kind, field=kind, expected=f"a name, without {words}", found=repr(name),
                         repair=f"rename {name!r} in the table, or export to another format")
    if problems:
        raise InputError(problems.all())
