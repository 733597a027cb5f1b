"""Predictive ability of recipes on a programme's data, by scheme; works without any published season.

`predictions` gives every held-out line beside what was observed, `evaluate` its scores. Who trains and who is scored
under a scheme is in `splits`, the scores are in `ability`, leak checks in `leaks`. What is deployed is decided
elsewhere (`comparison`); this measures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict, Unpack

import polars as pl

from genomic_platform.errors import Notice, ProgramError
from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.quality.duplicates import identical_lines
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models import leaks
from genomic_platform.models.ability import SCHEMA, summarise
from genomic_platform.models.cross_validation import panel_values
from genomic_platform.models.folds import FOLDS, parents_seen
from genomic_platform.models.protocol import Model, TrainingSet
from genomic_platform.models.recipes import load_recipe
from genomic_platform.models.search.budget import Budget
from genomic_platform.models.splits import SCHEMES, Folds, Split, Study, check_scheme, splits

__all__ = ["SCHEMA", "SCHEMES", "evaluate", "leak_notices", "predictions"]

PREDICTIONS = {"recipe": pl.String, "trait": pl.String, "scheme": pl.String, "unit": pl.String,
               "replicate": pl.Int64, "fold": pl.Int64, "environment": pl.String, "line_id": pl.String,
               "predicted": pl.Float64, "observed": pl.Float64, "known": pl.Boolean, "family": pl.String,
               "parents_seen": pl.Int64, "own_mean": pl.Float64, "family_mean": pl.Float64, "reliability": pl.Float64,
               "predictive_variance": pl.Float64, "error_variance": pl.Float64, "spans_seasons": pl.Boolean}


class Options(TypedDict, total=False):
    """The options of `predictions`, explained there."""

    traits: Sequence[str] | None
    scheme: str
    replicates: int
    within_environment: bool
    means: str
    weights: str
    seasons: Sequence[str] | None
    clones_share_fold: bool
    families: Mapping[str, str | None] | None
    parents: Mapping[str, tuple[str | None, str | None]] | None
    pedigree: pl.DataFrame | None
    features: pl.DataFrame | None
    environments: pl.DataFrame | None
    reliabilities: bool
    budget: Budget | None


def evaluate(genotypes: GenotypeTable, line_means: pl.DataFrame, *, recipes: Sequence[str],
             directions: Mapping[str, str] | None = None, folds: Folds | None = None, pooled: bool | None = None,
             refuse_leaks: bool = False, **options: Unpack[Options]) -> pl.DataFrame:
    """Scores of each recipe and trait under a scheme; `r_mean` is predictive ability, Pearson r.

    Parameters
    ----------
    genotypes, line_means, recipes, folds : as `predictions` takes them. directions : per trait; maximise where absent.
    pooled : r over all folds at once; None = for published folds.
    refuse_leaks : raise where `leak_notices` finds something.
    options : the other parameters of `predictions`.

    Returns
    -------
    Columns `SCHEMA`; one row per model, trait, scheme and environment: for cv0, cv00 and forward the environments of
    the season left out, for location the location, for cv2 and environment the environment; null = the mean over
    these, or the line's mean over environments (cv1, family, hybrid). `r_sd` is over replicates.

    Raises
    ------
    ProgramError : as `predictions`; a leak, where they are refused.
    """
    wanted = options.get("traits") or line_means["trait"].unique()
    if refuse_leaks and (notices := leak_notices(genotypes, line_means.filter(pl.col("trait").is_in(list(wanted))),
                                                 folds=folds, features=options.get("features"))):
        raise ProgramError("; ".join(map(str, notices)))
    found = predictions(genotypes, line_means, recipes=recipes, folds=folds, **options)
    averages = dict(line_means.group_by("trait").agg(pl.col("mean").mean()).iter_rows())
    return summarise(found, pooled=folds is not None if pooled is None else pooled, directions=directions,
                     averages=averages)


def predictions(genotypes: GenotypeTable, line_means: pl.DataFrame, *, recipes: Sequence[str],
                traits: Sequence[str] | None = None, scheme: str = "cv1", replicates: int = 10,
                folds: Folds | None = None, within_environment: bool = False, means: str = "blue",
                weights: str = "errors", seasons: Sequence[str] | None = None, clones_share_fold: bool = True,
                families: Mapping[str, str | None] | None = None,
                parents: Mapping[str, tuple[str | None, str | None]] | None = None,
                pedigree: pl.DataFrame | None = None, features: pl.DataFrame | None = None,
                environments: pl.DataFrame | None = None, reliabilities: bool = False,
                budget: Budget | None = None) -> pl.DataFrame:
    """Every recipe's prediction of every line (and environment) held out, on the same splits.

    Parameters
    ----------
    genotypes : all lines with genotypes, variants that passed QC. line_means : contract LINE_MEANS, all environments.
    recipes : names as `load_recipe` takes them. traits : None = all. scheme : one of `SCHEMES`, see `splits`.
    replicates : random divisions into five folds (cv1, cv2, cv00, hybrid).
    folds : published folds (line → fold) for cv1.
    within_environment : cv1 trained and scored in each environment alone.
    means, weights : stage one, as `training_means` takes them.
    seasons : labels in calendar order; None = sorted. clones_share_fold : lines with IBS > .99 share a fold.
    families, parents : line → family, line → its two parents.
    pedigree : contract PEDIGREE, through which lines in trial without genotypes train.
    features : line_id, feature, value, known_from of what recipes read beside markers; refused where it is known only
        after the season scored (`leaks.check_features`).
    environments : contract ENVIRONMENT_RECORDS, for recipes that read covariates; used where every environment of the
        line means has some, and of them those that all have. An environment left out (cv0, cv00, environment, location)
        or held out in part (cv2) is predicted by its own, whole season included; forward knows none of the season's.
    reliabilities : have them too (cv1, family, hybrid), which costs a full fit.
    budget : of each search of settings (recipes `search:NAME`), one for every training set; None = the default.

    Returns
    -------
    Columns `PREDICTIONS`. `unit` is what was left out; `environment` null = the line's mean. Held-out lines are given
    their genotypic value, in schemes on cells new lines their breeding value.

    Raises
    ------
    ProgramError : an unknown scheme, trait or recipe, folds with another scheme, too few lines or too little else.
    """
    traits = list(traits) if traits is not None else line_means["trait"].unique().sort().to_list()
    if unknown := sorted(set(traits) - set(line_means["trait"])):
        raise ProgramError(f"no records of {', '.join(unknown)}; expected some of "
                           f"{', '.join(sorted(set(line_means['trait'])))}")
    kept = line_means.filter(pl.col("trait").is_in(traits))
    order = list(seasons) if seasons is not None else kept["season"].unique().sort().to_list()
    study = Study(genotypes, vanraden(genotypes).matrix_NN, kept, means, weights, order, families or {}, parents or {},
                  identical_lines(genotypes) if clones_share_fold and folds is None else (), pedigree,
                  _complete(environments, kept))
    check_scheme(study, scheme, folds, within_environment)
    models = {name: load_recipe(name, budget) for name in recipes}
    if len(study.phenotyped) < 2 * FOLDS:
        raise ProgramError(f"{len(study.phenotyped)} lines have both genotype and phenotype; expected at least "
                           f"{2 * FOLDS}")
    if folds is not None and len(found := {folds[line] for line in study.phenotyped if line in folds}) < 2:
        raise ProgramError(f"lines with genotype and phenotype are in {len(found)} of {len(set(folds.values()))} "
                           "folds; expected at least two; repair: give folds by the lines' ids, as in lines.csv")
    if features is not None and scheme == "forward":
        for season in order[:-1]:
            leaks.check_features(features, season, order)
    spans = dict(kept.group_by("trait").agg(pl.col("season").n_unique() > 1).iter_rows())
    parts = [_predicted(study, split, model, reliabilities).with_columns(pl.lit(name).alias("recipe"))
             for split in splits(study, scheme, replicates=replicates, folds=folds,
                                 within_environment=within_environment) for name, model in models.items()]
    table = pl.concat(parts) if parts else pl.DataFrame(schema=PREDICTIONS)
    return table.with_columns(pl.lit(scheme).alias("scheme"), pl.col("trait").replace_strict(
        spans, default=False, return_dtype=pl.Boolean).alias("spans_seasons")).select(*PREDICTIONS)


def _complete(environments: pl.DataFrame | None, line_means: pl.DataFrame) -> pl.DataFrame | None:
    """Records of covariates that every environment of the line means has; None where there is none."""
    if environments is None:
        return None
    names = line_means["environment"].unique().to_list()
    own = environments.filter(pl.col("environment").is_in(names))
    complete = own.filter(pl.col("environment").n_unique().over("variable") == len(names))
    return None if complete.is_empty() else complete


def leak_notices(genotypes: GenotypeTable, line_means: pl.DataFrame, *, folds: Folds | None = None,
                 features: pl.DataFrame | None = None) -> list[Notice]:
    """What in the data may flatter every model; see `leaks` for what each check can and cannot see.

    Parameters
    ----------
    folds : published folds; random ones keep copies together.
    features : line_id, feature, value; held against each season with the seasons before it.
    """
    means = line_means.group_by("line_id", "trait", maintain_order=True).agg(pl.col("centred").mean().alias("mean"))
    found = leaks.outcome_markers(genotypes, means) + leaks.outcome_traits(line_means)
    if folds is not None:
        found += leaks.clones_across_folds(genotypes, folds)
    for season in line_means["season"].unique().sort() if features is not None else ():
        harvest = line_means.filter(pl.col("season") == season).group_by("line_id", "trait").agg(
            pl.col("centred").mean().alias("observed"))
        others = line_means.filter(pl.col("season") != season).group_by("line_id", "trait").agg(
            pl.col("centred").mean().alias("mean"))
        found += leaks.outcome_features(features, harvest, others)  # pyright: ignore[reportArgumentType]
    return found


def _predicted(study: Study, split: Split, recipe: Model, reliabilities: bool) -> pl.DataFrame:
    """One recipe's predictions of a split beside what was observed and what the baselines say."""
    training_set = split.training_set
    own = training_set.means.select("line_id", "trait", own_mean="mean")
    lines = set(split.observed["line_id"])
    trained = set(training_set.means["line_id"]) & set(training_set.genotypes.lines)
    trained |= {p for line in trained for p in study.parents.get(line, ()) if p}
    about = pl.DataFrame([(line, study.families.get(line), parents_seen(line, study.parents, trained))
                          for line in sorted(lines)],
                         schema={"line_id": pl.String, "family": pl.String, "parents_seen": pl.Int64}, orient="row")
    table = (_joined(split.observed, _values(recipe, training_set, reliabilities and split.on_means,
                                             split.environments))
             .join(own, on=["line_id", "trait"], how="left", maintain_order="left")
             .join(about, on="line_id", how="left", maintain_order="left")
             .join(_family_means(own, study.families), on=["trait", "family"], how="left", maintain_order="left")
             .with_columns(known=pl.col("own_mean").is_not_null()))
    if split.only is not None:
        table = table.filter(pl.col("known") == (split.only == "known"))
    value = pl.col("intercept") + pl.col("genotypic_value") if split.on_means else \
        pl.when("known").then("genotypic_value").otherwise("breeding_value")
    names = {key: trait for key, (trait, _) in split.stands_for.items()}
    units = {key: unit for key, (_, unit) in split.stands_for.items()}
    error = pl.coalesce("error_variance", "model_error_variance")
    return table.with_columns(
        value.alias("predicted"), pl.lit(split.replicate).cast(pl.Int64).alias("replicate"),
        pl.lit(split.fold).cast(pl.Int64).alias("fold"),
        pl.when(pl.col("environment").is_null()).then(pl.col("unexplained") + error).alias("predictive_variance"),
        pl.col("trait").replace_strict(units, default=split.unit, return_dtype=pl.String).alias("unit"),
        pl.col("trait").replace(names)).select(c for c in PREDICTIONS if c not in ("recipe", "scheme", "spans_seasons"))


