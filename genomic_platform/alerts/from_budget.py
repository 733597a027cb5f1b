"""Budgets that are nearly or wholly spent, as alerts: once at 80 %, once at 100 %, of a month and a limit."""

from __future__ import annotations

from genomic_platform.alerts.alert import Alert
from genomic_platform.costs.budget import BudgetState


def budget_alert(program: str, state: BudgetState) -> Alert | None:
    """The alert of a budget's state; None while there is enough left, or no budget."""
    if state.state not in ("warn", "stop"):
        return None
    return Alert(cause=f"{program}:budget:{state.month}:{state.limit:g}:{state.state}", kind="budget", program=program,
                 season=None, what=state.message, where="costs", how_sure="certain, of the steps that have ended",
                 done="new training is stopped" if state.state == "stop" else "nothing yet",
                 severity="error" if state.state == "stop" else "warning")
