"""Whether a maintenance window is open, and when one opens next.

What the clock on the wall shows in the window's zone decides, and nothing else: an hour that is skipped when clocks
are set forward opens nothing, one that comes twice counts twice.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from reconciler.errors import CkptreeError
from reconciler.model.windows import Window

_LOOKED_AT = 15  # days: two weeks, for a window of one day in the week that falls out once
_QUARTER = timedelta(minutes=15)  # offsets from UTC change at whole quarters of an hour
_DAY = timedelta(days=1)


def is_open(windows: tuple[Window, ...] | None, now: datetime) -> bool:
    """Whether one of WINDOWS is open at NOW; none are always open. Raises CkptreeError for an unknown zone."""
    return windows is None or any(_open(window, now) for window in windows)


def next_opening(windows: tuple[Window, ...] | None, now: datetime) -> datetime | None:
    """Tell when the first of WINDOWS opens, in UTC; none where one is open at NOW, or never will be."""
    if windows is None or is_open(windows, now):
        return None
    moments = sorted({moment for window in windows for moment in _candidates(window, now)})
    return next((moment for moment in moments if moment > now and is_open(windows, moment)), None)


def opening_text(windows: tuple[Window, ...] | None, now: datetime) -> str:
    """Say when the first of WINDOWS opens, as the end of a sentence."""
    opens = next_opening(windows, now)
    if windows is None or opens is None:
        return "no window opens within two weeks"
    zone = next(window.zone for window in windows if _open(window, opens))
    utc = f"{opens:%Y-%m-%d %H:%M} UTC"
    there = f" ({opens.astimezone(_zone(zone)):%a %H:%M} in {zone})" if zone != "UTC" else ""
    return f"the window opens at {utc}{there}"


@cache
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError) as error:
        raise CkptreeError(
            f"the time zone {name} is not known to this host any more"
            " (install the time zones, or write another 'zone')"
        ) from error


def _open(window: Window, now: datetime) -> bool:
    here = now.astimezone(_zone(window.zone))
    clock, today = here.time().replace(tzinfo=None), here.weekday()
    if window.start < window.end:
        return today in window.days and window.start <= clock < window.end
    yesterday = (today - 1) % 7
    since = today in window.days and clock >= window.start
    return since or (yesterday in window.days and clock < window.end)


def _candidates(window: Window, now: datetime) -> Iterator[datetime]:
    """Every moment after NOW at which WINDOW may open: its hour on each day, and where clocks are set."""
    zone = _zone(window.zone)
    today = now.astimezone(zone).date()
    for number in range(_LOOKED_AT):
        start = datetime.combine(today + number * _DAY, window.start, tzinfo=zone)
        yield from (start.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
        midnight = datetime.combine(today + number * _DAY, datetime.min.time(), tzinfo=zone)
        moment, ends = midnight.astimezone(UTC), (midnight + _DAY).astimezone(UTC)
        if midnight.utcoffset() == (midnight + _DAY).utcoffset():
            continue
        while moment <= ends:
            if (moment - _QUARTER).astimezone(zone).utcoffset() != moment.astimezone(
                zone
            ).utcoffset():
                yield moment
            moment += _QUARTER
