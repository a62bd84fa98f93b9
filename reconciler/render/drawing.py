"""The lines of a drawn tree: what stands before each node's name, and before its further lines.

Knows nodes only by name and parent; ``tree_text`` writes everything else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from reconciler.names import NodeName
from reconciler.render.style import Glyphs


class Drawn(Protocol):
    """Anything with a place in a tree."""

    @property
    def name(self) -> NodeName:
        """Its name."""

    @property
    def parent(self) -> NodeName | None:
        """The name of what it stands below."""


@dataclass(frozen=True, slots=True)
class Lead:
    """What stands before the name of a node, and BELOW before its further lines."""

    name: str
    below: str


def draw(nodes: Sequence[Drawn], glyphs: Glyphs) -> dict[NodeName, Lead]:
    """Draw NODES, parents before their children; one without a known parent is a root."""
    names = {node.name for node in nodes}
    parents = {node.name: node.parent if node.parent in names else None for node in nodes}
    last = {parent: name for name, parent in parents.items()}
    inner = {parent for parent in parents.values() if parent is not None}
    blank = " " * len(glyphs.through)
    leads: dict[NodeName, Lead] = {}
    above: dict[NodeName | None, str] = {None: ""}
    for name, parent in parents.items():
        ends = last[parent] == name
        before = above[parent]
        above[name] = before + (blank if ends else glyphs.through)
        children = glyphs.through if name in inner else blank
        leads[name] = Lead(
            before + (glyphs.last if ends else glyphs.branch), above[name] + children
        )
    return leads
