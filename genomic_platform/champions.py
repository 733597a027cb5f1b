"""The champions of a season as fitted models, and what the programme's index asks of each trait.

Shared by the graph, which ranks a season, and by the command line, which ranks and predicts from what is published.
"""

from __future__ import annotations

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
