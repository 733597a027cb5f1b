"""Grain yield predicted from canopy reflectance, whole trials as folds: bands as a kernel beside vegetation indices.

    python benchmarks/reflectance_folds.py DIR

DIR holds phenotypes.csv (environment E1, column cv_fold) and reflectance_E1_t9.csv.gz of CIMMYT wheat at Obregon.
y = μ + h + e, h with the reflectance kernel of the training lines, variances by REML; r is the mean within fold.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl

from genomic_platform.models.reml import contrast_eigen, spectral_reml
from genomic_platform.phenotypes.reflectance import read_reflectance, reflectance_cross_kernel, reflectance_kernel
from genomic_platform.phenotypes.vegetation_indices import vegetation_indices

TRAIT = "grain_yield_t_ha"


def within_folds(x_NB: np.ndarray, y_N: np.ndarray, fold_N: np.ndarray) -> list[float]:
    """r of each fold, everything learnt in the other folds."""
    found = []
    for fold in np.unique(fold_N):
        train, test = fold_N != fold, fold_N == fold
        kernel = reflectance_kernel(x_NB[train])
        components = spectral_reml(y_N[train], contrast_eigen(kernel))[0]
        inverse = np.linalg.inv(components.genetic * kernel + components.error * np.eye(train.sum()))
        mu = inverse.sum(axis=0) @ y_N[train] / inverse.sum()
        cross = reflectance_cross_kernel(x_NB[test], x_NB[train])
        found.append(float(np.corrcoef(cross @ (inverse @ (y_N[train] - mu)), y_N[test])[0, 1]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    bands, _ = read_reflectance([folder / "reflectance_E1_t9.csv.gz"])
    trials = pl.read_csv(folder / "phenotypes.csv", infer_schema_length=None,
                         schema_overrides={"line_id": pl.String, "season": pl.String})
    own = bands.rows.select("line_id", "environment").join(trials, on=["line_id", "environment"],
                                                           maintain_order="left")
    y_N, fold_N = own[TRAIT].to_numpy(), own["cv_fold"].to_numpy()
    indices_NV, names, _ = vegetation_indices(bands.bands_NB, bands.wavelength_B)
    for label, x in (("250 bands", bands.bands_NB), (", ".join(names), indices_NV)):
        r = within_folds(x, y_N, fold_N)
        print(f"{label}: r {np.mean(r):.3f} (folds {', '.join(f'{v:.3f}' for v in r)})")


if __name__ == "__main__":
    main()
