"""A model fitted with the settings that a search found, and the search beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl

from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.line_model import PARAMETERS
from genomic_platform.models.search.budget import Budget
from genomic_platform.models.search.space import Setting
from genomic_platform.models.search.trials import BY_MINUTES, PRUNED, Record, Trial

MODEL = "model"


@dataclass(frozen=True, eq=False)
class FittedSearch:
    """A trained model whose settings were chosen inside its training lines.

    Attributes
    ----------
    model : a `FittedModel` of all training lines; what else it offers, this does. record : no trials = too few lines.
    """

    recipe: str
    code_version: str
    model: Any
    budget: Budget
    record: Record

    @property
    def traits(self) -> tuple[str, ...]:
        return self.model.traits

    @property
    def n_markers(self) -> int:
        return self.model.n_markers

    def predict(self, genotypes: GenotypeTable, environments: pl.DataFrame | None = None) -> pl.DataFrame:
        """The model's; see `FittedModel`."""
        return self.model.predict(genotypes, environments)

    def values_from_dosages(self, dosage_NM: np.ndarray) -> np.ndarray:
        """The model's breeding values, float64 (N, T)."""
        return self.model.values_from_dosages(dosage_NM)

    def explain(self, genotypes: GenotypeTable | None = None, top: int = 10) -> pl.DataFrame:
        """The model's; see `FittedModel`."""
        return self.model.explain(genotypes, top)

    def summary(self) -> dict[str, dict[str, float | int | str]]:
        """The model's, and for all traits alike what was chosen among how many, and its ability in inner folds."""
        return {trait: said | self._said() for trait, said in self.model.summary().items()}

    def _said(self) -> dict[str, float | int | str]:
        trials = self.record.trials
        if not trials:
            return {"search": "none: too few lines"}
        best, ended = self.record.best, f"ended by {self.record.ended_by}"
        if self.record.ended_by == BY_MINUTES:
            ended += f" ({self.budget.minutes:g}): a faster or slower machine may choose otherwise"
        return {"search": ended, "search_trials": len(trials),
                "search_pruned": sum(trial.state == PRUNED for trial in trials), "search_best_trial": best,
                "settings_chosen": described(trials[best].settings),
                "inner_ability_default": trials[0].ability, "inner_ability_best": trials[best].ability}

    def save(self, folder: Path) -> None:
        """Write model.json, with every trial, and the model: equal parameters, equal bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        said = {"class": "genomic_platform.models.search.fitted:FittedSearch", "format_version": 1,
                "recipe": self.recipe, "code_version": self.code_version, "budget": asdict(self.budget),
                "ended_by": self.record.ended_by, "trials": [asdict(trial) for trial in self.record.trials]}
        (folder / PARAMETERS).write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")
        self.model.save(folder / MODEL)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        from genomic_platform.models.recipes import load_fitted

        said = json.loads((folder / PARAMETERS).read_text())
        trials = tuple(Trial(t["settings"], tuple(t["scores"]), t["state"]) for t in said["trials"])
        return cls(said["recipe"], said["code_version"], load_fitted(folder / MODEL), Budget(**said["budget"]),
                   Record(trials, ended_by=said["ended_by"]))


def described(settings: Mapping[str, Setting]) -> str:
    """`features 512, training.rate 0.003`, numbers to four places."""
    return ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                     for name, value in sorted(settings.items()))
