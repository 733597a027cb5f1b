"""Jobs that decide on champions from the UI's launchpad: rollback, approve, reject.

They carry no `program` tag, so they never wait behind a season that is being trained.
"""

from collections.abc import Callable

import dagster as dg

from genomic_platform.defs.failures import as_failure
from genomic_platform.errors import GenomicPlatformError
from genomic_platform.stores import deciding
from genomic_platform.workspace import Workspace


class Decision(dg.Config):
    """What a person decides: for which programme and trait, why, and who it is."""

    program: str
    trait: str
    reason: str
    who: str


class Rollback(Decision):
    """`to`: version in the registry; 0 = the champion before the present one."""

    to: int = 0


def _decided(context: dg.OpExecutionContext, decide: Callable[[Workspace], deciding.Decided]) -> None:
    try:
        decided = decide(context.resources.workspace.open())
    except GenomicPlatformError as error:
        raise as_failure(error, context.instance, context.run) from error
    context.add_output_metadata({"trait": decided.trait, "decision": decided.decision, "champion": decided.recipe,
                                 "trained_through": decided.trained_through, "commit": decided.commit,
                                 "registry_version": decided.version or 0})


@dg.op(required_resource_keys={"workspace"})
def put_earlier_champion_back(context: dg.OpExecutionContext, config: Rollback) -> None:
    """Put an earlier model back as a trait's champion and pin it."""
    _decided(context, lambda workspace: deciding.roll_back(
        workspace, config.program, config.trait, reason=config.reason, who=config.who, to=config.to or None))


@dg.op(required_resource_keys={"workspace"})
def approve_what_waits(context: dg.OpExecutionContext, config: Decision) -> None:
    """Make the model that waits champion of the trait; where none waits, lift the pin of a rollback."""
    _decided(context, lambda workspace: deciding.approve(
        workspace, config.program, config.trait, reason=config.reason, who=config.who))


@dg.op(required_resource_keys={"workspace"})
def reject_what_waits(context: dg.OpExecutionContext, config: Decision) -> None:
    """Turn down the model that waits for approval; the champion stays."""
    _decided(context, lambda workspace: deciding.reject(
        workspace, config.program, config.trait, reason=config.reason, who=config.who))


@dg.job(executor_def=dg.in_process_executor,
        description="Put an earlier model back as a trait's champion, at once; it stays until `approve`.")
def rollback() -> None:
    put_earlier_champion_back()


@dg.job(executor_def=dg.in_process_executor,
        description="Approve the model that waits for a trait, or lift the pin of a rollback.")
def approve() -> None:
    approve_what_waits()


@dg.job(executor_def=dg.in_process_executor,
        description="Reject the model that waits for a trait.")
def reject() -> None:
    reject_what_waits()


DECISION_JOBS = [rollback, approve, reject]
