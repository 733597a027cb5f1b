"""A trained reaction norm network: the reaction norm it started from, and a branch that is added where it was kept.

In any environment the branch is linear in the markers, f(x, w) = z s(w), so that its values are breeding values and its
slopes s(w) marker effects in that environment. Axes: P panel lines, Q lines to predict, M markers, R inputs,
E environments, A members, H features of a member, F = A × H, T traits.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import polars as pl

from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models import markers
from genomic_platform.models.circumstances import circumstances
from genomic_platform.models.line_model import PARAMETERS, RUN
from genomic_platform.models.mixed.reaction_norm_recipe import FittedReactionNorm
from genomic_platform.models.networks.inner_cells import cell_errors
from genomic_platform.models.networks.inputs import saved_line_inputs
from genomic_platform.models.networks.trained_branch import BRANCH, INPUTS, Branch, load_arrays, torch_circumstances
from genomic_platform.schemas.predictions import VALUES

if TYPE_CHECKING:
    from genomic_platform.models.networks.reaction_norm_network import ReactionNormNetwork

ADDITIVE = "additive"
NOT_LEARNT = "closed: no covariates, or too few environments or lines"


@dataclass(frozen=True, eq=False)
class FittedReactionNetwork:
    """A trained reaction norm network.

    Attributes
    ----------
    additive : the reaction norm; with the branch closed, its values are the network's.
    branch : None = no trait could be learnt.
    """

    recipe_used: ReactionNormNetwork
    additive: FittedReactionNorm
    branch: Branch | None
    summaries: dict[str, dict[str, float | int | str]]

    @property
    def recipe(self) -> str:
        return self.recipe_used.name

    @property
    def traits(self) -> tuple[str, ...]:
        return self.additive.traits

    @property
    def n_markers(self) -> int:
        return self.additive.n_markers

    def values_from_dosages(self, dosage_NM: np.ndarray) -> np.ndarray:
        """Those of the reaction norm: without a named environment the branch adds nothing."""
        return self.additive.values_from_dosages(dosage_NM)

    @property
    def panel(self) -> GenotypeTable:
        return self.additive.panel

    @classmethod
    def without_branch(cls, recipe: ReactionNormNetwork, additive: FittedReactionNorm) -> Self:
        """A network of which nothing but the reaction norm could be trained."""
        closed = {"branch": NOT_LEARNT, "branch_weight": 0.0, "members": 0}
        return cls(recipe, additive, None, {trait: said | closed for trait, said in additive.summary().items()})

    @classmethod
    def with_branch(cls, recipe: ReactionNormNetwork, additive: FittedReactionNorm, branch: Branch,
                    said: list[dict[str, float | int | str]]) -> Self:
        """`said` : what is to be said of each trait's branch."""
        summaries = {trait: additive.summary()[trait] | own for trait, own in zip(additive.traits, said, strict=True)}
        return cls(recipe, additive, branch, summaries)

    def predict(self, genotypes: GenotypeTable, environments: pl.DataFrame | None = None) -> pl.DataFrame:
        """Values of every line and trait (contract VALUES), as `FittedReactionNorm.predict` gives them, and raising
        what it raises: mean over the environments of training, and in each of `environments`.

        The branch is added to both values; to the genotypic value of a cell that trained only the part
        1 − σ² cell / (σ² cell + error variance) that the cell's own residual has not taken up already. Reliability =
        the reaction norm's − variance of the branch among members / genetic variance, at least 0.
        """
        aligned = markers.match_markers(genotypes, self.panel)
        table = self.additive.predict(aligned, environments)
        if self.branch is None or not self.branch.unit_T.any():
            return table
        names, w_EW = self._environments(environments)
        z_QR = self._inputs(aligned, self.branch)
        targets = [None, *([] if environments is None else environments["environment"].unique().sort())]
        added = [self._added(t, aligned.lines, z_QR, names, w_EW, targets)
                 for t in np.flatnonzero(self.branch.unit_T > 0).tolist()]
        both = table.join(pl.concat(added), on=["line_id", "trait", "environment"], how="left", nulls_equal=True,
                          maintain_order="left")
        filled = {name: pl.col(name).fill_null(0.0) for name in ("branch", "kept", "doubt")}
        return VALUES.conform(both.with_columns(
            pl.col("breeding_value") + filled["branch"], pl.col("genotypic_value") + filled["kept"],
            *((pl.col(name) - filled["doubt"]).clip(0.0, 1.0)
              for name in ("breeding_value_reliability", "genotypic_value_reliability"))))

    def _environments(self, environments: pl.DataFrame | None) -> tuple[tuple[str, ...], np.ndarray]:
        """Names and standardised covariates (E, W) of the training environments and of those that are new."""
        covariates = self.additive.covariates()
        assert covariates is not None
        if environments is None:
            return covariates.environments, covariates.w_EW
        names, a_AW = self.additive.new_environments(environments)
        return (*covariates.environments, *names), np.vstack([covariates.w_EW, a_AW])

    def _inputs(self, aligned: GenotypeTable, branch: Branch) -> np.ndarray:
        """Inputs of lines (Q, R), float32."""
        import torch

        from genomic_platform.models.networks.feeds import PACKED_LINES, batches

        feed = branch.inputs.feed(aligned, self.additive, torch.device("cpu"),
                                  self.recipe_used.training.resident_bytes)
        return np.concatenate([feed.batch(rows_B).numpy() for rows_B in batches(feed, PACKED_LINES)])

    def _slopes(self, trait: int, w_EW: np.ndarray) -> np.ndarray:
        """s(w) of every member in each environment, trait's unit per input, (A, R, E); see `ReactionBranch`."""
        branch, covariates = self.branch, self.additive.covariates()
        assert branch is not None
        assert covariates is not None
        p = branch.parameters[int(branch.epoch_T[trait])]
        head_ARH = p["head_RAHT"][:, :, :, trait].transpose(1, 0, 2)
        n_members, _, n_features = head_ARH.shape
        own_EF, training_EF = (np.cos(w.astype(np.float32) @ p["weight_WF"] + p["phase_F"])
                               for w in (w_EW, covariates.w_EW))
        feature_AHE = (own_EF - training_EF.mean(axis=0)).reshape(-1, n_members, n_features).transpose(1, 2, 0)
        return float(branch.unit_T[trait] * np.sqrt(2 / n_features)) * (head_ARH @ feature_AHE)

    def _added(self, trait: int, lines: tuple[str, ...], z_QR: np.ndarray, names: tuple[str, ...], w_EW: np.ndarray,
               targets: list[str | None]) -> pl.DataFrame:
        """One trait's branch in each target: `branch`, `kept` of it for the genotypic value, and `doubt`."""
        name = self.traits[trait]
        used = sorted({*self.additive.everywhere(name), *(target for target in targets if target is not None)})
        at = [names.index(environment) for environment in used]
        f_AQE = z_QR @ self._slopes(trait, w_EW[at])
        share_QE = self._taken_up(name, lines, used)
        genetic = self._genetic_variance(name)
        parts = []
        for target in targets:
            weights = self.additive.everywhere(name) if target is None else {target: 1.0}
            weight_E = np.array([weights.get(environment, 0.0) for environment in used]) / sum(weights.values())
            f_AQ, mean_QE = f_AQE @ weight_E, f_AQE.mean(axis=0)
            parts.append(pl.DataFrame({
                "line_id": lines, "branch": f_AQ.mean(axis=0), "kept": (mean_QE * (1 - share_QE)) @ weight_E,
                "doubt": f_AQ.var(axis=0) / genetic}).with_columns(
                trait=pl.lit(name), environment=pl.lit(target, dtype=pl.String)))
        return pl.concat(parts)

    def _taken_up(self, trait: str, lines: tuple[str, ...], environments: list[str]) -> np.ndarray:
        """σ² cell / (σ² cell + error variance) of the cells that trained, else 0, (Q, E)."""
        share_QE = np.zeros((len(lines), len(environments)))
        model, cell = self.additive.model(trait), self.additive.components[trait].get("cell", 0.0)
        if model is None or cell <= 0:
            return share_QE
        records = self.additive.records.filter(pl.col("trait") == trait)
        error_N = cell_errors(model, records, self.additive.settings["weights"])
        row_of, column_of = ({name: i for i, name in enumerate(found)} for found in (lines, environments))
        for line, environment, error in zip(records["line_id"], records["environment"], error_N, strict=True):
            if line in row_of and environment in column_of:
                share_QE[row_of[line], column_of[environment]] = cell / (cell + error)
        return share_QE

    def _genetic_variance(self, trait: str) -> float:
        """Of the average panel line in an environment, trait's unit squared; covariates are of variance one."""
        c, own = self.additive.components[trait], float(np.diagonal(self.additive.relationship()).mean())
        genetic = (c.get("line", 0.0) + c.get("line_by_covariates", 0.0)) * own + c.get("line_residual", 0.0)
        return genetic if genetic > 0 else float("inf")

    def explain(self, genotypes: GenotypeTable | None = None, top: int = 10) -> pl.DataFrame:
        """Marker effects on the breeding value without environment, or each line's `top` contributions to it."""
        effects_MT, frequencies_M = self.additive.effects(), self.additive.frequencies_M
        if self.branch is not None:
            effects_MT = effects_MT + self.branch.inputs.effects(self._mean_slopes(), self.additive)
        if genotypes is None:
            return markers.effects_table(self.panel, frequencies_M, self.traits, effects_MT)
        aligned = markers.match_markers(genotypes, self.panel)
        return markers.top_contributions(aligned, frequencies_M, self.traits, effects_MT, top)

    def _mean_slopes(self) -> np.ndarray:
        """s(w) over members and each trait's training environments, (R, T)."""
        assert self.branch is not None
        names, w_EW = self._environments(None)
        slope_RT = np.zeros((self.branch.inputs.n_inputs, len(self.traits)))
        for t in np.flatnonzero(self.branch.unit_T > 0).tolist():
            at = [names.index(environment) for environment in self.additive.everywhere(self.traits[t])]
            slope_RT[:, t] = self._slopes(t, w_EW[at]).mean(axis=(0, 2))
        return slope_RT

    def summary(self) -> dict[str, dict[str, float | int | str]]:
        """The reaction norm's, and per trait: whether the branch is open, its weight and gain in new lines and new
        environments, passes, members."""
        return self.summaries

    def save(self, folder: Path) -> None:
        """Write model.json, the arrays and the reaction norm: equal parameters, equal bytes. Nothing is pickled."""
        folder.mkdir(parents=True, exist_ok=True)
        used = self.recipe_used
        said = {"class": "genomic_platform.models.networks.reaction_fitted:FittedReactionNetwork", "format_version": 1,
                "recipe": self.recipe, "recipe_class": f"{type(used).__module__}:{type(used).__name__}",
                "code_version": used.code_version, "settings": asdict(used), "summary": self.summaries,
                "season": self.additive.season, "marker_digest": self.panel.marker_digest}
        (folder / PARAMETERS).write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")
        if self.branch is not None:
            self.branch.save(folder)
        self.additive.save(folder / ADDITIVE)
        (folder / ADDITIVE / RUN).unlink()
        (folder / RUN).write_text(json.dumps(circumstances() | torch_circumstances(), sort_keys=True, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        said: Mapping = json.loads((folder / PARAMETERS).read_text())
        module_name, _, class_name = said["recipe_class"].partition(":")
        recipe = getattr(importlib.import_module(module_name), class_name).from_settings(said["settings"])
        additive, branch = FittedReactionNorm.load(folder / ADDITIVE), None
        if (folder / BRANCH).is_dir():
            branch = Branch.load(folder, saved_line_inputs(load_arrays(folder / INPUTS), additive.panel))
        return cls(recipe, additive, branch, said["summary"])
