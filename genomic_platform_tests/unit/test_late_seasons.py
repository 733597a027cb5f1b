"""Late seasons by the calendar: when a harvest has ended, and which programmes are not told as late."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomic_platform.alerts.late import harvest_end, late_season
from genomic_platform.phenotypes.seasons import Calendar


@pytest.mark.parametrize(("calendar", "label", "end"), [
    (Calendar("YYYY", planting_month=4, harvest_month=10), "2026", date(2026, 10, 31)),
    (Calendar("YYYY", planting_month=10, harvest_month=4), "2026", date(2027, 4, 30)),
    (Calendar("YYYY", planting_month=10, harvest_month=2), "2023", date(2024, 2, 29)),
    (Calendar("YYYY", planting_month=6, harvest_month=6), "2026", date(2026, 6, 30)),
    (Calendar("YYYY", harvest_month=8), "2026", date(2026, 8, 31)),
    (Calendar("YYYY-YY", planting_month=10, harvest_month=4), "2025-26", date(2026, 4, 30)),
    (Calendar("YYYY-YY", harvest_month=7), "2025-26", date(2026, 7, 31)),
    (Calendar("YYYYc", planting_month=1, harvest_month=5, cycles=("A", "B")), "2026A", date(2026, 12, 31)),
    (Calendar("YYYYc", planting_month=11, harvest_month=5, cycles=("A", "B")), "2026B", date(2027, 12, 31)),
    (Calendar("YYYY", planting_month=4), "2026", None),
    (Calendar("listed", order=("01-a", "02-b"), harvest_month=10), "01-a", None),
    (Calendar("unordered", harvest_month=10), "spring", None),
])
def test_harvest_ends_with_its_month(calendar: Calendar, label: str, end: date | None) -> None:
    assert harvest_end(calendar, label) == end


NORTH = Calendar("YYYY", planting_month=4, harvest_month=10)


@pytest.mark.parametrize(("today", "late"), [
    (date(2026, 10, 31), None), (date(2026, 12, 29), None), (date(2026, 12, 30), "2026"), (date(2027, 12, 29), "2026"),
    (date(2027, 12, 30), None), (date(2040, 1, 1), None)])
def test_a_season_is_late_from_sixty_days_on_for_a_year(today: date, late: str | None) -> None:
    found = late_season(NORTH, "2025", today, 60)
    assert (found and found[0]) == late


def test_the_first_cycle_of_a_year_is_late_when_the_whole_year_is_missing() -> None:
    two = Calendar("YYYYc", planting_month=1, harvest_month=5, cycles=("A", "B"))
    assert late_season(two, "2025B", date(2027, 3, 1), 60) == ("2026A", date(2026, 12, 31))
    assert late_season(two, "2026A", date(2027, 3, 1), 60) == ("2026B", date(2026, 12, 31))


def test_a_calendar_that_ends_or_has_no_order_is_never_late() -> None:
    today = date(2026, 6, 1)
    assert late_season(Calendar("listed", order=("01", "02"), harvest_month=1), "01", today, 0) is None
    assert late_season(Calendar("unordered", harvest_month=1), "all", today, 0) is None
    assert late_season(Calendar("YYYY"), "2020", today, 0) is None


@given(kind=st.sampled_from(["YYYY", "YYYY-YY"]), planting=st.none() | st.integers(1, 12),
       harvest=st.integers(1, 12), year=st.integers(1950, 2099), grace=st.integers(0, 200))
def test_a_season_is_late_for_one_year_beginning_with_its_day(kind: str, planting: int | None, harvest: int, year: int,
                                                              grace: int) -> None:
    calendar = Calendar(kind, planting_month=planting, harvest_month=harvest)
    last = str(year) if kind == "YYYY" else f"{year}-{(year + 1) % 100:02d}"
    label = calendar.next(last)
    assert label is not None
    end = harvest_end(calendar, label)
    assert end is not None
    assert end.month == harvest
    assert (end + timedelta(days=1)).day == 1
    due = end + timedelta(days=grace)
    assert late_season(calendar, last, due - timedelta(days=1), grace) is None
    assert late_season(calendar, last, due, grace) == (label, end)
    assert late_season(calendar, last, due + timedelta(days=364), grace) == (label, end)
    assert late_season(calendar, last, due + timedelta(days=366), grace) is None
