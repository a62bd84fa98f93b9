"""Decide where the guest is, and put the link right if it was moved or lost.

The head is the branch that the link points at. Which one that should be is written in the journal and, without a
journal, in ZFS: the one branch with canmount=on.
"""

from reconciler.model.actions import Relink, Tidy
from reconciler.model.observed import Running
from reconciler.model.plan import Reason
from reconciler.model.tree import Branch
from reconciler.plan.draft import Draft


def settle_head(draft: Draft) -> None:
    """Relink if the link is not where it belongs and the guest is off; say what else is found."""
    expected = expected_head(draft)
    head = draft.tree.head
    if expected is None or (head is not None and head.facts.guid == expected.facts.guid):
        return
    leads = f"leads to {head.facts.name}" if head is not None else "is missing or leads nowhere"
    message = f"the link {leads}, the guest belongs on {expected.facts.name}"
    guest = draft.guest
    if guest.running is not Running.OFF:
        draft.settles_current = (
            False  # or the branch that somebody linked would count as the guest's from now on
        )
        draft.wait(
            Reason.LINK_MOVED,
            f"{message}; it is not moved under a running guest ({guest.proof})",
            resolve="stop the guest, or point the link back by hand",
        )
        return
    draft.note(Reason.LINK_MOVED, message)
    draft.add(Relink(home=draft.desired.dataset, branch=draft.dataset_ref(expected.facts)))


def report_wrong_link(draft: Draft, so: str) -> bool:
    """Tell whether the link is not where it belongs, and wait for that, guest on or off; SO is what follows from it."""
    expected, head = expected_head(draft), draft.tree.head
    if expected is None or (head is not None and head.facts.guid == expected.facts.guid):
        return False
    draft.wait(
        Reason.LINK_MOVED,
        f"{so}: the link does not lead to {expected.facts.name}, where the guest belongs",
        resolve=f"run 'ckptree apply {draft.desired.vm}' with the guest off, or point the link back by hand",
    )
    return True


def expected_head(draft: Draft) -> Branch | None:
    """The branch that the guest belongs on; none if nothing tells."""
    tree, journal = draft.tree, draft.journal
    recorded = tree.branch_by_guid(journal.head)
    if recorded is not None:
        return recorded
    mounted = [branch for branch in tree.branches if branch.facts.canmount == "on"]
    return mounted[0] if len(mounted) == 1 and journal.head is None else tree.head


def tidy_head(draft: Draft) -> None:
    """Mount the head, with canmount=on."""
    head = draft.tree.head
    if head is None or draft.link_stays_moved:
        return
    canmount, mount = head.facts.canmount != "on", not head.facts.mounted
    if canmount or mount:
        ref = draft.dataset_ref(head.facts)
        draft.add(Tidy(branch=ref, head=True, canmount=canmount, mount=mount))


def tidy_dormant(draft: Draft) -> None:
    """Unmount every other branch, with canmount=noauto; not while somebody uses any of them."""
    head = draft.tree.head
    if head is None or draft.link_stays_moved:
        return
    for branch in draft.tree.branches:
        if branch.facts.name == head.facts.name:
            continue
        canmount, mounted = branch.facts.canmount != "noauto", branch.facts.mounted
        if mounted and _in_use(draft, branch):
            mounted = False
            draft.wait(
                Reason.GUEST_RUNNING,
                f"{branch.facts.name} is mounted, though the guest is not on it; it is not unmounted while"
                " something is in use here"
                + (f" ({draft.guest.proof})" if draft.guest.proof else ""),
                resolve=f"stop the guest, or run 'zfs unmount {branch.facts.name}'",
            )
        if canmount or mounted:
            ref = draft.dataset_ref(branch.facts)
            draft.add(Tidy(branch=ref, head=False, canmount=canmount, mount=mounted))


def _in_use(draft: Draft, branch: Branch) -> bool:
    """Whether a dormant branch may be in use; of a guest that ckptree runs it is known that it is on another one."""
    if draft.observation.ability.managed and draft.guest.running is not Running.UNKNOWN:
        return branch.facts.name in draft.observation.busy
    return draft.guest.running is not Running.OFF
