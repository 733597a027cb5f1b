"""What every command shares: the application, where it prints, the kinds of options, opening a programme's folder."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Annotated
from uuid import uuid4

from cyclopts import App, Parameter, validators
from rich.console import Console

from genomic_platform import __version__
from genomic_platform.audit import Action
from genomic_platform.errors import counted
from genomic_platform.program import Program, read_program
from genomic_platform.workspace import Workspace

app = App(name="genomic-platform", version=__version__, help_format="plaintext",
          help="Genomic prediction for a breeding programme, season after season.",
          help_epilogue="Exit codes: 0 done, 1 a run failed, 2 bad input or command line, 3 not there (yet), "
                        "4 try again later, 130 interrupted. --debug shows tracebacks.")

#: Columns where nothing says how wide the reader's page is (a pipe or a file): a table is never folded there.
_PAGE = 1000
out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True, width=None if sys.stdout.isatty() else _PAGE)
err = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)

Files = Annotated[list[Path] | None, Parameter(consume_multiple=True, negative="")]
Names = Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")]
Flag = Annotated[bool, Parameter(negative="", show_default=False)]
Json = Annotated[bool, Parameter(name="--json", negative="", show_default=False)]
Count = Annotated[int, Parameter(validator=validators.Number(gte=0))]
Folder = Annotated[Path, Parameter(help="The programme's folder.")]
Out = Annotated[Path, Parameter(name="--out")]


def opened(folder: Path) -> tuple[Program, Workspace]:
    """A programme and its workspace."""
    program = read_program(folder)
    return program, Workspace.beside(folder)


def written(table: object, path: Path, program: Program, workspace: Workspace, action: Action,
            **what: str) -> None:
    """Write a table to the file a person named, note it in the audit log, and say how large it is."""
    import polars as pl

    from genomic_platform.results.answers import write_table

    assert isinstance(table, pl.DataFrame)
    write_table(table, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    workspace.audit.record(action, key=f"{action}:{uuid4().hex}", program=program.name, who=workspace.settings.who,
                           what={**what, "rows": table.height, "file_sha256": digest})
    out.print(f"{path}: {counted(table.height, 'row')}, {counted(table.width, 'column')}")
