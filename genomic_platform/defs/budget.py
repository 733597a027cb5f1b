"""Whether a run may begin a training: stopped where the month has cost the programme's budget.

Asked once a run, when it begins to work: what is under way, or goes on where a run was broken off, is finished.
"""

from __future__ import annotations

import dagster as dg

from genomic_platform.costs.budget import budget_state
from genomic_platform.program import Program
from genomic_platform.workspace import Workspace

#: On runs that a person lets train over the budget: who it is.
OVER_BUDGET_TAG = "genomic_platform/over_budget"


def require_budget(run: dg.DagsterRun, program: Program, workspace: Workspace) -> None:
    """Refuse a run that trains once the month's budget is spent; one let through by hand goes to the audit log.

    Raises
    ------
    OverBudget : the budget is spent and nobody said that the run may go over it.
    ProgramError : budget and prices are in different currencies.
    """
    if program.file.budget is None or not trains(run):
        return
    state = budget_state(program, workspace)
    who = run.tags.get(OVER_BUDGET_TAG)
    if state.state != "stop" or not who:
        state.require()
        return
    workspace.audit.record(
        "over budget", key=f"over budget:{run.run_id}", program=program.name, who=who,
        what={"run": run.run_id, "season": run.tags["dagster/partition"].partition(":")[2], "month": state.month,
              "spent": round(state.spent, 4), "budget": state.limit,
              "currency": workspace.settings.price_currency}, why="run over budget")


def trains(run: dg.DagsterRun) -> bool:
    """Whether the run fits candidates: a whole season does, a selection of assets without one does not."""
    from genomic_platform.defs.training.candidates import CANDIDATE_ASSETS  # which needs what needs this module

    return run.asset_selection is None or any(key.path[-1] in CANDIDATE_ASSETS for key in run.asset_selection)
