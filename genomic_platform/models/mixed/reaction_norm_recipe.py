"""The recipe `reaction_norm`: the single-stage model of line means in environments, as the model protocol wants it.

The model itself is `reaction_norm`. Values without environment are means over the environments of training, each
counting once; values in named environments stand beside them. Breeding values are K w, so that marker effects follow by
back-solution (Strandén & Garrick 2009, J. Dairy Sci. 92:2971-2975).
Axes: P panel lines, Q lines to predict, M markers, T traits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import polars as pl

from genomic_platform.errors import InputError, ProgramError
from genomic_platform.genotypes.kinship.relationship import cross_relationship, vanraden
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models import markers
from genomic_platform.models.circumstances import circumstances
from genomic_platform.models.line_model import (
    PANEL,
    PARAMETERS,
    RUN,
    TRAINING,
    VALUE_COLUMNS,
    panel_rows,
    same_lines,
)
from genomic_platform.models.mixed.reaction_norm import ReactionNorm, fit_reaction_norm
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.models.trait_fit import MIN_LINES
from genomic_platform.phenotypes.environment_kernel import EnvironmentCovariates
from genomic_platform.schemas.phenotypes import ENVIRONMENT_FEATURES, LINE_MEANS
from genomic_platform.schemas.predictions import VALUES

FEATURES = "environment_features.parquet"


@dataclass(frozen=True)
class ReactionNormRecipe:
    """Settings of the recipe `reaction_norm`.

    Attributes
    ----------
    environment_kernel : `linear` (Jarquín et al. 2014) or `gaussian` (Costa-Neto et al. 2021), of covariates where all
        environments with records have them; else environments are unrelated.
    weights : of line means in environments, see `fit_reaction_norm`.
    """

    environment_kernel: str = "linear"
    weights: str = "auto"

    name: ClassVar[str] = "reaction_norm"
    code_version: ClassVar[str] = "2"

    def fit(self, training_set: TrainingSet, *, seed: int = 0, device: str = "cpu",
            checkpoint: Path | None = None) -> FittedReactionNorm:
        """Train on all traits. Exact algebra: `seed`, `device` and `checkpoint` change nothing.

        Raises
        ------
        ProgramError : the training set has no line means of environments.
        """
        if training_set.line_means is None:
            raise ProgramError("recipe reaction_norm learns from line means of environments; the training set has none "
                               "(TrainingSet.line_means): give them, or take a recipe on line means, genomic_blup")
        panel = training_set.genotypes
        # Held-out lines are left out of `means`; their records of environments must not come in by the other table.
        records = training_set.line_means.join(training_set.means.select("line_id", "trait"), on=["line_id", "trait"],
                                               how="semi").filter(pl.col("line_id").is_in(panel.lines))
        frequencies_M = markers.panel_frequencies(panel)
        fitted = FittedReactionNorm(
            self.code_version, asdict(self), training_set.season, panel, frequencies_M,
            float(2 * np.sum(frequencies_M * (1 - frequencies_M))), LINE_MEANS.conform(records),
            _covariates(training_set.environment_features, records), training_set.traits, {})
        if training_set.relationship_NN is not None:
            fitted.memory["relationship"] = training_set.relationship_NN
        for trait in fitted.traits:
            if (model := fitted.model(trait)) is not None:
                fitted.components[trait] = {**model.fit.variance, "error": model.fit.error_variance}
        return fitted


def _nothing() -> list[pl.Expr]:
    """Values and reliabilities of a trait that could not be fitted."""
    return [pl.lit(0.0).alias(column) for column in VALUE_COLUMNS]


def _covariates(features: pl.DataFrame | None, records: pl.DataFrame) -> pl.DataFrame | None:
    """The features, if every environment with records has them and there are several."""
    if features is None or features["environment"].n_unique() < 2:
        return None
    return features if set(records["environment"]) <= set(features["environment"]) else None


@dataclass(frozen=True, eq=False)
class FittedReactionNorm:
    """A trained reaction norm.

    Attributes
    ----------
    panel : all lines known at the training season. frequencies_M, scale : what the relationship is centred on and
        divided by. records : contract LINE_MEANS, trained on. features : contract ENVIRONMENT_FEATURES or None.
    components : trait → variance of each term and `error`; a trait that could not be fitted has none.
    memory : models and matrices made once.
    """

    code_version: str
    settings: Mapping[str, str]
    season: str
    panel: GenotypeTable
    frequencies_M: np.ndarray
    scale: float
    records: pl.DataFrame
    features: pl.DataFrame | None
    traits: tuple[str, ...]
    components: dict[str, dict[str, float]]
    memory: dict = field(default_factory=dict, repr=False)

    class_path: ClassVar[str] = "genomic_platform.models.mixed.reaction_norm_recipe:FittedReactionNorm"

    @property
    def recipe(self) -> str:
        return ReactionNormRecipe.name

    def model(self, trait: str) -> ReactionNorm | None:
        """The trait's reaction norm; None where it is constant or has fewer than five lines."""
        key = ("model", trait)
        if key not in self.memory:
            self.memory[key] = self._solved(trait, self.records.filter(pl.col("trait") == trait))
        return self.memory[key]

    def _solved(self, trait: str, records: pl.DataFrame) -> ReactionNorm | None:
        if records["line_id"].n_unique() < MIN_LINES or records["centred"].n_unique() < 2:
            return None
        covariates = self.covariates()
        return fit_reaction_norm(
            records, self.panel.lines, self.relationship(), None if covariates is None else covariates.environments,
            None if covariates is None else covariates.kernel(self.settings["environment_kernel"]),
            weights=self.settings["weights"], components=self.components.get(trait))

    def predict(self, genotypes: GenotypeTable, environments: pl.DataFrame | None = None) -> pl.DataFrame:
        """Values of every line and trait (contract VALUES): mean over the environments of training, and in each of
        `environments`.

        Parameters
        ----------
        environments : contract ENVIRONMENT_FEATURES; environments without records are predicted by their covariates.

        Raises
        ------
        InputError : markers or covariates do not match; all named. ProgramError : an environment never seen, and the
            model has no covariates.
        """
        aligned = markers.match_markers(genotypes, self.panel)
        covariates = self.covariates()
        if environments is not None and covariates is not None and (problems := covariates.problems(environments)):
            raise InputError(problems)
        parts = [self._values(trait, aligned, environments) for trait in self.traits]
        return VALUES.conform(pl.concat(parts) if parts else VALUES.empty())

    def _values(self, trait: str, aligned: GenotypeTable, environments: pl.DataFrame | None) -> pl.DataFrame:
        """One trait's rows of `predict`."""
        trained = self.records.filter(pl.col("trait") == trait)["line_id"].unique().to_list()
        targets = [None, *([] if environments is None else environments["environment"].unique().sort())]
        model, rows_Q = self.model(trait), np.arange(aligned.n_lines)
        if model is not None:
            model, rows_Q = self._with_lines(model, aligned)
            model = model if environments is None else self._with_environments(model, environments)
        tables = [pl.DataFrame({"line_id": aligned.lines}, schema={"line_id": pl.String}).with_columns(
            pl.lit(trait).alias("trait"), pl.lit(target, dtype=pl.String).alias("environment"),
            pl.col("line_id").is_in(trained).alias("phenotyped"),
            *(_nothing() if model is None else model.predict(target or self.everywhere(trait))[rows_Q].select(
                VALUE_COLUMNS).get_columns())) for target in targets]
        return VALUES.conform(pl.concat(tables))

    def everywhere(self, trait: str) -> dict[str, float]:
        """The environments of training, each once."""
        return dict.fromkeys(self.records.filter(pl.col("trait") == trait)["environment"].unique().sort(), 1.0)

    def _with_lines(self, model: ReactionNorm, aligned: GenotypeTable) -> tuple[ReactionNorm, np.ndarray]:
        """The model with those of the lines that are not the panel's, and each line's row in it."""
        if same_lines(aligned, self.panel):
            return model, np.arange(aligned.n_lines)
        cross_QP = cross_relationship(aligned, self.panel, self.frequencies_M, self.scale)
        rows_Q = panel_rows(aligned, cross_QP, self.panel, self.relationship())
        new_Q = np.flatnonzero(rows_Q < 0)
        own_Q = markers.own_relationship(aligned, self.frequencies_M, self.scale)
        rows_Q[new_Q] = len(self.panel.lines) + np.arange(len(new_Q))
        return model.with_lines([aligned.lines[q] for q in new_Q], cross_QP[new_Q], own_Q[new_Q]), rows_Q

    def new_environments(self, environments: pl.DataFrame) -> tuple[tuple[str, ...], np.ndarray]:
        """Those that are not of the training, and their covariates (A, W), held within the range of the training's.

        A covariate that hardly varied in a few seasons would else decide alone: in rice one of 54 stood 969 standard
        deviations from the four seasons of training.
        """
        covariates = self.covariates()
        if covariates is None:
            return (), np.zeros((0, 0))
        new = environments.filter(~pl.col("environment").is_in(list(covariates.environments)))
        if new.is_empty():
            return (), np.zeros((0, covariates.w_EW.shape[1]))
        names, a_AW = covariates.standardised(new)
        return names, np.clip(a_AW, covariates.w_EW.min(axis=0), covariates.w_EW.max(axis=0))

    def _with_environments(self, model: ReactionNorm, environments: pl.DataFrame) -> ReactionNorm:
        covariates, (names, a_AW) = self.covariates(), self.new_environments(environments)
        if covariates is None or not names:
            return model
        kind = self.settings["environment_kernel"]
        return model.with_environments(names, covariates.kernel(kind, a_AW), covariates.kernel(kind, a_AW, a_AW))

    def explain(self, genotypes: GenotypeTable | None = None, top: int = 10) -> pl.DataFrame:
        """Marker effects on the breeding value without environment, or each line's `top` contributions to it."""
        effects_MT = self.effects()
        if genotypes is None:
            return markers.effects_table(self.panel, self.frequencies_M, self.traits, effects_MT)
        aligned = markers.match_markers(genotypes, self.panel)
        return markers.top_contributions(aligned, self.frequencies_M, self.traits, effects_MT, top)

    @property
    def n_markers(self) -> int:
        return self.panel.n_variants

    def values_from_dosages(self, dosage_NM: np.ndarray) -> np.ndarray:
        """Breeding values, mean over the environments of training, float64 (N, T), of dosages in the panel's marker
        order; missing (−1) at 2p. Raises ValueError for another number of markers."""
        return markers.breeding_values(dosage_NM, self.frequencies_M, self.effects())

    def effects(self) -> np.ndarray:
        """Marker effects on the breeding value without environment, (M, T)."""
        if "effects" not in self.memory:
            self.memory["effects"] = self._summed_effects()
        return self.memory["effects"]

    def _summed_effects(self) -> np.ndarray:
        models = {trait: self.model(trait) for trait in self.traits}
        weights = [np.zeros(self.panel.n_lines) if model is None else model.line_weights(self.everywhere(trait))
                   for trait, model in models.items()]
        return markers.marker_sums(self.panel, self.frequencies_M, np.column_stack(weights) / self.scale)

    def summary(self) -> dict[str, dict[str, float | int | str]]:
        """Per trait: status, lines, records, environments, components, heritability of the line mean, notices."""
        if "summary" not in self.memory:
            self.memory["summary"] = {trait: self._describe(trait) for trait in self.traits}
        return self.memory["summary"]

    def _describe(self, trait: str) -> dict[str, float | int | str]:
        records, model = self.records.filter(pl.col("trait") == trait), self.model(trait)
        n_lines = records["line_id"].n_unique()
        found: dict[str, float | int | str] = {
            "status": "fitted" if model is not None else "too few lines or constant", "n_train": n_lines,
            "n_records": records.height, "n_environments": records["environment"].n_unique()}
        if model is None:
            return found | {"genetic_sd": 0.0, "heritability_line_mean": 0.0}
        c, own = self.components[trait], float(np.diagonal(self.relationship()).mean())
        line = c["line"] * own + c.get("line_residual", 0.0)
        response = sum(c.get(name, 0.0) for name in ("line_by_environment", "line_by_covariates")) * own
        spread = (response + c.get("cell", 0.0) + c["error"]) * n_lines / records.height
        found |= {f"{name}_variance": variance for name, variance in c.items()}
        return found | {"genetic_sd": float(np.sqrt(c["line"] * own)),
                        "heritability_line_mean": line / (line + spread), "log_likelihood": model.fit.log_likelihood,
                        "notices": "; ".join(str(notice) for notice in model.notices)}

    def covariates(self) -> EnvironmentCovariates | None:
        """Covariates of the training environments; None = environments are unrelated."""
        if "environments" not in self.memory:
            self.memory["environments"] = None if self.features is None else EnvironmentCovariates.of(self.features)
        return self.memory["environments"]

    def relationship(self) -> np.ndarray:
        """K of the panel's lines, (P, P)."""
        if "relationship" not in self.memory:
            self.memory["relationship"] = vanraden(self.panel, self.frequencies_M).matrix_NN
        return self.memory["relationship"]

    def save(self, folder: Path) -> None:
        """Write model.json, records, features and the panel: equal parameters, equal bytes; run.json is of the run."""
        folder.mkdir(parents=True, exist_ok=True)
        said = {"class": self.class_path, "format_version": 1, "recipe": self.recipe,
                "code_version": self.code_version, "settings": self.settings, "season": self.season,
                "marker_digest": self.panel.marker_digest, "traits": self.traits, "components": self.components,
                "scale": self.scale, "summary": self.summary()}
        (folder / PARAMETERS).write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")
        markers.save_array(self.frequencies_M, folder / "frequencies_M.npy")
        LINE_MEANS.write(self.records, folder / TRAINING)
        if self.features is not None:
            ENVIRONMENT_FEATURES.write(self.features, folder / FEATURES)
        self.panel.save(folder / PANEL)
        (folder / RUN).write_text(json.dumps(circumstances(), sort_keys=True, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; models are solved again, at the components found, when they are asked."""
        said, features = json.loads((folder / PARAMETERS).read_text()), folder / FEATURES
        return cls(said["code_version"], said["settings"], said["season"], GenotypeTable.open(folder / PANEL),
                   np.load(folder / "frequencies_M.npy", allow_pickle=False), said["scale"],
                   LINE_MEANS.read(folder / TRAINING),
                   ENVIRONMENT_FEATURES.read(features) if features.is_file() else None, tuple(said["traits"]),
                   said["components"], {"summary": said["summary"]})
