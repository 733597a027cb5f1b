"""Season labels: the calendars that are guessed, their order, and labels that do not fit."""

from __future__ import annotations

import pytest

from genomic_platform.errors import ProgramError
from genomic_platform.phenotypes.seasons import ALL, Calendar, guess_calendar, odd_labels


@pytest.mark.parametrize(("labels", "kind", "following"), [
    (["2013", "2009", "2010"], "YYYY", "2014"),
    (["2012-13", "2013-14"], "YYYY-YY", "2014-15"),
    (["1998-99", "1999-00"], "YYYY-YY", "2000-01"),
    (["2013A", "2013B", "2012B"], "YYYYc", "2014A"),
    (["E1", "E2", "E4"], "unordered", None),
])
def test_guess_and_next(labels: list[str], kind: str, following: str | None) -> None:
    calendar = guess_calendar(labels)
    assert calendar.kind == kind
    assert all(calendar.fits(x) for x in labels)
    assert calendar.sort(labels) == tuple(sorted(labels))
    assert calendar.next(max(labels)) == following
    if following:
        assert max(labels) < following
        assert calendar.fits(following)
        assert calendar.first == min(labels)
        assert calendar.partitions(labels) == tuple(sorted(labels))
    else:
        assert calendar.partitions(labels) == (ALL,)


@pytest.mark.parametrize(("labels", "odd"), [
    (["2012", "20l3", "2014"], "20l3"),
    (["2012", "20l3"], "20l3"),
    (["2012", "2013", "spring"], "spring"),
    (["2012", "2013-14", "2015"], "2013-14"),
    (["2012-13", "2013-15", "2014-15"], "2013-15"),
    (["2012", "2013/14"], "2013/14"),
    (["2012", "a label far too long"], "a label far too long"),
    (["E1", "E2", "2013"], "2013"),
])
def test_a_mixture_names_the_odd_label(labels: list[str], odd: str) -> None:
    assert list(odd_labels(labels)) == [odd]
    with pytest.raises(ProgramError, match=f"season '{odd}': expected"):
        guess_calendar(labels)


def test_digits_that_are_no_years_are_refused() -> None:
    assert list(odd_labels(["1", "2"])) == ["1", "2"]
    with pytest.raises(ProgramError, match="listed in order"):
        guess_calendar(["1", "2"])
    with pytest.raises(ProgramError, match="no season"):
        guess_calendar([])


def test_hemisphere_from_latitude() -> None:
    south, north = guess_calendar(["2013"], -33.25), guess_calendar(["2013"], 52.0)
    assert (south.planting_month, south.harvest_month) == (10, 4)
    assert (north.planting_month, north.harvest_month) == (4, 10)
    assert guess_calendar(["2013"]).planting_month is None


def test_first_season_and_cycles_bound_the_calendar() -> None:
    calendar = Calendar("YYYYc", first="2013A", cycles=("A", "B"))
    assert [calendar.fits(x) for x in ("2012B", "2013A", "2014C", "2014")] == [False, True, False, False]
    assert calendar.next("2013A") == "2013B"


def test_listed_labels_follow_their_list() -> None:
    calendar = Calendar("listed", order=("C0", "C1", "C2"))
    assert calendar.next("C1") == "C2"
    assert calendar.next("C2") is None
    assert not calendar.fits("C3")


@pytest.mark.parametrize(("settings", "message"), [
    ({"kind": "listed", "order": ("spring", "autumn")}, "must sort as text"),
    ({"kind": "listed"}, "order is empty"),
    ({"kind": "lunar"}, "calendar kind is 'lunar'"),
    ({"kind": "YYYY", "planting_month": 13}, "planting_month is 13"),
])
def test_calendars_that_cannot_be(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        Calendar(**settings)  # pyright: ignore[reportArgumentType]


def test_a_season_has_a_number_that_other_seasons_do_not_change() -> None:
    numbers = {kind: [Calendar(kind, order=("1-dry", "2-wet") if kind == "listed" else ()).ordinal(x) for x in labels]
               for kind, labels in {"YYYY": ("2009", "2013"), "YYYY-YY": ("2009-10", "2013-14"),
                                    "YYYYc": ("2009A", "2009B", "2010A"), "listed": ("1-dry", "2-wet"),
                                    "unordered": ("all",)}.items()}
    assert numbers == {"YYYY": [2009, 2013], "YYYY-YY": [2009, 2013], "YYYYc": [200901, 200902, 201001],
                       "listed": [1, 2], "unordered": [0]}
