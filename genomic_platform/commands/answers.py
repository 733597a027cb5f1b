"""What a programme can be asked: report, rank, predict, evaluate, export, and the schemas of what is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from genomic_platform.commands.console import Count, Folder, Json, Names, Out, app, opened, out, written
from genomic_platform.errors import ProgramError
from genomic_platform.links import pages
from genomic_platform.stores.protocol import MAIN
from genomic_platform.workspace import CACHE, Workspace, replace_text


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

    program, workspace = opened(folder)
    found = report_of(program, workspace)
    if json_:
        print(json.dumps(found, ensure_ascii=False, indent=1))
        return
    report_tables(out, found)
    if first:
        ranking_table(out, program, answers.ranking(program, workspace), found["seasons"][-1], first)
        where_to_look(folder, workspace)


def where_to_look(folder: Path, workspace: Workspace) -> None:
    out.print(f"\nWhere to look:  genomic-platform status {folder}   ·   {pages(workspace.settings, str(folder))}"
              f"\n                workspace {workspace.root}")


@app.command(sort_key=6)
def rank(folder: Folder, *, out_: Out, season: str | None = None,
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

    program, workspace = opened(folder)
    written(answers.ranking(program, workspace, season, traits), out_, program, workspace, "export", asset="ranking",
            season=season or "latest", commit=workspace.store.resolve(MAIN))


@app.command(sort_key=7)
def predict(folder: Folder, *, genotypes: Annotated[list[Path], Parameter(consume_multiple=True, negative="")],
            out_: Out) -> None:
    """Write values and reliabilities of lines nobody has phenotyped, by the current champions.

    Parameters
    ----------
    genotypes
        Variant files with the panel's markers.
    out_
        File to write, .csv or .parquet.
    """
    from genomic_platform.results import answers

    program, workspace = opened(folder)
    written(answers.predict_lines(program, workspace, genotypes), out_, program, workspace, "prediction",
            commit=workspace.store.resolve(MAIN))


@app.command(sort_key=8)
def evaluate(folder: Folder, *, scheme: str = "cv1", models: Names = None, traits: Names = None,
             folds: Path | None = None, replicates: int = 10,
             reliabilities: bool = False, json_: Json = False) -> None:
    """Measure how well recipes predict under a scheme; needs only init.

    Parameters
    ----------
    scheme
        cv1 (folds of lines), cv2 (folds of line × environment cells), cv0 (leave a season out, known lines), cv00 (and
        its lines too), forward (earlier seasons only), environment, location, family (leave one out), hybrid (leave
        parents out).
    models
        Recipes; those of program.toml when not given.
    traits
        Traits; all when not given.
    folds
        A CSV with line_id and one fold column, instead of random folds; scored pooled.
    replicates
        Random divisions into five folds.
    reliabilities
        Score reliabilities too (cv1, family, hybrid): coverage and squared errors against what was promised.
    json_
        One object per model, trait, scheme and environment (its schema: `genomic-platform schema evaluate`).
    """
    from genomic_platform.results.display import evaluation_table
    from genomic_platform.results.evaluation import evaluate_landing

    program, workspace = opened(folder)
    found = evaluate_landing(program, scheme, models=models, traits=traits, folds=folds, replicates=replicates,
                             reliabilities=reliabilities, cache=workspace.root / CACHE / "evaluations")
    if json_:
        print(json.dumps({"schema_version": 2, "program": program.name, "results": found.table.to_dicts(),
                          "comparisons": found.comparisons.to_dicts(), "leaks": list(found.leaks)}, indent=1))
    else:
        evaluation_table(out, found)
        if found.known:
            out.print(f"measured before, on the same data and code: {', '.join(found.known)}; measured now: "
                      f"{', '.join(found.measured) or 'none'}")


@app.command(sort_key=8)
def qc(folder: Folder, *, out_: Out, season: str | None = None) -> None:
    """Write the quality page of a published season's genotypes: one HTML file with plots, removals and their reasons.

    Parameters
    ----------
    out_
        File to write, .html.
    season
        A published season; the last one when not given.
    """
    from genomic_platform.results import answers

    program, workspace = opened(folder)
    out_.write_text(answers.quality_page(program, workspace, season), encoding="utf-8")
    out.print(f"{out_}: open it in a browser")


@app.command(sort_key=9)
def export(folder: Folder, *, asset: str, out_: Out,
           season: str | None = None, commit: str | None = None) -> None:
    """Write any published table as Parquet or CSV, as it is or as it was.

    Parameters
    ----------
    asset
        Name as in the asset graph, such as breeding_values or line_means.
    out_
        File to write, .csv or .parquet.
    season
        A published season; the last one when not given.
    commit
        As it was at this commit (its id or the beginning of it), to the bit.
    """
    from genomic_platform.results import answers

    program, workspace = opened(folder)
    written(answers.export(program, workspace, asset, season, commit), out_, program, workspace, "export", asset=asset,
            season=season or "latest", commit=commit or workspace.store.resolve(MAIN))


@app.command(sort_key=10)
def trace(folder: Folder, *, line: str, season: str, trait: str, json_: Json = False) -> None:
    """Trace a line's published value to data, code, model, and what put that model in place.

    Parameters
    ----------
    line
        The line's id.
    season
        A published season.
    trait
        The trait.
    json_
        As JSON (its schema: `genomic-platform schema trace`).
    """
    from genomic_platform.results.display import trace_report
    from genomic_platform.results.trace import trace as trace_of

    found = trace_of(*opened(folder), line, season, trait)
    if json_:
        print(json.dumps(found, ensure_ascii=False, indent=1))
    else:
        trace_report(out, found)


@app.command(sort_key=11)
def card(folder: Folder, *, trait: str, version: int | None = None, out_: Out | None = None) -> None:
    """Write the model card of a registered version: data, method, validation, limits, approvals, changes.

    Parameters
    ----------
    trait
        The trait.
    version
        Of its registered model; the champion's when not given.
    out_
        File to write, .html or .json; when not given, printed as JSON (`genomic-platform schema model_card`).
    """
    from genomic_platform.results.card_page import card_page
    from genomic_platform.results.model_card import model_card

    if out_ and out_.suffix not in (".html", ".json"):
        raise ProgramError(f"{out_.name}: expected a name that ends in .html or .json")
    found = model_card(*opened(folder), trait, version)
    text = card_page(found) if out_ and out_.suffix == ".html" else json.dumps(found, ensure_ascii=False, indent=1)
    if out_:
        replace_text(out_, text)
        out.print(f"{out_}: {found['general_description']['name']} version {found['general_description']['version']}")
    else:
        print(text)


@app.command(sort_key=12)
def schema(name: str) -> None:
    """Print the JSON Schema of what a command prints with `--json`.

    Parameters
    ----------
    name
        report, evaluate, trace, model_card, alerts or costs.
    """
    from genomic_platform.results.report import json_schema

    print(json.dumps(json_schema(name), indent=1))
