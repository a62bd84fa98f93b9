"""Automatic checkpoints that stand in a row, folded into one line, so that they never bury those with a name.

For people only: JSON has every node. What there is anything to say of is never folded, nor is the newest few.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from reconciler.names import NodeName
from reconciler.render.tree_nodes import NodeView, Phase

SHOWN = 3
"""So many of a row, the newest, are shown."""
_LEAST = 2  # one node takes no more room than the line in its place


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """COUNT nodes in the place of one, which has the NAME of the last of them; taken from FIRST to LAST."""

    name: NodeName
    parent: NodeName | None
    count: int
    first: datetime | None
    last: datetime | None
    own_bytes: int


def fold(nodes: Sequence[NodeView]) -> tuple[NodeView | Folded, ...]:
    """Fold the rows of automatic nodes among NODES, which are depth first, parents before their children."""
    below: dict[NodeName | None, list[NodeView]] = {}
    for node in nodes:
        below.setdefault(node.parent, []).append(node)
    hidden: dict[NodeName, Folded | None] = {}
    for run in _runs(nodes, below):
        row = run[: len(run) - SHOWN]
        if len(row) >= _LEAST:
            hidden.update(dict.fromkeys(node.name for node in row))
            hidden[row[0].name] = _folded(row)
    return tuple(
        found
        for node in nodes
        if (found := hidden.get(node.name) if node.name in hidden else node) is not None
    )


def _runs(
    nodes: Sequence[NodeView], below: dict[NodeName | None, list[NodeView]]
) -> Iterator[list[NodeView]]:
    """Every chain of quiet nodes with one child each, and all quiet nodes side by side that nothing stands on."""
    chained: set[NodeName] = set()
    for node in nodes:
        if node.name in chained or not _quiet(node):
            continue
        run = [node]
        while len(after := below.get(run[-1].name, [])) == 1 and _quiet(after[0]):
            run.append(after[0])
        if len(below.get(run[-1].name, [])) > 1:
            run.pop()  # what several stand on stays in sight
        chained.update(one.name for one in run)
        yield run
    for beside in below.values():
        leaves = [node for node in beside if _quiet(node) and not below.get(node.name)]
        if len(leaves) > 1:
            yield sorted(leaves, key=lambda node: (node.taken is not None, node.taken, node.name))


def _quiet(node: NodeView) -> bool:
    plain = node.phase is Phase.PRESENT and not (node.here or node.coming or node.conditions)
    return node.name.automatic and plain


def _folded(row: Sequence[NodeView]) -> Folded:
    times = sorted(node.taken for node in row if node.taken is not None)
    return Folded(
        name=row[-1].name,
        parent=row[0].parent,
        count=len(row),
        first=times[0] if times else None,
        last=times[-1] if times else None,
        own_bytes=sum(node.own_bytes or 0 for node in row),
    )
