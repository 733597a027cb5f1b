"""How well weather tells the mean of an environment nobody has grown, beside the overall and the location's mean.

    python benchmarks/environment_means.py DIR [--kind linear gaussian]

DIR holds phenotypes.csv, environments.csv and weather_daily.csv.gz of Genomes to Fields maize (22 environments in six
locations and four seasons). An environment's mean is taken over its hybrids, as it is or as the least-squares effect
beside hybrids. y = μ + w + e, w with the environment kernel, variances by REML in the training environments of each
fold; covariates are standardised in training alone. An environment, a location or a season is left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from genomic_platform.models.reml import contrast_eigen, spectral_reml
from genomic_platform.phenotypes.environment_kernel import KERNELS, EnvironmentCovariates
from genomic_platform.phenotypes.environments import environment_places, read_environments, with_features
from genomic_platform.phenotypes.two_way import fit_two_way
from genomic_platform.phenotypes.weather import read_weather
from genomic_platform.phenotypes.weather_features import weather_features

GROUPS = {"environment": "environment", "location": "location", "season": "season"}
#: What is only known once the crop is harvested, and says when that was.
HARVEST = ("harvest_day",)


def environment_means(trials: pl.DataFrame, trait: str, adjusted: bool) -> dict[str, float]:
    """Mean of each environment in the trait's unit; `adjusted` for which hybrids it grew."""
    known = trials.drop_nulls(trait)
    cells = known.group_by("line_id", "environment").agg(pl.len().alias("n"), pl.col(trait).sum().alias("sum"))
    if not adjusted:
        return dict(known.group_by("environment").agg(pl.col(trait).mean()).iter_rows())
    names = sorted(cells["environment"].unique())
    weight, total = (cells.pivot("environment", index="line_id", values=v).fill_null(0).select(names).to_numpy()
                     .astype(np.float64) for v in ("n", "sum"))
    effects = fit_two_way(weight, total).level_B + known[trait].mean()
    return dict(zip(names, effects, strict=True))


def predicted(records: pl.DataFrame, means: dict[str, float], out: list[str], kind: str,
              location: dict[str, str] | None = None) -> np.ndarray:
    """Means of the environments left out, by the kernel over the others; `location` makes half of it 1 within one."""
    covariates = EnvironmentCovariates.of(records.filter(~pl.col("environment").is_in(out)))
    _, a_AW = covariates.standardised(records.filter(pl.col("environment").is_in(out)))
    kernel, cross = covariates.kernel(kind), covariates.kernel(kind, a_AW)
    if location:
        kernel = (kernel + same_location(covariates.environments, covariates.environments, location)) / 2
        cross = (cross + same_location(out, covariates.environments, location)) / 2
    y = np.array([means[e] for e in covariates.environments])
    components = spectral_reml(y, contrast_eigen(kernel))[0]
    inverse = np.linalg.inv(components.genetic * kernel + components.error * np.eye(len(y)))
    mu = inverse.sum(axis=0) @ y / inverse.sum()
    return mu + components.genetic * cross @ (inverse @ (y - mu))


def same_location(a: Sequence[str], b: Sequence[str], location: dict[str, str]) -> np.ndarray:
    """1 where two environments share their location, else 0."""
    return np.array([[float(location[x] == location[y]) for y in b] for x in a])


def usable(records: pl.DataFrame, means: dict[str, float]) -> pl.DataFrame:
    """Covariates every environment has, of environments with a mean; none is chosen by what it predicts."""
    own = records.filter(pl.col("environment").is_in(list(means)) & ~pl.col("variable").is_in(HARVEST))
    return own.filter(pl.col("environment").n_unique().over("variable") == len(means))


def score(observed: np.ndarray, given: np.ndarray) -> tuple[float, float]:
    """Root mean squared error, and r (NaN where nothing varies)."""
    with np.errstate(invalid="ignore"):
        r = float(np.corrcoef(observed, given)[0, 1]) if np.ptp(given) > 1e-9 else float("nan")
    return float(np.sqrt(np.mean((observed - given) ** 2))), r


def compare(sets: dict[str, pl.DataFrame], places: pl.DataFrame, means: dict[str, float], scheme: str,
            kinds: list[str]) -> dict[str, tuple[float, float]]:
    """RMSE and r of every predictor under one scheme, pooled over all environments."""
    place = {r["environment"]: r for r in places.iter_rows(named=True)}
    names = sorted(means)
    found: dict[str, dict[str, float]] = {}
    for held in sorted({place[e][GROUPS[scheme]] for e in names}):
        out = [e for e in names if place[e][GROUPS[scheme]] == held]
        rest = [e for e in names if e not in out]
        overall = float(np.mean([means[e] for e in rest]))
        for e in out:
            found.setdefault("overall mean", {})[e] = overall
            same = [means[x] for x in rest if place[x]["location"] == place[e]["location"]]
            if scheme != "location":
                found.setdefault("location's mean", {})[e] = float(np.mean(same)) if same else overall
        for label, records in sets.items():
            for kind in kinds:
                values = predicted(records, means, out, kind)
                found.setdefault(f"{label}, {kind}", {}).update(zip(out, values, strict=True))
        for kind in kinds if scheme != "location" else ():
            values = predicted(sets["weather"], means, out, kind, {e: place[e]["location"] for e in names})
            found.setdefault(f"weather, {kind}, and location", {}).update(zip(out, values, strict=True))
    y = np.array([means[e] for e in names])
    return {label: score(y, np.array([values[e] for e in names])) for label, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kind", nargs="+", choices=KERNELS, default=list(KERNELS))
    arguments = parser.parse_args()
    files = [arguments.folder / "environments.csv"]
    places, (covariates, _) = environment_places(files), read_environments(files)
    daily, _ = read_weather([arguments.folder / "weather_daily.csv.gz"], places)
    weather, _ = weather_features(daily, places)
    trials = pl.read_csv(arguments.folder / "phenotypes.csv", infer_schema_length=None,
                         schema_overrides={"season": pl.String})
    print("| trait | mean | left out | predictor | RMSE | r |\n|---|---|---|---|---|---|")
    for trait in trials.columns[4:]:
        for adjusted in (True, False):
            means = environment_means(trials, trait, adjusted)
            sets = {"weather": usable(weather, means), "soil and place": usable(covariates, means),
                    "weather, soil and place": usable(with_features(covariates, weather), means)}
            for scheme in GROUPS:
                for label, (rmse, r) in compare(sets, places, means, scheme, arguments.kind).items():
                    print(f"| {trait} | {'adjusted' if adjusted else 'plain'} | {scheme} | {label} | {rmse:.2f} | "
                          f"{r:.2f} |")


if __name__ == "__main__":
    main()
