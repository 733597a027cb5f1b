"""A saved model as MLflow's generic Python model: dosages in, breeding values out.

This is all that MLflow runs when somebody loads a model away from the platform, so it imports no Dagster, no settings
and no MLflow. Writing to the registry is `mlflow`'s. Axes: N lines, M markers, T traits.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from genomic_platform.errors import InputError, NotAvailable, Problem

MODEL_FILE = "model.json"


@runtime_checkable
class DosageModel(Protocol):
    """What a fitted model offers for this: values for markers in the order it was trained on."""

    @property
    def traits(self) -> tuple[str, ...]: ...

    @property
    def n_markers(self) -> int: ...

    def values_from_dosages(self, dosage_NM: np.ndarray) -> np.ndarray: ...


def load_fitted(folder: Path) -> DosageModel:
    """The fitted model saved in `folder`, by the class that its model.json names.

    Raises
    ------
    NotAvailable : no model.json, the class cannot be imported, or it offers no values from dosages.
    """
    file = Path(folder) / MODEL_FILE
    try:
        module, _, name = str(json.loads(file.read_text(encoding="utf-8"))["class"]).partition(":")
        recipe = getattr(importlib.import_module(module), name)
    except (OSError, ValueError, KeyError, TypeError, ImportError, AttributeError) as error:
        raise NotAvailable(f"{file}: expected a saved model whose \"class\" is \"module:Class\", found {error!r}; "
                           "install the package that trained it, or train it again") from error
    fitted = recipe.load(Path(folder))
    if not isinstance(fitted, DosageModel):
        raise NotAvailable(f"{file}: {module}:{name} lacks traits, n_markers or values_from_dosages; it cannot be "
                           "offered as an MLflow model")
    return fitted


class DosagePredictor:
    """MLflow's view of a fitted model: `predict(dosage_NM)` gives breeding values (N, T) in `traits` order."""

    def __init__(self, fitted: DosageModel) -> None:
        self.fitted = fitted
        self.traits = fitted.traits

    def predict(self, model_input: np.ndarray, params: dict[str, object] | None = None) -> np.ndarray:
        """Breeding values, float64 (N, T), trait's units.

        Parameters
        ----------
        model_input : int8 (N, M): copies of the ALT allele, 0, 1 or 2, −1 where missing; markers in training order.
        params : not used; MLflow passes it.

        Raises
        ------
        InputError : another shape or other values.
        """
        dosage_NM = np.asarray(model_input)
        expected = f"(lines, {self.fitted.n_markers}) of −1, 0, 1, 2"
        if dosage_NM.ndim != 2 or dosage_NM.shape[1] != self.fitted.n_markers:
            raise InputError([Problem("dosage tensor", expected, f"shape {dosage_NM.shape}",
                                      "give one column per marker of the training panel, in its order")])
        if dosage_NM.size and not (dosage_NM.min() >= -1 and dosage_NM.max() <= 2):
            raise InputError([Problem("dosage tensor", expected, f"values {dosage_NM.min()} to {dosage_NM.max()}",
                                      "count ALT alleles of a diploid, −1 where the call is missing")])
        return np.asarray(self.fitted.values_from_dosages(dosage_NM.astype(np.int8, copy=False)), dtype=np.float64)


def _load_pyfunc(data_path: str) -> DosagePredictor:
    """What MLflow calls; the name is its own."""
    return DosagePredictor(load_fitted(Path(data_path)))
