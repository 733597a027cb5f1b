"""What recipes on marker effects share once fitted: values of any line as sums over markers, saving, loading.

No genotypes are kept: effects, draws from their posterior for reliabilities, and the values of the training panel's
lines. How effects are found belongs to the recipes, what goes into a model to `marker_fit`.
Axes: P lines of the training panel, Q lines to predict, M markers, T traits, S draws.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import polars as pl

from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models import markers
from genomic_platform.models.blup import VarianceComponents
from genomic_platform.models.circumstances import circumstances
from genomic_platform.models.line_model import ARRAYS, PARAMETERS, RUN, VALUE_COLUMNS
from genomic_platform.schemas.predictions import VALUES

LINES, MARKERS = "lines.parquet", "markers.parquet"
#: Lines whose dosages are decoded at a time.
_LINES_AT_ONCE = 1_024
#: A panel's line is recognised by its id and its breeding value, equal up to the order of a sum.
_SAME = 1e-8


@dataclass(frozen=True)
class MarkerFit:
    """A trait's estimates beside its effects.

    Attributes
    ----------
    status : fitted | constant | too few lines. components : σ²g is 2Σp(1−p) × the mean square of an effect, the scale
        of VanRaden's relationship; all 0 where nothing could be fitted.
    intercept : estimated mean on the scale of the training means. log_likelihood : as the recipe says.
    """

    trait: str
    status: str
    components: VarianceComponents
    intercept: float
    log_likelihood: float = 0.0


@dataclass(frozen=True, eq=False)
class FittedMarkerModel(markers.OfMarkerEffects[markers.PanelMarkers]):
    """A trained model that is linear in the markers.

    Attributes
    ----------
    panel : the markers trained on. lines : of the training panel.
    frequencies_M, scale : ALT frequencies that dosages are centred on, and 2Σp(1−p).
    effects_MT : effect of one more ALT allele, trait's unit.
    draws_TSM : float16 draws from the effects' posterior, less their mean, in units of the root of their mean square
        (√(σ²g / scale)); S may be 0, and reliabilities of lines outside the panel are 0 then.
    trained_PT : the line has a record of the trait. panel_values_4PT : the four value columns of the panel's lines.
    """

    recipe: str
    code_version: str
    settings: dict[str, str]
    season: str
    panel: markers.PanelMarkers
    lines: tuple[str, ...]
    frequencies_M: np.ndarray
    scale: float
    fits: tuple[MarkerFit, ...]
    effects_MT: np.ndarray
    draws_TSM: np.ndarray
    trained_PT: np.ndarray
    panel_values_4PT: np.ndarray
    summaries: dict[str, dict[str, float | int | str]]

    class_path: ClassVar[str] = "genomic_platform.models.marker_model:FittedMarkerModel"

    @property
    def traits(self) -> tuple[str, ...]:
        return tuple(fit.trait for fit in self.fits)

    @property
    def n_markers(self) -> int:
        return self.panel.n_variants

    def predict(self, genotypes: GenotypeTable, environments: pl.DataFrame | None = None) -> pl.DataFrame:
        """Values for every line of `genotypes` and every trait (contract VALUES).

        Breeding value: Σ (dosage − 2p) × effect. A line whose id and genotypes are those of the training panel has the
        values of the training, its line residual with them; any other line has no residual. Reliability of others:
        1 − PEV / (σ²g K_ii) with PEV the variance of Σ (dosage − 2p) × effect over the draws; of the genotypic value
        with σ²r on both sides. Markers are matched by id and alleles. Raises InputError naming every mismatch.
        """
        aligned = markers.match_markers(genotypes, self.panel)
        row_of = {line: row for row, line in enumerate(self.lines)}
        panel_Q = np.array([row_of.get(line, -1) for line in aligned.lines], dtype=np.int64)
        values_4QT = np.empty((len(VALUE_COLUMNS), aligned.n_lines, len(self.fits)))
        for start in range(0, aligned.n_lines, _LINES_AT_ONCE):
            part = slice(start, start + _LINES_AT_ONCE)
            values_4QT[:, part] = self._values(aligned.dosages(lines=aligned.lines[part]))
        self._recognise(values_4QT, panel_Q)
        return self._values_table(genotypes.lines, values_4QT, panel_Q)

    def _values(self, dosage_QM: np.ndarray) -> np.ndarray:
        """The four value columns (4, Q, T) of lines outside the panel."""
        centred_QM = markers.centred(dosage_QM, self.frequencies_M)
        values_4QT = np.zeros((len(VALUE_COLUMNS), len(dosage_QM), len(self.fits)))
        values_4QT[0] = values_4QT[2] = centred_QM @ self.effects_MT
        own_Q, single_QM = (centred_QM**2).sum(axis=1), centred_QM.astype(np.float32)
        for t, fit in enumerate(self.fits):
            draws_SM = self.draws_TSM[t].astype(np.float32)
            if fit.components.genetic > 0 and len(draws_SM) > 1:
                error_Q = ((single_QM @ draws_SM.T) ** 2).sum(axis=1, dtype=np.float64) / (len(draws_SM) - 1)
                values_4QT[1::2, :, t] = reliabilities(fit.components, own_Q / self.scale,
                                                       fit.components.genetic / self.scale * error_Q)
        return values_4QT

    def _recognise(self, values_4QT: np.ndarray, panel_Q: np.ndarray) -> None:
        """Lines of the panel whose genotypes are still the same take the values of the training."""
        known_4QT = self.panel_values_4PT[:, panel_Q]
        tolerance_T = _SAME * np.sqrt([max(fit.components.genetic, 1e-300) for fit in self.fits])
        same_Q = (np.abs(values_4QT[0] - known_4QT[0]) <= tolerance_T).all(axis=1) & (panel_Q >= 0)
        values_4QT[:, same_Q] = known_4QT[:, same_Q]

    def summary(self) -> dict[str, dict[str, float | int | str]]:
        """Per trait: status, lines trained on, components, heritability of the line mean, and what the recipe adds."""
        return self.summaries

    def _values_table(self, lines: tuple[str, ...], values_4QT: np.ndarray, panel_Q: np.ndarray) -> pl.DataFrame:
        parts = [pl.DataFrame({
            "line_id": lines, "trait": [fit.trait] * len(lines),
            **{name: values_4QT[k, :, t] for k, name in enumerate(VALUE_COLUMNS)},
            "phenotyped": (panel_Q >= 0) & self.trained_PT[panel_Q, t],
        }).with_columns(environment=pl.lit(None, dtype=pl.String)) for t, fit in enumerate(self.fits)]
        return VALUES.conform(pl.concat(parts) if parts else VALUES.empty())

    def save(self, folder: Path) -> None:
        """Write model.json, arrays, markers and lines: equal parameters, equal bytes.

        run.json (processor, threads, versions) records the run: a digest of the parameters leaves it out.
        """
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PARAMETERS).write_text(json.dumps(self._description(), indent=1, sort_keys=True) + "\n")
        (folder / ARRAYS).mkdir(exist_ok=True)
        for name in ("frequencies_M", "effects_MT", "draws_TSM", "trained_PT", "panel_values_4PT"):
            markers.save_array(getattr(self, name), folder / ARRAYS / f"{name}.npy")
        self.panel.variants.write_parquet(folder / MARKERS)
        pl.DataFrame({"line_id": self.lines}).write_parquet(folder / LINES)
        (folder / RUN).write_text(json.dumps(circumstances(), sort_keys=True, indent=1) + "\n")

    def _description(self) -> dict[str, object]:
        return {
            "class": self.class_path, "format_version": 1, "recipe": self.recipe, "code_version": self.code_version,
            "settings": self.settings, "season": self.season, "marker_digest": self.panel.marker_digest,
            "n_lines": len(self.lines), "n_markers": self.n_markers, "summary": self.summaries, "scale": self.scale,
            "centring": "dosage minus twice the panel's ALT frequency, missing calls at twice the frequency",
            "traits": [asdict(fit) for fit in self.fits],
        }

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        said = json.loads((folder / PARAMETERS).read_text())
        arrays = {path.stem: np.load(path, allow_pickle=False) for path in sorted((folder / ARRAYS).glob("*.npy"))}
        fits = tuple(MarkerFit(**(fit | {"components": VarianceComponents(**fit["components"])}))
                     for fit in said["traits"])
        return cls(recipe=said["recipe"], code_version=said["code_version"], settings=said["settings"],
                   season=said["season"], panel=markers.PanelMarkers(pl.read_parquet(folder / MARKERS)),
                   lines=tuple(pl.read_parquet(folder / LINES)["line_id"]), scale=said["scale"], fits=fits,
                   summaries=said["summary"], **arrays)


def reliabilities(components: VarianceComponents, own_Q: np.ndarray, error_Q: np.ndarray,
                  total_error_Q: np.ndarray | None = None) -> np.ndarray:
    """Reliabilities 1 − PEV / variance of breeding and genotypic values, shape (2, Q), 0–1.

    Parameters
    ----------
    own_Q : K_ii = Σ (dosage − 2p)² / 2Σp(1−p). error_Q : PEV of the breeding value.
    total_error_Q : PEV of the genotypic value; None = the line's residual is unknown, and σ²r is added.
    """
    variance_Q = components.genetic * own_Q
    if total_error_Q is None:
        total_error_Q = error_Q + components.line_residual
    of_2Q = np.stack([variance_Q, variance_Q + components.line_residual])
    explained_2Q = of_2Q - np.stack([error_Q, total_error_Q])
    return np.clip(np.divide(explained_2Q, of_2Q, out=np.zeros_like(of_2Q), where=of_2Q > 0), 0.0, 1.0)
