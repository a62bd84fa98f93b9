"""The start that ckptree owes a guest which it took down, and the way back of a restore that was interrupted there.

What the guest may have written meanwhile is kept. Neighbour: ``guest``, which knows what memory can be resumed.
"""

from dataclasses import replace

from reconciler.model.actions import Capture, Return, WayBack
from reconciler.model.journal import Left
from reconciler.model.observed import Running
from reconciler.model.plan import Reason
from reconciler.model.properties import Grade
from reconciler.model.tree import Branch
from reconciler.plan.draft import Draft
from reconciler.plan.guest import live_memory, start_on_head, why_not_resumed
from reconciler.plan.saving import node_that_saves


def start_owed(draft: Draft) -> None:
    """Start the guest again that ckptree stopped before it was interrupted."""
    head, state = draft.tree.head, draft.guest
    if (
        draft.journal.stopped
        and draft.observation.ability.managed
        and state.running is Running.UNKNOWN
    ):
        draft.wait(
            Reason.GUEST_RUNNING,
            f"ckptree stopped the guest, and it cannot be told whether it runs again ({state.proof})",
            resolve=f"run 'ckptree apply {draft.desired.vm}' again when that is known",
        )
    if not draft.owes_start or head is None or draft.link_stays_moved:
        return
    if draft.observation.missing_disks:
        draft.wait(
            Reason.DISK_MISSING,
            f"the guest, which ckptree stopped, is not started: the head has no"
            f" {', '.join(draft.observation.missing_disks)}",
            resolve="bring the disk back, or remove it from 'disks'",
        )
        return
    memory, back = live_memory(draft), _way_back(draft, head)
    how = "from the memory that was saved" if memory is not None else "from its disks"
    message = f"ckptree stopped the guest and was interrupted; it is started again, {how}"
    if back is not None and memory is None and _had_memory(draft):
        message = (
            f"the restore of {back.node} was interrupted while the guest was being started; it is taken back to"
            f" {back.branch.name}"
        )
        draft.settles_current = False
        if head.unsaved:  # nothing tells that this is not what the guest wrote before it ended
            save, _ = node_that_saves(draft, head, back.node)
            draft.add(
                Capture(nodes=(save,), branch=draft.dataset_ref(head.facts), grade=Grade.CLEAN)
            )
        draft.add(Return(branch=draft.dataset_ref(head.facts), back=back))
    else:
        draft.add(replace(start_on_head(draft, head, memory), back=back))
    draft.note(Reason.GUEST_STARTED, message)


def _had_memory(draft: Draft) -> bool:
    """Whether the head was to be started from memory, which is used up or does not fit its disks any more."""
    node = draft.tree.nodes.get(draft.tree.position) if draft.tree.position is not None else None
    return node is not None and node.memory is not None and not why_not_resumed(draft, node)


def _way_back(draft: Draft, head: Branch) -> WayBack | None:
    """Where the guest was before the restore that was interrupted on HEAD; none if that is not there any more."""
    origin = draft.journal.origin
    branch = None if origin is None else draft.tree.branch_by_guid(origin.guid)
    if origin is None or branch is None:
        return None
    return WayBack(
        node=origin.node,
        again=origin.again,
        branch=draft.dataset_ref(branch.facts),
        memory=live_memory(draft, branch),
        volumes=branch.volume_names,
        files=tuple(disk.path for disk in draft.desired.file_disks),
        left=Left.SAVED if head.unsaved else Left.DISCARDED,
    )
