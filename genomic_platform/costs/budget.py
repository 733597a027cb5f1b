"""A programme's budget: what the month has cost so far, and whether new training may begin.

Predictions, reports and decisions never ask. Costs are known when steps end, so what is under way is never stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from genomic_platform.costs.ledger import Ledger, month_of
from genomic_platform.costs.prices import Prices
from genomic_platform.costs.storage import gb_months, kept
from genomic_platform.errors import OverBudget, ProgramError
from genomic_platform.program import Program
from genomic_platform.program_sections import BudgetSection
from genomic_platform.workspace import Workspace

#: Share of the budget from which a person is warned.
WARN_AT = 0.8


@dataclass(frozen=True)
class BudgetState:
    """The month's cost beside the budget.

    `state`: `none` without a budget (or without prices to hold against it), `ok`, `warn` from 80 %, `stop` from 100 %.
    `message`: the state in words, naming the repair; empty where there is no budget.
    """

    month: str = ""
    spent: float = 0.0
    limit: float | None = None
    share: float | None = None
    state: Literal["none", "ok", "warn", "stop"] = "none"
    message: str = ""

    def require(self) -> None:
        """Raise OverBudget when no new training may begin."""
        if self.state == "stop":
            raise OverBudget(self.message)


def budget_state(program: Program, workspace: Workspace, now: datetime | None = None) -> BudgetState:
    """What the programme has spent of its budget in the month (UTC) of `now`.

    Raises
    ------
    ProgramError : budget and prices are in different currencies.
    """
    budget, prices = program.file.budget, Prices.of(workspace.settings)
    if budget is None:
        return BudgetState()
    now = now or datetime.now(UTC)
    month = month_of(now)
    if not prices.priced:
        return BudgetState(month, 0.0, budget.monthly, message=(
            f"a budget of {prices.say(budget.monthly)} a month is set, but nothing is priced, so nothing is held "
            "against it; repair: set price_cpu_hour, price_gpu_hour or price_gb_month"))
    _same_currency(program, budget, prices)
    spent = _spent(program, workspace, prices, month, now)
    share = spent / budget.monthly
    state = "stop" if share >= 1 else "warn" if share >= WARN_AT else "ok"
    message = f"{prices.say(spent)} of {prices.say(budget.monthly)} ({share:.0%}) spent in {month} (UTC)"
    return BudgetState(month, spent, budget.monthly, share, state, message + _SAID[state])


_SAID = {
    "ok": "", "warn": ": from 100 % on no new training begins; repair: raise [budget] monthly in program.toml, or "
                      "see genomic-platform costs for what it went to",
    "stop": ": no new training begins; predictions, reports and decisions go on; repair: raise [budget] monthly in "
            "program.toml, wait for the next month, or genomic-platform run --over-budget (retrain has it, too)"}


def _spent(program: Program, workspace: Workspace, prices: Prices, month: str, now: datetime) -> float:
    table = Ledger(workspace.root).read(program.name, [month]).table
    stored = gb_months(kept(workspace, program.name), month, now) if prices.gb_month else 0.0
    return float(prices.computing(table).sum()) + prices.storage(stored)


def _same_currency(program: Program, budget: BudgetSection, prices: Prices) -> None:
    if budget.currency and budget.currency != prices.currency:
        theirs = prices.currency or "which have none"
        raise ProgramError(f"{program.path}: [budget] currency is {budget.currency}; expected that of the prices, "
                           f"{theirs}; repair: make it and the setting price_currency the same")
