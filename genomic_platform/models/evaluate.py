"""Predictive ability of recipes on a programme's data, by scheme; works without any published season.

    cv1      folds of lines, held out of all environments
    cv0      a season left out, its lines seen in other seasons ("known")
    cv00     a season left out and, fold by fold, its lines too ("new")
    forward  trained on earlier seasons only

What is deployed is decided elsewhere (`comparison`); this measures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from genomic_platform.errors import ProgramError
from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.quality.duplicates import identical_lines
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.cross_validation import (
    cross_validate,
    panel_values,
    pooled_ability,
    within_fold_ability,
)
from genomic_platform.models.folds import FOLDS, fold_members, random_folds
from genomic_platform.models.protocol import Model, TrainingSet
from genomic_platform.models.recipes import load_recipe
from genomic_platform.phenotypes.training_means import training_means

SCHEMES = ("cv1", "cv0", "cv00", "forward")
SCHEMA = {"model": pl.String, "trait": pl.String, "scheme": pl.String, "environment": pl.String, "r_mean": pl.Float64,
          "r_sd": pl.Float64, "n_lines": pl.Int64, "n_folds": pl.Int64, "replicates": pl.Int64}


@dataclass(frozen=True)
class _Study:
    """What every split of an evaluation needs."""

    genotypes: GenotypeTable
    relationship_NN: np.ndarray
    line_means: pl.DataFrame
    recipes: Mapping[str, Model]
    means: str
    weights: str

    def training_set(self, line_means: pl.DataFrame, season: str = "") -> TrainingSet:
        means, _ = training_means(line_means, means=self.means, weights=self.weights, genotyped=self.genotypes.lines)
        return TrainingSet(season, means, self.genotypes, self.relationship_NN, line_means=line_means)


def evaluate(genotypes: GenotypeTable, line_means: pl.DataFrame, *, recipes: Sequence[str],
             traits: Sequence[str] | None = None, scheme: str = "cv1", replicates: int = 10,
             folds: Mapping[str, int | str] | None = None, within_environment: bool = False, means: str = "blue",
             weights: str = "errors", seasons: Sequence[str] | None = None, clones_share_fold: bool = True,
             ) -> pl.DataFrame:
    """Predictive ability (Pearson r of predicted and observed) of each recipe and trait under a scheme.

    Parameters
    ----------
    genotypes : all lines with genotypes, variants that passed QC. line_means : contract LINE_MEANS, all environments.
    recipes : names as `load_recipe` takes them. traits : None = all.
    scheme : cv1 | cv0 | cv00 | forward. replicates : random divisions into five folds (cv1, cv00).
    folds : published folds (line → fold) for cv1, scored pooled over all lines.
    within_environment : cv1 trained and scored in each environment alone.
    means, weights : stage one, as `training_means` takes them.
    seasons : labels in calendar order; None = sorted. clones_share_fold : lines with IBS > .99 share a fold.

    Returns
    -------
    One row per model, trait, scheme and environment (null = the line's mean over environments; for cv0, cv00 and
    forward the environments of the season scored): r_mean, r_sd (over replicates), n_lines, n_folds, replicates.
    Held-out lines are scored by their genotypic value, in `forward` new lines by their breeding value.

    Raises
    ------
    ProgramError : an unknown scheme, trait or recipe, folds with another scheme, or too few seasons or lines.
    """
    traits = list(traits) if traits is not None else line_means["trait"].unique().sort().to_list()
    _check(line_means, traits, scheme, folds, within_environment)
    kept = line_means.filter(pl.col("trait").is_in(traits))
    study = _Study(genotypes, vanraden(genotypes).matrix_NN, kept, {name: load_recipe(name) for name in recipes},
                   means, weights)
    phenotyped = sorted(set(kept["line_id"]) & set(genotypes.lines))
    if len(phenotyped) < 2 * FOLDS:
        raise ProgramError(f"{len(phenotyped)} lines have both genotype and phenotype; expected at least {2 * FOLDS}")
    order = list(seasons) if seasons is not None else kept["season"].unique().sort().to_list()
    divisions: list[Mapping[str, int | str]] = [folds] if folds is not None else []
    if scheme in ("cv1", "cv00") and not divisions:
        clones = identical_lines(genotypes) if clones_share_fold else []
        divisions = [dict(random_folds(phenotyped, r, clones=clones)) for r in range(replicates)]
    if scheme == "cv1":
        rows = _across_lines(study, divisions, folds is not None, within_environment)
    else:
        rows = _across_seasons(study, scheme, order, divisions)
    return pl.DataFrame(list(rows), schema=SCHEMA).sort("trait", "model", "environment")


def _check(line_means: pl.DataFrame, traits: Sequence[str], scheme: str, folds: object,
           within_environment: bool) -> None:
    if scheme not in SCHEMES:
        raise ProgramError(f"scheme is '{scheme}'; expected one of {', '.join(SCHEMES)}")
    if scheme != "cv1" and (folds is not None or within_environment):
        raise ProgramError(f"scheme {scheme}: published folds and within_environment go with cv1 only")
    if unknown := sorted(set(traits) - set(line_means["trait"])):
        raise ProgramError(f"no records of {', '.join(unknown)}; expected some of "
                           f"{', '.join(sorted(set(line_means['trait'])))}")
    if scheme != "cv1" and line_means["season"].n_unique() < 2:
        raise ProgramError(f"scheme {scheme} needs at least two seasons; found {line_means['season'].n_unique()}")


def _across_lines(study: _Study, divisions: Sequence[Mapping[str, int | str]], pooled: bool,
                  within_environment: bool) -> Iterator[dict[str, object]]:
    training_set, environment_of = study.training_set(study.line_means), {}
    if within_environment:
        training_set, environment_of = _environments_as_traits(study)
    trained = set(training_set.means["line_id"])
    divisions = [{line: fold for line, fold in folds.items() if line in trained} for folds in divisions]
    predictions = cross_validate(training_set, study.recipes, divisions)
    for (recipe, key), part in predictions.group_by("recipe", "trait", maintain_order=True):
        r_mean, r_sd = (pooled_ability(part), None) if pooled else within_fold_ability(part)
        trait, environment = environment_of.get(key, (key, None))
        yield {"model": recipe, "trait": trait, "scheme": "cv1", "environment": environment, "r_mean": r_mean,
               "r_sd": r_sd, "n_lines": part["line_id"].n_unique(), "n_folds": len(set(divisions[0].values())),
               "replicates": len(divisions)}


def _environments_as_traits(study: _Study) -> tuple[TrainingSet, dict[object, tuple[str, str]]]:
    """Each environment's means as traits of their own, so that they share decompositions; and what each stands for."""
    parts, stands_for = [], {}
    for (environment,), records in study.line_means.group_by("environment", maintain_order=True):
        means = study.training_set(records).means
        keys = {trait: f"{trait}\t{environment}" for trait in means["trait"].unique()}
        stands_for |= {key: (trait, str(environment)) for trait, key in keys.items()}
        parts.append(means.with_columns(pl.col("trait").replace_strict(keys, return_dtype=pl.String)))
    return TrainingSet("", pl.concat(parts), study.genotypes, study.relationship_NN), stands_for


