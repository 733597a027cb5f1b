"""The recipe `whole_genome_ridge`: GBLUP's equal model solved in marker effects, without a relationship matrix.

y = 1μ + Zb + r + e, b ~ N(0, σ²g / 2Σp(1−p)), Var(r) = σ²r I, Var(e) = σ²e I, or R known from stage one: the values are
those of `genomic_blup` (Strandén & Garrick 2009, J. Dairy Sci. 92:2971-2975). Components by stochastic REML
(`components`), from exact REML on some of the lines; b̂ = σ²g / 2Σp(1−p) Z'Py by conjugate gradients (`block_solver`);
reliabilities from draws of the posterior, which are solutions for simulated data (`trait_job`).
Memory: the packed calls, 8 bytes × lines × (draws + 2) some thirteen times over, the effects' draws, blocks of 64 MB.
Axes: P panel lines, N training lines, M markers, S draws, C = 1 + S columns.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl

from genomic_platform.errors import ProgramError
from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models import markers
from genomic_platform.models.blup import VarianceComponents
from genomic_platform.models.checkpoint import Checkpoint
from genomic_platform.models.marker_fit import TraitEffects, fitted_marker_model, marker_scale, values_alone
from genomic_platform.models.marker_model import FittedMarkerModel
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.models.threads import threads_for
from genomic_platform.models.trait_fit import TraitData, fit_traits, spread, trait_data
from genomic_platform.models.whole_genome.components import LEAST_GAIN
from genomic_platform.models.whole_genome.passes import relationship_product, run
from genomic_platform.models.whole_genome.trait_job import FEWEST, Solved, TraitJob

#: Where REML on some lines finds a component at 0, all lines begin at this share of the variance.
_LEAST_START = 0.02


@dataclass(frozen=True)
class WholeGenomeRidge:
    """Marker-effect ridge by passes over the packed calls.

    Attributes
    ----------
    draws : of the effects' posterior, for reliabilities; REML simulates at most as many data sets. At least 32.
    start_lines : lines, spread over the panel, on which exact REML begins; a trait with no more lines ends there.
    tolerance : relative residual |y − Vx| / |y| of the solutions in the scaled system, 1e-6 to 1e-2.
    checkpoint_seconds : between two checkpoints, where a folder for them is given.
    """

    draws: int = 128
    start_lines: int = 1_000
    tolerance: float = 1e-4
    checkpoint_seconds: float = 300.0

    name: ClassVar[str] = "whole_genome_ridge"
    code_version: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        if self.draws < FEWEST or self.start_lines < 5 or not 1e-6 <= self.tolerance <= 1e-2:
            raise ProgramError(f"{self.name}: {self.draws} draws, {self.start_lines} lines to start, tolerance "
                               f"{self.tolerance:g}; expected at least {FEWEST} draws and 5 lines, and a tolerance "
                               "from 1e-6 to 1e-2 (products are in float32)")

    def fit(self, training_set: TrainingSet, *, seed: int = 0, device: str = "cpu",
            checkpoint: Path | None = None) -> FittedMarkerModel:
        """Train on all traits: repeatable to the bit on one processor with one number of threads.

        A trait that is constant or has fewer than five genotyped lines, and any trait where no marker varies, gets
        values 0 with reliability 0, and the summary says so; likewise where REML finds no genetic variance, except the
        line residuals that stage-one errors identify.

        Parameters
        ----------
        seed : of the simulated data. device : `cpu`, or `cuda` for the products with all calls.
        checkpoint : folder from which a training that was killed goes on; of other data, settings or seed it is not
            used. Its owner removes it once the model is safe.

        Raises
        ------
        MissingExtra : a card is asked for and torch is not installed.
        NotAvailable : no such device here. OutOfDeviceMemory : the packed calls do not fit the card.
        """
        panel = training_set.genotypes
        frequencies_M = markers.panel_frequencies(panel)
        return fitted_marker_model(self.name, self.code_version, {k: str(v) for k, v in asdict(self).items()},
                                   training_set.season, panel, frequencies_M,
                                   self._effects(training_set, frequencies_M, self.draws, seed, device, checkpoint))

    def fit_values(self, training_set: TrainingSet, seed: int = 0) -> pl.DataFrame:
        """The same without draws, and of it the panel's values alone, for cross-validation: see `values_alone`."""
        frequencies_M = markers.panel_frequencies(training_set.genotypes)
        return values_alone(training_set.genotypes, frequencies_M,
                            self._effects(training_set, frequencies_M, 0, seed, "cpu", None))

    def _effects(self, training_set: TrainingSet, frequencies_M: np.ndarray, draws: int, seed: int, device: str,
                 checkpoint: Path | None) -> Iterator[TraitEffects]:
        """Every trait's effects, traits sorted; all are solved before the first is given."""
        panel = training_set.genotypes
        data = trait_data(training_set.means, panel.lines)
        fitted = [d for d in data if d.status == "fitted" and marker_scale(frequencies_M) > 0]
        exact = [len(d.rows_N) <= self.start_lines for d in fitted]
        simulated = draws if all(exact) else self.draws
        effect_MS = np.random.default_rng(seed).standard_normal((panel.n_variants, simulated), dtype=np.float32)
        solved = {}
        if fitted:
            with threads_for(panel.n_lines), Checkpoint(checkpoint, self.checkpoint_seconds) as place:
                solved = self._solved(panel, frequencies_M, fitted, exact, effect_MS, draws, seed, device, place)
        for d in data:
            yield self._trait_effects(d, solved.pop(d.trait), panel, frequencies_M, effect_MS[:, :draws]) \
                if d.trait in solved else TraitEffects.none(d, panel.n_variants)

    def _solved(self, panel: GenotypeTable, frequencies_M: np.ndarray, data: Sequence[TraitData],
                exact: Sequence[bool], effect_MS: np.ndarray, draws: int, seed: int, device: str,
                place: Checkpoint) -> dict[str, Solved]:
        scale = marker_scale(frequencies_M)
        product = relationship_product(panel, frequencies_M, scale, device)
        genetic_PS = markers.line_sums(panel, frequencies_M, effect_MS) / np.float32(np.sqrt(scale))
        starts = start(panel, frequencies_M, data, self.start_lines)
        jobs = [TraitJob(d, theta, done, genetic_PS, draws, self.tolerance, seed)
                for d, theta, done in zip(data, starts, exact, strict=True)]
        run(jobs, product, panel.n_lines, place, self._key(panel, data, draws, seed))
        return {job.data.trait: job.solved() for job in jobs}

    def _key(self, panel: GenotypeTable, data: Sequence[TraitData], draws: int, seed: int) -> str:
        """Digest of what a training depends on."""
        said = [asdict(self), draws, seed, panel.marker_digest, panel.n_lines]
        digest = hashlib.sha256(json.dumps(said).encode())
        for d in data:
            errors = [] if d.errors is None else [d.errors.own_N, d.errors.loadings_NB]
            for part in (d.trait.encode(), d.rows_N, d.y_N, *errors):
                digest.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes())
        digest.update(panel.variants["alt_frequency"].to_numpy().tobytes())
        return digest.hexdigest()

    def _trait_effects(self, data: TraitData, solved: Solved, panel: GenotypeTable, frequencies_M: np.ndarray,
                       effect_MS: np.ndarray) -> TraitEffects:
        """Effects b̂ = σ²g / scale Z'Py and draws b̂ + b* − b̂*, in one pass."""
        genetic, other = (float(c) for c in solved.theta)
        weights_PC = np.zeros((panel.n_lines, solved.dual_NC.shape[1]), np.float32)
        weights_PC[data.rows_N] = solved.dual_NC
        per_allele = genetic / marker_scale(frequencies_M)
        sums_MC = markers.marker_sums(panel, frequencies_M, weights_PC)
        mean_M = per_allele * sums_MC[:, 0].astype(np.float64)
        draws_SM = np.float32(np.sqrt(per_allele)) * effect_MS.T - np.float32(per_allele) * sums_MC[:, 1:].T
        draws_SM += mean_M.astype(np.float32)
        components = VarianceComponents(genetic, 0.0, other)
        line_SN, line_variance_N = np.zeros((0, 0), np.float32), np.zeros(0)
        if data.errors is not None:
            components = VarianceComponents(genetic, other, float(data.errors.diagonal_N.mean()), errors_known=True)
            line_SN, line_variance_N = line_residuals(solved)
        return TraitEffects(data, components, float(solved.means_C[0]), mean_M, draws_SM, line_SN, line_variance_N,
                            said=self._said(solved))

    def _said(self, solved: Solved) -> dict[str, float | int | str]:
        state = f"solved to {self.tolerance:g}"
        if solved.residual > self.tolerance:
            state = f"stopped at a residual of {solved.residual:.1e} (expected {self.tolerance:g}): values are rough"
        elif solved.gain >= LEAST_GAIN:
            state = f"REML stopped after {solved.steps} steps while the last gained {solved.gain:.2g}"
        return {"convergence": state, "passes": solved.passes, "reml_steps": solved.steps, "draws": self.draws,
                "log_likelihood": "not computed"}


