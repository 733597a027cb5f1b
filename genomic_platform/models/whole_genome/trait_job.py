"""One trait's way to its components and solutions, a product with K at a time, so that all traits share the products.

Steps of stochastic REML, each a block solution that begins at the last one, then the solutions at the estimates:
P y, and P y* for as many draws as are wanted. y* = Zb* + e* is simulated from the model, and b* − E(b | y*) is a draw
of b less its posterior mean (perturb and solve).
Axes: P panel lines, N training lines, S draws, C = 1 + S columns, L = 2 + S right-hand sides, B loadings.
References: García-Cortés & Sorensen 1996, Genet. Sel. Evol. 28:121-126; Papandreou & Yuille 2010, Adv. Neural Inf.
Process. Syst. 23.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from genomic_platform.models.trait_fit import TraitData
from genomic_platform.models.whole_genome.block_solver import BlockSolver, LineSystem
from genomic_platform.models.whole_genome.components import LEAST_GAIN, next_components

#: Relative residuals at which the first step of REML ends, and the others: quadratic forms are then off by less than
#: what is to come, and than simulation makes them.
FIRST_TOLERANCE, STEP_TOLERANCE = 1e-2, 1e-3
#: Of the draws' solutions, whose own variance says more: √(2 / 128) of a prediction error variance.
DRAW_TOLERANCE = 5e-3
MOST_STEPS = 15
#: Passes of one block solution before it is given up on, which the summary then says.
MOST_PASSES = 500
#: REML simulates this many records of all lines together, and at least `FEWEST` data sets: quadratic forms of more
#: lines vary less.
_RECORDS = 500_000
FEWEST = 32


@dataclass(frozen=True)
class Solved:
    """A trait solved at its components.

    Attributes
    ----------
    theta : σ²g, σ²x. system : V at them. means_C : μ̂ of y and of each y*.
    dual_NC, image_NC : P y and P y*, and K times them. genetic_NS : Zb* / √scale, b* of variance 1.
    passes, steps : products with K, and steps of REML that were taken. residual : relative one left of the data.
    gain : log likelihood that the last step promised.
    """

    theta: np.ndarray
    system: LineSystem
    means_C: np.ndarray
    dual_NC: np.ndarray
    image_NC: np.ndarray
    genetic_NS: np.ndarray
    passes: int
    steps: int
    residual: float
    gain: float


class TraitJob:
    """A trait being fitted.

    Parameters
    ----------
    theta : where REML begins, (σ²g, σ²x). exact : these are the estimates.
    genetic_PS : Zb* / √scale of the panel's lines, shared by all traits.
    draws : y* wanted at the estimates, at most S. tolerance : relative residual of the data's solution.
    """

    def __init__(self, data: TraitData, theta: np.ndarray, exact: bool, genetic_PS: np.ndarray, draws: int,
                 tolerance: float, seed: int) -> None:
        self.data, self.theta, self.draws, self.tolerance = data, theta, draws, tolerance
        self._variance, self._centre = float(data.y_N.var()), float(data.y_N.mean())
        n, simulated = len(data.y_N), genetic_PS.shape[1]
        rng = np.random.default_rng([seed, zlib.crc32(data.trait.encode())])
        self._genetic_NS = genetic_PS[data.rows_N]
        self._own_NS = rng.standard_normal((n, simulated), dtype=np.float32)
        self._loadings_NB = np.zeros((n, 0)) if data.errors is None else data.errors.loadings_NB
        self._shared_BS = rng.standard_normal((self._loadings_NB.shape[1], simulated))
        self._final, self._passes, self._of_this, self._steps, self._gain = exact, 0, 0, 0, 0.0
        self._solver = self._begin(None)

    @property
    def simulated(self) -> int:
        """Data sets simulated now."""
        most = self._genetic_NS.shape[1]
        return self.draws if self._final else min(most, max(FEWEST, _RECORDS // len(self.data.y_N)))

    @property
    def done(self) -> bool:
        return self._final and self._settled()

    def directions(self) -> np.ndarray:
        """What K is to be multiplied by next, (N, K)."""
        return self._solver.directions()

    def take(self, image_NK: np.ndarray) -> None:
        """Go on with K times `directions`."""
        self._solver.advance(image_NK)
        self._passes, self._of_this = self._passes + 1, self._of_this + 1
        while not self._final and self._settled():
            self._step()

    def _settled(self) -> bool:
        """Whether this block is solved well enough, or given up on."""
        step = STEP_TOLERANCE if self._steps else FIRST_TOLERANCE
        wanted = (self.tolerance, max(self.tolerance, DRAW_TOLERANCE)) if self._final else (step, step)
        left_L = self._solver.relative_L
        return self._of_this >= MOST_PASSES or (left_L[:2].max() <= wanted[0]
                                                and left_L[2:].max(initial=0.0) <= wanted[1])

    def _step(self) -> None:
        dual_NC, image_NC, _ = self._projected()
        found = next_components(self.theta, dual_NC, image_NC, self._variance, self.data.errors is not None)
        self.theta, self._gain, self._steps = found.theta, found.gain, self._steps + 1
        self._final = (found.gain < LEAST_GAIN and self._steps > 1) or self._steps >= MOST_STEPS
        self._solver = self._begin(self._solver)

    def _system(self) -> LineSystem:
        known_N = np.zeros(len(self.data.y_N)) if self.data.errors is None else self.data.errors.own_N
        return LineSystem(float(self.theta[0]), np.sqrt(known_N + self.theta[1]), self._loadings_NB)

    def _begin(self, last: BlockSolver | None) -> BlockSolver:
        """The solver at the components as they are, from the last one's solutions."""
        self._of_this, system, s = 0, self._system(), self.simulated
        simulated_NS = (np.sqrt(self.theta[0]) * self._genetic_NS[:, :s] + system.root_N[:, None] * self._own_NS[:, :s]
                        + self._loadings_NB @ self._shared_BS[:, :s])
        right_NL = np.column_stack([self.data.y_N - self._centre, np.ones(len(self.data.y_N)), simulated_NS])
        if last is None:
            return BlockSolver(system, right_NL)
        kept = min(last.x_NL.shape[1], right_NL.shape[1])
        begin_NL, image_NL = np.zeros_like(right_NL), np.zeros_like(right_NL)
        begin_NL[:, :kept], image_NL[:, :kept] = last.x_NL[:, :kept], last.image_NL[:, :kept]
        return BlockSolver(system, right_NL, begin_NL, image_NL)

    def _projected(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """P y and P y* (N, C), K times them, and the generalised least squares mean of each."""
        x_NL, image_NL = self._solver.x_NL, self._solver.image_NL
        columns = np.r_[0, 2:x_NL.shape[1]]
        means_C = x_NL[:, columns].sum(axis=0) / x_NL[:, 1].sum()
        dual_NC, dual_image_NC = (a_NL[:, columns] - np.outer(a_NL[:, 1], means_C) for a_NL in (x_NL, image_NL))
        return dual_NC, dual_image_NC, means_C

    def solved(self) -> Solved:
        """The solutions, once `done`."""
        dual_NC, image_NC, means_C = self._projected()
        means_C[0] += self._centre
        return Solved(self.theta, self._system(), means_C, dual_NC, image_NC, self._genetic_NS[:, :self.draws],
                      self._passes, self._steps, float(self._solver.relative_L[:2].max()), self._gain)

    def state(self) -> dict[str, Any]:
        """All that the next pass depends on, beside the data, the settings and the seed."""
        return {"theta": self.theta, "counts": [self._passes, self._of_this, self._steps, int(self._final)],
                "gain": self._gain, "solver": self._solver.state()}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self.theta, self._gain = state["theta"], state["gain"]
        self._passes, self._of_this, self._steps, final = state["counts"]
        self._final = bool(final)
        self._solver = BlockSolver.resumed(self._system(), state["solver"])
