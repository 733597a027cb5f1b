"""Ranges of settings, and a recipe with other settings: all that a recipe needs to say it can be searched.

    space: ClassVar[Mapping[str, Range]] = {"features": Choice((256, 512)), "training.rate": Real(1e-3, 0.02, log=True)}

A dot reaches into a setting that is a dataclass itself. The recipe's own settings are always in range.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, TypeVar

from genomic_platform.models.protocol import Model

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Setting: TypeAlias = float | int | str


class Range(Protocol):
    """What a setting may be."""

    def distribution(self, own: Any) -> BaseDistribution:
        """As Optuna draws from it, widened where need be to hold the recipe's own value."""
        ...


@dataclass(frozen=True)
class Real:
    """A number from `low` to `high`; `log` draws its logarithm."""

    low: float
    high: float
    log: bool = False

    def distribution(self, own: float) -> BaseDistribution:
        from optuna.distributions import FloatDistribution

        return FloatDistribution(min(self.low, own), max(self.high, own), log=self.log)


@dataclass(frozen=True)
class Whole:
    """A whole number from `low` to `high`, both included; `log` draws its logarithm."""

    low: int
    high: int
    log: bool = False

    def distribution(self, own: int) -> BaseDistribution:
        from optuna.distributions import IntDistribution

        return IntDistribution(min(self.low, own), max(self.high, own), log=self.log)


@dataclass(frozen=True)
class Choice:
    """One of a few values."""

    options: tuple[Setting, ...]

    def distribution(self, own: Setting) -> BaseDistribution:
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.options if own in self.options else (*self.options, own))


class Searchable(Model, Protocol):
    """A recipe whose settings can be searched."""

    space: ClassVar[Mapping[str, Range]]


R = TypeVar("R")


def own_settings(recipe: Searchable) -> dict[str, Setting]:
    """The recipe's values of the settings in its space. Raises AttributeError for one that it does not have."""
    return {name: attrgetter(name)(recipe) for name in recipe.space}


def with_settings(owner: R, settings: Mapping[str, Setting]) -> R:
    """The same recipe, or setting of it that is a dataclass, with other values."""
    own: dict[str, Any] = {name: value for name, value in settings.items() if "." not in name}
    for first in {name.partition(".")[0] for name in settings if "." in name}:
        inner = {name.partition(".")[2]: value for name, value in settings.items() if name.startswith(f"{first}.")}
        own[first] = with_settings(getattr(owner, first), inner)
    return replace(owner, **own)  # type: ignore[type-var]
