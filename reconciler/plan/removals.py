"""Decide which nodes are retired: those that exist and that the file has no longer.

Every doubt keeps a node. A removal that looks like a rename, a move, a protected node, the ground under the guest,
or simply too much at once waits for a person.
"""

from collections import Counter
from hashlib import sha256

from reconciler.model.actions import DoomedNode, Retire, RetiredNode
from reconciler.model.desired import PruneMode
from reconciler.model.plan import Approval, Reason
from reconciler.model.tree import Node
from reconciler.names import NodeName
from reconciler.plan.draft import Draft
from reconciler.plan.permission import may_age, may_remove

_BLOCKS_REMOVALS = (Reason.PARENT_IMMUTABLE, Reason.SUSPECTED_RENAME)


def check_structure(draft: Draft) -> None:
    """Refuse what cannot be: nodes under another parent; and hold what looks like a rename without ``was``.

    Looks at what exists before anything new is made; a new node that may be a renamed one is not taken.
    """
    gone = {node.name for node in removed_nodes(draft) if node.name not in draft.expired.nodes}
    renamed = _suspected_renames(draft, gone)
    for old, new in renamed:
        draft.wait(
            Reason.SUSPECTED_RENAME,
            f"{old} is gone from the file and {new} is new in its place; nothing is taken or retired",
            node=new,
            resolve=f"write 'was: {old}' at {new} to rename; if they are two checkpoints, remove {old} and apply"
            f" before you add {new}",
        )
    inside = {new for _, new in renamed}
    for wanted in draft.desired.nodes:
        node = draft.tree.nodes.get(wanted.name)
        if node is None or wanted.parent in inside:
            continue
        parent = draft.anchor(node.parent)
        if parent != wanted.parent:
            draft.refuse(
                Reason.PARENT_IMMUTABLE,
                f"{wanted.name} descends from {parent or 'no other node'} and cannot be put below"
                f" {wanted.parent or 'none'}",
                node=wanted.name,
                resolve=f"write it below {parent}" if parent else "write it as a root",
            )


def removed_nodes(draft: Draft) -> tuple[Node, ...]:
    """The nodes that exist, are neither automatic nor retired, and are not in the file."""
    return tuple(
        node
        for node in draft.tree.nodes.values()
        if node.name not in draft.desired.by_name
        and not node.name.automatic
        and node.retired is None
    )


def retire_removed(draft: Draft) -> None:
    """Retire what the file has no longer, as far as nothing speaks against it."""
    removed = removed_nodes(draft)
    if not removed or draft.has(*_BLOCKS_REMOVALS) or draft.link_stays_moved:
        return
    names = ", ".join(node.name for node in removed)
    prune = draft.desired.prune
    if not draft.confirmed:
        draft.unconfirmed(f"not retired: {names}")
        return
    if draft.tree.head is None:
        return  # a lost head waits, and it is not known what the guest will stand on
    if prune.mode is PruneMode.NEVER:
        draft.note(
            Reason.NOT_PRUNED,
            f"no longer in the file and kept, because that says 'prune: {{mode: never}}': {names}",
        )
        return
    if not may_remove(draft, f"not retired: {names}"):
        return
    removed = _without_held(draft, _without_refused(draft, removed))
    if not removed:
        return
    draft.add(
        Retire(
            nodes=tuple(
                RetiredNode(
                    name=node.name, guard=draft.snapshot_ref(node.snapshot), about=node.about
                )
                for node in removed
            ),
            since=draft.now,
            until=draft.now + prune.grace,
        )
    )


def report_expired(draft: Draft) -> None:
    """Say what became of every node of the file whose time is over, and why one stays all the same."""
    waits = {condition.node for condition in draft.conditions}
    for name, end in draft.expired.nodes.items():
        node = draft.tree.nodes.get(name)
        if node is not None and node.retired is None and name in waits:
            continue  # it is said already why it is still there
        if node is None:
            known = name in draft.journal.realised
            now = "is gone, and is not taken again" if known else "is not taken any more"
            resolve = "remove it from the file, or move its date"
            if known:
                resolve += (
                    f" and run 'ckptree forget {draft.desired.vm} {name}' to let it be taken anew"
                )
        elif node.retired is None:
            now, resolve = "is still there", "remove it from the file, or move its date"
        else:
            goes = node.retired + draft.desired.prune.grace
            now = f"is hidden; it goes at {goes:%Y-%m-%d %H:%M} UTC"
            resolve = "move its date to bring it back, or remove it from the file"
        draft.note(
            Reason.EXPIRED,
            f"{name} was wanted until {end:%Y-%m-%d %H:%M} UTC and {now}",
            node=name,
            resolve=resolve,
        )
    for name, why in draft.expired.kept.items():
        if not why:
            may_age(draft, f"{name} is kept, though its time is over")
            continue
        draft.wait(
            Reason.EXPIRED,
            f"the time of {name} is over, and it stays, because {why}",
            node=name,
            resolve="move its date, or take away what keeps it",
        )


