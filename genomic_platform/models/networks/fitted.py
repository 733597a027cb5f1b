"""A trained network: the GBLUP it started from, and a branch that is added where it was kept.

Predicting, average effects, saving and loading. Axes: P panel lines, N training lines, Q lines to predict, M markers,
R inputs, A members, T traits.
"""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import polars as pl

from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models import markers
from genomic_platform.models.circumstances import circumstances
from genomic_platform.models.genomic_blup import FittedGenomicBlup
from genomic_platform.models.line_model import ARRAYS, PARAMETERS, RUN
from genomic_platform.models.networks.inner_folds import InnerTargets
from genomic_platform.models.networks.trained_branch import (
    BRANCH,
    INPUTS,
    Branch,
    load_arrays,
    save_arrays,
    torch_circumstances,
)
from genomic_platform.schemas.predictions import VALUES

if TYPE_CHECKING:
    from torch import nn

    from genomic_platform.models.networks.feeds import Feed
    from genomic_platform.models.networks.recipe import NetworkRecipe

ADDITIVE = "additive"
NOT_LEARNT = "closed: too few lines or no genetic variance"


@dataclass(frozen=True, eq=False)
class FittedNetwork:
    """A trained network.

    Attributes
    ----------
    additive : the GBLUP; with the branch closed, its values are the network's.
    branch : None = no trait could be learnt.
    branch_effects_MT : average effects of the branch, trait's unit for one more ALT allele.
    offset_T : the branch's mean over the training lines, taken off so that values stay deviations.
    share_T : squared correlation of the breeding with the predicted value over the training lines; 1 where closed.
    """

    recipe_used: NetworkRecipe
    additive: FittedGenomicBlup
    branch: Branch | None
    branch_effects_MT: np.ndarray
    offset_T: np.ndarray
    share_T: np.ndarray
    summaries: dict[str, dict[str, float | int | str]]

    @property
    def recipe(self) -> str:
        return self.recipe_used.name

    @property
    def traits(self) -> tuple[str, ...]:
        return self.additive.traits

    @property
    def panel(self) -> GenotypeTable:
        return self.additive.panel

    @property
    def n_markers(self) -> int:
        return self.additive.n_markers

    @property
    def effects_MT(self) -> np.ndarray:
        return self.additive.effects_MT + self.branch_effects_MT

    @classmethod
    def without_branch(cls, recipe: NetworkRecipe, additive: FittedGenomicBlup) -> Self:
        """A network of which nothing but GBLUP could be trained."""
        n_traits = len(additive.fits)
        summaries = {trait: said | {"branch": NOT_LEARNT, "branch_weight": 0.0,
                                    "members": 0} for trait, said in additive.summary().items()}
        return cls(recipe, additive, None, np.zeros((additive.n_markers, n_traits)), np.zeros(n_traits),
                   np.ones(n_traits), summaries)

    @classmethod
    def with_branch(cls, recipe: NetworkRecipe, additive: FittedGenomicBlup, branch: Branch, module: nn.Module,
                    feed: Feed, targets: InnerTargets, size: int) -> Self:
        """Average effects of a trained branch, from its gradient over the training lines (Fisher's, as `kernel`'s).

        The index Σ_m (x_m − 2p_m) b_m, b the mean gradient, is scaled so that f regresses on it with slope one.
        """
        from contextlib import nullcontext

        from genomic_platform.models.networks.training import mean_gradient, values

        used_NT = (targets.weight_NT > 0).astype(float)
        used_NT /= np.maximum(used_NT.sum(axis=0), 1.0)
        f_NT, gradient_RT = np.zeros(used_NT.shape), np.zeros((feed.n_inputs, len(branch.unit_T)))
        for read_T in branch.stages(module):
            f_NAT = values(module, feed, size, nullcontext())
            f_NT[:, read_T] = f_NAT.mean(dim=1).cpu().numpy()[:, read_T]
            gradient_RT[:, read_T] = mean_gradient(module, feed, size, used_NT)[:, read_T]
        f_NT *= branch.unit_T
        effects_MT = branch.inputs.effects(gradient_RT * branch.unit_T, additive)
        centred_NM = additive.panel.select(lines=[additive.panel.lines[row] for row in targets.rows_N])
        index_NT = _index(centred_NM, additive.frequencies_M, effects_MT)
        value_NT = _index(centred_NM, additive.frequencies_M, additive.effects_MT)
        share_T = np.ones(len(branch.unit_T))
        for t in np.flatnonzero(branch.unit_T > 0):
            at = targets.weight_NT[:, t] > 0
            spread = index_NT[at, t].var()
            slope = np.cov(f_NT[at, t], index_NT[at, t], bias=True)[0, 1] / spread if spread > 0 else 0.0
            effects_MT[:, t] *= slope
            breeding_N, total_N = value_NT[at, t] + slope * index_NT[at, t], value_NT[at, t] + f_NT[at, t]
            share_T[t] = np.corrcoef(breeding_N, total_N)[0, 1] ** 2
        return cls(recipe, additive, branch, effects_MT, (used_NT * f_NT).sum(axis=0), share_T,
                   {trait: dict(said) for trait, said in additive.summary().items()})

    def predict(self, genotypes: GenotypeTable, environments: pl.DataFrame | None = None) -> pl.DataFrame:
        """Values for every line of `genotypes` and every trait (contract VALUES).

        The genotypic value adds the branch to GBLUP's; of a line with a residual r̂ that stage-one errors identify, only
        the part 1 − σ²r / (σ²r + error variance) that r̂ has not taken up already. Reliability = GBLUP's − variance of
        the branch among members / genetic variance of the line mean, at least 0: a branch adds doubt, never certainty.
        The breeding value's is that × `share_T`. Raises InputError naming every mismatch of markers.
        """
        aligned = markers.match_markers(genotypes, self.panel)
        table = self.additive.predict(aligned)
        if self.branch is None or not self.branch.unit_T.any():
            return table
        f_QAT = self._branch_values(aligned, self.branch)
        index_QT = _index(aligned, self.additive.frequencies_M, self.branch_effects_MT)
        added = [self._added(t, aligned.lines, f_QAT[:, :, t].mean(axis=1) - self.offset_T[t],
                             f_QAT[:, :, t].var(axis=1), index_QT[:, t])
                 for t in np.flatnonzero(self.branch.unit_T > 0).tolist()]
        both = table.join(pl.concat(added), on=["line_id", "trait"], how="left", maintain_order="left")
        kept = pl.col("kept").fill_null(1.0)
        return VALUES.conform(both.with_columns(
            pl.col("breeding_value") + pl.col("index").fill_null(0.0),
            pl.col("genotypic_value") + kept * pl.col("branch").fill_null(0.0),
            *(((pl.col(f"{value}_reliability") - pl.col("doubt").fill_null(0.0)).clip(0.0, 1.0) * share).alias(
                f"{value}_reliability")
              for value, share in (("breeding_value", pl.col("share").fill_null(1.0)), ("genotypic_value", pl.lit(1.0)))
              )))

    def _branch_values(self, aligned: GenotypeTable, branch: Branch) -> np.ndarray:
        """a f of every member, trait's unit, (Q, A, T); on the CPU."""
        from contextlib import nullcontext

        import torch

        from genomic_platform.models.networks.training import values

        used = self.recipe_used
        module = used.module(branch.inputs, self.panel, len(self.traits), 1.0, torch.Generator())
        feed = branch.inputs.feed(aligned, self.additive, torch.device("cpu"), used.training.resident_bytes)
        f_QAT = np.zeros((aligned.n_lines, used.n_members, len(self.traits)))
        for read_T in branch.stages(module):
            f_QAT[:, :, read_T] = values(module, feed, used.training.batch, nullcontext()).numpy()[:, :, read_T]
        return f_QAT * branch.unit_T

    def _added(self, trait: int, lines: tuple[str, ...], f_Q: np.ndarray, variance_Q: np.ndarray,
               index_Q: np.ndarray) -> pl.DataFrame:
        fit = self.additive.fits[trait]
        kept = dict.fromkeys(lines, 1.0)
        if fit.data.errors is not None and fit.components.line_residual > 0:
            residual = fit.components.line_residual
            share_N = residual / (residual + fit.data.errors.diagonal_N)
            kept |= {self.panel.lines[row]: 1 - share for row, share in zip(fit.data.rows_N, share_N, strict=True)}
        genetic = float(self.summaries[fit.trait]["genetic_sd"]) ** 2 + fit.components.line_residual
        return pl.DataFrame({"line_id": lines, "branch": f_Q, "index": index_Q, "doubt": variance_Q / genetic,
                             "kept": [kept[line] for line in lines]}).with_columns(
            trait=pl.lit(fit.trait), share=pl.lit(self.share_T[trait]))

    def values_from_dosages(self, dosage_NM: np.ndarray) -> np.ndarray:
        """Breeding values, float64 (N, T), of dosages in the panel's marker order; missing (−1) at 2p.

        Raises ValueError for another number of markers.
        """
        return self.additive.values_from_dosages(dosage_NM) + markers.centred(
            dosage_NM, self.additive.frequencies_M) @ self.branch_effects_MT

    def explain(self, genotypes: GenotypeTable | None = None, top: int = 10) -> pl.DataFrame:
        """Average effects of markers on the breeding value, or each line's `top` largest contributions to it."""
        frequencies_M = self.additive.frequencies_M
        if genotypes is None:
            return markers.effects_table(self.panel, frequencies_M, self.traits, self.effects_MT)
        aligned = markers.match_markers(genotypes, self.panel)
        return markers.top_contributions(aligned, frequencies_M, self.traits, self.effects_MT, top)

    def summary(self) -> dict[str, dict[str, float | int | str]]:
        """GBLUP's, and per trait: whether the branch is open, its weight and gain in inner folds, passes, members."""
        return self.summaries

    def save(self, folder: Path) -> None:
        """Write model.json, the arrays and the GBLUP: equal parameters, equal bytes. Nothing is pickled."""
        folder.mkdir(parents=True, exist_ok=True)
        used = self.recipe_used
        said = {"class": "genomic_platform.models.networks.fitted:FittedNetwork", "format_version": 1,
                "recipe": self.recipe, "recipe_class": f"{type(used).__module__}:{type(used).__name__}",
                "code_version": used.code_version, "settings": asdict(used), "summary": self.summaries,
                "season": self.additive.season, "marker_digest": self.panel.marker_digest}
        (folder / PARAMETERS).write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")
        arrays = {name: getattr(self, name) for name in ("branch_effects_MT", "offset_T", "share_T")}
        save_arrays(folder / ARRAYS, arrays)
        if self.branch is not None:
            self.branch.save(folder)
        self.additive.save(folder / ADDITIVE)
        (folder / ADDITIVE / RUN).unlink()
        (folder / RUN).write_text(json.dumps(circumstances() | torch_circumstances(), sort_keys=True, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        said = json.loads((folder / PARAMETERS).read_text())
        module_name, _, class_name = said["recipe_class"].partition(":")
        recipe = getattr(importlib.import_module(module_name), class_name).from_settings(said["settings"])
        additive = FittedGenomicBlup.load(folder / ADDITIVE)
        branch = None
        if (folder / BRANCH).is_dir():
            branch = Branch.load(folder, recipe.inputs_of(load_arrays(folder / INPUTS), additive.panel))
        return cls(recipe_used=recipe, additive=additive, branch=branch, summaries=said["summary"],
                   **load_arrays(folder / ARRAYS))


def _index(lines: GenotypeTable, frequencies_M: np.ndarray, effects_MT: np.ndarray) -> np.ndarray:
    """Σ over markers of (dosage − 2p) × effect, (Q, T), a block of markers at a time."""
    index_QT = np.zeros((lines.n_lines, effects_MT.shape[1]))
    for start, dosage_MQ in lines.blocks():
        stop = start + len(dosage_MQ)
        index_QT += markers.centred(dosage_MQ.T, frequencies_M[start:stop]) @ effects_MT[start:stop]
    return index_QT
