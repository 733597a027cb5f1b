"""The alert sensor: what a person should hear of becomes an alert, and what is due is sent. It starts no run."""

import dagster as dg

from genomic_platform.alerts.channels import channels_of
from genomic_platform.alerts.outbox import summary
from genomic_platform.alerts.watch import look
from genomic_platform.io_managers.versioned import WorkspaceResource
from genomic_platform.settings import read_settings

_SETTINGS = read_settings()


@dg.sensor(name="alert_sensor", minimum_interval_seconds=_SETTINGS.sensor_seconds,
           default_status=dg.DefaultSensorStatus.RUNNING)
def alert_sensor(context: dg.SensorEvaluationContext, workspace: WorkspaceResource) -> dg.SensorResult:
    """Looks at ended runs, failed checks, the ticks of sensors and schedules, and the programmes' calendars.

    Each cause is told once. Alerts are sent by the channels that the settings name; what cannot be sent is tried again
    later. Without a cursor, watching begins now.
    """
    opened = workspace.open()
    repository = context.repository_def
    known = {d.name for d in [*repository.sensor_defs, *repository.schedule_defs]} if repository else set()
    try:
        new, cursor = look(context.instance, opened, context.cursor, known)
    finally:  # what was told elsewhere is sent, also where this look fails
        sent = opened.alerts.deliver(channels_of(opened.settings))
    for alert in new:
        context.log.info(alert.title)
    said = f"{len(new)} new" + (f"; {summary(sent)}" if sent else "") if new or sent else "nothing to tell"
    return dg.SensorResult(cursor=cursor, skip_reason=dg.SkipReason(said))
