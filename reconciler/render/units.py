"""Sizes, ages and moments in the words that people read; JSON has bytes and ISO times instead."""

from datetime import UTC, datetime, timedelta

_STEP = 1024
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_MONTH = 30 * _DAY
_YEAR = 365 * _DAY

_AGES = (
    (2 * _MINUTE, 1, "s"),
    (2 * _HOUR, _MINUTE, "min"),
    (2 * _DAY, _HOUR, "h"),
    (90 * _DAY, _DAY, "d"),
    (2 * _YEAR, _MONTH, "mo"),
)
"""Up to this many seconds, the unit of so many seconds, and its name."""


def bytes_text(count: int) -> str:
    """Write a size in binary units: ``13.2 GiB``, and below one KiB ``512 B``."""
    if abs(count) < _STEP:
        return f"{count} B"
    size = count / _STEP
    units = iter(_UNITS)
    unit = next(units)
    # 1023.96 would be written as 1024.0 of the smaller unit.
    while abs(round(size, 1)) >= _STEP and (larger := next(units, None)):
        size, unit = size / _STEP, larger
    return f"{size:.1f} {unit}"


def age_text(age: timedelta) -> str:
    """Write how long something is ago, rounded down: ``45 s``, ``3 h``, ``12 d``, ``5 mo``.

    A negative age, from a clock that was set back, is written as the time until then: ``in 3 h``.
    """
    seconds = int(age.total_seconds())
    if seconds < 0:
        return f"in {age_text(-age)}"
    for limit, unit, name in _AGES:
        if seconds < limit:
            return f"{seconds // unit} {name}"
    return f"{seconds // _YEAR} y"


def time_text(moment: datetime) -> str:
    """Write a moment to the minute, rounded down: ``2026-11-24 12:00 UTC``."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def count_text(count: int, one: str, many: str | None = None) -> str:
    """Write a number with its noun: ``1 snapshot``, ``2 snapshots``."""
    return f"{count} {one if count == 1 else many or f'{one}s'}"
