"""Make the plan of one VM from what is desired and what was observed: pure, and the same bytes each time.

The order is that of design section 4: what only adds comes first, what destroys comes last. Each part sees the
tree as the parts before it will have left it.
"""

from datetime import datetime, timedelta

from reconciler.model.actions import Action
from reconciler.model.desired import DesiredVm
from reconciler.model.observed import Observation
from reconciler.model.plan import Approval, Condition, Plan, Reason, Severity
from reconciler.model.tree import Node, derive_tree
from reconciler.names import NodeName
from reconciler.plan import additions, collect, destroy, guest, head, identity, removals, restore
from reconciler.plan.document import with_digest
from reconciler.plan.draft import Draft
from reconciler.plan.gate import closed_gates, not_acted_on_yet


def make_plan(
    desired: DesiredVm,
    observation: Observation,
    now: datetime,
    *,
    confirm: bool = False,
    purge: bool = False,
    group: str | None = None,
    recover: bool = False,
) -> Plan:
    """Plan what makes VM equal to DESIRED at the moment NOW (UTC).

    CONFIRM says that a person has looked and lets a tree without a journal be restored and retired. PURGE plans
    nothing but the destroy of what is retired, without waiting for the end of its grace. With GROUP nothing is planned
    but the capture of this VM's node of that group, which is not part of any other plan. RECOVER plans nothing but the
    start of a guest that ckptree took down.
    """
    tree = derive_tree(desired.vm, observation.reading, observation.link)
    gates = closed_gates(desired, observation, tree)
    if gates:
        return _finish(desired, now, (), gates, settles_current=False, hands_off=True)
    draft = Draft(desired, observation, tree, now)
    draft.confirmed = draft.confirmed or confirm
    draft.group = group
    if group is not None:
        _decide_group(draft)
    elif recover:
        draft.settles_current = False
        guest.start_owed(draft)
    elif purge:
        _decide_purge(draft)
    else:
        _decide(draft)
    conditions = (*draft.conditions, *not_acted_on_yet(desired))
    actions = tuple(draft.actions)
    capturing = None if desired.suspend else draft.capturing
    settles = draft.settles_current
    if desired.suspend:
        message = f"the file says 'suspend: true'; actions that are not carried out: {len(actions)}"
        conditions = (
            Condition(severity=Severity.NOTE, reason=Reason.SUSPENDED, message=message),
            *conditions,
        )
        actions, settles = (), False
    return _finish(
        desired,
        now,
        actions,
        conditions,
        settles_current=settles,
        capturing=capturing,
        hands_off=desired.suspend,
        approval=draft.approval,
    )


def _decide(draft: Draft) -> None:
    head.settle_head(draft)
    head.tidy_head(draft)
    guest.sweep_memory(draft)
    if not restore.is_asked(draft):
        guest.start_owed(draft)  # before the branch that it may have to go back to is unmounted
    head.tidy_dormant(draft)
    collect.collect_garbage(draft)
    identity.settle_identity(draft)
    removals.check_structure(draft)
    draft.begin_captures()
    additions.capture_here(draft)
    additions.fork_offline(draft)
    restore.restore_if_asked(draft)
    guest.start_owed(draft)
    if not draft.link_stays_moved:
        additions.capture_here(draft)
        additions.fork_offline(draft)
    removals.retire_removed(draft)
    head.tidy_dormant(draft)
    destroy.destroy_doomed(draft, _doomed(draft, draft.desired.prune.grace))
    collect.collect_garbage(draft)
    additions.report_waiting(draft)


def _decide_group(draft: Draft) -> None:
    draft.settles_current = False
    if head.report_wrong_link(draft, "nothing is taken") or guest.report_not_ready(draft):
        return
    removals.check_structure(draft)
    additions.capture_here(draft)
    additions.report_waiting(draft)


def _decide_purge(draft: Draft) -> None:
    draft.settles_current = False
    if not draft.confirmed:
        draft.unconfirmed("nothing is purged")
        return
    if head.report_wrong_link(draft, "nothing is destroyed"):
        return
    destroy.destroy_doomed(draft, _doomed(draft, timedelta(0)))
    collect.collect_garbage(draft)


def _doomed(draft: Draft, grace: timedelta) -> frozenset[NodeName]:
    """The nodes whose time is over: retired ones after their GRACE, automatic ones after their expiry."""
    if not draft.confirmed or draft.has(Reason.PARENT_IMMUTABLE):
        return frozenset()

    def over(node: Node) -> bool:
        if node.protect or node.name in draft.desired.by_name:
            return False
        if node.retired is not None:
            return node.retired + grace <= draft.now
        expired = node.name.automatic and node.expires is not None and node.expires <= draft.now
        return expired and node.name != draft.desired.current

    return frozenset(node.name for node in draft.tree.nodes.values() if over(node))


def _finish(
    desired: DesiredVm,
    now: datetime,
    actions: tuple[Action, ...],
    conditions: tuple[Condition, ...],
    *,
    settles_current: bool,
    hands_off: bool,
    capturing: NodeName | None = None,
    approval: Approval | None = None,
) -> Plan:
    plan = Plan(
        vm=desired.vm,
        home=desired.dataset,
        actions=actions,
        conditions=conditions,
        now=now,
        file=desired.position.file,
        file_digest=desired.digest,
        digest="",
        settles_current=settles_current,
        capturing=capturing,
        hands_off=hands_off,
        approval=approval,
    )
    return with_digest(plan)
