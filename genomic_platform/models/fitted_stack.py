"""A trained stack: its members, each trained on all training lines, and what weights they have.

Axes: P panel lines, Q lines to predict, M markers, W members, T traits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models import markers
from genomic_platform.models.line_model import ARRAYS
from genomic_platform.models.protocol import FittedModel
from genomic_platform.models.recipes import load_fitted
from genomic_platform.models.scaled_model import ScaledModel, save_part

MEMBERS = "members"


@dataclass(frozen=True, eq=False)
class FittedStack(ScaledModel):
    """A trained stack; see `ScaledModel`.

    Genotypic values and average effects are the members' by weight.

    Attributes
    ----------
    members : trained models, in the order of the recipe's names. weight_TW : ≥ 0.
    """

    members: tuple[FittedModel, ...]
    weight_TW: np.ndarray

    class_path = "genomic_platform.models.fitted_stack:FittedStack"
    recipe_name = "stacked"

    def genotypic_values(self, aligned: GenotypeTable) -> np.ndarray:
        value_WQT = np.stack([values_of(member, aligned, self.traits) for member in self.members])
        return np.einsum("tw,wqt->qt", self.weight_TW, value_WQT)

    def described(self) -> dict[str, object]:
        return {"members": [member.recipe for member in self.members]}

    def save(self, folder: Path) -> None:
        """As `ScaledModel.save`, and each member in a folder of its own, members/0, 1, …"""
        super().save(folder)
        markers.save_array(self.weight_TW, folder / ARRAYS / "weight_TW.npy")
        for w, member in enumerate(self.members):
            save_part(member, folder / MEMBERS / str(w))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        said, shared = cls.read(folder)
        members = tuple(load_fitted(folder / MEMBERS / str(w)) for w in range(len(said["members"])))
        return cls(**shared, members=members,
                   weight_TW=np.load(folder / ARRAYS / "weight_TW.npy", allow_pickle=False))


def values_of(member: FittedModel, aligned: GenotypeTable, traits: tuple[str, ...]) -> np.ndarray:
    """A model's genotypic values of a table's lines over environments, (Q, T); 0 for a trait it does not give."""
    table = member.predict(aligned).filter(pl.col("environment").is_null())
    return _columns(table, "line_id", aligned.lines, "genotypic_value", traits)


def effects_of(member: FittedModel, panel: GenotypeTable, traits: tuple[str, ...]) -> np.ndarray:
    """A model's marker effects in the panel's order, (M, T); 0 where it gives none."""
    return _columns(member.explain(), "variant_id", tuple(panel.variants["variant_id"]), "effect", traits)


def _columns(table: pl.DataFrame, key: str, order: tuple[str, ...], value: str, traits: tuple[str, ...]) -> np.ndarray:
    """One value per row of `order` and trait."""
    rows = pl.DataFrame({key: order}, schema={key: pl.String})
    return np.column_stack([
        rows.join(table.filter(pl.col("trait") == trait).select(key, value), on=key, how="left",
                  maintain_order="left")[value].fill_null(0.0).to_numpy() for trait in traits])
