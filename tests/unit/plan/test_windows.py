"""Maintenance windows: when they are open, also on the days on which clocks are set."""

from datetime import UTC, datetime, time

import pytest

from reconciler.errors import CkptreeError
from reconciler.model.windows import ALWAYS, Window, Windows
from reconciler.plan.windows import is_open, next_opening, opening_text

EVERY_DAY = frozenset(range(7))
SATURDAY = frozenset({5})


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def window(days: frozenset[int], start: str, end: str, zone: str = "UTC") -> Window:
    return Window(
        days=days, start=time.fromisoformat(start), end=time.fromisoformat(end), zone=zone
    )


def test_without_windows_it_is_always_open() -> None:
    assert is_open(None, utc("2026-11-23T12:00"))
    assert next_opening(None, utc("2026-11-23T12:00")) is None


@pytest.mark.parametrize(
    ("at", "opened"),
    [
        ("2026-11-27T23:00", False),  # a Friday
        ("2026-11-28T21:59", False),
        ("2026-11-28T22:00", True),
        ("2026-11-29T05:59", True),  # the night that Saturday began
        ("2026-11-29T06:00", False),
        ("2026-11-29T23:00", False),
    ],
)
def test_a_window_over_midnight_belongs_to_the_day_on_which_it_opens(at: str, opened: bool) -> None:
    assert is_open((window(SATURDAY, "22:00", "06:00"),), utc(at)) is opened


def test_a_window_that_ends_when_it_begins_is_open_for_a_day() -> None:
    whole = (window(SATURDAY, "06:00", "06:00"),)
    assert [is_open(whole, utc(f"2026-11-{day}T05:59")) for day in (28, 29)] == [False, True]
    assert [is_open(whole, utc(f"2026-11-{day}T06:00")) for day in (28, 29)] == [True, False]


def test_the_zone_decides_what_the_hours_are_in_summer_and_winter() -> None:
    night = (window(EVERY_DAY, "22:00", "06:00", "Europe/Berlin"),)
    assert next_opening(night, utc("2026-07-01T12:00")) == utc("2026-07-01T20:00")
    assert next_opening(night, utc("2026-12-01T12:00")) == utc("2026-12-01T21:00")


def test_an_hour_that_is_skipped_opens_nothing_and_a_later_part_of_it_opens_at_once() -> None:
    # On 29 March 2026 clocks in Berlin go from 02:00 to 03:00, which is 01:00 UTC.
    skipped = (window(EVERY_DAY, "02:15", "02:45", "Europe/Berlin"),)
    assert next_opening(skipped, utc("2026-03-28T12:00")) == utc("2026-03-30T00:15")
    longer = (window(EVERY_DAY, "02:15", "03:45", "Europe/Berlin"),)
    assert next_opening(longer, utc("2026-03-28T12:00")) == utc("2026-03-29T01:00")
    assert not is_open(longer, utc("2026-03-29T01:45"))


def test_an_hour_that_comes_twice_counts_twice() -> None:
    # On 25 October 2026 clocks in Berlin go from 03:00 back to 02:00, which is 01:00 UTC.
    early = (window(EVERY_DAY, "01:00", "02:30", "Europe/Berlin"),)
    assert is_open(early, utc("2026-10-25T00:15"))
    assert not is_open(early, utc("2026-10-25T00:45"))
    assert next_opening(early, utc("2026-10-25T00:45")) == utc("2026-10-25T01:00")
    assert not is_open(early, utc("2026-10-25T01:30"))


def test_it_is_said_when_the_window_opens_in_utc_and_in_its_zone() -> None:
    night = (window(SATURDAY, "22:00", "06:00", "Europe/Berlin"),)
    assert opening_text(night, utc("2026-11-23T12:00")) == (
        "the window opens at 2026-11-28 21:00 UTC (Sat 22:00 in Europe/Berlin)"
    )


def test_no_window_at_all_never_opens() -> None:
    assert opening_text((), utc("2026-11-23T12:00")) == "no window opens within two weeks"


def test_a_zone_that_has_gone_from_the_host_is_named() -> None:
    with pytest.raises(CkptreeError, match="the time zone Nowhere/Town is not known to this host"):
        is_open((window(EVERY_DAY, "22:00", "06:00", "Nowhere/Town"),), utc("2026-11-23T12:00"))


def test_a_vms_own_windows_stand_for_those_of_its_host_kind_by_kind() -> None:
    hosts, own = (window(EVERY_DAY, "01:00", "02:00"),), (window(SATURDAY, "01:00", "02:00"),)
    both = Windows(paused=hosts, destroyed=hosts)
    assert both.with_own(Windows(paused=own)) == Windows(paused=own, destroyed=hosts)
    assert both.with_own(ALWAYS) == both
