"""How long a search may take."""

from __future__ import annotations

from dataclasses import dataclass

from genomic_platform.errors import ProgramError


@dataclass(frozen=True)
class Budget:
    """Whichever comes first ends the search.

    Attributes
    ----------
    trials : settings tried, the recipe's own first. minutes : of all trials together, a killed search's earlier ones
        included; inf = the trials alone decide, and with them nothing of the machine.
    """

    trials: int = 20
    minutes: float = 10.0

    def __post_init__(self) -> None:
        if self.trials < 1 or not self.minutes > 0:
            raise ProgramError(f"search of settings: trials is {self.trials}, minutes {self.minutes}; expected at "
                               "least 1 trial and more than 0 minutes; correct [search] in program.toml")
