"""Start and stop a guest because a person asks for it: `ckptree start` and `ckptree stop`.

A start resumes the RAM that lies with the disks where that is still exactly theirs, for example after a restore of
a guest that was off; else it boots. Nothing of ZFS is changed.
"""

from collections.abc import Callable
from datetime import datetime

from reconciler.errors import CkptreeError
from reconciler.execute.executor import Hands, carry_out_steps
from reconciler.execute.hooks import end_interrupted
from reconciler.model import properties
from reconciler.model.desired import DesiredVm
from reconciler.model.journal import GuestSeen
from reconciler.model.observed import HostIdentity, Observation, Running
from reconciler.model.tree import derive_tree
from reconciler.observe.observer import observe
from reconciler.plan.draft import Draft
from reconciler.plan.gate import closed_gates
from reconciler.plan.guest import live_memory, start_on_head
from reconciler.plan.head import expected_head

Clock = Callable[[], datetime]


def start_guest(
    desired: DesiredVm,
    hands: Hands,
    identity: HostIdentity,
    clock: Clock,
    by: str,
    *,
    cold: bool,
) -> bool:
    """Start the guest on its current branch, COLD from its disks; tells whether it was resumed from memory.

    Raises CkptreeError if it runs already, is not ckptree's to start, or something must be put right first.
    """

    def now() -> str:
        return properties.encode_time(clock())

    with hands.journal.locked(f"start by {by}"):
        end_interrupted(desired, hands, identity, now)
        hands.guest.tidy()
        hands.zfs.sync(desired.dataset)
        draft = _draft(desired, hands, identity, clock)
        state = draft.guest
        if state.running is not Running.OFF:
            known = "runs already" if state.running is Running.RUNNING else "may be running"
            raise CkptreeError(f"the guest {known} ({state.proof})")
        head, expected = draft.tree.head, expected_head(draft)
        settled = (
            head is not None and expected is not None and head.facts.guid == expected.facts.guid
        )
        if head is None or not settled or not head.facts.mounted:
            raise CkptreeError(
                f"the link or the mount of the current branch is not right (run 'ckptree apply {desired.vm}' first)"
            )
        memory = None if cold else live_memory(draft)
        action = start_on_head(draft, head, memory)
        carry_out_steps(action, desired, hands, now)
    return memory is not None


def stop_guest(
    desired: DesiredVm,
    hands: Hands,
    identity: HostIdentity,
    clock: Clock,
    by: str,
    *,
    at_once: bool,
) -> bool:
    """Shut the guest down, AT_ONCE without asking it; tells whether it ran.

    Raises CkptreeError if it does not obey, or is not ckptree's to stop.
    """

    def now() -> str:
        return properties.encode_time(clock())

    with hands.journal.locked(f"stop by {by}"):
        end_interrupted(desired, hands, identity, now)
        draft = _draft(desired, hands, identity, clock)
        ran = draft.guest.running is not Running.OFF
        hands.guest.stop(now=at_once)
        hands.journal.append(GuestSeen(at=now(), running=False, by=by))
    return ran


def _draft(desired: DesiredVm, hands: Hands, identity: HostIdentity, clock: Clock) -> Draft:
    observation: Observation = observe(
        desired, hands.zfs, hands.files, hands.guest, hands.journal, identity
    )
    tree = derive_tree(desired.vm, observation.reading, observation.link)
    for gate in closed_gates(desired, observation, tree):
        raise CkptreeError(gate.message + (f" ({gate.resolve})" if gate.resolve else ""))
    if not observation.ability.managed:
        raise CkptreeError(f"the guest is not started or stopped: {observation.ability.why_not}")
    return Draft(desired, observation, tree, clock())
