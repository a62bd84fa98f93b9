"""Everything known of a VM or of one node, in sentences: what exists, what the file says, what comes of it, and why.

Reasons are the plan's and are never worked out here. ``explain_text`` lays it out; the JSON form is made here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from reconciler.model import properties
from reconciler.model.actions import Action, Annotate, nodes_of
from reconciler.model.desired import DesiredNode
from reconciler.model.plan import Condition, Severity
from reconciler.model.tree import Node
from reconciler.names import NodeName, VmName
from reconciler.plan.document import Json, to_json
from reconciler.plan.due import next_due
from reconciler.render.action_words import ActionView, action_view
from reconciler.render.edits import Edit, commands_of, edits_of
from reconciler.render.events_view import Event
from reconciler.render.explain_words import Known, absent, document, existing, said_of, whole
from reconciler.render.plan_view import plan_view, sums_text
from reconciler.render.tree_nodes import NodeView, condition_json
from reconciler.render.tree_view import tree_view

_HISTORY = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """A CONDITION of the plan, and what would resolve it: each of the EDITS and COMMANDS by itself."""

    condition: Condition
    edits: tuple[Edit, ...] = ()
    commands: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Json]:
        """Write it as JSON values."""
        return {
            **condition_json(self.condition),
            "edits": [edit.to_json() for edit in self.edits],
            "commands": list(self.commands),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What is known of VM, or of its NODE: sentences on what EXISTS, what the file SAYS and what is DONE.

    ``history`` is what happened to it last, oldest first. DUE is the next moment at which time alone changes something.
    """

    vm: VmName
    node: NodeName | None
    exists: tuple[str, ...]
    says: tuple[str, ...]
    done: tuple[str, ...]
    obstacles: tuple[Obstacle, ...]
    history: tuple[Event, ...]
    now: datetime
    due: datetime | None
    view: NodeView | None = None
    position: NodeName | None = None
    head: str | None = None
    actions: tuple[Json, ...] = ()

    def to_json(self) -> dict[str, Json]:
        """Write it as JSON values; the keys stay as they are once released."""
        return {
            "version": 1,
            "vm": str(self.vm),
            "node": None if self.view is None else self.view.to_json(),
            "now": properties.encode_time(self.now),
            "position": None if self.position is None else str(self.position),
            "head": self.head,
            "next_due": None if self.due is None else properties.encode_time(self.due),
            "exists": list(self.exists),
            "says": list(self.says),
            "done": list(self.done),
            "actions": list(self.actions),
            "obstacles": [obstacle.to_json() for obstacle in self.obstacles],
            "history": [event.to_json() for event in self.history],
        }


def names_of(known: Known) -> tuple[NodeName, ...]:
    """Every node that can be explained: those that exist, those of the file, and those that were once."""
    names = (*known.tree.nodes, *known.desired.by_name, *known.observation.journal.realised)
    return tuple(dict.fromkeys(names))


def explain_node(known: Known, name: NodeName) -> Explanation:
    """Explain the node NAME, which must be one of ``names_of``."""
    tree, desired = known.tree, known.desired
    node, wanted = tree.nodes.get(name), desired.by_name.get(name)
    view = tree_view(desired, known.observation, known.plan, known.now)
    actions = [action for action in known.plan.actions if _about(name, action)]
    own = [c for c in known.plan.conditions if c.node == name]
    if node is None and wanted is not None and not own and not actions:
        own = [c for c in known.plan.conditions if c.severity is not Severity.NOTE]
    words = [action_view(action, known.plan.home) for action in actions]
    return Explanation(
        vm=desired.vm,
        node=name,
        exists=tuple(existing(known, tree, node) if node else absent(known, name)),
        says=tuple(said_of(known, wanted, node, name)),
        done=tuple(_sentence(one) for one in words) or (_nothing(node, wanted, own),),
        obstacles=_obstacles(known, own),
        history=tuple([e for e in known.events if name in e.nodes][-_HISTORY:]),
        now=known.now,
        due=next_due(desired, known.observation, known.now, known.windows),
        view=next((one for one in view.nodes if one.name == name), None),
        position=tree.position,
        head=None if tree.head is None else tree.head.facts.name.leaf,
        actions=tuple(to_json(action) for action in actions),
    )


def explain_vm(known: Known) -> Explanation:
    """Explain the VM as a whole."""
    tree, plan = known.tree, known.plan
    view = plan_view(plan)
    done = [_sentence(one) for one in view.actions]
    return Explanation(
        vm=known.desired.vm,
        node=None,
        exists=tuple(whole(known, tree)),
        says=tuple(document(known.desired)),
        done=(*done, f"In all: {view.idle or sums_text(view.sums)}."),
        obstacles=_obstacles(known, plan.conditions),
        history=tuple(known.events[-_HISTORY:]),
        now=known.now,
        due=next_due(known.desired, known.observation, known.now, known.windows),
        position=tree.position,
        head=None if tree.head is None else tree.head.facts.name.leaf,
        actions=tuple(to_json(action) for action in plan.actions),
    )


def _about(name: NodeName, action: Action) -> bool:
    renamed = isinstance(action, Annotate) and action.was == name
    return renamed or name in nodes_of(action)


def _obstacles(known: Known, conditions: Sequence[Condition]) -> tuple[Obstacle, ...]:
    return tuple(
        Obstacle(
            condition=condition,
            edits=edits_of(condition, known.desired, known.source) if known.source else (),
            commands=commands_of(condition),
        )
        for condition in conditions
    )


def _sentence(words: ActionView) -> str:
    more = "; ".join(text for text in (*words.facts, words.pause, words.undo) if text)
    return f"{words.verb}: {words.what}" + (f"; {more}." if more else ".")


def _nothing(node: Node | None, wanted: DesiredNode | None, own: Sequence[Condition]) -> str:
    if node is None:
        return "It is not taken by this plan." if wanted is not None else "Nothing is done."
    held = any(condition.severity is not Severity.NOTE for condition in own)
    return "Nothing is done to it" + (
        ", though something should be." if held else ": it is as it should be."
    )