def removal_digest(draft: Draft, removed: tuple[Node, ...]) -> str:
    """The digest by which a person approves the removal of these very nodes."""
    lines = sorted(f"{node.name} {node.guid}" for node in removed)
    return sha256("\n".join((draft.desired.vm, *lines)).encode()).hexdigest()[:12]


def _without_refused(draft: Draft, removed: tuple[Node, ...]) -> tuple[Node, ...]:
    """Leave out every removed subtree that holds a protected node or the ground under the guest."""
    gone = {node.name for node in removed}
    kept_out: set[NodeName] = set()
    for root in removed:
        if root.parent in gone:
            continue
        subtree = [node for node in draft.tree.descendants(root.name) if node.name in gone]
        protected = [node.name for node in subtree if node.protect]
        if protected:
            draft.refuse(
                Reason.PROTECTED,
                f"not retired, because protected: {', '.join(protected)}",
                node=protected[0],
                resolve="write it back with 'protect: false', apply, and then remove it",
            )
            kept_out.update(node.name for node in subtree)
    if draft.file.nodes:
        kept_out.update(_under_the_guest(draft, gone - kept_out))
    return tuple(node for node in removed if node.name not in kept_out)


def _under_the_guest(draft: Draft, gone: set[NodeName]) -> set[NodeName]:
    """The removed nodes that, children and all, hold the position."""
    under: set[NodeName] = set()
    for node in draft.tree.ancestors(draft.tree.position):
        if node.name.automatic or node.retired is not None:
            continue
        rest = [
            n.name for n in draft.tree.descendants(node.name) if n.name in draft.desired.by_name
        ]
        if node.name not in gone or rest:
            break
        under.update(n.name for n in draft.tree.descendants(node.name) if n.name in gone)
        top = node.name
    if under:
        draft.refuse(
            Reason.WOULD_DROP_HEAD,
            f"{top} is not retired: the guest descends from {draft.tree.position}, which would go with it",
            node=top,
            resolve="write 'current:' with a node that stays to move the guest away first, or keep it in the file"
            + (", with a later date" if top in draft.expired.nodes else ""),
        )
    return under


def _without_held(draft: Draft, removed: tuple[Node, ...]) -> tuple[Node, ...]:
    """Leave out what waits for a person; a date in the file is a person's word, except where every removal waits."""
    if draft.desired.prune.mode is PruneMode.CONFIRM:
        return () if removed and _awaits_approval(draft, removed) else removed
    edited = tuple(node for node in removed if node.name not in draft.expired.nodes)
    if not edited or not _awaits_approval(draft, edited):
        return removed
    return tuple(node for node in removed if node.name in draft.expired.nodes)


def _awaits_approval(draft: Draft, removed: tuple[Node, ...]) -> bool:
    prune = draft.desired.prune
    emptied = not draft.file.nodes
    if prune.mode is PruneMode.AUTO and len(removed) <= prune.limit and not emptied:
        return False
    if {node.guid for node in removed} <= draft.journal.approved:
        return False
    if prune.mode is PruneMode.CONFIRM:
        why = "the file says 'prune: {mode: confirm}'"
    elif emptied:
        why = "it empties the tree"
    else:
        why = f"more than prune.limit ({prune.limit}) at once"
    draft.approval = Approval(
        digest=removal_digest(draft, removed),
        nodes=tuple(DoomedNode(name=node.name, guid=node.guid) for node in removed),
    )
    draft.wait(
        Reason.AWAITING_APPROVAL,
        f"{len(removed)} removals are held ({', '.join(node.name for node in removed)}): {why}",
        resolve=f"run 'ckptree approve {draft.desired.vm} {draft.approval.digest}', or put them back into the file",
    )
    return True


def _suspected_renames(draft: Draft, gone: set[NodeName]) -> list[tuple[NodeName, NodeName]]:
    """Pair nodes that vanished with new ones at the same place and of the same shape."""
    old: dict[NodeName | None, list[NodeName]] = {}
    for name in gone:
        parent = draft.tree.nodes[name].parent
        if parent not in gone:
            old.setdefault(draft.anchor(parent), []).append(name)
    new: dict[NodeName | None, list[NodeName]] = {}
    for wanted in draft.desired.nodes:
        fresh = wanted.name not in draft.tree.nodes and wanted.adopt is None and not wanted.fork
        if fresh and wanted.name not in draft.journal.realised:
            new.setdefault(wanted.parent, []).append(wanted.name)
    pairs: list[tuple[NodeName, NodeName]] = []
    for place in sorted(set(old) & set(new), key=str):
        before = Counter(_shape_of_tree(draft, name) for name in old[place])
        after = Counter(_shape_of_file(draft, name) for name in new[place])
        if before == after:
            pairs += zip(sorted(old[place]), sorted(new[place]), strict=True)
    return pairs


def _shape_of_tree(draft: Draft, name: NodeName) -> str:
    children = (node.name for node in draft.tree.children(name) if not node.name.automatic)
    return f"({''.join(sorted(_shape_of_tree(draft, child) for child in children))})"


def _shape_of_file(draft: Draft, name: NodeName) -> str:
    children = (wanted.name for wanted in draft.desired.children(name))
    return f"({''.join(sorted(_shape_of_file(draft, child) for child in children))})"
