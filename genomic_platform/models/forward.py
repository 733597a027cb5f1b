"""Forward scores of recipes: fitted on everything before a season, correlated with that season's line means."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from genomic_platform.models.scores import correlation
from genomic_platform.schemas.predictions import FORWARD_PREDICTIONS, MODEL_COMPARISON


def predicted_and_observed(values: pl.DataFrame, observed: pl.DataFrame) -> pl.DataFrame:
    """line_id, trait, predicted, observed, known: genotypic value of lines with an earlier record, else breeding value.

    Parameters
    ----------
    values : contract VALUES, mean over environments. observed : line_id, trait, observed.
    """
    predicted = pl.when("phenotyped").then("genotypic_value").otherwise("breeding_value")
    return (values.filter(pl.col("environment").is_null())
            .select("line_id", "trait", predicted.alias("predicted"), pl.col("phenotyped").alias("known"))
            .join(observed.drop_nulls("observed"), on=["line_id", "trait"]).sort("trait", "line_id"))


def forward_predictions(values: Mapping[str, pl.DataFrame], line_means: pl.DataFrame, *, season: str,
                        trained_through: str, families: Mapping[str, str | None]) -> pl.DataFrame:
    """Each recipe's prediction of each line beside what was harvested (contract FORWARD_PREDICTIONS).

    Parameters
    ----------
    values : by recipe, the values it gave before the season. line_means : contract LINE_MEANS of the season.
    families : line → family, None where it is unknown.
    """
    harvested = line_means.select("line_id", "trait", "environment", pl.col("centred").alias("observed"))
    parts = [predicted_and_observed(table, harvested).with_columns(
        pl.lit(recipe).alias("recipe"), pl.lit(season).alias("season"),
        pl.lit(trained_through).alias("trained_through"),
        pl.col("line_id").replace_strict(families, default=None, return_dtype=pl.String).alias("family"))
        for recipe, table in values.items()]
    return FORWARD_PREDICTIONS.conform(pl.concat(parts)) if parts else FORWARD_PREDICTIONS.empty()


def forward_scores(values: Mapping[str, pl.DataFrame], observed: pl.DataFrame, *, season: str,
                   trained_through: str) -> pl.DataFrame:
    """One row per trait and recipe (contract MODEL_COMPARISON, scheme `forward`), all on the same lines.

    Parameters
    ----------
    values : by recipe, the values it gave before the season. observed : the season's environment-centred line means.
    """
    rows = []
    for recipe, table in values.items():
        for (trait,), part in predicted_and_observed(table, observed).group_by("trait", maintain_order=True):
            rows.append({"trait": trait, "recipe": recipe, "scheme": "forward", "season": season,
                         "trained_through": trained_through, "r_sd": None, "n_lines": part.height,
                         "r_mean": correlation(part["predicted"].to_numpy(), part["observed"].to_numpy())})
    return MODEL_COMPARISON.conform(pl.DataFrame(rows, schema=MODEL_COMPARISON.schema))
