"""What an hour of a processor core, an hour of a graphics card and a month of storage cost, as the settings say.

No price is assumed: one that is 0 is unpriced, and whatever is said of money says so.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import polars as pl

from genomic_platform.settings import Settings

_HOUR_S, GB = 3600.0, 1e9


@dataclass(frozen=True)
class Prices:
    """Prices of the installation; each 0 where it is unpriced."""

    currency: str = ""
    cpu_hour: float = 0.0
    gpu_hour: float = 0.0
    gb_month: float = 0.0

    @classmethod
    def of(cls, settings: Settings) -> Prices:
        return cls(settings.price_currency, settings.price_cpu_hour, settings.price_gpu_hour, settings.price_gb_month)

    @property
    def priced(self) -> bool:
        return any((self.cpu_hour, self.gpu_hour, self.gb_month))

    @property
    def prices_computing(self) -> bool:
        return any((self.cpu_hour, self.gpu_hour))

    @property
    def unpriced(self) -> list[str]:
        """Settings that are 0."""
        return [f"price_{name}" for name, value in asdict(self).items() if value == 0]

    def computing(self, rows: pl.DataFrame) -> pl.Series:
        """What each line of the ledger (contract COST_LEDGER) cost in processor and card time."""
        return (rows["cpu_s"] * self.cpu_hour + rows["gpu_s"] * self.gpu_hour) / _HOUR_S

    def storage(self, gb_months: float) -> float:
        return gb_months * self.gb_month

    def say(self, amount: float) -> str:
        """An amount in words; of a small one the first digits that are not 0."""
        figure = f"{amount:,.2f}" if amount >= 1 or amount == 0 else f"{amount:.2g}"
        return f"{figure}{f' {self.currency}' if self.currency else ''}"
