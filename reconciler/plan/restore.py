"""Decide whether the guest goes to another node: the rules of ``current`` and ``again``.

A restore is asked for by a change of the file, never by a difference alone: what somebody did by hand is reported
and not undone.
"""

from reconciler.model.actions import NewNode, Restore
from reconciler.model.desired import MemoryWish, Unsaved, WhenRunning
from reconciler.model.journal import Left
from reconciler.model.observed import Running
from reconciler.model.plan import Reason
from reconciler.model.tree import Branch, Node
from reconciler.names import NodeName
from reconciler.plan.draft import SPARE_BYTES, Draft
from reconciler.plan.guest import live_memory, why_not_resumed
from reconciler.plan.permission import may_pause, may_remove
from reconciler.plan.saving import node_that_saves


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
    asked_again = _asked_again(draft)
    if asked_again:
        differs, unsaved = draft.started_on != current, draft.started_unsaved
    elif current != draft.journal.current:
        differs, unsaved = _goes_to(draft, draft.started_on, current), draft.started_unsaved
    else:
        differs, unsaved = _elsewhere(draft, draft.tree.position, current), False
    if _gave_up(draft, current):
        return
    if not differs and not (asked_again and unsaved):
        draft.capturing = current
        if current != draft.journal.current and draft.started_on != current:
            draft.note(
                Reason.CURRENT_BEHIND_HEAD,
                f"the guest stands on {current} already, and has moved on to {draft.started_on}",
                resolve=f"write another 'restore: {{again: ...}}' to go back to the state of {current} itself",
            )
        return
    if not asked_again and current == draft.journal.current:
        _report_difference(draft, current)
        return
    if not draft.confirmed:
        draft.settles_current = False
        draft.unconfirmed(f"current: {current} is not restored")
        return
    _restore(draft, target)


def is_asked(draft: Draft) -> bool:
    """Whether the file asks for a restore that is possible, as far as is known before anything is captured."""
    current = draft.desired.current
    if current is None or current not in draft.tree.nodes or not draft.confirmed:
        return False
    if _was_being_captured(draft, current) or (
        draft.journal.gave_up
        and draft.journal.gave_up[:2] == (current, draft.desired.restore.again)
    ):
        return False
    newly = current != draft.journal.current and _goes_to(draft, draft.tree.position, current)
    return _asked_again(draft) or newly


def _goes_to(draft: Draft, position: NodeName | None, current: NodeName) -> bool:
    """Whether a file that newly says CURRENT sends a guest on POSITION there."""
    return position != current and (current.scheduled or _elsewhere(draft, position, current))


def _elsewhere(draft: Draft, position: NodeName | None, current: NodeName) -> bool:
    """Whether a guest on POSITION is elsewhere than on CURRENT; what a schedule took above that does not count."""
    for node in draft.tree.ancestors(position):
        if node.name == current:
            return False
        if not node.name.scheduled:
            break
    return True


def _asked_again(draft: Draft) -> bool:
    again = draft.desired.restore.again
    return again is not None and again != draft.journal.again


def _gave_up(draft: Draft, current: NodeName) -> bool:
    """Whether this very restore was tried and taken back: the guest is not stopped for it over and over."""
    tried = draft.journal.gave_up
    if tried is None or tried[:2] != (current, draft.desired.restore.again):
        return False
    draft.settles_current = False
    draft.refuse(
        Reason.RESTORE_FAILED,
        f"{current} is not restored: it was tried and taken back ({tried[2]})",
        node=current,
        resolve="put right what is said and write another 'restore: {again: ...}', or write another 'current'",
    )
    return True


def _was_being_captured(draft: Draft, current: NodeName) -> bool:
    """Whether a plan that was cut short took CURRENT, and perhaps more above it, where the guest is."""
    begun = draft.journal.capturing == (current, draft.desired.restore.again)
    return begun and any(node.name == current for node in draft.tree.ancestors(draft.tree.position))


