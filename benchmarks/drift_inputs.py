"""How often the rules for inputs and promises err: false alarms, power, coverage and width of the promised interval.

    python benchmarks/drift_inputs.py [inputs features promise families] [--seasons 400] [--program DIR]

inputs: one feature, seasons whose environments share a year (0, 30, 60 % of the variance) and a shift of 0, .5, .8
standard deviations. features: twenty features that correlate .5, nothing shifted. promise: forward seasons whose
accuracy (r about .5 on 150 lines) differs from season to season, and one in which it truly drops. families: twenty
families of thirty lines, nothing changed. --program: each season of a published programme held against all others.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
from scipy import stats

from genomic_platform.catalogue import ASSETS
from genomic_platform.drift import inputs
from genomic_platform.models import promise
from genomic_platform.models.next_season import NextSeason
from genomic_platform.program import read_program
from genomic_platform.stores.assets import AssetStore
from genomic_platform.workspace import Workspace

SIZES = ((3, 18), (6, 18), (9, 18), (18, 18), (3, 36), (6, 36), (9, 36), (18, 36))
REFERENCE_SEASONS, LINES, ABILITY = 6, 150, 0.5


def environments(rng: np.random.Generator, n_new: int, n_reference: int, year: float, features: int) -> np.ndarray:
    """Values (E, Q), the earlier seasons first: variance one, of it `year` shared by a season's environments."""
    size = [n_reference // REFERENCE_SEASONS] * REFERENCE_SEASONS + [n_new]
    season_E = np.repeat(np.arange(len(size)), size)

    def correlated(n: int) -> np.ndarray:
        return np.sqrt(0.5) * rng.normal(size=(n, 1)) + np.sqrt(0.5) * rng.normal(size=(n, features))

    return np.sqrt(year) * correlated(len(size))[season_E] + np.sqrt(1 - year) * correlated(len(season_E))


def one_feature(seasons: int) -> None:
    print("| new / earlier | year's share | 0: permuted alone | 0 | .5: alone | .5 | .8: alone | .8 |")
    print("|---|---|---|---|---|---|---|---|")
    for n_new, n_reference in SIZES:
        for year in (0.0, 0.3, 0.6):
            cells = []
            for shift in (0.0, 0.5, 0.8):
                rng = np.random.default_rng([n_new, n_reference, int(10 * year), int(10 * shift)])
                label_E = np.repeat(np.arange(REFERENCE_SEASONS).astype(str), n_reference // REFERENCE_SEASONS)
                sides = []
                for _ in range(seasons):
                    value_E = environments(rng, n_new, n_reference, year, 1)[:, 0]
                    sides.append(inputs.Sides(value_E[n_reference:] + shift, value_E[:n_reference], label_E))
                chances = inputs._chances(sides, 0)
                large = np.array([abs(inputs.hedges_g(s.new_E, s.reference_E) or 0) >= inputs.MIN_EFFECT
                                  for s in sides])
                cells += [np.mean(large & [c.dealt <= inputs.ALPHA for c in chances]),
                          np.mean(large & [c.p_value <= inputs.ALPHA for c in chances])]
            print(f"| {n_new} / {n_reference} | {100 * year:.0f} % | {' | '.join(f'{c:.3f}' for c in cells)} |",
                  flush=True)


def twenty_features(seasons: int, features: int = 20) -> None:
    print("\n| new / earlier | year's share | seasons with an alarm | features flagged |\n|---|---|---|---|")
    for n_new, n_reference in ((3, 18), (9, 18), (9, 36)):
        for year in (0.0, 0.3, 0.6):
            rng, found = np.random.default_rng([n_new, n_reference, int(10 * year)]), []
            season_E = np.repeat([str(s) for s in range(REFERENCE_SEASONS + 1)],
                                 [n_reference // REFERENCE_SEASONS] * REFERENCE_SEASONS + [n_new])
            for _ in range(seasons):
                value_EQ = environments(rng, n_new, n_reference, year, features)
                table = pl.DataFrame({
                    "environment": np.repeat(np.arange(len(season_E)), features).astype(str),
                    "season": np.repeat(season_E, features),
                    "feature": np.tile([f"f{q:02}" for q in range(features)], len(season_E)),
                    "value": value_EQ.ravel()})
                report = inputs.input_drift(table, season=str(REFERENCE_SEASONS))
                found.append(int((report["decision"] == "shifted").sum()))
            print(f"| {n_new} / {n_reference} | {100 * year:.0f} % | {np.mean(np.array(found) > 0):.3f} | "
                  f"{np.mean(found) / features:.4f} |", flush=True)


def harvested(rng: np.random.Generator, z: float) -> tuple[float, float]:
    """Fisher's z of a season's lines and its sampling variance, as the promise takes them; true z given."""
    r, x_N, e_N = np.tanh(z), rng.normal(size=LINES), rng.normal(size=LINES)
    y_N = r * x_N + np.sqrt(1 - r**2) * e_N
    error = 1 / (promise.effective_lines(x_N, y_N, [None] * LINES) - 3)
    return promise.fisher_z(float(np.corrcoef(x_N, y_N)[0, 1])), error


def promised(seasons: int) -> None:
    print("\n| forward seasons | sd between seasons (z) | coverage | width in r | width of Student's t | "
          "alarms: nothing, −.1, −.2, −.3 |\n|---|---|---|---|---|---|")
    for k in (3, 4, 5, 8, 12):
        for spread in (0.0, 0.1, 0.2, 0.3):
            rng, inside, width, width_t, alarms = np.random.default_rng([k, int(10 * spread)]), [], [], [], []
            for _ in range(seasons):
                draws = [harvested(rng, promise.fisher_z(ABILITY) + spread * rng.normal()) for _ in range(k)]
                z_O, error_O = np.array(draws).T
                one_more = NextSeason.after(z_O, error_O, range(k), spread=promise.SPREAD)
                season = spread * rng.normal()
                now = [harvested(rng, promise.fisher_z(ABILITY - drop) + season) for drop in (0.0, 0.1, 0.2, 0.3)]
                low, high = one_more.interval(now[0][1], promise.CONFIDENCE)
                inside.append(low < now[0][0] < high)
                alarms.append([z < low for z, _ in now])
                width.append(np.tanh(high) - np.tanh(low))
                half = stats.t.ppf(0.975, k - 1) * z_O.std(ddof=1) * np.sqrt(1 + 1 / k)
                width_t.append(np.tanh(z_O.mean() + half) - np.tanh(z_O.mean() - half))
            print(f"| {k} | {spread:.1f} | {np.mean(inside):.3f} | {np.mean(width):.2f} | {np.mean(width_t):.2f} | "
                  f"{', '.join(f'{a:.3f}' for a in np.mean(alarms, axis=0))} |", flush=True)


def twenty_families(seasons: int, k: int = 5, families: int = 20, size: int = 30) -> None:
    below = []
    for seed in range(seasons):
        rng, tables = np.random.default_rng(seed), []
        for label in range(k + 1):
            z_F = promise.fisher_z(ABILITY) + 0.1 * rng.normal() + 0.1 * rng.normal(size=families)
            r_N, x_N, e_N = np.repeat(np.tanh(z_F), size), *rng.normal(size=(2, families * size))
            tables.append(pl.DataFrame({
                "trait": "t", "season": str(label), "environment": "A", "line_id": [f"L{i}" for i in range(len(r_N))],
                "family": np.repeat(np.arange(families), size).astype(str), "known": False, "predicted": x_N,
                "observed": r_N * x_N + np.sqrt(1 - r_N**2) * e_N}))
        table = promise.accuracy_promise(pl.concat(tables), season=str(k), directions={})
        below.append(table.filter(pl.col("level") == "family", pl.col("verdict") == "below").height)
    found = np.array(below)
    print(f"\n{families} families of {size} lines, {k} forward seasons, {seasons} seasons in which nothing changed: a "
          f"family below in {100 * np.mean(found > 0):.1f} % of seasons, {100 * found.mean() / families:.2f} % of "
          "families")


def each_season_against_the_others(folder: Path) -> None:
    """Coverage and width on a published programme, every season once as the one harvested."""
    program = read_program(folder)
    main = AssetStore(Workspace.beside(folder).store, program.name)
    published, releases = main.published(), main.releases()
    parts = []
    for before, label in pairwise(published):
        first = main.at(releases[before][0])
        parts.append(promise.harvest_pairs(
            first.read("breeding_values", before, ASSETS["breeding_values"]),
            main.read("line_means", label, ASSETS["line_means"]), season=label, families={}))
    pairs = pl.concat(parts)
    print("\n| season | trait | known, % | realised | promised | 95 % interval | verdict | seasons |")
    print("|---|---|---|---|---|---|---|---|")
    rows = []
    for label in published[1:]:
        own = pl.col("season") == label
        table = promise.accuracy_promise(pairs.with_columns(season=pl.when(own).then(pl.lit("~")).otherwise("season")),
                                         season="~", directions={})
        share = 100 * float(pairs.filter(own)["known"].mean())  # type: ignore[arg-type]
        for row in table.filter(pl.col("level") == "season").to_dicts():
            rows.append(row)
            interval = "–" if row["lower"] is None else f"{row['lower']:.2f} to {row['upper']:.2f}"
            print(f"| {label} | {row['trait']} | {share:.0f} | {row['realised']:.2f} | "
                  f"{'–' if row['promised'] is None else format(row['promised'], '.2f')} | {interval} | "
                  f"{row['verdict']} | {row['n_seasons']} |")
    told = [r for r in rows if r["lower"] is not None]
    if told:
        print(f"\n{len(told)} promises: {sum(r['verdict'] == 'within' for r in told)} kept, mean width "
              f"{np.mean([r['upper'] - r['lower'] for r in told]):.2f}")


PARTS: dict[str, Callable[[int], None]] = {"inputs": one_feature, "features": twenty_features, "promise": promised,
                                           "families": twenty_families}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; none = all")
    parser.add_argument("--seasons", type=int, default=400, help="simulated seasons a row")
    parser.add_argument("--program", type=Path, help="folder of a published programme")
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; expected some of {', '.join(PARTS)}")
    for name in options.parts or ([] if options.program else PARTS):
        PARTS[name](options.seasons)
    if options.program:
        each_season_against_the_others(options.program)


if __name__ == "__main__":
    main()
