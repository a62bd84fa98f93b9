"""When the time of a checkpoint of the file is over, and what the file then amounts to.

A checkpoint whose time is over counts as removed from the file by its operator, who wrote the date; its children
stay. ``current`` and ``protect`` keep it all the same, and so does a clock that cannot be trusted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from reconciler.model.desired import DesiredNode, DesiredVm
from reconciler.model.journal import JournalFacts
from reconciler.model.tree import Node, Tree
from reconciler.names import NodeName


@dataclass(frozen=True, slots=True)
class Expired:
    """NODES of the file that are over, with when that was; KEPT are those over that stay all the same, and why."""

    nodes: Mapping[NodeName, datetime] = field(default_factory=dict)
    kept: Mapping[NodeName, str] = field(default_factory=dict)


def end_of(wanted: DesiredNode, node: Node | None, journal: JournalFacts) -> datetime | None:
    """Tell when the time of WANTED is over, which exists as NODE; none where that is open.

    ``keep`` counts from when it was taken; of one that is gone, from when it was first seen.
    """
    if wanted.expires is not None or wanted.keep is None:
        return wanted.expires
    taken = journal.seen.get(wanted.name) if node is None else node.taken
    return None if taken is None else taken + wanted.keep


def existing(wanted: DesiredNode, tree: Tree) -> Node | None:
    """Find WANTED in TREE, also under the name that it had before."""
    node = tree.nodes.get(wanted.name)
    return tree.nodes.get(wanted.was) if node is None and wanted.was is not None else node


def expired(
    desired: DesiredVm, tree: Tree, journal: JournalFacts, now: datetime, *, ageing: bool
) -> Expired:
    """Find what of DESIRED is over at NOW; with AGEING held back, nothing that is in sight is."""
    over: dict[NodeName, datetime] = {}
    kept: dict[NodeName, str] = {}
    for wanted in desired.nodes:
        node = existing(wanted, tree)
        end = end_of(wanted, node, journal)
        if end is None or end > now:
            continue
        if node is not None and wanted.name == desired.current:
            kept[wanted.name] = "'current' names it"
        elif node is not None and wanted.protect:
            kept[wanted.name] = "it is protected"
        elif node is not None and node.retired is None and ageing:
            kept[wanted.name] = ""
        else:
            over[wanted.name] = end
    return Expired(over, kept)


def without(desired: DesiredVm, names: Mapping[NodeName, datetime]) -> DesiredVm:
    """Write DESIRED without the nodes NAMES, their children one level higher."""
    if not names:
        return desired
    nodes = []
    for wanted in desired.nodes:
        if wanted.name in names:
            continue
        parent = wanted.parent
        while parent is not None and parent in names:
            parent = desired.by_name[parent].parent
        nodes.append(replace(wanted, parent=parent))
    return replace(desired, nodes=tuple(nodes))
