"""The syntax tree of one document: three kinds of nodes, each of which knows where it stands.

It keeps what was written (``1.10`` stays text, and whether it was in quotes is known), because YAML
readers turn plain words into numbers, truth values and dates, and a checkpoint's name must be none
of these.
"""

from dataclasses import dataclass

from reconciler.model.desired import SourcePosition


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """A piece of text; PLAIN if it was written without quotes."""

    text: str
    plain: bool
    position: SourcePosition


@dataclass(frozen=True, slots=True)
class SequenceNode:
    """A list."""

    items: "tuple[Node, ...]"
    position: SourcePosition


@dataclass(frozen=True, slots=True)
class Entry:
    """One line ``key: value`` of a mapping."""

    key: ScalarNode
    value: "Node"


@dataclass(frozen=True, slots=True)
class MappingNode:
    """Lines ``key: value``."""

    entries: tuple[Entry, ...]
    position: SourcePosition

    def entry(self, key: str) -> Entry | None:
        """Find the first entry with KEY."""
        return next((entry for entry in self.entries if entry.key.text == key), None)

    def get(self, key: str) -> "Node | None":
        """Find the value of the first entry with KEY."""
        entry = self.entry(key)
        return entry.value if entry else None


Node = ScalarNode | SequenceNode | MappingNode


def empty(node: Node) -> bool:
    """Whether nothing at all was written."""
    return isinstance(node, ScalarNode) and node.plain and not node.text
