"""`search:NAME`: a recipe whose settings are chosen in folds inside the training lines, then trained on all of them.

Since the recipe's own settings are trial 0, what is chosen is never worse than they are in the inner folds; in lines
that were not there it may be. Who predicts a line that was held out has not seen it choose either.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from genomic_platform.errors import MissingExtra, ProgramError
from genomic_platform.models.cross_validation import panel_values
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.models.recipes import SEARCH
from genomic_platform.models.search.budget import Budget
from genomic_platform.models.search.fitted import FittedSearch
from genomic_platform.models.search.inner import inner_folds
from genomic_platform.models.search.space import Searchable, own_settings, with_settings
from genomic_platform.models.search.trials import Record, digest, search


@dataclass(frozen=True)
class SearchedRecipe:
    """The recipe `search:NAME`.

    Attributes
    ----------
    recipe : whose settings are searched; its own are tried first. budget : see `Budget`.
    folds : inner folds of the training lines, each of them a fit for every trial that is not pruned before.
    """

    recipe: Searchable
    budget: Budget = field(default_factory=Budget)
    folds: int = 5

    def __post_init__(self) -> None:
        if not (space := getattr(self.recipe, "space", None)):
            raise ProgramError(f"recipe '{self.name}': {self.recipe.name} declares no space of settings to search; "
                               f"expected a recipe with `space`; repair: name {self.recipe.name} itself")
        try:
            own_settings(self.recipe)
        except AttributeError as error:
            raise ProgramError(f"recipe '{self.name}': its space names a setting that it does not have ({error}); "
                               f"expected fields of {type(self.recipe).__name__}; found {', '.join(space)}") from error

    @property
    def name(self) -> str:
        return SEARCH + self.recipe.name

    @property
    def code_version(self) -> str:
        return f"1, {self.recipe.code_version}"

    def fit(self, training_set: TrainingSet, *, seed: int = 0, device: str = "cpu",
            checkpoint: Path | None = None) -> FittedSearch:
        """Search, then train on all lines with the settings found.

        Parameters
        ----------
        seed : of the inner folds, the proposals and every fit.
        checkpoint : folder from which a killed search goes on: a budget of trials gives the model of an undisturbed
            one. A search of other data, settings, seed or device is not gone on from; a larger budget goes on.

        Raises
        ------
        MissingExtra : Optuna is not installed. Whatever the recipe raises.
        """
        folder = self._folder(training_set, seed, device, checkpoint)
        record = self._search(training_set, seed, device, folder)
        chosen, place = self._chosen(record), None
        if folder is not None:
            place = folder / f"model-{record.best if record.trials else 0}"
        model = chosen.fit(training_set, seed=seed, device=device, checkpoint=place)
        return FittedSearch(self.name, self.code_version, model, self.budget, record)

    def fit_values(self, training_set: TrainingSet) -> pl.DataFrame:
        """Search and give the panel's values as the recipe with the settings found does, for cross-validation."""
        return panel_values(self._chosen(self._search(training_set, 0, "cpu", None)), training_set)

    def _search(self, training_set: TrainingSet, seed: int, device: str, folder: Path | None) -> Record:
        _require_optuna(self.name)
        folds = inner_folds(training_set, self.folds, seed)
        if not folds:
            return Record()
        return search(self.recipe, folds, self.budget, seed=seed, device=device, folder=folder)

    def _chosen(self, record: Record) -> Searchable:
        return with_settings(self.recipe, record.trials[record.best].settings) if record.trials else self.recipe

    def _folder(self, training_set: TrainingSet, seed: int, device: str, checkpoint: Path | None) -> Path | None:
        """A folder of its own for every digest: another study is not even found."""
        if checkpoint is None:
            return None
        _require_optuna(self.name)
        return checkpoint / digest(self.recipe, training_set, self.folds, seed, device)[:16]


def _require_optuna(name: str) -> None:
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise MissingExtra(f"recipe '{name}' needs the package optuna; repair: "
                           "pip install 'genomic-platform[search]'") from error
