"""What the season's report is made from: the season's tables and what program.toml says of its traits."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

#: The value for advancing lines; the other, `breeding_value`, is for choosing parents.
GENOTYPIC = "genotypic_value"


@dataclass(frozen=True)
class TraitFacts:
    """What the programme says of a trait, and what its champion found.

    Attributes
    ----------
    unit : "" where program.toml gives none. direction : maximise | minimise | target(x). weight : in the index.
    genetic_sd : standard deviation of the true values among lines, trait's unit; None where no model says.
    average : the average line's value in the trait's unit, to which values are deviations; None where not known.
    """

    unit: str = ""
    direction: str = "maximise"
    weight: float = 1.0
    genetic_sd: float | None = None
    average: float | None = None

    def standard_error(self, reliability: float | None) -> float | None:
        """σ_g √(1 − reliability): how far a value may well be from the truth, for a line of average inbreeding."""
        if self.genetic_sd is None or reliability is None:
            return None
        return self.genetic_sd * math.sqrt(max(0.0, 1.0 - reliability))


@dataclass(frozen=True)
class SeasonResults:
    """The tables of one season. What is None was not assessed, and the page says so.

    Attributes
    ----------
    traits : every trait of program.toml in its order. value : which value the index ranks on.
    index, values, decisions, drift, line_records : contracts SELECTION_INDEX, VALUES, REGISTERED_MODEL, DRIFT_REPORT,
        LINE_RECORDS of the season.
    accuracy : contract REALISED_ACCURACY of this and all earlier seasons. accuracy_promise : the same of
        ACCURACY_PROMISE.
    ordered : whether the programme's seasons follow one another; without an order nothing is scored forward.
    versions : input of the page → its data version. fingerprint : of the step that makes the page.
    """

    program: str
    season: str
    traits: Mapping[str, TraitFacts]
    index: pl.DataFrame
    values: pl.DataFrame
    decisions: pl.DataFrame
    accuracy: pl.DataFrame
    drift: pl.DataFrame
    line_records: pl.DataFrame
    value: str = GENOTYPIC
    crop: str = ""
    ordered: bool = True
    fingerprint: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    input_drift: pl.DataFrame | None = None
    population_shift: pl.DataFrame | None = None
    line_trust: pl.DataFrame | None = None
    prediction_drift: pl.DataFrame | None = None
    accuracy_promise: pl.DataFrame | None = None
    retraining_effect: pl.DataFrame | None = None

    @property
    def names(self) -> dict[str, str]:
        """Trait id → its name for a reader: without a suffix that repeats the unit, unless two would be called alike.

        `plant_height_cm` in cm is plant height.
        """
        short = {trait: _name(trait, facts.unit) for trait, facts in self.traits.items()}
        known = list(short.values())
        return {trait: name if known.count(name) == 1 else trait.replace("_", " ") for trait, name in short.items()}

    def name(self, trait: str) -> str:
        """A trait's name, also of one the programme has no more."""
        return self.names.get(trait) or trait.replace("_", " ")

    def by_trait(self, table: pl.DataFrame) -> list[dict[str, Any]]:
        """The table's rows in the programme's order of traits, those of traits it has no more last."""
        order = {trait: i for i, trait in enumerate(self.traits)}
        return sorted(table.to_dicts(), key=lambda row: order.get(row["trait"], len(order)))

    @property
    def scored(self) -> pl.DataFrame:
        """How well the values published a season before held on this harvest; no row in a first season."""
        return self.accuracy.filter(pl.col("season") == self.season)

    @property
    def promised(self) -> pl.DataFrame | None:
        """This season's rows of the promise over the whole season, one a trait."""
        if self.accuracy_promise is None:
            return None
        return self.accuracy_promise.filter(pl.col("season") == self.season, pl.col("level") == "season")

    @property
    def less_trusted(self) -> dict[str, str]:
        """Line → why its value is to be trusted less; empty where this was not assessed."""
        if self.line_trust is None:
            return {}
        return dict(self.line_trust.filter(pl.col("trust") == "less").select(
            "line_id", pl.col("why").fill_null("no reason given")).iter_rows())

    def index_error(self, reliability: float) -> float:
        """Standard error of an index value, traits independent as in the index's own reliability."""
        return math.sqrt(sum(facts.weight**2 for facts in self.traits.values()) * max(0.0, 1.0 - reliability))


def _name(trait: str, unit: str) -> str:
    """`grain_yield_kg_ha` in kg/ha → grain yield; `chalky_grain_frac` in fraction → chalky grain."""
    letters = re.sub(r"[^a-z0-9]+", "_", unit.lower()).strip("_")
    parts = trait.split("_")
    for length in range(len(parts) - 1, 0, -1):
        end = "_".join(parts[-length:]).lower()
        if letters and (end == letters or (length == 1 and len(end) > 2 and letters.startswith(end))):
            return " ".join(parts[:-length])
    return " ".join(parts)
