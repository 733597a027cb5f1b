"""A budget alerts once when it is nearly spent and once when it is spent, each month anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from genomic_platform.alerts.from_budget import budget_alert
from genomic_platform.alerts.outbox import Outbox
from genomic_platform.costs.budget import BudgetState


def state(share: float, word: str, month: str = "2026-09") -> BudgetState:
    return BudgetState(month, 100 * share, 100.0, share, word, f"{share:.0%} spent in {month}")  # type: ignore[arg-type]


@pytest.mark.parametrize("found", [BudgetState(), state(.79, "ok")])
def test_what_is_left_is_not_told(found: BudgetState) -> None:
    assert budget_alert("rice", found) is None


def test_each_threshold_is_told_once_a_month(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    told = [alert for found in (state(.8, "warn"), state(.95, "warn"), state(1.0, "stop"), state(1.2, "stop"),
                                state(.81, "warn", "2026-10"))
            if (alert := budget_alert("rice", found)) and outbox.tell(alert)]
    assert [(a.severity, a.what) for a in told] == [
        ("warning", "80% spent in 2026-09"), ("error", "100% spent in 2026-09"), ("warning", "81% spent in 2026-10")]
