"""From files to published seasons: check, init, run, status."""

from __future__ import annotations

import time
from pathlib import Path

from genomic_platform.commands.console import Files, Flag, Folder, Names, app, opened, out
from genomic_platform.errors import GenomicPlatformError, ProgramError
from genomic_platform.links import pages
from genomic_platform.program import program_name
from genomic_platform.workspace import Workspace


@app.command(sort_key=1)
def check(*files: Path) -> None:
    """Say what files are and what is wrong with them, before anything is set up.

    Parameters
    ----------
    files
        Genotypes (VCF, BCF, PLINK, HapMap, tables of dosages), trials, environments or lines (CSV), in any order.
    """
    from genomic_platform.landing.checkup import inspect_any
    from genomic_platform.results.display import inspection_report

    if not files:
        raise ProgramError("no file given; expected at least one: genomic-platform check FILE…")
    found = inspect_any(files)
    inspection_report(out, found)
    found.require_sound()


@app.command(sort_key=2)
def init(folder: Path, *, genotypes: Files = None, trials: Files = None, environments: Files = None,
         lines: Path | None = None, pedigree: Path | None = None, traits: Names = None, name: str | None = None,
         in_place: Flag = False) -> None:
    """Make a programme folder: inspect the files, put them into landing/, write program.toml, say what was guessed.

    Parameters
    ----------
    folder
        The programme's folder; its name becomes the programme's name unless --name says otherwise.
    genotypes
        Variant files: VCF, BCF, PLINK (companions beside them), HapMap, tables of dosages; any number of batches.
    trials
        Trial records, CSV: line_id, season, location, environment, then traits.
    environments
        One row per environment, CSV; daily weather (environment, season, date, variables) beside it.
    lines
        Optional lines.csv: synonyms, families, parents, roles.
    pedigree
        Optional pedigree.csv: line_id, parent_1, parent_2; genotypes are checked against it, and lines in trial
        without genotypes train through it.
    traits
        Columns that are traits; guessed when not given.
    name
        Lower-case letters, digits and _, at least three characters.
    in_place
        Use the files where they lie instead of copying them.
    """
    from genomic_platform.landing.initialise import initialise
    from genomic_platform.results.display import init_report

    if not genotypes or not trials:
        raise ProgramError("init needs genotypes and trials, since values are learned from both; repair: "
                           "--genotypes FILE… --trials FILE…")
    files = {"genotypes": genotypes, "trials": trials, "environments": environments or [],
             "lines": [lines] if lines else [], "pedigree": [pedigree] if pedigree else []}
    workspace = Workspace.beside(folder)
    workspace.require_free(name or program_name(folder.resolve().name), folder)
    made = initialise(folder, files, traits=traits, name=name, in_place=in_place)
    workspace.register(made.program)
    init_report(out, made)


@app.command(sort_key=3)
def run(folder: Folder, *, season: Names = None, replay: Flag = False, force: Flag = False,
        over_budget: Flag = False) -> None:
    """Run what is missing or changed, season by season, each as a recorded run of the Dagster job.

    Parameters
    ----------
    season
        Only these seasons.
    replay
        Run published seasons again as program.toml and code are now (another candidate, say), reusing what is the same.
    force
        Run again although nothing in landing changed, and compute everything anew (newer code).
    over_budget
        Train although the month has cost the programme's budget; the audit log keeps who did.
    """
    from genomic_platform.landing.checkup import inspect_program
    from genomic_platform.landing.mirror import bring
    from genomic_platform.results.display import REPLAYS, ProgressLines, notices
    from genomic_platform.results.status import published_notices
    from genomic_platform.runs import run_seasons, settings_changed, stale_seasons
    from genomic_platform.stores.assets import AssetStore
    from genomic_platform.stores.projection import finish

    began = time.monotonic()
    program, workspace = opened(folder)
    if said := bring(program, workspace).said():
        out.print(said)
    found = inspect_program(program)
    found.require_sound()
    workspace.register(program)
    notices(out, found.notices)
    if finish(workspace, AssetStore(workspace.store, program.name)):
        out.print("the registry and the audit log were behind what is published; they were brought up to date")
    seasons = stale_seasons(program, workspace, season, force, replay)
    if not seasons:
        changed = settings_changed(program, workspace)
        same = "same data" if changed else "same data, same code, same models"
        out.print(f"nothing changed: {same} ({time.monotonic() - began:.1f} s)")
        for said in changed:
            out.print(f"  but {said}; {REPLAYS}")
        return
    with ProgressLines(out) as progress:
        outcomes = run_seasons(program, workspace, seasons, force=force, over_budget=over_budget,
                               progress=progress.step)
    progress.summary(outcomes, time.monotonic() - began)
    notices(out, published_notices(AssetStore(workspace.store, program.name)))
    if not outcomes[-1].published:
        failed = outcomes[-1]
        raise RunFailed(f"season {failed.season} was not published (run {failed.run_id[:8]}):\n{failed.reason}\n"
                        "What was published before stays as it was.")


class RunFailed(GenomicPlatformError):
    """A season's run failed."""


@app.command(sort_key=4)
def status(folder: Folder) -> None:
    """Show what is there, what is stale, what failed and why, and where to look."""
    from genomic_platform.results.display import status_report
    from genomic_platform.results.status import status as status_of

    program, workspace = opened(folder)
    status_report(out, status_of(program, workspace), pages(workspace.settings, str(folder)))
