"""Maintenance windows as they are written, in a VM's document and in the host's settings alike.

Says itself what is wrong, because the settings have no schema; where the schema has said it, ``Reader`` keeps it back.
"""

from datetime import time
from difflib import get_close_matches
from zoneinfo import ZoneInfo

from reconciler.model.windows import Window, Windows
from reconciler.spec.findings import excerpt
from reconciler.spec.read import Reader
from reconciler.spec.syntax import MappingNode, Node, ScalarNode, SequenceNode

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EXAMPLE = "write a list, for example [{days: [sat, sun], from: 22:00, until: 06:00}]"
_HOURS, _MINUTES = 24, 60


def read_windows(reader: Reader, node: Node | None) -> Windows:
    """Read NODE, the value of ``windows``; faults are with READER, and what has one is left out."""
    if node is None:
        return Windows()
    if not isinstance(node, MappingNode):
        reader.fault(
            node.position, "'windows' must be a mapping", "write 'pause:' or 'destroy:' below it"
        )
        return Windows()
    _only(reader, node, ("pause", "destroy", "zone"))
    zone = _zone(reader, node)
    return Windows(
        paused=_list(reader, node, "pause", zone), destroyed=_list(reader, node, "destroy", zone)
    )


def _only(reader: Reader, node: MappingNode, keys: tuple[str, ...]) -> None:
    for entry in node.entries:
        if entry.key.text not in keys:
            near = get_close_matches(entry.key.text, keys, n=1)
            hint = f"write '{near[0]}'" if near else f"write one of {', '.join(keys)}"
            reader.fault(entry.key.position, f"unknown key {excerpt(entry.key.text)}", hint)


def _zone(reader: Reader, mapping: MappingNode) -> str:
    node = mapping.get("zone")
    if node is None:
        return "UTC"
    text = node.text if isinstance(node, ScalarNode) else ""
    try:
        ZoneInfo(text)
    except (OSError, ValueError, LookupError):  # a folder, a path, and a zone that nobody knows
        said = f"{excerpt(text)} is no time zone that this host knows" if text else "no time zone"
        reader.fault(node.position, said, "write one of the IANA's, for example Europe/Berlin")
        return "UTC"
    return text


def _list(reader: Reader, mapping: MappingNode, key: str, zone: str) -> tuple[Window, ...] | None:
    node = mapping.get(key)
    if node is None:
        return None
    if not isinstance(node, SequenceNode) or not node.items:
        reader.fault(node.position, f"'{key}' has no list of windows", _EXAMPLE)
        return None
    found = (_window(reader, item, zone) for item in node.items)
    return tuple(window for window in found if window is not None)


def _window(reader: Reader, node: Node, zone: str) -> Window | None:
    if not isinstance(node, MappingNode):
        reader.fault(node.position, "this is no window", "write {from: 22:00, until: 06:00}")
        return None
    _only(reader, node, ("days", "from", "until"))
    days = _days(reader, node)
    start, end = _time(reader, node, "from"), _time(reader, node, "until")
    if days is None or start is None or end is None:
        return None
    return Window(days=days, start=start, end=end, zone=zone)


def _days(reader: Reader, mapping: MappingNode) -> frozenset[int] | None:
    node = mapping.get("days")
    if node is None:
        return frozenset(range(len(DAYS)))
    if not isinstance(node, SequenceNode) or not node.items:
        reader.fault(node.position, "'days' has no list of days", "write for example [sat, sun]")
        return None
    days = set()
    for item in node.items:
        text = item.text if isinstance(item, ScalarNode) else ""
        if text in DAYS:
            days.add(DAYS.index(text))
        else:
            said = f"{excerpt(text)} is no day of the week" if text else "this is no day"
            reader.fault(item.position, said, f"write {', '.join(DAYS[:-1])} or {DAYS[-1]}")
    return frozenset(days) if days else None


def _time(reader: Reader, mapping: MappingNode, key: str) -> time | None:
    node = mapping.get(key)
    if node is None:
        hint = f"write '{key}: {'22:00' if key == 'from' else '06:00'}'"
        reader.fault(mapping.position, f"the key '{key}' is missing", hint)
        return None
    text = node.text if isinstance(node, ScalarNode) else ""
    hours, colon, minutes = text.partition(":")
    if colon and len(hours) == len(minutes) == len("00") and (hours + minutes).isdecimal():
        hour, minute = int(hours), int(minutes)
        if (hour, minute) == (_HOURS, 0):
            return time(0, 0)
        if hour < _HOURS and minute < _MINUTES:
            return time(hour, minute)
    said = f"{excerpt(text)} is no time of the day" if text else f"'{key}' has no time of the day"
    reader.fault(node.position, said, "write hours and minutes, for example 22:00")
    return None
