"""A candidate's run in MLflow: open while it is fitted, finished with all that is known of it, scored later.

Forward scores of a season go to the runs of the candidates that had been published before it; those of folds to the
season's own. What is logged under which name is `results/candidate_run.py`'s.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from genomic_platform.catalogue import ASSETS
from genomic_platform.defs.season import Season
from genomic_platform.links import dagster_run
from genomic_platform.models.candidate import FittedCandidate
from genomic_platform.models.forward import predicted_and_observed
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.results import candidate_run as told
from genomic_platform.stores.assets import TableCodec
from genomic_platform.stores.mlflow_runs import DataInput, Point
from genomic_platform.stores.wandb_mirror import mirror
from genomic_platform.version import code_version


@contextmanager
def candidate_run(season: Season, recipe: str, known: TrainingSet) -> Iterator[Callable[[FittedCandidate], None]]:
    """One MLflow run for this candidate and season, found again by the step's fingerprint; gives what logs the fit."""
    registry, title = season.workspace.registry, f"{season.program.name} {season.label}: {recipe}"
    tags = {"genomic_platform.code_version": code_version(), "genomic_platform.dagster_run_id": season.run_id,
            "mlflow.user": season.workspace.settings.who, "mlflow.source.name": "genomic-platform",
            "mlflow.source.type": "JOB", "mlflow.note.content": _note(season, recipe, known)}

    def log(candidate: FittedCandidate) -> None:
        facts = season.meter.facts() if season.meter else {}
        params = told.candidate_params(candidate, known, recipe=recipe, seed=season.program.file.seed,
                                       device=str(facts.get("device", season.device)), units=season.units)
        with tempfile.TemporaryDirectory() as folder:
            candidate.model.save(Path(folder))
            registry.log_candidate(run_id, params=params, points=told.candidate_points(candidate, facts), tags=tags,
                                   folder=Path(folder), data=_data(season, known),
                                   pages={told.FIT_PAGE: told.fit_page(title, candidate, season.units)})

    with registry.candidate(program=season.program.name, season=season.label, recipe=recipe,
                            fingerprint=season.fingerprint, tags=tags) as run_id:
        season.links["mlflow_run_id"] = run_id
        yield log


def log_scores(season: Season, comparison: pl.DataFrame, held_out: pl.DataFrame | None,
               published: Mapping[str, FittedCandidate], observed: pl.DataFrame) -> None:
    """Add this season's scores to the runs of the candidates they are of, and mirror these runs.

    Parameters
    ----------
    comparison : this season's rows of MODEL_COMPARISON. held_out : `fold_predictions` that the cv1 rows come from.
    published : recipe → the candidate that the forward rows score. observed : the season's line means.
    """
    runs: list[str] = []
    step = season.program.file.calendar.calendar().ordinal(season.label)
    for recipe in season.candidates:
        own = comparison.filter(pl.col("recipe") == recipe)
        points, pages = list(told.score_points(own.filter(pl.col("scheme") == "cv1"))), {}
        if held_out is not None:
            folds = held_out.filter(pl.col("recipe") == recipe)
            points += told.fold_points(folds)
            pages[told.FOLDS_PAGE] = told.folds_page(f"{season.program.name} {season.label}: {recipe}", folds,
                                                     season.units)
        runs += _add(season, season.run_of(recipe), points, pages)
        if recipe in published and season.previous:
            title = f"{season.program.name} {season.previous}: {recipe}"
            pairs = predicted_and_observed(published[recipe].values, observed)
            points = list(told.score_points(own.filter(pl.col("scheme") == "forward"), step))
            runs += _add(season, season.first_run_of(recipe, season.previous), points,
                         {told.FORWARD_PAGE: told.forward_page(title, pairs, season.label, season.units)})
    season.note(mirror(season.workspace, season.program.name, runs))


def _add(season: Season, run_id: str | None, points: list[Point], pages: Mapping[str, str]) -> list[str]:
    if run_id is None:
        return []
    if points:
        season.workspace.registry.add_scores(run_id, points, pages)
    return [run_id]


def _data(season: Season, known: TrainingSet) -> list[DataInput]:
    """The assets of this season that the step read."""
    commit = season.workspace.store.resolve(season.assets.ref)
    panel = known.genotypes
    counts = {"training_set": {"num_rows": known.means.height}, "genotype_panel": {
        "lines": panel.n_lines, "markers_used": panel.n_variants}}
    found = []
    for asset in (name for name in season.inputs if name in ASSETS):
        codec = ASSETS[asset]
        columns = {c.name: str(c.dtype) for c in codec.contract.columns} if isinstance(codec, TableCodec) else {}
        found.append(DataInput(asset, season.inputs[asset], f"{season.program.name}/{season.label}/{asset}", commit,
                               columns, counts.get(asset, {})))
    return found


def _note(season: Season, recipe: str, known: TrainingSet) -> str:
    """The run's description, as Markdown."""
    seasons = [*season.earlier, season.label]
    page = dagster_run(season.workspace.settings, season.run_id)
    return (f"`{recipe}` of programme {season.program.name}, fitted on what was known at the end of season "
            f"{season.label} (seasons {seasons[0]} to {seasons[-1]}, {known.means['line_id'].n_unique():,} lines with "
            f"records). Plots are among the artifacts under `plots/`." + (f" [Dagster run]({page})." if page else ""))
