"""What a plain word means: to ckptree, and to YAML readers that would make something else of it.

The patterns join YAML 1.1 and 1.2, so that a word that either of them changes has to be put in
quotes.
"""

import re
from datetime import UTC, datetime, timedelta
from enum import Enum

from reconciler.spec.syntax import ScalarNode


class Kind(Enum):
    """What a scalar is; the value is how a message names it."""

    TEXT = "text"
    NOTHING = "nothing"
    TRUTH = "a truth value"
    WORD_OF_TRUTH = "true or false"
    INTEGER = "a whole number"
    NUMBER = "a number"
    DATE = "a date"


_NOTHING = re.compile(r"~|null|Null|NULL|")
_WORD_OF_TRUTH = re.compile(r"true|false|yes|no|on|off", re.IGNORECASE)
# Eighteen digits are more than any setting needs, and few enough for every reader's integers.
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_NUMBER = re.compile(
    r"""[-+]?( [0-9][0-9_]*            # also 012: ten to some, twelve to others
             | 0b[01_]+ | 0o?[0-7_]+ | 0x[0-9a-fA-F_]+
             | [0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?
             | ([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?
             | \.(inf|Inf|INF) )
      | \.(nan|NaN|NAN)""",
    re.VERBOSE,
)
_DATE = re.compile(
    r"""[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}
        (([Tt]|[ ]+)[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]*)?)?
        [ ]*(Z|[-+][0-9]{1,2}(:?[0-9]{2})?)?)?""",
    re.VERBOSE,
)
_DURATION = re.compile(
    r"(?:([0-9]{1,6})w)?(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,9})s)?"
)
_UNITS = (604800, 86400, 3600, 60, 1)
_LONGEST_DURATION = 36525 * 86400  # a hundred years; keeps every sum with a moment in range
_MOMENT = re.compile(
    r"(2[0-9]{3}-[0-9]{2}-[0-9]{2})(?:T([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(Z|[-+][0-9]{2}:[0-9]{2}))?"
)


def kind(node: ScalarNode) -> Kind:
    """Say what NODE is; text in quotes is always text."""
    if not node.plain:
        return Kind.TEXT
    if node.text in {"true", "false"}:
        return Kind.TRUTH
    for pattern, found in (
        (_NOTHING, Kind.NOTHING),
        (_WORD_OF_TRUTH, Kind.WORD_OF_TRUTH),
        (_INTEGER, Kind.INTEGER),
        (_NUMBER, Kind.NUMBER),
        (_DATE, Kind.DATE),
    ):
        if pattern.fullmatch(node.text):
            return found
    return Kind.TEXT


def parse_duration(text: str) -> timedelta | None:
    """Read ``90s``, ``1h30m`` or ``0``; none if it is no duration, or one of over a century."""
    match = _DURATION.fullmatch(text)
    if text == "0":
        return timedelta(0)
    if not text or not match:
        return None
    seconds = sum(
        int(count) * unit for count, unit in zip(match.groups(), _UNITS, strict=True) if count
    )
    return timedelta(seconds=seconds) if seconds <= _LONGEST_DURATION else None


def parse_moment(text: str) -> datetime | None:
    """Read a date (midnight UTC) or a time with ``Z`` or an offset; none if it is neither."""
    match = _MOMENT.fullmatch(text)
    if not match:
        return None
    date, clock, zone = match.groups()
    try:
        return datetime.fromisoformat(f"{date}T{clock or '00:00'}{zone or 'Z'}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
