"""Training again beside the arrival of data, and what came of it: retrain, history."""

from __future__ import annotations

import json
import time
from dataclasses import asdict

from genomic_platform.commands.console import Count, Flag, Folder, Json, app, opened, out
from genomic_platform.commands.seasons import RunFailed
from genomic_platform.errors import NotAvailable, ProgramError
from genomic_platform.stores.assets import AssetStore


@app.command(sort_key=4)
def retrain(folder: Folder, *, why: str, over_budget: Flag = False) -> None:
    """Run the last published season again with the challengers of program.toml beside its candidates.

    A challenger takes over where the gate finds it better on seasons it has not seen; else all stays as it is.

    Parameters
    ----------
    why
        The reason, kept with the release and shown by `history`.
    over_budget
        Train although the month has cost the programme's budget; the audit log keeps who did.
    """
    from genomic_platform.results.display import ProgressLines
    from genomic_platform.runs import run_seasons

    began = time.monotonic()
    program, workspace = opened(folder)
    published = AssetStore(workspace.store, program.name).published()
    if not published:
        raise NotAvailable(f"{program.name} has no published season; repair: genomic-platform run {folder}")
    if not program.file.retraining.challengers:
        raise ProgramError(f"{program.path}: expected challengers under [retraining], found none: there is nothing to "
                           'try beside the candidates; repair: challengers = ["arc_cosine"]')
    with ProgressLines(out) as progress:
        outcomes = run_seasons(program, workspace, published[-1:], cause=f"hand: {why}",
                               over_budget=over_budget, progress=progress.step)
    progress.summary(outcomes, time.monotonic() - began)
    if not outcomes[-1].published:
        raise RunFailed(f"season {published[-1]} was not published again: {outcomes[-1].reason}\n"
                        "What was published before stays as it was.")
    history(folder, last=1)


@app.command(sort_key=9)
def history(folder: Folder, *, json_: Json = False, last: Count = 0) -> None:
    """Show every trigger, what was done about it, and whether it helped.

    Parameters
    ----------
    json_
        All of it as JSON.
    last
        Only so many of the latest.
    """
    from genomic_platform.results.display import history_report
    from genomic_platform.results.history import history as history_of

    program, workspace = opened(folder)
    entries = history_of(program.name, workspace)
    entries = entries[-last:] if last else entries
    if json_:
        print(json.dumps({"schema_version": 1, "program": program.name, "results": [asdict(e) for e in entries]},
                         ensure_ascii=False, indent=1, default=str))
        return
    history_report(out, entries)
