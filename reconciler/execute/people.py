"""What only a person may say: approvals, a lost name set free, a home taken over. Each is written into the journal.

Nothing here touches a checkpoint; the next apply acts on what was said.
"""

from collections.abc import Callable
from datetime import datetime

from reconciler.errors import CkptreeError
from reconciler.execute.executor import Hands
from reconciler.model import properties
from reconciler.model.desired import DesiredVm
from reconciler.model.journal import Approved, Forgotten, TakenOver
from reconciler.model.observed import HostIdentity
from reconciler.model.tree import derive_tree
from reconciler.names import NodeName
from reconciler.observe.observer import observe
from reconciler.plan.planner import make_plan

_SHORTEST_DIGEST = 6

Clock = Callable[[], datetime]


def approve(
    desired: DesiredVm, hands: Hands, identity: HostIdentity, clock: Clock, by: str, digest: str
) -> tuple[NodeName, ...]:
    """Allow the removal that waits under DIGEST; gives the names. Raises CkptreeError if none does."""
    with hands.journal.locked(f"approve by {by}"):
        observation = observe(desired, hands.zfs, hands.files, hands.guest, hands.journal, identity)
        approval = make_plan(desired, observation, clock()).approval
        if approval is None:
            raise CkptreeError(
                f"nothing of {desired.vm} waits for approval (see 'ckptree plan {desired.vm}')"
            )
        if len(digest) < _SHORTEST_DIGEST or not approval.digest.startswith(digest):
            raise CkptreeError(
                f"what waits now is {approval.digest}, not {digest}"
                f" (look at 'ckptree plan {desired.vm}' again before you approve)"
            )
        record = Approved(
            at=properties.encode_time(clock()),
            by=by,
            digest=approval.digest,
            guids=[node.guid for node in approval.nodes],
        )
        hands.journal.append(record)
    return tuple(node.name for node in approval.nodes)


def forget(
    desired: DesiredVm, hands: Hands, identity: HostIdentity, clock: Clock, by: str, text: str
) -> None:
    """Count the lost node TEXT as never taken. Raises CkptreeError if it is not lost."""
    node = NodeName(text)
    with hands.journal.locked(f"forget by {by}"):
        observation = observe(desired, hands.zfs, hands.files, hands.guest, hands.journal, identity)
        tree = derive_tree(desired.vm, observation.reading, observation.link)
        if observation.reading.gaps:
            raise CkptreeError(
                f"what exists could not be read whole, so {node} may not be lost"
                f" (see 'ckptree plan {desired.vm}')"
            )
        if node in tree.nodes:
            raise CkptreeError(f"{node} exists and is not lost (see 'ckptree tree {desired.vm}')")
        if node not in observation.journal.realised:
            raise CkptreeError(f"{node} was never taken, so there is nothing to forget")
        hands.journal.append(Forgotten(at=properties.encode_time(clock()), by=by, node=node))


def take_over(
    desired: DesiredVm, hands: Hands, identity: HostIdentity, clock: Clock, by: str
) -> str:
    """Make this host the owner of the home; gives the owner before. Raises CkptreeError if it is that already."""
    with hands.journal.locked(f"take-over by {by}"):
        observation = observe(desired, hands.zfs, hands.files, hands.guest, hands.journal, identity)
        home = observation.reading.dataset(desired.dataset)
        if home is None or home.properties.get(properties.VM) != desired.vm:
            raise CkptreeError(
                f"{desired.dataset} is not the home of {desired.vm} (see 'ckptree init')"
            )
        before = home.properties.get(properties.OWNER, "nobody")
        if before == identity.host_id:
            raise CkptreeError(f"{desired.dataset} belongs to this host already")
        hands.journal.append(TakenOver(at=properties.encode_time(clock()), by=by, before=before))
        hands.zfs.set_properties(desired.dataset, {properties.OWNER: identity.host_id})
    return before
