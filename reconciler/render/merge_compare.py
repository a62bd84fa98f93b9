"""Compare two plans and two documents of one VM: what only the second has.

Actions are compared by what they do to each node, not by the names of the branches that they make. Neighbour:
``merge_view``, which makes the plans.
"""

from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import timedelta
from enum import Enum

from reconciler.model.actions import Action, Capture, DestroyNodes, Fork, Restore, Retire
from reconciler.model.desired import DesiredVm, Prune, RestorePolicy
from reconciler.model.plan import Plan
from reconciler.render.units import age_text

_SAID_OTHERWISE = {"vm", "nodes", "position", "digest", "revision", "by_name", "prune", "restore"}


def beyond(new: Plan, old: Plan) -> tuple[tuple[Action, ...], tuple[Action, ...]]:
    """The actions of NEW that OLD has not, or the part of them, and those that both have."""
    known = {part for action in old.actions for part in _parts(action)}
    only: list[Action] = []
    both: list[Action] = []
    for action in new.actions:
        fresh = [part for part in _parts(action) if part not in known]
        if not fresh:
            both.append(action)
            continue
        match action:
            case Capture(nodes=taken) if len(fresh) < len(taken):
                some = tuple(node for node in taken if _taken(action, node.name) in fresh)
                only.append(replace(action, nodes=some))
            case Retire(nodes=retired) if len(fresh) < len(retired):
                kept = tuple(n for n in retired if ("retire", n.name, str(action.until)) in fresh)
                only.append(replace(action, nodes=kept))
            case _:
                only.append(action)
    return tuple(only), tuple(both)


def _parts(action: Action) -> list[object]:
    """What ACTION does, node by node and without the names of new branches: what two plans can be compared by."""
    match action:
        case Capture(nodes=taken):
            return [_taken(action, node.name) for node in taken]
        case Fork(node=node):
            return [("fork", node.name, node.parent)]
        case Restore():
            memory = (action.memory is None, action.save_memory is None, action.save is None)
            how = (action.left, action.starts, action.again, action.hooks)
            return [("restore", action.node, *how, *memory)]
        case Retire(nodes=retired, until=until):
            return [("retire", node.name, str(until)) for node in retired]
        case DestroyNodes(nodes=doomed):
            return [("destroy", node.guid) for node in doomed]
        case _:
            return [action]


def _taken(action: Capture, name: str) -> object:
    return ("capture", name, action.grade, action.memory is None, action.group, action.hooks)


def changed_keys(was: DesiredVm, wanted: DesiredVm) -> Iterator[str]:
    """Tell what else of the document is another way: what may have no effect yet and will have one."""
    for field in fields(DesiredVm):
        old, new = getattr(was, field.name), getattr(wanted, field.name)
        if field.name in _SAID_OTHERWISE or old == new:
            continue
        plain = isinstance(old, str | bool | None) and isinstance(new, str | bool | None)
        name = field.name
        yield f"{name}: {_value(old)} becomes {_value(new)}" if plain else name
    pairs: tuple[tuple[str, Prune | RestorePolicy, Prune | RestorePolicy], ...] = (
        ("prune", was.prune, wanted.prune),
        ("restore", was.restore, wanted.restore),
    )
    for name, before, after in pairs:
        for field in fields(before):
            old, new = getattr(before, field.name), getattr(after, field.name)
            if old != new:
                yield f"{name}.{field.name}: {_value(old)} becomes {_value(new)}"


def _value(value: object) -> str:
    match value:
        case Enum():
            return str(value.value)
        case timedelta():
            return age_text(value)
        case bool():
            return "true" if value else "false"
        case None:
            return "nothing"
        case _:
            return str(value)
