"""Decide which new nodes are made now: captured from the running state, or forked offline.

The running state is filed under the node that it descends from and never under another one: a new node elsewhere
waits, with the edits that would resolve it.
"""

from itertools import groupby

from reconciler.model import properties
from reconciler.model.actions import Capture, Fork, NewNode
from reconciler.model.desired import DesiredNode, When
from reconciler.model.observed import Running
from reconciler.model.plan import Reason
from reconciler.model.properties import Grade
from reconciler.model.tree import Branch
from reconciler.names import NodeName
from reconciler.plan.draft import Draft
from reconciler.plan.guest import (
    keeps_memory,
    live_memory,
    memory_file,
    memory_properties,
    refused_for_memory,
)
from reconciler.plan.identity import node_properties
from reconciler.plan.parts import clone_target
from reconciler.plan.permission import may_pause
from reconciler.plan.room import why_no_room


def capture_here(draft: Draft) -> None:
    """Capture the new nodes that continue from where the guest is, as one chain."""
    head = draft.tree.head
    if head is None or draft.link_stays_moved:
        return
    chain = _chain(draft)
    if not chain or _obstructed(draft, chain):
        return
    for with_memory, wanted in groupby(chain, lambda wanted: keeps_memory(draft, wanted)):
        part = tuple(wanted)
        if with_memory and _waits_for_its_hours(draft, part[0]):
            return  # and so does what hangs on it
        capture_chain(draft, head, part, with_memory=with_memory)


def _waits_for_its_hours(draft: Draft, wanted: DesiredNode) -> bool:
    return not may_pause(
        draft,
        f"{wanted.name} is to be taken with the guest's memory",
        node=wanted.name,
        resolve="wait until then, or write 'memory: never' at it",
    )


def capture_chain(
    draft: Draft,
    head: Branch,
    chain: tuple[DesiredNode, ...],
    *,
    with_memory: bool,
    more: tuple[tuple[str, str], ...] = (),
) -> None:
    """Capture CHAIN at one instant, with one file of RAM for all of it or without any; MORE are further properties."""
    off, live = draft.guest.running is Running.OFF, live_memory(draft)
    memory = memory_file(chain[0].name) if with_memory and not off else None
    # Disks with RAM that waits to be resumed are those of a guest that runs, though it is off.
    grade = Grade.CLEAN if off and live is None else Grade.CRASH
    if not off and draft.desired.hooks.checkpoint.quiesces:
        grade = Grade.QUIESCED
    if with_memory and (kept := memory or live) is not None:
        grade, more = Grade.MEMORY, (*more, *memory_properties(draft, kept))
    if draft.group is not None:
        more = (*more, (properties.GROUP, draft.group))
    nodes = tuple(
        NewNode(
            name=wanted.name,
            parent=wanted.parent,
            snapshots=draft.set_of(head.facts.name, draft.free_short_name(wanted.name)),
            properties=(*node_properties(draft, wanted, grade), *more),
        )
        for wanted in chain
    )
    draft.captured.update(node.name for node in nodes)
    draft.add(
        Capture(
            nodes=nodes,
            branch=draft.dataset_ref(head.facts),
            grade=grade,
            memory=memory,
            ram=draft.observation.ability.ram if memory is not None else 0,
            group=draft.group,
        )
    )


def fork_offline(draft: Draft) -> None:
    """Make the nodes with ``fork: true`` whose parents exist."""
    for wanted in draft.desired.nodes:
        parent = draft.tree.nodes.get(wanted.parent) if wanted.parent is not None else None
        if not _eligible(draft, wanted) or not wanted.fork:
            continue
        written = draft.file.by_name[wanted.name].parent
        if written != wanted.parent:
            draft.wait(
                Reason.PARENT_MISSING,
                f"{wanted.name} is not made: the time of its parent {written} is over",
                node=wanted.name,
                resolve=f"write {wanted.name} below another checkpoint, or remove it",
            )
            continue
        if parent is None:
            continue
        if draft.link_stays_moved:  # what an interrupted run left of it could not be collected
            draft.wait(
                Reason.LINK_MOVED,
                f"{wanted.name} is not made before the link leads where the guest belongs",
                node=wanted.name,
                resolve="stop the guest, or point the link back by hand",
            )
            continue
        origins = draft.node_refs(parent)
        target, number = draft.next_branch()
        short = draft.free_short_name(wanted.name)
        copied = {
            key: parent.snapshot.properties[key]
            for key in (properties.MEMORY, properties.FINGERPRINT)
            if key in parent.snapshot.properties
        }
        node = NewNode(
            name=wanted.name,
            parent=wanted.parent,
            snapshots=tuple(
                clone_target(origins, origin, target).snapshot(short) for origin in origins
            ),
            properties=(*node_properties(draft, wanted, parent.grade), *copied.items()),
        )
        draft.add(Fork(node=node, origins=origins, target=target, number=number))


