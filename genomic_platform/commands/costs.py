"""What a programme's work cost: totals of its months, and the ledger itself."""

from __future__ import annotations

import json
import re
from typing import Annotated

from cyclopts import Parameter

from genomic_platform.commands.console import Folder, Json, Out, app, opened, out
from genomic_platform.errors import ProgramError, counted


@app.command(sort_key=13)
def costs(folder: Folder, *, month: Annotated[str | None, Parameter(name="--month")] = None, json_: Json = False,
          out_: Out | None = None) -> None:
    """Show what the work of a month cost: by kind, what evaluation took and repeated, idle cards, storage, budget.

    Parameters
    ----------
    month
        A month (UTC), YYYY-MM; the newest with costs when not given, with --json all of them.
    json_
        As JSON (its schema: `genomic-platform schema costs`).
    out_
        Also write the ledger, a row a step, to this file, .csv or .parquet.
    """
    from genomic_platform.costs import report
    from genomic_platform.costs.ledger import Ledger
    from genomic_platform.results.answers import write_table
    from genomic_platform.results.cost_display import costs_report

    if month is not None and not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month):
        raise ProgramError(f"--month is {month!r}; expected a month as YYYY-MM, such as 2026-03")
    program, workspace = opened(folder)
    found = report.costs(program.name, workspace, month)
    if json_:
        print(json.dumps(found, ensure_ascii=False, indent=1))
    else:
        costs_report(out, found)
    if out_:
        table = Ledger(workspace.root).read(program.name, [month] if month else None).table
        write_table(table, out_)
        if not json_:
            out.print(f"{out_}: {counted(table.height, 'row')}, {counted(table.width, 'column')}")
