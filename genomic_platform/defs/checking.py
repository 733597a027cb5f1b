"""How a check of the graph runs: on one season, and a failed blocking one is never retried."""

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import dagster as dg

from genomic_platform.defs.failures import refuse_retries
from genomic_platform.defs.partitions import field_season


def season_check(asset: str, *, blocking: bool, severe: bool = False,
                 inputs: tuple[str, ...] = ()) -> Callable[..., dg.AssetChecksDefinition]:
    """Make a check from `check(table, *inputs) -> (passed, metadata)`, numbers included.

    A blocking check that fails stops everything downstream, the release too; another one warns, or shows as an error
    where `severe`: values are published, but a person must act before they are used.
    """

    def decorate(check: Callable[..., tuple[bool, dict[str, Any]]]) -> dg.AssetChecksDefinition:
        names = (asset, *inputs)

        def execute(context: dg.AssetCheckExecutionContext, **values: Any) -> dg.AssetCheckResult:
            passed, metadata = check(*(values[name] for name in names))
            if blocking and not passed:
                refuse_retries(context.instance, context.run)
            return dg.AssetCheckResult(passed=passed, metadata=metadata, severity=dg.AssetCheckSeverity.ERROR
                                       if blocking or severe else dg.AssetCheckSeverity.WARN)

        # Dagster reads the inputs of a check off its signature.
        parameters = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in ("context", *names)]
        execute.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with warnings.catch_warnings():
            # `partitions_def` on a check is in preview; without it a check is handed every season at once.
            warnings.simplefilter("ignore", dg.PreviewWarning)
            return dg.asset_check(
                asset=asset, name=check.__name__, description=inspect.getdoc(check), blocking=blocking,
                partitions_def=field_season, additional_ins={name: dg.AssetIn(name) for name in inputs},
            )(execute)

    return decorate