def _across_seasons(study: _Study, scheme: str, order: Sequence[str],
                    divisions: Sequence[Mapping[str, int | str]]) -> Iterator[dict[str, object]]:
    for place, season in enumerate(order):
        records = study.line_means
        others = order[:place] if scheme == "forward" else [s for s in order if s != season]
        train, test = records.filter(pl.col("season").is_in(others)), records.filter(pl.col("season") == season)
        if train.is_empty() or test.is_empty():
            continue
        observed = test.group_by("line_id", "trait").agg(pl.col("centred").mean().alias("observed"))
        said = {"scheme": scheme, "environment": ", ".join(test["environment"].unique().sort())}
        scored = _new_lines(study, train, observed, divisions, season) if scheme == "cv00" else _season(
            study, train, observed, season, known_only=scheme == "cv0")
        for (recipe, trait), part in scored.group_by("recipe", "trait", maintain_order=True):
            r_mean, r_sd = within_fold_ability(part) if scheme == "cv00" else (pooled_ability(part), None)
            yield {"model": recipe, "trait": trait, **said, "r_mean": r_mean, "r_sd": r_sd,
                   "n_lines": part["line_id"].n_unique(), "n_folds": part["fold"].n_unique(),
                   "replicates": part["replicate"].n_unique()}


def _new_lines(study: _Study, train: pl.DataFrame, observed: pl.DataFrame,
               divisions: Sequence[Mapping[str, int | str]], season: str) -> pl.DataFrame:
    """Each fold's lines leave the training as well and are scored in the season."""
    parts = []
    for replicate, folds in enumerate(divisions):
        for fold, members in enumerate(fold_members(folds)):
            held_out = pl.col("line_id").is_in(members)
            parts.append(_season(study, train.filter(~held_out), observed.filter(held_out), season)
                         .with_columns(pl.lit(replicate).alias("replicate"), pl.lit(fold).alias("fold")))
    return pl.concat(parts)


def _season(study: _Study, train: pl.DataFrame, observed: pl.DataFrame, season: str,
            known_only: bool = False) -> pl.DataFrame:
    """Predicted beside observed for a season's lines after training on `train`."""
    training_set = study.training_set(train, season)
    known = training_set.means.select("line_id", "trait", known=pl.lit(True))
    parts = []
    for name, recipe in study.recipes.items():
        lines = (panel_values(recipe, training_set).join(observed, on=["line_id", "trait"])
                 .join(known, on=["line_id", "trait"], how="left").with_columns(pl.col("known").fill_null(False)))
        value = pl.when("known").then("genotypic_value").otherwise("breeding_value")
        parts.append(lines.filter(pl.col("known") | (not known_only)).select(
            pl.lit(name).alias("recipe"), pl.lit(0).alias("replicate"), pl.lit(0).alias("fold"), "line_id", "trait",
            value.alias("predicted"), "observed"))
    return pl.concat(parts)
