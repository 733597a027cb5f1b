"""Trained boosted trees: values of any line, files. How trees are grown belongs to `boosting`, effects to `effects`.

Axes: Q lines to predict, M markers, R components, C chosen markers, K members, T traits.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np

from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models import markers
from genomic_platform.models.line_model import ARRAYS
from genomic_platform.models.scaled_model import ScaledModel
from genomic_platform.models.trees.boosting import predicted, read_booster
from genomic_platform.models.trees.inputs import Structure, chosen_dosages

TREES = "trees"


@dataclass(frozen=True, eq=False)
class TraitTrees:
    """The members of a trait.

    Attributes
    ----------
    texts : LightGBM's text of each member; none where nothing was learnt.
    chosen_KC : the markers each member sees, beside the components.
    unit, centre : f = unit × mean over members + centre is a deviation from the average training line, trait's unit.
    intercept : that line's value, on the scale of the training means.
    """

    texts: tuple[str, ...]
    chosen_KC: np.ndarray
    unit: float
    centre: float
    intercept: float

    @classmethod
    def none(cls, intercept: float) -> Self:
        return cls((), np.zeros((0, 0), np.int64), 0.0, 0.0, intercept)

    def values(self, lines: GenotypeTable, score_QR: np.ndarray, frequencies_M: np.ndarray) -> np.ndarray:
        """f of lines, shape (Q,); zeros where nothing was learnt."""
        f_Q = np.zeros(lines.n_lines)
        for text, chosen_C in zip(self.texts, self.chosen_KC, strict=True):
            f_Q += predicted(read_booster(text), features(lines, score_QR, chosen_C, frequencies_M))
        return self.unit * f_Q / max(len(self.texts), 1) + self.centre


def features(lines: GenotypeTable, score_QR: np.ndarray, chosen_C: np.ndarray, frequencies_M: np.ndarray) -> np.ndarray:
    """Components, then chosen markers, float32 (Q, R + C)."""
    return np.hstack([score_QR.astype(np.float32), chosen_dosages(lines, chosen_C, frequencies_M)])


@dataclass(frozen=True, eq=False)
class FittedTrees(ScaledModel):
    """Trained boosted trees; see `ScaledModel`.

    The genotypic value is the members' mean. Average effects are the additive part of it: a marker no tree splits on
    has the part that the components give it, and what trees make of combinations is in the genotypic value alone.
    """

    structure: Structure
    trees: tuple[TraitTrees, ...]

    class_path = "genomic_platform.models.trees.fitted:FittedTrees"
    recipe_name = "boosted_trees"
    packages = ("lightgbm",)

    def genotypic_values(self, aligned: GenotypeTable) -> np.ndarray:
        frequencies_M = self.additive.frequencies_M
        score_QR = self.structure.scores(aligned, frequencies_M)
        return np.column_stack([own.values(aligned, score_QR, frequencies_M) for own in self.trees])

    def described(self) -> dict[str, object]:
        return {"trees": [{"unit": own.unit, "centre": own.centre, "intercept": own.intercept,
                           "members": len(own.texts)} for own in self.trees]}

    def save(self, folder: Path) -> None:
        """As `ScaledModel.save`, and trees as LightGBM's text, trait_member.txt."""
        super().save(folder)
        for name, array in asdict(self.structure).items():
            markers.save_array(array, folder / ARRAYS / f"{name}.npy")
        (folder / TREES).mkdir(exist_ok=True)
        for t, own in enumerate(self.trees):
            markers.save_array(own.chosen_KC, folder / TREES / f"{t}.npy")
            for k, text in enumerate(own.texts):
                (folder / TREES / f"{t}_{k}.txt").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        said, shared = cls.read(folder)
        structure = Structure(*(np.load(folder / ARRAYS / f"{name}.npy", allow_pickle=False)
                                for name in ("loadings_MR", "shift_R")))
        trees = tuple(TraitTrees(
            tuple((folder / TREES / f"{t}_{k}.txt").read_text(encoding="utf-8") for k in range(own["members"])),
            np.load(folder / TREES / f"{t}.npy", allow_pickle=False), own["unit"], own["centre"],
            own["intercept"])
            for t, own in enumerate(said["trees"]))
        return cls(**shared, structure=structure, trees=trees)
