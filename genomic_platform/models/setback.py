"""A champion that the harvest has shown to be worse than the one it took over from.

The comparison is the gate's own, with the predecessor's values as the only challenger and one season as evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from genomic_platform.models.comparison import verdict
from genomic_platform.models.forward import forward_predictions
from genomic_platform.models.gate import GateRule, recipe_differences

_NOW, _BEFORE = "champion", "predecessor"


@dataclass(frozen=True)
class Setback:
    """A trait's earlier champion (row of REGISTERED_MODEL), and why it should come back."""

    predecessor: Mapping[str, Any]
    why: str


def setbacks(champions: pl.DataFrame, predecessors: pl.DataFrame, values: pl.DataFrame, values_before: pl.DataFrame,
             line_means: pl.DataFrame, *, season: str, families: Mapping[str, str | None], rule: GateRule,
             seed: int) -> dict[str, Setback]:
    """Traits whose champion predicted this season worse than the champion before it had.

    Parameters
    ----------
    champions, predecessors : contract REGISTERED_MODEL after the last season and after the one before it.
    values, values_before : contract VALUES as first published after these two seasons.
    line_means : contract LINE_MEANS of this season.
    """
    new = champions.filter(pl.col("decision").is_in(["refresh", "replace"]))
    former = {row["trait"]: row for row in predecessors.join(
        new, on=["trait", "model_version"], how="anti").iter_rows(named=True)}
    pairs = forward_predictions({_NOW: values, _BEFORE: values_before}, line_means, season=season,
                                trained_through="", families=families)
    found = {}
    for trait in sorted(set(new["trait"]) & set(former)):
        evidence = recipe_differences(pairs.filter(pl.col("trait") == trait), {trait: _NOW}, rule, seed=seed)
        worse, words = verdict(evidence).get(_BEFORE, (False, ""))
        if worse:
            found[trait] = Setback(former[trait], f"the harvest of {season} was predicted better before: {words}")
    return found
