"""`genomic-platform …`: thin over the functions a notebook would call.

Exit codes: 0 done; 1 a run failed; 2 bad input, programme or command line; 3 what was asked for does not exist (yet);
4 try again later; 130 interrupted. No traceback without `--debug`.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter, validators
from rich.console import Console

from genomic_platform import __version__
from genomic_platform.errors import GenomicPlatformError, ProgramError, counted
from genomic_platform.program import Program, program_name, read_program
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


def _open(folder: Path) -> tuple[Program, Workspace]:
    program = read_program(folder)
    return program, Workspace.beside(folder)


@app.command(sort_key=1)
def check(*files: Path) -> None:
    """Say what files are and what is wrong with them, before anything is set up.

    Parameters
    ----------
    files
        Genotypes (VCF, PLINK .bed), trials, environments or lines (CSV), in any order.
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
         lines: Path | None = None, traits: Names = None, name: str | None = None, in_place: Flag = False) -> None:
    """Make a programme folder: inspect the files, put them into landing/, write program.toml, say what was guessed.

    Parameters
    ----------
    folder
        The programme's folder; its name becomes the programme's name unless --name says otherwise.
    genotypes
        Variant files: VCF, VCF.gz, PLINK .bed (with .bim and .fam beside it).
    trials
        Trial records, CSV: line_id, season, location, environment, then traits.
    environments
        One row per environment, CSV.
    lines
        Optional lines.csv: synonyms, families, parents, roles.
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
             "lines": [lines] if lines else []}
    workspace = Workspace.beside(folder)
    workspace.require_free(name or program_name(folder.resolve().name), folder)
    made = initialise(folder, files, traits=traits, name=name, in_place=in_place)
    workspace.register(made.program)
    init_report(out, made)


@app.command(sort_key=3)
def run(folder: Folder, *, season: Names = None, force: Flag = False) -> None:
    """Run what is missing or changed, season by season, each as a recorded run of the Dagster job.

    Parameters
    ----------
    season
        Only these seasons.
    force
        Run again although nothing in landing changed (newer code, changed program.toml).
    """
    from genomic_platform.landing.checkup import inspect_program
    from genomic_platform.results.display import ProgressLines, notices
    from genomic_platform.results.status import published_notices
    from genomic_platform.runs import run_seasons, settings_changed, stale_seasons
    from genomic_platform.stores.assets import AssetStore

    began = time.monotonic()
    program, workspace = _open(folder)
    found = inspect_program(program)
    found.require_sound()
    workspace.register(program)
    notices(out, found.notices)
    seasons = stale_seasons(program, workspace, season, force)
    if not seasons:
        changed = settings_changed(program, workspace)
        same = "same data" if changed else "same data, same code, same models"
        out.print(f"nothing changed: {same} ({time.monotonic() - began:.1f} s)")
        for said in changed:
            out.print(f"  but {said}; `run --force` replays")
        return
    with ProgressLines(out) as progress:
        outcomes = run_seasons(program, workspace, seasons, force=force, progress=progress.step)
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

    program, workspace = _open(folder)
    status_report(out, status_of(program, workspace))


@app.command(sort_key=5)
def report(folder: Folder, *, json_: Json = False, first: Count = 0) -> None:
    """Show the results: each season and trait with what was decided and how well predictions held.

    Parameters
    ----------
    json_
        The whole table as JSON (its schema: `genomic-platform schema report`).
    first
        Also show so many of the last season's best lines.
    """
    from genomic_platform.results import answers
    from genomic_platform.results.display import ranking_table, report_tables
    from genomic_platform.results.report import report as report_of

    program, workspace = _open(folder)
    found = report_of(program, workspace)
    if json_:
        print(json.dumps(found, ensure_ascii=False, indent=1))
        return
    report_tables(out, found)
    if first:
        ranking_table(out, program, answers.ranking(program, workspace), found["seasons"][-1], first)
        where_to_look(folder, workspace)


def where_to_look(folder: Path, workspace: Workspace) -> None:
    out.print(f"\nWhere to look:  genomic-platform status {folder}   ·   genomic-platform ui {folder} (Dagster, MLflow)"
              f"\n                workspace {workspace.root}")


@app.command(sort_key=6)
def rank(folder: Folder, *, out_: Annotated[Path, Parameter(name="--out")], season: str | None = None,
         traits: Names = None) -> None:
    """Write the whole ranking: every line with index, values and reliabilities (CSV or Parquet).

    Parameters
    ----------
    out_
        File to write, .csv or .parquet.
    season
        A published season; the last one when not given.
    traits
        The index is made of these only.
    """
    from genomic_platform.results import answers

    program, workspace = _open(folder)
    _written(answers.ranking(program, workspace, season, traits), out_)


@app.command(sort_key=7)
def predict(folder: Folder, *, genotypes: Annotated[list[Path], Parameter(consume_multiple=True, negative="")],
            out_: Annotated[Path, Parameter(name="--out")]) -> None:
    """Write values and reliabilities of lines nobody has phenotyped, by the current champions.

    Parameters
    ----------
    genotypes
        Variant files with the panel's markers.
    out_
        File to write, .csv or .parquet.
    """
    from genomic_platform.results import answers

    program, workspace = _open(folder)
    _written(answers.predict_lines(program, workspace, genotypes), out_)


@app.command(sort_key=8)
def evaluate(folder: Folder, *, scheme: str = "cv1", models: Names = None, traits: Names = None,
             folds: Path | None = None, replicates: int = 10,
             json_: Json = False) -> None:
    """Measure how well recipes predict under a scheme; needs only init.

    Parameters
    ----------
    scheme
        cv1 (folds of lines), cv0 (leave a season out), cv00 (and its lines too), forward (earlier seasons only).
    models
        Recipes; those of program.toml when not given.
    traits
        Traits; all when not given.
    folds
        A CSV with line_id and one fold column, instead of random folds; scored pooled.
    replicates
        Random divisions into five folds.
    json_
        One object per model, trait, scheme and environment (its schema: `genomic-platform schema evaluate`).
    """
    from genomic_platform.results import answers
    from genomic_platform.results.display import evaluation_table

    program = read_program(folder)
    table = answers.evaluate_landing(program, scheme, models=models, traits=traits, folds=folds, replicates=replicates)
    if json_:
        print(json.dumps({"schema_version": 1, "program": program.name, "results": table.to_dicts()}, indent=1))
    else:
        evaluation_table(out, table)


@app.command(sort_key=9)
def export(folder: Folder, *, asset: str, out_: Annotated[Path, Parameter(name="--out")],
           season: str | None = None) -> None:
    """Write any published table as Parquet or CSV.

    Parameters
    ----------
    asset
        Name as in the asset graph, such as breeding_values or line_means.
    out_
        File to write, .csv or .parquet.
    season
        A published season; the last one when not given.
    """
    from genomic_platform.results import answers

    program, workspace = _open(folder)
    _written(answers.export(program, workspace, asset, season), out_)


@app.command(sort_key=10)
def schema(name: str) -> None:
    """Print the JSON Schema of what `report --json` or `evaluate --json` prints.

    Parameters
    ----------
    name
        report or evaluate.
    """
    from genomic_platform.results.report import json_schema

    print(json.dumps(json_schema(name), indent=1))


@app.command(sort_key=11)
def settings() -> None:
    """List every setting of the installation with its value and meaning."""
    from genomic_platform.results.display import settings_table
    from genomic_platform.settings import read_settings

    settings_table(out, read_settings())


@app.command(sort_key=12)
def ui(folder: Folder) -> None:
    """Serve the Dagster UI (web server, daemon) and the MLflow UI on the programme's workspace, until interrupted."""
    from genomic_platform.ui import serve

    program, workspace = _open(folder)
    workspace.register(program)
    serve(workspace, lambda text: out.print(text))


def _written(table: object, path: Path) -> None:
    import polars as pl

    from genomic_platform.results.answers import write_table

    assert isinstance(table, pl.DataFrame)
    write_table(table, path)
    out.print(f"{path}: {counted(table.height, 'row')}, {counted(table.width, 'column')}")


def main(arguments: list[str] | None = None) -> None:
    """Entry point: runs a command and turns errors into messages and exit codes."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [a for a in given if a != "--debug"]
    from genomic_platform.results.display import known_error, unexpected_error

    if not debug:
        warnings.simplefilter("ignore")
    try:
        app(given, exit_on_error=True)
    except GenomicPlatformError as error:
        if debug:
            raise
        known_error(err, error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        err.print("interrupted; what was published before stays as it was")
        sys.exit(130)
    except Exception as error:
        if debug:
            raise
        unexpected_error(err, error)
        sys.exit(1)
