"""What is to be written into a VM's journal besides the steps: what exists, and what was applied.

Pure: the records that are missing, without a date yet, from what was observed. ``apply`` writes them; the daemon asks
whether there are any, so that it leaves a VM alone of which nothing is to be done and nothing to be written.
"""

from reconciler.model.desired import DesiredVm
from reconciler.model.journal import Applied, Confirmed, Left, Realised
from reconciler.model.observed import Observation, Running
from reconciler.model.plan import Plan
from reconciler.model.tree import derive_tree
from reconciler.plan.gate import ELSEWHERE


def confirmation(desired: DesiredVm, observation: Observation, by: str) -> Confirmed | None:
    """A home without a journal and without a checkpoint needs no person to look at it: BY confirms it."""
    tree = derive_tree(desired.vm, observation.reading, observation.link)
    journal = observation.journal
    if journal.confirmed or journal.exists or tree.nodes:
        return None
    return Confirmed(at="", by=by)


def realised(desired: DesiredVm, observation: Observation) -> Realised | None:
    """The named checkpoints that exist and that the journal does not know yet."""
    tree = derive_tree(desired.vm, observation.reading, observation.link)
    known = observation.journal.realised
    seen = {node.name: node.guid for node in tree.nodes.values() if not node.name.automatic}
    fresh = {name: guid for name, guid in seen.items() if known.get(name) != guid}
    return Realised(at="", nodes=fresh) if fresh else None


def applied(desired: DesiredVm, plan: Plan, observation: Observation) -> Applied | None:
    """That the document has been gone through with PLAN, if that says anything new."""
    if not plan.settles_current:
        return None
    tree = derive_tree(desired.vm, observation.reading, observation.link)
    head = None if tree.head is None else tree.head.facts.guid
    facts = observation.journal
    discarded = {guid for guid, left in facts.left.items() if left is Left.DISCARDED}
    found = Applied(
        at="",
        file_digest=desired.digest,
        current=desired.current,
        again=desired.restore.again,
        position=tree.position,
        head=head,
        revision=desired.revision,
        discarded=[
            branch.facts.guid
            for branch in tree.branches
            if branch.unsaved and branch.facts.guid in discarded
        ],
    )
    same = (facts.current, facts.again, facts.position, facts.head) == (
        found.current, found.again, found.position, found.head,
    )  # fmt: skip
    settled = (
        facts.approved or facts.destroying or facts.capturing or discarded != set(found.discarded)
    )
    return found if not same or settled else None


def anything_to_write(desired: DesiredVm, plan: Plan, observation: Observation) -> bool:
    """Tell whether to apply DESIRED would write anything, though PLAN has no actions."""
    journal = observation.journal
    if plan.hands_off:
        elsewhere = any(condition.reason in ELSEWHERE for condition in plan.conditions)
        return journal.hooks is not None and not elsewhere
    return (
        journal.hooks is not None
        or journal.switching is not None
        or (journal.stopped and observation.guest.running is Running.RUNNING)
        or confirmation(desired, observation, "") is not None
        or realised(desired, observation) is not None
        or applied(desired, plan, observation) is not None
    )
