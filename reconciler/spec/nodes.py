"""The tree of checkpoints: from the syntax tree to desired nodes, parents before children.

Reads what one node says by itself; what nodes say about each other is judged in ``checks``.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from reconciler.model import properties
from reconciler.model.desired import DesiredNode, MemoryWish, When
from reconciler.names import AUTOMATIC_PREFIX, NodeName
from reconciler.spec.complaints import ambiguous
from reconciler.spec.document import PlacedNode
from reconciler.spec.findings import excerpt
from reconciler.spec.read import Reader
from reconciler.spec.scalars import Kind, kind, parse_moment
from reconciler.spec.syntax import Entry, MappingNode, ScalarNode

_LEAST_KEEP = timedelta(seconds=1)
_NAMELESS = NodeName("nameless")


def read_nodes(reader: Reader, tree: MappingNode | None) -> tuple[PlacedNode, ...]:
    """Read every node of TREE, the value of the document's ``checkpoints``."""
    return tuple(_below(reader, tree, None, root=True))


def _below(
    reader: Reader, tree: MappingNode | None, parent: NodeName | None, *, root: bool
) -> Iterator[PlacedNode]:
    for entry in tree.entries if tree else ():
        name = _name(reader, entry.key)
        keys = entry.value if isinstance(entry.value, MappingNode) else None
        fork = keys.get("fork") if keys else None
        if root and fork and reader.flag(keys, "fork"):
            reader.fault(fork.position, "a root has no parent to fork from", "remove 'fork'")
        # A node without a usable name is read all the same, for the faults in it.
        node = _node(reader, entry, name or _NAMELESS, parent, keys)
        if name is not None:
            yield node
        yield from _below(reader, reader.section(keys, "checkpoints"), name, root=False)


def _name(reader: Reader, key: ScalarNode) -> NodeName | None:
    if kind(key) is not Kind.TEXT:
        found = ambiguous(key)
        reader.fault(found.position, found.message, found.hint)
        return None
    name = reader.name(key, NodeName)
    if name is not None and name.automatic:
        message = f"names that begin with '{AUTOMATIC_PREFIX}' belong to ckptree's own checkpoints"
        reader.fault(key.position, message, "write another name")
    return name


def _node(
    reader: Reader,
    entry: Entry,
    name: NodeName,
    parent: NodeName | None,
    keys: MappingNode | None,
) -> PlacedNode:
    node = DesiredNode(
        name=name,
        parent=parent,
        position=entry.key.position,
        about=_about(reader, keys),
        labels=_labels(reader, keys),
        protect=reader.flag(keys, "protect"),
        memory=reader.choice(keys, "memory", MemoryWish) or MemoryWish.AUTO,
        expires=_expires(reader, keys),
        keep=reader.duration(keys, "keep", _LEAST_KEEP),
        when=reader.choice(keys, "when", When) or When.NOW,
        fork=reader.flag(keys, "fork"),
        adopt=reader.text(keys, "adopt"),
        group=reader.name(reader.scalar(keys, "group"), NodeName),
        was=reader.name(reader.scalar(keys, "was"), NodeName),
    )
    return PlacedNode(
        node, {one.key.text: one.value.position for one in keys.entries} if keys else {}
    )


def _about(reader: Reader, keys: MappingNode | None) -> str:
    node = reader.scalar(keys, "about")
    if node is None:
        return ""
    size = len(properties.encode_text(_encodable(node.text)))
    if size > properties.LONGEST_VALUE:
        message = f"'about' takes {size} bytes as ZFS stores it"
        reader.fault(
            node.position, message, f"write less: at most {properties.LONGEST_VALUE} bytes"
        )
    return node.text


def _labels(reader: Reader, keys: MappingNode | None) -> tuple[tuple[str, str], ...]:
    mapping = reader.section(keys, "labels")
    if mapping is None:
        return ()
    labels = []
    for entry in mapping.entries:
        if kind(entry.key) is not Kind.TEXT:
            found = ambiguous(entry.key)
            reader.fault(found.position, found.message, found.hint)
        value = reader.text(mapping, entry.key.text)
        if value is not None and reader.line(entry.key) is not None:
            labels.append((entry.key.text, value))
    size = len(properties.encode_labels(tuple((_encodable(k), _encodable(v)) for k, v in labels)))
    if size > properties.LONGEST_VALUE:
        message = f"the labels take {size} bytes as ZFS stores them"
        reader.fault(
            mapping.position, message, f"write less: at most {properties.LONGEST_VALUE} bytes"
        )
    return tuple(labels)


def _encodable(text: str) -> str:
    """Replace lone surrogates, which were reported when the text was parsed."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _expires(reader: Reader, keys: MappingNode | None) -> datetime | None:
    node = keys.get("expires") if keys else None
    if not isinstance(node, ScalarNode) or kind(node) not in {Kind.TEXT, Kind.DATE}:
        return None
    moment = parse_moment(node.text)
    if moment is None and "T" in node.text and parse_moment(f"{node.text}Z"):
        message = f"the time {excerpt(node.text)} has no time zone"
        reader.fault(
            node.position, message, f"write {node.text}Z for UTC, or an offset like +02:00"
        )
    elif moment is None:
        message = f"{excerpt(node.text)} is no day or time of the calendar"
        reader.fault(node.position, message, "write a date like 2026-12-24")
    return moment
