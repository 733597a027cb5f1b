"""Text tables beside binary genotypes (.bim, .fam, .pvar, .psam): rows of fields, and each faulty line in words.

What the fields mean belongs in `plink.py` and `pgen.py`. As in PLINK, any run of bytes up to a blank (space, tab,
control characters) separates fields; other spaces of Unicode are part of a name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from genomic_platform.errors import Problem
from genomic_platform.genotypes.readers.part import VARIANT_SCHEMA, ProblemList, repeated_names

_FIELD = r"[^\x00-\x20]+"


def missing_companions(paths: Sequence[Path], beside: Path) -> list[Problem]:
    """A problem for each of the files that is absent or empty."""
    return [Problem(path.name, f"a file beside {beside.name}", "no such file or an empty one",
                    f"put {path.name} into the same folder as {beside.name}")
            for path in paths if not path.is_file() or path.stat().st_size == 0]


def text_rows(text: bytes, names: Sequence[str], problems: ProblemList, *, layout: str, first_line: int = 1,
              more: bool = False) -> pl.DataFrame:
    """Rows of `text` with the width of `names`, as strings, and `line`, the number of each; other rows are problems.

    Parameters
    ----------
    layout : what the columns are, for messages.
    first_line : number of the first line.
    more : further columns may follow (they are dropped).
    """
    rows = None if more else _tab_separated(text, names)
    if rows is not None:
        return rows.with_row_index("line", first_line)
    lines = pl.DataFrame({"fields": text.decode("utf-8", errors="replace").removesuffix("\n").split("\n")})
    fields = lines.select(pl.col("fields").str.extract_all(_FIELD)).with_row_index("line", first_line)
    width = fields["fields"].list.len()
    good = width >= len(names) if more else width == len(names)
    for line, found in zip(fields["line"].filter(~good), width.filter(~good), strict=True):
        problems.add("columns", line=line, expected=f"{len(names)} columns ({layout})", found=f"{found} columns",
                     repair="write the file again with plink")
    return fields.filter(good).select("line", *(pl.col("fields").list.get(i).alias(n) for i, n in enumerate(names)))


def checked_variants(rows: pl.DataFrame, problems: ProblemList) -> pl.DataFrame:
    """VARIANT_SCHEMA of rows with its columns as strings; a position that is no whole number is a problem."""
    whole = rows["position"].str.contains(r"^[0-9]{1,12}$")
    for line, position in rows.filter(~whole).select("line", "position").iter_rows():
        problems.add("position", line=line, field="position", expected="a whole number", found=repr(position),
                     repair="correct the position")
    return rows.filter(whole).select(pl.col(name).cast(dtype) for name, dtype in VARIANT_SCHEMA.items())


def check_lines(lines: Sequence[str], column: str, problems: ProblemList) -> None:
    """Line names that are given twice, empty or undecodable are a problem; `column` says where they stand."""
    if repeated := repeated_names(lines):
        problems.add("lines", field=f"line ({column})", expected="every line once",
                     found=f"given more than once: {', '.join(map(repr, repeated[:5]))} ({len(repeated)} names)",
                     repair="rename or drop the repeated lines")
    if any(not name or "\ufffd" in name for name in lines):
        problems.add("names", field=f"line ({column})", expected="names in UTF-8, none empty",
                     found="an empty name or one that is not UTF-8", repair="rename the lines")


def _tab_separated(text: bytes, names: Sequence[str]) -> pl.DataFrame | None:
    """The usual file, fast: one tab between fields that are never empty. None where it is anything else."""
    if b" " in text or b"\x00" in text:
        return None
    try:
        rows = pl.read_csv(text, has_header=False, separator="\t", infer_schema=False, quote_char=None,
                           encoding="utf8-lossy", new_columns=list(names))
    except pl.exceptions.PolarsError:
        return None
    usual = rows.width == len(names) and rows.height == text.count(b"\n") + (not text.endswith(b"\n"))
    return rows if usual and not sum(rows.null_count().row(0)) else None
