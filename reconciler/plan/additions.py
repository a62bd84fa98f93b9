"""Decide which new nodes are made now: captured from the running state, or forked offline.

The running state is filed under the node that it descends from and never under another one: a new node elsewhere
waits, with the edits that would resolve it.
"""

from itertools import groupby

from reconciler.model import properties
from reconciler.model.actions import Capture, Fork, NewNode
from reconciler.model.desired import DesiredNode, MemoryWish, When
from reconciler.model.observed import Running
from reconciler.model.plan import Reason
from reconciler.model.properties import Grade
from reconciler.model.tree import Branch
from reconciler.names import NodeName
from reconciler.plan.draft import SPARE_BYTES, Draft
from reconciler.plan.guest import (
    keeps_memory,
    live_memory,
    memory_file,
    memory_properties,
    refused_for_memory,
    why_not_kept,
)
from reconciler.plan.identity import node_properties
from reconciler.plan.parts import clone_target


def capture_here(draft: Draft) -> None:
    """Capture the new nodes that continue from where the guest is, as one chain."""
    head = draft.tree.head
    if head is None or draft.link_stays_moved:
        return
    chain = _chain(draft)
    if not chain or _obstructed(draft, chain):
        return
    for with_memory, wanted in groupby(chain, lambda wanted: keeps_memory(draft, wanted)):
        _capture(draft, head, tuple(wanted), with_memory=with_memory)


def _capture(
    draft: Draft, head: Branch, chain: tuple[DesiredNode, ...], *, with_memory: bool
) -> None:
    """Capture CHAIN at one instant, with one file of RAM for all of it or without any."""
    off, live = draft.guest.running is Running.OFF, live_memory(draft)
    memory = memory_file(chain[0].name) if with_memory and not off else None
    # Disks with RAM that waits to be resumed are those of a guest that runs, though it is off.
    grade = Grade.CLEAN if off and live is None else Grade.CRASH
    more: tuple[tuple[str, str], ...] = ()
    if with_memory and (kept := memory or live) is not None:
        grade, more = Grade.MEMORY, memory_properties(draft, kept)
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
        if not _eligible(draft, wanted) or not wanted.fork or parent is None:
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
        if _lost(draft, wanted):
            _report_lost(draft, wanted)
        elif wanted.group is not None and draft.group is None and _follows_position(draft, wanted):
            _report_group(draft, wanted)
        elif wanted.when is When.MANUAL:
            draft.wait(
                Reason.WHEN_MANUAL,
                f"{wanted.name} is taken by hand",
                node=wanted.name,
                resolve="write 'when: now' at it when it is to be taken",
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
        and wanted.when is When.NOW
        and wanted.adopt is None
        and not _lost(draft, wanted)
        and not _reported(draft, wanted.name)
    )


def _follows_position(draft: Draft, wanted: DesiredNode) -> bool:
    """Whether WANTED could be captured now, were it not for its group."""
    here = draft.anchor(draft.tree.position)
    return wanted.when is When.NOW and wanted.parent == here and draft.tree.head is not None


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
    names = ", ".join(wanted.name for wanted in chain)
    head = draft.tree.head
    there = () if head is None else head.volume_names
    not_ours = [disk.name for disk in draft.desired.volume_disks if disk.name not in there]
    missing = list(dict.fromkeys((*draft.observation.missing_disks, *not_ours)))
    if missing:
        draft.wait(
            Reason.DISK_MISSING,
            f"not taken: {names}; the head has no {', '.join(missing)}",
            node=chain[0].name,
            resolve=f"create it in the head and run 'ckptree init {draft.desired.vm}', or remove it from 'disks'",
        )
    elif not _room_for(draft, chain):
        draft.wait(
            Reason.POOL_FULL,
            f"not taken: {names}; {draft.desired.dataset} may write only"
            f" {draft.observation.pool.available} bytes more{_needs(draft, chain)}",
            node=chain[0].name,
            resolve="free space, or raise the quota",
        )
    else:
        return False
    return True


def _ram(draft: Draft, chain: tuple[DesiredNode, ...]) -> int:
    kept = any(
        wanted.memory is not MemoryWish.NEVER and not why_not_kept(draft, wanted.name)
        for wanted in chain
    )
    return draft.observation.ability.ram if kept else 0


def _room_for(draft: Draft, chain: tuple[DesiredNode, ...]) -> bool:
    return draft.observation.pool.available >= SPARE_BYTES + _ram(draft, chain)


def _needs(draft: Draft, chain: tuple[DesiredNode, ...]) -> str:
    ram = _ram(draft, chain)
    return f", and the guest's RAM takes up to {ram} (less where ZFS compresses it)" if ram else ""


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
