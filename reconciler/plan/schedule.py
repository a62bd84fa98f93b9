"""Automatic checkpoints: when the next one is due, and whether there is anything to take.

They follow the guest, below its position, and stand outside the file: nothing waits for one, none is ever compared
with ``current``, and each has the moment at which it goes.
"""

from datetime import datetime, timedelta

from reconciler.model import properties
from reconciler.model.desired import DesiredNode, MemoryWish
from reconciler.model.observed import Running
from reconciler.model.plan import Reason
from reconciler.model.tree import Branch, Tree
from reconciler.names import AUTOMATIC_PREFIX, NodeName
from reconciler.plan.additions import capture_chain
from reconciler.plan.draft import Draft
from reconciler.plan.guest import report_not_ready, why_not_kept
from reconciler.plan.head import report_wrong_link
from reconciler.plan.permission import may_pause
from reconciler.plan.room import why_no_room

_GOES_ON_WITHOUT = (Reason.CURRENT_NOT_TAKEN, Reason.RESTORE_FAILED)
"""Why ``current`` may be unsettled although no restore is about to happen."""


def last_taken(tree: Tree, now: datetime) -> datetime | None:
    """Tell when the last automatic checkpoint of TREE was taken, or the one that the guest stands on.

    One from after NOW, by a clock that was set back, counts as none.
    """
    found = (
        node for node in tree.nodes.values() if node.name.scheduled or node.name == tree.position
    )
    times = (node.taken for node in found)
    return max((taken for taken in times if taken is not None and taken <= now), default=None)


def capture_due(draft: Draft) -> None:
    """Take the automatic checkpoint that is due, if the guest has changed anything since the last checkpoint."""
    schedule, head = draft.desired.schedule, draft.tree.head
    if schedule is None or head is None or draft.link_stays_moved:
        return
    last = last_taken(draft.tree, draft.now)
    if last is not None and last + schedule.every > draft.now:
        return
    if not _changed(draft, head, schedule.memory):
        return
    if not draft.settles_current and not draft.has(*_GOES_ON_WITHOUT):
        draft.note(
            Reason.SCHEDULE_WAITS,
            f"no automatic checkpoint is taken while {draft.desired.current or 'a node'} waits to be restored",
        )
        return
    _take(draft, head, schedule.keep, schedule.memory)


def capture_by_hand(draft: Draft, keep: timedelta) -> None:
    """Take an automatic checkpoint because a person says so, whether it is due or not."""
    head = draft.tree.head
    draft.settles_current = False
    if report_wrong_link(draft, "nothing is taken") or report_not_ready(draft) or head is None:
        return
    _take(draft, head, keep, MemoryWish.AUTO)


def _changed(draft: Draft, head: Branch, memory: MemoryWish) -> bool:
    """Whether there is anything that the last checkpoint has not: bytes on the disks, or what is wanted of the RAM."""
    if head.unsaved:
        return True
    runs = draft.guest.running is Running.RUNNING
    return runs and memory is not MemoryWish.NEVER and not why_not_kept(draft, _name(draft))


def _take(draft: Draft, head: Branch, keep: timedelta, memory: MemoryWish) -> None:
    name = _name(draft)
    with_memory = memory is not MemoryWish.NEVER and not why_not_kept(draft, name)
    wanted = DesiredNode(
        name=name,
        parent=draft.tree.position,
        position=draft.desired.position,
        memory=memory if with_memory else MemoryWish.NEVER,
    )
    obstacle = why_no_room(draft, (wanted,))
    if obstacle is not None:
        reason, why, resolve = obstacle
        draft.wait(reason, f"no automatic checkpoint is taken; {why}", resolve=resolve)
        return
    what = "an automatic checkpoint with the guest's memory is due"
    resolve = "wait until then, or write 'memory: never' at 'schedule'"
    if with_memory and not may_pause(draft, what, node=None, resolve=resolve):
        return
    expires = (properties.EXPIRES, properties.encode_time(draft.now + keep))
    capture_chain(draft, head, (wanted,), with_memory=with_memory, more=(expires,))


def _name(draft: Draft) -> NodeName:
    stamp = draft.now.strftime("%Y%m%dT%H%M%SZ")
    name, suffix = NodeName(f"{AUTOMATIC_PREFIX}{stamp}"), 2
    while name in draft.tree.nodes:
        name, suffix = NodeName(f"{AUTOMATIC_PREFIX}{stamp}-{suffix}"), suffix + 1
    return name
