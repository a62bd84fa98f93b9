"""Bring what already exists in line with the file without taking or losing anything: annotate, adopt, revive.

Renames (``was``) are annotations: only names change, guid and lineage stay.
"""

from reconciler.model import properties
from reconciler.model.actions import Adopt, Annotate, PropertyChange, Revive
from reconciler.model.desired import DesiredNode, DesiredVm
from reconciler.model.observed import SnapshotFacts
from reconciler.model.plan import Reason
from reconciler.model.properties import Grade
from reconciler.model.steps import SnapshotRef
from reconciler.model.tree import Node, Tree
from reconciler.names import NodeName
from reconciler.plan.draft import Draft


def settle_identity(draft: Draft) -> None:
    """Annotate, adopt and revive, in this order."""
    for wanted in draft.file.nodes:
        _annotate(draft, wanted)
    for unwanted in tuple(draft.tree.nodes.values()):
        if unwanted.name not in draft.file.by_name:
            _hold_again(draft, unwanted)
    for wanted in draft.desired.nodes:
        if wanted.adopt is not None and wanted.name not in draft.tree.nodes:
            _adopt(draft, wanted)
    for wanted in draft.desired.nodes:
        node = draft.tree.nodes.get(wanted.name)
        if node is not None and node.retired is not None:
            draft.add(Revive(node=node.name, guard=draft.snapshot_ref(node.snapshot)))


def names_before(file: DesiredVm, tree: Tree) -> frozenset[NodeName]:
    """The names (``was``) that nodes of FILE have in TREE until they are given their new ones."""
    fresh = (wanted for wanted in file.nodes if wanted.name not in tree.nodes)
    return frozenset(wanted.was for wanted in fresh if wanted.was is not None)


def node_properties(draft: Draft, wanted: DesiredNode, grade: Grade) -> tuple[tuple[str, str], ...]:
    """Write the properties of a new node of the file."""
    values = {
        properties.VM: str(draft.desired.vm),
        properties.NODE: str(wanted.name),
        properties.GRADE: grade.value,
        properties.TAKEN: properties.encode_time(draft.now),
    }
    texts = {key: text for key, text in _texts(wanted).items() if text is not None}
    return tuple({**values, **texts}.items())


def _texts(wanted: DesiredNode) -> dict[str, str | None]:
    return {
        properties.ABOUT: wanted.about or None,
        properties.LABELS: properties.encode_labels(wanted.labels) or None,
        properties.PROTECT: "on" if wanted.protect else None,
    }


def _annotate(draft: Draft, wanted: DesiredNode) -> None:
    was: NodeName | None = None
    node = draft.tree.nodes.get(wanted.name)
    if node is None and wanted.was is not None and wanted.was not in draft.file.by_name:
        node, was = draft.tree.nodes.get(wanted.was), wanted.was
    if node is None:
        return
    changes = []
    if was is not None:
        # The branch's own snapshot decides who the node is: it is changed last.
        changes += [
            _change(draft, facts, properties.NODE, str(wanted.name))
            for facts in reversed(node.all_snapshots)
        ]
    changes += [
        _change(draft, node.snapshot, key, value)
        for key, value in _texts(wanted).items()
        if node.snapshot.properties.get(key) != value
    ]
    holds = _missing_holds(draft, node)
    if changes or holds:
        draft.add(Annotate(node=wanted.name, changes=tuple(changes), holds=holds, was=was))


def _hold_again(draft: Draft, node: Node) -> None:
    holds = _missing_holds(draft, node)
    if holds:
        draft.add(Annotate(node=node.name, holds=holds))


def _missing_holds(draft: Draft, node: Node) -> tuple[SnapshotRef, ...]:
    return tuple(
        draft.snapshot_ref(facts)
        for facts in node.all_snapshots
        if properties.HOLD not in facts.holds
    )


def _change(draft: Draft, facts: SnapshotFacts, key: str, new: str | None) -> PropertyChange:
    return PropertyChange(
        target=draft.snapshot_ref(facts), key=key, old=facts.properties.get(key), new=new
    )


def _adopt(draft: Draft, wanted: DesiredNode) -> None:
    found = _adoptable(draft, wanted.adopt or "")
    if isinstance(found, str):
        draft.refuse(
            Reason.ADOPT_IMPOSSIBLE,
            f"{wanted.name} cannot adopt {wanted.adopt}: {found}",
            node=wanted.name,
            resolve="name a foreign snapshot of a branch as 'ckptree tree' shows it, for example b-1@before-upgrade",
        )
        return
    parent = _parent_of(draft, found[0])
    if parent != wanted.parent:
        draft.refuse(
            Reason.ADOPT_IMPOSSIBLE,
            f"{wanted.name} cannot adopt {found[0].name} below {wanted.parent or 'no node'}:"
            f" that snapshot descends from {parent or 'no node'}",
            node=wanted.name,
            resolve=f"write {wanted.name} below {parent}"
            if parent
            else f"write {wanted.name} as a root",
        )
        return
    draft.add(
        Adopt(
            node=wanted.name,
            snapshots=tuple(draft.snapshot_ref(facts) for facts in found),
            properties=node_properties(draft, wanted, Grade.CRASH),
        )
    )


def _adoptable(draft: Draft, text: str) -> tuple[SnapshotFacts, ...] | str:
    """Find the set of foreign snapshots that TEXT names, the branch's own first; or say why not."""
    found = [
        (branch, facts)
        for branch in draft.tree.branches
        for facts in branch.foreign_snapshots
        if facts.name.dataset == branch.facts.name
        and text in {facts.name, facts.name.short, f"{branch.facts.name.leaf}@{facts.name.short}"}
    ]
    if not found:
        return "there is no such foreign snapshot of a branch"
    if len(found) > 1:
        return f"{' and '.join(facts.name for _, facts in found)} have that name"
    branch, primary = found[0]
    members = [primary]
    for volume in branch.volumes:
        name = volume.name.snapshot(primary.name.short)
        member = next((f for f in branch.foreign_snapshots if f.name == name), None)
        if member is None or member.createtxg != primary.createtxg:
            return f"{volume.name} has no snapshot of the same instant (take one with 'zfs snapshot -r')"
        members.append(member)
    if any(facts.deferred for facts in members):
        return "it is destroyed already but for its last clone or hold"
    return tuple(members)


def _parent_of(draft: Draft, facts: SnapshotFacts) -> NodeName | None:
    """The node of the file that the foreign snapshot FACTS descends from."""
    return draft.anchor(draft.node_below(facts))
