"""Reads the output of ``zfs get -Hp`` and ``zfs holds -H`` into facts; pure text work.

Anybody who may set a user property may put tabs and newlines into it. The order of the rows is
known, because the properties were asked for in that order: a line that is not the expected row
belongs to the value before it, and whatever still does not parse is a Gap and spoils nothing else.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from reconciler.errors import CkptreeError
from reconciler.model.observed import DatasetFacts, DatasetKind, Gap, SnapshotFacts
from reconciler.model.properties import ALL, decode_text
from reconciler.names import Dataset, Snapshot

_NATIVE = (
    "type",
    "guid",
    "createtxg",
    "origin",
    "mounted",
    "mountpoint",
    "canmount",
    "used",
    "referenced",
    "written",
    "userrefs",
    "defer_destroy",
    "clones",
)
ASKED = _NATIVE + ALL
"""What to ask ``zfs get`` for, in this order; there is no user property before a native one."""

_LONGEST = 8191  # ZFS_MAXPROPLEN of libzfs less the end: a list of clones that long was cut off
_GUID = (1 << 64) - 1  # some bindings print the upper half of all guids as negative numbers


@dataclass(frozen=True, slots=True)
class Value:
    """A property's value and where it comes from (zfs-get(8), source)."""

    text: str
    source: str


@dataclass(slots=True)
class Listing:
    """What one listing told, in its own order. HELD counts the holds of snapshots that have any."""

    datasets: list[DatasetFacts] = field(default_factory=list)
    snapshots: list[SnapshotFacts] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    held: dict[Snapshot, int] = field(default_factory=dict)


def parse(text: str) -> Listing:
    """Read the rows ``name, property, value, source`` of all ASKED properties of many objects."""
    listing = Listing()
    for name, values in _objects(text, ASKED):
        missing = [asked for asked in ASKED if asked not in values]
        if missing:
            listing.gaps.append(Gap(name, f"no {missing[0]} in the listing"))
            continue
        try:
            if "@" in name:
                snapshot = _snapshot(name, values)
                listing.snapshots.append(snapshot)
                if values["userrefs"].text != "0":
                    listing.held[snapshot.name] = int(values["userrefs"].text)
            else:
                listing.datasets.append(_dataset(name, values))
        except (CkptreeError, ValueError) as error:
            listing.gaps.append(Gap(name, str(error)))
    return listing


def parse_holds(text: str, asked: Sequence[Snapshot]) -> Mapping[Snapshot, frozenset[str]]:
    """Read the rows ``name, tag, time`` of ``zfs holds -H``."""
    tags: dict[Snapshot, set[str]] = {name: set() for name in asked}
    for line in text.split("\n"):
        fields = line.split("\t")
        name = Snapshot(fields[0]) if fields[0] in tags else None
        if name is not None and len(fields) > 2:
            tags[name].add("\t".join(fields[1:-1]))
    return {name: frozenset(found) for name, found in tags.items()}


def parse_local(text: str, asked: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
    """Read rows of user properties with local source, by object; leaves out what does not parse."""
    found: dict[str, dict[str, str]] = {}
    for line in text.split("\n"):
        fields = line.split("\t")
        if len(fields) > 3 and fields[1] in asked and fields[-1] == "local":
            found.setdefault(fields[0], {})[fields[1]] = decode_text("\t".join(fields[2:-1]))
    return found


def _objects(text: str, asked: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Value]]]:
    """Cut the listing into objects: every object's rows begin with the first property asked for."""
    start = re.compile(rf"^([^\t\n]+)\t{re.escape(asked[0])}\t", re.MULTILINE)
    starts = [(match.start(), match[1]) for match in start.finditer(text)]
    for (begin, name), (end, _) in pairwise([*starts, (len(text), "")]):
        yield name, _values(name, text[begin:end], asked)


def _values(name: str, block: str, asked: Sequence[str]) -> Mapping[str, Value]:
    """Read one object's rows; what cannot be told apart is left out."""
    values: dict[str, Value] = {}
    position = 0
    for index, key in enumerate(asked):
        row = f"{name}\t{key}\t"
        if not block.startswith(row, position):
            break
        following = f"\n{name}\t{asked[index + 1]}\t" if index + 1 < len(asked) else ""
        end = block.find(following, position) if following else len(block.rstrip("\n"))
        text, tab, source = block[position + len(row) : end].rpartition("\t")
        if end < 0 or not tab or "\n" in source:
            break
        values[key] = Value(text, source)
        position = end + 1
    return values


def _dataset(name: str, values: Mapping[str, Value]) -> DatasetFacts:
    kind = DatasetKind(values["type"].text)
    filesystem = kind is DatasetKind.FILESYSTEM
    origin = values["origin"].text
    mountpoint = values["mountpoint"].text
    return DatasetFacts(
        name=Dataset(name),
        guid=_number(values, "guid") & _GUID,
        kind=kind,
        createtxg=_number(values, "createtxg"),
        origin=None if origin == "-" else Snapshot(origin),
        mounted=values["mounted"].text == "yes",
        mountpoint=mountpoint if filesystem and mountpoint.startswith("/") else None,
        canmount=values["canmount"].text if filesystem else "on",
        properties=_own(values),
        used=_number(values, "used"),
        referenced=_number(values, "referenced"),
        written=_number(values, "written"),
    )


def _snapshot(name: str, values: Mapping[str, Value]) -> SnapshotFacts:
    clones = values["clones"].text
    if len(clones) >= _LONGEST:
        raise CkptreeError(f"{name} has more clones than zfs can list")
    return SnapshotFacts(
        name=Snapshot(name),
        guid=_number(values, "guid") & _GUID,
        createtxg=_number(values, "createtxg"),
        properties=_own(values),
        clones=tuple(
            sorted(Dataset(clone) for clone in clones.split(",") if clone not in {"", "-"})
        ),
        deferred=values["defer_destroy"].text == "on",
        used=_number(values, "used"),
        referenced=_number(values, "referenced"),
    )


def _own(values: Mapping[str, Value]) -> dict[str, str]:
    return {name: decode_text(values[name].text) for name in ALL if values[name].source == "local"}


def _number(values: Mapping[str, Value], name: str) -> int:
    try:
        return int(values[name].text)
    except ValueError:
        raise CkptreeError(f"{values[name].text!r} is no number for {name}") from None
