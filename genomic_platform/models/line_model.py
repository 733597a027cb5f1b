"""What the recipes on a line covariance (`genomic_blup`, `kernel`) share once fitted: values, saving, loading.

A recipe says how the covariance follows from the genomic relationship, what its breeding value is and what its
marker effects are. Axes: P lines of the training panel, Q lines to predict, M markers, T traits.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import polars as pl

from genomic_platform.genotypes.kinship.relationship import cross_relationship, vanraden
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models import markers
from genomic_platform.models.blup import KnownErrors, MixedSolution, VarianceComponents, line_values
from genomic_platform.models.circumstances import circumstances
from genomic_platform.models.line_covariance import LineCovariance, Lines
from genomic_platform.models.pedigree_lines import PedigreeLines
from genomic_platform.models.trait_fit import TraitData, TraitFit, loadings_array
from genomic_platform.schemas.predictions import VALUES

VALUE_COLUMNS = ("breeding_value", "breeding_value_reliability", "genotypic_value", "genotypic_value_reliability")
PARAMETERS, ARRAYS, TRAINING, PANEL, RUN = "model.json", "arrays", "training.parquet", "panel", "run.json"
JOINED = "pedigree_lines"


@dataclass(frozen=True, eq=False)
class FittedLineModel(markers.OfMarkerEffects[GenotypeTable]):
    """A trained model on a line covariance.

    Attributes
    ----------
    panel : all lines known at the training season; predictions of these are stored in `panel_values_4PT`.
    frequencies_M, scale : ALT frequencies and 2Σp(1−p) that the relationship is centred on and divided by.
    effects_MT : effect of one more ALT allele on the breeding value, trait's unit.
    panel_values_4PT : the four value columns (`VALUE_COLUMNS`) of the panel's lines.
    joined : training lines without genotypes; rows of the fits count on through them after the panel's.
    """

    recipe: str
    code_version: str
    settings: dict[str, str]
    season: str
    panel: GenotypeTable
    frequencies_M: np.ndarray
    scale: float
    fits: tuple[TraitFit, ...]
    effects_MT: np.ndarray
    panel_values_4PT: np.ndarray
    summaries: dict[str, dict[str, float | int | str]]
    joined: PedigreeLines
    _memory: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    class_path: ClassVar[str]
    covariance: ClassVar[LineCovariance]

    @property
    def traits(self) -> tuple[str, ...]:
        return tuple(fit.trait for fit in self.fits)

    @property
    def n_markers(self) -> int:
        return self.panel.n_variants

    def predict(self, genotypes: GenotypeTable, environments: pl.DataFrame | None = None) -> pl.DataFrame:
        """Values for every line of `genotypes` and every trait (contract VALUES).

        A line whose id and genotypes are a training line's gets that line's residual, any other none. Markers are
        matched by id and alleles. Raises InputError naming every mismatch.
        """
        aligned = markers.match_markers(genotypes, self.panel)
        if same_lines(aligned, self.panel):
            return self.values_table(aligned.lines, self.panel_values_4PT)
        if (rows_Q := same_rows(aligned, self.panel)) is not None:
            return self.values_table(aligned.lines, self.panel_values_4PT[:, rows_Q])
        cross_QP = cross_relationship(aligned, self.panel, self.frequencies_M, self.scale)
        lines = Lines(cross_QP, markers.own_relationship(aligned, self.frequencies_M, self.scale))
        panel_Q = panel_rows(aligned, cross_QP, self.panel, self._relationship())
        values_4QT = np.zeros((4, len(lines.own_Q), len(self.fits)))
        for t, fit in enumerate(self.fits):
            values_4QT[:, :, t] = self._values(fit, lines, panel_Q)
        return self.values_table(genotypes.lines, values_4QT)

    def _values(self, fit: TraitFit, lines: Lines, panel_Q: np.ndarray) -> np.ndarray:
        """The four value columns (4, Q) of other lines, by one Cholesky factor."""
        relationship_EE, scale = self._relationship_EE(), self.scale
        solution = None
        if fit.data.status == "fitted":
            solution = fit.solve(self.covariance.panel(relationship_EE, scale, fit))
        breeding = self.joined.on_panel(self.covariance.marker_weights(relationship_EE, scale, fit))
        all_lines = Lines(self.joined.cross(lines.cross_QP), lines.own_Q)
        own = self.covariance.cross(all_lines, relationship_EE, scale, fit)
        return value_columns(fit, solution, own, panel_Q, breeding.share,
                             breeding.breeding_values(lines.cross_QP, own.cross_QP, scale, fit))

    def summary(self) -> dict[str, dict[str, float | int | str]]:
        """Per trait: status, lines trained on, components, heritability of the line mean, mean reliability."""
        return self.summaries

    def values_table(self, lines: tuple[str, ...], values_4QT: np.ndarray) -> pl.DataFrame:
        """The four value columns of Q lines as a table (contract VALUES)."""
        parts = []
        for t, fit in enumerate(self.fits):
            trained = {self._lines[row] for row in fit.data.rows_N}
            parts.append(pl.DataFrame({
                "line_id": lines, "trait": [fit.trait] * len(lines),
                **{name: values_4QT[k, :, t] for k, name in enumerate(VALUE_COLUMNS)},
                "phenotyped": [line in trained for line in lines],
            }).with_columns(environment=pl.lit(None, dtype=pl.String)))
        return VALUES.conform(pl.concat(parts) if parts else VALUES.empty())

    @property
    def _lines(self) -> tuple[str, ...]:
        return (*self.panel.lines, *self.joined.lines)

    def _relationship_EE(self) -> np.ndarray:
        if "joined" not in self._memory:
            self._memory["joined"] = self.joined.covariance(self._relationship())
        return self._memory["joined"]

    def _relationship(self) -> np.ndarray:
        if "relationship" not in self._memory:
            self._memory["relationship"] = vanraden(self.panel, self.frequencies_M).matrix_NN
        return self._memory["relationship"]

    def save(self, folder: Path) -> None:
        """Write model.json, arrays, training lines and the panel: equal parameters, equal bytes.

        run.json (processor, threads, versions) records the run: a digest of the parameters leaves it out.
        """
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PARAMETERS).write_text(json.dumps(self._description(), indent=1, sort_keys=True) + "\n")
        (folder / ARRAYS).mkdir(exist_ok=True)
        for name in ("frequencies_M", "effects_MT", "panel_values_4PT"):
            markers.save_array(getattr(self, name), folder / ARRAYS / f"{name}.npy")
        self._training_table().write_parquet(folder / TRAINING)
        self.panel.save(folder / PANEL)
        self.joined.save(folder / JOINED)
        (folder / RUN).write_text(json.dumps(circumstances(), sort_keys=True, indent=1) + "\n")

    def _description(self) -> dict[str, object]:
        return {
            "class": self.class_path, "format_version": 1, "recipe": self.recipe, "code_version": self.code_version,
            "settings": self.settings, "season": self.season, "marker_digest": self.panel.marker_digest,
            "n_lines": self.panel.n_lines, "n_markers": self.n_markers, "summary": self.summaries, "scale": self.scale,
            "centring": "dosage minus twice the panel's ALT frequency, missing calls at twice the frequency",
            "traits": [{"trait": f.trait, "status": f.data.status, "components": asdict(f.components),
                        "intercept": f.intercept, "log_likelihood": f.log_likelihood, "bandwidth": f.bandwidth}
                       | ({"layers": f.layers} if f.layers else {})
                       | ({"bandwidths": f.bandwidths} if f.bandwidths else {})
                       for f in self.fits],
        }

    def _training_table(self) -> pl.DataFrame:
        schema = {"trait": pl.String, "row": pl.Int64, "line_id": pl.String, "mean": pl.Float64,
                  "own_error_variance": pl.Float64, "error_loadings": pl.List(pl.Float64), "dual": pl.Float64}
        parts = [pl.DataFrame({
            "trait": [f.trait] * len(f.data.rows_N), "row": f.data.rows_N,
            "line_id": [self._lines[row] for row in f.data.rows_N], "mean": f.data.y_N,
            "own_error_variance": None if f.data.errors is None else f.data.errors.own_N,
            "error_loadings": pl.Series([None] * len(f.data.rows_N) if f.data.errors is None
                                        else f.data.errors.loadings_NB.tolist(), dtype=pl.List(pl.Float64)),
            "dual": f.dual_N,
        }, schema=schema) for f in self.fits]
        return pl.concat([pl.DataFrame(schema=schema), *parts])

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        said = json.loads((folder / PARAMETERS).read_text())
        arrays = {path.stem: np.load(path, allow_pickle=False) for path in sorted((folder / ARRAYS).glob("*.npy"))}
        training = pl.read_parquet(folder / TRAINING)
        fits = tuple(_read_fit(f, training.filter(pl.col("trait") == f["trait"])) for f in said["traits"])
        panel = GenotypeTable.open(folder / PANEL)
        return cls(recipe=said["recipe"], code_version=said["code_version"], settings=said["settings"],
                   season=said["season"], panel=panel, scale=said["scale"], fits=fits, summaries=said["summary"],
                   joined=PedigreeLines.load(folder / JOINED, panel.n_lines), **arrays)


def _read_fit(said: dict, rows: pl.DataFrame) -> TraitFit:
    errors = None
    if rows.height and not rows["own_error_variance"].null_count():
        errors = KnownErrors(rows["own_error_variance"].to_numpy(), loadings_array(rows["error_loadings"]))
    data = TraitData(said["trait"], rows["row"].to_numpy(), rows["mean"].to_numpy(), errors, said["status"])
    return TraitFit(data, VarianceComponents(**said["components"]), said["intercept"], rows["dual"].to_numpy(),
                    said["log_likelihood"], said["bandwidth"], said.get("layers", 0),
                    tuple((theta, weight) for theta, weight in said.get("bandwidths", ())))


def value_columns(fit: TraitFit, solution: MixedSolution | None, own: Lines, panel_Q: np.ndarray, share: float,
                  breeding_value_Q: np.ndarray) -> np.ndarray:
    """The four value columns of Q lines for one trait, shape (4, Q); zeros where nothing could be fitted.

    Parameters
    ----------
    own : covariance K of the Q lines with the panel's. panel_Q : each line's row in the panel, −1 for no line of it.
    share : squared correlation of the breeding value with g, see `MarkerWeights`.
    """
    c = fit.components
    if solution is None or c.genetic <= 0 >= c.line_residual:
        return np.zeros((4, len(panel_Q)))
    place_P = np.full(own.cross_QP.shape[1], -1, dtype=np.int64)
    place_P[fit.data.rows_N] = np.arange(len(fit.data.rows_N))
    training_Q = np.where(panel_Q >= 0, place_P[panel_Q], -1)
    values = line_values(solution, own.cross_QP[:, fit.data.rows_N], own.own_Q, training_Q)
    return np.stack([breeding_value_Q, values.value_reliability_Q * share, values.total_Q, values.total_reliability_Q])


def describe(fit: TraitFit, own_E: np.ndarray, panel: GenotypeTable,
             values_4P: np.ndarray) -> dict[str, float | int | str]:
    """What `summary` says of a trait; `own_E` holds K_ii of the panel's lines, then of those the pedigree joins.

    `n_train` counts genotyped lines. Heritability = V_g / (V_g + σ²r + σ²e), V_g = σ²g × mean K_ii of the training
    lines.
    """
    c, rows_N = fit.components, fit.data.rows_N
    rows_P = rows_N[rows_N < panel.n_lines]
    genetic = c.genetic * float(own_E[rows_N].mean()) if fit.fitted else 0.0
    total = genetic + c.line_residual + c.error
    status = "no genetic variance found" if fit.data.status == "fitted" and not fit.fitted else fit.data.status
    found: dict[str, float | int | str] = {
        "status": status, "n_train": len(rows_P), "n_lines": panel.n_lines, "n_markers": panel.n_variants,
        "genetic_variance": c.genetic, "line_residual_variance": c.line_residual, "error_variance": c.error,
        "errors": "known from stage one" if c.errors_known else "equal, estimated",
        "genetic_sd": float(np.sqrt(genetic)), "heritability_line_mean": genetic / total if total > 0 else 0.0,
        "log_likelihood": fit.log_likelihood, "intercept": fit.intercept,
        "mean_reliability": float(values_4P[1, rows_P].mean()) if len(rows_P) else 0.0,
    }
    if len(rows_P) < len(rows_N):
        found["n_train_by_pedigree"] = len(rows_N) - len(rows_P)
    return found | {name: value for name, value in (("bandwidth", fit.bandwidth), ("layers", fit.layers)) if value}


def same_lines(aligned: GenotypeTable, panel: GenotypeTable) -> bool:
    """Whether a table aligned to the panel's markers is the panel."""
    return aligned is panel or (aligned.lines == panel.lines and np.array_equal(aligned.packed_MB, panel.packed_MB))


def same_rows(aligned: GenotypeTable, panel: GenotypeTable) -> np.ndarray | None:
    """The panel's rows of a table's lines, where all of them are there with the same genotypes; else None."""
    if not aligned.lines or not set(aligned.lines) <= set(panel.lines):
        return None
    same = np.array_equal(panel.select(None, aligned.lines).packed_MB, aligned.packed_MB)
    return panel.line_rows(aligned.lines) if same else None


def panel_rows(aligned: GenotypeTable, cross_QP: np.ndarray, panel: GenotypeTable,
               relationship_PP: np.ndarray) -> np.ndarray:
    """Each line's row in the panel; −1 where the id is new or the genotypes of that id are others now."""
    row_of = {line: i for i, line in enumerate(panel.lines)}
    panel_Q = np.array([row_of.get(line, -1) for line in aligned.lines], dtype=np.int64)
    same_Q = np.isclose(cross_QP, relationship_PP[panel_Q], rtol=0.0, atol=1e-5).all(axis=1)
    return np.where(same_Q, panel_Q, -1)
