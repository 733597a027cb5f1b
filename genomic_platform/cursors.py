"""What a sensor's cursor holds of each programme; whatever else it holds counts as no look before.

A cursor is Dagster's to keep and anybody's to edit. One that cannot be read must not end a sensor for good: run keys
keep a cause from starting a second run, so looking at everything anew costs a tick.
"""

from __future__ import annotations

import json
from typing import Any


def looks_of(cursor: str | None) -> dict[str, dict[str, Any]]:
    """Programme → what its last look left; empty for what is no such thing."""
    try:
        held = json.loads(cursor or "{}")
    except ValueError:
        return {}
    looks = held.items() if isinstance(held, dict) else ()
    return {name: look for name, look in looks if isinstance(look, dict)}