def start(panel: GenotypeTable, frequencies_M: np.ndarray, data: Sequence[TraitData], most: int) -> list[np.ndarray]:
    """(σ²g, σ²x) of each trait by exact REML on at most `most` of its lines, by one relationship for equal lines."""
    found: dict[str, np.ndarray] = {}
    groups: dict[bytes, list[TraitData]] = {}
    for d in data:
        groups.setdefault(d.rows_N.tobytes(), []).append(d)
    for group in groups.values():
        rows_N = group[0].rows_N
        at = spread(len(rows_N), most)
        k_NN = vanraden(panel.select(lines=[panel.lines[row] for row in rows_N[at]]), frequencies_M).matrix_NN
        part = [TraitData(d.trait, np.arange(len(at)), d.y_N[at], None if d.errors is None else d.errors.of(at),
                          d.status) for d in group]
        with threads_for(len(at)):
            for solved in fit_traits(k_NN, part):
                c = solved.fit.components
                theta = np.array([c.genetic, c.line_residual if c.errors_known else c.error])
                if len(at) < len(rows_N):
                    theta = np.maximum(theta, _LEAST_START * float(solved.fit.data.y_N.var()))
                found[solved.fit.trait] = theta
    return [found[d.trait] for d in data]


def line_residuals(solved: Solved) -> tuple[np.ndarray, np.ndarray]:
    """E(r | b, μ, y) of each draw, float32 (S, N), about r̂ = σ²r P y, and Var(r | b, μ, y), (N,).

    E(r | b, μ, y) = σ²r (Δ + UU')⁻¹ (y − 1μ − Zb), of which a draw differs from the mean by what it makes of μ and Zb.
    """
    genetic, other = solved.theta
    mean_N = other * solved.dual_NC[:, 0]
    off_NS = np.sqrt(genetic) * solved.genetic_NS - genetic * solved.image_NC[:, 1:] - solved.means_C[1:]
    line_SN = -other * solved.system.rest_inverse(off_NS).T
    if len(line_SN):
        line_SN -= line_SN.mean(axis=0)
    else:
        line_SN = np.zeros((1, len(mean_N)))
    variance_N = other - other**2 * solved.system.rest_inverse_diagonal()
    return (mean_N + line_SN).astype(np.float32), variance_N
