"""A recipe held to the protocol: whose fault an error is, and whether values are what the platform needs.

Built-in recipes follow it by their tests; a class of a programme's own is known to only here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl

from genomic_platform.errors import GenomicPlatformError, ProgramError
from genomic_platform.models.protocol import FittedModel, Model, TrainingSet
from genomic_platform.schemas.predictions import VALUES

#: What a model's summary says of every trait.
NEEDED = ("status", "n_train", "genetic_sd")
_REPAIR = "repair: follow the protocol in genomic_platform/models/protocol.py"


@contextmanager
def faults_named(recipe: Model) -> Iterator[None]:
    """While a recipe fits or predicts. Raises ProgramError for what a class of a programme's own raises, by its name;
    errors of the platform's own pass."""
    try:
        yield
    except GenomicPlatformError:
        raise
    except Exception as error:
        if _is_built_in(recipe):
            raise
        raise ProgramError(f"recipe '{_name(recipe)}' failed: {type(error).__name__}: {error}; correct the class: "
                           "--debug shows where") from error


def _is_built_in(recipe: Model) -> bool:
    return type(recipe).__module__.startswith("genomic_platform.")


def _name(recipe: Model) -> str:
    """As program.toml names it."""
    return recipe.name if _is_built_in(recipe) else f"{type(recipe).__module__}:{type(recipe).__qualname__}"


def sound_values(recipe: Model, training_set: TrainingSet, model: FittedModel,
                 environments: pl.DataFrame | None) -> pl.DataFrame:
    """What the model predicts of the panel it was trained on (contract VALUES), in `environments` as well.

    Raises
    ------
    ProgramError : a summary or values that are not as `protocol` has them; everything that is wrong is named.
    """
    values, said = model.predict(training_set.genotypes, environments), model.summary()
    faults = [f"summary() of {trait} lacks {', '.join(missing)}" for trait in training_set.traits
              if (missing := [name for name in NEEDED if name not in said.get(trait, {})])]
    faults += [f"summary() of {trait} has genetic_sd {row['genetic_sd']}, expected a number from 0"
               for trait, row in said.items() if not 0 <= float(row.get("genetic_sd", 0.0)) < float("inf")]
    faults += [f"values: {fault}" for fault in VALUES.faults(values)] or [
        f"values: {column} has {count} cells that are no finite number" for column in values.columns
        if values[column].dtype.is_float() and (count := int((~values[column].is_finite()).sum()))]
    if not faults:
        pairs = values.filter(pl.col("environment").is_null()).select("line_id", "trait").n_unique()
        wanted = training_set.genotypes.n_lines * len(training_set.traits)
        faults = [f"values of {pairs} lines × traits, expected {wanted}: every line of the panel and trait of the "
                  "training set"] if pairs != wanted else []
    if faults:
        raise ProgramError(f"recipe '{_name(recipe)}': {'; '.join(faults)}; {_REPAIR}")
    return values
