"""Make the plan of one VM from what is desired and what was observed: pure, and the same bytes each time.

The order is that of design section 4: what only adds comes first, what destroys comes last. Each part sees the
tree as the parts before it will have left it.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from reconciler.model.actions import Action
from reconciler.model.desired import DesiredVm, PruneMode
from reconciler.model.observed import Observation
from reconciler.model.plan import (
    NO_RESTRAINT,
    Approval,
    Condition,
    Plan,
    Reason,
    Restraint,
    Severity,
)
from reconciler.model.tree import Node, derive_tree
from reconciler.model.windows import ALWAYS, Windows
from reconciler.names import NodeName
from reconciler.plan import (
    additions,
    collect,
    destroy,
    guest,
    head,
    identity,
    owed,
    removals,
    restore,
    schedule,
)
from reconciler.plan.document import with_digest
from reconciler.plan.draft import Draft
from reconciler.plan.expiry import expired, without
from reconciler.plan.gate import closed_gates
from reconciler.plan.hooks import owed_hook, with_hooks
from reconciler.plan.identity import names_before
from reconciler.plan.permission import may_age, may_destroy, names_text


def make_plan(
    desired: DesiredVm,
    observation: Observation,
    now: datetime,
    *,
    confirm: bool = False,
    purge: bool = False,
    group: str | None = None,
    recover: bool = False,
    automatic: timedelta | None = None,
    take: NodeName | None = None,
    restraint: Restraint = NO_RESTRAINT,
    windows: Windows = ALWAYS,
) -> Plan:
    """Plan what makes VM equal to DESIRED at the moment NOW (UTC).

    CONFIRM says that a person has looked and lets a tree without a journal be restored and retired. PURGE plans
    nothing but the destroy of what is retired, without waiting for the end of its grace. With GROUP nothing is planned
    but the capture of this VM's node of that group, which is not part of any other plan. RECOVER plans nothing but the
    start of a guest that ckptree took down, AUTOMATIC nothing but an automatic checkpoint that is kept so long, TAKE
    nothing but that node of the file; a person's word for these two counts at any hour.
    RESTRAINT holds back what it names; WINDOWS are the host's, over which the file's own are laid.
    """
    tree = derive_tree(desired.vm, observation.reading, observation.link)
    gates = closed_gates(desired, observation, tree)
    if gates:
        return _finish(desired, now, (), gates, settles_current=False, hands_off=True)
    over = expired(desired, tree, observation.journal, now, ageing=bool(restraint.ageing))
    draft = Draft(without(desired, over.nodes), observation, tree, now)
    draft.file, draft.expired = desired, over
    draft.restraint, draft.windows = restraint, windows.with_own(desired.windows)
    draft.confirmed = draft.confirmed or confirm
    draft.group = group
    if group is not None:
        _decide_group(draft)
    elif recover:
        draft.settles_current = False
        owed.start_owed(draft)
    elif purge:
        _decide_purge(draft)
    elif automatic is not None:
        draft.windows = replace(draft.windows, paused=None)
        schedule.capture_by_hand(draft, automatic)
    elif take is not None:
        draft.windows = replace(draft.windows, paused=None)
        _decide_taken(draft, take)
    else:
        _decide(draft)
    conditions = (*owed_hook(desired.vm, observation.journal), *draft.conditions)
    actions = with_hooks(draft.actions, desired.hooks)
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
        owed.start_owed(draft)  # before the branch that it may have to go back to is unmounted
    head.tidy_dormant(draft)
    collect.collect_garbage(draft)
    identity.settle_identity(draft)
    removals.check_structure(draft)
    draft.begin_captures()
    additions.capture_here(draft)
    additions.fork_offline(draft)
    restore.restore_if_asked(draft)
    owed.start_owed(draft)
    if not draft.link_stays_moved:
        additions.capture_here(draft)
        additions.fork_offline(draft)
        schedule.capture_due(draft)
    removals.retire_removed(draft)
    removals.report_expired(draft)
    head.tidy_dormant(draft)
    destroy.destroy_doomed(draft, _doomed(draft))
    collect.collect_garbage(draft)
    additions.report_waiting(draft)


def _decide_group(draft: Draft) -> None:
    draft.settles_current = False
    if head.report_wrong_link(draft, "nothing is taken") or guest.report_not_ready(draft):
        return
    removals.check_structure(draft)
    additions.capture_here(draft)
    additions.report_waiting(draft)


def _decide_taken(draft: Draft, name: NodeName) -> None:
    draft.settles_current, draft.taken = False, name
    if head.report_wrong_link(draft, "nothing is taken") or guest.report_not_ready(draft):
        return
    removals.check_structure(draft)
    additions.capture_here(draft)
    additions.fork_offline(draft)
    additions.report_waiting(draft)
    removals.report_expired(draft)


def _decide_purge(draft: Draft) -> None:
    draft.settles_current = False
    if not draft.confirmed:
        draft.unconfirmed("nothing is purged")
        return
    if head.report_wrong_link(draft, "nothing is destroyed"):
        return
    destroy.destroy_doomed(draft, _doomed(draft, purge=True))
    collect.collect_garbage(draft)


def _doomed(draft: Draft, *, purge: bool = False) -> frozenset[NodeName]:
    """The nodes whose time is over: retired ones after their grace (at once to PURGE), automatic ones that expired."""
    if not draft.confirmed or draft.has(Reason.PARENT_IMMUTABLE):
        return frozenset()
    file = draft.desired  # what it amounts to now: a node whose time is over is not in it
    grace = timedelta(0) if purge else file.prune.grace
    wanted = file.by_name.keys() | names_before(file, draft.tree)
    never = file.prune.mode is PruneMode.NEVER and not purge

    def over(node: Node) -> bool:
        if node.protect or node.name in wanted:
            return False
        if node.retired is not None:
            return not never and node.retired + grace <= draft.now
        expired = node.name.automatic and node.expires is not None and node.expires <= draft.now
        return expired and node.name != draft.desired.current and not _all_that_is(draft, node)

    doomed = frozenset(node.name for node in draft.tree.nodes.values() if over(node))
    aged = {
        name for name in doomed if grace or draft.tree.nodes[name].retired is None
    }  # the others go because a person, or a grace of nothing, says so
    if aged and not may_age(draft, f"not destroyed, though their time is over: {names_text(aged)}"):
        doomed -= aged
    if doomed and not may_destroy(draft, f"not destroyed yet: {names_text(doomed)}"):
        return frozenset()
    return doomed


def _all_that_is(draft: Draft, node: Node) -> bool:
    """Whether automatic NODE has the state in which the guest stands: destroyed, the schedule would take it anew."""
    head = draft.tree.head
    unchanged = head is not None and not head.unsaved and node.name == draft.tree.position
    return unchanged and draft.desired.schedule is not None


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
