"""The selection index: several traits' values as one ranking, by the programme's weights and directions.

Estimating values belongs to the recipes; what a weight is worth, to the breeder (program.toml).
Reference: Hazel 1943, Genetics 28:476-490; traits are taken as independent here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from genomic_platform.errors import ProgramError
from genomic_platform.models.scores import merit
from genomic_platform.schemas.predictions import SELECTION_INDEX


@dataclass(frozen=True)
class TraitGoal:
    """What the programme wants of a trait.

    Attributes
    ----------
    direction : maximise | minimise | target(x), x in the trait's unit. weight : ≥ 0, per genetic standard deviation.
    genetic_sd : √σ²g in the trait's unit; None = standard deviation of the values.
    average : the average line's value in the trait's unit, to which values are deviations; needed for target(x).
    """

    direction: str = "maximise"
    weight: float = 1.0
    genetic_sd: float | None = None
    average: float = 0.0


def selection_index(values: pl.DataFrame, traits: Mapping[str, TraitGoal], line_records: pl.DataFrame,
                    value: str = "genotypic_value") -> pl.DataFrame:
    """Rank all lines of `values` (contract SELECTION_INDEX), best first, ties by line_id.

    index = Σ w × merit / σ_g over traits; its reliability, with independent traits, Σ w² rel / Σ w².
    A trait that a line has no value for counts as the average line's, with reliability 0.

    Parameters
    ----------
    values : contract VALUES; rows with a target environment are left out.
    traits : goal of each trait of the index. value : genotypic_value (advancing) or breeding_value (parents).

    Raises
    ------
    ProgramError : no trait, a negative or no positive weight, or a trait without values.
    """
    values = values.filter(pl.col("environment").is_null())
    _check(values, traits)
    lines = values["line_id"].unique().sort()
    index_N, reliability_N, weight_sum = np.zeros(len(lines)), np.zeros(len(lines)), 0.0
    for trait, goal in sorted(traits.items()):
        own = pl.DataFrame({"line_id": lines}).join(values.filter(pl.col("trait") == trait), on="line_id", how="left",
                                                    maintain_order="left")
        value_N = own[value].fill_null(0.0).to_numpy()
        sd = goal.genetic_sd if goal.genetic_sd is not None else _sd(own[value].drop_nulls().to_numpy())
        if sd > 0:
            index_N += goal.weight * merit(value_N, goal.direction, goal.average) / sd
        reliability_N += goal.weight**2 * own[f"{value}_reliability"].fill_null(0.0).to_numpy()
        weight_sum += goal.weight**2
    ranked = pl.DataFrame({"line_id": lines, "index": index_N, "index_reliability": reliability_N / weight_sum})
    return SELECTION_INDEX.conform(
        ranked.join(line_records.select("line_id", "role", "family"), on="line_id", how="left")
        .join(values.group_by("line_id").agg(pl.col("phenotyped").any()), on="line_id", how="left")
        .with_columns(pl.col("role").fill_null("candidate"))
        .sort(["index", "line_id"], descending=[True, False])
        .with_row_index("rank", offset=1))


def _sd(values_N: np.ndarray) -> float:
    return float(np.std(values_N, ddof=1)) if len(values_N) > 1 else 0.0


def _check(values: pl.DataFrame, traits: Mapping[str, TraitGoal]) -> None:
    have = set(values["trait"].unique())
    faults = [f"trait {trait}: no values; expected one of {', '.join(sorted(have))}"
              for trait in sorted(traits) if trait not in have]
    faults += [f"trait {trait}: weight is {goal.weight}; expected 0 or more"
               for trait, goal in sorted(traits.items()) if goal.weight < 0]
    if not any(goal.weight > 0 for goal in traits.values()):
        faults.append("selection index: no trait has a positive weight; give one in program.toml")
    if faults:
        raise ProgramError("; ".join(faults))
