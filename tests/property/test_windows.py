"""Maintenance windows at random: when the next one opens, also on the days on which clocks are set."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.windows import Window
from reconciler.plan.windows import is_open, next_opening

times = st.builds(time, st.integers(0, 23), st.sampled_from([0, 1, 15, 30, 59]))
zones = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "America/Santiago"]
)
moments = st.integers(0, 2 * 365 * 24 * 60).map(
    lambda minutes: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    days=st.frozensets(st.integers(0, 6), min_size=1),
    start=times,
    end=times,
    zone=zones,
    now=moments,
)
def test_the_next_opening_is_the_first_minute_that_is_open(
    days: frozenset[int], start: time, end: time, zone: str, now: datetime
) -> None:
    windows = (Window(days=days, start=start, end=end, zone=zone),)
    found = next_opening(windows, now)
    if is_open(windows, now):
        assert found is None
        return
    assert found is not None
    assert is_open(windows, found)
    step = timedelta(minutes=max(1, int((found - now) / timedelta(minutes=400))))
    assert not any(is_open(windows, now + number * step) for number in range((found - now) // step))
    assert not is_open(windows, found - timedelta(minutes=1))
    assert found.astimezone(ZoneInfo(zone)).time() == start or _clocks_are_set(found, zone)


def _clocks_are_set(moment: datetime, zone: str) -> bool:
    there = ZoneInfo(zone)
    before = (moment - timedelta(minutes=1)).astimezone(there)
    return before.utcoffset() != moment.astimezone(there).utcoffset()
