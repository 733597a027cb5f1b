"""What was noticed about a programme: its alerts, and whether its channels answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, validators

from genomic_platform.commands.console import Flag, Folder, Json, app, opened, out
from genomic_platform.errors import AlertNotSent, counted

if TYPE_CHECKING:
    from genomic_platform.alerts.alert import Alert
    from genomic_platform.alerts.channels import Channel
    from genomic_platform.alerts.outbox import Delivery, Outbox

Last = Annotated[int, Parameter(validator=validators.Number(gte=1))]


@app.command(sort_key=28)
def alerts(folder: Folder, *, last: Last = 20, json_: Json = False, send_test: Flag = False) -> None:
    """List the programme's alerts, newest last, with what each channel got of them.

    Parameters
    ----------
    last
        How many.
    json_
        JSON instead; its schema: genomic-platform schema alerts.
    send_test
        Instead send a test alert through every channel, at once, and say which took it.
    """
    from genomic_platform.alerts.channels import channels_of

    program, workspace = opened(folder)
    channels = channels_of(workspace.settings)
    if send_test:
        return _test(program.name, channels)
    told = workspace.alerts.alerts(program.name)
    if json_:
        print(json.dumps(_listed(program.name, told[-last:], workspace.alerts), ensure_ascii=False, indent=1))
        return None
    deliveries = workspace.alerts.deliveries()
    for alert in told[-last:]:
        out.print(alert.text())
        out.print(f"Sent: {_states(alert, channels, deliveries)}\n")
    shown = f", the last {last} shown" if len(told) > last else ""
    out.print(f"{counted(len(told), 'alert')}{shown}; channels: {', '.join(c.name for c in channels)}")
    return None


def _listed(program: str, told: list[Alert], outbox: Outbox) -> dict[str, object]:
    deliveries = outbox.deliveries()
    return {"schema_version": 1, "program": program, "alerts": [
        {**alert.to_json(), "deliveries": [d.to_json() for (cause, _), d in sorted(deliveries.items())
                                           if cause == alert.cause]} for alert in told]}


def _states(alert: Alert, channels: list[Channel], deliveries: dict[tuple[str, str], Delivery]) -> str:
    """`log; slack not yet, tried 2 times: the server answered 503`; channels of the past included."""
    names = dict.fromkeys([c.name for c in channels] + [name for cause, name in deliveries if cause == alert.cause])
    said = []
    for name in names:
        found = deliveries.get((alert.cause, name))
        if found is None:
            said.append(f"{name} not tried")
        elif found.state == "sent":
            said.append(name)
        else:
            state = "given up" if found.next is None else "not yet"
            said.append(f"{name} {state}, tried {counted(found.attempts, 'time')}: {found.error}")
    return "; ".join(said)


def _test(program: str, channels: list[Channel]) -> None:
    from genomic_platform.alerts.alert import Alert
    from genomic_platform.alerts.channels import answer_of

    alert = Alert(f"test:{program}", "test", program, None, "somebody asked for a test of the channels",
                  "genomic-platform alerts --send-test", "certain", "nothing is to be done", severity="info")
    answers = {channel.name: answer_of(channel, alert) for channel in channels}
    for name, error in answers.items():
        out.print(f"{name:8} {error or 'took it'}")
    if failed := [name for name, error in answers.items() if error]:
        raise AlertNotSent(f"{', '.join(failed)} did not take the test alert; repair: the settings alert_… "
                           "(genomic-platform settings lists them), or what answers there")
