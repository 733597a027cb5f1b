"""How often the gate replaces a recipe that is no better, and how often a better one wins.

    python benchmarks/gate_simulation.py [--programmes 500] [--processes 2] [--confidence .95]

Simulated are predictions and harvests of a programme: r about .5, recipes that largely agree, families of twenty that
err together, gains that differ from season to season with a standard deviation of .014. Each decision is the package's
own (`models.gate.compare_moments`), on all forward seasons so far; a programme has ten seasons and four traits.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np

from genomic_platform.models.gate import GateRule, compare_moments

SEASONS, TRAITS, RECIPES, FAMILY = 10, 4, 6, 20
ABILITY, AGREEMENT, SEASON_SD, RESAMPLES = 0.5, 0.93, 0.01, 400


def season_moments(rng: np.random.Generator, n_lines: int, gains_K: np.ndarray) -> np.ndarray:
    """Sums per family (C, 1, K, 6) of one season's made-up predictions and harvest."""
    families = np.arange(n_lines) // FAMILY

    def errors(*shape: int) -> np.ndarray:
        by_family = rng.normal(size=(*shape, families.max() + 1))[..., families]
        return np.sqrt(0.3) * by_family + np.sqrt(0.7) * rng.normal(size=(*shape, n_lines))

    y_N, shared_N, own_KN = errors(), errors(), errors(len(gains_K))
    r_K1 = np.clip(ABILITY + gains_K + SEASON_SD * rng.normal(size=len(gains_K)), 0, 0.99)[:, None]
    noise_KN = AGREEMENT * shared_N + np.sqrt(1 - AGREEMENT**2) * own_KN
    x_KN = r_K1 * y_N + np.sqrt(1 - r_K1**2) * noise_KN
    y_KN = np.broadcast_to(y_N, x_KN.shape)
    parts = np.stack([np.ones_like(x_KN), x_KN, y_KN, x_KN**2, y_KN**2, x_KN * y_KN], axis=-1)
    found = np.zeros((families.max() + 1, 1, len(gains_K), 6))
    np.add.at(found[:, 0], families, parts.transpose(1, 0, 2))
    return found


def one_trait(seed: int, n_lines: int, gain: float, confidence: float) -> tuple[list[int], list[float], list[int]]:
    """Champion after each decision (recipe 1 is truly better by `gain`), standard errors of recipe 1, replacements."""
    rng, gains_K = np.random.default_rng(seed), np.zeros(RECIPES)
    gains_K[1] = gain
    seasons: list[np.ndarray] = []
    champion, champions, errors, replaced = 0, [], [], []
    for season in range(SEASONS):
        seasons.append(season_moments(rng, n_lines, gains_K))
        order = [champion, *(k for k in range(RECIPES) if k != champion)]
        found = compare_moments(np.concatenate(seasons, axis=1)[:, :, order], [str(s) for s in range(season + 1)],
                                GateRule(confidence=confidence), rng, RESAMPLES)
        errors.append(float(found.errors_K[0]))
        winners = np.flatnonzero(found.wins_K)
        replaced.append(int(winners.size > 0))
        if winners.size:
            champion = order[1 + int(winners[np.argmax(found.mean_K[winners])])]
        champions.append(champion)
    return champions, errors, replaced


def scenario(pool: ProcessPoolExecutor, programmes: int, n_lines: int, gain: float, confidence: float) -> str:
    """One row of the table."""
    seeds = [10_000 * n_lines + int(1_000 * gain) * 1_000_000 + i for i in range(programmes * TRAITS)]
    found = list(pool.map(partial(one_trait, n_lines=n_lines, gain=gain, confidence=confidence), seeds, chunksize=20))
    champions = np.array([c for c, _, _ in found])
    replaced = np.array([r for _, _, r in found])
    error_1, error_4 = (np.mean([e[s] for _, e, _ in found]) for s in (0, 3))
    if gain == 0:
        per_programme = replaced.reshape(programmes, -1).any(axis=1).mean()
        return (f"| {n_lines} | 0 | {error_1:.3f} / {error_4:.3f} | {100 * replaced.mean():.1f} % of decisions | "
                f"{100 * per_programme:.0f} % of programmes, {replaced.sum() / programmes:.2f} a programme |")
    holds = [100 * (champions[:, s] == 1).mean() for s in (0, 2, 4, 9)]
    all_traits = 100 * (champions[:, -1] == 1).reshape(programmes, -1).all(axis=1).mean()
    return (f"| {n_lines} | +{gain:.2f} | {error_1:.3f} / {error_4:.3f} | champion after 1, 3, 5, 10 seasons: "
            f"{', '.join(f'{h:.0f} %' for h in holds)} | {all_traits:.0f} % of programmes in all four traits |")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programmes", type=int, default=500)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--confidence", type=float, default=GateRule.confidence)
    options, began = parser.parse_args(arguments), time.monotonic()
    print("| lines | true gain | standard error, 1 / 4 seasons | a decision on a trait in a season | a programme |")
    print("|---|---|---|---|---|")
    with ProcessPoolExecutor(options.processes) as pool:
        for n_lines in (100, 300, 1_000):
            for gain in (0.0, 0.05, 0.08):
                print(scenario(pool, options.programmes, n_lines, gain, options.confidence), flush=True)
    print(f"\n{options.programmes} programmes a row, {RECIPES} recipes, {time.monotonic() - began:.0f} s "
          f"on {options.processes} processes")


if __name__ == "__main__":
    main()
