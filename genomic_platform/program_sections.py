"""Sections of `program.toml` that stand on their own: weather, budget, stage one, genotype quality, gate, search.

Here belongs what a section may say and what it means; the file as a whole, and its short sections, are `program`'s.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from genomic_platform.errors import ProgramError
from genomic_platform.models.search.budget import Budget
from genomic_platform.phenotypes.weather_windows import WINDOWS, Crop, Window


class Section(BaseModel):
    """Unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WindowSection(Section):
    """One window of daily weather: `days` after planting or `thermal` time since then, °C d, from and to."""

    days: tuple[int, int] | None = None
    thermal: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _one_clock(self) -> WindowSection:
        if (self.days is None) == (self.thermal is None):
            raise ValueError("expected either days = [from, to] or thermal = [from, to]")
        return self


class WeatherSection(Section):
    """The crop's clock and stress, and named windows: see `phenotypes.weather_windows`; without windows, its own."""

    base_c: float = Crop.base_c
    ceiling_c: float = Crop.ceiling_c
    heat_c: float = Crop.heat_c
    frost_c: float = Crop.frost_c
    wet_mm: Annotated[float, Field(gt=0)] = Crop.wet_mm
    windows: dict[str, WindowSection] = {}

    @model_validator(mode="after")
    def _sound(self) -> WeatherSection:
        if bad := [w for w in self.windows if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", w)]:
            raise ValueError(f"window names start with a letter and hold letters, digits and _: {', '.join(bad)}")
        if "season" in self.windows:
            raise ValueError("season is the whole season, planting to harvest; name the window otherwise")
        try:
            self.crop()
            self.named_windows()
        except ProgramError as error:
            raise ValueError(str(error)) from error
        return self

    def crop(self) -> Crop:
        return Crop(self.base_c, self.ceiling_c, self.heat_c, self.frost_c, self.wet_mm)

    def named_windows(self) -> tuple[Window, ...]:
        """The whole season and the windows named, or `WINDOWS`."""
        if not self.windows:
            return WINDOWS
        named = {name: ("days", w.days) if w.days else ("thermal", w.thermal or ()) for name, w in self.windows.items()}
        return (Window("season", "season"), *(Window(name, clock, *ends) for name, (clock, ends) in named.items()))


class BudgetSection(Section):
    """What a month (UTC) may cost, in the currency of the installation's prices; no part of any result."""

    monthly: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    currency: str = ""


class LineMeansSection(Section):
    """Stage one: `blue` with error weights, or `centred` without, the mode of the reference figures."""

    means: Literal["blue", "centred"] = "blue"
    weights: Literal["errors", "none"] = "errors"


class GenotypeQcSection(Section):
    """What a variant or line must reach to be used, shares 0–1; see `genotypes.quality.qc.genotype_qc`."""

    min_variant_call_rate: Annotated[float, Field(ge=0, le=1)] = 0.5
    min_line_call_rate: Annotated[float, Field(ge=0, le=1)] = 0.5
    min_allele_frequency: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    min_hwe_p: Annotated[float, Field(ge=0, lt=1)] = 0.0
    max_variant_heterozygosity: Annotated[float, Field(ge=0, le=1)] = 1.0
    max_line_heterozygosity: Annotated[float, Field(ge=0, le=1)] = 1.0
    drop_duplicate_variants: bool = False
    identical_line_ibs: Annotated[float, Field(gt=0, lt=1)] = 0.99


class GateSection(Section):
    """When one recipe may replace another, and whether a person has to agree.

    `margin`: smallest mean gain in predictive ability over past forward seasons. `confidence`: of the bound above zero,
    for all challengers at once. `group_margin`: loss in an environment or family that forbids, when significant.
    `approval`: `manual` lets every promotion after the first wait for `genomic-platform approve`.
    `automatic_rollback`: a champion that by the same rule predicted a season worse than its predecessor gives way.
    """

    margin: Annotated[float, Field(ge=0, le=1)] = 0.02
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    group_margin: Annotated[float, Field(gt=0, le=1)] = 0.1
    approval: Literal["automatic", "manual"] = "automatic"
    automatic_rollback: bool = False


class SearchSection(Section):
    """How long a search of a recipe's settings (`search:NAME`) may take; see `models.search.budget.Budget`."""

    trials: Annotated[int, Field(ge=1)] = Budget.trials
    minutes: Annotated[float, Field(gt=0)] = Budget.minutes
