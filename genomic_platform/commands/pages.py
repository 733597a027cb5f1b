"""What a breeder opens in a browser: the page of a season."""

from __future__ import annotations

from genomic_platform.commands.console import Folder, Out, app, opened, out
from genomic_platform.errors import ProgramError
from genomic_platform.workspace import replace_text


@app.command(sort_key=6)
def page(folder: Folder, *, out_: Out, season: str | None = None) -> None:
    """Write a published season's report for breeders: one HTML file with list, evidence, drift and decisions.

    Parameters
    ----------
    out_
        File to write, .html.
    season
        A published season; the last one when not given.
    """
    from genomic_platform.results import answers

    if out_.suffix not in (".html", ".htm"):
        raise ProgramError(f"{out_.name}: expected a name that ends in .html")
    if not out_.parent.is_dir():
        raise ProgramError(f"{out_.parent} is not a folder; expected one that exists; repair: make it first")
    replace_text(out_, answers.season_report(*opened(folder), season))
    out.print(f"{out_}: open it in a browser, or print it")
