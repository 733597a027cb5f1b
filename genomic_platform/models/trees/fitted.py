"""Trained boosted trees: values of any line, average effects, files. How they are grown belongs to `boosting`.

Axes: P panel lines, N training lines, Q lines to predict, M markers, R components, C chosen markers, K members,
T traits.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models import markers
from genomic_platform.models.circumstances import circumstances
from genomic_platform.models.genomic_blup import FittedGenomicBlup
from genomic_platform.models.line_model import ARRAYS, PARAMETERS, RUN
from genomic_platform.models.trees.boosting import predicted, read_booster
from genomic_platform.models.trees.inputs import Structure, chosen_dosages
from genomic_platform.models.yardstick import Summary, save_part, with_values

ADDITIVE, TREES = "additive", "trees"


@dataclass(frozen=True, eq=False)
class TraitTrees:
    """The members of a trait.

    Attributes
    ----------
    texts : LightGBM's text of each member; none where nothing was learnt.
    chosen_KC : the markers each member sees, beside the components.
    unit, centre : f = unit × mean over members + centre is a deviation from the average training line, trait's unit.
    intercept : the training lines' mean. reliability : factor on GBLUP's reliabilities.
    """

    trait: str
    texts: tuple[str, ...]
    chosen_KC: np.ndarray
    unit: float
    centre: float
    intercept: float
    reliability: float

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
class FittedTrees:
    """Trained boosted trees.

    Attributes
    ----------
    additive : the GBLUP whose reliabilities are scaled; also the panel.
    effects_MT : average effects of markers, trait's unit for one more ALT allele.
    share_T : squared correlation of the breeding with the predicted value over the training lines.
    """

    code_version: str
    settings: dict
    additive: FittedGenomicBlup
    structure: Structure
    trees: tuple[TraitTrees, ...]
    effects_MT: np.ndarray
    share_T: np.ndarray
    summaries: dict[str, Summary]

    @property
    def recipe(self) -> str:
        return "boosted_trees"

    @property
    def traits(self) -> tuple[str, ...]:
        return self.additive.traits

    @property
    def panel(self) -> GenotypeTable:
        return self.additive.panel

    @property
    def n_markers(self) -> int:
        return self.additive.n_markers

    def predict(self, genotypes: GenotypeTable, environments: pl.DataFrame | None = None) -> pl.DataFrame:
        """Values for every line of `genotypes` and every trait (contract VALUES).

        The genotypic value is the members' mean, the breeding value the sum of average effects. Reliability = GBLUP's
        of the line × what inner folds showed (`yardstick`); of the breeding value also × `share_T`. Raises InputError
        naming every mismatch of markers.
        """
        aligned = markers.match_markers(genotypes, self.panel)
        frequencies_M = self.additive.frequencies_M
        score_QR = self.structure.scores(aligned, frequencies_M)
        breeding_QT = markers.line_sums(aligned, frequencies_M, self.effects_MT)
        found = pl.concat([pl.DataFrame({
            "line_id": aligned.lines, "trait": [own.trait] * aligned.n_lines, "breeding": breeding_QT[:, t],
            "genotypic": own.values(aligned, score_QR, frequencies_M), "factor": own.reliability,
            "share": self.share_T[t]}) for t, own in enumerate(self.trees)])
        return with_values(self.additive.predict(aligned), found)

    def values_from_dosages(self, dosage_NM: np.ndarray) -> np.ndarray:
        """Breeding values, float64 (N, T), of dosages in the panel's marker order; missing (−1) at 2p.

        Raises ValueError for another number of markers.
        """
        return markers.breeding_values(dosage_NM, self.additive.frequencies_M, self.effects_MT)

    def explain(self, genotypes: GenotypeTable | None = None, top: int = 10) -> pl.DataFrame:
        """Average effects of markers on the breeding value, or each line's `top` largest contributions to it.

        A marker no tree splits on has the part that the components give it. What trees make of combinations of markers
        is in the genotypic value alone.
        """
        frequencies_M = self.additive.frequencies_M
        if genotypes is None:
            return markers.effects_table(self.panel, frequencies_M, self.traits, self.effects_MT)
        aligned = markers.match_markers(genotypes, self.panel)
        return markers.top_contributions(aligned, frequencies_M, self.traits, self.effects_MT, top)

    def summary(self) -> dict[str, Summary]:
        """GBLUP's with the variances that inner folds support, and per trait: trees, rounds, markers split on."""
        return self.summaries

    def save(self, folder: Path) -> None:
        """Write model.json, arrays, trees as text and the GBLUP: equal parameters, equal bytes. Nothing is pickled."""
        folder.mkdir(parents=True, exist_ok=True)
        said = {"class": "genomic_platform.models.trees.fitted:FittedTrees", "format_version": 1,
                "recipe": self.recipe, "code_version": self.code_version, "settings": self.settings,
                "season": self.additive.season, "marker_digest": self.panel.marker_digest, "summary": self.summaries,
                "traits": [{key: value for key, value in asdict(own).items() if key not in ("texts", "chosen_KC")}
                           | {"members": len(own.texts)} for own in self.trees]}
        (folder / PARAMETERS).write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")
        for place in (ARRAYS, TREES):
            (folder / place).mkdir(exist_ok=True)
        for name in ("effects_MT", "share_T"):
            markers.save_array(getattr(self, name), folder / ARRAYS / f"{name}.npy")
        for name in ("loadings_MR", "shift_R"):
            markers.save_array(getattr(self.structure, name), folder / ARRAYS / f"{name}.npy")
        for t, own in enumerate(self.trees):
            markers.save_array(own.chosen_KC, folder / TREES / f"{t}.npy")
            for k, text in enumerate(own.texts):
                (folder / TREES / f"{t}_{k}.txt").write_text(text, encoding="utf-8")
        save_part(self.additive, folder / ADDITIVE)
        (folder / RUN).write_text(json.dumps(circumstances() | _lightgbm(), sort_keys=True, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        said = json.loads((folder / PARAMETERS).read_text())
        arrays = {path.stem: np.load(path, allow_pickle=False) for path in sorted((folder / ARRAYS).glob("*.npy"))}
        trees = []
        for t, own in enumerate(said["traits"]):
            texts = tuple((folder / TREES / f"{t}_{k}.txt").read_text(encoding="utf-8")
                          for k in range(own.pop("members")))
            chosen_KC = np.load(folder / TREES / f"{t}.npy", allow_pickle=False)
            trees.append(TraitTrees(**own, texts=texts, chosen_KC=chosen_KC))
        return cls(said["code_version"], said["settings"], FittedGenomicBlup.load(folder / ADDITIVE),
                   Structure(arrays.pop("loadings_MR"), arrays.pop("shift_R")), tuple(trees),
                   summaries=said["summary"], **arrays)


def _lightgbm() -> dict[str, str]:
    from importlib.metadata import version

    return {"lightgbm": version("lightgbm")}
