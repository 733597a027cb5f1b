"""Faults of program.toml and settings are said in words, never in those of the library that found them."""

from __future__ import annotations

from pathlib import Path

import pytest

from genomic_platform.errors import ProgramError
from genomic_platform.program import read_program
from genomic_platform.settings import read_settings

GOOD = 'format_version = 1\nname = "wheat_north"\n[traits.grain_yield_t_ha]\nunit = "t/ha"\n'


@pytest.mark.parametrize(("section", "said"), [
    ('[retraining]\nchallengers = "kernel"', """expected a list, such as ["…"], found 'kernel'"""),
    ('[retraining]\nchallengers = ["kernel"]', "program.toml: retraining.challengers names candidates: kernel;"),
    ('[retraining]\nchallengers = ["search:kernal"]', "unknown recipe search:kernal"),
    ("[retraining]\ncool_down = 4", "retraining.cool_down: there is no such name; expected cooldown_days, found 4"),
    ("[retraining]\nwhy = 4", "expected one of challengers, on, cooldown_days"),
    ('[retraining]\ncooldown_days = "x"', "retraining.cooldown_days: expected a number, found 'x'"),
    ('[retraining]\non = ["driftt"]', "retraining.on.0: expected 'drift', 'accuracy', 'before_planting' or"),
    ("[budget]\nmontly = 3", "budget.monthly: missing; expected a value"),
    ("[budget]\nmonthly = 0", "budget.monthly: expected more than 0, found 0"),
    ("[budgets]\nmonthly = 3", "budgets: there is no such name; expected budget"),
    ('[traits.plant_height]\nunits = "cm"', "traits.plant_height.units: there is no such name; expected unit"),
    ('[[sources]]\nfil = "x"', "sources.0.fil: there is no such name; expected file"),
    ("[weather.windows.flowering]\ndayz = [1, 2]", "weather.windows.flowering.dayz: there is no such name; expected"),
])
def test_a_fault_of_the_programme_file(tmp_path: Path, section: str, said: str) -> None:
    (tmp_path / "program.toml").write_text(f"{GOOD}{section}\n")
    with pytest.raises(ProgramError) as caught:
        read_program(tmp_path)
    assert said in str(caught.value)
    assert "tuple" not in str(caught.value)


def test_a_fault_of_a_setting(tmp_path: Path) -> None:
    (tmp_path / "genomic_platform.toml").write_text('alert_slak_webhook = "x"\nalert_late_days = "soon"\n')
    with pytest.raises(ProgramError) as caught:
        read_settings(tmp_path)
    assert "alert_slak_webhook is 'x': there is no such name; expected alert_slack_webhook" in str(caught.value)
    assert "alert_late_days is 'soon': expected a whole number" in str(caught.value)
