"""The champions of a season as fitted models, and what the programme's index asks of each trait.

Shared by the graph, which ranks a season, and by the command line, which ranks and predicts from what is published.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import polars as pl

from genomic_platform.models.selection import TraitGoal
from genomic_platform.phenotypes.plausible import average_line

if TYPE_CHECKING:
    from genomic_platform.models.candidate import FittedCandidate
    from genomic_platform.program import Trait


#: Columns of REGISTERED_MODEL that say which fitted candidate a trait's champion is.
CHAMPION = ("recipe", "trained_through", "model_version")


def champions(decisions: pl.DataFrame,
              read: Callable[[str, str, str], FittedCandidate]) -> dict[str, FittedCandidate]:
    """Trait → its champion after `decisions` (contract REGISTERED_MODEL).

    Parameters
    ----------
    read : (recipe, season trained through, model version) → the candidate fitted then; called once for each.
    """
    keys = {trait: tuple(key) for trait, *key in decisions.select("trait", *CHAMPION).iter_rows()}
    fitted = {key: read(*key) for key in sorted(set(keys.values()))}
    return {trait: fitted[key] for trait, key in keys.items()}


def true_spreads(champion_of: Mapping[str, FittedCandidate], value: str) -> dict[str, float]:
    """Trait → standard deviation of the true values among training lines, trait's unit, as its champion estimates it.

    Parameters
    ----------
    value : genotypic_value, which the line residual belongs to, or breeding_value.
    """
    residual = "line_residual_variance" if value == "genotypic_value" else ""
    found = {}
    for trait, champion in champion_of.items():
        said = champion.model.summary()[trait]
        found[trait] = math.sqrt(float(said["genetic_sd"]) ** 2 + float(said.get(residual, 0.0)))
    return found


def index_goals(traits: Mapping[str, Trait], champion_of: Mapping[str, FittedCandidate],
                line_means: pl.DataFrame) -> dict[str, TraitGoal]:
    """What the index asks of each trait that has a champion.

    Values are weighed in genetic standard deviations of the champion's own variance component: the spread of the
    predictions would give a trait that is hardly predicted the pull of one that is.

    Parameters
    ----------
    line_means : contract LINE_MEANS of all seasons the champions learned from; gives the average line for target(x).
    """
    averages = average_line(line_means)
    return {name: TraitGoal(trait.direction, trait.weight, average=averages.get(name, 0.0),
                            genetic_sd=float(champion_of[name].model.summary()[name]["genetic_sd"]))
            for name, trait in traits.items() if name in champion_of}
