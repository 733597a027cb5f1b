"""The one entry point of the asset graph: what `workspace.yaml`, `dg` and the command line load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg


def build_definitions(resources: Mapping[str, Any] | None = None,
                      loggers: Mapping[str, dg.LoggerDefinition] | None = None) -> dg.Definitions:
    """Assets and checks found in `defs/`, its jobs, sensors, schedules; `resources` default to the workspace set.

    What is started without a job, as backfills of the asset graph are, runs as the chosen season job does.

    Not `load_from_defs_folder`: it looks for pyproject.toml, which an installed package does not have.
    """
    from genomic_platform import defs
    from genomic_platform.defs.jobs import books_schedule, keep_books, train_season, train_season_gpu
    from genomic_platform.defs.monitoring.alert_sensors import alert_sensor
    from genomic_platform.defs.monitoring.retraining_sensors import retraining_sensor, season_schedule
    from genomic_platform.defs.monitoring.sensors import landing_sensor
    from genomic_platform.defs.registry.jobs import DECISION_JOBS
    from genomic_platform.io_managers.versioned import resources_of
    from genomic_platform.settings import read_settings
    from genomic_platform.workspace import FOLDER

    settings = read_settings()
    chosen = {job.name: job for job in (train_season, train_season_gpu)}[settings.season_job]
    return dg.Definitions(
        assets=dg.load_assets_from_package_module(defs, include_specs=True),
        asset_checks=dg.load_asset_checks_from_package_module(defs),
        jobs=[train_season, train_season_gpu, keep_books, *DECISION_JOBS],
        sensors=[landing_sensor, retraining_sensor, alert_sensor], schedules=[season_schedule, books_schedule],
        executor=chosen.executor_def, loggers=loggers,
        resources=resources or resources_of(settings.workspace or FOLDER))


@dg.definitions
def definitions() -> dg.Definitions:
    return build_definitions()
