"""Lay over each other what exists, what is desired, and what the plan makes of it.

The result is a ``tree_nodes.TreeView``; ``tree_text`` draws it, ``status_view`` counts it. Reasons and
intentions come from the plan and are never worked out here; without a plan there are none.
"""

from collections.abc import Iterator
from datetime import datetime

from reconciler.model.actions import (
    Adopt,
    Annotate,
    Capture,
    DestroyNodes,
    Fork,
    Restore,
    Retire,
    Revive,
)
from reconciler.model.desired import DesiredNode, DesiredVm
from reconciler.model.observed import Observation
from reconciler.model.plan import Condition, Plan, Reason, Severity
from reconciler.model.tree import Node, Tree, derive_tree
from reconciler.names import NodeName
from reconciler.render.tree_nodes import NodeView, Phase, TreeView

_SHOWN_OTHERWISE = (Reason.OBSERVATION_INCOMPLETE, Reason.TAMPERED)


def tree_view(
    desired: DesiredVm | None, observation: Observation, plan: Plan | None, now: datetime
) -> TreeView:
    """Lay DESIRED and PLAN, which may both be none, over what was observed."""
    tree = derive_tree(observation.vm, observation.reading, observation.link)
    home = observation.reading.root
    known = _Known(desired, tree, plan)
    nodes = [*(known.existing(node) for node in tree.nodes.values()), *known.absent()]
    clones = {
        clone
        for facts in observation.reading.snapshots
        for clone in facts.clones
        if not clone.below(home)
    }
    shown = {node.name for node in nodes}
    datasets = [name for name in tree.foreign if "@" not in name]
    return TreeView(
        vm=observation.vm,
        home=home,
        exists=tree.home is not None,
        released=desired is None,
        now=now,
        nodes=tuple(_in_order(nodes)),
        head=None if tree.head is None else tree.head.facts.name.leaf,
        position=tree.position,
        unsaved=0 if tree.head is None else tree.head.unsaved,
        guest=observation.guest.running,
        used=None if tree.home is None else tree.home.used,
        available=observation.pool.available if tree.home is not None else None,
        foreign_snapshots=tuple(_short(name, home) for name in tree.foreign if "@" in name),
        foreign_datasets=tuple(_short(name, home) for name in (*datasets, *sorted(clones))),
        faults=tuple(f"{_short(fault.subject, home)}: {fault.message}" for fault in tree.faults),
        gaps=tuple(f"{_short(gap.name, home)}: {gap.reason}" for gap in observation.reading.gaps),
        conditions=tuple(
            condition
            for condition in (plan.conditions if plan is not None else ())
            if condition.node not in shown and condition.reason not in _SHOWN_OTHERWISE
        ),
    )


class _Known:
    """What file and plan say of each node."""

    def __init__(self, desired: DesiredVm | None, tree: Tree, plan: Plan | None) -> None:
        self._desired = desired
        self._tree = tree
        self._renamed: dict[NodeName, NodeName] = {}
        self._coming: dict[NodeName, list[str]] = {}
        self._blocked = plan is not None and plan.blocked
        self._conditions: dict[NodeName, list[Condition]] = {}
        if plan is None:
            return
        for action in plan.actions:
            if isinstance(action, Annotate) and action.was is not None:
                self._renamed[action.node] = action.was
        for node, verb in _verbs(plan):
            self._coming.setdefault(self._renamed.get(node, node), []).append(verb)
        for condition in plan.conditions:
            if condition.node is not None:
                self._conditions.setdefault(condition.node, []).append(condition)

    def existing(self, node: Node) -> NodeView:
        """Tell of a node that exists."""
        new_names = {old: new for new, old in self._renamed.items()}
        wanted = self._wanted(new_names.get(node.name, node.name))
        coming = tuple(self._coming.get(node.name, ()))
        goes = node.expires if node.name.automatic else None
        if node.retired is not None and self._desired is not None:
            goes = node.retired + self._desired.prune.grace
        return NodeView(
            name=node.name,
            parent=node.parent,
            phase=Phase.PRESENT if node.retired is None else Phase.RETIRED,
            desired=wanted is not None,
            stray=self._desired is not None
            and not (wanted or coming or node.name.automatic or node.retired),
            here=self._tree.position == node.name,
            grade=node.grade,
            memory=node.memory is not None,
            taken=node.taken,
            own_bytes=node.own_bytes,
            branch=node.branch.leaf,
            snapshot=str(node.snapshot.name),
            guid=node.guid,
            about=node.about,
            labels=node.labels,
            protect=node.protect,
            group=node.group,
            expires=node.expires if wanted is None else _end(wanted, node),
            retired=node.retired,
            goes=goes,
            coming=coming,
            conditions=tuple(self._conditions.get(node.name, ())),
        )

    def absent(self) -> Iterator[NodeView]:
        """Tell of every node of the file that does not exist."""
        for wanted in self._desired.nodes if self._desired is not None else ():
            if wanted.name in self._tree.nodes or wanted.name in self._renamed:
                continue
            conditions = tuple(self._conditions.get(wanted.name, ()))
            coming = tuple(self._coming.get(wanted.name, ()))
            parent = wanted.parent
            yield NodeView(
                name=wanted.name,
                parent=None if parent is None else self._renamed.get(parent, parent),
                phase=self._phase(conditions, coming),
                desired=True,
                about=wanted.about,
                labels=wanted.labels,
                protect=wanted.protect,
                group=wanted.group,
                expires=wanted.expires,
                coming=coming,
                conditions=conditions,
            )

    def _phase(self, conditions: tuple[Condition, ...], coming: tuple[str, ...]) -> Phase:
        for reason, phase in ((Reason.LOST, Phase.LOST), (Reason.EXPIRED, Phase.EXPIRED)):
            if any(condition.reason is reason for condition in conditions):
                return phase
        held = any(condition.severity is not Severity.NOTE for condition in conditions)
        return Phase.WAITING if not coming and (held or self._blocked) else Phase.PLANNED

    def _wanted(self, name: NodeName) -> DesiredNode | None:
        return None if self._desired is None else self._desired.by_name.get(name)


def _end(wanted: DesiredNode, node: Node) -> datetime | None:
    kept = None if node.taken is None or wanted.keep is None else node.taken + wanted.keep
    return wanted.expires or kept or node.expires


def _verbs(plan: Plan) -> Iterator[tuple[NodeName, str]]:
    for action in plan.actions:
        match action:
            case Capture(nodes=nodes):
                yield from ((node.name, "capture") for node in nodes)
            case Fork(node=node):
                yield node.name, "fork"
            case Adopt(node=name):
                yield name, "adopt"
            case Annotate(node=name, was=was):
                yield name, "annotate" if was is None else f"rename to {name}"
            case Revive(node=name):
                yield name, "revive"
            case Restore(node=name):
                yield name, "restore"
            case Retire(nodes=retired):
                yield from ((node.name, "retire") for node in retired)
            case DestroyNodes(nodes=doomed):
                yield from ((node.name, "destroy") for node in doomed)
            case _:
                pass


def _in_order(nodes: list[NodeView]) -> Iterator[NodeView]:
    """Parents first and depth first; a node whose parent is unknown stands at the root."""
    names = {node.name for node in nodes}
    below: dict[NodeName | None, list[NodeView]] = {}
    for node in nodes:
        below.setdefault(node.parent if node.parent in names else None, []).append(node)
    waiting = list(reversed(below.get(None, [])))
    while waiting:
        node = waiting.pop()
        yield node
        waiting += reversed(below.get(node.name, []))


def _short(name: str, home: str) -> str:
    return name.removeprefix(f"{home}/")