def _report_difference(draft: Draft, current: NodeName) -> None:
    position = draft.tree.position
    # An automatic node would be gone back to as soon as there is a newer one.
    agreed = draft.anchor(position)
    agree = "" if agreed in {None, current} else f"write 'current: {agreed}', or "
    if any(node.name == current for node in draft.tree.ancestors(position)):
        draft.note(
            Reason.CURRENT_BEHIND_HEAD,
            f"the guest has moved on from {current} to {position}",
            node=position,
            resolve=f"{agree}remove 'current'",
        )
        return
    draft.wait(
        Reason.HEAD_DRIFTED,
        f"the guest is on {position or 'no node'}, and was not brought there from {current} by the file",
        resolve=f"{agree}remove 'current' to agree, or change restore.again to go back to {current}",
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
    head, runs = draft.tree.head, draft.guest.running is Running.RUNNING
    assert head is not None  # noqa: S101 - the caller has looked
    if _guest_in_the_way(draft, target) or _lacks_volumes(draft, target):
        return
    if (runs or draft.owes_start) and _must_have_memory(draft, target):
        return
    policy = draft.desired.restore.unsaved
    unsaved = bool(head.unsaved) or runs
    if unsaved and policy is Unsaved.REFUSE:
        _refuse_unsaved(draft, target, head, runs=runs)
        return
    left = Left.CLEAN
    if unsaved:
        left = Left.DISCARDED if policy is Unsaved.DISCARD else Left.SAVED
    if _held_back(draft, target):
        return
    if left is not Left.SAVED:
        _add(draft, target, head, None, left)
        return
    save, memory = node_that_saves(draft, head, target.name)
    ram = draft.observation.ability.ram
    if memory is not None and draft.observation.pool.available < ram + SPARE_BYTES:
        draft.settles_current = False
        draft.wait(
            Reason.POOL_FULL,
            f"{target.name} is not restored: {draft.desired.dataset} may write only"
            f" {draft.observation.pool.available} bytes more, and the RAM of the guest, which is kept first, takes up"
            f" to {ram} (less where ZFS compresses it)",
            node=target.name,
            resolve="free space, raise the quota, or write 'restore: {unsaved: discard}' to give that state up",
        )
        return
    _add(draft, target, head, save, left, save_memory=memory)


def _held_back(draft: Draft, target: Node) -> bool:
    """Whether the restore waits for its hours, or for a person who allows it."""
    what = f"{target.name} is not restored"
    wait = "wait until then, or write 'current' as it was before"
    pauses = may_pause(draft, f"{what} now: that stops the guest", node=target.name, resolve=wait)
    if pauses and may_remove(draft, what):
        return False
    draft.settles_current = False
    return True


def _guest_in_the_way(draft: Draft, target: Node) -> bool:
    """Whether the guest would have to be stopped first and may or can not be."""
    guest, users = draft.guest, draft.observation.users
    if guest.running is Running.OFF and not (users and not draft.owes_start):
        return False
    managed = draft.observation.ability.managed
    waits = draft.desired.restore.running is WhenRunning.WAIT
    if managed and guest.running is Running.RUNNING and not waits:
        return False
    known = "runs" if guest.running is Running.RUNNING else "may be running"
    what = f"the guest {known} ({guest.proof}) and is not ckptree's to stop"
    resolve = "stop the guest, then apply again"
    if guest.running is Running.OFF:
        what, resolve = (
            f"the guest is off, but {users}",
            "end what uses the disks, then apply again",
        )
    elif guest.running is Running.UNKNOWN and managed:
        what = f"it cannot be told whether the guest runs ({guest.proof})"
    elif managed:
        what = f"the guest runs ({guest.proof}), and the file says 'running: wait'"
    draft.settles_current = False
    draft.wait(
        Reason.GUEST_RUNNING,
        f"{target.name} is not restored: {what}",
        node=target.name,
        resolve=resolve,
    )
    return True


def _must_have_memory(draft: Draft, target: Node) -> bool:
    """Whether the file wants TARGET with its RAM only, and that cannot be resumed here; else say how it will start."""
    wanted = draft.desired.by_name.get(target.name)
    why = why_not_resumed(draft, target)
    if not why:
        return False
    if wanted is not None and wanted.memory is MemoryWish.REQUIRED:
        draft.settles_current = False
        draft.refuse(
            Reason.MEMORY_UNAVAILABLE,
            f"{target.name} is not restored: its memory cannot be resumed here, because {why}",
            node=target.name,
            resolve="write 'memory: auto' at it to let the guest boot from its disks",
        )
        return True
    draft.note(
        Reason.MEMORY_NOT_RESUMED,
        f"the guest boots from the disks of {target.name}; its memory cannot be resumed here, because {why}",
        node=target.name,
    )
    return False


def _refuse_unsaved(draft: Draft, target: Node, head: Branch, *, runs: bool) -> None:
    since = draft.tree.position or "the start"
    what = f"{head.unsaved} bytes since {since} are in no checkpoint"
    if runs:
        what = f"what the running guest has done since {since} is in no checkpoint"
    draft.settles_current = False
    draft.wait(
        Reason.UNSAVED_STATE,
        f"{target.name} is not restored: {what}, and the file says 'unsaved: refuse'",
        node=target.name,
        resolve="add a checkpoint below the position"
        + (" and stop the guest" if runs else "")
        + ", or write 'unsaved: save'",
    )


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
    _add(draft, target, None, None, Left.CLEAN)


def _add(
    draft: Draft,
    target: Node,
    head: Branch | None,
    save: NewNode | None,
    left: Left,
    *,
    save_memory: str | None = None,
) -> None:
    branch, number = draft.next_branch()
    runs = head is not None and draft.guest.running is Running.RUNNING
    starts = runs or (head is not None and draft.owes_start)
    resumes = starts and not why_not_resumed(draft, target)
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
            unsaved=0 if head is None else head.unsaved,
            again=draft.desired.restore.again,
            runs=runs,
            starts=starts,
            memory=target.memory if resumes else None,
            save_memory=save_memory,
            back_memory=save_memory or (None if runs else live_memory(draft)),
            ram=draft.observation.ability.ram if save_memory is not None else 0,
        )
    )
