"""Decide whether the guest goes to another node: the rules of ``current`` and ``again``.

A restore is asked for by a change of the file, never by a difference alone: what somebody did by hand is reported
and not undone.
"""

from datetime import timedelta

from reconciler.model import properties
from reconciler.model.actions import NewNode, Restore
from reconciler.model.desired import Unsaved
from reconciler.model.journal import Left
from reconciler.model.observed import Running
from reconciler.model.plan import Reason
from reconciler.model.properties import Grade
from reconciler.model.tree import Branch, Node
from reconciler.names import AUTOMATIC_PREFIX, NodeName
from reconciler.plan.draft import Draft

AUTOMATIC_LIFE_HOURS = 72
_LONGEST_NODE = 63


def restore_if_asked(draft: Draft) -> None:
    """Restore ``current`` if the file newly asks for it; else say how the position differs."""
    current = draft.desired.current
    if draft.tree.head is None:
        _restore_lost_head(draft)
        return
    if current is None or draft.link_stays_moved:
        return
    target = draft.tree.nodes.get(current)
    if target is None:
        draft.settles_current = False
        draft.wait(
            Reason.CURRENT_NOT_TAKEN,
            f"current names {current}, which does not exist yet",
            resolve="see what it waits for, or name another node",
        )
        return
    if current in draft.captured or _was_being_captured(draft, current):
        draft.capturing = current
        return
    again = draft.desired.restore.again
    asked_again = again is not None and again != draft.journal.again
    if asked_again or current != draft.journal.current:
        differs, unsaved = draft.started_on != current, draft.started_unsaved
    else:
        differs, unsaved = draft.tree.position != current, False
    if not differs and not (asked_again and unsaved):
        draft.capturing = current
        return
    if not asked_again and current == draft.journal.current:
        _report_difference(draft, current)
        return
    if not draft.confirmed:
        draft.settles_current = False
        draft.unconfirmed(f"current: {current} is not restored")
        return
    _restore(draft, target)


def _was_being_captured(draft: Draft, current: NodeName) -> bool:
    """Whether a plan that was cut short took CURRENT, and perhaps more above it, where the guest is."""
    begun = draft.journal.capturing == (current, draft.desired.restore.again)
    return begun and any(node.name == current for node in draft.tree.ancestors(draft.tree.position))


def _report_difference(draft: Draft, current: NodeName) -> None:
    position = draft.tree.position
    if any(node.name == current for node in draft.tree.ancestors(position)):
        draft.note(
            Reason.CURRENT_BEHIND_HEAD,
            f"the guest has moved on from {current} to {position}",
            node=position,
            resolve=f"write 'current: {position}', or remove 'current'",
        )
        return
    draft.wait(
        Reason.HEAD_DRIFTED,
        f"the guest is on {position or 'no node'}, and was not brought there from {current} by the file",
        resolve=f"write 'current: {position}' to agree, or change restore.again to go back to {current}",
    )


def _lacks_volumes(draft: Draft, target: Node) -> bool:
    there = {facts.name.dataset.leaf for facts in target.members}
    missing = [disk.name for disk in draft.desired.volume_disks if disk.name not in there]
    if missing:
        draft.settles_current = False
        draft.wait(
            Reason.DISK_MISSING,
            f"{target.name} is not restored: it was taken without the volume {', '.join(missing)}",
            node=target.name,
            resolve="remove the volume from 'disks' to go back to a time before it",
        )
    return bool(missing)


def _restore(draft: Draft, target: Node) -> None:
    head, guest = draft.tree.head, draft.observation.guest
    assert head is not None  # noqa: S101 - the caller has looked
    if guest.running is not Running.OFF:
        known = "runs" if guest.running is Running.RUNNING else "may be running"
        draft.settles_current = False
        draft.wait(
            Reason.GUEST_RUNNING,
            f"{target.name} is not restored: the guest {known} ({guest.proof}) and is not ckptree's to stop",
            node=target.name,
            resolve="stop the guest, then apply again",
        )
        return
    if _lacks_volumes(draft, target):
        return
    unsaved = head.unsaved
    policy = draft.desired.restore.unsaved
    if unsaved and policy is Unsaved.REFUSE:
        draft.settles_current = False
        draft.wait(
            Reason.UNSAVED_STATE,
            f"{target.name} is not restored: {unsaved} bytes since {draft.tree.position or 'the start'} are in no"
            " checkpoint, and the file says 'unsaved: refuse'",
            node=target.name,
            resolve="add a checkpoint below the position, or write 'unsaved: save'",
        )
        return
    left = Left.CLEAN
    if unsaved:
        left = Left.DISCARDED if policy is Unsaved.DISCARD else Left.SAVED
    save = _automatic_node(draft, head, target.name) if left is Left.SAVED else None
    _add(draft, target, head, save, left, unsaved)


def _restore_lost_head(draft: Draft) -> None:
    """No live state is left to protect: go to ``current``, else to where the guest last was."""
    if draft.has(Reason.LINK_MOVED):
        return
    name = draft.desired.current or draft.journal.position
    target = draft.tree.nodes.get(name) if name is not None else None
    if target is None or target.retired is not None:
        draft.settles_current = False
        draft.wait(
            Reason.HEAD_LOST,
            "the branch that the guest ran on is gone, and nothing tells where it was",
            resolve="write 'current:' with the node to go on from",
        )
        return
    if not draft.confirmed:
        draft.settles_current = False
        draft.unconfirmed(f"the head is lost and {target.name} is not restored")
        return
    if _lacks_volumes(draft, target):
        return
    draft.note(
        Reason.HEAD_LOST,
        f"the branch that the guest ran on is GONE, with all that was written since its last checkpoint;"
        f" {target.name} is put in its place and the guest is left off",
        node=target.name,
    )
    _add(draft, target, None, None, Left.CLEAN, 0)


def _add(
    draft: Draft, target: Node, head: Branch | None, save: NewNode | None, left: Left, unsaved: int
) -> None:
    branch, number = draft.next_branch()
    draft.add(
        Restore(
            node=target.name,
            origins=draft.node_refs(target),
            target=branch,
            number=number,
            files=tuple(disk.path for disk in draft.desired.file_disks),
            before=None if head is None else draft.dataset_ref(head.facts),
            before_volumes=() if head is None else head.volume_names,
            save=save,
            left=left,
            unsaved=unsaved,
            again=draft.desired.restore.again,
        )
    )


def _automatic_node(draft: Draft, head: Branch, target: NodeName) -> NewNode:
    stamp = draft.now.strftime("%Y%m%dT%H%M%SZ")
    text = f"{AUTOMATIC_PREFIX}{stamp}-before-{target}"[:_LONGEST_NODE]
    suffix = 2
    while text in draft.tree.nodes:
        text = f"{AUTOMATIC_PREFIX}{stamp}-{suffix}-before-{target}"[:_LONGEST_NODE]
        suffix += 1
    name = NodeName(text)
    expires = draft.now + timedelta(hours=AUTOMATIC_LIFE_HOURS)
    return NewNode(
        name=name,
        parent=draft.tree.position,
        snapshots=draft.set_of(head.facts.name, draft.free_short_name(name)),
        properties=(
            (properties.VM, str(draft.desired.vm)),
            (properties.NODE, str(name)),
            (properties.GRADE, Grade.CLEAN.value),
            (properties.TAKEN, properties.encode_time(draft.now)),
            (properties.EXPIRES, properties.encode_time(expires)),
            (properties.ABOUT, f"saved before the restore of {target}"),
        ),
    )