def report_waiting(draft: Draft) -> None:
    """Say of every node of the file that will still not exist why that is so, and what would resolve it."""
    for wanted in draft.desired.nodes:
        if wanted.name in draft.tree.nodes or _reported(draft, wanted.name):
            continue
        if draft.taken not in {None, wanted.name}:
            continue
        if _lost(draft, wanted):
            _report_lost(draft, wanted)
        elif wanted.group is not None and draft.group is None and _follows_position(draft, wanted):
            _report_group(draft, wanted)
        elif not _called_for(draft, wanted):
            draft.wait(
                Reason.WHEN_MANUAL,
                f"{wanted.name} is taken by hand",
                node=wanted.name,
                resolve=f"run 'ckptree take {draft.desired.vm} {wanted.name}' when it is to be taken,"
                " or write 'when: now' at it",
            )
        elif wanted.parent is not None and wanted.parent not in draft.tree.nodes:
            draft.wait(
                Reason.PARENT_MISSING,
                f"{wanted.name} waits for its parent {wanted.parent}",
                node=wanted.name,
                resolve=f"what resolves {wanted.parent} resolves this",
            )
        else:
            _report_elsewhere(draft, wanted)


def _chain(draft: Draft) -> tuple[DesiredNode, ...]:
    chain: list[DesiredNode] = []
    at = draft.anchor(draft.tree.position)
    if draft.group is not None:
        return tuple(
            child
            for child in draft.desired.children(at)
            if child.group == draft.group
            and _eligible(draft, child)
            and not refused_for_memory(draft, child)
        )
    while True:
        children = [
            child
            for child in draft.desired.children(at)
            if _eligible(draft, child)
            and not child.fork
            and child.group is None
            and not refused_for_memory(draft, child)
        ]
        if not children:
            return tuple(chain)
        chosen = next((child for child in children if _leads_to_current(draft, child)), children[0])
        chain.append(chosen)
        at = chosen.name


def _eligible(draft: Draft, wanted: DesiredNode) -> bool:
    return (
        wanted.name not in draft.tree.nodes
        and _called_for(draft, wanted)
        and draft.taken in {None, wanted.name}
        and wanted.adopt is None
        and not _lost(draft, wanted)
        and not _reported(draft, wanted.name)
    )


def _follows_position(draft: Draft, wanted: DesiredNode) -> bool:
    """Whether WANTED could be captured now, were it not for its group."""
    here = draft.anchor(draft.tree.position)
    follows = wanted.parent == here and draft.tree.head is not None
    return follows and _called_for(draft, wanted)


def _called_for(draft: Draft, wanted: DesiredNode) -> bool:
    """Whether the file or a person says that WANTED is to be taken."""
    wished = wanted.name in draft.journal.wished or wanted.name == draft.taken
    return wanted.when is When.NOW or wished


def _report_group(draft: Draft, wanted: DesiredNode) -> None:
    draft.wait(
        Reason.GROUP_PENDING,
        f"{wanted.name} is taken at one instant with the other VMs of the group {wanted.group}",
        node=wanted.name,
        resolve="run 'ckptree apply' for all of them; it tells which VM is not ready",
    )


def _leads_to_current(draft: Draft, wanted: DesiredNode) -> bool:
    name: NodeName | None = draft.desired.current
    while name is not None and name in draft.desired.by_name:
        if name == wanted.name:
            return True
        name = draft.desired.by_name[name].parent
    return False


def _lost(draft: Draft, wanted: DesiredNode) -> bool:
    guid = draft.journal.realised.get(wanted.name)
    if guid is None or wanted.name in draft.tree.nodes:
        return False
    return all(node.guid != guid for node in draft.tree.nodes.values())  # else it was renamed


def _reported(draft: Draft, name: NodeName) -> bool:
    return any(condition.node == name for condition in draft.conditions)


def _obstructed(draft: Draft, chain: tuple[DesiredNode, ...]) -> bool:
    obstacle = why_no_room(draft, chain)
    if obstacle is None:
        return False
    reason, why, resolve = obstacle
    names = ", ".join(wanted.name for wanted in chain)
    draft.wait(reason, f"not taken: {names}; {why}", node=chain[0].name, resolve=resolve)
    return True


def _report_lost(draft: Draft, wanted: DesiredNode) -> None:
    draft.wait(
        Reason.LOST,
        f"{wanted.name} was taken once (guid {draft.journal.realised[wanted.name]}) and is gone;"
        " it is not taken again under its old name",
        node=wanted.name,
        resolve=f"remove it from the file, or run 'ckptree forget {draft.desired.vm} {wanted.name}'"
        " to let it be taken anew",
    )


def _report_elsewhere(draft: Draft, wanted: DesiredNode) -> None:
    position = draft.anchor(draft.tree.position)
    here = position or "no node of the file"
    parent = wanted.parent
    if parent is None:
        resolve = (
            f"write {wanted.name} below {position}" if position else "point the link at a branch"
        )
    else:
        resolve = (
            f"write 'current: {parent}' to restore that first, or 'fork: true' at {wanted.name}"
        )
    draft.wait(
        Reason.PARENT_NOT_CURRENT,
        f"{wanted.name} cannot be taken: the guest descends from {here}, not from {parent or 'a root'}",
        node=wanted.name,
        resolve=resolve,
    )