def _family_means(own: pl.DataFrame, families: Mapping[str, str | None]) -> pl.DataFrame:
    family = pl.col("line_id").replace_strict(dict(families), default=None, return_dtype=pl.String)
    return own.with_columns(family=family).drop_nulls("family").group_by("trait", "family").agg(
        pl.col("own_mean").mean().alias("family_mean"))


def _joined(observed: pl.DataFrame, values: pl.DataFrame) -> pl.DataFrame:
    """Values of the environment observed where the recipe gives them, else the mean over environments."""
    own = values.filter(pl.col("environment").is_not_null())
    there = observed.join(own, on=["line_id", "trait", "environment"], maintain_order="left")
    elsewhere = observed.join(own, on=["line_id", "trait", "environment"], how="anti", maintain_order="left").join(
        values.filter(pl.col("environment").is_null()).drop("environment"), on=["line_id", "trait"],
        maintain_order="left")
    return pl.concat([there, elsewhere.select(there.columns)])


def _values(recipe: Model, training_set: TrainingSet, reliabilities: bool,
            environments: pl.DataFrame | None) -> pl.DataFrame:
    """`panel_values` with the genotypic value's reliability, (1 − reliability) V_g and σ²e; null unless asked for."""
    if not reliabilities:
        return panel_values(recipe, training_set, environments).with_columns(
            pl.lit(None, pl.Float64).alias(c) for c in ("reliability", "unexplained", "model_error_variance"))
    fitted = recipe.fit(training_set)
    values = fitted.predict(training_set.genotypes).filter(pl.col("environment").is_null())
    said = {trait: (_number(s, "genetic_sd"), _number(s, "line_residual_variance") or 0.0, _number(s, "error_variance"))
            for trait, s in fitted.summary().items()}
    variances = pl.DataFrame([(trait, None if sd is None else sd**2 + residual, error)
                              for trait, (sd, residual, error) in said.items()],
                             schema={"trait": pl.String, "variance": pl.Float64, "model_error_variance": pl.Float64},
                             orient="row")
    intercept = training_set.means.filter("genotyped").group_by("trait").agg(pl.col("mean").mean().alias("intercept"))
    return (values.join(intercept, on="trait").join(variances, on="trait", how="left")
            .with_columns(reliability="genotypic_value_reliability",
                          unexplained=(1 - pl.col("genotypic_value_reliability")) * pl.col("variance"))
            .select("line_id", "trait", "environment", "breeding_value", "genotypic_value", "intercept", "reliability",
                    "unexplained", "model_error_variance"))


def _number(summary: Mapping[str, float | int | str], key: str) -> float | None:
    found = summary.get(key)
    return float(found) if isinstance(found, float | int) else None
