"""Forms of a within-family covariance that were tried beside the one `family_blup` kept.

    python benchmarks/family_forms.py [--panels 4] [--lines 1000] [--shared 0 .5 1]

Generated nested-association panels of forty families, line means of heritability 1 / 2.3 within families, a fifth of
the lines held out; r within families against the truth, as the gain over GBLUP with its standard error over panels.
The ratio of a form's parts is the one of .25, .5, .75 (or none) with the largest restricted likelihood.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.models.blup import solve
from genomic_platform.models.reml import contrast_eigen, spectral_reml, spectral_reml_likelihood
from genomic_platform_tests.support.nested_association import NestedDesign, nested_panel

ERROR_VARIANCE, HELD_OUT = 1.3, 5
RATIOS = (0.25, 0.5, 0.75)
#: Bandwidths of the Gaussian kernel, multiples of the median squared distance.
BANDWIDTHS = (0.25, 0.5, 1.0, 2.0)


def forms(relationship_NN: np.ndarray, family_N: np.ndarray) -> dict[str, list[np.ndarray]]:
    """The covariances each form chooses from."""
    same_NN = (family_N[:, None] == family_N[None, :]).astype(float)
    member_NF = (family_N[:, None] == np.unique(family_N)).astype(float)
    average_NN = member_NF / member_NF.sum(axis=0) @ member_NF.T
    within_NN = relationship_NN - average_NN @ relationship_NN
    within_NN = within_NN - within_NN @ average_NN
    means_NN = 2 * float(np.diagonal(within_NN).mean()) * same_NN
    own_N = np.diagonal(relationship_NN)
    distance_NN = own_N[:, None] + own_N - 2 * relationship_NN
    median = float(np.median(distance_NN[np.triu_indices(len(own_N), 1)]))
    return {
        "G ∘ (ρ + (1 − ρ) S)": [relationship_NN, *(
            (1 - x) * relationship_NN + x * same_NN * relationship_NN for x in RATIOS)],
        "G + S ∘ G within": [relationship_NN, *(
            (1 - x) * relationship_NN + x * same_NN * within_NN for x in RATIOS)],
        "G within + S ∘ G within + family": [within_NN + means_NN, *(
            (1 - x) * within_NN + x * same_NN * within_NN + means_NN for x in RATIOS)],
        "G within + family": [within_NN + means_NN],
        "Gaussian": [np.exp(-distance_NN / (h * median)) for h in BANDWIDTHS]}


def predicted(covariance_NN: np.ndarray, y_N: np.ndarray, train: np.ndarray,
              test: np.ndarray) -> tuple[np.ndarray, float]:
    """BLUP of the test lines and the restricted log likelihood."""
    part_NN = covariance_NN[np.ix_(train, train)]
    eigen = contrast_eigen(part_NN)
    components = spectral_reml(y_N[train], eigen)[0]
    dual_N = solve(y_N[train], part_NN, components).dual_N
    return (components.genetic * covariance_NN[np.ix_(test, train)] @ dual_N,
            float(spectral_reml_likelihood(y_N[train], eigen)[0]))


def one_panel(design: NestedDesign, seed: int) -> dict[str, float]:
    """Gain of every form over GBLUP in r within families."""
    panel = nested_panel(design, seed)
    family_N = np.array([panel.families[line] for line in panel.genotypes.lines])
    y_N = panel.value_N + np.random.default_rng(seed + 99).normal(0, np.sqrt(ERROR_VARIANCE), len(family_N))
    held_out_N = np.arange(len(family_N)) % HELD_OUT == 0
    train, test = np.flatnonzero(~held_out_N), np.flatnonzero(held_out_N)

    def ability(covariances: Sequence[np.ndarray]) -> float:
        best = max((predicted(k_NN, y_N, train, test) for k_NN in covariances), key=lambda found: found[1])[0]
        return float(np.mean([np.corrcoef(best[family_N[test] == f], panel.value_N[test][family_N[test] == f])[0, 1]
                              for f in np.unique(family_N)]))

    relationship_NN = vanraden(panel.genotypes).matrix_NN
    gblup = ability([relationship_NN])
    return {name: ability(covariances) - gblup for name, covariances in forms(relationship_NN, family_N).items()}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--panels", type=int, default=4)
    parser.add_argument("--lines", type=int, default=1_000)
    parser.add_argument("--shared", type=float, nargs="+", default=[0.5, 1.0, 0.0])
    options = parser.parse_args(arguments)
    for shared in options.shared:
        design = replace(NestedDesign(), n_lines=options.lines, n_markers=1_500, shared=shared)
        gains = [one_panel(design, seed) for seed in range(options.panels)]
        print(f"\nshared {shared:g}, {options.panels} panels\n\n| K | gain | standard error |\n|---|---|---|")
        for name in gains[0]:
            found = np.array([gain[name] for gain in gains])
            print(f"| {name} | {found.mean():+.3f} | {found.std(ddof=1) / np.sqrt(len(found)):.3f} |", flush=True)


if __name__ == "__main__":
    main()
